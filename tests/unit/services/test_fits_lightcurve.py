"""Light curves in FITS files: their times, units and damages."""

import bz2
import contextlib
import gzip
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.errors import ArchiveSchemaError, DamagedFileError
from lightloom.services.fits_lightcurve import PIPELINE_COLUMNS, read_lightcurve_fits
from written_fits import PDCSAP, QUALITY, SAP, write_fits

WITHOUT_SAP = {key: name for key, name in PIPELINE_COLUMNS.items() if not key.startswith("sap")}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_fits(tmp_path_factory.mktemp("fits") / "lc.fits").read_bytes()


def test_every_cadence_is_read(tmp_path: Path) -> None:
    table = read_lightcurve_fits(write_fits(tmp_path / "lc.fits"))
    assert table["pdcsap_flux"].to_pylist() == PDCSAP
    np.testing.assert_array_equal(table["sap_flux"].to_numpy(), SAP)
    assert table["quality"].to_pylist() == QUALITY
    assert table["crowdsap"].to_pylist() == [0.875] * 4
    assert table["exposure_s"].to_pylist() == pytest.approx([120.0] * 4, rel=1e-12)
    assert table.schema.metadata == {b"unit": b"electron/s"}


@pytest.mark.parametrize(
    ("day", "fraction", "first_mjd"),
    [
        (2457000, 0.0, 57099.75),
        (2454833, 0.0, 54932.75),
        (2400000, 0.5, 100.25),
        (2457000, -0.25, 57099.5),
    ],
)
def test_file_says_where_its_times_begin(
    tmp_path: Path, day: int, fraction: float, first_mjd: float
) -> None:
    path = write_fits(tmp_path / "lc.fits", {"BJDREFI": day, "BJDREFF": fraction})
    time_mjd = read_lightcurve_fits(path)["time_mjd"].to_pylist()
    assert time_mjd[:3] == [first_mjd, first_mjd + 0.5, first_mjd + 1.0]
    assert math.isnan(time_mjd[3])


def test_times_in_seconds(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "lc.fits", {"TIMEUNIT": "s"}, TIME=np.array([0.0, 43200, 1, 2]))
    assert read_lightcurve_fits(path)["time_mjd"].to_pylist()[:2] == [56999.5, 57000.0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TIMESYS", "UTC"),
        ("TIMESYS", None),
        ("TIMEREF", "LOCAL"),
        ("TIMEUNIT", "yr"),
        ("BJDREFI", None),
        ("BJDREFF", "zero"),
    ],
)
def test_unknown_time_is_refused(tmp_path: Path, key: str, value: str | None) -> None:
    path = write_fits(tmp_path / "lc.fits", {key: value})
    with pytest.raises(ArchiveSchemaError, match=rf"lc\.fits: {key} is {value!r}, expected"):
        read_lightcurve_fits(path)


def test_unit_of_normalised_fluxes_is_told_by_the_caller(tmp_path: Path) -> None:
    units = dict.fromkeys(["TUNIT_PDCSAP_FLUX", "TUNIT_PDCSAP_FLUX_ERR"])
    path = write_fits(tmp_path / "lc.fits", units, SAP_FLUX=None, SAP_FLUX_ERR=None)
    table = read_lightcurve_fits(path, columns=WITHOUT_SAP, unit="relative")
    assert table.schema.metadata == {b"unit": b"relative"}
    assert np.isnan(table["sap_flux"].to_numpy()).all()
    with pytest.raises(ArchiveSchemaError, match="units of the fluxes are"):
        read_lightcurve_fits(path, columns=WITHOUT_SAP)


@pytest.mark.parametrize("unit", ["mag", "Jy", "adu/s"])
def test_unexpected_unit_is_refused(tmp_path: Path, unit: str) -> None:
    path = write_fits(tmp_path / "lc.fits", {"TUNIT_SAP_FLUX": unit})
    with pytest.raises(ArchiveSchemaError, match=rf"'SAP_FLUX': '{unit}'"):
        read_lightcurve_fits(path)


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "lc.fits", QUALITY=None)
    with pytest.raises(ArchiveSchemaError, match=r"lc\.fits: columns \['QUALITY'\] are missing"):
        read_lightcurve_fits(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_bit_in_the_table_is_noticed(content: bytes, data: st.DataObject) -> None:
    start = content.index(b"END", content.index(b"XTENSION"))
    at = data.draw(st.integers(-(-start // 2880) * 2880, len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedFileError, match="checksum"):
        read_lightcurve_fits(bytes(damaged), name="x.fits")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_header_is_an_error_of_the_archive(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        damaged[at] = data.draw(st.sampled_from(b"0123456789 '=TF.E-\x00\xff"))
    with contextlib.suppress(DamagedFileError, ArchiveSchemaError):
        read_lightcurve_fits(bytes(damaged))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_file_cut_short_is_noticed(content: bytes, data: st.DataObject) -> None:
    with pytest.raises(DamagedFileError, match=r"x\.fits: "):
        read_lightcurve_fits(content[: data.draw(st.integers(0, len(content) - 1))], name="x.fits")


@pytest.mark.parametrize("content", [b"<html>maintenance</html>", b"SIMPLE", b"\0" * 5000])
def test_what_is_no_fits_is_called_damaged(content: bytes) -> None:
    with pytest.raises(DamagedFileError, match=r"x\.fits: cannot be read as FITS"):
        read_lightcurve_fits(content, name="x.fits")


def with_rows(content: bytes, n_rows: int, row_bytes: int) -> bytes:
    """Let the table announce other rows, without a checksum."""
    changed = content.replace(b"CHECKSUM=", b"COMMENT  ")
    for key, old, new in (("NAXIS2", 4, n_rows), ("NAXIS1", 28, row_bytes)):
        card = f"{key}  = {old:20d}".encode()
        assert card in changed
        changed = changed.replace(card, f"{key}  = {new:20d}".encode())
    return changed


def test_rows_without_bytes_are_not_given_memory(content: bytes) -> None:
    empty = with_rows(content, 10**10, 0)
    for format_ in (b"D", b"E", b"J"):
        empty = empty.replace(b"= '" + format_ + b" ", b"= '0" + format_)
    with pytest.raises(DamagedFileError, match="announces 10000000000 rows in 0 bytes"):
        read_lightcurve_fits(empty, name="a.fits")
    with pytest.raises(DamagedFileError, match=r"a\.fits: has \d+ bytes, but its table ends at"):
        read_lightcurve_fits(with_rows(content, 10**10, 28), name="a.fits")


def test_a_packed_file_is_not_unpacked() -> None:
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        with pytest.raises(DamagedFileError, match="cannot be read as FITS"):
            read_lightcurve_fits(pack(bytes(1 << 20)), name="a.fits")


@pytest.mark.parametrize("format_", ["1PD(5)", "8A", "8L", "C", "8X"])
@pytest.mark.parametrize("name", ["TIME", "QUALITY"])
def test_columns_without_a_number_in_each_row_are_refused(
    tmp_path: Path, format_: str, name: str
) -> None:
    path = write_fits(tmp_path / "lc.fits")
    with fits.open(path) as hdus:
        columns = [
            fits.Column(name, format_) if column.name == name else column
            for column in hdus[1].columns
        ]
        table = fits.BinTableHDU.from_columns(columns, hdus[1].header, nrows=4)
        table.writeto(tmp_path / "other.fits", checksum=True)
    with pytest.raises(ArchiveSchemaError, match=rf"column '{name}' has the format"):
        read_lightcurve_fits(tmp_path / "other.fits")
