"""Coordinates of targets: from text to numbers, from other frames to ICRS, and names from them."""

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.coordinates import FK5, ICRS, Galactic, Latitude, Longitude, SkyCoord
from cdshealpix import nested
from numpy.typing import NDArray

from lightloom.sharding import POSITION_ORDER

FloatArray = NDArray[np.float64]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

_SEXAGESIMAL = (
    r"^(?P<sign>[+-]?)(?P<whole>\d{1,3})(?:\s*[:hd°]\s*|\s+)"
    r"(?P<minutes>\d{1,2})(?:\s*[:m'′]\s*|\s+)(?P<seconds>\d{1,2}(?:\.\d*)?)\s*[s\"″]?$"
)


def parse_numbers(cells: pa.Array) -> FloatArray:
    """Convert text to numbers.

    Parameters
    ----------
    cells : pyarrow.Array of string, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where the text is not a finite decimal number.
    """
    cells = pc.replace_substring(cells, "\N{MINUS SIGN}", "-")
    numbers = pc.if_else(pc.match_substring_regex(cells, _NUMBER), cells, None)
    values = pc.cast(numbers, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def parse_sexagesimal(cells: pa.Array) -> FloatArray:
    """Convert numbers and sexagesimal text, such as ``-01:23:45.6``, ``1h2m3s`` or ``1 2 3``.

    astropy's ``Angle`` reads one cell after the other, half a minute for a million.

    Parameters
    ----------
    cells : pyarrow.Array of string, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)
        In the unit of the first part; NaN where the text is neither.
    """
    parts = pc.extract_regex(pc.replace_substring(cells, "\N{MINUS SIGN}", "-"), _SEXAGESIMAL)
    sign = np.where(pc.equal(pc.struct_field(parts, "sign"), "-").fill_null(False), -1.0, 1.0)
    whole, minutes, seconds = (
        parse_numbers(pc.struct_field(parts, name)) for name in ("whole", "minutes", "seconds")
    )
    values = sign * (whole + minutes / 60 + seconds / 3600)
    values[(minutes >= 60) | (seconds >= 60)] = np.nan
    return np.where(pc.is_valid(parts), values, parse_numbers(cells))


def to_icrs(
    lon_deg: FloatArray, lat_deg: FloatArray, pm_masyr: tuple[FloatArray, FloatArray], frame: str
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Convert positions and proper motions to ICRS.

    Parameters
    ----------
    lon_deg, lat_deg : ndarray, shape (n,)
        Positions in the frame [deg].
    pm_masyr : tuple of two ndarrays, shape (n,)
        Proper motions in longitude (times the cosine of the latitude) and latitude [mas/yr]; NaN
        where unknown.
    frame : str
        ``icrs``, ``fk5`` (equinox J2000) or ``galactic``.

    Returns
    -------
    ra_deg, dec_deg, pmra_masyr, pmdec_masyr : ndarray, shape (n,)
        Right ascension is in [0, 360).
    """
    # A frame without rows forgets its proper motions.
    if frame == "icrs" or not len(lon_deg):
        return np.mod(lon_deg, 360.0), lat_deg + 0.0, *pm_masyr
    pm_lon, pm_lat = (pm * u.mas / u.yr for pm in pm_masyr)
    lon, lat = lon_deg * u.deg, lat_deg * u.deg
    if frame == "fk5":
        given = SkyCoord(FK5(lon, lat, pm_ra_cosdec=pm_lon, pm_dec=pm_lat))
    else:
        given = SkyCoord(Galactic(lon, lat, pm_l_cosb=pm_lon, pm_b=pm_lat))
    icrs = given.transform_to(ICRS())
    return (
        np.mod(icrs.ra.deg, 360.0),
        icrs.dec.deg + 0.0,
        icrs.pm_ra_cosdec.to_value(u.mas / u.yr),
        icrs.pm_dec.to_value(u.mas / u.yr),
    )


def designations(ra_deg: FloatArray, dec_deg: FloatArray) -> list[str]:
    """Name positions in the IAU style, ``JHHMMSS.ss+DDMMSS.s``.

    The coordinates are truncated, as the IAU asks, not rounded; a name depends on nothing else.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n,)
        ICRS [deg]; right ascension in [0, 360).

    Returns
    -------
    list of str
    """
    # Rounding at 1e-6 of the last digit keeps 8.5135 deg, a float just below, from losing a digit.
    ra_cs = np.floor(np.round(ra_deg * 24_000, 6)).astype(np.int64)
    ra_cs = np.minimum(ra_cs, 24 * 360_000 - 1)
    dec_das = np.floor(np.round(np.abs(dec_deg) * 36_000, 6)).astype(np.int64)
    hours, minutes, seconds = _split(ra_cs, 100)
    degrees, arcmin, arcsec = _split(dec_das, 10)
    signs = np.where(dec_deg < 0, "-", "+")
    return [
        f"J{h:02d}{m:02d}{s // 100:02d}.{s % 100:02d}{sign}{d:02d}{am:02d}{a // 10:02d}.{a % 10}"
        for h, m, s, sign, d, am, a in zip(
            *(
                column.tolist()
                for column in (hours, minutes, seconds, signs, degrees, arcmin, arcsec)
            ),
            strict=True,
        )
    ]


def healpix_29(ra_deg: FloatArray, dec_deg: FloatArray) -> NDArray[np.int64]:
    """Return the nested HEALPix cells of order 29 of positions [deg], shape (n,)."""
    lon, lat = Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg)
    cells: NDArray[np.int64] = nested.lonlat_to_healpix(lon, lat, POSITION_ORDER).astype(np.int64)
    return cells


def unit_vectors(ra_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    """Return Cartesian unit vectors of positions [deg], shape (n, 3)."""
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _split(
    ticks: NDArray[np.int64], per_second: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Split ticks into whole units, minutes, and ticks of the seconds."""
    minutes, ticks = np.divmod(ticks, 60 * per_second)
    wholes, minutes = np.divmod(minutes, 60)
    return wholes, minutes, ticks
