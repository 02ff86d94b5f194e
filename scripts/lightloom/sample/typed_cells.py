"""Cells of the tables whose columns have types: FITS, VOTable and Parquet.

They become text like those of other files, exactly: whole numbers with every digit, floating-point
numbers with as many as tell them apart.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from astropy.io import fits, votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from lightloom.catalogs.page_limit import DEFAULT_PAGE_MB, CheckedPages, ChunkPages, PageLimit
from lightloom.errors import ArchiveError, SampleError
from lightloom.sample.cells import Cells, find_columns
from lightloom.sample.unpacking import opened
from lightloom.services.xml_replies import harm_in

#: Whole numbers from here on are not all told apart by 64-bit floats.
_FIRST_INEXACT = 2**53
#: What is read of a Parquet file at a time [bytes].
_BUFFER_BYTES = 1 << 20


def read_typed_cells(
    path: str, file: Path, format_: str, wanted: Sequence[str], ids: str | None
) -> Cells:
    """Read the columns of a table.

    Parameters
    ----------
    path : str
        Name of the table for messages.
    file : pathlib.Path
        The file. Of several tables in it, the first one is read.
    format_ : {"fits", "votable", "parquet"}
    wanted : sequence of str
        Names of columns that have to be there, with one value in each row.
    ids : str or None
        The one of them that holds ids.

    Returns
    -------
    Cells
        Rows are counted from 1. Missing values and, in optional columns, NaN are blank.

    Raises
    ------
    SampleError
        If the file is damaged, cut off, of another format, without rows, or lacks a column.
    """
    table, units = _READERS[format_](path, file)
    find_columns(path, table.column_names, wanted)
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == ids and pa.types.is_floating(column.type):
            _refuse_inexact_ids(path, name, column)
        texts = _texts(column)
        if texts is not None:
            columns[name] = texts
        elif name in wanted:
            raise SampleError(
                f"{path}: found {column.type} in column {name!r}, expected one value in each row"
            )
    if not table.num_rows:
        raise SampleError(f"{path}: found no row, expected at least one target")
    rows = np.arange(1, table.num_rows + 1, dtype=np.int64)
    return Cells(rows, columns, units, [], nan_is_blank=True)


def _damaged(path: str, format_: str, error: Exception) -> SampleError:
    reason = " ".join(str(error).split()).split(" (note:")[0]
    return SampleError(f"{path}: found a damaged or half-read file ({reason}), expected {format_}")


def _read_fits(path: str, file: Path) -> tuple[pa.Table, dict[str, str]]:
    try:
        # Opened here, as astropy leaves a damaged file open.
        with opened(path, file) as content, warnings.catch_warnings():
            # astropy warns of a cut file, and goes on.
            warnings.simplefilter("error", AstropyUserWarning)
            warnings.filterwarnings("ignore", category=AstropyUserWarning, message=".*unit.*")
            with fits.open(content, memmap=False) as units:
                tables = [unit for unit in units if isinstance(unit, fits.BinTableHDU)]
                tables += [unit for unit in units if type(unit) is fits.TableHDU]
                if not tables:
                    raise SampleError(f"{path}: found no table in this FITS file, expected one")
                _refuse_rows_without_bytes(path, tables[0])
                table = Table.read(tables[0], unit_parse_strict="silent")
    except (OSError, TypeError, ValueError, KeyError, AstropyUserWarning) as error:
        raise _damaged(path, "a whole FITS file", error) from None
    return _from_astropy(table)


def _refuse_rows_without_bytes(path: str, unit: fits.BinTableHDU | fits.TableHDU) -> None:
    """Rows without a byte are free for the file, and not for who reads them."""
    n_rows, n_bytes = unit.header["NAXIS2"], unit.fileinfo()["datSpan"]
    if n_rows > n_bytes:
        raise SampleError(f"{path}: found {n_rows} rows in {n_bytes} bytes, expected more bytes")


def _read_votable(path: str, file: Path) -> tuple[pa.Table, dict[str, str]]:
    try:
        with opened(path, file) as content, warnings.catch_warnings():
            harm = harm_in(content)
            if harm:
                raise SampleError(f"{path}: found {harm}, expected a VOTable that can be read")
            warnings.simplefilter("ignore", VOWarning)
            document = votable.parse(content.read)
            table = document.get_first_table().to_table(use_names_over_ids=True)
    except (OSError, TypeError, ValueError, IndexError) as error:
        raise _damaged(path, "a whole VOTable", error) from None
    return _from_astropy(table)


def _read_parquet(path: str, file: Path) -> tuple[pa.Table, dict[str, str]]:
    try:
        with file.open("rb") as content:
            table = _checked_columns(path, content)
    except ArchiveError as error:
        raise SampleError(str(error)) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(path, "a whole Parquet file", error) from None
    stated = {
        field.name: field.metadata[b"unit"].decode()
        for field in table.schema
        if field.metadata and b"unit" in field.metadata
    }
    by_astropy = (table.schema.metadata or {}).get(b"table_meta_yaml")
    if by_astropy is not None:
        for line in yaml.load(by_astropy, Loader=_ColumnsLoader).get("datatype", []):
            if line.get("unit"):
                stated[line["name"]] = str(line["unit"])
        table = _without_masks(table)
    return table, stated


def _checked_columns(path: str, content: IO[bytes]) -> pa.Table:
    """Read all columns of a Parquet file whose pages are not large."""
    checked = CheckedPages(content)
    with pq.ParquetFile(checked, pre_buffer=False, buffer_size=_BUFFER_BYTES) as parquet:
        limit = PageLimit(
            path, DEFAULT_PAGE_MB, "as writers make pages of 1 MB; write it with such ones"
        )
        found = []
        for number in range(parquet.num_row_groups):
            n_columns = parquet.metadata.num_columns
            checked.expect([ChunkPages.of(limit, parquet, number, one) for one in range(n_columns)])
            found.append(parquet.read_row_group(number, use_threads=False))
        return pa.concat_tables([parquet.schema_arrow.empty_table(), *found])


def _without_masks(table: pa.Table) -> pa.Table:
    """Make nulls of what astropy writes as values with a column of their mask."""
    for place, name in enumerate(table.column_names):
        if f"{name}.mask" in table.column_names:
            values = pc.if_else(table[f"{name}.mask"], None, table[name])
            table = table.set_column(place, name, values)
    return table.drop_columns([name for name in table.column_names if name.endswith(".mask")])


class _ColumnsLoader(yaml.SafeLoader):
    """Reads the names and units of columns; objects of Python among the rest are passed over."""


_ColumnsLoader.add_multi_constructor("!", lambda loader, suffix, node: None)

_READERS = {"fits": _read_fits, "votable": _read_votable, "parquet": _read_parquet}


def _from_astropy(table: Table) -> tuple[pa.Table, dict[str, str]]:
    """Return the columns that hold one value in each row, and the units of all."""
    arrays = {}
    for name in table.colnames:
        column = table[name]
        values = np.asarray(column)
        # Arrow takes the machine's byte order alone.
        values = values.astype(values.dtype.newbyteorder("="))
        if values.ndim > 1:
            arrays[name] = pa.array(list(values))
            continue
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.kind == "O":
            values = np.array([str(value) for value in values])
        mask = np.asarray(column.mask) if hasattr(column, "mask") else None
        arrays[name] = pa.array(values, mask=mask)
    units = {name: str(table[name].unit) for name in table.colnames if table[name].unit}
    return pa.table(arrays), units


def _texts(column: pa.Array) -> pa.Array | None:
    """Return values as text without surrounding space, or None if they are no single values."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        return None
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return None
    texts = pc.fill_null(pc.cast(column, pa.string()), "")
    return pc.utf8_trim_whitespace(texts)


def _refuse_inexact_ids(path: str, name: str, column: pa.Array) -> None:
    inexact = pc.greater_equal(pc.abs(column), float(_FIRST_INEXACT)).fill_null(False)
    row = pc.index(inexact, True).as_py()
    if row >= 0:
        raise SampleError(
            f"{path}, row {row + 1}, column {name!r}: found the floating-point number"
            f" {column[row].as_py()!r}, expected ids as whole numbers or text: their last digits"
            " are lost"
        )
