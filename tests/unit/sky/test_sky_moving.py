"""Moving objects of the embedded sky: the alerts, and what a matching of them must find."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import fastavro
import numpy as np
import pandas as pd
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from test_sky_build import digests

from lightloom.sky.moving.alerts import MID_EXPOSURE_D, SCHEMA
from lightloom.sky.moving.benchmark import BenchmarkSize, build_benchmark
from lightloom.sky.moving.bodies import Body, bundled, main_solutions, read_bodies, write_bodies
from lightloom.sky.moving.ephemeris import observe
from lightloom.sky.moving.matches import compare_all, pairs_within
from lightloom.sky.moving.observers import SITES, View, view


@pytest.fixture(scope="module")
def alerts(small_sky: Path) -> pd.DataFrame:
    table = pds.dataset(small_sky / "moving" / "alerts.parquet", partitioning="hive").to_table()
    return table.to_pandas()


@pytest.fixture(scope="module")
def matches(small_sky: Path) -> pd.DataFrame:
    return pd.read_parquet(small_sky / "moving" / "truth" / "matches.parquet")


@pytest.fixture(scope="module")
def bodies(small_sky: Path) -> dict[str, Body]:
    found = main_solutions(read_bodies(small_sky / "moving" / "objects.csv"))
    return {body.designation: body for body in found}


def place(alerts: pd.DataFrame, site: str, later_d: float) -> View:
    """Return where a site is some time after the starts of the alerts' exposures."""
    time = Time(alerts["jd"].to_numpy(), format="jd", scale="utc")
    return view(SITES[site], time.mjd + later_d)


def separations(body: Body, alerts: pd.DataFrame, seen_from: View) -> np.ndarray:
    """Return distances [arcsec] of alerts from a body, with astropy's spherical geometry."""
    sight = observe(body.orbit, seen_from)
    seen = SkyCoord(sight.ra_deg, sight.dec_deg, unit="deg")
    return seen.separation(SkyCoord(alerts["ra"], alerts["dec"], unit="deg")).to_value(u.arcsec)


def test_there_are_objects_of_all_kinds(bodies: dict[str, Body]) -> None:
    assert len(bodies) >= 20
    for designation in ("1P", "2P", "29P", "67P", "81P", "332P-B", "73P-BT", "2I", "C/2020 F3"):
        assert bodies[designation].is_comet
    assert bodies["73P-BT"].is_fragment
    assert "C/2019 Q4" in bodies["2I"].aliases
    assert "2060" in bodies["95P"].aliases
    assert sum(body.kind == "asteroid" for body in bodies.values()) >= 5
    records = [body.record for body in bundled()]
    assert len(set(records)) == len(records) > len(bodies)


def test_alerts_lie_where_their_partition_and_cell_say(
    small_sky: Path, alerts: pd.DataFrame
) -> None:
    files = sorted((small_sky / "moving" / "alerts.parquet").rglob("*.parquet"))
    for path in files:
        cells = pq.read_table(path, columns=["_healpix_29"], partitioning=None)[0].to_numpy()
        assert np.all(np.diff(cells) >= 0)
        assert pq.read_schema(path).equals(SCHEMA)
    months = Time(alerts["jd"].to_numpy(), format="jd").strftime("%Y-%m")
    assert (alerts["month"].astype(str) == months).all()
    assert alerts["candid"].is_unique
    assert set(alerts["exptime"]) == {30.0}


def test_the_truth_is_what_every_alert_and_object_give(
    alerts: pd.DataFrame, matches: pd.DataFrame, bodies: dict[str, Body]
) -> None:
    found = set()
    seen_from = place(alerts, "I41", MID_EXPOSURE_D)
    for designation, body in bodies.items():
        distance = separations(body, alerts, seen_from)
        ends_jd = body.last_mjd + 2_400_000.5
        near = alerts[(distance <= 60) & (alerts["jd"] < ends_jd)]
        found |= {(designation, candid) for candid in near["candid"]}
    assert found == pairs_within(matches, 60.0, with_uncertainty=False)
    assert len(found) > 300


def test_alerts_of_an_object_are_within_its_uncertainty(matches: pd.DataFrame) -> None:
    seen = matches.groupby("designation").size()
    # Too faint, gone, or never bright: objects without any alert have their place too.
    assert {"1P", "1I"}.isdisjoint(seen.index)
    assert len(seen) >= 20
    assert len(pairs_within(matches, 1.0)) > 1.2 * len(
        pairs_within(matches, 1.0, with_uncertainty=False)
    )


def test_parallax_decides_at_a_tenth_of_the_distance_to_the_sun(
    alerts: pd.DataFrame, matches: pd.DataFrame, bodies: dict[str, Body]
) -> None:
    near = matches[matches["designation"].isin(["99942", "66391"]) & (matches["delta_au"] < 0.12)]
    near = near[near["separation_arcsec"] < 5]
    assert len(near) >= 5
    for designation, group in near.groupby("designation"):
        own = alerts[alerts["candid"].isin(group["candid"])]
        from_centre = separations(bodies[str(designation)], own, place(own, "500", MID_EXPOSURE_D))
        assert from_centre.min() > 20


def test_the_middle_of_the_exposure_decides_for_a_fast_object(
    alerts: pd.DataFrame, matches: pd.DataFrame, bodies: dict[str, Body]
) -> None:
    rate_deg_per_d = np.hypot(matches["ra_rate_arcsec_per_h"], matches["dec_rate_arcsec_per_h"]) * (
        24 / 3600
    )
    fast = matches[(rate_deg_per_d > 10) & (matches["separation_arcsec"] < 5)]
    assert set(fast["designation"]) == {"66391"}
    own = alerts[alerts["candid"].isin(fast["candid"])]
    assert separations(bodies["66391"], own, place(own, "I41", 0.0)).min() > 5


def test_an_ephemeris_ends_where_the_object_did(small_sky: Path, bodies: dict[str, Body]) -> None:
    table = pd.read_parquet(small_sky / "moving" / "truth" / "ephemerides.parquet")
    last_mjd = table.groupby("designation")["time_mjd"].max()
    assert last_mjd["C/2019 Y4"] <= bodies["C/2019 Y4"].last_mjd < last_mjd["2P"]
    assert set(table["site"]) == {"I41", "500"}


def test_packets_hold_alerts(small_sky: Path, alerts: pd.DataFrame) -> None:
    paths = sorted((small_sky / "moving" / "avro").rglob("*.avro"))
    assert len(paths) >= 10
    known = alerts.set_index("candid")
    for path in paths:
        with path.open("rb") as file:
            (packet,) = fastavro.reader(file)
        candidate = packet["candidate"]
        row = known.loc[packet["candid"]]
        assert path.stem == str(packet["candid"]) == str(candidate["candid"])
        assert (candidate["jd"], candidate["ra"]) == (row["jd"], row["ra"])
        assert path.parent.name == Time(row["jd"], format="jd").strftime("%Y%m%d")


def test_objects_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_bodies(tmp_path / "objects.csv", bundled())
    for before, after in zip(bundled(), read_bodies(tmp_path / "objects.csv"), strict=True):
        orbits = [dataclasses.astuple(body.orbit) for body in (before, after)]
        assert orbits[0] == orbits[1]
        assert dataclasses.replace(before, orbit=after.orbit) == after


def test_a_benchmark_has_the_pairs_that_were_planted(tmp_path: Path) -> None:
    size = BenchmarkSize(n_objects=12, n_alerts=3000, n_days=200, n_planted=15)
    build_benchmark(tmp_path / "one", size, 5)
    command = [sys.executable, "-m", "lightloom.sky", "--seed", "5", "moving", "--objects", "12"]
    command += ["--alerts", "3000", "--days", "200", "--planted", "15"]
    subprocess.run([*command, "--output", tmp_path / "two"], check=True)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    dataset = pds.dataset(tmp_path / "one" / "alerts.parquet", partitioning="hive")
    alerts = dataset.to_table().to_pandas()
    assert len(alerts) == 3000
    bodies = read_bodies(tmp_path / "one" / "objects.csv")
    planted = pd.read_parquet(tmp_path / "one" / "truth" / "matches.parquet")
    known = set(
        zip(
            *(planted[planted["separation_arcsec"] <= 5][c] for c in ("designation", "candid")),
            strict=True,
        )
    )
    every = pairs_within(compare_all(bodies, alerts), 5.0, with_uncertainty=False)
    assert {(int(d), c) for d, c in every} == {(int(d), c) for d, c in known}
    assert len(known) >= 12 * 15
