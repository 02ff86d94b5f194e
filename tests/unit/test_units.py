"""Flux conversions against astropy's units and independently computed factors."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from lightloom.units import ab_mag_to_mjy, flux_factor


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
    factor = flux_factor("Vega nMgy", ab_minus_vega_mag=ab_minus_vega_mag)
    assert factor == pytest.approx(mjy, rel=3e-5)


@pytest.mark.parametrize("unit", ["Jy", "mJy", "uJy", "nJy"])
def test_flux_densities_scale_as_their_units(unit: str) -> None:
    assert flux_factor(unit) == pytest.approx(u.Unit(unit).to(u.mJy), rel=1e-15)


def test_ab_nanomaggies() -> None:
    nanomaggy = (1e-9 * u.mgy).to_value(u.mJy, u.zero_point_flux(1.0 * u.AB))
    assert flux_factor("nMgy") == pytest.approx(nanomaggy, rel=1e-12)


@pytest.mark.parametrize(
    ("ab_zero_point_mag", "mjy"),
    # Gaia DR3 G, BP and RP.
    [(25.8010446445, 1.73613e-4), (25.3539555559, 2.62070e-4), (25.1039837393, 3.29918e-4)],
)
def test_zero_points_make_counts_flux_densities(ab_zero_point_mag: float, mjy: float) -> None:
    factor = flux_factor("electron/s", ab_zero_point_mag=ab_zero_point_mag)
    assert factor == pytest.approx(mjy, rel=1e-5)
    assert factor == pytest.approx((ab_zero_point_mag * u.ABmag).to_value(u.mJy), rel=1e-12)


@pytest.mark.parametrize("unit", ["electron/s", "relative"])
def test_without_a_zero_point_there_is_no_flux_density(unit: str) -> None:
    assert flux_factor(unit) is None
