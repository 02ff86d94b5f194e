"""Many made-up objects and alerts, to measure a matching with, and the pairs planted in them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lightloom.sky.geometry import shift
from lightloom.sky.moving.alerts import (
    FIRST_MJD,
    MID_EXPOSURE_D,
    SITE,
    anywhere,
    at_other_times,
    beside,
    finish,
    others,
)
from lightloom.sky.moving.bodies import Body, bodies_of, write_bodies
from lightloom.sky.moving.build import ALERTS, OBJECTS, write_alerts
from lightloom.sky.moving.ephemeris import observe
from lightloom.sky.moving.matches import WIDEST_ARCSEC
from lightloom.sky.moving.observers import JD_OF_MJD, view
from lightloom.sky.moving.orbits import Floats, Orbits
from lightloom.sky.streams import random_stream

_ROW_GROUP_ROWS = 8192
_ASTROMETRIC_SIGMA_ARCSEC = 0.1
#: Shares of kinds of orbits: in the main belt, of short period, near the Earth, open.
_SHARES = (0.6, 0.25, 0.1, 0.05)


@dataclass(frozen=True)
class BenchmarkSize:
    """How much there is.

    Attributes
    ----------
    n_objects, n_alerts : int
        Objects, and alerts altogether.
    n_days : int
        Length of the survey.
    n_planted : int
        Alerts of each object; as many lie beside its track, and at its places at other times.
    """

    n_objects: int = 1000
    n_alerts: int = 1_000_000
    n_days: int = 1096
    n_planted: int = 40


def draw_bodies(n_objects: int, seed: int) -> list[Body]:
    """Return made-up objects with orbits of all kinds and no uncertainty."""
    rng = random_stream(seed, "benchmark", "orbits")
    kind = np.searchsorted(np.cumsum(_SHARES)[:-1], rng.random(n_objects), side="right")
    q = np.choose(kind, [rng.uniform(low, high, n_objects) for low, high in _PERIHELIA_AU])
    e = np.choose(kind, [rng.uniform(low, high, n_objects) for low, high in _ECCENTRICITIES])
    angles = rng.uniform(0.0, 360.0, (2, n_objects))
    inclination = np.choose(
        kind, [np.degrees(np.arccos(rng.uniform(low, 1.0, n_objects))) for low in _LEAST_COSINES]
    )
    # Open orbits are seen near the Sun, others anywhere on their way.
    period_d = 365.25 * (q / np.maximum(1 - e, 0.01)) ** 1.5
    spread_d = np.where(kind == len(_SHARES) - 1, 600.0, period_d)
    perihelion = FIRST_MJD + 550 + rng.uniform(-0.5, 0.5, n_objects) * spread_d
    orbits = Orbits(q, e, inclination, angles[0], angles[1], perihelion)
    return bodies_of(orbits, epoch_mjd=FIRST_MJD + 550.0, source="drawn at random")


_PERIHELIA_AU = ((1.8, 3.0), (0.9, 3.0), (0.5, 1.2), (0.3, 4.0))
_ECCENTRICITIES = ((0.0, 0.3), (0.3, 0.75), (0.2, 0.7), (0.98, 1.2))
_LEAST_COSINES = (0.9, 0.8, 0.7, -1.0)


def draw_alerts(
    bodies: list[Body], size: BenchmarkSize, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return alerts, and the pairs of an object and one of the alerts made for it.

    Parameters
    ----------
    bodies : list of Body
        The objects.
    size : BenchmarkSize
        How much there is.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    alerts : pandas.DataFrame
        Columns of `lightloom.sky.moving.alerts.SCHEMA`.
    pairs : pandas.DataFrame
        `designation`, `candid`, `mid_mjd` (UTC) and `separation_arcsec` of all that are near.
        A pair of an object with an alert that was not made for it is left to chance: for a
        radius of 5 arcsec and the numbers of the default size it is to be expected 0.15 times.

    Raises
    ------
    ValueError
        There are fewer alerts than are made for the objects.
    """
    rng = random_stream(seed, "benchmark", "alerts")
    seen = _planted(bodies, size, rng)
    parts = [seen, at_other_times(seen, rng, size.n_days), beside(seen, rng, 8.0, 90.0)]
    owners = [part.get("owner", seen["owner"]).to_numpy() for part in parts]
    n_background = size.n_alerts - sum(len(part) for part in parts)
    if n_background < 0:
        raise ValueError(f"{size.n_alerts} alerts are too few for {size.n_objects} objects")
    parts.append(anywhere(n_background, rng, size.n_days))
    owners.append(np.full(n_background, -1))
    together = pd.concat(parts, ignore_index=True)
    together["owner"] = np.concatenate(owners)
    alerts = finish(together, rng)
    return alerts.drop(columns="owner"), _pairs(bodies, alerts)


def _planted(bodies: list[Body], size: BenchmarkSize, rng: np.random.Generator) -> pd.DataFrame:
    owner = np.repeat(np.arange(len(bodies)), size.n_planted)
    nights = FIRST_MJD + rng.integers(0, size.n_days, len(owner))
    utc_mjd = nights + rng.integers(2 * 3600, 14 * 3600, len(owner)) / 86400
    sight = observe(_stacked(bodies)[owner], view(SITE, utc_mjd + MID_EXPOSURE_D))
    error_arcsec = _ASTROMETRIC_SIGMA_ARCSEC * np.hypot(*rng.normal(size=(2, len(owner))))
    direction_deg = rng.uniform(0.0, 360.0, len(owner))
    planted = others(len(owner), rng)
    planted["ra"], planted["dec"] = shift(sight.ra_deg, sight.dec_deg, direction_deg, error_arcsec)
    return planted.assign(utc_mjd=utc_mjd, owner=owner)


def _stacked(bodies: list[Body]) -> Orbits:
    names = Orbits.__dataclass_fields__
    return Orbits(*(np.array([getattr(body.orbit, name) for body in bodies]) for name in names))


def _pairs(bodies: list[Body], alerts: pd.DataFrame) -> pd.DataFrame:
    made = alerts[alerts["owner"] >= 0]
    owner = made["owner"].to_numpy().astype(int)
    mid_mjd = (made["jd"].to_numpy() - JD_OF_MJD) + MID_EXPOSURE_D
    sight = observe(_stacked(bodies)[owner], view(SITE, mid_mjd))
    separation_arcsec = _separation_arcsec(sight.ra_deg, sight.dec_deg, made)
    pairs = pd.DataFrame(
        {
            "designation": np.array([body.designation for body in bodies])[owner],
            "candid": made["candid"].to_numpy(),
            "mid_mjd": mid_mjd,
            "separation_arcsec": separation_arcsec,
        }
    )
    near = pairs[separation_arcsec <= WIDEST_ARCSEC]
    return near.sort_values(["designation", "candid"], ignore_index=True)


def _separation_arcsec(ra_deg: Floats, dec_deg: Floats, alerts: pd.DataFrame) -> Floats:
    ra0, dec0 = np.radians(ra_deg), np.radians(dec_deg)
    ra1, dec1 = np.radians(alerts["ra"].to_numpy()), np.radians(alerts["dec"].to_numpy())
    half = (
        np.sin((dec1 - dec0) / 2) ** 2 + np.cos(dec0) * np.cos(dec1) * np.sin((ra1 - ra0) / 2) ** 2
    )
    return np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600


def build_benchmark(output: Path, size: BenchmarkSize, seed: int) -> None:
    """Write objects, alerts and planted pairs, laid out as those of the embedded sky.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write; there must be none yet.
    size : BenchmarkSize
        How much there is.
    seed : int
        Seed of the random numbers; the same one gives the same bytes.
    """
    output.mkdir(parents=True)
    bodies = draw_bodies(size.n_objects, seed)
    alerts, pairs = draw_alerts(bodies, size, seed)
    write_bodies(output / OBJECTS, bodies)
    write_alerts(output / ALERTS, alerts, _ROW_GROUP_ROWS)
    truth = output / "truth"
    truth.mkdir()
    pq.write_table(pa.Table.from_pandas(pairs, preserve_index=False), truth / "matches.parquet")
