"""Cells of a sample that cannot be used, and how they are reported."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from lightloom.errors import SampleError

#: Lines of an error message; the others are counted.
MAX_LINES = 20

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("found", pa.string()),
        ("expected", pa.string()),
    ]
)


class BadCell(NamedTuple):
    """A cell that cannot be used.

    Attributes
    ----------
    source : str
        The file.
    row : int
        The line of the file, from 1.
    column : str
        The column, or empty if the whole row is meant.
    found, expected : str
        What the cell holds and what it should hold.
    """

    source: str
    row: int
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        where = f"{self.source}, row {self.row}{column}"
        return f"{where}: found {self.found}, expected {self.expected}"


def rejected_table(cells: Sequence[BadCell]) -> pa.Table:
    """Return the cells as a table, one row each."""
    columns = list(zip(*cells, strict=True)) or [()] * len(REJECTED)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REJECTED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=REJECTED)


def sample_error(
    failures: Sequence[str], cells: Sequence[BadCell], hints: Sequence[str]
) -> SampleError:
    """Return the error that lists unreadable files, bad cells and hints at their cause.

    Parameters
    ----------
    failures : sequence of str
        Messages about whole files.
    cells : sequence of BadCell
        At most ``MAX_LINES`` of them are listed.
    hints : sequence of str
        Likely causes.
    """
    problems = [*failures, *map(str, cells[:MAX_LINES])]
    n_problems = len(failures) + len(cells)
    lines = [f"{n_problems} problem{'s' if n_problems > 1 else ''} in the sample:", *problems]
    if len(cells) > MAX_LINES:
        lines.append(f"and {len(cells) - MAX_LINES} more")
    return SampleError("\n  ".join([*lines, *hints]))
