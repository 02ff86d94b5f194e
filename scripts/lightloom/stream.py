"""Bring rows of many ordered streams together target by target, in bounded memory."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Column that holds the number of the target (its row in the shard).
TARGET = "target"

#: Rows held at a time, over all streams.
BLOCK_ROWS = 65_536


def merge_by_target(
    streams: Sequence[Iterable[pa.Table]],
    n_targets: int,
    sort_keys: Sequence[str],
    *,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[pa.Table]:
    """Merge streams that are ordered by target into one that is.

    Parameters
    ----------
    streams : sequence of iterables of pyarrow.Table
        All with the same columns, among them an int64 ``target`` that never decreases along a
        stream. Tables may be of any size and be cut anywhere. Columns must be of sortable types.
    n_targets : int
        Targets are numbered from 0 to ``n_targets - 1``.
    sort_keys : sequence of str
        Columns that order the rows of a target, ascending, nulls last. The remaining columns, in
        the order of the table, break ties: the order of the rows does not depend on the stream in
        which they came.
    block_rows : int, optional
        About how many rows to hold in memory, over all streams. Held are these, the table that
        each stream gave last, and the rows of one target if it has more.

    Yields
    ------
    pyarrow.Table
        Blocks of whole targets, in the order of their numbers.

    Raises
    ------
    ValueError
        If the targets of a stream decrease, are null, or are not in the range.
    """
    share = max(1, block_rows // max(1, len(streams)))
    buffers = [_Buffer(number, stream, n_targets) for number, stream in enumerate(streams)]
    while True:
        for buffer in buffers:
            buffer.fill(share)
        unfinished = [buffer for buffer in buffers if not buffer.exhausted]
        # Rows of a target below the last one of every unfinished stream can no longer come.
        complete_below = min((buffer.last for buffer in unfinished), default=n_targets)
        pieces = [piece for buffer in buffers for piece in buffer.take_below(complete_below)]
        if pieces:
            yield _sort_targets(pa.concat_tables(pieces), sort_keys)
        elif not unfinished:
            return
        else:
            for buffer in unfinished:
                if buffer.last == complete_below:
                    buffer.fill(buffer.n_rows + share)


def _sort_targets(table: pa.Table, sort_keys: Sequence[str]) -> pa.Table:
    others = [name for name in table.column_names if name not in (TARGET, *sort_keys)]
    order = pc.sort_indices(
        table,
        sort_keys=[(name, "ascending", "at_end") for name in (TARGET, *sort_keys, *others)],
    )
    return table.take(order)


def regroup(
    tables: Iterable[pa.Table], sizes: Iterable[int], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Cut a stream of tables anew, keeping the order of its rows.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        The stream, of any cut.
    sizes : iterable of int
        Number of rows of each table wanted.
    schema : pyarrow.Schema
        Schema of the tables, for those of size 0.

    Yields
    ------
    pyarrow.Table
        One table for each of ``sizes``.

    Raises
    ------
    ValueError
        If the stream has fewer rows than the sizes sum up to.
    """
    source = iter(tables)
    rest = schema.empty_table()
    for size in sizes:
        pieces = [schema.empty_table()]
        missing = size
        while missing:
            if not rest.num_rows:
                try:
                    rest = next(source)
                except StopIteration:
                    raise ValueError(f"the stream ends {missing} rows too early") from None
            piece = rest.slice(0, missing)
            rest = rest.slice(piece.num_rows)
            missing -= piece.num_rows
            pieces.append(piece)
        yield pa.concat_tables(pieces)


class _Buffer:
    """The rows of one stream that have been read and not yet taken."""

    def __init__(self, number: int, stream: Iterable[pa.Table], n_targets: int) -> None:
        self.exhausted = False
        self.last = 0
        self.n_rows = 0
        self._number = number
        self._stream = iter(stream)
        self._n_targets = n_targets
        self._pieces: deque[pa.Table] = deque()

    def fill(self, n_rows: int) -> None:
        """Read on until ``n_rows`` rows are held, or the stream ends."""
        while self.n_rows < n_rows and not self.exhausted:
            table = next(self._stream, None)
            if table is None:
                self.exhausted = True
            elif table.num_rows:
                self._check_targets(table)
                self._pieces.append(table)
                self.n_rows += table.num_rows

    def _check_targets(self, table: pa.Table) -> None:
        column = table.column(TARGET)
        if column.null_count:
            raise ValueError(f"stream {self._number}: {column.null_count} rows without a target")
        targets = column.to_numpy()
        if targets[0] < self.last or np.any(targets[1:] < targets[:-1]):
            raise ValueError(
                f"stream {self._number}: targets decrease in a table after target {self.last}"
            )
        if targets[-1] >= self._n_targets:
            raise ValueError(
                f"stream {self._number}: target {targets[-1]}, but there are {self._n_targets}"
            )
        self.last = int(targets[-1])

    def take_below(self, target: int) -> Iterator[pa.Table]:
        """Give the rows of the targets below ``target`` and forget them."""
        while self._pieces:
            piece = self._pieces[0]
            stop = int(np.searchsorted(piece.column(TARGET).to_numpy(), target))
            if not stop:
                return
            yield piece.slice(0, stop)
            self.n_rows -= stop
            if stop < piece.num_rows:
                self._pieces[0] = piece.slice(stop)
                return
            self._pieces.popleft()
