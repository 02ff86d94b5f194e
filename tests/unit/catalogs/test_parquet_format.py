"""Structs of Parquet's metadata: those of real files, cut ones, and bytes of any kind."""

import io
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightloom.catalogs.parquet_format import (
    CutOffError,
    FileMetaData,
    OffsetIndex,
    PageHeader,
    read_struct,
    write_struct,
)


@pytest.fixture(scope="module")
def file() -> bytes:
    """A Parquet file with columns of many types, in several row groups."""
    n = 1000
    columns = {
        "id": pa.array(np.arange(n), pa.uint64()),
        "name": pa.array([f"star {i}" for i in range(n)]),
        "seen": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * n, pa.timestamp("us", "UTC")),
        "clock": pa.array([5] * n, pa.time64("ns")),
        "small": pa.array(np.zeros(n, np.float16)),
        "price": pa.array([1] * n).cast(pa.decimal128(25, 2)),
        "curve": pa.array([{"mag": [1.0, 2.0], "band": [1, 2]}] * n),
    }
    output = io.BytesIO()
    pq.write_table(
        pa.table(columns), output, row_group_size=300, data_page_size=200, write_page_index=True
    )
    return output.getvalue()


def footer_of(file: bytes) -> bytes:
    return file[-8 - int.from_bytes(file[-8:-4], "little") : -8]


def with_footer(file: bytes, footer: bytes) -> io.BytesIO:
    data = file[: -8 - int.from_bytes(file[-8:-4], "little")]
    return io.BytesIO(b"".join([data, footer, len(footer).to_bytes(4, "little"), b"PAR1"]))


def test_the_footer_says_what_pyarrow_reads_in_it(file: bytes) -> None:
    footer, end = read_struct(FileMetaData, footer_of(file))
    expected = pq.read_metadata(io.BytesIO(file))
    assert end == len(footer_of(file))
    assert footer.num_rows == expected.num_rows
    assert len(footer.row_groups) == expected.num_row_groups == 4
    for group, row_group in enumerate(footer.row_groups):
        for column, chunk in enumerate(row_group.columns):
            told = expected.row_group(group).column(column)
            stored = chunk.meta_data
            assert b".".join(stored.path_in_schema).decode() == told.path_in_schema
            assert stored.data_page_offset == told.data_page_offset
            assert stored.dictionary_page_offset == told.dictionary_page_offset
            assert stored.total_compressed_size == told.total_compressed_size
            assert stored.total_uncompressed_size == told.total_uncompressed_size


def test_the_page_index_leads_to_the_pages(file: bytes) -> None:
    footer, _ = read_struct(FileMetaData, footer_of(file))
    for chunk in footer.row_groups[1].columns:
        start, length = chunk.offset_index_offset, chunk.offset_index_length
        index, end = read_struct(OffsetIndex, file, start)
        assert end == start + length
        assert index.page_locations[0].first_row_index == 0
        for location in index.page_locations:
            header, behind = read_struct(PageHeader, file, location.offset)
            size = behind - location.offset + header.compressed_page_size
            assert size == location.compressed_page_size


def test_a_footer_that_was_read_and_written_gives_the_same_table(file: bytes) -> None:
    footer, _ = read_struct(FileMetaData, footer_of(file))
    expected = pq.read_table(io.BytesIO(file))
    written = pq.read_table(with_footer(file, write_struct(footer)))
    assert written.schema.equals(expected.schema)
    assert written.equals(expected)


def test_the_begin_of_a_struct_is_no_struct(file: bytes) -> None:
    footer = footer_of(file)
    for length in range(0, len(footer), 7):
        with pytest.raises(CutOffError):
            read_struct(FileMetaData, footer[:length])


@given(
    content=st.binary(max_size=300), cls=st.sampled_from([FileMetaData, OffsetIndex, PageHeader])
)
def test_bytes_of_any_kind_are_a_struct_or_refused(content: bytes, cls: type) -> None:
    try:
        _, end = read_struct(cls, content)
    except ValueError:
        return
    assert 0 < end <= len(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x1c" * 10_000_000, id="structs"),
        pytest.param(b"\x19\x1c" * 10_000_000, id="lists"),
        pytest.param(b"\x19" * 10_000_000, id="lists of lists"),
        pytest.param(b"\x49\xfc" + b"\xff" * 4 + b"\x7f", id="a list too long for any memory"),
        pytest.param(b"\x68" + b"\xff" * 4 + b"\x7f", id="a text too long for any memory"),
    ],
)
def test_what_would_exhaust_the_process_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="Thrift struct"):
        read_struct(FileMetaData, content)
