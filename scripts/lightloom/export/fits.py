"""Export as a FITS binary table, written row block by row block.

Times follow the FITS time standard (Rots et al. 2015, A&A 574, A36): TDB at the barycentre.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from lightloom import __version__
from lightloom.errors import ResultError
from lightloom.export.rows import TIME
from lightloom.export.text import field_metadata
from lightloom.storage import atomic_path

#: Bytes of a FITS block.
_BLOCK_BYTES = 2880
_CODES = {pa.float64(): "D", pa.int64(): "K", pa.int8(): "I"}
_NUMPY_TYPES = {pa.float64(): ">f8", pa.int64(): ">i8", pa.int8(): ">i2"}
#: What stands for a missing integer.
_NULLS = {pa.int64(): -(2**63), pa.int8(): -(2**15)}


def write_fits(path: Path, schema: pa.Schema, blocks: Callable[[], Iterable[pa.Table]]) -> int:
    """Write a FITS file with one binary table. Return its number of rows.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    schema : pyarrow.Schema
        Columns of the rows, with units, UCDs and descriptions.
    blocks : callable
        Gives the rows; called twice, as the head of a table tells the number of its rows and the
        widths of its texts.

    Raises
    ------
    ResultError
        If a text is not ASCII: FITS has no other.
    """
    n_rows, widths = _measure(schema, blocks())
    dtype = np.dtype(
        [(field.name, _NUMPY_TYPES.get(field.type) or f"S{widths[field.name]}") for field in schema]
    )
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        file.write(_header(schema, widths, n_rows).tostring().encode("ascii"))
        n_bytes = 0
        for records in _records(blocks(), schema, dtype):
            n_bytes += file.write(records)
        file.write(b"\0" * (-n_bytes % _BLOCK_BYTES))
    return n_rows


def _measure(schema: pa.Schema, blocks: Iterable[pa.Table]) -> tuple[int, dict[str, int]]:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    widths = dict.fromkeys(texts, 1)
    n_rows = 0
    for block in blocks:
        n_rows += block.num_rows
        for name in texts:
            if not pc.all(pc.string_is_ascii(block[name]), min_count=0).as_py():
                strange = block[name].filter(pc.invert(pc.string_is_ascii(block[name])))[0]
                raise ResultError(
                    f"column {name!r}: {strange.as_py()!r} is not ASCII, as FITS needs;"
                    " export as .vot, .ecsv or .parquet, or name the targets in ASCII"
                )
            longest = pc.max(pc.binary_length(block[name])).as_py() or 0
            widths[name] = max(widths[name], longest)
    return n_rows, widths


def _header(schema: pa.Schema, widths: dict[str, int], n_rows: int) -> fits.Header:
    columns = [
        fits.Column(
            name=field.name,
            format=_CODES.get(field.type) or f"{widths[field.name]}A",
            unit=field_metadata(field, "unit") or None,
            null=_NULLS.get(field.type),
        )
        for field in schema
    ]
    header = fits.BinTableHDU.from_columns(columns, nrows=0, name="LIGHTCURVES").header
    header["NAXIS2"] = n_rows
    for number, field in enumerate(schema, 1):
        header[f"TUCD{number}"] = field_metadata(field, "ucd")
        header[f"TCOMM{number}"] = field_metadata(field, "description")
        if field.name == TIME:
            header[f"TCTYP{number}"] = "TDB"
            header[f"TCUNI{number}"] = "d"
            header[f"TRPOS{number}"] = "BARYCENTER"
    header["TIMESYS"] = ("TDB", f"of {TIME}")
    header["MJDREFI"] = 0
    header["MJDREFF"] = 0.0
    header["TIMEUNIT"] = "d"
    header["TREFPOS"] = "BARYCENTER"
    header["RADESYS"] = "ICRS"
    header["CREATOR"] = f"lightloom {__version__}"
    return header


def _records(blocks: Iterable[pa.Table], schema: pa.Schema, dtype: np.dtype) -> Iterator[bytes]:
    for block in blocks:
        records = np.zeros(block.num_rows, dtype)
        for field in schema:
            column = block[field.name]
            if pa.types.is_string(field.type):
                values = np.array(pc.fill_null(column, "").to_pylist(), dtype[field.name])
            elif pa.types.is_floating(field.type):
                values = pc.fill_null(column, np.nan).to_numpy()
            else:
                values = pc.fill_null(column.cast(pa.int64()), _NULLS[field.type]).to_numpy()
            records[field.name] = values
        yield records.tobytes()
