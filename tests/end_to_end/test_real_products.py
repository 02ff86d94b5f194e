"""Real files of the service archives give the numbers that were computed from them independently.

The light-curve files are also served as MAST serves them, and fetched. Gaia's and WISE's files pass
through the whole reader in tests/unit/archives.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.config import load_run
from lightloom.schema import SHARD
from lightloom.services.fits_lightcurve import PIPELINE_COLUMNS, read_lightcurve_fits
from lightloom.times import to_mjd_tdb_barycentre
from lightloom.units import ab_mag_to_mjy, flux_factor
from project import REPOSITORY

REAL = REPOSITORY.parent / "shared" / "real"
CATALOGUE = yaml.safe_load((REPOSITORY / "config" / "archives.yaml").read_text())["catalogue"]
KEPLER = REAL / "kepler_tess" / "kplr011442793-2010009091648_llc.fits"
TESS = REAL / "kepler_tess" / "hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits"

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="needs ../shared/real, files that the archives have made"
)

#: Of the cadences with a time and a corrected flux: number, first, last [MJD TDB], median [e-/s].
NUMBERS = {
    KEPLER: (1_021, 1_008, 55184.897427, 55205.718959, 43252.471),
    TESS: (20_076, 19_261, 58324.795260, 58352.677332, 9261.920),
}


def numbers(time_mjd: pd.Series, value: pd.Series) -> tuple[int, int, float, float, float]:
    usable = time_mjd.notna() & value.notna()
    time_mjd, n_rows = time_mjd[usable], len(value)
    return n_rows, usable.sum(), time_mjd.min(), time_mjd.max(), value[usable].median()


@pytest.mark.parametrize("path", [KEPLER, TESS], ids=["kepler", "tess"])
def test_light_curve_files(path: Path) -> None:
    flags = "SAP_QUALITY" if path is KEPLER else "QUALITY"
    table = read_lightcurve_fits(path, columns=PIPELINE_COLUMNS | {"quality": flags})
    found = numbers(table["time_mjd"].to_pandas(), table["pdcsap_flux"].to_pandas())
    assert found[:2] == NUMBERS[path][:2]
    assert found[2:4] == pytest.approx(NUMBERS[path][2:4], abs=1e-6, rel=0)
    assert found[4] == pytest.approx(NUMBERS[path][4], abs=5e-4)
    assert table.schema.metadata[b"unit"] == b"electron/s"


@pytest.mark.parametrize(
    ("name", "path", "author", "target_name", "place", "description", "field", "object_id"),
    [
        (
            *("kepler", KEPLER, "Kepler", "kplr011442793", (284.433491, 49.30516)),
            *("Lightcurve Long Cadence (CLC) - Q4", "q04", "KIC 11442793"),
        ),
        (
            *("tess", TESS, "TESS-SPOC", "25155310", (63.37389, -69.226789)),
            *("Light curve", "s0001", "TIC 25155310"),
        ),
    ],
    ids=["kepler", "tess"],
)
def test_light_curve_files_fetched(
    tmp_path: Path,
    name: str,
    path: Path,
    author: str,
    target_name: str,
    place: tuple[float, float],
    description: str,
    field: str,
    object_id: str,
) -> None:
    folder = tmp_path / "sky" / "services" / "mast"
    folder.mkdir(parents=True)
    (folder / path.name).symlink_to(path)
    observation = {
        "obsid": 1,
        "project": "Kepler" if name == "kepler" else "TESS",
        "dataproduct_type": "timeseries",
        "target_name": target_name,
        "s_ra": place[0],
        "s_dec": place[1],
        "provenance_name": author,
        "t_exptime": 120.0,
        "sequence_number": 1,
    }
    product = {
        "obsID": 1,
        "dataURI": f"mast:HLSP/{path.name}",
        "productFilename": path.name,
        "description": description,
        "size": path.stat().st_size,
        "file": path.name,
    }
    no_copy = pa.nulls(1, pa.string())
    pq.write_table(pa.Table.from_pylist([observation]), folder / "observations.parquet")
    pq.write_table(
        pa.Table.from_pylist([product]).append_column("cloud_key", no_copy),
        folder / "products.parquet",
    )
    with Laboratory(tmp_path / "sky") as laboratory:
        changes = {"endpoint": laboratory.url("mast"), "access": "onprem"}
        run = load_run(
            {
                "sample": {
                    "sources": [{"kind": "table", "path": "x.csv", "ra": "ra", "dec": "dec"}]
                },
                "archives": {name: {"enabled": True, **changes}},
                "catalogue": {name: CATALOGUE[name]},
            }
        )
        archive = get_archive(run.archives[name], tmp_path / "state")
        archive.probe()
        shard = pa.Table.from_pylist(
            [
                {
                    "objectid": "star",
                    "ra_deg": place[0],
                    "dec_deg": place[1],
                    "_healpix_29": 0,
                }
            ],
            SHARD,
        )
        (request,) = archive.plan(shard).requests
        rows = archive.answer(shard, request).rows.to_pandas()
    band = "Kepler" if name == "kepler" else "TESS"
    assert rows.groupby("band").size().to_dict() == {
        band: NUMBERS[path][0],
        f"{band}_SAP": NUMBERS[path][0],
    }
    one = rows[rows["band"] == band]
    found = numbers(one["time_mjd"], one["native_value"])
    assert found[:2] == NUMBERS[path][:2]
    assert found[2:4] == pytest.approx(NUMBERS[path][2:4], abs=1e-6, rel=0)
    assert found[4] == pytest.approx(NUMBERS[path][4], abs=5e-4)
    assert set(rows["survey_field"]) == {field}
    assert set(rows["survey_object_id"]) == {object_id}
    assert (one.loc[one["time_mjd"].isna(), "quality"] == 2).all()
    assert one["match_arcsec"].max() < 1e-6


def test_fluxes_of_a_rubin_object() -> None:
    locus = json.loads((REAL / "rubin" / "antares_lsst_locus.json").read_text())
    first = locus["alerts"][0]
    flux_mjy = first["lsst_diaSource_psfFlux"] * flux_factor("nJy")
    assert flux_mjy == pytest.approx(0.0769254, rel=1e-6)
    assert 16.4 - 2.5 * np.log10(flux_mjy) == pytest.approx(19.184825, abs=1e-6)
    time_mjd = np.array([alert["lsst_diaSource_midpointMjdTai"] for alert in locus["alerts"]])
    sky = SkyCoord(locus["ra"], locus["dec"], unit="deg")
    expected = barycentric(Time(time_mjd, format="mjd", scale="tai"), sky)
    found = to_mjd_tdb_barycentre(
        time_mjd,
        np.full(time_mjd.size, locus["ra"]),
        np.full(time_mjd.size, locus["dec"]),
        time_scale="tai",
        time_ref="topocentre",
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_times_of_gamma_ray_bursts() -> None:
    bursts = pd.read_csv(REAL / "high_energy" / "heasarc_fermigbrst_2018.csv")
    time_mjd = bursts["time"].to_numpy()
    assert (len(bursts), time_mjd.min(), time_mjd.max()) == (
        1_956,
        pytest.approx(54661.08625, abs=5e-6),
        pytest.approx(57711.63271, abs=5e-6),
    )
    ra_deg, dec_deg = bursts["ra"].to_numpy(), bursts["dec"].to_numpy()
    found = to_mjd_tdb_barycentre(time_mjd, ra_deg, dec_deg, time_scale="utc", time_ref="geocentre")
    sky = SkyCoord(ra_deg, dec_deg, unit="deg")
    expected = barycentric(Time(time_mjd, format="mjd", scale="utc"), sky)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def barycentric(time: Time, sky: SkyCoord) -> np.ndarray:
    """MJD in TDB at the barycentre by astropy, for an observer at the Earth's centre."""
    centre = EarthLocation.from_geocentric(0, 0, 0, unit="m")
    delay = time.light_travel_time(sky, "barycentric", location=centre, ephemeris="builtin")
    return (time.tdb + delay).mjd


def test_magnitudes_of_wise() -> None:
    reply = pd.read_csv(REAL / "wise" / "timewise_raw_photometry_neowiser_p1bs_psd__chunk0.csv")
    offset_mag = CATALOGUE["neowise"]["bands"]["W1"]["ab_minus_vega_mag"]
    assert offset_mag == 2.699
    is_known = reply["W1_mag"].to_numpy() == 13.183
    assert is_known.any()
    flux_mjy, flux_err_mjy = ab_mag_to_mjy(
        reply["W1_mag"].to_numpy()[is_known] + offset_mag,
        reply["W1_mag_error"].to_numpy()[is_known],
    )
    assert flux_mjy == pytest.approx(1.611388, rel=1e-6)
    # Half the difference between the fluxes at mag - err and mag + err is larger by a part in 1e3.
    upper, lower = (
        ab_mag_to_mjy(13.183 + offset_mag + sign * reply["W1_mag_error"][is_known], np.zeros(1))[0]
        for sign in (-1, 1)
    )
    assert flux_err_mjy == pytest.approx(((upper - lower) / 2).to_numpy(), rel=2e-3)
