"""Light curves are read whole or cut, in every form, and nothing else is read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightloom.errors import ResultError
from lightloom.read import Dataset, Selection, read_lightcurves
from lightloom.read.dataset import _join_ranges, _take_ranges, _touched
from lightloom.storage import ParquetSink
from lightloom.views import COMMON_VIEWS, view_expression
from small_run import SmallRun
from written_results import TARGETS, write_results


@pytest.fixture
def results(small_run: SmallRun) -> Path:
    return write_results(small_run)


def everything(results: Path) -> pa.Table:
    return pq.read_table(results / "lightcurves", partitioning=None)


def test_all_rows_in_the_order_of_the_data_set(results: Path) -> None:
    curves = read_lightcurves(results, view="all")
    assert curves.table.equals(everything(results))
    assert len(curves) == 134
    assert curves.targets["objectid"].to_pylist()[0] == "far"
    assert curves.targets["number"].to_pylist() == [1, 2, 3, 4]


def test_targets_archives_and_bands(results: Path) -> None:
    rows = everything(results).to_pylist()
    awkward = 'a "b", <c> & d'
    found = read_lightcurves(
        results, objectids=[awkward, "far"], archives="ztf", bands=["g"], clean=False
    )
    assert found.table.to_pylist() == [
        row
        for row in rows
        if row["objectid"] in (awkward, "far") and row["archive"] == "ztf" and row["band"] == "g"
    ]
    assert found.targets["objectid"].to_pylist() == ["far", awkward]
    nothing = read_lightcurves(results, objectids="nothing")
    assert len(nothing) == 0
    assert nothing.table.schema.equals(everything(results).schema)


def test_views_cut_as_the_entries_say(results: Path) -> None:
    rows = everything(results).to_pylist()

    def kept(view: str) -> list[dict]:
        return read_lightcurves(results, view=view).table.to_pylist()

    assert kept("clean") == [r for r in rows if r["quality"] == 0 and r["kind"] != "event"]
    assert kept("clean") == read_lightcurves(results).table.to_pylist()
    assert kept("events") == [r for r in rows if r["kind"] == "event"]
    assert kept("detections") == [r for r in rows if r["quality"] < 2 and r["kind"] == "detection"]
    bright = [
        row
        for row in rows
        if row["archive"] == "ztf"
        and (row["flux_mjy"] or 0) > 5
        and row["flags_native"] is not None
        and row["flags_native"] & 3
    ]
    assert kept("bright") == bright
    assert bright


def test_only_the_columns_asked_for(results: Path) -> None:
    found = read_lightcurves(results, columns=["flux_mjy", "objectid"], view="bright")
    assert found.table.column_names == ["objectid", "flux_mjy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectids": ["NGC 1086"]}, "'NGC 1086', did you mean 'NGC 1068'"),
        ({"archives": ["zft"]}, "'zft' is unknown.*did you mean 'ztf'"),
        ({"view": "cleen"}, "'cleen', expected one of all, bright.*did you mean 'clean'"),
        ({"columns": ["flux"]}, "'flux' is unknown.*did you mean 'flux_mjy'"),
    ],
)
def test_unknown_names_are_named(results: Path, options: dict, message: str) -> None:
    with pytest.raises(ResultError, match=message):
        read_lightcurves(results, **options)


def test_tables_that_do_not_belong_together_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="name the results folder of a run"):
        read_lightcurves(tmp_path / "elsewhere")
    path = results / "lightcurves" / "norder1-npix17.parquet"
    short = pq.read_table(path).slice(1)
    with ParquetSink(path, short.schema) as sink:
        sink.write(short)
    with pytest.raises(ResultError, match=r"npix17.parquet: 80 rows.*tells of 81"):
        read_lightcurves(results)
    path.unlink()
    with pytest.raises(ResultError, match=r"not found, though .*ledger"):
        read_lightcurves(results)


def test_only_the_row_groups_of_the_target_are_read(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results / "lightcurves" / "norder1-npix17.parquet"
    rows = pq.read_table(path)
    with ParquetSink(path, rows.schema, row_group_rows=10) as sink:
        sink.write(rows)
    read: list[int] = []
    read_row_group = pq.ParquetFile.read_row_group

    def spy(self: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
        read.append(number)
        return read_row_group(self, number, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    curves = read_lightcurves(results, objectids="NGC 1068", archives="ztf", view="all")
    expected = rows.filter(pa.compute.field("objectid") == "NGC 1068").filter(
        pa.compute.field("archive") == "ztf"
    )
    assert curves.table.equals(expected)
    first = rows["objectid"].index("NGC 1068").as_py() // 10
    assert 4 <= len(read) <= 5
    assert read[0] in (first, first + 1)


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 7), st.randoms())
def test_any_ranges_are_found(sizes: list[int], group: int, random: object) -> None:
    n_rows = sum(sizes)
    stops = np.cumsum(np.array(sizes, np.int64))
    starts = stops - sizes
    chosen = np.array([random.random() < 0.4 for _ in sizes], bool)  # type: ignore[attr-defined]
    ranges = _join_ranges(starts[chosen], stops[chosen])
    borders = np.array([*range(0, n_rows, group), n_rows])
    table = pa.table({"row": np.arange(n_rows)})
    found = []
    for number in _touched(borders, ranges):
        piece = table.slice(borders[number], borders[number + 1] - borders[number])
        inside = np.clip(ranges, borders[number], borders[number + 1]) - borders[number]
        inside = inside[inside[:, 0] < inside[:, 1]]
        assert len(inside)
        found += _take_ranges(piece, inside)["row"].to_pylist()
    expected = [
        row
        for is_chosen, start, stop in zip(chosen, starts, stops, strict=True)
        if is_chosen
        for row in range(start, stop)
    ]
    assert found == expected


def test_an_archive_without_the_view_has_no_rows_in_it() -> None:
    rows = pa.table({"archive": ["a", "b"], "band": ["x", "x"]})
    views = {"a": {"mine": [["band", "!~", "^y"]]}, "b": COMMON_VIEWS}
    assert rows.filter(view_expression("mine", views))["archive"].to_pylist() == ["a"]
    assert view_expression("all", {"b": COMMON_VIEWS}) is None


def test_pandas(results: Path) -> None:
    frame = read_lightcurves(results, view="all").to_pandas()
    assert frame["flags_native"].dropna().max() == 2**62 + 38
    assert frame.attrs["units"]["flux_mjy"] == "mJy"
    assert frame["flux_mjy"].isna().sum() == 11


def test_nested_pandas(results: Path) -> None:
    curves = read_lightcurves(results, view="all")
    frame = curves.to_nested()
    assert list(frame.index) == curves.targets["objectid"].to_pylist()
    flat = frame["lightcurve"].nest.to_flat()
    assert flat["flux_mjy"].dropna().tolist() == curves.table["flux_mjy"].drop_null().to_pylist()
    assert frame.loc["far", "labels"].tolist() == ["CLAGN"]
    assert "nothing" not in flat.index
    assert dict(zip(frame.index, frame["ra_deg"], strict=True)) == {
        name: place[0] for name, place in TARGETS.items()
    }


def test_astropy_time_series(results: Path) -> None:
    curves = read_lightcurves(results, objectids="far", view="all")
    series = curves.to_timeseries()
    valid = curves.table.filter(curves.table["time_mjd_tdb"].is_valid())
    assert len(series) == valid.num_rows == len(curves) - 2
    assert series.time.scale == "tdb"
    assert series.time.mjd.tolist() == sorted(valid["time_mjd_tdb"].to_pylist())
    assert str(series["flux_mjy"].unit) == "mJy"
    expected = sum(value or 0 for value in valid["flux_mjy"].to_pylist())
    assert np.nansum(series["flux_mjy"].value) == pytest.approx(expected)
    assert series["flags_native"].mask.sum() == valid["flags_native"].null_count


def test_lightkurve_says_what_it_needs(results: Path) -> None:
    looked = subprocess.run(
        [sys.executable, "-c", "import lightkurve"], capture_output=True, check=False
    )
    if not looked.returncode:
        pytest.skip("lightkurve is installed here")
    with pytest.raises(ResultError, match="environment with pandas < 3"):
        read_lightcurves(results).to_lightkurve()


def test_what_was_not_read_is_asked_for(results: Path) -> None:
    curves = read_lightcurves(results, columns=["flux_mjy"])
    for convert in (curves.to_nested, curves.to_timeseries, curves.to_fornax):
        with pytest.raises(ResultError, match="were not read"):
            convert()


def test_blocks_are_bounded_and_complete(results: Path) -> None:
    blocks = list(Dataset(results).blocks(Selection(view="all")))
    assert pa.concat_tables(blocks).equals(everything(results))
    assert len(blocks) == 2
