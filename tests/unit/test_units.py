"""Flux conversions against astropy's units and independently computed factors."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from lightloom.units import ab_mag_to_mjy, vega_nanomaggy_to_mjy


@given(mag=st.floats(5.0, 30.0), mag_err=st.floats(1e-4, 0.01))
def test_ab_magnitudes(mag: float, mag_err: float) -> None:
    flux, error = ab_mag_to_mjy(np.array([mag]), np.array([mag_err]))
    # The AB zero point is 3631 Jy to four digits; astropy has 3630.78.
    assert flux[0] == pytest.approx((mag * u.ABmag).to_value(u.mJy), rel=2e-4)
    half_difference = (
        ab_mag_to_mjy(np.array([mag - mag_err]), error)[0]
        - ab_mag_to_mjy(np.array([mag + mag_err]), error)[0]
    ) / 2
    assert error[0] == pytest.approx(half_difference[0], rel=1e-4)


@pytest.mark.parametrize(
    ("ab_minus_vega_mag", "mjy"),
    # WISE W1 and W2, as computed in Lightloom's archive notes from IRSA's offsets.
    [(2.699, 3.0227e-4), (3.339, 1.67649e-4), (0.0, 3.6308e-3)],
)
def test_vega_nanomaggies(ab_minus_vega_mag: float, mjy: float) -> None:
    assert vega_nanomaggy_to_mjy(ab_minus_vega_mag) == pytest.approx(mjy, rel=3e-5)
