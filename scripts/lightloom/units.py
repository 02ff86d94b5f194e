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

#: Flux densities in mJy per unit, for units that are flux densities themselves.
MJY_PER_UNIT = {"Jy": 1e3, "mJy": 1.0, "uJy": 1e-3, "nJy": 1e-6}

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


def mjy_per_unit(ab_zero_point_mag: float) -> float:
    """Return the flux density of one unit of a linear flux.

    Parameters
    ----------
    ab_zero_point_mag : float
        AB magnitude of a source of one unit [mag].

    Returns
    -------
    float
        Factor from the unit to mJy.
    """
    return float(10.0 ** (-0.4 * (ab_zero_point_mag - AB_ZERO_POINT_UJY)) * _MJY_PER_UJY)


def flux_factor(
    native_unit: str, *, ab_minus_vega_mag: float = 0.0, ab_zero_point_mag: float | None = None
) -> float | None:
    """Return the factor from a published flux to a flux density.

    Parameters
    ----------
    native_unit : {'Jy', 'mJy', 'uJy', 'nJy', 'nMgy', 'Vega nMgy', 'electron/s', 'relative'}
        Unit of the published flux.
    ab_minus_vega_mag : float, optional
        AB magnitude minus Vega magnitude of the band, for Vega nanomaggies [mag].
    ab_zero_point_mag : float, optional
        AB magnitude of one unit, for units that say nothing of it themselves [mag].

    Returns
    -------
    float or None
        Factor to mJy; None if the unit is no flux density and no zero point is given.
    """
    if native_unit in MJY_PER_UNIT:
        return MJY_PER_UNIT[native_unit]
    if native_unit in ("nMgy", "Vega nMgy"):
        return mjy_per_unit(NANOMAGGY_ZERO_POINT + ab_minus_vega_mag)
    return None if ab_zero_point_mag is None else mjy_per_unit(ab_zero_point_mag)
