"""How many matches of an archive are there by chance, by their distances and beside the targets.

True matches lie near their targets, chance matches anywhere in the search circle: the squares of
the distances of the latter are uniform between 0 and the square of the radius. The share of the two
is fitted by maximum likelihood to the distances of the nearest matches, with the distances of true
ones as those of a normal distribution in two dimensions (Rayleigh). Catalogues tell in another way,
too, how often there is a source beside the targets. What either cannot tell stands in
docs/reading.md.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import binom_conf_interval
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

#: Fewer distances than this say nothing about two populations.
MIN_MATCHES = 20
#: Drop of the logarithm of the likelihood at the 1-sigma limits of one parameter.
_ONE_SIGMA_DROP = 0.5
_SHARES = np.linspace(0, 1, 201)
#: True matches scatter by at least this [arcsec] and at most by this part of the radius.
_MIN_SIGMA_ARCSEC = 0.005
_MAX_SIGMA_PART = 0.45


@dataclass(frozen=True)
class ChanceMatches:
    """Share of chance matches with its 1-sigma range, and the scatter of the true ones.

    Attributes
    ----------
    share, low, high : float
        Of all matches, between 0 and 1.
    sigma_arcsec : float
        Scatter of the true matches in each direction.
    """

    share: float
    low: float
    high: float
    sigma_arcsec: float


@dataclass(frozen=True)
class OffsetMatches:
    """Share of the positions beside the targets with a source, with its 1-sigma range (Wilson).

    Attributes
    ----------
    n_offsets : int
        Number of these positions.
    share, low, high : float
        Between 0 and 1.
    """

    n_offsets: int
    share: float
    low: float
    high: float


def share_of_offsets(n_offsets: int, n_offset_matches: int) -> OffsetMatches | None:
    """Return how often a source lies within the radius of a position beside a target.

    Parameters
    ----------
    n_offsets : int
        Positions that were looked at.
    n_offset_matches : int
        Positions with a source.

    Returns
    -------
    OffsetMatches or None
        None if there are no such positions.
    """
    if not n_offsets:
        return None
    low, high = binom_conf_interval(n_offset_matches, n_offsets, interval="wilson")
    return OffsetMatches(n_offsets, n_offset_matches / n_offsets, float(low), float(high))


def fit_chance_matches(
    distances_arcsec: NDArray[np.float64], radius_arcsec: float
) -> ChanceMatches | None:
    """Fit the share of chance matches among the nearest matches of a sample.

    Parameters
    ----------
    distances_arcsec : ndarray of float64, shape (n_matches,)
        Distance of the nearest match of each target that has one.
    radius_arcsec : float
        Radius of the search.

    Returns
    -------
    ChanceMatches or None
        None for fewer than `MIN_MATCHES` distances.
    """
    inside = distances_arcsec[np.isfinite(distances_arcsec) & (distances_arcsec <= radius_arcsec)]
    if len(inside) < MIN_MATCHES:
        return None
    squares = inside**2 / radius_arcsec**2
    limits = np.log([_MIN_SIGMA_ARCSEC / radius_arcsec, _MAX_SIGMA_PART])
    profile = np.empty(len(_SHARES))
    sigmas = np.empty(len(_SHARES))
    for i, share in enumerate(_SHARES):
        found = minimize_scalar(
            _minus_log_likelihood, bounds=limits, args=(share, squares), method="bounded"
        )
        profile[i], sigmas[i] = -found.fun, np.exp(found.x)
    best = int(np.argmax(profile))
    near = _SHARES[profile >= profile[best] - _ONE_SIGMA_DROP]
    return ChanceMatches(
        float(_SHARES[best]),
        float(near[0]),
        float(near[-1]),
        float(sigmas[best] * radius_arcsec),
    )


def _minus_log_likelihood(log_sigma: float, share: float, squares: NDArray[np.float64]) -> float:
    """Of squares of distances over radius; densities in the square, so chance has density 1."""
    variance = np.exp(2 * log_sigma)
    inside = -np.expm1(-0.5 / variance)
    true = np.exp(-0.5 * squares / variance) / (2 * variance * inside)
    return -float(np.sum(np.log(share + (1 - share) * true + 1e-300)))
