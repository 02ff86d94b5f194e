"""Files of differences between two runs."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from lightloom.diff import DIFFERENCES
from lightloom.errors import ResultError
from lightloom.export.text import write_ecsv
from lightloom.storage import ParquetSink, atomic_path


def write_differences(path: Path, blocks: Iterable[pa.Table]) -> int:
    """Write differences into a file.

    Parameters
    ----------
    path : pathlib.Path
        A Parquet, ECSV or CSV file, by its suffix.
    blocks : iterable of pyarrow.Table
        In the schema ``DIFFERENCES``.

    Returns
    -------
    int
        Differences written.

    Raises
    ------
    ResultError
        If the suffix is another.
    """
    check_output(path)
    return _WRITERS[path.suffix](path, blocks)


def check_output(path: Path) -> None:
    """Refuse a file that `write_differences` cannot write, before anything is compared.

    Raises
    ------
    ResultError
        If its suffix is unknown.
    """
    if path.suffix not in _WRITERS:
        raise ResultError(
            f"{path}: its suffix is {path.suffix!r}, expected one of {', '.join(_WRITERS)}"
        )


def _write_parquet(path: Path, blocks: Iterable[pa.Table]) -> int:
    with ParquetSink(path, DIFFERENCES) as sink:
        for block in blocks:
            sink.write(block)
    return sink.n_rows


def _write_csv(path: Path, blocks: Iterable[pa.Table]) -> int:
    n_rows = 0
    with atomic_path(path) as temporary, pacsv.CSVWriter(temporary, DIFFERENCES) as file:
        for block in blocks:
            file.write_table(block)
            n_rows += block.num_rows
    return n_rows


_WRITERS: dict[str, Callable[[Path, Iterable[pa.Table]], int]] = {
    ".parquet": _write_parquet,
    ".ecsv": lambda path, blocks: write_ecsv(path, DIFFERENCES, blocks),
    ".csv": _write_csv,
}
