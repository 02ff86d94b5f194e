"""The truth about the embedded sky, against the written catalogues and by other formulas."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import NDArray

from lightloom.sky import unwise, ztf

RADIUS_ARCSEC = {"ztf": 1.5, "unwise": 2.5}

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


@pytest.fixture(scope="module")
def targets(small_sky: Path) -> pd.DataFrame:
    awkward = pd.read_csv(small_sky / "awkward.csv")
    sample = pd.read_csv(small_sky.with_name("sample.csv")).rename(columns={"name": "id"})
    # Of the merged pair the second comes first in the order of cells.
    return pd.concat([awkward, sample[sample["id"] != "first"]], ignore_index=True)


@pytest.fixture(scope="module")
def lightcurves(small_sky: Path) -> pd.DataFrame:
    return pq.read_table(small_sky / "truth" / "lightcurves.parquet").to_pandas()


@pytest.fixture(scope="module")
def states(small_sky: Path) -> pd.DataFrame:
    table = pq.read_table(small_sky / "truth" / "states.parquet").to_pandas()
    return table.set_index(["objectid", "archive"])


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


def vectors(ra_deg: pd.Series, dec_deg: pd.Series) -> NDArray[np.float64]:
    ra, dec = (np.radians(values.to_numpy(np.float64)) for values in (ra_deg, dec_deg))
    return np.stack([np.cos(ra) * np.cos(dec), np.sin(ra) * np.cos(dec), np.sin(dec)], axis=1)


def distances_arcsec(
    target: pd.Series, vectors_of_rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    own = vectors(pd.Series([target["ra"]]), pd.Series([target["dec"]]))
    chord = np.linalg.norm(vectors_of_rows - own, axis=1)
    return np.degrees(2.0 * np.arcsin(chord / 2.0)) * 3600.0


def test_every_target_has_a_state_per_archive(
    targets: pd.DataFrame, states: pd.DataFrame, lightcurves: pd.DataFrame
) -> None:
    expected = {(name, archive) for name in targets["id"] for archive in ("unwise", "ztf")}
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
    rows = lightcurves.groupby("archive").sample(200, random_state=1)
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
