"""Orbits of two bodies: positions about the Sun from osculating elements, for any eccentricity."""

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Gravitational parameter of the Sun [au**3 / d**2]: the square of the Gaussian constant.
GM_SUN = 0.01720209895**2

#: Obliquity of the ecliptic of J2000 [rad], 84381.448 arcsec (IAU 1976), as Horizons uses it.
_OBLIQUITY = np.radians(84381.448 / 3600)

# Newton's method doubles the correct digits; from the start below it needs fewer.
_MOST_STEPS = 60
_LAST_STEP = 1e-9

_SERIES_BELOW = 0.05
# (-1)**k / (2 k + order)! of the Stumpff functions c1 to c3: six terms leave 1e-17.
_SERIES = [[(-1) ** k / factorial(2 * k + order) for k in range(6)] for order in (1, 2, 3)]


@dataclass(frozen=True)
class Orbits:
    """Osculating elements about the Sun, ecliptic and equinox of J2000.

    Attributes
    ----------
    perihelion_au : ndarray
        Distance of the perihelion, positive. All arrays broadcast with each other.
    eccentricity : ndarray
        From 0; 1 for a parabola, more for a hyperbola.
    inclination_deg, node_deg, argument_deg : ndarray
        Inclination, longitude of the ascending node, argument of the perihelion.
    perihelion_mjd : ndarray
        Time of the perihelion (MJD, TDB).
    """

    perihelion_au: Floats
    eccentricity: Floats
    inclination_deg: Floats
    node_deg: Floats
    argument_deg: Floats
    perihelion_mjd: Floats

    def __getitem__(self, key: Any) -> "Orbits":
        """Return a selection of the orbits, as from arrays."""
        return Orbits(*(getattr(self, name)[key] for name in self.__dataclass_fields__))


def heliocentric(orbits: Orbits, time_mjd: Floats) -> tuple[Floats, Floats]:
    """Return positions and velocities about the Sun.

    Kepler's equation is solved in universal variables from the perihelion, one formula for
    ellipses, parabolas and hyperbolas (Danby, Fundamentals of Celestial Mechanics, section 6.9).

    Parameters
    ----------
    orbits : Orbits
        Shapes that broadcast with `time_mjd`.
    time_mjd : ndarray
        Times (MJD, TDB).

    Returns
    -------
    position : ndarray of shape (..., 3)
        [au], along the axes of the ICRF.
    velocity : ndarray of shape (..., 3)
        [au / d].
    """
    q, e = orbits.perihelion_au, orbits.eccentricity
    alpha = (1 - e) / q
    elapsed = _since_perihelion(time_mjd - orbits.perihelion_mjd, alpha)
    chi = _solve_kepler(np.sqrt(GM_SUN) * elapsed, q, e, alpha)
    c1, c2, _ = _stumpff(alpha * chi**2)
    distance = q + e * chi**2 * c2
    along = q - chi**2 * c2
    across = np.sqrt(q * (1 + e)) * chi * c1
    speed = np.sqrt(GM_SUN) / distance
    along_rate = -speed * chi * c1
    across_rate = speed * np.sqrt(q * (1 + e)) * (1 - alpha * chi**2 * c2)
    to_perihelion, ahead = _axes(orbits)
    return (
        along[..., None] * to_perihelion + across[..., None] * ahead,
        along_rate[..., None] * to_perihelion + across_rate[..., None] * ahead,
    )


def _since_perihelion(elapsed_d: Floats, alpha: Floats) -> Floats:
    """Return the time [d] since the nearest perihelion."""
    closed = alpha > 0
    period = 2 * np.pi * np.where(closed, alpha, 1.0) ** -1.5 / np.sqrt(GM_SUN)
    turns = np.where(closed, np.round(elapsed_d / period), 0.0)
    return elapsed_d - turns * period


def _solve_kepler(mean: Floats, q: Floats, e: Floats, alpha: Floats) -> Floats:
    """Solve ``mean = q x + e x**3 c3(alpha x**2)`` for x."""
    target = np.abs(mean)
    # Above the solution, where the function is convex: Newton's method comes down to it. On half
    # an ellipse c3 is at least 1 / pi**2, elsewhere at least 1/6.
    least_c3 = np.where(alpha > 0, 1 / np.pi**2, 1 / 6)
    x = np.minimum(target / q, np.cbrt(target / np.maximum(e * least_c3, 1e-12)))
    x = np.where(alpha > 0, np.minimum(x, np.pi / np.sqrt(np.where(alpha > 0, alpha, 1.0))), x)
    for _ in range(_MOST_STEPS):
        square = x * x
        _, c2, c3 = _stumpff(alpha * square)
        step = (q * x + e * square * x * c3 - target) / (q + e * square * c2)
        x = x - step
        if np.all(np.abs(step) <= _LAST_STEP * (1 + x)):
            break
    return np.copysign(x, mean)


def _stumpff(z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the Stumpff functions c1 to c3."""
    size = np.abs(z)
    # Near 0 the closed forms cancel.
    is_small = size < _SERIES_BELOW
    root = np.sqrt(np.where(is_small, 1.0, size))
    half, full = np.sin(root / 2), np.sin(root)
    if np.any(z < 0):
        open_root = np.where(z < 0, root, 0.0)
        half = np.where(z < 0, np.sinh(open_root / 2), half)
        full = np.where(z < 0, np.sinh(open_root), full)
    c1, c2 = full / root, 2 * (half / root) ** 2
    c3 = (1 - c1) / np.where(is_small, 1.0, z)
    if np.any(is_small):
        c1, c2, c3 = (
            np.where(
                is_small, np.polynomial.polynomial.polyval(np.where(is_small, z, 0.0), series), c
            )
            for series, c in zip(_SERIES, (c1, c2, c3), strict=True)
        )
    return c1, c2, c3


def _axes(orbits: Orbits) -> tuple[Floats, Floats]:
    """Return unit vectors in the plane of the orbit: to the perihelion, and 90 deg ahead of it."""
    angles = (orbits.inclination_deg, orbits.node_deg, orbits.argument_deg)
    (si, sn, sw), (ci, cn, cw) = ([f(np.radians(a)) for a in angles] for f in (np.sin, np.cos))
    to_perihelion = (cn * cw - sn * sw * ci, sn * cw + cn * sw * ci, sw * si)
    ahead = (-cn * sw - sn * cw * ci, -sn * sw + cn * cw * ci, cw * si)
    return _to_equator(*to_perihelion), _to_equator(*ahead)


def _to_equator(x: Floats, y: Floats, z: Floats) -> Floats:
    sine, cosine = np.sin(_OBLIQUITY), np.cos(_OBLIQUITY)
    return np.stack(np.broadcast_arrays(x, cosine * y - sine * z, sine * y + cosine * z), axis=-1)
