"""Positions on the sphere for the embedded sky."""

from typing import Any

import astropy.units as u
import cdshealpix
import numpy as np
from astropy.coordinates import Latitude, Longitude, SkyCoord
from numpy.typing import ArrayLike, NDArray


def coordinates(ra_deg: ArrayLike, dec_deg: ArrayLike) -> SkyCoord:
    """Return ICRS coordinates for positions in degrees."""
    return SkyCoord(np.asarray(ra_deg) * u.deg, np.asarray(dec_deg) * u.deg)


def shift(
    ra_deg: Any, dec_deg: Any, position_angle_deg: Any, distance_arcsec: Any
) -> tuple[Any, Any]:
    """Return positions a distance away in a direction, along great circles.

    Parameters
    ----------
    ra_deg, dec_deg : float or ndarray
        Where to start, ICRS.
    position_angle_deg : float or ndarray
        Direction, from north through east.
    distance_arcsec : float or ndarray
        How far.

    Returns
    -------
    ra_deg, dec_deg : float or ndarray
        Positions; right ascension in [0, 360).
    """
    moved = coordinates(ra_deg, dec_deg).directional_offset_by(
        np.asarray(position_angle_deg) * u.deg, np.asarray(distance_arcsec) * u.arcsec
    )
    if np.ndim(ra_deg) == 0 and moved.isscalar:
        return float(moved.ra.deg), float(moved.dec.deg)
    return moved.ra.deg, moved.dec.deg


def scatter(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    sigma_arcsec: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions with Gaussian errors of ``sigma_arcsec`` along each axis."""
    n_positions = len(ra_deg)
    distance_arcsec = sigma_arcsec * np.hypot(*rng.normal(size=(2, n_positions)))
    return shift(ra_deg, dec_deg, rng.uniform(0.0, 360.0, n_positions), distance_arcsec)


def healpix_cells(ra_deg: ArrayLike, dec_deg: ArrayLike, order: int) -> NDArray[np.int64]:
    """Return the nested HEALPix cells of positions in degrees."""
    lon = Longitude(np.atleast_1d(ra_deg).astype(np.float64), u.deg)
    lat = Latitude(np.atleast_1d(dec_deg).astype(np.float64), u.deg)
    return cdshealpix.lonlat_to_healpix(lon, lat, order).astype(np.int64)


def cell_centre(order: int, cell: int) -> tuple[float, float]:
    """Return right ascension and declination of the centre of a nested HEALPix cell, in degrees."""
    lon, lat = cdshealpix.healpix_to_lonlat(np.array([cell], dtype=np.uint64), order)
    return float(lon[0].deg), float(lat[0].deg)


def cell_corner(order: int, cell: int, corner: str) -> tuple[float, float]:
    """Return the ``S``, ``E``, ``N`` or ``W`` corner of a nested HEALPix cell, in degrees."""
    lon, lat = cdshealpix.vertices(np.array([cell], dtype=np.uint64), order)
    index = "SENW".index(corner)
    return float(lon[0, index].deg), float(lat[0, index].deg)


def cell_edge(order: int, cell: int) -> tuple[float, float]:
    """Return the middle of the south-eastern edge of a nested HEALPix cell, in degrees."""
    lon, lat = cdshealpix.healpix_to_lonlat(np.array([cell], dtype=np.uint64), order, 0.5, 0.0)
    return float(lon[0].deg), float(lat[0].deg)
