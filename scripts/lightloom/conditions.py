"""Conditions on the columns of a table, as the archive catalogue states them."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.errors import ArchiveSchemaError

Condition = Sequence[Any]


def is_text(type_: pa.DataType) -> bool:
    """Tell whether a column of this type holds text."""
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    # Any of the bits is set.
    "&": lambda column, bits: (column & bits) != 0,
    "~": lambda column, pattern: np.array(
        [re.search(pattern, text) is not None for text in column], dtype=bool
    ),
    "!~": lambda column, pattern: np.array(
        [re.search(pattern, text) is None for text in column], dtype=bool
    ),
}

#: Types that an operator needs.
_NEEDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "&": (pa.types.is_integer, "integers"),
    "~": (is_text, "text"),
    "!~": (is_text, "text"),
}


def any_holds(table: pa.Table, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
    """Tell for each row whether at least one condition holds.

    Parameters
    ----------
    table : pyarrow.Table
    conditions : sequence of (column, operator, value)
        Operators are the keys of ``OPERATORS``. A null or NaN fulfils no condition.

    Returns
    -------
    ndarray of bool, shape (n_rows,)

    Raises
    ------
    ArchiveSchemaError
        If a column is missing, or holds no integers where bits are asked for, or no text where it
        is compared with a pattern.
    """
    holds = np.zeros(table.num_rows, dtype=bool)
    for name, symbol, value in conditions:
        if name not in table.column_names:
            raise ArchiveSchemaError(
                f"column {name!r} of a quality condition is missing; found {table.column_names}"
            )
        column = table[name]
        is_needed, expected = _NEEDS.get(symbol, (None, ""))
        if is_needed and not is_needed(column.type):
            raise ArchiveSchemaError(f"column {name!r} has type {column.type}, expected {expected}")
        known = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().to_numpy()
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                holds[known] |= OPERATORS[symbol](values, value) & ~np.isnan(values)
        else:
            holds[known] |= OPERATORS[symbol](values, value)
    return holds
