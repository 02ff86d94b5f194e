"""Unmodified clients ask the services that list targets, as the real ones are asked."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pyvo
import requests
from astropy.coordinates import get_icrs_coordinates
from astropy.coordinates.name_resolve import NameResolveError, sesame_database, sesame_url
from astropy.utils.exceptions import AstropyWarning
from astroquery.exceptions import RemoteServiceError
from astroquery.ipac.ned import Ned
from astroquery.sdss import SDSS, conf
from astroquery.vizier import Vizier

from laboratory import Laboratory
from lightloom.sky.services import write_registries
from lightloom.sky.targets import Target

TARGETS = [Target(f"T {number}", 10.0 + number, 5.0 - number, "t") for number in range(60)]


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("registries") / "sky"
    write_registries(folder / "services", TARGETS, 7)
    with Laboratory(folder) as running:
        yield running


def test_ned(registries: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ned, "OBJ_SEARCH_URL", registries.url("ned") + "/objsearch")
    with warnings.catch_warnings():
        # Of the unit that NED writes out.
        warnings.simplefilter("ignore", AstropyWarning)
        table = Ned.query_refcode("2016ApJ...826..188R")
        assert list(table["Object Name"]) == ["T 0", "T 1", "T 2"]
        assert (table["RA"][2], table["DEC"][2]) == (12.0, 3.0)
        with pytest.raises(RemoteServiceError, match="No objects found for refcode 1999"):
            Ned.query_refcode("1999A&A..........1X")


def test_vizier(registries: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = registries.url("vizier") + "/votable"
    monkeypatch.setattr(type(Vizier), "_server_to_url", lambda self, return_type="votable": address)
    everything = Vizier(columns=["**", "_RAJ2000"], row_limit=-1)
    everything.cache_location = tmp_path
    tables = everything.get_catalogs("J/ApJ/874/8")
    assert tables.keys() == ["J/ApJ/874/8/table1", "J/ApJ/874/8/table2"]
    assert len(tables[0]) == 60
    assert {"_RAJ2000", "SDSS", "CLQ_", "Nsigma"} <= set(tables[0].colnames)
    assert "_DEJ2000" not in tables[0].colnames
    # Fifty rows unless more are asked for.
    few = Vizier(columns=["**"])
    few.cache_location = tmp_path
    assert len(few.get_catalogs("J/ApJ/933/180")[0]) == 50


def test_sdss(registries: Laboratory) -> None:
    with conf.set_temp("skyserver_baseurl", registries.url("sdss")):
        sql = "SELECT TOP 3 specObjID, ra, z FROM SpecObj WHERE class = 'QSO' ORDER BY specObjID"
        table = SDSS.query_sql(sql, data_release=16, cache=False)
        assert table.colnames == ["specObjID", "ra", "z"]
        assert len(table) == 3
        table = SDSS.query_sql("SELECT specObjID FROM SpecObj", cache=False)
        assert len(table) == 1000


def test_simbad(registries: Laboratory) -> None:
    service = pyvo.dal.TAPService(registries.url("simbad") + "/tap")
    rows = service.search(
        'SELECT basic."main_id", basic."ra" FROM basic JOIN has_ref ON basic."oid" ='
        ' has_ref."oidref" JOIN ref ON has_ref."oidbibref" = ref."oidbib"'
        " WHERE ref.bibcode = '2022MNRAS.513L..57L'"
    ).to_table()
    assert sorted(rows["main_id"]) == ["T 0", "T 1", "T 2", "T 3"]
    assert service.hardlimit == 2_000_000


def test_sesame(registries: Laboratory) -> None:
    with sesame_url.set([registries.url("sesame") + "/"]), sesame_database.set("all"):
        found = get_icrs_coordinates("t7")
        assert (found.ra.deg, found.dec.deg) == pytest.approx((17.0, -2.0))
        with pytest.raises(NameResolveError, match="Unable to find coordinates for name 'nobody'"):
            get_icrs_coordinates("nobody")


def test_alerce(registries: Laboratory) -> None:
    def ask(**parameters: object) -> requests.Response:
        return requests.get(registries.url("alerce") + "/objects", parameters, timeout=10)

    reply = ask(oid=["ZTF18aaaaaab", "ZTF18aaaaaac", "ZTF18zzzzzzz"]).json()
    assert [item["oid"] for item in reply["items"]] == ["ZTF18aaaaaab", "ZTF18aaaaaac"]
    assert (reply["total"], reply["has_next"], reply["next"]) == (2, False, None)
    assert (reply["items"][0]["meanra"], reply["items"][0]["meandec"]) == (11.0, 4.0)
    second = ask(page=6, page_size=10).json()
    assert (len(second["items"]), second["has_next"], second["prev"]) == (10, False, 5)
    assert ask(page="x").status_code == 400


@pytest.mark.parametrize("service", ["ned", "vizier", "sdss", "sesame", "alerce"])
def test_faults_reach_every_service(service: str, registries: Laboratory) -> None:
    paths: dict[str, Callable[[], requests.Response]] = {
        "ned": lambda: get("ned/objsearch", of="xml_main", refcode="2016ApJ...826..188R"),
        "vizier": lambda: get("vizier/votable", **{"-source": "J/ApJ/874/8", "-out.all": ""}),
        "sdss": lambda: get("sdss/dr16/en/tools/search/x_results.aspx", **SQL),
        "sesame": lambda: get("sesame/SNV?T%201"),
        "alerce": lambda: get("alerce/objects", oid="ZTF18aaaaaab"),
    }

    def get(path: str, **parameters: str) -> requests.Response:
        return requests.get(f"{registries.base}/{path}", parameters, timeout=10)

    whole = paths[service]()
    assert whole.status_code == 200
    for fault in ({"action": "html"}, {"action": "overflow", "fraction": 0.0}):
        registries.faults([{"service": service, **fault}])
        assert paths[service]().content != whole.content
    registries.faults([{"service": service, "action": "cut", "fraction": 0.5}])
    with pytest.raises(requests.RequestException):
        paths[service]()
    registries.faults([])
    assert paths[service]().content == whole.content


SQL = {"cmd": "SELECT TOP 3 specObjID FROM SpecObj ORDER BY specObjID", "format": "csv"}
