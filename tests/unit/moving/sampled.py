"""Tracks of synthetic orbits, sampled and fitted as those of Horizons are."""

import numpy as np

from lightloom.moving.ephemeris import Sampler, build_track
from lightloom.moving.tracks import MINUTES_PER_DAY, Samples, Tracks
from orbits import Orbit, ephemeris

#: Main belt; 0.1 au from the Earth at the middle of the range; and a comet.
MAIN_BELT = Orbit(2.5, 0.1, 8.0, 60.0, 200.0, 59100.0)
START, STOP = 59000.0, 59031.0


def sampler(orbit: Orbit, *, topocentric: bool = True, uncertainty_arcsec: float = 0.1) -> Sampler:
    def sample(start_mjd: float, stop_mjd: float, step_minutes: int) -> Samples:
        n_steps = round((stop_mjd - start_mjd) * MINUTES_PER_DAY / step_minutes)
        time_mjd = start_mjd + np.arange(n_steps + 1) * step_minutes / MINUTES_PER_DAY
        seen = ephemeris(orbit, time_mjd, topocentric=topocentric)
        same = np.ones_like(time_mjd)
        return Samples(
            time_mjd, uncertainty_arcsec=uncertainty_arcsec * same, v_mag=18.0 * same, **seen
        )

    return sample


def track_of(orbit: Orbit, start: float = START, stop: float = STOP, **options) -> Tracks:
    return build_track(sampler(orbit, **options), start, stop, 0.1)


def passing_earth(distance_au: float, at_mjd: float) -> Orbit:
    """Return an orbit that is so far from the Earth at a time, nearly at rest beside it."""
    from orbits import OBLIQUITY, observer

    earth = observer(np.array([at_mjd]), topocentric=False)[0]
    x, y = earth[0], earth[1] * np.cos(OBLIQUITY) + earth[2] * np.sin(OBLIQUITY)
    longitude = np.degrees(np.arctan2(y, x))
    radius = float(np.hypot(x, y))
    # At its perihelion, outside the Earth on the same line from the Sun.
    return Orbit(radius + distance_au, 0.3, 2.0, longitude, 0.0, at_mjd)
