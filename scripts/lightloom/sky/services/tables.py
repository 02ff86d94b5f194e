"""From columns to the tables of a service."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa


def to_table(columns: pd.DataFrame | Mapping[str, object], schema: pa.Schema) -> pa.Table:
    """Return columns as a table.

    Parameters
    ----------
    columns : pandas.DataFrame or mapping of str to array
        At least the columns of the schema; missing numbers may be NaN, missing texts None.
    schema : pyarrow.Schema
        Columns of the table; NaN becomes null only where it says integer or text.

    Returns
    -------
    pyarrow.Table
    """
    arrays = []
    for field in schema:
        values = columns[field.name]
        keeps_nan = pa.types.is_floating(field.type)
        values = np.asarray(values)
        arrays.append(pa.array(values, field.type, from_pandas=not keeps_nan, safe=False))
    return pa.table(arrays, schema=schema)
