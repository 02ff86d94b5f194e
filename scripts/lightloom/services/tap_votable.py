"""Tables to and from a TAP service: VOTable uploads, and replies with their columns checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.io.votable.tree import Field, TableElement
from astropy.table import Table

from lightloom.errors import ArchiveSchemaError

#: VOTable data types by the Arrow type that holds all of their values.
_ARROW_TYPES = {
    "boolean": pa.bool_(),
    "unsignedByte": pa.int64(),
    "short": pa.int64(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "char": pa.string(),
    "unicodeChar": pa.string(),
}


@dataclass(frozen=True)
class ExpectedColumn:
    """What a reply's column has to be.

    Attributes
    ----------
    name : str
        Name; the case of letters does not matter, as in ADQL.
    is_number : bool
        Whether it has to hold numbers; else it may hold anything.
    unit : str
        Unit that it has to have if the reply names one; empty if it may be any.
    """

    name: str
    is_number: bool = False
    unit: str = ""


def upload_bytes(table: pa.Table, units: dict[str, str]) -> bytes:
    """Write a table as a VOTable for an upload.

    Parameters
    ----------
    table : pyarrow.Table
        Integers, doubles and ASCII text, without nulls.
    units : dict of str to str
        Units of its columns.

    Returns
    -------
    bytes
        The same for the same table.
    """
    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        array = values.to_numpy()
        # Text is sent as ``char``: not every service takes ``unicodeChar``.
        columns[name] = (
            np.char.encode(array.astype(str), "ascii") if array.dtype == object else array
        )
    votable = Table(columns)
    for name, unit in units.items():
        votable[name].unit = u.Unit(unit)
    buffer = BytesIO()
    votable.write(buffer, format="votable")
    return buffer.getvalue()


def reply_table(reply: TableElement, expected: Sequence[ExpectedColumn]) -> pa.Table:
    """Return the columns of a reply under the names that the catalogue entry has for them.

    Parameters
    ----------
    reply : astropy.io.votable.tree.TableElement
        The table of the reply.
    expected : sequence of ExpectedColumn
        The columns that it has to have; further ones are left out.

    Returns
    -------
    pyarrow.Table
        Integers as int64, other numbers as doubles, text as strings. A missing value, also an
        empty text, is null: many services write both alike.

    Raises
    ------
    ArchiveSchemaError
        If a column is missing or has another type or unit.
    """
    positions = {field.name.lower(): number for number, field in enumerate(reply.fields)}
    missing = [column.name for column in expected if column.name.lower() not in positions]
    if missing:
        found = ", ".join(field.name for field in reply.fields)
        raise ArchiveSchemaError(f"column {missing[0]!r} is missing in the reply, found {found}")
    columns = {}
    for column in expected:
        position = positions[column.name.lower()]
        field = reply.fields[position]
        type_ = _checked_type(field, column)
        _check_unit(field, column)
        columns[column.name] = _values(reply.array[reply.array.dtype.names[position]], type_)
    return pa.table(columns)


def _checked_type(field: Field, column: ExpectedColumn) -> pa.DataType:
    type_ = _ARROW_TYPES.get(field.datatype)
    expected = "a number" if column.is_number else "a number, text or a truth value"
    is_text = type_ == pa.string()
    is_array = not is_text and field.arraysize not in (None, "1")
    wrong = column.is_number and (is_text or type_ == pa.bool_())
    if type_ is None or is_array or wrong:
        size = f"[{field.arraysize}]" if field.arraysize else ""
        raise ArchiveSchemaError(
            f"column {column.name!r} has type {field.datatype}{size}, expected {expected}"
        )
    return type_


def _check_unit(field: Field, column: ExpectedColumn) -> None:
    if not column.unit or field.unit is None:
        return
    found = str(field.unit)
    if found != column.unit and _unit(found) != _unit(column.unit):
        raise ArchiveSchemaError(
            f"column {column.name!r} has unit {found!r}, expected {column.unit!r}"
        )


def _unit(text: str) -> u.UnitBase:
    """Parse a unit: services follow several standards, whatever their VOTable's version says."""
    unit = u.Unit(text, format="fits", parse_strict="silent")
    if isinstance(unit, u.UnrecognizedUnit):
        return u.Unit(text, parse_strict="silent")
    return unit


def _values(values: np.ma.MaskedArray, type_: pa.DataType) -> pa.Array:
    data, is_null = values.data, np.ma.getmaskarray(values)
    if type_ == pa.string():
        data = data.astype(object)
        is_null = is_null | (data == "")
    elif type_ == pa.float64():
        is_null = is_null | np.isnan(data)
    return pa.array(data, type_, mask=is_null)
