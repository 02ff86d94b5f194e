"""Two-body orbits seen from the Earth or from an observatory on it, for tests; no project code."""

from dataclasses import dataclass

import erfa
import numpy as np
from astropy import constants
from astropy import units as u

GAUSS = 0.01720209895
LIGHT_DAYS_PER_AU = float((u.au / constants.c).to_value(u.day))
EARTH_RADIUS_AU = 6378.137 / 149597870.7
#: Palomar (MPC code I41): longitude, rho cos phi', rho sin phi' of the list of observatory codes.
PALOMAR = (243.140213, 0.836325, 0.546877)
OBLIQUITY = np.radians(84381.448 / 3600.0)


@dataclass(frozen=True)
class Orbit:
    """Elements, ecliptic J2000: distances [au], angles [deg], time [MJD]."""

    q: float
    e: float
    i: float
    node: float
    peri: float
    tp: float


def heliocentric(orbit: Orbit, time_mjd: np.ndarray) -> np.ndarray:
    """Equatorial heliocentric position [au], by universal variables solved with Newton steps."""
    time = time_mjd - orbit.tp
    if orbit.e < 1.0:
        a = orbit.q / (1.0 - orbit.e)
        mean = np.mod(GAUSS * a**-1.5 * time + np.pi, 2 * np.pi) - np.pi
        anomaly = mean + 0.85 * orbit.e * np.sign(mean)
        for _ in range(12):
            anomaly -= (anomaly - orbit.e * np.sin(anomaly) - mean) / (
                1.0 - orbit.e * np.cos(anomaly)
            )
        x = a * (np.cos(anomaly) - orbit.e)
        y = a * np.sqrt(1.0 - orbit.e**2) * np.sin(anomaly)
    else:
        a = orbit.q / (orbit.e - 1.0)
        mean = GAUSS * a**-1.5 * time
        anomaly = np.arcsinh(mean / orbit.e)
        for _ in range(60):
            anomaly -= (orbit.e * np.sinh(anomaly) - anomaly - mean) / (
                orbit.e * np.cosh(anomaly) - 1.0
            )
        x = a * (orbit.e - np.cosh(anomaly))
        y = a * np.sqrt(orbit.e**2 - 1.0) * np.sinh(anomaly)
    inc, node, peri = np.radians([orbit.i, orbit.node, orbit.peri])
    px = np.cos(node) * np.cos(peri) - np.sin(node) * np.sin(peri) * np.cos(inc)
    py = np.sin(node) * np.cos(peri) + np.cos(node) * np.sin(peri) * np.cos(inc)
    pz = np.sin(peri) * np.sin(inc)
    qx = -np.cos(node) * np.sin(peri) - np.sin(node) * np.cos(peri) * np.cos(inc)
    qy = -np.sin(node) * np.sin(peri) + np.cos(node) * np.cos(peri) * np.cos(inc)
    qz = np.cos(peri) * np.sin(inc)
    ex, ey, ez = x * px + y * qx, x * py + y * qy, x * pz + y * qz
    return np.stack(
        [
            ex,
            ey * np.cos(OBLIQUITY) - ez * np.sin(OBLIQUITY),
            ey * np.sin(OBLIQUITY) + ez * np.cos(OBLIQUITY),
        ],
        axis=-1,
    )


def observer(time_mjd: np.ndarray, *, topocentric: bool) -> np.ndarray:
    """Heliocentric position of the observer [au]; the Earth turns by its angle of rotation."""
    earth = erfa.epv00(2400000.5, time_mjd)[0]["p"]
    if topocentric:
        longitude, rho_cos, rho_sin = PALOMAR
        angle = erfa.era00(2400000.5, time_mjd) + np.radians(longitude)
        earth = earth + EARTH_RADIUS_AU * np.stack(
            [rho_cos * np.cos(angle), rho_cos * np.sin(angle), np.full_like(angle, rho_sin)], -1
        )
    return earth


def ephemeris(
    orbit: Orbit,
    time_mjd: np.ndarray,
    *,
    topocentric: bool = True,
    place: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Astrometric ephemeris: ra, dec, phase [deg], r, delta [au]; ``place`` spares the observer."""
    if place is None:
        place = observer(time_mjd, topocentric=topocentric)
    delay = np.zeros_like(time_mjd)
    for _ in range(3):
        helio = heliocentric(orbit, time_mjd - delay)
        delta = np.linalg.norm(helio - place, axis=-1)
        delay = delta * LIGHT_DAYS_PER_AU
    x, y, z = np.moveaxis(helio - place, -1, 0)
    r = np.linalg.norm(helio, axis=-1)
    cos_phase = np.einsum("...i,...i->...", helio, helio - place) / (r * delta)
    return {
        "ra_deg": np.degrees(np.arctan2(y, x)) % 360.0,
        "dec_deg": np.degrees(np.arctan2(z, np.hypot(x, y))),
        "r_au": r,
        "delta_au": delta,
        "phase_deg": np.degrees(np.arccos(np.clip(cos_phase, -1.0, 1.0))),
    }
