"""The rate of matches by chance is found again in samples of which it is known."""

import numpy as np
import pytest

from lightloom.plots.matches import MIN_MATCHES, fit_chance_matches, share_of_offsets

RADIUS_ARCSEC = 1.5


def sample(n_true: int, n_chance: int, seed: int, sigma_arcsec: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    true = rng.rayleigh(sigma_arcsec, n_true)
    return np.concatenate([true, RADIUS_ARCSEC * np.sqrt(rng.random(n_chance))])


@pytest.mark.parametrize(("n_true", "n_chance"), [(900, 100), (300, 0), (200, 200)])
def test_the_share_is_found(n_true: int, n_chance: int) -> None:
    fit = fit_chance_matches(sample(n_true, n_chance, 1), RADIUS_ARCSEC)
    assert fit is not None
    share = n_chance / (n_true + n_chance)
    assert fit.share == pytest.approx(share, abs=0.04)
    assert fit.sigma_arcsec == pytest.approx(0.1, rel=0.1)
    assert fit.low <= fit.share <= fit.high


def test_the_range_holds_the_truth_as_often_as_it_says() -> None:
    numbers = np.random.default_rng(5).binomial(100, 0.1, 60).tolist()
    fits = [
        fit_chance_matches(sample(100 - n_chance, n_chance, seed), RADIUS_ARCSEC)
        for seed, n_chance in enumerate(numbers)
    ]
    n_inside = sum(fit is not None and fit.low <= 0.1 <= fit.high for fit in fits)
    # 68 % of 60 are 41; 30 to 52 are three standard deviations.
    assert 30 <= n_inside <= 52


def test_the_share_of_positions_beside_the_targets() -> None:
    share = share_of_offsets(2000, 20)
    assert share is not None
    assert share.share == 0.01
    # Nearly that of a normal distribution: 1 % of 2000, give or take its root.
    assert (share.low, share.high) == pytest.approx((0.0080, 0.0125), abs=2e-4)
    none = share_of_offsets(60, 0)
    assert none is not None
    assert none.low == 0 < none.high
    assert share_of_offsets(0, 0) is None


def test_few_matches_tell_nothing() -> None:
    assert fit_chance_matches(np.full(MIN_MATCHES - 1, 0.1), RADIUS_ARCSEC) is None
    assert fit_chance_matches(np.full(30, np.nan), RADIUS_ARCSEC) is None
    assert fit_chance_matches(np.full(30, 0.0), RADIUS_ARCSEC) is not None
