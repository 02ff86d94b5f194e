"""What a service lists, as a table of targets."""

from dataclasses import dataclass

import pyarrow as pa

#: Name of the column of ids in the tables of all services but TAP's, where the query says it.
NAME = "name"


@dataclass(frozen=True)
class Unresolved:
    """An entry of a list that the service does not know.

    Attributes
    ----------
    row : int
        Its line in the file, or its place in the configuration, from 1.
    entry : str
    """

    row: int
    entry: str


@dataclass(frozen=True)
class Listing:
    """Targets as a service lists them.

    Attributes
    ----------
    table : pyarrow.Table
        A row for each, in an order that does not depend on the service.
    unresolved : tuple of Unresolved
        What was asked for in vain.
    remarks : tuple of str
        What the user should know, such as an unexpected number of rows.
    """

    table: pa.Table
    unresolved: tuple[Unresolved, ...] = ()
    remarks: tuple[str, ...] = ()


def in_order(table: pa.Table) -> pa.Table:
    """Return a table with its rows sorted by all columns, so that no service decides the order."""
    return table.sort_by([(name, "ascending") for name in table.column_names])
