"""MAST as astroquery, unmodified, speaks it: search, paging, names and files."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import pytest
import requests
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astroquery.exceptions import RemoteServiceError
from astroquery.mast import Mast, ObservationsClass
from laboratory_sky import KEPLER_URI, KIC, N_CADENCES, STARS, TESS_URI, TIC

from laboratory import Laboratory

pytestmark = pytest.mark.filterwarnings("ignore:Coordinate string is being interpreted")
STAR = STARS[str(TIC)]


@pytest.fixture
def observations(laboratory: Laboratory) -> Iterator[ObservationsClass]:
    """Only addresses are changed, as a user's configuration of astroquery does."""
    client = ObservationsClass()
    portal = client._portal_api_connection
    base = laboratory.url("mast")
    portal.MAST_REQUEST_URL = base + "/api/v0/invoke"
    portal.COLUMNS_CONFIG_URL = base + "/portal/Mashup/Mashup.asmx/columnsconfig"
    portal.MAST_DOWNLOAD_URL = base + "/api/v0.1/Download/file"
    yield client
    portal._session.close()
    portal._column_configs.clear()


def test_search_by_name(observations: ObservationsClass) -> None:
    found = observations.query_criteria(
        target_name=f"KPLR{KIC:09d}", project=["Kepler", "K2"], dataproduct_type="timeseries"
    )
    assert list(found["obs_id"]) == [f"kplr{KIC:09d}_lc_Q1"]
    assert found["obsid"][0] == "60000001"


def test_search_by_wildcard_and_cadence(observations: ObservationsClass) -> None:
    assert len(observations.query_criteria(obs_id="kplr*", t_exptime=[1000, 2000])) == 1
    assert observations.query_criteria_count(obs_id="*", t_exptime=[0, 9999]) == 2
    assert observations.query_criteria_count(obs_id="*", t_exptime=[0, 1000]) == 1


def test_search_by_position(observations: ObservationsClass) -> None:
    place = SkyCoord(*STAR, unit="deg").directional_offset_by(30 * u.deg, 10 * u.arcsec)
    near = observations.query_region(place, radius=10.1 * u.arcsec)
    assert list(near["target_name"]) == [str(TIC)]
    assert near["distance"][0] == pytest.approx(10, abs=1e-6)
    assert observations.query_region_count(place, radius=9.9 * u.arcsec) == 0
    both = observations.query_criteria(
        coordinates=f"{STAR[0]} {STAR[1]}", radius="0.01 deg", project="TESS"
    )
    assert len(both) == 1


def test_pages_are_put_together(laboratory: Laboratory, observations: ObservationsClass) -> None:
    found = observations.query_criteria(obs_id="*", t_exptime=[0, 9999], pagesize=1)
    assert sorted(found["obsid"]) == ["60000000", "60000001"]
    asked = [r for r in laboratory.log("mast") if r["path"] == "/api/v0/invoke"]
    assert [record["rows"] for record in asked] == [1, 1]


def test_search_that_takes_a_while(laboratory: Laboratory, observations: ObservationsClass) -> None:
    observations.query_criteria(obs_id="kplr*")
    laboratory.clear_log()
    laboratory.faults([{"service": "mast", "action": "job_seconds", "seconds": 0.3}])
    begin_s = time.monotonic()
    assert len(observations.query_criteria(obs_id="kplr*")) == 1
    assert time.monotonic() - begin_s > 0.3
    # As long as it is EXECUTING, astroquery asks again.
    assert len(laboratory.log("mast")) > 2


def test_products_and_their_files(
    laboratory: Laboratory, observations: ObservationsClass, tmp_path: Path
) -> None:
    products = observations.get_product_list(["60000000", "60000001"])
    assert list(products["dataURI"]) == [TESS_URI, KEPLER_URI]
    assert not {"file", "cloud_key"} & set(products.colnames)
    manifest = observations.download_products(products, download_dir=str(tmp_path), verbose=False)
    assert list(manifest["Status"]) == ["COMPLETE", "COMPLETE"]
    with fits.open(manifest["Local Path"][0]) as file:
        assert len(file["LIGHTCURVE"].data) == N_CADENCES
    downloads = [r for r in laboratory.log("mast") if r["path"].endswith("Download/file")]
    assert {target for record in downloads for target in record["targets"]} == {
        TESS_URI,
        KEPLER_URI,
    }


def test_part_of_a_file(laboratory: Laboratory, small_sky: Path) -> None:
    address = laboratory.url("mast") + "/api/v0.1/Download/file"
    whole = (small_sky / "services/mast/stpubdata/tess/public/tid/s0014/lc.fits").read_bytes()
    part = requests.get(
        address, {"uri": TESS_URI}, headers={"Range": "bytes=2880-5759"}, timeout=10
    )
    assert part.status_code == 206
    assert part.content == whole[2880:5760]
    assert part.headers["content-range"] == f"bytes 2880-5759/{len(whole)}"
    beyond = requests.get(
        address, {"uri": TESS_URI}, headers={"Range": "bytes=9999999-"}, timeout=10
    )
    assert beyond.status_code == 416
    assert requests.get(address, {"uri": "mast:TESS/nothing"}, timeout=10).status_code == 404


def test_fsspec_reads_ranges(laboratory: Laboratory) -> None:
    address = f"{laboratory.url('mast')}/api/v0.1/Download/file?uri={KEPLER_URI}"
    with fits.open(address, use_fsspec=True, fsspec_kwargs={"block_size": 2880}) as file:
        assert file[1].header["TELESCOP"] == "Kepler"
    assert 206 in {record["status"] for record in laboratory.log("mast")}


def test_paths_in_the_cloud(laboratory: Laboratory) -> None:
    address = laboratory.url("mast") + "/api/v0.1/path_lookup/"
    found = requests.get(address, {"uri": [TESS_URI, KEPLER_URI]}, timeout=10).json()
    assert found == {
        TESS_URI: {"status_code": 200, "path": "/tess/public/tid/s0014/lc.fits"},
        KEPLER_URI: {"status_code": 404, "path": None},
    }


@pytest.mark.parametrize(
    ("name", "ra_deg", "dec_deg"),
    [(f"TIC {TIC}", *STAR), (f"kic {KIC}", *STARS[f"kplr{KIC:09d}"]), ("10.5, -3.25", 10.5, -3.25)],
)
def test_names(laboratory: Laboratory, name: str, ra_deg: float, dec_deg: float) -> None:
    address = laboratory.url("mast") + "/Santa-war/query"
    reply = requests.get(address, {"name": name, "outputFormat": "json"}, timeout=10)
    [found] = reply.json()["resolvedCoordinate"]
    assert (found["searchString"], found["ra"], found["decl"]) == (name.lower(), ra_deg, dec_deg)
    request = {"service": "Mast.Name.Lookup", "params": {"input": name, "format": "json"}}
    reply = requests.post(
        laboratory.url("mast") + "/api/v0/invoke", {"request": json.dumps(request)}, timeout=10
    )
    assert reply.json()["resolvedCoordinate"] == [found]


def test_unknown_name_has_no_position(laboratory: Laboratory) -> None:
    address = laboratory.url("mast") + "/Santa-war/query"
    assert requests.get(address, {"name": "TIC 1"}, timeout=10).json()["resolvedCoordinate"] == []


def test_errors_are_explained(laboratory: Laboratory, observations: ObservationsClass) -> None:
    client = Mast()
    client._portal_api_connection = observations._portal_api_connection
    with pytest.raises(RemoteServiceError, match=r"unknown service Mast\.Caom\.Nothing"):
        client.service_request("Mast.Caom.Nothing", {})
    laboratory.faults([{"path": "invoke", "action": "votable_error", "message": "busy"}])
    with pytest.raises(RemoteServiceError, match="busy"):
        observations.query_criteria(obs_id="kplr*")
