"""Times of observations: from the published scale and place to TDB at the barycentre.

The Earth's position comes from ERFA's ``epv00`` (a few kilometres, 0.02 ms of light travel) and TDB
- TT from its ``dtdb``. Both series are slow, so Chebyshev polynomials of 8 days each stand for
them, as in published ephemerides: they are less than 0.1 microseconds off. Observatories on and
near the Earth count as its centre, at most 0.022 s of light travel away.
"""

from functools import lru_cache

import erfa
import numpy as np
from astropy import constants
from astropy import units as u
from astropy.time import Time
from numpy.polynomial.chebyshev import chebfit, chebpts1, chebval
from numpy.typing import NDArray

TIME_SCALES = ("utc", "tai", "tdb", "tcb")
TIME_REFS = ("topocentre", "geocentre", "heliocentre", "barycentre")

_MJD_ZERO_JD = 2400000.5
_LIGHT_DAYS_PER_AU = float((u.au / constants.c).to_value(u.day))
#: Times outside are no dates of observations: years 1585 to 2406 [d].
_PLAUSIBLE_MJD = (-100_000.0, 200_000.0)
#: Days of a polynomial, its degree, and days of those that are made together.
_SEGMENT_DAYS = 8
_DEGREE = 7
_TABLE_DAYS = 4096
#: Times that are converted together: each takes 0.2 kB meanwhile.
_BLOCK = 1 << 16

# Columns of the coefficients of `_table`.
_HELIOCENTRIC_AU = slice(0, 3)
_BARYCENTRIC_AU = slice(3, 6)
_TDB_MINUS_TT_DAYS = slice(6, 7)

FloatArray = NDArray[np.float64]


@lru_cache(maxsize=16)
def _table(number: int) -> FloatArray:
    """Return the coefficients over ``_TABLE_DAYS`` days, shape (_DEGREE + 1, n_segments, 7)."""
    nodes = chebpts1(_DEGREE + 1)
    starts = number * _TABLE_DAYS + np.arange(0, _TABLE_DAYS, _SEGMENT_DAYS)
    mjd_tdb = starts + (nodes[:, np.newaxis] + 1) / 2 * _SEGMENT_DAYS
    heliocentric, barycentric = erfa.epv00(_MJD_ZERO_JD, mjd_tdb)
    tdb_minus_tt_s = erfa.dtdb(_MJD_ZERO_JD, mjd_tdb, 0.0, 0.0, 0.0, 0.0)[..., np.newaxis]
    values = np.concatenate(
        [heliocentric["p"], barycentric["p"], tdb_minus_tt_s / erfa.DAYSEC], axis=-1
    )
    coefficients = chebfit(nodes, values.reshape(len(nodes), -1), _DEGREE)
    table: FloatArray = coefficients.reshape(values.shape)
    return table


def _interpolate(columns: slice, mjd_tdb: FloatArray) -> FloatArray:
    """Evaluate some of the functions of `_table`, shape (n_times, n_functions)."""
    values = np.empty((len(mjd_tdb), columns.stop - columns.start))
    number = np.floor_divide(mjd_tdb, _TABLE_DAYS)
    for one in np.unique(number):
        table = _table(int(one))[..., columns]
        here = np.flatnonzero(number == one)
        for block in np.array_split(here, -(-len(here) // _BLOCK)):
            segment, day = np.divmod(mjd_tdb[block] - one * _TABLE_DAYS, _SEGMENT_DAYS)
            within = 2 * day / _SEGMENT_DAYS - 1
            values[block] = chebval(
                within[:, np.newaxis], table[:, segment.astype(np.int64)], tensor=False
            )
    return values


def _to_tdb(time_mjd: FloatArray, time_scale: str) -> FloatArray:
    """Convert MJD in any scale to MJD in TDB, at the same place [d]."""
    published = Time(time_mjd, format="mjd", scale=time_scale)
    if time_scale in ("tdb", "tcb"):
        return published.tdb.mjd
    tt = published.tt.mjd
    return tt + _interpolate(_TDB_MINUS_TT_DAYS, tt)[:, 0]


def _light_travel_days(mjd_tdb: FloatArray, direction: FloatArray, place: slice) -> FloatArray:
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
            at_earth = tdb - _light_travel_days(tdb, direction, _HELIOCENTRIC_AU)
            tdb = tdb - _light_travel_days(at_earth, direction, _HELIOCENTRIC_AU)
        tdb = tdb + _light_travel_days(tdb, direction, _BARYCENTRIC_AU)
    mjd_tdb[known] = tdb
    return mjd_tdb
