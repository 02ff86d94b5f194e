"""Forty malformed tables: each gives its own error, and leaves the plan and the shards alone."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from lightloom.config import Run, SampleConfig, load_run
from lightloom.config_schema import SCHEMAS
from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.plan import sync_plan
from lightloom.sample import typed_cells, unpacking
from lightloom.sample.read import read_sample

N_ROWS = 60
NAMES = [f"T{number}" for number in range(N_ROWS)]
RA_DEG = np.linspace(1, 350, N_ROWS)
DEC_DEG = np.linspace(-80, 80, N_ROWS)


def _text(**replaced: Any) -> str:
    """A good table as CSV, but for the rows given by their number as r5=...."""
    rows = [f"{n},{ra},{dec}" for n, ra, dec in zip(NAMES, RA_DEG, DEC_DEG, strict=True)]
    for key, row in replaced.items():
        rows[int(key[1:])] = row
    return "\n".join(["id,ra,dec", *rows]) + "\n"


def _columns(**replaced: Any) -> Table:
    return Table({"id": NAMES, "ra": RA_DEG, "dec": DEC_DEG} | replaced)


def _write(content: str | bytes | Table, path: str) -> None:
    if isinstance(content, Table):
        content.write(path, **({"format": "votable"} if path.endswith(".vot") else {}))
    else:
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


def _cut(path: str, fraction: float) -> Callable[[str], None]:
    def write(target: str) -> None:
        _write(_columns(), path)
        content = Path(path).read_bytes()
        Path(path).unlink()
        Path(target).write_bytes(content[: int(fraction * len(content))])

    return write


def _overwritten(path: str) -> None:
    """Write a Parquet file with overwritten bytes in its footer."""
    pq.write_table(pa.table({"id": NAMES, "ra": RA_DEG, "dec": DEC_DEG}), path)
    content = bytearray(Path(path).read_bytes())
    content[-200:-8] = b"\xff" * 192
    Path(path).write_bytes(content)


def _image(path: str) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)


def _at(values: np.ndarray, row: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[row] = value
    return changed


@dataclass(frozen=True)
class Case:
    """A malformed table, and what its error has to say."""

    kind: str
    path: str
    content: str | bytes | Table | Callable[[str], None]
    words: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()


_ECSV = (
    "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\n"
    "# - {name: ra, unit: deg, datatype: float64}\n# - {name: dec, unit: deg, datatype: float64}\n"
    "id ra dec\nA 1.0 2.0\n"
)
_HALF = "found a damaged or half-read file"

CASES = [
    Case("empty", "t.csv", "", ("found an empty file",)),
    Case("empty", "t.fits", b"", (_HALF,)),
    Case("empty", "t.vot", b"", (_HALF,)),
    Case("empty", "t.parquet", b"", (_HALF,)),
    Case("no rows", "t.csv", "id,ra,dec\n", ("found no row, expected at least one target",)),
    Case("no rows", "t.fits", _columns()[:0], ("found no row",)),
    Case("half-read", "t.csv", _text()[:-5], ("row 61, column 'dec': found nothing",)),
    Case("half-read", "t.csv", _text()[:-10], ("row 61: found 2 fields, expected 3 fields",)),
    Case("half-read", "t.fits", _cut("whole.fits", 0.6), (_HALF,)),
    Case("half-read", "t.fits", _cut("whole.fits", 0.2), (_HALF,)),
    Case("half-read", "t.vot", _cut("whole.vot", 0.7), (_HALF,)),
    Case("half-read", "t.parquet", _cut("whole.parquet", 0.8), (_HALF,)),
    Case("half-read", "t.ecsv", _ECSV + "B 3.0", ("row 9: found 2 fields, expected 3",)),
    Case("damaged bytes", "t.parquet", _overwritten, (_HALF,)),
    Case("damaged bytes", "t.csv", _text().replace("T7", "T\xff").encode("latin-1"),
         ("row 9: found bytes that are not UTF-8",)),
    Case("damaged header", "t.ecsv", _ECSV.replace("datatype:\n", "datatype: [\n", 1),
         ("found a damaged ECSV header",)),
    Case("damaged header", "t.ecsv", _ECSV.replace("# %ECSV 1.0\n", ""),
         ("found no ECSV header",)),
    Case("damaged header", "t.ecsv", _ECSV.replace("id ra dec", "id ra decl"),
         ("found the columns id, ra, decl, expected those of the ECSV header",)),
    Case("another format", "t.fits", _text(), (_HALF, "a whole FITS file")),
    Case("another format", "t.parquet", _text(), (_HALF, "a whole Parquet file")),
    Case("another format", "t.txt", _text(), ("found the suffix '.txt'",)),
    Case("no table", "t.fits", _image, ("found no table in this FITS file",)),
    Case("missing column", "t.csv", _text().replace("id,ra,dec", "id,RA,dec"),
         ("found no column 'ra', did you mean 'RA'?",)),
    Case("missing column", "t.parquet", _columns(), ("found no column 'name'",), (("id", "name"),)),
    Case("column twice", "t.csv", _text().replace("id,ra,dec", "ra,ra,dec"),
         ("found 2 columns 'ra', expected one",), (("id", None),)),
    Case("open quote", "t.csv", _text(r5='"T5,1,2'), ("row 7: found a damaged row",)),
    Case("too many fields", "t.csv", _text(r5="T5,1,2,3"), ("row 7: found 4 fields",)),
    Case("text as number", "t.csv", _text(r5="T5,abc,2"), ("row 7, column 'ra': found 'abc'",)),
    Case("text as number", "t.parquet", _columns(dec=[f"{d:.1f}" for d in DEC_DEG[:-1]] + ["N/A"]),
         ("row 60, column 'dec': found 'N/A'",)),
    Case("not finite", "t.csv", _text(r5="T5,inf,2"), ("row 7, column 'ra': found 'inf'",)),
    Case("not finite", "t.fits", _columns(dec=_at(DEC_DEG, 3, -np.inf)),
         ("row 4, column 'dec': found '-inf'",)),
    Case("not finite", "t.parquet", _columns(ra=_at(RA_DEG, 3, np.nan)),
         ("row 4, column 'ra': found 'nan'",)),
    Case("out of range", "t.csv", _text(r5="T5,370,2"), ("row 7, column 'ra': found '370'",)),
    Case("out of range", "t.fits", _columns(dec=_at(DEC_DEG, 9, 95.0)),
         ("row 10, column 'dec': found '95", "expected a declination from -90 to 90 deg")),
    Case("unit by range: hours", "t.csv", _columns(ra=RA_DEG / 15), ("if they are hours",)),
    Case("unit by range: radians", "t.fits",
         _columns(ra=np.deg2rad(RA_DEG), dec=np.deg2rad(DEC_DEG)), ("if they are radians",)),
    Case("unit by range: degrees", "t.csv", _text(), ("holds degrees, set unit: deg",),
         (("unit", "hourangle"),)),
    Case("unit of the file", "t.ecsv", _ECSV.replace("unit: deg", "unit: km"),
         ("found the unit 'km' of column 'ra'",)),
    Case("no id", "t.csv", _text(r5=" ,1,2"), ("row 7, column 'id': found nothing",)),
    Case("id at several places", "t.csv", _text(r5="T6,9,9"),
         ("row 7, column 'id': found 'T6', also in t.csv, row 8",)),
    Case("id without its last digits", "t.fits", _columns(id=np.arange(N_ROWS) + 2.0**60),
         ("column 'id': found the floating-point number", "last digits are lost")),
    Case("several values", "t.fits", _columns(ra=np.ones((N_ROWS, 2))),
         ("in column 'ra', expected one value in each row",)),
    Case("missing file", "t.csv", lambda path: None, ("t.csv: no such file",)),
]  # fmt: skip


def _rows_without_bytes(path: str) -> None:
    fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=[1.0])]).writeto(path)
    content = Path(path).read_bytes().replace(b"= 'D ", b"= '0D")
    for key, old, new in (("NAXIS1", 8, 0), ("NAXIS2", 1, 10**10)):
        content = content.replace(f"{key}  = {old:20d}".encode(), f"{key}  = {new:20d}".encode())
    Path(path).write_bytes(content[:-2880])


def _large_page(path: str) -> None:
    zeros = pa.array(np.zeros(200_000))
    pq.write_table(
        pa.table({"ra": pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)}),
        path,
        compression="zstd",
        use_dictionary=False,
        data_page_size=1 << 30,
    )


_ENTITIES = b'<?xml version="1.0"?><!DOCTYPE VOTABLE [<!ENTITY a "b">]><VOTABLE>&a;</VOTABLE>'
_ROWS = b'<?xml version="1.0"?><VOTABLE><RESOURCE><TABLE nrows="4000000000"/></RESOURCE></VOTABLE>'

#: What takes more memory than its bytes tell, or would: a packed file and a page may have a
#: megabyte here.
BOMBS = [
    *(
        Case(f"{pack.__module__} bomb", path, pack(bytes(3 << 20)),
             ("found a packed file of more than 1 MB, unpacked",))
        for pack in (gzip.compress, bz2.compress, lzma.compress)
        for path in ("t.fits", "t.vot")
    ),
    Case("packed and cut", "t.fits", gzip.compress(bytes(3 << 18))[:-100], (_HALF,)),
    Case("packed twice", "t.fits", gzip.compress(gzip.compress(bytes(3 << 20))), (_HALF,)),
    Case("entities", "t.vot", _ENTITIES, ("found an XML document that declares entities",)),
    Case("entities, packed", "t.vot", gzip.compress(_ENTITIES), ("that declares entities",)),
    Case("rows", "t.vot", _ROWS, ("announces 4000000000 rows",)),
    Case("rows", "t.fits", _rows_without_bytes, ("found 10000000000 rows in 0 bytes",)),
    Case("page", "t.parquet", _large_page, ("found a page of 1.6 MB", "write it with such ones")),
]  # fmt: skip


@pytest.fixture
def finished() -> Run:
    """A run whose plan has been made from a good table."""
    Path("good.csv").write_text(_text())
    config = yaml.safe_load((SCHEMAS.parent / "config.yaml").read_text())
    config |= yaml.safe_load((SCHEMAS.parent / "archives.yaml").read_text())
    source = {"kind": "table", "path": "good.csv", "id": "id", "ra": "ra", "dec": "dec"}
    run = load_run(config | {"sample": {"sources": [source]}, "shards": {"max_targets": 10}})
    sync_plan(run)
    return run


def _files(run: Run) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in run.results.rglob("*")
        if path.is_file()
    }


def _with_table(run: Run, case: Case) -> Run:
    source = TableSource("table", case.path, **{"id": "id", "ra": "ra", "dec": "dec"})
    source = replace(source, **dict(case.options))
    return replace(run, sample=SampleConfig((source,), 1.0, "stop"))


@pytest.mark.parametrize("case", BOMBS, ids=lambda case: f"{case.kind}, {case.path}")
def test_bombs(finished: Run, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(typed_cells, "DEFAULT_PAGE_MB", 1.0)
    test_malformed_table(finished, case)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, None])
@pytest.mark.parametrize("path", ["t.fits", "t.vot"])
def test_packed_tables_are_read(path: str, pack: Callable[[bytes], bytes] | None) -> None:
    _write(_columns(), path)
    content = Path(path).read_bytes()
    if pack is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("table", content)
    else:
        Path(path).write_bytes(pack(content))
    targets = read_sample([TableSource("table", path, id="id", ra="ra", dec="dec")]).targets
    assert sorted(targets["objectid"].to_pylist()) == sorted(NAMES)


def test_there_are_enough_kinds() -> None:
    assert len(CASES) >= 40
    assert len({case.kind for case in CASES}) >= 15


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{place}: {case.kind}, {case.path}" for place, case in enumerate(CASES)]
)
def test_malformed_table(finished: Run, case: Case) -> None:
    if callable(case.content):
        case.content(case.path)
    else:
        _write(case.content, case.path)
    before = _files(finished)
    with pytest.raises(SampleError) as caught:
        sync_plan(_with_table(finished, case))
    message = str(caught.value)
    assert case.path in message
    for words in case.words:
        assert words in message
    assert _files(finished) == before
    # The good table still is what it was: nothing has to be done for it.
    assert sync_plan(finished).n_targets == N_ROWS
    assert _files(finished) == before


def test_a_last_line_without_its_end_is_a_hint() -> None:
    Path("t.csv").write_text(_text()[:-2])
    sample = read_sample([TableSource("table", "t.csv", "ra", "dec", id="id")])
    assert sample.hints == (
        "t.csv: the last line has no end; if the file was cut off there, its last value is wrong",
    )
