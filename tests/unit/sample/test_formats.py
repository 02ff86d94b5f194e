"""Tables of every format hold the same targets, ids and units; damaged ones are refused."""

from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from written_tables import error_lines

from lightloom.config_sources import TableSource
from lightloom.sample.read import read_sample

N_ROWS = 40

Writer = Callable[[Table, str], None]

WRITERS: dict[str, Writer] = {
    "t.ecsv": lambda t, path: t.write(path),
    "t.fits": lambda t, path: t.write(path),
    "t.vot": lambda t, path: t.write(path, format="votable"),
    "binary.xml": lambda t, path: t.write(path, format="votable", tabledata_format="binary2"),
    "t.parquet": lambda t, path: t.write(path),
}


def _table() -> Table:
    numbers = np.arange(N_ROWS)
    table = Table(
        {
            "name": [f"Mrk {number}" for number in numbers],
            "long": 2**63 - 1 - numbers,
            "RA": np.linspace(0, 6.2, N_ROWS) * u.rad,
            "DEC": np.linspace(-5000, 5000, N_ROWS) * u.arcmin,
            "pm1": np.full(N_ROWS, 0.5) * u.arcsec / u.yr,
            "pm2": np.full(N_ROWS, -2.0) * u.mas / u.yr,
            "plx": np.full(N_ROWS, 0.01) * u.arcsec,
            "z": np.float32(0.1) + numbers.astype(np.float32),
        }
    )
    table["note"] = MaskedColumn(numbers, mask=numbers % 2 == 1)
    return table


def _source(path: str, **options: object) -> TableSource:
    columns = {"pmra": "pm1", "pmdec": "pm2", "parallax": "plx", "ref_epoch": 2015.5}
    return TableSource("table", path, "RA", "DEC", **{"id": "name", **columns, **options})


@pytest.mark.parametrize("path", WRITERS)
def test_every_format_gives_the_same_targets(path: str) -> None:
    WRITERS[path](_table(), path)
    targets = read_sample([_source(path)]).targets.sort_by("ra_deg").to_pydict()
    assert targets["objectid"] == [f"Mrk {number}" for number in range(N_ROWS)]
    assert targets["ra_deg"] == pytest.approx(np.rad2deg(np.linspace(0, 6.2, N_ROWS)), rel=1e-14)
    assert targets["dec_deg"] == pytest.approx(np.linspace(-5000, 5000, N_ROWS) / 60, rel=1e-14)
    assert targets["pmra_masyr"] == pytest.approx([500.0] * N_ROWS)
    assert targets["pmdec_masyr"] == [-2.0] * N_ROWS
    assert targets["parallax_mas"] == pytest.approx([10.0] * N_ROWS)


@pytest.mark.parametrize("path", WRITERS)
def test_ids_of_64_bits_keep_every_digit(path: str) -> None:
    WRITERS[path](_table(), path)
    ids = read_sample([_source(path, id="long")]).targets["objectid"].to_pylist()
    assert set(ids) == {str(2**63 - 1 - number) for number in range(N_ROWS)}


def test_unsigned_ids_keep_every_digit() -> None:
    ids = np.array([2**64 - 1, 2**63, 5], np.uint64)
    table = Table({"id": ids, "ra": [10.0, 20, 30], "dec": [1.0, 2, 3]})
    table.write("t.fits")
    table.write("t.parquet")
    for path in ("t.fits", "t.parquet"):
        targets = read_sample([TableSource("table", path, "ra", "dec", id="id")]).targets
        assert set(targets["objectid"].to_pylist()) == set(map(str, ids))


@pytest.mark.parametrize("path", WRITERS)
def test_further_columns_are_kept(path: str) -> None:
    WRITERS[path](_table()["name", "RA", "DEC", "z", "note"][:2], path)
    source = TableSource("table", path, "RA", "DEC", id="name")
    first, second = read_sample([source]).extra_columns.to_pylist()
    assert (first["objectid"], second["objectid"]) == ("Mrk 0", "Mrk 1")
    assert first["source"] == path
    assert second["row"] == first["row"] + 1
    assert first["extra_columns"] == '{"z": "0.1", "note": "0"}'
    # A missing value is left out.
    assert second["extra_columns"] == '{"z": "1.1"}'


def test_a_format_may_be_stated() -> None:
    _table().write("catalogue.dat", format="fits")
    assert read_sample([_source("catalogue.dat", format="fits")]).targets.num_rows == N_ROWS


def test_missing_numbers_are_no_proper_motion() -> None:
    table = _table()
    table["pm1"][3], table["pm2"][3] = np.nan, np.nan
    table.write("t.fits")
    pmra = read_sample([_source("t.fits")]).targets.sort_by("ra_deg")["pmra_masyr"].to_pylist()
    assert pmra[3] is None
    assert None not in pmra[:3] + pmra[4:]


def test_units_of_our_own_tables_are_honoured() -> None:
    fields = [
        pa.field(name, pa.float64(), metadata={"unit": unit})
        for name, unit in (("RA", "deg"), ("DEC", "arcmin"))
    ]
    pq.write_table(pa.table([[10.0], [60.0]], schema=pa.schema(fields)), "t.parquet")
    targets = read_sample([TableSource("table", "t.parquet", "RA", "DEC")]).targets
    assert targets["dec_deg"].to_pylist() == [1.0]


BINARY = ("t.fits", "t.vot", "binary.xml", "t.parquet")


@pytest.mark.parametrize("path", BINARY)
@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.05, 0.5, 0.9, 0.999])
def test_half_read_files_are_refused(path: str, fraction: float) -> None:
    WRITERS[path](_table(), path)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * fraction)])
    (line,) = error_lines(_source(path))
    assert line.startswith(f"{path}: found a damaged or half-read file (")


@pytest.mark.parametrize("path", BINARY)
def test_text_in_place_of_another_format(path: str) -> None:
    Path(path).write_text("name,RA,DEC\nA,1,2\n")
    (line,) = error_lines(_source(path))
    assert line.startswith(f"{path}: found a damaged or half-read file (")


@pytest.mark.parametrize("path", BINARY)
def test_missing_and_wrong_columns(path: str) -> None:
    WRITERS[path](_table()["name", "RA", "DEC"], path)
    source = TableSource("table", path, "ra", "DEC", id="name")
    assert error_lines(source) == [
        f"{path}: found no column 'ra', did you mean 'RA'? expected one of ['name', 'RA', 'DEC']"
    ]


def test_wrong_values_name_row_and_column() -> None:
    table = _table()
    table["RA"][4] = np.nan
    table["DEC"][7] = np.inf
    table.write("t.fits")
    assert error_lines(_source("t.fits")) == [
        "t.fits, row 5, column 'RA': found nothing,"
        " expected a right ascension from 0 to 6.28319 rad",
        "t.fits, row 8, column 'DEC': found 'inf', expected a declination from -90 to 90 deg",
    ]


def test_several_values_in_a_row() -> None:
    table = Table({"RA": np.ones((3, 2)), "DEC": np.ones(3)})
    pq.write_table(pa.table({"RA": [[1.0, 2.0]], "DEC": [1.0]}), "t.parquet")
    for path in ("t.fits", "t.vot"):
        WRITERS[path](table, path)
    for path in ("t.fits", "t.vot", "t.parquet"):
        (line,) = error_lines(TableSource("table", path, "RA", "DEC"))
        assert "in column 'RA', expected one value in each row" in line


def test_ids_as_floating_point_numbers_have_lost_digits() -> None:
    Table({"id": [1.0, 2.0**60], "RA": [1.0, 2.0], "DEC": [1.0, 2.0]}).write("t.fits")
    assert error_lines(TableSource("table", "t.fits", "RA", "DEC", id="id")) == [
        "t.fits, row 2, column 'id': found the floating-point number 1.152921504606847e+18,"
        " expected ids as whole numbers or text: their last digits are lost"
    ]


def test_fits_without_a_table_and_tables_without_rows() -> None:
    fits.PrimaryHDU(np.zeros((2, 2))).writeto("image.fits")
    assert error_lines(TableSource("table", "image.fits", "RA", "DEC")) == [
        "image.fits: found no table in this FITS file, expected one"
    ]
    for path in BINARY:
        WRITERS[path](_table()[:0], path)
        assert error_lines(_source(path)) == [f"{path}: found no row, expected at least one target"]
