"""What is exported is read back by the tools of others with the same values, units, times, ids."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import lsdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.table import QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from lightloom.errors import ResultError
from lightloom.export import EXPORTED, ExportSource, export
from lightloom.export.fits import write_fits
from lightloom.export.text import write_ecsv, write_votable
from lightloom.read import Dataset, Selection
from lightloom.schema import LIGHTCURVE
from small_run import SmallRun
from written_results import TARGETS, write_results

TIME = "time_mjd_tdb"


@pytest.fixture
def source(small_run: SmallRun) -> ExportSource:
    return ExportSource(Dataset(write_results(small_run)), Selection(view="all"))


@pytest.fixture
def rows(source: ExportSource) -> pa.Table:
    return pa.concat_tables(source.blocks())


def values(table: Table, name: str) -> list:
    """Plain values of a column, None where it has none."""
    column = table[name].mjd if isinstance(table[name], Time) else table[name]
    column = column.value if isinstance(column, u.Quantity) else column
    found = np.ma.asarray(column)
    missing = np.ma.getmaskarray(found)
    if found.dtype.kind == "f":
        missing = missing | np.isnan(found.filled(np.nan))
    if found.dtype.kind == "S":
        found = np.char.decode(found.filled(b""))
    return [None if gone else item for gone, item in zip(missing, found.tolist(), strict=True)]


def assert_same(table: Table, rows: pa.Table, *, blank: bool = False) -> None:
    """Compare every value; formats without nulls in texts have blanks in their place."""
    assert table.colnames == rows.column_names
    for name in rows.column_names:
        expected = rows[name].to_pylist()
        if blank and pa.types.is_string(rows[name].type):
            expected = [item or "" for item in expected]
            assert [item or "" for item in values(table, name)] == expected, name
        else:
            assert values(table, name) == expected, name


def assert_units(table: Table) -> None:
    for field in EXPORTED:
        unit = (field.metadata or {}).get(b"unit")
        if unit and field.name != TIME:
            assert table[field.name].unit == u.Unit(unit.decode()), field.name


def test_parquet(source: ExportSource, rows: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert export(source, path) == rows.num_rows == 134
    read = pq.read_table(path)
    assert read.equals(rows)
    assert read.schema.field("flux_mjy").metadata[b"unit"] == b"mJy"


def test_ecsv(source: ExportSource, rows: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "out.ecsv"
    assert export(source, path) == rows.num_rows
    read = QTable.read(path)
    assert_same(read, rows, blank=True)
    assert_units(read)
    assert read[TIME].scale == "tdb"
    assert read["flux_mjy"].info.meta["ucd"] == "phot.flux.density"


def test_fits(source: ExportSource, rows: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "out.fits"
    assert export(source, path) == rows.num_rows
    read = Table.read(path, astropy_native=True, unit_parse_strict="raise")
    assert_same(read, rows, blank=True)
    assert_units(read)
    assert read[TIME].scale == "tdb"
    assert not isinstance(read["time_mjd"], Time)
    assert read.meta["RADESYS"] == "ICRS"


def test_votable(source: ExportSource, rows: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "out.vot"
    assert export(source, path) == rows.num_rows
    with path.open("rb") as file:
        assert votable.validate(file, output=None)
    document = votable.parse(path, verify="exception")
    table = document.get_first_table()
    assert_same(table.to_table(), rows, blank=True)
    assert_units(table.to_table())
    system = document.get_timesys_by_id(table.get_field_by_id(TIME).ref)
    assert (system.timescale, system.refposition) == ("TDB", "BARYCENTER")
    assert system.timeorigin == "MJD-origin"
    assert document.get_coosys_by_id(table.get_field_by_id("ra_deg").ref).system == "ICRS"
    assert table.get_field_by_id("flux_mjy").ucd == "phot.flux.density"


def test_pyvo_reads_the_votable_as_the_answer_of_a_service(
    source: ExportSource, rows: pa.Table, tmp_path: Path
) -> None:
    export(source, tmp_path / "out.vot")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/out.vot"
        results = pyvo.dal.DALResults.from_result_url(url)
        server.shutdown()
    assert results.fieldname_with_ucd("phot.flux.density") == "flux_mjy"
    assert_same(results.to_table(), rows, blank=True)
    assert results.to_qtable()["flux_mjy"].unit == u.mJy


def test_hats_is_opened_and_crossmatched_by_lsdb(
    source: ExportSource, rows: pa.Table, tmp_path: Path
) -> None:
    path = tmp_path / "out.hats"
    assert export(source, path) == rows.num_rows
    catalogue = lsdb.open_catalog(path)
    frame = catalogue.compute().set_index("objectid")
    assert set(frame.index) == set(TARGETS)
    nested = frame["lightcurve"].nest.to_flat()
    for name in TARGETS:
        flux = rows.filter(pa.compute.equal(rows["objectid"], name))["flux_mjy"].to_pylist()
        found = nested.loc[nested.index == name, "flux_mjy"]
        assert [None if pd.isna(value) else value for value in found] == flux
    place = SkyCoord(*TARGETS["far"], unit="deg")
    other = lsdb.from_dataframe(
        Table({"ra": [place.ra.deg], "dec": [place.dec.deg + 0.1 / 3600]}).to_pandas(),
        ra_column="ra",
        dec_column="dec",
    )
    matched = catalogue.crossmatch(
        other, radius_arcsec=1, suffixes=("", "_other"), suffix_method="overlapping_columns"
    ).compute()
    assert matched["objectid"].tolist() == ["far"]
    assert matched["_dist_arcsec"].iloc[0] == pytest.approx(0.1, abs=1e-6)


def test_a_selection_alone_is_written(source: ExportSource, tmp_path: Path) -> None:
    selection = Selection(("far",), ("ztf",), ("g",), view="clean", columns=("flux_mjy",))
    n_rows = export(ExportSource(source.dataset, selection), tmp_path / "out.parquet")
    read = pq.read_table(tmp_path / "out.parquet")
    assert read.column_names == ["objectid", "ra_deg", "dec_deg", "flux_mjy"]
    assert set(read["objectid"].to_pylist()) == {"far"}
    assert n_rows == read.num_rows == 7


def test_the_same_rows_give_the_same_bytes(source: ExportSource, tmp_path: Path) -> None:
    for suffix in ("ecsv", "fits", "vot", "parquet"):
        paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
        for path in paths:
            export(source, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_cannot_be_written_is_said(source: ExportSource, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"suffix is '.txt', expected .*parquet"):
        export(source, tmp_path / "out.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultError, match="no HATS catalogue, so it is not replaced"):
        export(source, tmp_path / "folder", "hats")
    schema = pa.schema([LIGHTCURVE.field("objectid")])
    block = pa.table({"objectid": ["Mrk 1", "π Men"]}, schema)
    with pytest.raises(ResultError, match=r"'objectid': 'π Men' is not ASCII.*\.vot"):
        write_fits(tmp_path / "out.fits", schema, lambda: [block])
    assert list(tmp_path.glob("out*")) == []


_NUMBERS = st.floats(allow_infinity=False, allow_nan=False, width=64) | st.none()
_IDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters=" "), min_size=1
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            _IDS,
            st.floats(15_000, 80_000) | st.none(),
            _NUMBERS,
            st.integers(-(2**63) + 1, 2**63 - 1) | st.none(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_value_comes_back(tmp_path_factory: pytest.TempPathFactory, cells: list) -> None:
    names = ("objectid", TIME, "flux_mjy", "flags_native")
    schema = pa.schema([LIGHTCURVE.field(name) for name in names])
    block = pa.table(
        [
            pa.array(column, f.type)
            for column, f in zip(zip(*cells, strict=True), schema, strict=True)
        ],
        schema=schema,
    )
    folder = tmp_path_factory.mktemp("cells")
    write_ecsv(folder / "t.ecsv", schema, [block])
    write_votable(folder / "t.vot", schema, [block])
    write_fits(folder / "t.fits", schema, lambda: [block])
    assert_same(Table.read(folder / "t.ecsv"), block)
    assert_same(votable.parse_single_table(folder / "t.vot").to_table(), block)
    assert_same(Table.read(folder / "t.fits"), block)
