"""Circles and cells on the sphere."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from written_catalogs import (
    Position,
    awkward_positions,
    cells,
    offset,
    radii_arcsec,
    separations_arcsec,
)

from lightloom.catalogs.geometry import (
    FINEST_ORDER,
    Neighbourhoods,
    cells_around,
    circle_ranges,
    neighbourhood_order,
    offset_by,
    separation_arcsec,
)


@settings(deadline=None)
@given(awkward_positions(), st.floats(0, 360), st.floats(-7, 5).map(lambda power: 10**power))
def test_separation_agrees_with_vincenty(position: Position, angle: float, distance: float) -> None:
    ra, dec = offset(position, angle, distance)
    expected = separations_arcsec(*position, ra, dec)
    assert separation_arcsec(*position, ra, dec) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_separation_across_ra_0_and_the_pole() -> None:
    assert separation_arcsec(359.9999, 0.0, 0.0001, 0.0) == pytest.approx(0.72)
    assert separation_arcsec(10.0, 89.9999, 190.0, 89.9999) == pytest.approx(0.72)
    assert separation_arcsec(0.0, -90.0, 77.0, -90.0) == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None)
@given(awkward_positions(), st.floats(0, 360), st.floats(-7, 5).map(lambda power: 10**power))
@example(Position(0.0, 90 - 1e-9), 100.0, 400.0)
@example(Position(0.0, 90.0), 100.0, 400.0)
def test_offset_ends_where_it_should(position: Position, angle: float, distance: float) -> None:
    expected = offset(position, angle, distance)
    assert separations_arcsec(*offset_by(*position, angle, distance), *expected) < 1e-9


@settings(deadline=None)
@given(awkward_positions(), radii_arcsec(), st.integers(0, 29))
def test_neighbourhood_holds_the_circle(
    position: Position, radius_arcsec: float, finest_order: int
) -> None:
    ra, dec = offset(position, np.linspace(0, 360, 100), radius_arcsec)
    order = min(neighbourhood_order(radius_arcsec), finest_order)
    number, around = cells_around(*(np.array([value]) for value in position), order)
    assert set(cells(ra, dec, order)) <= set(around)
    assert len(around) == len(set(around)) == len(number)
    assert len(around) in (range(4, 13) if order < 2 else range(7, 10))


@settings(deadline=None)
@given(awkward_positions(), radii_arcsec())
def test_circle_ranges_hold_the_circle_and_little_else(
    position: Position, radius_arcsec: float
) -> None:
    first, end = circle_ranges(*position, radius_arcsec)

    def inside(distance_arcsec: float) -> np.ndarray:
        ra, dec = offset(position, np.linspace(0, 360, 100), distance_arcsec)
        at = np.searchsorted(end, finest := cells(ra, dec, FINEST_ORDER), side="right")
        within = at < len(first)
        within[within] = first[at[within]] <= finest[within]
        return within

    assert inside(radius_arcsec).all()
    assert not inside(3.0 * radius_arcsec).any()


@pytest.mark.parametrize("radius_arcsec", [0.0, -1.0, 37 * 3600.0, np.nan])
def test_radius_out_of_range(radius_arcsec: float) -> None:
    with pytest.raises(ValueError, match="radius_arcsec is"):
        neighbourhood_order(radius_arcsec)


@settings(max_examples=50, deadline=None)
@given(st.lists(awkward_positions(), min_size=1, max_size=5), radii_arcsec(), st.integers(0, 2**32))
def test_match_is_exact(targets: list[Position], radius_arcsec: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = (np.array(values) for values in zip(*targets, strict=True))
    sources = [
        offset(target, rng.uniform(0, 360, 20), rng.uniform(0, 2, 20) * radius_arcsec)
        for target in targets
    ]
    source_ra, source_dec = (np.concatenate(values) for values in zip(*sources, strict=True))
    around = Neighbourhoods.of(ra, dec, radius_arcsec)
    cell = cells(source_ra, source_dec, around.order)
    source, target, separation = around.match(source_ra, source_dec, cell)

    expected = separations_arcsec(ra[:, None], dec[:, None], source_ra, source_dec)
    certain = np.abs(expected - radius_arcsec) > 1e-9
    found = np.zeros_like(expected, bool)
    found[target, source] = True
    assert np.array_equal(found[certain], (expected < radius_arcsec)[certain])
    np.testing.assert_allclose(separation, expected[target, source], rtol=1e-8, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(awkward_positions(), min_size=1, max_size=5), radii_arcsec(), st.integers(0, 2**32))
def test_box_that_holds_a_match_is_touched(
    targets: list[Position], radius_arcsec: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = (np.array(values) for values in zip(*targets, strict=True))
    around = Neighbourhoods.of(ra, dec, radius_arcsec)
    source_ra, source_dec = offset(
        targets[0], rng.uniform(0, 360, 50), rng.uniform(0, 1, 50) * radius_arcsec
    )
    source_ra = source_ra % 360
    low, high = np.sort([source_ra, rng.permutation(source_ra)], axis=0)
    south, north = np.sort([source_dec, rng.permutation(source_dec)], axis=0)
    assert around.touch_boxes(low, high, south, north).all()


def test_box_far_from_all_targets_is_not_touched() -> None:
    around = Neighbourhoods.of(np.array([0.001, 120.0]), np.array([10.0, 89.9999]), 5.0)
    touched = around.touch_boxes(
        [359.0, 1.0, 200.0, 100.0],
        [359.9999, 2.0, 210.0, 110.0],
        [9.0, 9.0, 89.0, 80],
        [11, 11, 90, 85],
    )
    assert touched.tolist() == [True, False, True, False]


@pytest.mark.parametrize("pairs_at_once", [1, 7, 20, 1000])
def test_blocks_of_boxes_are_touched_as_boxes_are(
    monkeypatch: pytest.MonkeyPatch, pairs_at_once: int
) -> None:
    rng = np.random.default_rng(20180318)
    around = Neighbourhoods.of(rng.uniform(0, 360, 5), rng.uniform(-90, 90, 5), 3600.0)
    low, south = rng.uniform(0, 350, 23), rng.uniform(-90, 60, 23)
    boxes = np.array([low, low + 40, south, south + 30])
    one_by_one = [around.touch_boxes(*box)[0] for box in boxes.T[..., np.newaxis]]
    assert 0 < sum(one_by_one) < 23
    monkeypatch.setattr("lightloom.catalogs.geometry._PAIRS_AT_ONCE", pairs_at_once)
    assert around.touch_boxes(*boxes).tolist() == one_by_one


def test_positions_that_are_not_finite_match_nothing() -> None:
    around = Neighbourhoods.of(np.array([45.0]), np.array([0.0]), 5.0)
    cell = np.full(3, cells([45.0], [0.0], around.order)[0])
    source, _, _ = around.match(np.array([np.nan, np.inf, 45.0]), np.zeros(3), cell)
    assert source.tolist() == [2]
