"""Targets in the circles of events, compared with all pairs by astropy."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.services.tap_events import targets_in_circles


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-4, 0.01, 1.0, 15.0, 25.0, 170.0]),
    st.sampled_from([0.0, 45.0, 89.99]),
)
def test_circles_of_all_sizes_everywhere(seed: int, radius_deg: float, dec_deg: float) -> None:
    rng = np.random.default_rng(seed)
    spread_deg = min(3 * radius_deg, 180.0)
    ra = rng.uniform(0, min(360.0, spread_deg / np.cos(np.radians(dec_deg))), (2, 20)) % 360
    dec = np.clip(dec_deg + rng.uniform(-1, 1, (2, 20)) * spread_deg, -90, 90)
    radius_arcsec = radius_deg * 3600 * rng.uniform(0.1, 1.0, 20)
    event, target, distance_arcsec = targets_in_circles(ra[0], dec[0], radius_arcsec, ra[1], dec[1])
    centres, targets = (SkyCoord(ra[n], dec[n], unit=u.deg) for n in (0, 1))
    separation = centres[:, np.newaxis].separation(targets).arcsec
    expected = np.nonzero(separation <= radius_arcsec[:, np.newaxis])
    np.testing.assert_array_equal((event, target), expected)
    np.testing.assert_allclose(distance_arcsec, separation[expected], rtol=1e-9, atol=1e-6)


def test_circle_without_place_or_radius_holds_nothing() -> None:
    nan = np.array([np.nan, 10.0, 10.0])
    event, target, _ = targets_in_circles(
        nan, nan[[1, 0, 1]], 3600 * nan[[1, 1, 0]], np.array([10.0]), np.array([10.0])
    )
    assert len(event) == len(target) == 0


def test_memory_is_bounded_where_all_targets_are_in_all_circles() -> None:
    n_events, n_targets = 3000, 700
    event, target, _ = targets_in_circles(
        np.full(n_events, 10.0),
        np.zeros(n_events),
        np.full(n_events, 10.0),
        np.full(n_targets, 10.0),
        np.zeros(n_targets),
    )
    assert len(event) == n_events * n_targets
    assert (event[:n_targets] == 0).all()
    assert (target[:n_targets] == np.arange(n_targets)).all()
