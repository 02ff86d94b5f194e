"""The formats in which tables of targets may come."""

from collections.abc import Sequence
from pathlib import Path

from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.cells import Cells, read_text_cells

#: Formats, by the suffix of a file.
FORMATS = {
    ".csv": "csv",
    ".ecsv": "ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def read_cells(source: TableSource, file: Path, wanted: Sequence[str]) -> Cells:
    """Read the columns of a table.

    Parameters
    ----------
    source : TableSource
        Its format and the name for messages.
    file : pathlib.Path
        Where the table is, or a copy of it.
    wanted : sequence of str
        Names of columns that have to be there.

    Returns
    -------
    Cells

    Raises
    ------
    SampleError
        If the file is missing, of another format, damaged, without rows, or lacks a wanted column.
    """
    suffix = file.suffix.lower()
    format_ = source.format or FORMATS.get(suffix)
    if format_ is None:
        raise SampleError(
            f"{source.path}: found the suffix {suffix!r}, expected one of {', '.join(FORMATS)},"
            " or the key format"
        )
    if not file.is_file():
        raise SampleError(f"{source.path}: no such file, expected a table of targets")
    if format_ in ("csv", "ecsv"):
        return read_text_cells(source.path, file, format_, wanted)
    # astropy's readers take longer to import than most text files to be read.
    from lightloom.sample.typed_cells import read_typed_cells

    return read_typed_cells(source.path, file, format_, wanted, source.id)
