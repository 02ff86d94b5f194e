"""Times of observations: from the published scale and place to TDB at the barycentre.

The Earth's position comes from ERFA's ``epv00`` (a few kilometres, 0.02 ms of light travel) and TDB
- TT from its ``dtdb``. Both series are slow, so they are tabulated once a day and interpolated: the
Moon's pull on the Earth leaves less than 1 microsecond. Observatories on and near the Earth count
as its centre, at most 0.022 s of light travel away.
"""

from dataclasses import dataclass
from functools import lru_cache

import erfa
import numpy as np
from astropy import constants
from astropy import units as u
from astropy.time import Time
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline

TIME_SCALES = ("utc", "tai", "tdb", "tcb")
TIME_REFS = ("topocentre", "geocentre", "heliocentre", "barycentre")

_MJD_ZERO_JD = 2400000.5
_LIGHT_DAYS_PER_AU = float((u.au / constants.c).to_value(u.day))
#: Times outside are no dates of observations: years 1585 to 2406 [d].
_PLAUSIBLE_MJD = (-100_000.0, 200_000.0)
#: Days per table of Earth positions.
_TABLE_DAYS = 4096

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Table:
    """Smooth functions of MJD (TDB) over ``_TABLE_DAYS`` days."""

    heliocentric_au: CubicHermiteSpline
    barycentric_au: CubicHermiteSpline
    tdb_minus_tt_days: CubicSpline


@lru_cache(maxsize=16)
def _table(first_mjd: int) -> _Table:
    days = np.arange(first_mjd, first_mjd + _TABLE_DAYS + 1, dtype=np.float64)
    jd_zero = np.full_like(days, _MJD_ZERO_JD)
    heliocentric, barycentric = erfa.epv00(jd_zero, days)
    tdb_minus_tt_s = erfa.dtdb(jd_zero, days, 0.0, 0.0, 0.0, 0.0)
    return _Table(
        CubicHermiteSpline(days, heliocentric["p"], heliocentric["v"]),
        CubicHermiteSpline(days, barycentric["p"], barycentric["v"]),
        CubicSpline(days, tdb_minus_tt_s / erfa.DAYSEC),
    )


def _interpolate(quantity: str, mjd_tdb: FloatArray) -> FloatArray:
    """Evaluate a field of ``_Table`` at the given times."""
    first_mjd, inverse = np.unique(np.floor_divide(mjd_tdb, _TABLE_DAYS), return_inverse=True)
    pieces = [
        getattr(_table(int(first) * _TABLE_DAYS), quantity)(mjd_tdb[inverse == index])
        for index, first in enumerate(first_mjd)
    ]
    values = np.empty((mjd_tdb.size, *pieces[0].shape[1:]))
    for index, piece in enumerate(pieces):
        values[inverse == index] = piece
    return values


def _to_tdb(time_mjd: FloatArray, time_scale: str) -> FloatArray:
    """Convert MJD in any scale to MJD in TDB, at the same place [d]."""
    published = Time(time_mjd, format="mjd", scale=time_scale)
    if time_scale in ("tdb", "tcb"):
        return published.tdb.mjd
    tt = published.tt.mjd
    return tt + _interpolate("tdb_minus_tt_days", tt)


def _light_travel_days(mjd_tdb: FloatArray, direction: FloatArray, place: str) -> FloatArray:
    """Light travel time from the Earth's centre to the place [d]; positive if it lies behind."""
    earth_au = _interpolate(place, mjd_tdb)
    return np.einsum("ij,ij->i", earth_au, direction) * _LIGHT_DAYS_PER_AU


def to_mjd_tdb_barycentre(
    time_mjd: FloatArray,
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    *,
    time_scale: str,
    time_ref: str,
) -> FloatArray:
    """Convert published times to MJD in TDB at the solar-system barycentre.

    Parameters
    ----------
    time_mjd : ndarray, shape (n,)
        Times as MJD in ``time_scale`` [d]; NaN stays NaN, and what is no date of an observation
        (before 1585 or after 2406) becomes NaN.
    ra_deg, dec_deg : ndarray, shape (n,)
        ICRS direction of the source [deg].
    time_scale : {'utc', 'tai', 'tdb', 'tcb'}
    time_ref : {'topocentre', 'geocentre', 'heliocentre', 'barycentre'}
        Place to which ``time_mjd`` refers; a topocentre is taken as the geocentre.

    Returns
    -------
    ndarray, shape (n,)
        MJD (TDB, barycentre) [d].

    Raises
    ------
    ValueError
        If ``time_scale`` or ``time_ref`` is none of the above.
    """
    if time_scale not in TIME_SCALES or time_ref not in TIME_REFS:
        raise ValueError(f"unknown time scale or place: {time_scale!r}, {time_ref!r}")
    mjd_tdb = np.full_like(time_mjd, np.nan)
    known = (time_mjd > _PLAUSIBLE_MJD[0]) & (time_mjd < _PLAUSIBLE_MJD[1])
    if not known.any():
        return mjd_tdb
    tdb = _to_tdb(time_mjd[known], time_scale)
    if time_ref != "barycentre":
        ra, dec = np.radians(ra_deg[known]), np.radians(dec_deg[known])
        direction = np.stack(
            [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1
        )
        if time_ref == "heliocentre":
            # The delay belongs to the moment at the Earth, up to 8.4 minutes from the published
            # one.
            at_earth = tdb - _light_travel_days(tdb, direction, "heliocentric_au")
            tdb = tdb - _light_travel_days(at_earth, direction, "heliocentric_au")
        tdb = tdb + _light_travel_days(tdb, direction, "barycentric_au")
    mjd_tdb[known] = tdb
    return mjd_tdb
