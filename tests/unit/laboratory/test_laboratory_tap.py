"""TAP as pyvo, unmodified, speaks it."""

import io
import math
import time

import astropy.units as u
import numpy as np
import pytest
import pyvo
import requests
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse_single_table
from astropy.io.votable.tree import TableElement, VOTableFile
from astropy.table import Table
from astroquery.heasarc import HeasarcClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laboratory_sky import N_EXPOSURES, N_TRIGGERS, TOKEN, random_positions

from laboratory import Laboratory

# pyvo leaves the connections of failed requests to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MATCH = """
SELECT t.target, c.trigger_name,
       DISTANCE(POINT('ICRS', t.ra, t.dec), POINT('ICRS', c.ra, c.dec)) AS separation
FROM TAP_UPLOAD.sample AS t JOIN fermigtrig AS c
ON 1 = CONTAINS(POINT('ICRS', t.ra, t.dec), CIRCLE('ICRS', c.ra, c.dec, c.error_radius))
"""


@pytest.fixture
def heasarc(laboratory: Laboratory) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(laboratory.url("heasarc") + "/tap")


@pytest.fixture
def nsc(laboratory: Laboratory) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(laboratory.url("nsc") + "/tap")


def sample(number: int, seed: int = 1) -> Table:
    ra_deg, dec_deg = random_positions(np.random.default_rng(seed), number)
    names = [f"T{row}" for row in range(number)]
    return Table({"target": names, "ra": ra_deg, "dec": dec_deg})


def pairs_by_astropy(targets: Table, triggers: Table) -> set[tuple[str, str]]:
    points = SkyCoord(targets["ra"], targets["dec"], unit="deg")[:, None]
    centres = SkyCoord(triggers["ra"], triggers["dec"], unit="deg")[None, :]
    found = points.separation(centres).deg <= np.asarray(triggers["error_radius"])[None, :]
    return {
        (targets["target"][row], triggers["trigger_name"][column])
        for row, column in zip(*np.nonzero(found), strict=True)
    }


def test_service_says_what_it_is(heasarc: pyvo.dal.TAPService) -> None:
    assert heasarc.maxrec == 100_000
    assert heasarc.hardlimit == 3_000_000
    columns = {column.name: column for column in heasarc.tables["heasarc.fermigtrig"].columns}
    assert columns["error_radius"].unit == "deg"
    assert columns["trigger_name"].datatype.content == "char"


def test_tap_schema_describes_columns(nsc: pyvo.dal.TAPService) -> None:
    query = "SELECT column_name, unit FROM tap_schema.columns WHERE table_name = 'nsc_dr2.meas'"
    units = dict(nsc.run_sync(query).to_table().iterrows())
    assert units["mjd"] == "d"
    assert units["mag_auto"] == "mag"


@pytest.mark.parametrize("mode", ["run_sync", "run_async"])
def test_upload_join_finds_what_astropy_finds(heasarc: pyvo.dal.TAPService, mode: str) -> None:
    targets = sample(300)
    triggers = heasarc.run_sync("SELECT * FROM fermigtrig").to_table()
    found = getattr(heasarc, mode)(MATCH, uploads={"sample": targets}).to_table()
    pairs = set(zip(found["target"], found["trigger_name"], strict=True))
    assert len(triggers) == N_TRIGGERS
    assert len(pairs) == len(found) > 100
    assert pairs == pairs_by_astropy(targets, triggers)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ra=st.floats(0, 360, exclude_max=True),
    dec=st.floats(-90, 90),
    radius=st.floats(0.01, 120),
)
def test_cone_agrees_with_astropy_everywhere(
    heasarc: pyvo.dal.TAPService, ra: float, dec: float, radius: float
) -> None:
    every = heasarc.run_sync("SELECT trigger_name, ra, dec FROM fermigtrig").to_table()
    cone = f"CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {ra!r}, {dec!r}, {radius!r})) = 1"
    found = heasarc.run_sync(f"SELECT trigger_name FROM fermigtrig WHERE {cone}").to_table()
    distance = SkyCoord(ra * u.deg, dec * u.deg).separation(
        SkyCoord(every["ra"], every["dec"], unit="deg")
    )
    # Rows on the very edge may fall to either side.
    inside = set(every["trigger_name"][distance.deg < radius - 1e-7])
    reach = set(every["trigger_name"][distance.deg <= radius + 1e-7])
    assert inside <= set(found["trigger_name"]) <= reach


@pytest.mark.parametrize(
    "condition",
    [
        "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10, 20, 30)) = 1",
        "CONTAINS(POINT(ra, dec), CIRCLE(POINT(10, 20), 30)) <> 0",
        "0 <> CONTAINS(POINT('', ra, dec), CIRCLE('', 10, 20, 30))",
        "DISTANCE(POINT('ICRS', ra, dec), POINT('ICRS', 10, 20)) <= 30",
        "30 >= DISTANCE(ra, dec, 10, 20)",
        "NOT (CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10, 20, 30)) = 0)",
        "CASE WHEN DISTANCE(ra, dec, 10, 20) > 30 THEN 0 ELSE 1 END = 1",
    ],
)
def test_ways_to_say_a_cone(heasarc: pyvo.dal.TAPService, condition: str) -> None:
    count = heasarc.run_sync(f"SELECT COUNT(*) AS n FROM fermigtrig WHERE {condition}")
    every = heasarc.run_sync("SELECT ra, dec FROM heasarc.fermigtrig").to_table()
    distance = SkyCoord(10 * u.deg, 20 * u.deg).separation(
        SkyCoord(every["ra"], every["dec"], unit="deg")
    )
    assert count["n"][0] == np.count_nonzero(distance.deg <= 30) > 0


def test_joins_groups_and_order(nsc: pyvo.dal.TAPService) -> None:
    query = """
    SELECT o.id, m.filter, COUNT(*) AS n, MIN(m.mjd + e.exptime / 172800) AS first
    FROM nsc_dr2.object AS o JOIN nsc_dr2.meas AS m ON m.objectid = o.id
    LEFT OUTER JOIN exposure AS e ON e.exposure = m.exposure
    WHERE o.id IN ('1_1', '2_1') GROUP BY o.id, m.filter ORDER BY o.id DESC, m.filter
    """
    found = nsc.run_sync(query).to_table()
    assert list(found["id"]) == ["2_1"] * 3 + ["1_1"] * 3
    assert list(found["n"]) == [N_EXPOSURES / 3] * 6
    assert found["first"][0] == pytest.approx(57_000 + 45 / 86_400, abs=1e-9)


def test_top_quoted_names_and_case(nsc: pyvo.dal.TAPService) -> None:
    query = 'SELECT TOP 3 M."filter" AS "Band", MJD FROM NSC_DR2.MEAS AS m ORDER BY mjd DESC'
    found = nsc.run_sync(query)
    assert len(found) == 3
    assert found.fieldnames == ("Band", "mjd")


def test_units_follow_columns_and_not_expressions(nsc: pyvo.dal.TAPService) -> None:
    found = nsc.run_sync("SELECT mjd AS epoch, m.*, mjd + 1 AS later FROM nsc_dr2.meas AS m")
    units = {field.name: field.unit for field in found.fielddescs}
    assert units["epoch"] == u.d
    assert units["mag_auto"] == u.mag
    assert units["later"] is None


def test_names_of_expressions_and_doubles(nsc: pyvo.dal.TAPService) -> None:
    found = nsc.run_sync("SELECT COUNT(*), COUNT(*) FROM nsc_dr2.meas")
    assert len(set(found.fieldnames)) == 2
    found = nsc.run_sync("SELECT TOP 1 a.id, b.id FROM object AS a JOIN object AS b ON a.id = b.id")
    assert len(set(found.fieldnames)) == 2


def test_left_join_gives_nulls(nsc: pyvo.dal.TAPService) -> None:
    query = """
    SELECT m.measid, e.exptime FROM nsc_dr2.meas AS m
    LEFT OUTER JOIN nsc_dr2.exposure AS e ON e.exposure = m.exposure WHERE m.objectid = '1_1'
    """
    found = nsc.run_sync(query).to_table()
    assert len(found) == N_EXPOSURES
    assert np.count_nonzero(np.isnan(np.ma.filled(found["exptime"], math.nan))) == 1


@pytest.mark.parametrize("form", ["votable", "votable/td", "csv"])
def test_formats_say_the_same(laboratory: Laboratory, form: str) -> None:
    query = "SELECT * FROM fermigtrig ORDER BY trigger_name"
    reply = requests.get(
        laboratory.url("heasarc") + "/tap/sync",
        {"QUERY": query, "LANG": "ADQL", "REQUEST": "doQuery", "FORMAT": form},
        timeout=10,
    )
    if form == "csv":
        table = Table.read(reply.text, format="ascii.csv")
    else:
        table = parse_single_table(io.BytesIO(reply.content)).to_table()
    assert table.colnames[:3] == ["trigger_name", "ra", "dec"]
    assert table["trigger_type"][0] == 'GRB <"a", b>'
    assert np.isnan(np.ma.filled(table["reliability"].astype(float), math.nan)).sum() == 58
    assert table["reliability"][1] == pytest.approx(1 / 7, rel=1e-15)
    assert float(np.sum(table["ra"])) == pytest.approx(71_000, abs=10_000)


@pytest.mark.parametrize("serialization", ["tabledata", "binary2"])
def test_uploads_of_both_serialisations(heasarc: pyvo.dal.TAPService, serialization: str) -> None:
    document = VOTableFile.from_table(sample(50))
    document.get_first_table().format = serialization
    content = io.BytesIO()
    document.to_xml(content)
    content.seek(0)
    query = "SELECT target, ra FROM TAP_UPLOAD.sample ORDER BY target"
    found = heasarc.run_sync(query, uploads={"sample": content}).to_table()
    wanted = sample(50)
    wanted.sort("target")
    assert list(found["target"]) == list(wanted["target"])
    assert np.array_equal(found["ra"], wanted["ra"])


def test_booleans_and_large_integers_survive(laboratory: Laboratory) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    rubin = pyvo.dal.TAPService(laboratory.url("rubin") + "/tap", session=session)
    found = rubin.run_sync("SELECT objectid, detect_isprimary FROM dp1.object").to_table()
    assert found["objectId"][4] == 609_788_942_606_161_360
    assert list(found["detect_isPrimary"][[0, 2]]) == [True, False]
    assert found["detect_isPrimary"].mask.tolist() == [False, False, False, True, False]
    primary = rubin.run_sync("SELECT COUNT(*) AS n FROM object WHERE detect_isPrimary = 1")
    assert primary["n"][0] == 3


def test_maxrec_tells_the_overflow(heasarc: pyvo.dal.TAPService) -> None:
    whole = heasarc.run_sync("SELECT * FROM fermigtrig", maxrec=N_TRIGGERS)
    part = heasarc.run_sync("SELECT * FROM fermigtrig", maxrec=N_TRIGGERS - 1)
    assert (len(whole), whole.status[0]) == (N_TRIGGERS, "OK")
    assert (len(part), part.status[0]) == (N_TRIGGERS - 1, "OVERFLOW")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT fluxx FROM fermigtrig", "fluxx"),
        ("SELECT ra FROM fermigtrigg", 'unknown table "fermigtrigg"; tables: heasarc.fermigtrig'),
        ("SELECT ra FROM TAP_UPLOAD.other", "TAP_UPLOAD.other"),
        ("SELEC ra FROM fermigtrig", "cannot be parsed"),
        ("SELECT (ra FROM fermigtrig", "cannot be parsed"),
        ("DROP TABLE fermigtrig", "one SELECT statement"),
        ("SELECT ra FROM fermigtrig; SELECT ra FROM fermigtrig", "one SELECT statement"),
        ("SELECT BOX('ICRS', ra, dec, 1, 1) FROM fermigtrig", "BOX is not supported"),
        ("SELECT ra FROM fermigtrig WHERE DISTANCE(ra, dec) < 1", "expected POINT"),
    ],
)
@pytest.mark.parametrize("mode", ["run_sync", "run_async"])
def test_wrong_queries_are_explained(
    heasarc: pyvo.dal.TAPService, mode: str, query: str, message: str
) -> None:
    with pytest.raises(pyvo.dal.DALQueryError, match=message.replace("(", r"\(")):
        getattr(heasarc, mode)(query)


def test_wrong_uploads_are_explained(laboratory: Laboratory) -> None:
    address = laboratory.url("heasarc") + "/tap/sync"
    query = {"QUERY": "SELECT ra FROM fermigtrig", "UPLOAD": "sample,param:part"}
    missing = requests.post(address, query, timeout=10)
    assert missing.status_code == 400
    assert "the form has no part part" in missing.text
    broken = requests.post(address, query, files={"part": b"<html>"}, timeout=10)
    assert broken.status_code == 400
    assert "upload sample is no VOTable" in broken.text
    remote = requests.post(address, query | {"UPLOAD": "sample,http://else"}, timeout=10)
    assert "only param:" in remote.text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "QUERY is missing"),
        ({"QUERY": "SELECT ra FROM fermigtrig", "LANG": "PQL"}, "LANG: expected ADQL, found PQL"),
        ({"QUERY": "SELECT ra FROM fermigtrig", "MAXREC": "many"}, "MAXREC: expected a number"),
        ({"QUERY": "SELECT ra FROM fermigtrig", "FORMAT": "fits"}, "unknown format fits"),
    ],
)
def test_wrong_parameters_are_explained(
    laboratory: Laboratory, parameters: dict[str, str], message: str
) -> None:
    reply = requests.post(laboratory.url("heasarc") + "/tap/sync", parameters, timeout=10)
    assert reply.status_code == 400
    assert message in reply.text


def test_large_upload_is_joined_within_seconds(laboratory: Laboratory) -> None:
    """50,000 targets with as many objects as the table has take far less than all pairs."""
    heasarc = pyvo.dal.TAPService(laboratory.url("heasarc") + "/tap")
    begin_s = time.monotonic()
    found = heasarc.run_sync(MATCH, uploads={"sample": sample(50_000)}, maxrec=3_000_000)
    assert len(found) > 100_000
    assert time.monotonic() - begin_s < 30
    [record] = laboratory.log("heasarc")[-1:]
    assert len(record["targets"]) == 50_000
    assert record["rows"] == len(found)


def test_log_names_targets_rows_and_bytes(
    laboratory: Laboratory, heasarc: pyvo.dal.TAPService
) -> None:
    found = heasarc.run_sync(MATCH, uploads={"sample": sample(5)})
    heasarc.run_sync("SELECT ra FROM fermigtrig WHERE DISTANCE(ra, dec, -1.5, 2) < 3")
    heasarc.run_sync(
        "SELECT ra FROM fermigtrig WHERE trigger_name IN ('bn1', 'bn2') AND 1 = "
        "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 1.5, -2, 1))"
    )
    upload, _, constants = laboratory.log("heasarc")
    assert upload["targets"] == ["T0", "T1", "T2", "T3", "T4"]
    assert upload["rows"] == len(found)
    assert upload["bytes_in"] > 500
    assert upload["bytes_out"] > 500
    assert upload["start"] < upload["end"]
    assert constants["targets"] == ["1.5 -2.0", "bn1", "bn2"]


def test_heasarc_as_astroquery_asks_it(laboratory: Laboratory) -> None:
    client = HeasarcClass()
    client.VO_URL = laboratory.url("heasarc")
    found = client.query_tap("SELECT trigger_name FROM fermigtrig", maxrec=10).to_table()
    assert len(found) == 10


def test_query_service_of_data_lab(laboratory: Laboratory) -> None:
    address = laboratory.url("nsc") + "/query/query"
    sql = "SELECT id, ndet FROM nsc_dr2.object WHERE q3c_radial_query(ra, dec, 36, -32, 0.1)"
    reply = requests.get(address, {"sql": sql, "ofmt": "csv"}, timeout=10)
    assert reply.text.splitlines() == ["id,ndet", f'"1_1",{N_EXPOSURES}']


def test_upload_keeps_its_units(heasarc: pyvo.dal.TAPService) -> None:
    targets = sample(3)
    targets["ra"].unit = u.deg
    found = heasarc.run_sync("SELECT * FROM TAP_UPLOAD.s", uploads={"s": targets})
    assert isinstance(found.votable.get_first_table(), TableElement)
    assert found.getdesc("ra").unit == u.deg
