"""Columns of the embedded catalogues, described as the archives describe theirs."""

import pyarrow as pa


def described_field(
    name: str,
    type_: pa.DataType,
    description: str,
    unit: str | None = None,
    *,
    ucd: str | None = None,
) -> pa.Field:
    """Return a field whose metadata holds a description and, where there are, a unit and a UCD.

    Parameters
    ----------
    name : str
        Name of the column.
    type_ : pyarrow.DataType
        Its type.
    description : str
        What it holds.
    unit : str, optional
        Its unit.
    ucd : str, optional
        Its IVOA UCD1+.

    Returns
    -------
    pyarrow.Field
    """
    metadata = {"description": description}
    if unit:
        metadata["unit"] = unit
    if ucd:
        metadata["ucd"] = ucd
    return pa.field(name, type_, metadata=metadata)
