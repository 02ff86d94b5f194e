"""Columns of the embedded catalogues, described as the archives describe theirs."""

import pyarrow as pa


def described_field(
    name: str, type_: pa.DataType, description: str, unit: str | None = None
) -> pa.Field:
    """Return a field whose metadata holds a description and, where there is one, a unit.

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

    Returns
    -------
    pyarrow.Field
    """
    metadata = {"description": description}
    if unit:
        metadata["unit"] = unit
    return pa.field(name, type_, metadata=metadata)
