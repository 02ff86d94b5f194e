"""Real replies of Horizons and real alerts, made by the archives and not by this project."""

import numpy as np
import pyarrow as pa
import pytest
import requests

from lightloom.errors import BadRequestError
from lightloom.moving.alert_folder import AlertFolder
from lightloom.moving.alerts import difference_flux_ujy
from lightloom.moving.horizons import parse_reply, samples_of_table
from lightloom.moving.windows import Window
from project import REPOSITORY

REAL = REPOSITORY.parent / "shared" / "real"
ALL_TIMES = Window("all", 40000.0, 80000.0)
#: The columns of lists per object, as Fink gives them.
FINK_SSO = {
    "alert_object": "ssnamenr",
    "jd": "cjd",
    "ra_deg": "cra",
    "dec_deg": "cdec",
    "fid": "cfid",
    "magpsf": "cmagpsf",
    "sigmapsf": "csigmapsf",
}

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside")


def reply(name: str) -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    response._content = (REAL / "horizons" / name).read_bytes()
    return response


@pytest.mark.parametrize(
    ("file", "n_rows", "first", "last"),
    [
        (
            "TestEphemerisCLI-2p-horizons.txt",
            61,
            (2460538.5, 329.30474, -15.12338),
            (2460598.5, 317.20058, -17.61525),
        ),
        ("TestEphemerisCLI-ceres-horizons.txt", 61, (2460538.5, 278.62427, -30.91559), None),
        ("ceres_ephemerides_range.txt", 4, (2459740.5, 101.73343, 26.78554), None),
    ],
)
def test_real_replies_of_horizons(file, n_rows, first, last) -> None:
    samples = samples_of_table(parse_reply(reply(file), "the object"), "the object")
    assert len(samples.time_mjd) == n_rows
    for number, expected in ((0, first), (-1, last)):
        if expected is not None:
            found = (samples.time_mjd[number], samples.ra_deg[number], samples.dec_deg[number])
            assert found == pytest.approx((expected[0] - 2400000.5, *expected[1:]), abs=1e-9)
    assert np.isfinite(samples.r_au + samples.delta_au + samples.phase_deg + samples.v_mag).all()


def test_ceres_has_its_published_quantities() -> None:
    samples = samples_of_table(parse_reply(reply("ceres_ephemerides_range.txt"), "Ceres"), "Ceres")
    assert samples.r_au[0] == 2.603715306632
    assert samples.delta_au[0] == 3.51731638211972
    assert samples.phase_deg[0] == 8.3884
    assert samples.v_mag[0] == 8.741
    assert samples.uncertainty_arcsec[0] == pytest.approx(0.0, abs=1e-3)


def test_a_real_error_reply_names_the_object() -> None:
    with pytest.raises(BadRequestError, match=r"67P: Horizons answered .*no TLIST values found"):
        parse_reply(reply("tlist_error.txt"), "67P")


def alerts(folder: str, columns: dict[str, str] | None = None) -> pa.Table:
    source = AlertFolder(str(REAL / "alerts" / folder), {}, columns or {}, 30.0, "start")
    return pa.concat_tables(source.batches(ALL_TIMES))


def test_real_packets() -> None:
    found = alerts("kowalski_20200202")
    assert found.num_rows == 12
    one = found.filter(pa.array([c == 1105522281015015000 for c in found["candid"].to_pylist()]))
    row = one.to_pylist()[0]
    # jd is the start: half of the 30 s exposure later is its middle.
    assert row["time_mjd"] == pytest.approx(2458860.0222801 - 2400000.5 + 15.0 / 86400.0, abs=1e-9)
    assert (row["ra_deg"], row["dec_deg"], row["band"]) == (185.7288484, 15.8236168, "g")
    assert row["survey_field"] == "576/10"
    assert row["ssnamenr"] is None
    assert set(found["ssnamenr"].to_pylist()) == {None}


def test_real_parquet_of_nested_candidates() -> None:
    found = alerts("fink-science")
    assert found.num_rows == 67
    ((number, name),) = [
        (n, name) for n, name in enumerate(found["ssnamenr"].to_pylist()) if name == "4371"
    ]
    assert name == "4371"
    row = found.slice(number, 1)
    assert row["alert_object"].to_pylist() == ["ZTF21acqdcyb"]
    flux, _ = difference_flux_ujy(row)
    assert flux[0] == pytest.approx(123.775, abs=1e-3)


def test_real_lists_of_alerts_per_object() -> None:
    found = alerts("fink_sso_8467_33803_2024.parquet", FINK_SSO)
    names = found["alert_object"].to_pylist()
    assert (names.count("33803"), names.count("8467")) == (16, 69)
