"""Where the pages of a Parquet file lie, and files made of some of them.

The numbers of fields are those of ``parquet.thrift`` in Apache Parquet 2.11.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lightloom.catalogs.files import CatalogFile, Leaf
from lightloom.catalogs.geometry import IntArray
from lightloom.catalogs.page_limit import PageSizes
from lightloom.catalogs.storage import Range
from lightloom.catalogs.thrift import (
    I32,
    I64,
    LIST,
    STRUCT,
    Struct,
    elements,
    read_columns,
    read_struct,
    value,
    write_struct,
)
from lightloom.errors import DamagedFileError

_MAGIC = b"PAR1"

# Fields of FileMetaData, SchemaElement, RowGroup, ColumnChunk and ColumnMetaData.
_FILE_VERSION, _FILE_SCHEMA, _FILE_ROWS, _FILE_ROW_GROUPS, _FILE_WRITER = 1, 2, 3, 4, 6
_NAME, _N_CHILDREN = 4, 5
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3
_CHUNK_OFFSET, _CHUNK_METADATA = 2, 3
_OFFSET_INDEX, _COLUMN_INDEX = (4, 5), (6, 7)
_TYPE, _ENCODINGS, _PATH, _CODEC, _N_VALUES, _DECODED_BYTES, _STORED_BYTES = range(1, 8)
_DATA_PAGE, _DICTIONARY_PAGE = 9, 11
# How limits of the physical types INT64, FLOAT and DOUBLE are stored.
_LIMIT_TYPES = {2: "<i8", 4: "<f4", 5: "<f8"}
# Fields of OffsetIndex and ColumnIndex.
_LOCATIONS, _LOCATION = 1, (1, 2, 3)
_NULL_PAGES, _LOWEST, _HIGHEST = 1, 2, 3


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
    chunk : dict
        The metadata of the column chunk.
    preface : (int, int)
        Range of what stands before the first page: the dictionary, or nothing.
    start, end : numpy.ndarray of int64, shape (n_pages,)
        Ranges of the pages in the file.
    first_row : numpy.ndarray of int64, shape (n_pages + 1,)
        First row of each page in the row group; last, the number of rows.
    """

    chunk: Struct
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

    def n_bytes(self, numbers: IntArray) -> int:
        """Return how much is to be read for some pages."""
        return sum(end - start for start, end in self.ranges(numbers))

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
        self._chunks: dict[tuple[str, int], Struct] = {}
        with self._decoding():
            for row_group in row_groups:
                group = elements(self._footer, _FILE_ROW_GROUPS)[row_group]
                chunks = {
                    _path(value(chunk, _CHUNK_METADATA)): chunk
                    for chunk in elements(group, _GROUP_COLUMNS)
                }
                self._chunks |= {(name, row_group): chunks[path] for name, path in paths.items()}
            bounded = [(leaf.name, row_group) for leaf in limited for row_group in row_groups]
            spans = [_span(self._chunks[place], _COLUMN_INDEX) for place in bounded]
            spans += [_span(chunk, _OFFSET_INDEX) for chunk in self._chunks.values()]
            encoded = file.source.read_ranges(spans)
        self._column_indexes = dict(zip(bounded, encoded, strict=False))
        self._offset_indexes = dict(zip(self._chunks, encoded[len(bounded) :], strict=True))
        self._pages: dict[tuple[str, int], Pages] = {}

    @cached_property
    def _footer(self) -> Struct:
        return read_struct(self._encoded_footer)[0]

    def limits(self, leaf: Leaf, row_group: int) -> Limits:
        """Return the limits of a limited column in the pages of a row group."""
        place = leaf.name, row_group
        with self._decoding():
            return _limits(value(self._chunks[place], _CHUNK_METADATA), self._column_indexes[place])

    def pages(self, leaf: Leaf, row_group: int) -> Pages:
        """Return the pages of a column in a row group."""
        place = leaf.name, row_group
        if place not in self._pages:
            with self._decoding():
                self._pages[place] = _pages(
                    value(self._chunks[place], _CHUNK_METADATA),
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
        with self._decoding():
            row_groups = [self._append_chunk(output, leaf, *part) for part in parts]
            footer = {
                field: self._footer[field]
                for field in (_FILE_VERSION, _FILE_WRITER)
                if field in self._footer
            }
            schema = _schema_of(
                elements(self._footer, _FILE_SCHEMA), elements(parts[0][0].chunk, _PATH)
            )
        footer[_FILE_SCHEMA] = (LIST, (STRUCT, schema))
        footer[_FILE_ROWS] = (I64, sum(n_rows for _, n_rows, _ in parts))
        footer[_FILE_ROW_GROUPS] = (LIST, (STRUCT, row_groups))
        encoded = write_struct(footer)
        output += encoded + len(encoded).to_bytes(4, "little") + _MAGIC
        return bytes(output)

    def _append_chunk(
        self, output: bytearray, leaf: Leaf, pages: Pages, n_rows: int, contents: Sequence[bytes]
    ) -> Struct:
        """Append a preface and pages to a file, and return their row group."""
        preface, *stored = contents
        start = len(output)
        output += preface
        data_start = len(output)
        # pyarrow gives each page as much memory as its header says.
        sizes = [self._sizes(leaf, page) for page in contents if page]
        for page in stored:
            output += page
        decoded_bytes = sum(one.unpacked_bytes for one in sizes)
        metadata = {field: pages.chunk[field] for field in (_TYPE, _ENCODINGS, _PATH, _CODEC)}
        metadata[_N_VALUES] = (I64, sum(one.n_values for one in sizes))
        metadata[_DECODED_BYTES] = (I64, decoded_bytes)
        metadata[_STORED_BYTES] = (I64, len(output) - start)
        metadata[_DATA_PAGE] = (I64, data_start)
        if preface:
            metadata[_DICTIONARY_PAGE] = (I64, start)
        chunk: Struct = {_CHUNK_OFFSET: (I64, start), _CHUNK_METADATA: (STRUCT, metadata)}
        return {
            _GROUP_COLUMNS: (LIST, (STRUCT, [chunk])),
            _GROUP_BYTES: (I64, decoded_bytes),
            _GROUP_ROWS: (I64, n_rows),
        }

    def _sizes(self, leaf: Leaf, page: bytes) -> PageSizes:
        """Read the header of a page, and check it before the page is unpacked."""
        header, behind = read_struct(page)
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
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise DamagedFileError(
                f"{self._path}: cannot be decoded (page index: {error!r})"
            ) from error


def _stored_path(file: CatalogFile, leaf: Leaf) -> str:
    (chunk,) = file.chunks(0, leaf)
    path: str = chunk.path_in_schema
    return path


def _path(chunk: Struct) -> str:
    return b".".join(elements(chunk, _PATH)).decode()


def _span(chunk: Struct, fields: tuple[int, int]) -> Range:
    start, length = (value(chunk, field) for field in fields)
    return start, start + length


def _limits(chunk: Struct, column_index: bytes) -> Limits:
    index, _ = read_struct(column_index)
    type_ = np.dtype(_LIMIT_TYPES[value(chunk, _TYPE)])
    lowest, highest = (
        np.frombuffer(
            b"".join(limit.ljust(type_.itemsize, b"\0") for limit in elements(index, field)), type_
        )
        for field in (_LOWEST, _HIGHEST)
    )
    return Limits(lowest, highest, np.array(elements(index, _NULL_PAGES)) == 1)


def _pages(chunk: Struct, offset_index: bytes, n_rows: int) -> Pages:
    start, size, first_row = read_columns(offset_index, _LOCATIONS, _LOCATION)
    chunk_start = min(
        value(chunk, field) for field in (_DATA_PAGE, _DICTIONARY_PAGE) if field in chunk
    )
    first_page = int(start[0]) if len(start) else chunk_start
    return Pages(
        chunk, (chunk_start, first_page), start, start + size, np.append(first_row, n_rows)
    )


def _schema_of(schema: Sequence[Struct], path: Sequence[bytes]) -> list[Struct]:
    """Return the elements of a schema, listed depth first, that lead to one column."""
    found = [schema[0]]
    position = 1
    for name in path:
        while value(schema[position], _NAME) != name:
            position = _after(schema, position)
        found.append(schema[position])
        position += 1
    return [one | {_N_CHILDREN: (I32, 1)} if _N_CHILDREN in one else one for one in found]


def _after(schema: Sequence[Struct], position: int) -> int:
    """Return the position after an element and all below it."""
    n_children = value(schema[position], _N_CHILDREN) if _N_CHILDREN in schema[position] else 0
    position += 1
    for _ in range(n_children):
        position = _after(schema, position)
    return position
