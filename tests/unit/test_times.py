"""Times against astropy's own light-travel times and scales."""

import erfa
import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.times import (
    _BARYCENTRIC_AU,
    _HELIOCENTRIC_AU,
    _TDB_MINUS_TT_DAYS,
    _interpolate,
    to_mjd_tdb_barycentre,
)

GEOCENTRE = EarthLocation.from_geocentric(0, 0, 0, unit="m")
#: Twice the rounding of a float64 MJD.
ROUNDING_DAYS = 2e-11
#: Second-order terms of the heliocentric light travel time that astropy leaves to the caller.
HELIOCENTRIC_DAYS = 5e-11


@settings(deadline=None, max_examples=50)
@given(
    mjd=st.floats(51544.0, 61000.0),
    ra_deg=st.floats(0.0, 360.0, exclude_max=True),
    dec_deg=st.floats(-90.0, 90.0),
)
def test_barycentre_equals_astropy(mjd: float, ra_deg: float, dec_deg: float) -> None:
    at_earth = Time(mjd, format="mjd", scale="utc", location=GEOCENTRE)
    direction = SkyCoord(ra_deg * u.deg, dec_deg * u.deg)
    expected = (at_earth.tdb + at_earth.light_travel_time(direction, "barycentric")).mjd
    place = np.array([ra_deg]), np.array([dec_deg])

    from_geocentre = to_mjd_tdb_barycentre(
        np.array([mjd]), *place, time_scale="utc", time_ref="geocentre"
    )
    heliocentric = (at_earth + at_earth.light_travel_time(direction, "heliocentric")).mjd
    from_heliocentre = to_mjd_tdb_barycentre(
        np.array([heliocentric]), *place, time_scale="utc", time_ref="heliocentre"
    )

    assert from_geocentre[0] == pytest.approx(expected, rel=0, abs=ROUNDING_DAYS)
    assert from_heliocentre[0] == pytest.approx(expected, rel=0, abs=HELIOCENTRIC_DAYS)


def test_polynomials_stand_for_the_series_of_erfa() -> None:
    """Better than a float64 MJD can tell, so that the rows do not show it."""
    mjd = np.random.default_rng(1).uniform(40_000.0, 70_000.0, 20_000)
    heliocentric, barycentric = erfa.epv00(2400000.5, mjd)
    tdb_minus_tt_s = erfa.dtdb(2400000.5, mjd, 0.0, 0.0, 0.0, 0.0)
    one_au_s = (u.au / constants.c).to_value(u.s)
    for columns, expected, unit_s in (
        (_HELIOCENTRIC_AU, heliocentric["p"], one_au_s),
        (_BARYCENTRIC_AU, barycentric["p"], one_au_s),
        (_TDB_MINUS_TT_DAYS, tdb_minus_tt_s[:, np.newaxis] / 86400, 86400.0),
    ):
        assert np.abs(_interpolate(columns, mjd) - expected).max() * unit_s < 1e-7


def test_tdb_and_tcb_at_the_barycentre_need_no_light_travel() -> None:
    mjd = np.array([55197.0 + 1600.0, np.nan])
    place = np.array([10.0, 10.0]), np.array([20.0, 20.0])
    tdb = to_mjd_tdb_barycentre(mjd, *place, time_scale="tdb", time_ref="barycentre")
    tcb = to_mjd_tdb_barycentre(mjd, *place, time_scale="tcb", time_ref="barycentre")
    assert tdb[0] == mjd[0]
    assert np.isnan(tdb[1])
    # Difference of the scales in 2014, from archives' documentation: TCB is ahead of UTC by 85.475
    # s.
    utc = Time(mjd[0], format="mjd", scale="tcb").utc.mjd
    assert (utc - mjd[0]) * 86400 == pytest.approx(-85.475, abs=1e-2)
    assert tcb[0] == pytest.approx(Time(mjd[0], format="mjd", scale="tcb").tdb.mjd, abs=1e-9)


def test_wrong_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="ut1"):
        to_mjd_tdb_barycentre(
            np.array([1.0]),
            np.array([0.0]),
            np.array([0.0]),
            time_scale="ut1",
            time_ref="geocentre",
        )


@pytest.mark.parametrize("scale", ["utc", "tai", "tdb", "tcb"])
@pytest.mark.parametrize("place", ["geocentre", "heliocentre", "barycentre"])
def test_absurd_times_are_no_dates_and_spoil_no_others(scale: str, place: str) -> None:
    mjd = np.array([1e308, -1e308, np.inf, -np.inf, 1e9, -1e9, np.nan, 58000.0])
    zeros = np.zeros(len(mjd))
    found = to_mjd_tdb_barycentre(mjd, zeros, zeros, time_scale=scale, time_ref=place)
    assert np.all(np.isnan(found[:-1]))
    alone = to_mjd_tdb_barycentre(mjd[-1:], zeros[:1], zeros[:1], time_scale=scale, time_ref=place)
    assert found[-1] == alone[0]
