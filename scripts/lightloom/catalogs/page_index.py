"""Where the pages of a Parquet file lie, and files made of some of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lightloom.catalogs.files import CatalogFile, Leaf
from lightloom.catalogs.geometry import IntArray
from lightloom.catalogs.page_limit import PageSizes
from lightloom.catalogs.parquet_format import (
    ColumnChunk,
    ColumnIndex,
    ColumnMetaData,
    FileMetaData,
    OffsetIndex,
    PageHeader,
    RowGroup,
    SchemaElement,
    read_struct,
    write_struct,
)
from lightloom.catalogs.storage import Range
from lightloom.errors import DamagedFileError

_MAGIC = b"PAR1"

# How limits of the physical types INT64, FLOAT and DOUBLE are stored.
_LIMIT_TYPES = {2: "<i8", 4: "<f4", 5: "<f8"}


class Limits(NamedTuple):
    """Lowest and highest value of each page, without meaning in those that hold nulls alone."""

    lowest: npt.NDArray[Any]
    highest: npt.NDArray[Any]
    null: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pages:
    """The data pages of a column in a row group.

    Attributes
    ----------
    stored : ColumnMetaData
        The metadata of the column chunk.
    preface : (int, int)
        Range of what stands before the first page: the dictionary, or nothing.
    start, end : numpy.ndarray of int64, shape (n_pages,)
        Ranges of the pages in the file.
    first_row : numpy.ndarray of int64, shape (n_pages + 1,)
        First row of each page in the row group; last, the number of rows.
    """

    stored: ColumnMetaData
    preface: Range
    start: IntArray
    end: IntArray
    first_row: IntArray

    def at(self, rows: IntArray) -> IntArray:
        """Return the numbers of the pages that hold rows of the row group, given ascending."""
        return np.flatnonzero(np.diff(np.searchsorted(rows, self.first_row)))

    def ranges(self, numbers: IntArray) -> list[Range]:
        """Return the ranges of the file to be read for some pages, the preface first."""
        spans = zip(self.start[numbers].tolist(), self.end[numbers].tolist(), strict=True)
        return [self.preface, *spans]

    def rows(self, numbers: IntArray) -> IntArray:
        """Return the rows that some pages hold, in their order."""
        spans = zip(self.first_row[numbers], self.first_row[numbers + 1], strict=True)
        return np.concatenate([np.empty(0, np.int64), *(np.arange(*span) for span in spans)])


class PageIndex:
    """The page index of a file, of some columns and row groups.

    Parameters
    ----------
    file : CatalogFile
    limited : sequence of Leaf
        Columns of 64-bit integers or floating-point numbers, with a column index.
    leaves : sequence of Leaf
        Columns with an offset index, stored in one chunk per row group; the limited ones may be
        among them.
    row_groups : sequence of int
        Those whose pages are asked for.

    Attributes
    ----------
    row_groups : sequence of int

    Raises
    ------
    DamagedFileError
        If it cannot be decoded, then or when it is asked.
    """

    def __init__(
        self,
        file: CatalogFile,
        limited: Sequence[Leaf],
        leaves: Sequence[Leaf],
        row_groups: Sequence[int],
    ) -> None:
        self.row_groups = row_groups
        self._path = file.path
        self._limit = file.page_limit
        self._encoded_footer = file.footer
        self._n_rows = np.diff(file.first_rows).tolist()
        paths = {leaf.name: _stored_path(file, leaf) for leaf in (*limited, *leaves)}
        self._chunks: dict[tuple[str, int], ColumnChunk] = {}
        with self._decoding():
            for row_group in row_groups:
                chunks = {
                    b".".join(chunk.meta_data.path_in_schema).decode(): chunk
                    for chunk in self._footer.row_groups[row_group].columns
                }
                self._chunks |= {(name, row_group): chunks[path] for name, path in paths.items()}
            bounded = [(leaf.name, row_group) for leaf in limited for row_group in row_groups]
            column_indexes = [
                (chunk.column_index_offset, chunk.column_index_offset + chunk.column_index_length)
                for chunk in (self._chunks[place] for place in bounded)
            ]
            offset_indexes = [
                (chunk.offset_index_offset, chunk.offset_index_offset + chunk.offset_index_length)
                for chunk in self._chunks.values()
            ]
            encoded = file.source.read_ranges(column_indexes + offset_indexes)
        self._column_indexes = dict(zip(bounded, encoded, strict=False))
        self._offset_indexes = dict(zip(self._chunks, encoded[len(bounded) :], strict=True))
        self._pages: dict[tuple[str, int], Pages] = {}

    @cached_property
    def _footer(self) -> FileMetaData:
        return read_struct(FileMetaData, self._encoded_footer)[0]

    def limits(self, leaf: Leaf, row_group: int) -> Limits:
        """Return the limits of a limited column in the pages of a row group."""
        place = leaf.name, row_group
        with self._decoding():
            return _limits(self._chunks[place].meta_data, self._column_indexes[place])

    def pages(self, leaf: Leaf, row_group: int) -> Pages:
        """Return the pages of a column in a row group."""
        place = leaf.name, row_group
        if place not in self._pages:
            with self._decoding():
                self._pages[place] = _pages(
                    self._chunks[place].meta_data,
                    self._offset_indexes[place],
                    self._n_rows[row_group],
                )
        return self._pages[place]

    def file_of_pages(
        self, leaf: Leaf, parts: Sequence[tuple[Pages, int, Sequence[bytes]]]
    ) -> bytes:
        """Return a Parquet file of one column, made of some of its pages.

        Parameters
        ----------
        leaf : Leaf
            The column.
        parts : sequence of (Pages, int, sequence of bytes)
            What becomes a row group each: all pages of the chunk, the number of rows in those that
            are there, and the content of the chunk's preface and of each page.

        Raises
        ------
        ArchiveError
            If a page is too large.
        DamagedFileError
            If the header of a page cannot be decoded, or the page is not as long as it says.
        """
        output = bytearray(_MAGIC)
        made = FileMetaData()
        with self._decoding():
            made.version, made.created_by = self._footer.version, self._footer.created_by
            made.row_groups = [self._append_chunk(output, leaf, *part) for part in parts]
            made.schema = _schema_of(self._footer.schema, parts[0][0].stored.path_in_schema)
        made.num_rows = sum(n_rows for _, n_rows, _ in parts)
        encoded = write_struct(made)
        output += encoded + len(encoded).to_bytes(4, "little") + _MAGIC
        return bytes(output)

    def _append_chunk(
        self, output: bytearray, leaf: Leaf, pages: Pages, n_rows: int, contents: Sequence[bytes]
    ) -> RowGroup:
        """Append a preface and pages to a file, and return their row group."""
        preface, *stored = contents
        made = ColumnMetaData()
        start = len(output)
        output += preface
        made.data_page_offset = len(output)
        if preface:
            made.dictionary_page_offset = start
        # pyarrow gives each page as much memory as its header says.
        sizes = [self._sizes(leaf, page) for page in contents if page]
        for page in stored:
            output += page
        made.type, made.encodings = pages.stored.type, pages.stored.encodings
        made.path_in_schema, made.codec = pages.stored.path_in_schema, pages.stored.codec
        made.num_values = sum(one.n_values for one in sizes)
        if not pa.types.is_nested(leaf.type) and made.num_values != n_rows:
            raise ValueError(
                f"found {made.num_values} values in pages of column {leaf.name!r}, expected"
                f" {n_rows} as the page index says"
            )
        made.total_uncompressed_size = sum(one.unpacked_bytes for one in sizes)
        made.total_compressed_size = len(output) - start
        chunk, row_group = ColumnChunk(), RowGroup()
        chunk.file_offset, chunk.meta_data = start, made
        row_group.columns, row_group.num_rows = [chunk], n_rows
        row_group.total_byte_size = made.total_uncompressed_size
        return row_group

    def _sizes(self, leaf: Leaf, page: bytes) -> PageSizes:
        """Read the header of a page, and check it before the page is unpacked."""
        header, behind = read_struct(PageHeader, page)
        sizes = PageSizes.of(header)
        if behind + sizes.stored_bytes != len(page):
            raise ValueError(
                f"found a page of {len(page)} bytes in column {leaf.name!r}, expected"
                f" {behind + sizes.stored_bytes} as its header says"
            )
        self._limit.check(leaf.name, sizes, is_list=leaf.is_list)
        return sizes

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        # A field that is not there is None, which is no number, list or struct.
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{self._path}: cannot be decoded (page index: {error!r})"
            ) from error


def _stored_path(file: CatalogFile, leaf: Leaf) -> str:
    (chunk,) = file.chunks(0, leaf)
    path: str = chunk.path_in_schema
    return path


def _limits(stored: ColumnMetaData, column_index: bytes) -> Limits:
    index, _ = read_struct(ColumnIndex, column_index)
    type_ = np.dtype(_LIMIT_TYPES[stored.type])
    lowest, highest = (
        np.frombuffer(b"".join(limit.ljust(type_.itemsize, b"\0") for limit in limits), type_)
        for limits in (index.min_values, index.max_values)
    )
    return Limits(lowest, highest, np.array(index.null_pages, bool))


def _pages(stored: ColumnMetaData, offset_index: bytes, n_rows: int) -> Pages:
    locations = read_struct(OffsetIndex, offset_index)[0].page_locations
    places = [
        (location.offset, location.compressed_page_size, location.first_row_index)
        for location in locations
    ]
    start, size, first_row = np.array(places, np.int64).reshape(-1, 3).T
    chunk_start = stored.data_page_offset
    if stored.dictionary_page_offset is not None:
        chunk_start = min(chunk_start, stored.dictionary_page_offset)
    first_page = int(start[0]) if len(start) else chunk_start
    return Pages(
        stored, (chunk_start, first_page), start, start + size, np.append(first_row, n_rows)
    )


def _schema_of(schema: Sequence[SchemaElement], path: Sequence[bytes]) -> list[SchemaElement]:
    """Return the elements of a schema, listed depth first, that lead to one column."""
    found = [schema[0]]
    position = 1
    for name in path:
        while schema[position].name != name:
            position = _after(schema, position)
        found.append(schema[position])
        position += 1
    return [_with_one_child(element) if element.num_children else element for element in found]


def _with_one_child(element: SchemaElement) -> SchemaElement:
    changed = copy(element)
    changed.num_children = 1
    return changed


def _after(schema: Sequence[SchemaElement], position: int) -> int:
    """Return the position after an element and all below it."""
    n_children = schema[position].num_children or 0
    position += 1
    for _ in range(n_children):
        position = _after(schema, position)
    return position
