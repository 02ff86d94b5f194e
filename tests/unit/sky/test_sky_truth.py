"""The truth about the embedded sky, against the written catalogues and by other formulas."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from distances import distances_arcsec, vectors

from lightloom.sky import gaia, neowise, panstarrs, unwise, ztf

RADIUS_ARCSEC = {"ztf": 1.5, "unwise": 2.5, "gaia": 1.0, "panstarrs": 1.0, "neowise": 2.5}
SERVICES = {
    *("fermigbm", "hcv", "icecube", "k2", "kepler"),
    *("nsc", "rubin", "saxgrbm", "tess", "xmm"),
}

#: State in ZTF and in unWISE.
DESIGNED = {
    "pole-north": ("data", "data"),
    "pole-north-exact": ("data", "data"),
    "pole-south": ("outside_footprint", "data"),
    "ra-zero-east": ("data", "data"),
    "ra-zero-west": ("data", "data"),
    "ra-zero-exact": ("data", "data"),
    "ra-360-exact": ("data", "data"),
    "base-corner-north-000": ("data", "data"),
    "base-corner-north-090": ("data", "data"),
    "base-corner-north-180": ("data", "data"),
    "base-corner-north-270": ("data", "data"),
    "base-corner-equator-045": ("data", "data"),
    "radius-inside": ("data", "data"),
    "radius-outside": ("searched_empty", "searched_empty"),
    "pair-west": ("data", "data"),
    "pair-east": ("data", "data"),
    "crowd-between": ("ambiguous", "ambiguous"),
    "crowd-single": ("data", "data"),
    "crowd-unresolved": ("data", "ambiguous"),
    "south-47.0": ("outside_footprint", "data"),
    "south-72.0": ("outside_footprint", "data"),
    "empty": ("searched_empty", "searched_empty"),
    "ztf-only": ("data", "searched_empty"),
    "unwise-only": ("searched_empty", "data"),
    "unwise-outside": ("data", "outside_footprint"),
    "coadd-overlap": ("data", "data"),
    "all-flagged": ("data", "data"),
    "one-epoch": ("data", "data"),
    "empty-list": ("data", "data"),
    "empty-lists": ("searched_empty", "data"),
    "faint": ("data", "data"),
}

#: State in Gaia, in Pan-STARRS and in NEOWISE.
DESIGNED_OTHERS = {
    "radius-inside": ("data", "data", "data"),
    "radius-outside": ("searched_empty", "searched_empty", "searched_empty"),
    "crowd-between": ("ambiguous", "ambiguous", "ambiguous"),
    "crowd-single": ("data", "data", "data"),
    "south-47.0": ("data", "outside_footprint", "data"),
    "scattered-order1": ("data", "data", "data"),
    "scattered-order2": ("data", "data", "data"),
    "scattered-order3": ("data", "data", "data"),
    "no-epoch-photometry": ("searched_empty", "data", "data"),
    "no-transits": ("searched_empty", "data", "data"),
    "no-detections": ("data", "searched_empty", "data"),
    "faint-gaia": ("data", "data", "data"),
}


@pytest.fixture(scope="module")
def epochs(small_sky: Path) -> pd.DataFrame:
    """Every epoch of the written ZTF catalogue."""
    objects = ds.dataset(small_sky / ztf.CATALOGUE / "dataset").to_table().to_pandas()
    lists = [pd.DataFrame(lightcurve) for lightcurve in objects["lightcurve"]]
    repeated = objects.drop(columns="lightcurve").loc[
        np.repeat(objects.index, [len(one) for one in lists])
    ]
    joined = pd.concat(lists, ignore_index=True)
    return pd.concat([repeated.reset_index(drop=True), joined], axis=1)


@pytest.fixture(scope="module")
def detections(small_sky: Path) -> pd.DataFrame:
    root = small_sky / unwise.CATALOGUE
    return ds.parquet_dataset(root / "_metadata", partitioning="hive").to_table().to_pandas()


def test_every_target_has_a_state_per_archive(
    targets: pd.DataFrame, states: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    expected = {
        (name, archive) for name in targets["id"] for archive in {*RADIUS_ARCSEC, *SERVICES}
    }
    assert set(states.index) == expected
    assert states.index.is_unique
    counted = lightcurves.groupby(["objectid", "archive"]).size()
    assert (
        states["n_rows"][states["n_rows"] > 0]
        .sort_index()
        .equals(counted.sort_index().rename("n_rows"))
    )


def test_places_end_as_designed(states: pd.DataFrame) -> None:
    found = {
        name: tuple(
            states.loc[(f"awkward-{name}", archive), "state"] for archive in ("ztf", "unwise")
        )
        for name in DESIGNED
    }
    assert found == DESIGNED
    others = {
        name: tuple(
            states.loc[(f"awkward-{name}", archive), "state"]
            for archive in ("gaia", "panstarrs", "neowise")
        )
        for name in DESIGNED_OTHERS
    }
    assert others == DESIGNED_OTHERS


def test_sources_without_measurements_count_as_found(states: pd.DataFrame) -> None:
    for name, archive in (("no-transits", "gaia"), ("no-detections", "panstarrs")):
        assert states.loc[(f"awkward-{name}", archive), ["n_rows", "n_sources"]].tolist() == [0, 1]


def test_detections_lie_in_other_partitions_than_their_objects(small_sky: Path) -> None:
    objects, detections = (
        ds.dataset(small_sky / name / "dataset").to_table().to_pandas()
        for name in (panstarrs.OBJECTS, panstarrs.DETECTIONS)
    )
    of_object = detections["objID"].map(objects.set_index("objID")["_healpix_29"])
    # Borders of cells of order 2 are borders of partitions everywhere.
    assert (of_object // 4**27 != detections["_healpix_29"] // 4**27).sum() > 5


@pytest.mark.parametrize("archive", ["gaia", "panstarrs", "neowise"])
def test_rows_are_those_of_a_search_through_every_row(
    archive: str, small_sky: Path, targets: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    measured = measurements(archive, small_sky)
    places = vectors(measured["ra"], measured["dec"])
    columns = ["band", "survey_object_id", "time_mjd", "native_value", "native_err"]
    truth = lightcurves[lightcurves["archive"] == archive]
    for _, target in targets.iterrows():
        near = measured[distances_arcsec(target, places) <= RADIUS_ARCSEC[archive]]
        expected = near[columns].sort_values(columns, ignore_index=True)
        rows = truth.loc[truth["objectid"] == target["id"], columns]
        rows = rows.sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False, rtol=1e-6, atol=2e-8)


def measurements(archive: str, sky: Path) -> pd.DataFrame:
    """Every measurement of a written catalogue, at the place of its object."""
    if archive == "gaia":
        return _gaia_measurements(ds.dataset(sky / gaia.CATALOGUE / "dataset").to_table())
    if archive == "panstarrs":
        objects, detections = (
            ds.dataset(sky / name / "dataset").to_table().to_pandas()
            for name in (panstarrs.OBJECTS, panstarrs.DETECTIONS)
        )
        places = objects.set_index("objID")
        return pd.DataFrame(
            {
                "ra": detections["objID"].map(places["raMean"]),
                "dec": detections["objID"].map(places["decMean"]),
                "band": detections["filterID"].map(dict(enumerate("grizy", start=1))),
                "survey_object_id": detections["objID"].astype(str),
                "time_mjd": detections["obsTime"].replace(-999.0, np.nan),
                "native_value": detections["psfFlux"].replace(-999.0, np.nan),
                "native_err": detections["psfFluxErr"].replace(-999.0, np.nan),
            }
        )
    years = [
        ds.dataset(sky / neowise.catalogue(subset), exclude_invalid_files=True).to_table()
        for subset in neowise.SUBSETS
    ]
    rows = pd.concat([year.to_pandas() for year in years], ignore_index=True)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "ra": rows["ra"],
                    "dec": rows["dec"],
                    "band": band,
                    "survey_object_id": rows["source_id"],
                    "time_mjd": rows["mjd"],
                    "native_value": rows[f"{band.lower()}mpro"],
                    "native_err": rows[f"{band.lower()}sigmpro"],
                }
            )
            for band in ("W1", "W2")
        ],
        ignore_index=True,
    )


def _gaia_measurements(table: pa.Table) -> pd.DataFrame:
    rows = []
    for source in table.to_pylist():
        transits = source["epoch_photometry"]
        place = (source["ra"], source["dec"], str(source["source_id"]))
        for band, time, prefix in (
            ("G", "g_transit_time", "g_transit"),
            ("BP", "bp_obs_time", "bp"),
            ("RP", "rp_obs_time", "rp"),
        ):
            for time_d, flux, ratio in zip(
                transits[time],
                transits[f"{prefix}_flux"],
                transits[f"{prefix}_flux_over_error"],
                strict=True,
            ):
                if time_d is not None and not np.isnan(time_d):
                    error = np.nan if flux is None else abs(flux / ratio)
                    rows.append((*place, band, time_d + 55197.0, flux, error))
    names = ["ra", "dec", "survey_object_id", "band", "time_mjd", "native_value", "native_err"]
    return pd.DataFrame(rows, columns=names).astype({"native_value": float})


def test_ztf_rows_are_those_of_a_search_through_every_row(
    targets: pd.DataFrame, lightcurves: pd.DataFrame, epochs: pd.DataFrame
) -> None:
    places = vectors(epochs["objra"], epochs["objdec"])
    truth = lightcurves[lightcurves["archive"] == "ztf"]
    for _, target in targets.iterrows():
        distance_arcsec = distances_arcsec(target, places)
        near = epochs[distance_arcsec <= RADIUS_ARCSEC["ztf"]]
        expected = pd.DataFrame(
            {
                "survey_object_id": near["objectid"].astype(str),
                "band": near["filterid"].map({1: "g", 2: "r", 3: "i"}),
                "time_mjd": near["hmjd"],
                "native_value": near["mag"].astype(np.float64),
                "native_err": near["magerr"].astype(np.float64),
                "flags_native": near["catflags"].astype(np.int64),
                "match_arcsec": distance_arcsec[near.index],
            }
        ).sort_values(["band", "survey_object_id", "time_mjd"], ignore_index=True)
        rows = truth[truth["objectid"] == target["id"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            rows[expected.columns], expected, check_dtype=False, rtol=0, atol=2e-8
        )


def test_unwise_rows_are_those_of_a_search_through_every_row(
    targets: pd.DataFrame, lightcurves: pd.DataFrame, detections: pd.DataFrame
) -> None:
    places = vectors(detections["ra"], detections["dec"])
    truth = lightcurves[lightcurves["archive"] == "unwise"]
    for _, target in targets.iterrows():
        distance_arcsec = distances_arcsec(target, places)
        near = detections[distance_arcsec <= RADIUS_ARCSEC["unwise"]]
        expected = pd.DataFrame(
            {
                "survey_object_id": near["unwise_detid"].str.decode("ascii"),
                "band": near["band"].map({1: "W1", 2: "W2"}),
                "time_mjd": near["MJDMEAN"],
                "native_value": near["flux"].astype(np.float64),
                "native_err": near["dflux"].astype(np.float64),
                "flags_native": near["flags_unwise"].astype(np.int64),
                "match_arcsec": distance_arcsec[near.index],
            }
        ).sort_values(["band", "survey_object_id", "time_mjd"], ignore_index=True)
        rows = truth[truth["objectid"] == target["id"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            rows[expected.columns], expected, check_dtype=False, rtol=0, atol=2e-8
        )


def test_fluxes_follow_the_zero_points(lightcurves: pd.DataFrame) -> None:
    lightcurves = lightcurves[lightcurves["archive"].isin(["unwise", "ztf"])]
    is_ztf = (lightcurves["archive"] == "ztf").to_numpy()
    value, error = lightcurves["native_value"], lightcurves["native_err"]
    flux = 10.0 ** (-0.4 * (value - 23.9)) / 1e3
    factor = lightcurves["band"].map(
        {"W1": 10.0 ** (-0.4 * (22.5 + 2.699 - 23.9)) / 1e3, "W2": 10.0 ** (-0.4 * 1.939) / 1e3}
    )
    expected = np.where(is_ztf, flux, value * factor)
    expected_err = np.where(is_ztf, 0.4 * np.log(10.0) * flux * error, error * factor)
    np.testing.assert_allclose(lightcurves["flux_mjy"], expected, rtol=1e-12)
    np.testing.assert_allclose(lightcurves["flux_err_mjy"], expected_err, rtol=1e-12)
    assert (lightcurves["flux_mjy"] < 0).any()


def test_times_agree_with_astropys_light_travel_times(
    targets: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    positions = targets.set_index("id")
    rows = lightcurves[lightcurves["archive"].isin(["unwise", "ztf"])]
    rows = rows.groupby("archive").sample(200, random_state=1)
    direction = SkyCoord(
        positions.loc[rows["objectid"], "ra"].to_numpy() * u.deg,
        positions.loc[rows["objectid"], "dec"].to_numpy() * u.deg,
    )
    geocentre = EarthLocation.from_geocentric(0.0, 0.0, 0.0, u.m)
    is_ztf = (rows["archive"] == "ztf").to_numpy()
    with iers.conf.set_temp("auto_download", False):
        stored = Time(rows["time_mjd"].to_numpy(), format="mjd", scale="utc", location=geocentre)
        time = stored
        for _ in range(4):
            delay = time.light_travel_time(direction, "heliocentric", ephemeris="builtin")
            time = stored - delay * is_ztf
        barycentric = time.tdb + time.light_travel_time(
            direction, "barycentric", ephemeris="builtin"
        )
    difference_s = (rows["time_mjd_tdb"].to_numpy() - barycentric.mjd) * 86400.0
    assert np.abs(difference_s).max() < 1e-5
