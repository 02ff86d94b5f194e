"""Where an observer is: places on the turning Earth, and the Earth itself."""

from dataclasses import dataclass

import erfa
import numpy as np
from numpy.typing import NDArray

from lightloom.sky.moving.orbits import Floats

#: Julian date of the zero of MJD [d].
JD_OF_MJD = 2_400_000.5
#: The astronomical unit [km], IAU 2012.
KM_PER_AU = 149_597_870.7
#: Equatorial radius [km] to which the parallax constants of the Minor Planet Center refer.
_EARTH_RADIUS_KM = 6378.137
#: Angular speed of the Earth [rad / d], IERS conventions.
_TURN = 7.292115e-5 * 86400


@dataclass(frozen=True)
class Site:
    """A place of observation.

    Attributes
    ----------
    code : str
        Of the Minor Planet Center.
    name : str
    longitude_deg : float
        East of Greenwich.
    rho_cos_phi, rho_sin_phi : float
        Parallax constants, in equatorial radii of the Earth; 0 for its centre.
    """

    code: str
    name: str
    longitude_deg: float
    rho_cos_phi: float
    rho_sin_phi: float

    @property
    def is_centre(self) -> bool:
        """Whether it is the centre of the Earth."""
        return self.rho_cos_phi == self.rho_sin_phi == 0


#: From the list of observatory codes of the Minor Planet Center.
SITES = {
    site.code: site
    for site in (
        Site("500", "GEOCENTRIC", 0.0, 0.0, 0.0),
        Site("I41", "Palomar Mountain--ZTF", 243.14022, 0.836325, 0.546877),
    )
}

# Nodes a day between which the Earth is interpolated: cubically, to 10 m; its axis linearly.
_NODES_A_DAY = 8


@dataclass(frozen=True)
class View:
    """Where the observer and the Sun are at some times.

    Attributes
    ----------
    time_mjd : ndarray of shape (n,)
        Times (MJD, TDB).
    observer, observer_velocity, sun, sun_velocity : ndarray of shape (n, 3)
        From the barycentre of the solar system, axes of the ICRF [au, au / d].
    zenith : ndarray of shape (n, 3)
        Unit vector from the centre of the Earth to the site; not a number for the centre itself.
    pole : ndarray of shape (n, 3)
        Unit vector to the celestial pole of the date.
    """

    time_mjd: Floats
    observer: Floats
    observer_velocity: Floats
    sun: Floats
    sun_velocity: Floats
    zenith: Floats
    pole: Floats

    def __getitem__(self, key: object) -> "View":
        """Return a selection of the times."""
        return View(*(getattr(self, name)[key] for name in self.__dataclass_fields__))


def tdb_of(utc_mjd: Floats) -> Floats:
    """Return times in TDB (MJD) for times in UTC (MJD); TDB is taken as TT, within 2 ms."""
    first, second = erfa.taitt(*erfa.utctai(JD_OF_MJD, np.asarray(utc_mjd, dtype=np.float64)))
    return (first - JD_OF_MJD) + second


def view(site: Site, utc_mjd: Floats) -> View:
    """Return where the observer and the Sun are.

    The Earth is that of ERFA (``epv00``, some km), turned and nutated. UT1 is taken as UTC and
    the motion of the pole left out: at most 0.3 km between 2015 and 2025, 0.004 arcsec at 0.1 au.

    Parameters
    ----------
    site : Site
        The place.
    utc_mjd : ndarray of shape (n,)
        Times (MJD, UTC).

    Returns
    -------
    View
    """
    utc_mjd = np.asarray(utc_mjd, dtype=np.float64)
    time_mjd = tdb_of(utc_mjd)
    nodes, low, step = _nodes(time_mjd)
    heliocentric, barycentric = erfa.epv00(JD_OF_MJD, nodes)
    earth, earth_velocity = _between(barycentric["p"], barycentric["v"], low, step)
    around, around_velocity = _between(heliocentric["p"], heliocentric["v"], low, step)
    to_dates = erfa.pnm06a(JD_OF_MJD, nodes)
    share = step[:, None, None]
    to_date = (1 - share) * to_dates[low] + share * to_dates[low + 1]
    place, motion = _on_earth(site, utc_mjd, time_mjd, to_date)
    with np.errstate(invalid="ignore"):
        zenith = place / np.linalg.norm(place, axis=-1, keepdims=True)
    return View(
        time_mjd,
        earth + place,
        earth_velocity + motion,
        earth - around,
        earth_velocity - around_velocity,
        zenith,
        to_date[:, 2],
    )


def _nodes(time_mjd: Floats) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Return nodes in time, the one below each time, and the share of the way to the next."""
    scaled = time_mjd * _NODES_A_DAY
    below = np.floor(scaled)
    nodes = np.unique(np.concatenate([below, below + 1]))
    return nodes / _NODES_A_DAY, np.searchsorted(nodes, below), scaled - below


def _between(
    position: Floats, velocity: Floats, low: NDArray[np.intp], step: Floats
) -> tuple[Floats, Floats]:
    """Return positions and velocities between nodes, by cubic Hermite polynomials."""
    p0, p1 = position[low], position[low + 1]
    m0, m1 = (velocity[index] / _NODES_A_DAY for index in (low, low + 1))
    t = step[:, None]
    value = (
        (1 + 2 * t) * (1 - t) ** 2 * p0
        + t * (1 - t) ** 2 * m0
        + t**2 * (3 - 2 * t) * p1
        + t**2 * (t - 1) * m1
    )
    slope = (
        6 * t * (t - 1) * (p0 - p1) + (1 - t) * (1 - 3 * t) * m0 + t * (3 * t - 2) * m1
    ) * _NODES_A_DAY
    return value, slope


def _on_earth(
    site: Site, utc_mjd: Floats, time_mjd: Floats, to_date: Floats
) -> tuple[Floats, Floats]:
    """Return position [au] and velocity [au / d] from the centre of the Earth."""
    sidereal = erfa.gst06(JD_OF_MJD, utc_mjd, JD_OF_MJD, time_mjd, to_date)
    angle = sidereal + np.radians(site.longitude_deg)
    scale = _EARTH_RADIUS_KM / KM_PER_AU
    x, y = scale * site.rho_cos_phi * np.cos(angle), scale * site.rho_cos_phi * np.sin(angle)
    z = np.full_like(x, scale * site.rho_sin_phi)
    place = np.stack([x, y, z], axis=-1)
    motion = _TURN * np.stack([-y, x, np.zeros_like(x)], axis=-1)
    turned = [np.einsum("nji,nj->ni", to_date, vector) for vector in (place, motion)]
    return turned[0], turned[1]
