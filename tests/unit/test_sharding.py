"""Shards partition the sample, are bounded, and do not depend on other targets."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lightloom.sharding import (
    ALL_SKY,
    MAX_ORDER,
    POSITION_ORDER,
    content_hash,
    is_shard_name,
    leaf_name,
    overlap,
    parse_leaf,
    split,
)

CELLS = 12 * 4**POSITION_ORDER
cell_lists = st.lists(st.integers(0, CELLS - 1), max_size=300).map(sorted)
#: Targets that the finest leaves can tell apart.
FINE_PIXELS = st.integers(0, 12 * 4**MAX_ORDER - 1)
FINE_SHIFT = 2 * (POSITION_ORDER - MAX_ORDER)


@given(cells=cell_lists, max_targets=st.integers(1, 50))
def test_leaves_hold_every_target_once_and_are_bounded(cells: list[int], max_targets: int) -> None:
    array = np.array(cells, np.int64)
    leaves = split(array, max_targets)
    assert [i for leaf in leaves for i in range(leaf.start, leaf.stop)] == list(range(len(cells)))
    for leaf in leaves:
        assert leaf.start < leaf.stop
        place = parse_leaf(leaf.name)
        if place is None:
            assert len(leaves) == 1
            assert len(cells) <= max_targets
            continue
        order, pixel = place
        assert leaf.stop - leaf.start <= max_targets or order == MAX_ORDER
        assert {c >> 2 * (POSITION_ORDER - order) for c in cells[leaf.start : leaf.stop]} == {pixel}


@given(pixels=st.lists(FINE_PIXELS, min_size=20, max_size=200, unique=True), extra=FINE_PIXELS)
def test_a_new_target_touches_only_the_leaf_it_falls_in(pixels: list[int], extra: int) -> None:
    max_targets = 8
    cells = sorted(pixel << FINE_SHIFT for pixel in pixels)
    new = extra << FINE_SHIFT
    before = {
        leaf.name: cells[leaf.start : leaf.stop] for leaf in split(np.array(cells), max_targets)
    }
    grown = sorted([*cells, new])
    after = {
        leaf.name: grown[leaf.start : leaf.stop] for leaf in split(np.array(grown), max_targets)
    }
    kept = {name for name in before if before[name] == after.get(name)}
    touched = [cell for name in before.keys() - kept for cell in before[name]]
    assert len(touched) <= max_targets
    assert new in [cell for name in after.keys() - kept for cell in after[name]]


def test_names_and_the_whole_sky() -> None:
    assert parse_leaf(leaf_name(3, 123)) == (3, 123)
    assert parse_leaf(ALL_SKY) is None
    assert is_shard_name(ALL_SKY)
    assert is_shard_name(leaf_name(3, 123))
    assert not is_shard_name("norder3")
    assert [leaf.name for leaf in split(np.array([5, 7]), 2)] == [ALL_SKY]
    assert split(np.array([], np.int64), 2) == []


@given(pixel=FINE_PIXELS, others=st.lists(st.tuples(st.integers(0, 6), FINE_PIXELS), max_size=20))
def test_places_overlap_if_one_holds_the_other(pixel: int, others: list[tuple[int, int]]) -> None:
    for order, other in others:
        ancestor = leaf_name(order, pixel >> 2 * (MAX_ORDER - order))
        assert overlap(ancestor, leaf_name(MAX_ORDER, pixel))
        assert overlap(leaf_name(MAX_ORDER, pixel), ancestor)
        same = other >> 2 * (MAX_ORDER - order) == pixel >> 2 * (MAX_ORDER - order)
        assert overlap(ancestor, leaf_name(MAX_ORDER, other)) == same
        assert overlap(ALL_SKY, ancestor)


def test_the_hash_sees_content_and_only_content() -> None:
    table = pa.table({"objectid": ["a", "bc"], "ra_deg": [1.0, None]})
    rechunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert content_hash(rechunked) == content_hash(table)
    moved = table.set_column(1, "ra_deg", pa.array([1.0, 2.0]))
    renamed = table.set_column(0, "objectid", pa.array(["ab", "c"]))
    assert len({content_hash(t) for t in (table, moved, renamed)}) == 3
