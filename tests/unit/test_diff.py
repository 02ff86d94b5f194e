"""Differences between two runs: exactly the points that were changed, in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from lightloom import diff
from lightloom.cli import app
from lightloom.diff import DIFFERENCES, Comparison, Summary
from lightloom.errors import ResultError
from recorded_run import record_run
from small_run import SmallRun, lightcurve_row

PLACES = {"a": (10.0, 5.0), "b": (11.0, 5.0), 'c, "d"': (200.0, 60.0)}
SHARDS = {"norder0-npix3": ('c, "d"',), "norder0-npix4": ("a", "b")}
Rows = list[dict[str, Any]]


def rows_of(objectid: str) -> Rows:
    points = [
        lightcurve_row(objectid, "ztf", time_mjd=58000.0 + day, survey_object_id="7")
        for day in range(5)
    ]
    exposed = [
        lightcurve_row(objectid, "nsc", time_mjd=58000.0 + day, exposure_id=f"e{day}")
        for day in range(5)
    ]
    # Padded cadences: nothing tells one from another.
    padded = [
        lightcurve_row(objectid, "tess", time_mjd=None, time_mjd_tdb=None, native_value=None)
    ] * 3
    return points + exposed + padded


def written(
    folder: Path,
    rows: Rows,
    shards: dict[str, tuple[str, ...]] = SHARDS,
    states: dict[str, str] | None = None,
) -> Path:
    run = SmallRun(folder, ("nsc", "tess", "ztf"))
    for shard, names in shards.items():
        run.add_shard(shard, {name: PLACES[name] for name in names})
        parts = []
        for archive in run.catalogue:
            of_part = [r for r in rows if r["archive"] == archive and r["objectid"] in names]
            of_part.sort(key=lambda row: row["time_mjd"] or 0.0)
            changed = {n: s for n, s in (states or {}).items() if n in names and archive == "nsc"}
            parts.append(run.add_part(archive, shard, of_part, changed))
        run.merge(shard, parts, allow_partial=True)
    run.finish()
    return record_run(run, run.catalogue)


@pytest.fixture
def rows() -> Rows:
    return [row for name in PLACES for row in rows_of(name)]


@pytest.fixture
def old(tmp_path: Path, rows: Rows) -> Path:
    return written(tmp_path / "old", rows)


def differences(old: Path, new: Path, ignored: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return [
        row for block in Comparison(old, new, ignored).differences() for row in block.to_pylist()
    ]


def called(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["diff", *map(str, arguments)])


def test_a_run_does_not_differ_from_itself(old: Path, tmp_path: Path, rows: Rows) -> None:
    assert differences(old, old) == []
    result = called(old, written(tmp_path / "new", rows))
    assert (result.exit_code, result.output.strip()) == (0, "no differences")


def find(rows: Rows, objectid: str, archive: str, number: int = 2) -> int:
    of_both = [
        i for i, row in enumerate(rows) if (row["objectid"], row["archive"]) == (objectid, archive)
    ]
    return of_both[number]


def edit(**values: Any) -> Callable[[Rows, int], None]:
    def change(rows: Rows, place: int) -> None:
        rows[place] = rows[place] | values

    return change


@pytest.mark.parametrize(
    ("archive", "change", "expected"),
    [
        ("ztf", edit(native_value=1.5), [("changed", "native_value")]),
        ("ztf", edit(quality=2, flags_native=None), [("changed", "flags_native,quality")]),
        ("ztf", edit(native_columns='{"a":1}'), [("changed", "native_columns")]),
        ("ztf", lambda rows, place: rows.pop(place), [("withdrawn", None)]),
        ("ztf", lambda rows, place: rows.append(rows[place] | {"time_mjd": 9.0}), [("new", None)]),
        # Without an exposure the time is what a point is known by.
        ("ztf", edit(time_mjd=58000.5), [("new", None), ("withdrawn", None)]),
        ("nsc", edit(time_mjd=58000.5), [("changed", "time_mjd")]),
        ("nsc", edit(exposure_id="other"), [("new", None), ("withdrawn", None)]),
        ("nsc", edit(survey_object_id="2"), [("new", None), ("withdrawn", None)]),
        ("tess", edit(quality=1), [("changed", "quality")]),
        ("tess", lambda rows, place: rows.append(rows[place]), [("new", None)]),
        ("tess", lambda rows, place: rows.pop(place), [("withdrawn", None)]),
    ],
)
def test_changed_points(
    old: Path,
    tmp_path: Path,
    rows: Rows,
    archive: str,
    change: Callable[[Rows, int], None],
    expected: list[tuple[str, str | None]],
) -> None:
    change(rows, find(rows, "b", archive))
    found = differences(old, written(tmp_path / "new", rows))
    assert sorted((row["change"], row["columns"]) for row in found) == expected
    assert {(row["objectid"], row["archive"]) for row in found} == {("b", archive)}


def test_values_before_and_after(old: Path, tmp_path: Path, rows: Rows) -> None:
    place = find(rows, "a", "ztf")
    rows[place] = rows[place] | {"native_value": 1.5, "flux_mjy": None}
    (row,) = differences(old, written(tmp_path / "new", rows))
    assert (row["native_value_old"], row["native_value_new"]) == (18.9, 1.5)
    assert (row["flux_mjy_old"], row["flux_mjy_new"]) == (0.1, None)
    assert (row["time_mjd"], row["survey_object_id"]) == (58002.0, "7")


def test_ignored_columns(old: Path, tmp_path: Path, rows: Rows) -> None:
    for place, row in enumerate(rows):
        rows[place] = row | {"match_arcsec": 0.3, "native_err": 0.2}
    new = written(tmp_path / "new", rows)
    assert {row["columns"] for row in differences(old, new)} == {"native_err,match_arcsec"}
    found = differences(old, new, ("match_arcsec",))
    assert {row["columns"] for row in found} == {"native_err"}
    assert differences(old, new, ("native_err", "match_arcsec")) == []
    with pytest.raises(ResultError, match="'band' cannot be ignored"):
        Comparison(old, new, ("band",))


def test_states(old: Path, tmp_path: Path, rows: Rows) -> None:
    kept = [row for row in rows if (row["objectid"], row["archive"]) != ("a", "nsc")]
    found = differences(old, written(tmp_path / "new", kept))
    assert [row["change"] for row in found] == ["withdrawn"] * 5 + ["state"]
    assert (found[-1]["state_old"], found[-1]["state_new"]) == ("data", "searched_empty")
    ambiguous = differences(old, written(tmp_path / "ambiguous", rows, states={"a": "ambiguous"}))
    assert [(row["change"], row["state_new"]) for row in ambiguous] == [("state", "ambiguous")]


def test_other_shards_are_no_difference(old: Path, tmp_path: Path, rows: Rows) -> None:
    new = written(tmp_path / "new", rows, {"allsky": tuple(PLACES)})
    assert differences(old, new) == []
    assert differences(new, old) == []


def test_targets_of_one_run_alone(old: Path, tmp_path: Path, rows: Rows) -> None:
    kept = [row for row in rows if row["objectid"] != "b"]
    new = written(tmp_path / "new", kept, SHARDS | {"norder0-npix4": ("a",)})
    found = differences(old, new)
    assert [row["change"] for row in found].count("withdrawn") == len(rows_of("b"))
    assert [row["state_new"] for row in found if row["change"] == "state"] == [None] * 3
    assert {row["objectid"] for row in found} == {"b"}
    assert len(differences(new, old)) == len(found)


def test_small_chunks_find_the_same(
    old: Path, tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(0, len(rows), 3):
        rows[place] = rows[place] | {"native_value": 1.5}
    new = written(tmp_path / "new", rows)
    whole = differences(old, new)
    for n_rows in (3, 30):
        monkeypatch.setattr(diff, "_CHUNK_ROWS", n_rows)
        assert sorted(map(str, differences(old, new))) == sorted(map(str, whole))


def test_command(old: Path, tmp_path: Path, rows: Rows) -> None:
    rows[find(rows, 'c, "d"', "ztf")]["native_value"] = 1.5
    rows.pop(find(rows, "a", "nsc"))
    new = written(tmp_path / "new", rows)
    tables = {}
    for suffix in ("parquet", "csv", "ecsv"):
        path = tmp_path / f"changes.{suffix}"
        result = called(old, new, "--output", path)
        assert result.exit_code == 1, result.output
        tables[suffix] = path
    lines = [line.split() for line in result.output.splitlines()]
    assert ["all", "0", "1", "1", "0"] in lines
    assert ["c,", '"d"', "ztf", "0", "1", "0", "0"] in lines
    table = pq.read_table(tables["parquet"])
    assert table.schema.equals(DIFFERENCES, check_metadata=True)
    assert pacsv.read_csv(tables["csv"]).num_rows == table.num_rows == 2
    text = Table.read(tables["ecsv"], format="ascii.ecsv")
    assert text["objectid"].tolist() == table["objectid"].to_pylist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("nowhere",), "nowhere"), (("{old}", "--output", "x.fits"), "suffix is '.fits'")],
)
def test_what_cannot_be_compared(
    old: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = called(old, *(one.format(old=old) for one in arguments))
    assert result.exit_code == 2
    assert message in result.output


def test_summary_keeps_the_targets_with_most_differences() -> None:
    blocks = [
        pa.table(
            {
                "change": ["new"] * number,
                "objectid": [f"t{number}"] * number,
                "archive": ["ztf"] * number,
            }
        )
        for number in (1, 5, 3, 2)
    ]
    summary = Summary(n_listed=2)
    assert len(list(summary.counted(blocks))) == 4
    assert [one[0] for one in summary.most] == ["t5", "t3"]
    assert summary.total == {"new": 11}
