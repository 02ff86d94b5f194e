"""Conversions of published brightnesses to flux densities in mJy (AB).

All conversions are linear in flux, so that negative fluxes and their errors stay unbiased; only
values that were published as magnitudes pass through the exponential.
"""

import numpy as np
from numpy.typing import NDArray

#: AB magnitude of 1 microjansky (Oke & Gunn 1983: 0 mag = 3631 Jy, rounded as surveys do).
AB_ZERO_POINT_UJY = 23.9

#: Magnitude of 1 nanomaggy, by definition of the unit.
NANOMAGGY_ZERO_POINT = 22.5

_MJY_PER_UJY = 1e-3

FloatArray = NDArray[np.float64]


def ab_mag_to_mjy(mag: FloatArray, mag_err: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Convert AB magnitudes to flux densities.

    Parameters
    ----------
    mag, mag_err : ndarray, shape (n,)
        Magnitudes and their 1-sigma errors [mag].

    Returns
    -------
    flux_mjy, flux_err_mjy : ndarray, shape (n,)
        Flux densities and errors [mJy]; the error is propagated to first order,
        ``0.4 ln(10) flux mag_err``.
    """
    flux_mjy = 10.0 ** (-0.4 * (mag - AB_ZERO_POINT_UJY)) * _MJY_PER_UJY
    return flux_mjy, 0.4 * np.log(10.0) * flux_mjy * mag_err


def vega_nanomaggy_to_mjy(ab_minus_vega_mag: float) -> float:
    """Return the flux density of one Vega nanomaggy.

    Parameters
    ----------
    ab_minus_vega_mag : float
        AB magnitude minus Vega magnitude of the band [mag].

    Returns
    -------
    float
        Factor from Vega nanomaggies to mJy.
    """
    ab_mag = NANOMAGGY_ZERO_POINT + ab_minus_vega_mag
    return float(10.0 ** (-0.4 * (ab_mag - AB_ZERO_POINT_UJY)) * _MJY_PER_UJY)
