"""Which partitions are searched for which targets."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from written_catalogs import (
    Pixel,
    Position,
    awkward_positions,
    cells,
    corner_of,
    offset,
    pixel_centres,
    radii_arcsec,
    separations_arcsec,
    tiling,
)

from lightloom.catalogs.layouts import Catalog, CatalogSpec, Partition
from lightloom.catalogs.planning import plan_searches

SPEC = CatalogSpec("anywhere", "hats", "ra", "dec", "id")


def catalog(pixels: list[Pixel]) -> Catalog:
    ascending = sorted(pixels, key=lambda pixel: pixel[1] << 2 * (29 - pixel[0]))
    return Catalog(SPEC, tuple(Partition(*pixel, f"{pixel}") for pixel in ascending))


def plan(
    pixels: list[Pixel], targets: list[Position], radius_arcsec: float
) -> tuple[dict[int, set[Pixel]], np.ndarray]:
    """Return the partitions searched for each target, and which targets are outside."""
    ra, dec = zip(*targets, strict=True)
    searches, outside = plan_searches(catalog(pixels), ra, dec, radius_arcsec)
    found: dict[int, set[Pixel]] = {index: set() for index in range(len(targets))}
    for search in searches:
        assert np.all(np.diff(search.target) > 0)
        assert search.ra_deg.tolist() == [ra[index] for index in search.target]
        assert search.dec_deg.tolist() == [dec[index] for index in search.target]
        for index in search.target:
            found[index].add(search.partition[:2])
    assert len({search.partition for search in searches}) == len(searches)
    return found, outside


def partitions_at(pixels: list[Pixel], ra: np.ndarray, dec: np.ndarray) -> set[Pixel]:
    orders = sorted({order for order, _ in pixels})
    at = {(order, int(cell)) for order in orders for cell in cells(ra, dec, order)}
    return at & set(pixels)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), max_size=40),
    st.lists(st.integers(0, 10**6), max_size=20),
    st.lists(awkward_positions(), min_size=1, max_size=5),
    radii_arcsec(),
)
@example([], [], [Position(0.0, 90 - 1e-9)], 0.37)
def test_every_touched_partition_and_no_other(
    splits: list[int], holes: list[int], targets: list[Position], radius_arcsec: float
) -> None:
    pixels = tiling(splits, holes)
    found, outside = plan(pixels, targets, radius_arcsec)
    angles, shares = np.meshgrid(np.linspace(0, 360, 60), np.linspace(0, 1, 8))
    for index, target in enumerate(targets):
        disc = offset(target, angles.ravel(), shares.ravel() * radius_arcsec)
        wider = offset(target, angles.ravel(), shares.ravel() * 1.3 * radius_arcsec)
        assert partitions_at(pixels, *disc) <= found[index]
        assert found[index] <= partitions_at(pixels, *wider)
        assert outside[index] == (not found[index])


def test_at_every_corner_of_the_sky_all_pixels_that_meet_there_are_searched() -> None:
    order = 2
    pixels = [(order, cell) for cell in range(12 * 4**order)]
    corners = [corner_of(order, cell, corner) for _, cell in pixels for corner in range(4)]
    found, _ = plan(pixels, corners, 0.1)
    meeting = [found[index] for index in range(len(corners))]
    assert all(corner // 4 in {cell for _, cell in met} for corner, met in enumerate(meeting))
    # Euler: of the corners where pixels meet, eight join three of them and all others four.
    distinct = {frozenset(met) for met in meeting}
    assert len(distinct) == len(pixels) + 2
    assert sorted(map(len, distinct)) == [3] * 8 + [4] * (len(pixels) - 6)


def test_a_target_in_a_partition_or_beside_it() -> None:
    pixels = [(3, 100), (3, 101), (4, 408)]
    inside = pixel_centres(pixels)
    beside = pixel_centres([(3, 103)])
    found, outside = plan(pixels, [*inside, *beside], 1.0)
    assert found == {0: {(3, 100)}, 1: {(3, 101)}, 2: {(4, 408)}, 3: set()}
    assert outside.tolist() == [False, False, False, True]


def test_partitions_much_smaller_than_the_circle() -> None:
    pixels = [(8, cell) for cell in range(12 * 4**8 // 50)]
    target = pixel_centres([(2, 0)])[0]
    found, _ = plan(pixels, [target], 3600.0)
    centres = pixel_centres(pixels)
    ra, dec = np.array(centres).T
    near = separations_arcsec(*target, ra, dec) < 3600
    assert {pixel for pixel, is_near in zip(pixels, near, strict=True) if is_near} <= found[0]


def test_no_targets_and_no_partitions() -> None:
    searches, outside = plan_searches(catalog([(0, 1)]), [], [], 1.0)
    assert (searches, outside.tolist()) == ([], [])
    searches, outside = plan_searches(catalog([]), [10.0], [20.0], 1.0)
    assert (searches, outside.tolist()) == ([], [True])


@pytest.mark.parametrize(
    ("ra", "dec"), [(10.0, 90.001), (np.nan, 0.0), (np.inf, 0.0), (0.0, np.nan)]
)
def test_a_position_off_the_sphere(ra: float, dec: float) -> None:
    with pytest.raises(ValueError, match="target 1: ra_deg is"):
        plan_searches(catalog([(0, 1)]), [5.0, ra], [5.0, dec], 1.0)
