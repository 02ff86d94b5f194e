"""The truth about the services, against their written tables and files, by other formulas."""

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.utils import iers
from distances import distances_arcsec, vectors

from lightloom.sky.geometry import healpix_cells, shift
from lightloom.sky.services import rubin

RADIUS_ARCSEC = {
    "hcv": 1.0,
    "k2": 3.0,
    "kepler": 3.0,
    "nsc": 1.0,
    "rubin": 1.0,
    "tess": 3.0,
    "xmm": 5.0,
}
EVENTS = {"fermigbm": "fermigtrig", "icecube": "icecubepsc", "saxgrbm": "saxgrbmgrb"}

#: State and number of sources.
DESIGNED = {
    ("two-objects", "nsc"): ("ambiguous", 2),
    ("two-objects", "rubin"): ("ambiguous", 2),
    ("two-objects", "tess"): ("ambiguous", 2),
    ("two-objects", "kepler"): ("ambiguous", 2),
    ("two-objects", "k2"): ("ambiguous", 2),
    ("two-objects", "xmm"): ("ambiguous", 2),
    ("two-objects", "hcv"): ("data", 2),
    ("nsc-split", "nsc"): ("data", 2),
    ("rubin-duplicate", "rubin"): ("data", 1),
    ("rubin-not-primary", "rubin"): ("searched_empty", 0),
    ("rubin-faint", "rubin"): ("data", 1),
    ("south-72.0", "rubin"): ("outside_footprint", 0),
    ("pole-south", "tess"): ("data", 1),
    ("pole-south", "xmm"): ("data", 1),
    ("ra-zero-east", "nsc"): ("data", 1),
    ("ra-zero-east", "rubin"): ("data", 1),
    ("ra-zero-west", "hcv"): ("data", 1),
}
CHOICES = {
    "tess": ["SPOC 120", "SPOC 20", "TESS-SPOC 600", "QLP 600", "QLP 1800"],
    "kepler": ["Kepler 1800", "Kepler 60"],
    "k2": ["K2 1800"],
}
BAD_FLAGS = {"tess": 17087, "kepler": 1130799, "k2": 1130799}
BANDS = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}


def read(sky: Path, name: str) -> pd.DataFrame:
    return pq.read_table(sky / "services" / f"{name}.parquet").to_pandas()


@pytest.mark.parametrize("place", DESIGNED, ids=" ".join)
def test_places_end_as_designed(states: pd.DataFrame, place: tuple[str, str]) -> None:
    found = states.loc[(f"awkward-{place[0]}", place[1])]
    assert (found["state"], found["n_sources"]) == DESIGNED[place]


@pytest.mark.parametrize("archive", RADIUS_ARCSEC)
def test_the_rim_of_the_radius_divides(states: pd.DataFrame, archive: str) -> None:
    found = [
        states.loc[(f"awkward-service-radius-{name}", archive), "state"]
        for name in ("inside", "outside")
    ]
    assert found == ["data", "searched_empty"]


def objects(archive: str, sky: Path) -> pd.DataFrame:
    """Every object that a search by position can find, with its place."""
    if archive in BANDS:
        observations = read(sky, "mast/observations")
        found = observations[observations["project"] == BANDS[archive]]
        return pd.DataFrame({"ra": found["s_ra"], "dec": found["s_dec"]})
    name, ra, dec = {
        "hcv": ("hcv/hcvsummary", "RA", "Dec"),
        "nsc": ("nsc/nsc_dr2.object", "ra", "dec"),
        "rubin": ("rubin/dp1.Object", "coord_ra", "coord_dec"),
        "xmm": ("heasarc/xmmssc", "ra", "dec"),
    }[archive]
    return read(sky, name).rename(columns={ra: "ra", dec: "dec"})


@pytest.mark.parametrize("archive", RADIUS_ARCSEC)
def test_no_object_lies_on_a_rim(small_sky: Path, targets: pd.DataFrame, archive: str) -> None:
    found = objects(archive, small_sky)
    places = vectors(found["ra"], found["dec"])
    for _, target in targets.iterrows():
        distance = distances_arcsec(target, places)
        assert np.abs(distance - RADIUS_ARCSEC[archive]).min() > 1e-3, target["id"]


def test_no_target_lies_on_the_edge_of_the_footprint(targets: pd.DataFrame) -> None:
    angle_deg = np.arange(0.0, 360.0, 10.0)
    for _, target in targets.iterrows():
        around = shift(target["ra"], target["dec"], angle_deg, 30.0)
        is_inside = np.isin(healpix_cells(*around, rubin.FIELD_ORDER), rubin.FIELDS)
        assert is_inside.all() or not is_inside.any(), target["id"]


def measurements(archive: str, sky: Path) -> pd.DataFrame:
    """Every row that a search can give, with the place of its object."""
    if archive == "nsc":
        rows = read(sky, "nsc/nsc_dr2.meas").drop(columns=["ra", "dec"])
        rows = rows.merge(objects("nsc", sky), left_on="objectid", right_on="id")
        exposures = read(sky, "nsc/nsc_dr2.exposure").set_index("exposure")["exptime"]
        exposure_s = rows["exposure"].map(exposures)
        return rows.assign(
            band=rows["filter"],
            survey_object_id=rows["objectid"],
            exposure_id=rows["exposure"],
            exposure_s=exposure_s,
            time_mjd=rows["mjd"] + exposure_s / 172_800.0,
            native_value=rows["mag_auto"].where(rows["mag_auto"] < 90.0).astype(float),
            flags_native=rows["flags"],
        )
    if archive == "rubin":
        known = objects("rubin", sky)
        rows = read(sky, "rubin/dp1.ForcedSource").merge(known[known["detect_isPrimary"]])
        visits = read(sky, "rubin/dp1.Visit").set_index("visit")
        return rows.assign(
            survey_object_id=rows["objectId"].astype(str),
            exposure_id=rows["visit"].astype(str),
            exposure_s=rows["visit"].map(visits["expTime"]),
            time_mjd=rows["visit"].map(visits["expMidptMJD"]),
            native_value=rows["psfFlux"].astype(float),
            flags_native=np.nan,
        )
    if archive == "xmm":
        rows = objects("xmm", sky)
        return rows.assign(
            band="EP_8",
            survey_object_id=rows["srcid"].astype(str),
            exposure_id=rows["detid"].astype(str),
            exposure_s=np.nan,
            time_mjd=rows["time"],
            native_value=rows["ep_8_flux"],
            flags_native=rows["sum_flag"],
        )
    places = objects("hcv", sky).drop_duplicates("MatchID")[["MatchID", "ra", "dec"]]
    rows = read(sky, "hcv/hcv").merge(places)
    return rows.assign(
        band=rows["Filter"],
        survey_object_id=rows["MatchID"].astype(str),
        exposure_id=rows["ImageName"],
        exposure_s=np.nan,
        time_mjd=rows["MJD"],
        native_value=rows["CorrMag"].where(rows["CorrMag"] < 90.0),
        flags_native=np.nan,
    )


@pytest.mark.parametrize("archive", ["hcv", "nsc", "rubin", "xmm"])
def test_rows_are_those_of_a_search_through_every_row(
    archive: str, small_sky: Path, targets: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    measured = measurements(archive, small_sky)
    places = vectors(measured["ra"], measured["dec"])
    order = ["band", "survey_object_id", "time_mjd", "exposure_id"]
    columns = [*order, "exposure_s", "native_value", "flags_native", "match_arcsec"]
    truth = lightcurves[lightcurves["archive"] == archive]
    n_rows = 0
    for _, target in targets.iterrows():
        distance = distances_arcsec(target, places)
        near = measured.assign(match_arcsec=distance)[distance <= RADIUS_ARCSEC[archive]]
        if archive == "hcv":
            near = near[near["match_arcsec"] == near["match_arcsec"].min()]
        expected = near[columns].sort_values(order, ignore_index=True)
        rows = truth.loc[truth["objectid"] == target["id"], columns]
        rows = rows.sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False, rtol=1e-12, atol=1e-6)
        n_rows += len(rows)
    assert n_rows == len(truth) > 0


@pytest.mark.parametrize("archive", EVENTS)
def test_events_are_those_whose_circles_hold_the_target(
    archive: str, small_sky: Path, targets: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    events = read(small_sky, f"heasarc/{EVENTS[archive]}")
    places = vectors(events["ra"], events["dec"])
    truth = lightcurves[lightcurves["archive"] == archive]
    for _, target in targets.iterrows():
        distance_deg = distances_arcsec(target, places) / 3600.0
        margin_deg = events["error_radius"].to_numpy() - distance_deg
        assert np.abs(margin_deg).min() > 1e-5
        expected = events.loc[margin_deg >= 0.0, "time"]
        rows = truth[truth["objectid"] == target["id"]]
        assert sorted(rows["time_mjd"]) == sorted(expected)
        if target["id"] == "awkward-event-edge":
            assert np.count_nonzero(np.abs(margin_deg) < 2e-4) == 2
    assert set(truth["kind"]) == {"event"}
    assert truth["flux_mjy"].isna().all()
    assert truth["native_value"].notna().all() == (archive == "icecube")


def files(archive: str, sky: Path) -> pd.DataFrame:
    observations = read(sky, "mast/observations")
    found = observations[observations["project"] == BANDS[archive]]
    products = read(sky, "mast/products").dropna(subset="file")
    columns = ["obsid", "s_ra", "s_dec", "provenance_name", "t_exptime", "target_name"]
    return products.merge(found[columns], left_on="obsID", right_on="obsid")


def in_file(path: Path, archive: str) -> pd.DataFrame:
    """The rows that a light-curve file gives."""
    with fits.open(path, memmap=False) as hdus:
        primary, header = hdus["PRIMARY"].header, hdus["LIGHTCURVE"].header
        data = hdus["LIGHTCURVE"].data
        is_qlp = primary["ORIGIN"] == "MIT/QLP"
        flags = data["SAP_QUALITY" if archive in ("kepler", "k2") else "QUALITY"].astype(np.int64)
        time = data["TIME"] + (header["BJDREFI"] - 2_400_000) + (header["BJDREFF"] - 0.5)
        bands = {BANDS[archive]: "KSPSAP_FLUX" if is_qlp else "PDCSAP_FLUX"}
        bands[f"{BANDS[archive]}_SAP"] = "SAP_FLUX"
        field = next(
            form.format(primary[key])
            for key, form in (
                ("SECTOR", "s{:04d}"),
                ("QUARTER", "q{:02d}"),
                ("CAMPAIGN", "c{:02d}"),
            )
            if key in primary
        )
        rows = []
        for band, column in bands.items():
            flux = data[column].astype(np.float64)
            is_bad = (flags & BAD_FLAGS[archive] > 0) | np.isnan(flux) | np.isnan(time)
            error = data[f"{column}_ERR"] if f"{column}_ERR" in data.names else np.nan
            rows.append(
                pd.DataFrame(
                    {
                        "band": band,
                        "survey_object_id": primary["OBJECT"],
                        "survey_field": field,
                        "time_mjd": time,
                        "native_value": flux,
                        "native_err": error,
                        "native_unit": "relative" if is_qlp else "electron/s",
                        "flags_native": flags,
                        "quality": np.where(is_bad, 2, np.where(flags > 0, 1, 0)),
                        "exposure_s": header["TIMEDEL"] * 86_400.0,
                    }
                )
            )
    return pd.concat(rows)


@pytest.mark.parametrize("archive", CHOICES)
def test_light_curves_are_those_of_the_best_files(
    archive: str,
    small_sky: Path,
    targets: pd.DataFrame,
    lightcurves: pd.DataFrame,
    states: pd.DataFrame,
) -> None:
    known = files(archive, small_sky)
    places = vectors(known["s_ra"], known["s_dec"])
    truth = lightcurves[lightcurves["archive"] == archive]
    n_unwanted = 0
    for _, target in targets.iterrows():
        near = known[distances_arcsec(target, places) <= RADIUS_ARCSEC[archive]]
        best: dict[tuple[str, str], tuple[int, str]] = {}
        for product in near.itertuples():
            kind = f"{product.provenance_name} {product.t_exptime:.0f}"
            if kind not in CHOICES[archive]:
                n_unwanted += 1
                continue
            named = f"{product.productFilename} {product.description}"
            (field,) = re.findall(r"-s\d{4}|_s\d{4}|- Q\d+|-c\d\d", named)
            rank = CHOICES[archive].index(kind)
            key = (product.target_name, field.strip("_- "))
            n_unwanted += key in best
            best[key] = min(best.get(key, (99, "")), (rank, product.file))
        parts = [in_file(small_sky / "services/mast" / path, archive) for _, path in best.values()]
        rows = truth[truth["objectid"] == target["id"]]
        n_sources = states.loc[(target["id"], archive), "n_sources"]
        assert n_sources == len({target_name for target_name, _ in best})
        if not parts:
            assert rows.empty
            continue
        expected = pd.concat(parts)
        assert len(rows) == len(expected)
        order = ["band", "survey_object_id", "survey_field", "time_mjd", "native_value"]
        pd.testing.assert_frame_equal(
            rows[expected.columns].sort_values(order, ignore_index=True),
            expected.sort_values(order, ignore_index=True),
            check_dtype=False,
            rtol=1e-12,
        )
    assert n_unwanted > 0 or archive == "k2"


def test_fluxes_follow_from_the_native_values(lightcurves: pd.DataFrame) -> None:
    rows = lightcurves[lightcurves["archive"].isin(["hcv", "nsc", "rubin"])]
    value, error = rows["native_value"], rows["native_err"]
    is_rubin = rows["archive"] == "rubin"
    flux = np.where(is_rubin, value * 1e-6, 10.0 ** (-0.4 * (value - 23.9)) / 1e3)
    flux_err = np.where(is_rubin, error * 1e-6, 0.4 * np.log(10.0) * flux * error)
    np.testing.assert_allclose(rows["flux_mjy"], flux, rtol=1e-12)
    np.testing.assert_allclose(rows["flux_err_mjy"], flux_err, rtol=1e-12)
    assert (rows.loc[is_rubin, "flux_mjy"] < 0).any()


def test_times_agree_with_astropys_light_travel_times(
    targets: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    positions = targets.set_index("id")
    geocentre = EarthLocation.from_geocentric(0.0, 0.0, 0.0, u.m)
    for archive in ("fermigbm", "hcv", "icecube", "nsc", "rubin", "saxgrbm", "xmm"):
        rows = lightcurves[lightcurves["archive"] == archive]
        rows = rows.sample(min(50, len(rows)), random_state=1)
        direction = SkyCoord(
            positions.loc[rows["objectid"], "ra"].to_numpy() * u.deg,
            positions.loc[rows["objectid"], "dec"].to_numpy() * u.deg,
        )
        scale = "tai" if archive == "rubin" else "utc"
        with iers.conf.set_temp("auto_download", False):
            time = Time(rows["time_mjd"].to_numpy(), format="mjd", scale=scale, location=geocentre)
            barycentric = time.tdb + time.light_travel_time(
                direction, "barycentric", ephemeris="builtin"
            )
        difference_s = (rows["time_mjd_tdb"].to_numpy() - barycentric.mjd) * 86400.0
        assert np.abs(difference_s).max() < 1e-5


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        ("fermigbm", ("utc", "geocentre", "none")),
        ("hcv", ("utc", "topocentre", "mag")),
        ("icecube", ("utc", "geocentre", "GeV")),
        ("kepler", ("tdb", "barycentre", "electron/s")),
        ("nsc", ("utc", "topocentre", "mag")),
        ("rubin", ("tai", "topocentre", "nJy")),
        ("xmm", ("utc", "geocentre", "erg/cm2/s")),
        ("ztf", ("utc", "heliocentre", "mag")),
        ("gaia", ("tcb", "barycentre", "electron/s")),
    ],
)
def test_units_and_times_are_named(
    lightcurves: pd.DataFrame, archive: str, expected: tuple[str, str, str]
) -> None:
    rows = lightcurves[lightcurves["archive"] == archive]
    names = rows[["time_scale", "time_ref", "native_unit"]].drop_duplicates()
    assert [tuple(row) for row in names.to_numpy()] == [expected]
    assert rows.loc[rows["native_value"].isna() & (rows["kind"] != "event"), "quality"].eq(2).all()
