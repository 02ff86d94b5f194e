"""Where moving objects are seen: astrometric positions with light time, rates and brightness."""

from dataclasses import dataclass

import numpy as np

from lightloom.sky.moving.bodies import Body
from lightloom.sky.moving.observers import KM_PER_AU, View
from lightloom.sky.moving.orbits import Floats, Orbits, heliocentric

#: Speed of light [au / d], from 299792.458 km/s.
LIGHT_SPEED = 299_792.458 * 86400 / KM_PER_AU

_ARCSEC_PER_RAD = np.degrees(1) * 3600
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Sight:
    """How objects are seen, one entry for each time or each pair of object and time.

    Attributes
    ----------
    ra_deg, dec_deg : ndarray of shape (n,)
        Astrometric position, ICRF: light time, but no aberration nor deflection.
    ra_rate, dec_rate : ndarray of shape (n,)
        Its motion [arcsec / h], in right ascension times the cosine of the declination.
    sun_distance_au, distance_au : ndarray of shape (n,)
        From the Sun and from the observer, when the light left.
    sun_rate, distance_rate : ndarray of shape (n,)
        Their change [km / s].
    elongation_deg, phase_deg : ndarray of shape (n,)
        Angle to the Sun seen by the observer, and to the observer seen from the Sun's light.
    direction : ndarray of shape (n, 3)
        Unit vector from the observer.
    """

    ra_deg: Floats
    dec_deg: Floats
    ra_rate: Floats
    dec_rate: Floats
    sun_distance_au: Floats
    sun_rate: Floats
    distance_au: Floats
    distance_rate: Floats
    elongation_deg: Floats
    phase_deg: Floats
    direction: Floats


def observe(orbits: Orbits, seen_from: View) -> Sight:
    """Return how objects are seen.

    Parameters
    ----------
    orbits : Orbits
        One, or one for each time.
    seen_from : View
        The observer.

    Returns
    -------
    Sight
    """
    about_sun, speed = heliocentric(orbits, seen_from.time_mjd)
    delay_d, path = _light_time(about_sun, speed, np.zeros_like(seen_from.time_mjd), seen_from)
    # The straight path of the first delay is right to 1e-8 of it; from its end nothing is left.
    about_sun, speed = heliocentric(orbits, seen_from.time_mjd - delay_d)
    later_d, path = _light_time(about_sun, speed, delay_d, seen_from)
    about_sun = about_sun - (later_d - delay_d)[:, None] * speed
    distance = np.linalg.norm(path, axis=-1)
    direction = path / distance[:, None]
    velocity = speed + seen_from.sun_velocity
    # The moment at which the light left runs slower where the object recedes.
    recession = _dot(direction, velocity - seen_from.observer_velocity)
    pace = 1 - recession / (LIGHT_SPEED + _dot(direction, velocity))
    relative = pace[:, None] * velocity - seen_from.observer_velocity
    ra, dec = np.arctan2(path[:, 1], path[:, 0]), np.arcsin(direction[:, 2])
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=-1)
    north = np.cross(direction, east)
    per_hour = _ARCSEC_PER_RAD / 24 / distance
    sun_distance = np.linalg.norm(about_sun, axis=-1)
    to_sun = seen_from.sun - seen_from.observer
    km_per_s = KM_PER_AU / 86400
    return Sight(
        np.degrees(ra) % 360,
        np.degrees(dec),
        _dot(relative, east) * per_hour,
        _dot(relative, north) * per_hour,
        sun_distance,
        _dot(speed, about_sun) / sun_distance * km_per_s,
        distance,
        _dot(relative, direction) * km_per_s,
        _angle(to_sun, path),
        _angle(about_sun, path),
        direction,
    )


def unit_vectors(ra_deg: Floats, dec_deg: Floats) -> Floats:
    """Return unit vectors of positions [deg], shape (n, 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _light_time(
    about_sun: Floats, speed: Floats, known_d: Floats, seen_from: View
) -> tuple[Floats, Floats]:
    """Return delays [d] and paths [au] of light for objects on straight lines.

    Their positions about the Sun are those `known_d` before the light arrives.
    """
    delay_d = known_d
    # Each round gains four digits, the speed over that of light.
    for _ in range(3):
        sun = seen_from.sun - delay_d[:, None] * seen_from.sun_velocity
        path = sun + about_sun - (delay_d - known_d)[:, None] * speed - seen_from.observer
        delay_d = np.linalg.norm(path, axis=-1) / LIGHT_SPEED
    return delay_d, path


def magnitude(body: Body, sight: Sight) -> Floats:
    """Return total magnitudes: of comets by M1 and k1, of asteroids by H and G (visual band)."""
    r, delta = sight.sun_distance_au, sight.distance_au
    if body.is_comet:
        return body.absolute_mag + 5 * np.log10(delta) + body.slope * np.log10(r)
    # Bowell et al. (1989), Asteroids II, p. 524.
    half = np.tan(np.radians(sight.phase_deg) / 2)
    phi1, phi2 = np.exp(-3.33 * half**0.63), np.exp(-1.87 * half**1.22)
    dimming = -2.5 * np.log10((1 - body.slope) * phi1 + body.slope * phi2)
    return body.absolute_mag + 5 * np.log10(r * delta) + dimming


def uncertainty_arcsec(body: Body, sight: Sight, utc_mjd: Floats) -> tuple[Floats, Floats]:
    """Return 3-sigma uncertainties in right ascension (on the sky) and declination.

    That of the embedded sky is a length at the object that grows with the time from the epoch.

    Parameters
    ----------
    body : Body
        Has the length and its growth.
    sight : Sight
        Of this object.
    utc_mjd : ndarray of shape (n,)
        Times (MJD, UTC).

    Returns
    -------
    ra_arcsec, dec_arcsec : ndarray of shape (n,)
    """
    years = np.abs(utc_mjd - body.epoch_mjd) / _DAYS_PER_YEAR
    length_km = body.sigma3_km + body.sigma3_km_per_year * years
    size = length_km / (sight.distance_au * KM_PER_AU) * _ARCSEC_PER_RAD
    return size, size / 2


def _dot(a: Floats, b: Floats) -> Floats:
    return np.einsum("ni,ni->n", a, b)


def _angle(a: Floats, b: Floats) -> Floats:
    """Return angles [deg] between vectors, right also for small ones."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), _dot(a, b)))
