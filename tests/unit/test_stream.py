"""Rows of many streams come together by target, whatever the streams and their cuts."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.stream import merge_by_target, regroup

SCHEMA = pa.schema([("target", pa.int64()), ("band", pa.string()), ("time_mjd", pa.float64())])
KEYS = ("band", "time_mjd")
N_TARGETS = 12

row = st.tuples(
    st.integers(0, N_TARGETS - 1),
    st.sampled_from(["g", "r", None]),
    st.sampled_from([1.0, 2.5, float("nan"), None]),
)
Row = tuple[int, str | None, float | None]


def table(rows: list[Row]) -> pa.Table:
    names = SCHEMA.names
    return pa.Table.from_pylist([dict(zip(names, r, strict=True)) for r in rows], schema=SCHEMA)


def cut(whole: pa.Table, cuts: list[int]) -> Iterator[pa.Table]:
    borders = sorted(min(c, whole.num_rows) for c in cuts)
    for start, stop in zip([0, *borders], [*borders, whole.num_rows], strict=True):
        yield whole.slice(start, stop - start)


def sort_key(entry: Row) -> tuple[object, ...]:
    target, band, time = entry
    rank = 2 if time is None else 1 if np.isnan(time) else 0
    return (target, band is None, band or "", rank, time if rank == 0 else 0.0)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_merged_rows_are_all_rows_in_one_order(data: st.DataObject) -> None:
    rows = data.draw(st.lists(row, max_size=40))
    n_streams = data.draw(st.integers(0 if not rows else 1, 4))
    block_rows = data.draw(st.integers(1, 20))
    stream_of = [data.draw(st.integers(0, n_streams - 1)) for _ in rows]
    streams = []
    for number in range(n_streams):
        mine = [r for r, s in zip(rows, stream_of, strict=True) if s == number]
        ordered = table(sorted(mine, key=lambda r: r[0]))
        streams.append(cut(ordered, data.draw(st.lists(st.integers(0, 40), max_size=3))))

    blocks = list(merge_by_target(streams, N_TARGETS, KEYS, block_rows=block_rows))

    merged = pa.concat_tables([SCHEMA.empty_table(), *blocks])
    assert repr(merged.to_pylist()) == repr(table(sorted(rows, key=sort_key)).to_pylist())
    seen = [set(block.column("target").to_pylist()) for block in blocks]
    assert sum(map(len, seen)) == len(set().union(*seen)), "a target is split over blocks"
    assert all(max(a) < min(b) for a, b in pairwise(seen))


def test_ties_of_the_keys_are_broken_by_the_other_columns() -> None:
    def stream(values: list[int]) -> list[pa.Table]:
        return [pa.table({"target": [0] * len(values), "band": ["g"] * len(values), "x": values})]

    merged = [
        pa.concat_tables(merge_by_target(streams, 1, ["band"]))
        for streams in ([stream([3, 1]), stream([2])], [stream([2, 3]), stream([1])])
    ]
    assert merged[0].column("x").to_pylist() == [1, 2, 3]
    assert merged[1].equals(merged[0])


def test_blocks_are_bounded_by_the_block_and_the_largest_target() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 30, (3, 2000))
    counts[1, 700] = 5000
    read = [0, 0, 0]

    def stream(number: int) -> Iterator[pa.Table]:
        targets = np.repeat(np.arange(2000), counts[number])
        for start in range(0, len(targets), 100):
            piece = pa.table({"target": targets[start : start + 100]})
            read[number] += piece.num_rows
            yield piece

    given_out = 0
    held = []
    sizes = []
    for block in merge_by_target([stream(i) for i in range(3)], 2000, [], block_rows=900):
        held.append(sum(read) - given_out)
        given_out += block.num_rows
        sizes.append(block.num_rows)
    assert given_out == counts.sum()
    assert max(held) <= counts.sum(axis=0).max() + 900 + 3 * 100
    assert np.median(held) <= 900 + 3 * 100
    assert np.median(sizes) >= 450


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[0, 2], [1]], "stream 0: targets decrease"),
        ([[3, 2]], "stream 0: targets decrease"),
        ([[-1]], "stream 0: targets decrease"),
        ([[0], [1, None]], "stream 0: 1 rows without a target"),
        ([[0, 12]], "stream 0: target 12, but there are 12"),
    ],
)
def test_a_wrong_stream_is_refused(targets: list[list[int | None]], message: str) -> None:
    stream = [pa.table({"target": pa.array(t, pa.int64())}) for t in targets]
    with pytest.raises(ValueError, match=message):
        list(merge_by_target([stream], N_TARGETS, []))


@given(
    cuts=st.lists(st.integers(0, 30), max_size=4),
    borders=st.lists(st.integers(0, 30), min_size=1, max_size=6),
)
def test_regroup_keeps_rows_and_gives_the_sizes(cuts: list[int], borders: list[int]) -> None:
    whole = table([(i % N_TARGETS, "g", float(i)) for i in range(30)])
    ends = sorted(borders)
    sizes = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    pieces = list(regroup(cut(whole, cuts), sizes, SCHEMA))
    assert [piece.num_rows for piece in pieces] == sizes
    assert pa.concat_tables(pieces).equals(whole.slice(0, ends[-1]))


def test_regroup_tells_of_a_stream_that_ends_too_early() -> None:
    with pytest.raises(ValueError, match="2 rows too early"):
        list(regroup([table([(0, "g", 1.0)])], [1, 2], SCHEMA))
