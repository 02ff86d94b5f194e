"""Lists of the page index, decoded as columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightloom.catalogs.thrift import (
    BINARY,
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    CutOffError,
    Struct,
    read_columns,
    read_struct,
    write_struct,
)

_INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300)
_MEMBERS = st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True).map(sorted)


def _encoded(rows: list[Struct], field: int = 1, **others: tuple[int, object]) -> bytes:
    return write_struct(
        {field: (LIST, (STRUCT, rows)), **{int(k[1:]): v for k, v in others.items()}}
    )


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[int], list[list[int]], list[int]]:
    members = draw(_MEMBERS)
    types = draw(st.lists(st.sampled_from([I16, I32, I64]), min_size=5, max_size=5))
    rows = draw(
        st.lists(st.lists(_INTEGERS, min_size=len(members), max_size=len(members)), max_size=40)
    )
    return members, rows, types


@given(table=_tables(), field=st.integers(1, 20), behind=st.booleans())
def test_columns_are_those_that_were_written(
    table: tuple[list[int], list[list[int]], list[int]], field: int, behind: bool
) -> None:
    members, rows, types = table
    structs = [
        {m: (t, number) for m, t, number in zip(members, types, row, strict=False)} for row in rows
    ]
    others = {"_30": (LIST, (I64, [1, 2, 300]))} if behind else {}
    columns = read_columns(_encoded(structs, field, **others), field, members)
    expected = np.array(rows, np.int64).reshape(len(rows), len(members)).T
    assert [column.dtype for column in columns] == [np.dtype(np.int64)] * len(members)
    np.testing.assert_array_equal(columns, expected)


@given(table=_tables(), row=st.integers(0, 39), extra=st.sampled_from([1, 41, 60]))
def test_a_struct_of_other_members_changes_nothing(
    table: tuple[list[int], list[list[int]], list[int]], row: int, extra: int
) -> None:
    members, rows, types = table
    structs: list[Struct] = [
        {m: (t, number) for m, t, number in zip(members, types, one, strict=False)} for one in rows
    ]
    if structs:
        odd = structs[row % len(structs)]
        odd.setdefault(extra, (BINARY, b"\x16\x02\x00"))
        if odd[extra][0] != BINARY:
            odd[extra] = (I16, odd[extra][1])
    columns = read_columns(_encoded(structs), 1, members)
    np.testing.assert_array_equal(columns, np.array(rows, np.int64).reshape(-1, len(members)).T)


@given(table=_tables(), length=st.integers(0, 10_000))
def test_the_begin_of_an_index_is_no_index(
    table: tuple[list[int], list[list[int]], list[int]], length: int
) -> None:
    members, rows, types = table
    structs = [
        {m: (t, number) for m, t, number in zip(members, types, row, strict=False)} for row in rows
    ]
    content = _encoded(structs)
    # The last byte ends the struct around the list, which is whole without it.
    begin = content[: length % (len(content) - 1)]
    with pytest.raises(CutOffError):
        read_columns(begin, 1, members)


@given(content=st.binary(max_size=200), members=_MEMBERS)
def test_bytes_of_any_kind_are_read_or_refused(content: bytes, members: list[int]) -> None:
    try:
        generic = read_struct(content)[0][1][1][1]
        expected = np.array([[row[m][1] for m in members] for row in generic], np.int64)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        return
    np.testing.assert_array_equal(
        read_columns(content, 1, members), expected.reshape(-1, len(members)).T
    )


def test_a_number_of_more_than_64_bits_is_refused() -> None:
    content = bytes([1 << 4 | LIST, 1 << 4 | STRUCT, 1 << 4 | I64, *[255] * 11, 1, 0, 0])
    with pytest.raises(ValueError, match="64 bits"):
        read_columns(content, 1, [1])


def test_a_missing_member_is_named() -> None:
    with pytest.raises(KeyError, match="3"):
        read_columns(_encoded([{1: (I64, 5)}]), 1, [1, 3])
