"""Text cells of the tables that name targets, and those of CSV and ECSV files.

Every cell stays text until its column is known, so that ids come through as they are written and a
wrong cell can be quoted.
"""

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import meta
from numpy.typing import NDArray

from lightloom.errors import SampleError
from lightloom.sample.rejects import BadCell
from lightloom.suggest import did_you_mean

if TYPE_CHECKING:
    from _csv import Reader

#: Records that are held as Python objects at a time.
_BLOCK_ROWS = 50_000

_ECSV_DELIMITERS = (" ", ",")


@dataclass(frozen=True)
class Cells:
    """The cells of a table.

    Attributes
    ----------
    rows : ndarray of int64, shape (n_rows,)
        Line of the file on which each row begins, from 1; where a file has no lines, the row.
    columns : dict of str to pyarrow.Array of string
        The cells by column, shape (n_rows,) each, without surrounding space.
    units : dict of str to str
        Units of columns, where the file states them.
    bad : list of BadCell
        Rows that were left out, because they have too few or too many fields.
    nan_is_blank : bool
        Whether NaN stands for a missing number, as in formats whose columns have types.
    hints : tuple of str
        Remarks on what may be wrong with the file.
    """

    rows: NDArray[np.int64]
    columns: dict[str, pa.Array]
    units: dict[str, str]
    bad: list[BadCell]
    nan_is_blank: bool = False
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Layout:
    """How the rows of a file are written."""

    n_header_lines: int
    delimiter: str
    units: dict[str, str]
    names: list[str] | None


def read_text_cells(path: str, file: Path, format_: str, wanted: Sequence[str]) -> Cells:
    """Read the columns of a text file.

    Parameters
    ----------
    path : str
        Name of the table for messages.
    file : pathlib.Path
        CSV (UTF-8, commas, a header line) or ECSV file.
    format_ : {"csv", "ecsv"}
    wanted : sequence of str
        Names of columns that have to be there.

    Returns
    -------
    Cells

    Raises
    ------
    SampleError
        If the file is not UTF-8, damaged, without rows, or lacks a wanted column.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            layout = _ecsv_layout(path, lines) if format_ == "ecsv" else _Layout(0, ",", {}, None)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = itertools.islice(lines, layout.n_header_lines, None)
            cells = _read_rows(path, table, layout, wanted)
    except UnicodeDecodeError:
        row = _first_row_not_utf8(file)
        raise SampleError(f"{path}, row {row}: found bytes that are not UTF-8 text") from None
    return cells if _ends_with_a_line(file) else replace(cells, hints=(_cut_hint(path),))


def _ends_with_a_line(file: Path) -> bool:
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read() in (b"\n", b"\r")


def _cut_hint(path: str) -> str:
    # A number that was cut still is a number.
    where = f"{path}: the last line has no end"
    return f"{where}; if the file was cut off there, its last value is wrong"


def _first_row_not_utf8(file: Path) -> int:
    with file.open("rb") as lines:
        for row, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return row
    raise AssertionError(f"{file} is UTF-8")


def _ecsv_layout(path: str, file: Iterable[str]) -> _Layout:
    comments = [
        line.removeprefix("#").removeprefix(" ").rstrip("\r\n")
        for line in itertools.takewhile(lambda line: line.startswith("#"), file)
    ]
    if not comments or not comments[0].startswith("%ECSV"):
        raise SampleError(f"{path}, row 1: found no ECSV header, expected '# %ECSV 1.0'")
    try:
        header = meta.get_header_from_yaml(comments)
        columns = {column["name"]: column.get("unit") for column in header["datatype"]}
        delimiter = header.get("delimiter", " ")
    except (meta.YamlParseError, KeyError, TypeError, AttributeError):
        columns, delimiter = {}, ""
    if delimiter not in _ECSV_DELIMITERS or not all(isinstance(name, str) for name in columns):
        raise SampleError(
            f"{path}, rows 1 to {len(comments)}: found a damaged ECSV header, expected its columns"
            " and their delimiter, a space or a comma"
        )
    units = {name: str(unit) for name, unit in columns.items() if unit}
    return _Layout(len(comments), delimiter, units, list(columns))


def _read_rows(path: str, lines: Iterable[str], layout: _Layout, wanted: Sequence[str]) -> Cells:
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
    records = _records(path, reader, layout.n_header_lines)
    row, header = next(records, (layout.n_header_lines + 1, []))
    names = [name.strip() for name in header]
    if not names:
        raise SampleError(f"{path}: found an empty file, expected a line of column names and rows")
    if layout.names is not None and names != layout.names:
        raise SampleError(
            f"{path}, row {row}: found the columns {', '.join(names)}, expected those of the"
            f" ECSV header: {', '.join(layout.names)}"
        )
    find_columns(path, names, wanted)
    # Of columns with the same name, which nobody wants, the first one is read.
    places = {name: names.index(name) for name in names if name}
    rows: list[int] = []
    blocks: dict[str, list[pa.Array]] = {name: [] for name in places}
    bad: list[BadCell] = []
    while block := list(itertools.islice(records, _BLOCK_ROWS)):
        whole = [record for record in block if len(record[1]) == len(names)]
        for row, record in block if len(whole) < len(block) else ():
            if len(record) != len(names):
                bad.append(BadCell(path, row, "", _fields(record), f"{len(names)} fields"))
        rows += [row for row, _ in whole]
        for name, place in places.items():
            texts = pa.array([record[place] for _, record in whole], pa.string())
            blocks[name].append(pc.utf8_trim_whitespace(texts))
    if not rows and not bad:
        raise SampleError(f"{path}: found no row, expected at least one target")
    columns = {
        name: pa.concat_arrays(texts) if texts else pa.array([], pa.string())
        for name, texts in blocks.items()
    }
    return Cells(np.array(rows, dtype=np.int64), columns, layout.units, bad)


def _fields(record: Sequence[str]) -> str:
    return f"{len(record)} field{'s' if len(record) > 1 else ''}"


def _records(path: str, reader: "Reader", n_before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank with the line on which it begins."""
    while True:
        row = n_before + reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SampleError(
                f"{path}, row {row}: found a damaged row ({error}), expected quotes in pairs"
            ) from None
        if record:
            yield row, record


def find_columns(path: str, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Check that each wanted column is there once.

    Parameters
    ----------
    path : str
        Name of the table for messages.
    names : sequence of str
        Its columns.
    wanted : sequence of str

    Raises
    ------
    SampleError
        With a line for each column that is missing or there several times.
    """
    problems = []
    for name in wanted:
        if name not in names:
            nearest = did_you_mean(name, names) or ","
            problems.append(f"found no column {name!r}{nearest} expected one of {list(names)}")
        elif names.count(name) > 1:
            problems.append(f"found {names.count(name)} columns {name!r}, expected one")
    if problems:
        raise SampleError("\n".join(f"{path}: {problem}" for problem in problems))
