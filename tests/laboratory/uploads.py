"""Uploaded VOTables as Arrow tables."""

import io
import warnings

import numpy as np
import pyarrow as pa
from astropy.io.votable import parse_single_table
from astropy.io.votable.exceptions import VOTableSpecError, VOWarning

from laboratory.exchange import RequestProblemError

#: Columns of an upload that name its targets, in the order in which they are looked for.
IDENTIFIERS = ("target", "object_id", "objectid", "id", "name")


def read_votable(content: bytes, name: str) -> pa.Table:
    """Read an uploaded VOTable of any serialisation.

    Parameters
    ----------
    content : bytes
        The document.
    name : str
        Its name in the query, for the message of an error.

    Raises
    ------
    RequestProblemError
        It is no VOTable, or holds arrays.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VOWarning)
            table = parse_single_table(io.BytesIO(content))
    except (VOTableSpecError, ValueError, IndexError, OSError) as error:
        raise RequestProblemError(f"upload {name} is no VOTable: {error}") from error
    fields = []
    columns = []
    for field in table.fields:
        values = np.ma.asarray(table.array[field.ID])
        if values.ndim != 1:
            raise RequestProblemError(f"upload {name}: column {field.name} holds arrays")
        column = _column(values)
        fields.append(pa.field(field.name, column.type, metadata=_metadata(field)))
        columns.append(column)
    return pa.table(columns, schema=pa.schema(fields))


def targets_of(table: pa.Table) -> list[str]:
    """Return the identifiers in an upload as text."""
    names = {name.lower(): name for name in table.column_names}
    found = [names[name] for name in IDENTIFIERS if name in names] or table.column_names
    return [str(value) for value in table[found[0]].to_pylist()]


def _column(values: np.ma.MaskedArray) -> pa.Array:
    mask = np.ma.getmaskarray(values)
    data = values.data
    if data.dtype.kind in "OSU":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in data.tolist()]
        return pa.array(texts, pa.string(), mask=mask)
    return pa.array(data.astype(data.dtype.newbyteorder("=")), mask=mask)


def _metadata(field: object) -> dict[str, str]:
    found = {key: getattr(field, key, None) for key in ("unit", "ucd", "description")}
    return {key: str(value) for key, value in found.items() if value}
