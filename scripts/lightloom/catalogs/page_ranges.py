"""Reading a file through its page index: ranges of bytes, many at a time.

What must be read is known before it is asked for, so that a partition costs a few round trips: the
end of the file, the pages of the key, those of the positions, those of the matches. Without a key
the limits of the positions tell which of their pages may hold a source near a target. pyarrow
decodes files made in memory of these pages alone.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightloom.catalogs.files import CatalogFile, Key, Leaf, batches, decoding, degrees
from lightloom.catalogs.geometry import FloatArray, IntArray, Neighbourhoods
from lightloom.catalogs.page_index import PageIndex, Pages
from lightloom.catalogs.row_group_limits import touched_row_groups
from lightloom.catalogs.storage import Range
from lightloom.errors import DamagedFileError

#: Read and decoded at a time.
_BATCH_BYTES = 32 << 20


def limited_leaves(file: CatalogFile, ra: Leaf, dec: Leaf, key: Key | None) -> list[Leaf]:
    """Return the columns whose limits tell which pages may hold a source near a target."""
    return [file.leaf(key.column)] if key else [ra, dec]


def has_page_index(file: CatalogFile, limited: Sequence[Leaf], leaves: Sequence[Leaf]) -> bool:
    """Tell whether single pages of the columns can be addressed by the limits of some of them."""
    if file.metadata.num_row_groups == 0:
        return False
    limits = [chunk for leaf in limited for chunk in file.chunks(0, leaf)]
    stored = [file.chunks(0, leaf) for leaf in leaves]
    return all(chunk.has_column_index for chunk in limits) and all(
        len(chunks) == 1 and chunks[0].has_offset_index for chunks in stored
    )


class PageRangeReader:
    """Finds candidates in a file and reads columns of some of them.

    Attributes
    ----------
    rows : int
        Rows whose key or position was decoded.
    """

    plan = "page ranges"

    def __init__(
        self, file: CatalogFile, ra: Leaf, dec: Leaf, key: Key | None, leaves: Sequence[Leaf]
    ) -> None:
        self._file = file
        self._ra = ra
        self._dec = dec
        self._key = key
        self._leaves = [ra, dec, *leaves]
        self._candidates = np.empty(0, np.int64)
        self.rows = 0

    def candidates(self, targets: Neighbourhoods) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return position (deg) and cell of every row in a neighbourhood, in file order."""
        limited = limited_leaves(self._file, self._ra, self._dec, self._key)
        touched = touched_row_groups(self._file, self._ra, self._dec, self._key, targets)
        self._index = PageIndex(self._file, limited, self._leaves, touched)
        if self._key is None:
            found = self._candidates_by_position(targets)
        else:
            found = self._candidates_by_key(targets, self._key)
        self._candidates, ra, dec, cell = found
        return ra, dec, cell

    def payload(self, candidates: IntArray, leaves: Sequence[Leaf]) -> pa.Table:
        """Return columns of some candidates, given by ascending numbers."""
        return self._take(self._candidates[candidates], leaves)

    def _candidates_by_key(
        self, targets: Neighbourhoods, key: Key
    ) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
        leaf = self._file.leaf(key.column)
        rows, cells = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for row, table in self._batches(self._rows_by_key(targets, key, leaf), [leaf]):
            cell = key.cells(table.column(0), targets.order)
            inside = np.flatnonzero(targets.contain(cell))
            rows.append(row[inside])
            cells.append(cell[inside])
            self.rows += len(row)
        row = np.concatenate(rows)
        return row, *degrees(self._take(row, [self._ra, self._dec])), np.concatenate(cells)

    def _candidates_by_position(
        self, targets: Neighbourhoods
    ) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
        found = [(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64))]
        for row, table in self._batches(self._rows_by_position(targets), [self._ra, self._dec]):
            ra, dec = degrees(table)
            inside, cell = targets.inside(ra, dec)
            found.append((row[inside], ra[inside], dec[inside], cell))
            self.rows += len(row)
        row, ra, dec, cell = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return row, ra, dec, cell

    def _rows_by_key(self, targets: Neighbourhoods, key: Key, leaf: Leaf) -> IntArray:
        """Return the rows of all pages that the key's limits do not rule out."""
        rows = [np.empty(0, np.int64)]
        for row_group in self._index.row_groups:
            first = self._file.first_rows[row_group]
            limits = self._index.limits(leaf, row_group)
            low, high = (
                key.cells(pa.array(limit), targets.order)
                for limit in (limits.lowest, limits.highest)
            )
            near = ~limits.null & targets.touch(low, high)
            rows.append(first + self._index.pages(leaf, row_group).rows(np.flatnonzero(near)))
        return np.concatenate(rows)

    def _rows_by_position(self, targets: Neighbourhoods) -> IntArray:
        """Return the rows of all pages that the positions' limits do not rule out."""
        rows = [np.empty(0, np.int64)]
        for row_group in self._index.row_groups:
            first = self._file.first_rows[row_group]
            ra, dec = (self._index.limits(leaf, row_group) for leaf in (self._ra, self._dec))
            starts = [
                self._index.pages(leaf, row_group).first_row for leaf in (self._ra, self._dec)
            ]
            # Pages of the two columns need not begin at the same rows.
            bounds = np.union1d(*starts)
            in_ra, in_dec = (
                np.searchsorted(start, bounds[:-1], side="right") - 1 for start in starts
            )
            near = targets.touch_boxes(
                ra.lowest[in_ra], ra.highest[in_ra], dec.lowest[in_dec], dec.highest[in_dec]
            )
            near &= ~(ra.null[in_ra] | dec.null[in_dec])
            spans = zip(bounds[:-1][near], bounds[1:][near], strict=True)
            rows += [np.arange(first + start, first + end) for start, end in spans]
        return np.concatenate(rows)

    def _take(self, rows: IntArray, leaves: Sequence[Leaf]) -> pa.Table:
        schema = pa.schema([(leaf.name, leaf.type) for leaf in leaves])
        tables = [table for _, table in self._batches(rows, leaves)]
        return pa.concat_tables([schema.empty_table(), *tables])

    def _batches(
        self, rows: IntArray, leaves: Sequence[Leaf]
    ) -> Iterator[tuple[IntArray, pa.Table]]:
        """Yield columns of rows, given by ascending numbers, as many at a time as may be read."""
        by_row_group = self._file.by_row_group(rows)
        selections = [
            [_Selection.of(self._index.pages(leaf, g), local) for g, local in by_row_group]
            for leaf in leaves
        ]
        ranges = [span for column in selections for one in column for span in one.ranges]
        if sum(end - start for start, end in ranges) > _BATCH_BYTES and len(rows) > 1:
            for half in np.array_split(rows, 2):
                yield from self._batches(half, leaves)
        elif len(rows):
            yield rows, self._read(leaves, selections, ranges)

    def _read(
        self,
        leaves: Sequence[Leaf],
        selections: Sequence[Sequence["_Selection"]],
        ranges: Sequence[Range],
    ) -> pa.Table:
        contents = iter(self._file.source.read_ranges(ranges))
        columns = {
            leaf.name: self._decoded(
                leaf, column, [list(islice(contents, len(one.ranges))) for one in column]
            )
            for leaf, column in zip(leaves, selections, strict=True)
        }
        return pa.table(columns)

    def _decoded(
        self, leaf: Leaf, selections: Sequence["_Selection"], contents: Sequence[Sequence[bytes]]
    ) -> pa.ChunkedArray:
        """Return the selected rows of a column out of the content of its pages."""
        file_of_pages = self._index.file_of_pages(
            leaf,
            [
                (one.pages, one.n_rows, content)
                for one, content in zip(selections, contents, strict=True)
            ],
        )
        taken = []
        with (
            decoding(self._file.path),
            pq.ParquetFile(
                pa.BufferReader(file_of_pages), page_checksum_verification=True
            ) as parquet,
        ):
            for row_group, one in enumerate(selections):
                first = 0
                for batch in batches(parquet, row_group):
                    here = slice(*np.searchsorted(one.positions, [first, first + batch.num_rows]))
                    chosen = pa.array(one.positions[here] - first)
                    taken.append(leaf.of(batch).take(chosen).cast(leaf.type))
                    first += batch.num_rows
                if first != one.n_rows:
                    raise DamagedFileError(
                        f"{self._file.path}: cannot be decoded (found {first} rows in pages of"
                        f" column {leaf.name!r}, expected {one.n_rows} as the page index says)"
                    )
        return pa.chunked_array(taken, leaf.type)


class _Selection(NamedTuple):
    """Pages of a column chunk, and the rows wanted of them.

    Attributes
    ----------
    pages : Pages
        All pages of the chunk.
    ranges : list of (int, int)
        What is to be read of the file.
    n_rows : int
        Number of rows in the pages that are read.
    positions : numpy.ndarray of int64
        The wanted rows among them.
    """

    pages: Pages
    ranges: list[Range]
    n_rows: int
    positions: IntArray

    @classmethod
    def of(cls, pages: Pages, rows: IntArray) -> "_Selection":
        numbers = pages.at(rows)
        first_row = pages.first_row[numbers]
        lengths = pages.first_row[numbers + 1] - first_row
        ends = np.cumsum(lengths)
        page = np.searchsorted(first_row, rows, side="right") - 1
        positions = rows + (ends - lengths - first_row)[page]
        return cls(pages, pages.ranges(numbers), int(lengths.sum()), positions)
