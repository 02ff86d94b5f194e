"""Reading with pyarrow: the row groups that hold candidates, streamed in small batches.

It serves every file, and best those without a page index, where a column chunk can only be read
from its start: no more of it is decoded at a time than a batch, and nothing after the last row that
is wanted.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from lightloom.catalogs.files import CatalogFile, Key, Leaf, decoding, degrees
from lightloom.catalogs.geometry import FloatArray, IntArray, Neighbourhoods
from lightloom.catalogs.row_group_limits import touched_row_groups


class RowGroupReader:
    """Finds candidates in a file and reads columns of some of them.

    Attributes
    ----------
    rows : int
        Rows whose key or position was decoded.
    """

    plan = "pyarrow row groups"

    def __init__(self, file: CatalogFile, ra: Leaf, dec: Leaf, key: Key | None) -> None:
        self._file = file
        self._ra = ra
        self._dec = dec
        self._key = key
        self._candidates = np.empty(0, np.int64)
        self.rows = 0

    def candidates(self, targets: Neighbourhoods) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return position (deg) and cell of every row in a neighbourhood, in file order."""
        with decoding(self._file.path):
            touched = touched_row_groups(self._file, self._ra, self._dec, self._key, targets)
            if self._key is None:
                found = self._candidates_by_position(targets, touched)
            else:
                found = self._candidates_by_key(targets, touched, self._key)
        self._candidates, ra, dec, cell = found
        return ra, dec, cell

    def payload(self, candidates: IntArray, leaves: Sequence[Leaf]) -> pa.Table:
        """Return columns of some candidates, given by ascending numbers."""
        with decoding(self._file.path):
            return self._take(self._candidates[candidates], leaves)

    def _candidates_by_key(
        self, targets: Neighbourhoods, row_groups: Sequence[int], key: Key
    ) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
        leaf = self._file.leaf(key.column)
        rows, cells = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for row_group in row_groups:
            for first, batch in self._batches(row_group, [leaf]):
                cell = key.cells(batch.column(0), targets.order)
                inside = np.flatnonzero(targets.contain(cell))
                rows.append(first + inside)
                cells.append(cell[inside])
                self.rows += batch.num_rows
        row = np.concatenate(rows)
        positions = self._take(row, [self._ra, self._dec])
        return row, *degrees(positions), np.concatenate(cells)

    def _candidates_by_position(
        self, targets: Neighbourhoods, row_groups: Sequence[int]
    ) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
        found = [(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64))]
        for row_group in row_groups:
            for first, batch in self._batches(row_group, [self._ra, self._dec]):
                ra, dec = degrees(
                    pa.table([self._ra.of(batch), self._dec.of(batch)], ["ra", "dec"])
                )
                row, cell = targets.inside(ra, dec)
                found.append((first + row, ra[row], dec[row], cell))
                self.rows += batch.num_rows
        row, ra, dec, cell = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return row, ra, dec, cell

    def _batches(
        self, row_group: int, leaves: Sequence[Leaf]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the batches of a row group, each with the number of its first row in the file."""
        first = int(self._file.first_rows[row_group])
        for batch in self._file.batches(row_group, leaves):
            yield first, batch
            first += batch.num_rows

    def _take(self, rows: IntArray, leaves: Sequence[Leaf]) -> pa.Table:
        """Return columns of rows given by ascending numbers."""
        schema = pa.schema([(leaf.name, leaf.type) for leaf in leaves])
        taken = []
        for row_group, local in self._file.by_row_group(rows):
            first = 0
            for batch in self._file.batches(row_group, leaves):
                here = slice(*np.searchsorted(local, [first, first + batch.num_rows]))
                if here.start < here.stop:
                    columns = pa.record_batch([leaf.of(batch) for leaf in leaves], schema=schema)
                    taken.append(columns.take(pa.array(local[here] - first)))
                first += batch.num_rows
                if here.stop == len(local):
                    break
        return pa.Table.from_batches(taken, schema)
