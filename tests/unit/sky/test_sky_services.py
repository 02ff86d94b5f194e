"""The tables and files of the services are as their servers have them."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st
from mocpy import MOC

from lightloom.sky.services import rubin
from lightloom.sky.services.tables import to_table

TABLES = (
    *("heasarc/fermigtrig", "heasarc/saxgrbmgrb", "heasarc/icecubepsc", "heasarc/xmmssc"),
    *("rubin/dp1.Object", "rubin/dp1.ForcedSource", "rubin/dp1.Visit"),
    *("nsc/nsc_dr2.object", "nsc/nsc_dr2.meas", "nsc/nsc_dr2.exposure"),
    *("mast/observations", "mast/products", "hcv/hcvsummary", "hcv/hcv"),
    *("ned/objects", "simbad/basic", "simbad/ident", "simbad/ref", "simbad/has_ref"),
    *("sesame/names", "sdss/SpecObj", "alerce/objects", "vizier/J_ApJ_874_8_table1"),
    *("vizier/J_ApJ_874_8_table2", "vizier/J_ApJ_933_180_table2"),
)


@pytest.fixture(scope="module")
def services(small_sky: Path) -> Path:
    return small_sky / "services"


@pytest.fixture(scope="module")
def products(services: Path) -> pd.DataFrame:
    return read(services, "mast/products")


def read(services: Path, name: str) -> pd.DataFrame:
    return pq.read_table(services / f"{name}.parquet").to_pandas()


def stored(products: pd.DataFrame) -> pd.DataFrame:
    return products[products["file"].notna()]


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_described(services: Path, name: str) -> None:
    table = pq.read_table(services / f"{name}.parquet")
    assert table.num_rows > 0
    for field in table.schema:
        metadata = field.metadata or {}
        assert {b"description", b"ucd"} <= metadata.keys(), field.name
        with warnings.catch_warnings():
            # Some archives write units with two slashes.
            warnings.simplefilter("ignore", u.UnitsWarning)
            u.Unit(metadata.get(b"unit", b"").decode())
    positions = [n for n in table.column_names if n.lower() in ("ra", "coord_ra", "s_ra")]
    for column in positions:
        assert table.schema.field(column).metadata[b"unit"] == b"deg"
        # SIMBAD does not know where each of its objects is.
        assert table[column].drop_null().to_numpy().min() >= 0.0
        assert table[column].drop_null().to_numpy().max() < 360.0


@pytest.mark.parametrize(
    ("child", "key", "parent", "parent_key"),
    [
        ("nsc/nsc_dr2.meas", "objectid", "nsc/nsc_dr2.object", "id"),
        ("nsc/nsc_dr2.meas", "exposure", "nsc/nsc_dr2.exposure", "exposure"),
        ("rubin/dp1.ForcedSource", "objectId", "rubin/dp1.Object", "objectId"),
        ("rubin/dp1.ForcedSource", "visit", "rubin/dp1.Visit", "visit"),
        ("mast/products", "obsID", "mast/observations", "obsid"),
    ],
)
def test_rows_have_their_parents(
    services: Path, child: str, key: str, parent: str, parent_key: str
) -> None:
    parents = read(services, parent)[parent_key]
    assert parents.is_unique
    assert set(read(services, child)[key]) <= set(parents)


def test_summaries_have_their_magnitudes(services: Path) -> None:
    summary, details = read(services, "hcv/hcvsummary"), read(services, "hcv/hcv")
    keys = ["MatchID", "Filter"]
    assert not summary.duplicated(keys).any()
    measured = details[details["CorrMag"] < 99.0].groupby(keys).size()
    assert summary.set_index(keys)["NumLC"].sort_index().tolist() == measured.tolist()
    assert (summary.groupby("MatchID")["Filter"].size() > 1).any()
    assert (details["MagErr"] == 99.0).any()


def test_nsc_has_its_sentinel_in_single_precision(services: Path) -> None:
    mag = read(services, "nsc/nsc_dr2.meas")["mag_auto"]
    assert mag.dtype == np.float32
    assert (mag == np.float32(99.99)).any()
    assert not (mag.astype(np.float64) == 99.99).any()


def test_nsc_exposures_are_named_by_their_start(services: Path) -> None:
    exposures = read(services, "nsc/nsc_dr2.exposure")
    named = pd.to_datetime(exposures["exposure"].str[4:17], format="%y%m%d_%H%M%S")
    start = Time(exposures["mjd"].to_numpy(), format="mjd", scale="utc").to_datetime()
    late_s = (pd.Series(start) - named).dt.total_seconds()
    # Names have whole seconds, cut off from times that are rounded to milliseconds.
    assert late_s.between(-0.001, 1.0).all()


def test_rubin_objects_lie_in_the_fields(services: Path) -> None:
    text = (services / "rubin" / "footprint.txt").read_text()
    assert text == rubin.FOOTPRINT_MOC
    moc = MOC.from_string(text, format="ascii")
    objects = read(services, "rubin/dp1.Object")
    ra_deg, dec_deg = (objects[f"coord_{name}"].to_numpy() * u.deg for name in ("ra", "dec"))
    assert moc.contains_skycoords(SkyCoord(ra_deg, dec_deg)).all()
    assert set(objects["detect_isPrimary"]) == {True, False}
    forced = read(services, "rubin/dp1.ForcedSource")
    assert (forced["psfFlux"] < 0).any()
    no_flux = forced["psfFlux"].isna()
    assert no_flux.any()
    assert forced.loc[no_flux, "psfFlux_flag"].all()
    assert set(forced["band"]) == set("ugrizy")


def test_events_are_of_all_kinds(services: Path) -> None:
    triggers = read(services, "heasarc/fermigtrig")
    assert triggers["trigger_name"].is_unique
    assert {"GRB", "SFLARE", "TGF"} < set(triggers["trigger_type"])
    assert triggers["error_radius"].between(0.5, 25.0).all()
    neutrinos = read(services, "heasarc/icecubepsc")
    assert 2_000 <= len(neutrinos) <= 5_000
    assert neutrinos["error_radius"].between(0.2, 2.0).all()
    assert set(read(services, "heasarc/xmmssc")["sum_flag"]) == {0, 1, 2, 3, 4}


def test_products_lie_where_the_portal_says(services: Path, products: pd.DataFrame) -> None:
    files = stored(products)
    for product in files.itertuples():
        path = services / "mast" / product.file
        assert path.stat().st_size == product.size
        assert path.name == product.productFilename == product.dataURI.rpartition("/")[2]
    in_cloud = files["cloud_key"].notna()
    assert (files["file"][in_cloud] == "stpubdata/" + files["cloud_key"][in_cloud]).all()
    assert 0 < in_cloud.sum() < len(files)
    written = {str(p.relative_to(services / "mast")) for p in (services / "mast").rglob("*.fits")}
    assert written == set(files["file"])
    assert products["dataURI"].is_unique


def test_paths_are_those_of_the_bucket(products: pd.DataFrame) -> None:
    keys = products["cloud_key"].dropna()
    forms = [
        r"tess/public/tid/s\d{4}/(\d{4}/){4}tess\d{13}-s\d{4}-\d{16}-\d{4}-(s_lc|a_fast-lc)\.fits",
        r"mast/hlsp/tess-spoc/s\d{4}/target/(\d{4}/){4}"
        r"hlsp_tess-spoc_tess_phot_\d{16}-s\d{4}_tess_v1_lc\.fits",
        r"mast/hlsp/tasoc/s\d{4}/c1800/(\d{4}/){4}"
        r"hlsp_tasoc_tess_ffi_tic\d{11}-s\d{4}-c1800_tess_v05_cbv-lc\.fits",
        r"mast/hlsp/qlp/s\d{4}/(\d{4}/){4}hlsp_qlp_tess_ffi_s\d{4}-\d{16}_tess_v01_llc\.fits",
        r"kepler/public/lightcurves/\d{4}/\d{9}/kplr\d{9}-\d{13}_[ls]lc\.fits",
        r"k2/public/lightcurves/c\d+/\d{9}/\d{5}/ktwo\d{9}-c\d\d_llc\.fits",
    ]
    matched = [keys.str.fullmatch(form).sum() for form in forms]
    assert min(matched) > 0
    assert sum(matched) == len(keys)


def hdu_lists(services: Path, products: pd.DataFrame) -> Iterator[tuple[pd.Series, fits.HDUList]]:
    observations = read(services, "mast/observations").set_index("obsid")
    for _, product in stored(products).iterrows():
        with fits.open(services / "mast" / product["file"], memmap=False) as hdus:
            yield pd.concat([product, observations.loc[product["obsID"]]]), hdus


def test_headers_agree_with_the_portal(services: Path, products: pd.DataFrame) -> None:
    zeros = set()
    for row, hdus in hdu_lists(services, products):
        hdus.verify("exception")
        primary, header = hdus["PRIMARY"].header, hdus["LIGHTCURVE"].header
        project = row["filters"].iloc[0]
        mission_id = primary["TICID"] if project == "TESS" else primary["KEPLERID"]
        assert str(mission_id) == row["target_name"].lstrip("kplrtwo").lstrip("0")
        # A card has room for 16 digits at most.
        assert primary["RA_OBJ"] == pytest.approx(row["s_ra"], rel=1e-14)
        assert primary["DEC_OBJ"] == pytest.approx(row["s_dec"], rel=1e-14)
        sequence = [primary[key] for key in ("SECTOR", "QUARTER", "CAMPAIGN") if key in primary]
        if np.isfinite(row["sequence_number"]):
            assert sequence == [row["sequence_number"]]
        else:
            assert row["description"].endswith(f"- Q{sequence[0]}")
        assert header["TIMESYS"] == "TDB"
        assert header["TIMEDEL"] * 86400.0 == pytest.approx(row["t_exptime"], rel=0.02)
        zeros.add((header["BJDREFI"], header["BJDREFF"]))
        time_mjd = hdus["LIGHTCURVE"].data["TIME"] + header["BJDREFI"] + header["BJDREFF"]
        time_mjd -= 2_400_000.5
        assert row["t_min"] <= np.nanmin(time_mjd) <= np.nanmax(time_mjd) <= row["t_max"]
        assert "DATE" not in primary
        assert hdus["APERTURE"].data.dtype.kind == "i"
    assert zeros == {(2_457_000, 0.0), (2_454_833, 0.0), (2_400_000, 0.5)}


def test_cadences_have_the_holes_of_real_files(services: Path, products: pd.DataFrame) -> None:
    seen = {"no time": 0, "no flux": 0, "flagged": 0, "normalised": 0}
    for row, hdus in hdu_lists(services, products):
        data, columns = hdus["LIGHTCURVE"].data, hdus["LIGHTCURVE"].columns
        flags = data["SAP_QUALITY" if "SAP_QUALITY" in columns.names else "QUALITY"]
        if row["provenance_name"] == "TASOC":
            assert (columns["FLUX_RAW"].unit, columns["FLUX_CORR"].unit) == ("e-/s", "ppm")
            continue
        has_no_time = np.isnan(data["TIME"])
        assert np.isnan(data["SAP_FLUX"][has_no_time]).all()
        seen["no time"] += has_no_time.sum()
        seen["no flux"] += (np.isnan(data["SAP_FLUX"]) & ~has_no_time).sum()
        seen["flagged"] += (flags > 0).sum()
        if row["provenance_name"] == "QLP":
            assert columns["SAP_FLUX"].unit is None
            assert np.nanmedian(data["KSPSAP_FLUX"]) == pytest.approx(1.0, abs=0.01)
            seen["normalised"] += 1
        else:
            assert columns["PDCSAP_FLUX"].unit == "e-/s"
            assert 0.7 <= hdus["LIGHTCURVE"].header["CROWDSAP"] <= 1.0
    assert min(seen.values()) > 0


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), min_size=1))
def test_missing_integers_become_nulls(values: list[int | None]) -> None:
    schema = pa.schema([("number", pa.int64())])
    table = to_table(pd.DataFrame({"number": values}), schema)
    assert table["number"].to_pylist() == values


def test_missing_numbers_stay_nan() -> None:
    schema = pa.schema([("flux", pa.float32())])
    table = to_table({"flux": [1.0, float("nan")]}, schema)
    assert table["flux"].null_count == 0
    assert np.isnan(table["flux"][1].as_py())
