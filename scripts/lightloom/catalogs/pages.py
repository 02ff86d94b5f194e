"""Reading with DataFusion: through the page index, only the pages that hold what is wanted.

A semi-join with a table of cells or keys is pushed down to the scan as a filter: the key column is
decoded first, and of the other columns only the pages in which a row has passed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from datafusion import SessionConfig, SessionContext

from lightloom.catalogs.files import CatalogFile, Key, Leaf
from lightloom.catalogs.geometry import FloatArray, IntArray, Neighbourhoods
from lightloom.errors import DamagedFileError

#: A row group whose wanted columns are smaller than this is read by one query; of a larger one as
#: many rows at a time as have pages of no more than about this size.
_QUERY_BYTES = 64 << 20
_QUERY_ROWS = 32
#: A query for few keys or cells gives this many ranges of the key, with which every key that is
#: decoded is compared. Many of them leave no page out, and one range costs least.
_KEY_RANGES = 16
_FEW_KEYS = 512

_FOOTER_HINT = "datafusion.execution.parquet.metadata_size_hint"
#: Length of the footer and magic number at the end of a Parquet file.
_FOOTER_TAIL_BYTES = 8

_SETTINGS = {
    # The semi-join must keep the order of the file, and the filter come from the table of keys.
    "datafusion.optimizer.join_reordering": "false",
    "datafusion.execution.target_partitions": "1",
    # With statistics a column whose minimum equals its maximum is taken for a constant, NaN or not.
    "datafusion.execution.collect_statistics": "false",
    "datafusion.execution.parquet.enable_page_index": "true",
    "datafusion.execution.parquet.pushdown_filters": "true",
    "datafusion.execution.parquet.schema_force_view_types": "false",
}


class PageReader:
    """Finds candidates in a local file and reads columns of some of them.

    Attributes
    ----------
    requests, bytes : int
        Queries made and the bytes of the pages that they read.
    rows : int
        Rows whose key was decoded.
    """

    plan = "datafusion page index"

    def __init__(self, file: CatalogFile, ra: Leaf, dec: Leaf, key: Key) -> None:
        self._file = file
        self._ra = ra
        self._dec = dec
        self._key = key
        self._key_name = _quoted(key.column)
        # Else the footer is looked for in the last 512 KiB, often more than all pages wanted.
        footer = {_FOOTER_HINT: str(file.metadata.serialized_size + _FOOTER_TAIL_BYTES)}
        self._context = SessionContext(SessionConfig(_SETTINGS | footer))
        with _decoding(file.path):
            self._context.register_parquet("catalog", file.path, file_extension="")
        self._keys = np.empty(0, np.int64)
        self.requests = 0
        self.bytes = 0
        self.rows = 0

    def candidates(self, targets: Neighbourhoods) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return position (deg) and cell of every row in a neighbourhood, in file order."""
        shift = 2 * (self._key.order - targets.order)
        cells = np.unique(targets.cell)
        found, self.rows = self._select(
            [self._file.leaf(self._key.column), self._ra, self._dec],
            f"{self._key_name} >> {shift}",
            cells,
            [(first << shift, ((last + 1) << shift) - 1) for first, last in _ranges(cells)],
        )
        self._keys = found.column(0).to_numpy()
        ra, dec = (
            column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in found.columns[1:]
        )
        return ra, dec, self._keys >> shift

    def payload(self, candidates: IntArray, leaves: Sequence[Leaf]) -> pa.Table:
        """Return columns of some candidates, given by ascending numbers."""
        wanted = np.unique(self._keys[candidates])
        size = sum(
            chunk.total_compressed_size
            for row_group in range(self._file.metadata.num_row_groups)
            for leaf in leaves
            for chunk in self._file.chunks(row_group, leaf)
        )
        step = _QUERY_ROWS if size > _QUERY_BYTES else max(len(wanted), 1)
        key_leaf = self._file.leaf(self._key.column)
        tables = [pa.schema([(leaf.name, leaf.type) for leaf in leaves]).empty_table()]
        for start in range(0, len(wanted), step):
            keys = wanted[start : start + step]
            found, _ = self._select([key_leaf, *leaves], self._key_name, keys, _ranges(keys))
            # Rows that share a key with a wanted one come too, all in the order of the file.
            sharing = np.flatnonzero(np.isin(self._keys, keys))
            if not np.array_equal(found.column(0).to_numpy(), self._keys[sharing]):
                raise DamagedFileError(f"{self._file.path}: rows differ between two readings")
            chosen = np.flatnonzero(np.isin(sharing, candidates))
            tables.append(found.remove_column(0).take(pa.array(chosen)))
        return pa.concat_tables(tables)

    def _select(
        self,
        leaves: Sequence[Leaf],
        expression: str,
        values: IntArray,
        key_ranges: Sequence[tuple[int, int]],
    ) -> tuple[pa.Table, int]:
        """Return the rows whose expression is among the values, and the number of keys decoded."""
        columns = ", ".join(f"{_selected(leaf)} as {_quoted(leaf.name)}" for leaf in leaves)
        # The ranges are what pages of the key are skipped by; the semi-join decides row by row.
        in_ranges = " or ".join(f"{self._key_name} between {a} and {b}" for a, b in key_ranges)
        query = (
            f"select {columns} from wanted right semi join catalog on value = {expression} "
            f"where {in_ranges}"
        )
        self._context.from_arrow(pa.table({"value": values}), name="wanted")
        frame = self._context.sql(query)
        with _decoding(self._file.path):
            batches = frame.collect()
        self._context.deregister_table("wanted")
        scans = [
            metrics
            for name, metrics in frame.execution_plan().collect_metrics()
            if "file_type=parquet" in name
        ]
        self.requests += 1
        self.bytes += sum(metrics.sum_by_name("bytes_scanned") or 0 for metrics in scans)
        decoded = sum(
            (metrics.sum_by_name("pushdown_rows_matched") or 0)
            + (metrics.sum_by_name("pushdown_rows_pruned") or 0)
            for metrics in scans
        )
        schema = pa.schema([(leaf.name, leaf.type) for leaf in leaves])
        return pa.Table.from_batches(batches, frame.schema()).cast(schema), decoded


@contextmanager
def _decoding(path: str) -> Iterator[None]:
    # DataFusion raises nothing more specific, neither for a torn page nor for a wrong value.
    try:
        yield
    except Exception as error:
        raise DamagedFileError(f"{path}: cannot be decoded ({error})") from error


def _ranges(values: IntArray) -> list[tuple[int, int]]:
    """Return a few ranges, ends included, that hold ascending values; one if they are many."""
    n_gaps = _KEY_RANGES - 1 if len(values) <= _FEW_KEYS else 0
    widest = np.sort(np.argsort(np.diff(values), kind="stable")[::-1][:n_gaps])
    return [(int(part[0]), int(part[-1])) for part in np.split(values, widest + 1)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _selected(leaf: Leaf) -> str:
    if not leaf.field:
        return _quoted(leaf.column)
    field = leaf.field.replace("'", "''")
    return f"{_quoted(leaf.column)}['{field}']"
