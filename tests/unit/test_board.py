"""The board tells done, running, failed, interrupted and waiting jobs apart."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lightloom.archives.base import SOURCES, Answer, Request
from lightloom.board import COMPLETE, FAILED, INCOMPLETE, BoardReader
from lightloom.carry import keep_until_merged
from lightloom.cli import app
from lightloom.config import ArchiveSpec
from lightloom.errors import ResultError
from lightloom.record import read_record
from lightloom.schema import TARGET_ROWS
from lightloom.services.folders import service_folder
from lightloom.unfinished import Attempt, Unfinished
from recorded_run import record_run
from small_run import KEY, SmallRun, lightcurve_row

TARGETS = {"a": (10.0, 20.0), "b": (10.1, 20.1), "c": (10.2, 20.2)}


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    run = SmallRun(tmp_path / "results")
    run.add_shard("allsky", TARGETS)
    record_run(run)
    return run


def begun(run: SmallRun, archive: str) -> Attempt:
    """A fetch that asks about each target alone, and has an answer about two."""
    part = run.results / "parts" / archive / "allsky.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    attempt = Unfinished(part, KEY, 3).new_attempt()
    requests = [Request(np.array([number]), None) for number in range(3)]
    attempt.begin(np.arange(3), requests, np.array([], np.int64))
    for request in requests[:2]:
        answer = Answer(TARGET_ROWS.empty_table(), SOURCES.empty_table())
        attempt.keep(np.arange(3), request, answer)
    return attempt


def made_old(folder: Path) -> None:
    past_s = time.time() - 3600
    for path in folder.rglob("*"):
        os.utime(path, (past_s, past_s))


def test_nothing_has_begun(run: SmallRun) -> None:
    board = BoardReader(run.results).read()
    assert [one.archive for one in board.archives] == ["unwise", "ztf"]
    assert [dict(one.jobs) for one in board.archives] == [{"waiting": 1}, {"waiting": 1}]
    assert board.seconds_left is None
    assert board.exit_code == INCOMPLETE


def test_a_fetch_under_way_counts_its_answers(run: SmallRun) -> None:
    begun(run, "ztf")
    ztf = BoardReader(run.results).read().archives[1]
    assert (dict(ztf.jobs), ztf.done, ztf.targets) == ({"running": 1}, 2, 3)


def test_a_line_that_is_being_written_is_left_out(run: SmallRun) -> None:
    begun(run, "ztf")
    answers = next(run.results.rglob("answers.jsonl"))
    answers.write_text(answers.read_text()[:-20])
    assert BoardReader(run.results).read().archives[1].done == 1


def test_a_silent_fetch_counts_as_interrupted(run: SmallRun) -> None:
    begun(run, "ztf")
    made_old(run.results / "parts")
    board = BoardReader(run.results).read()
    assert dict(board.archives[1].jobs) == {"interrupted": 1}
    assert (board.running, board.archives[1].done) == (0, 2)


def test_a_failed_attempt_counts_until_the_next_one(run: SmallRun) -> None:
    begun(run, "ztf")
    part = run.add_part("ztf", "allsky", [], {"a": "failed"}, {"a": ("transient", "gone")})
    status = json.loads(part.status_path.read_text())
    part.status_path.unlink()
    made_old(run.results / "parts")
    keep_until_merged(part.path, part.path, status)
    board = BoardReader(run.results).read()
    assert dict(board.archives[1].jobs) == {"failed": 1}
    assert (board.failed, board.archives[1].done, board.exit_code) == (1, 2, FAILED)
    begun(run, "ztf")
    assert dict(BoardReader(run.results).read().archives[1].jobs) == {"running": 1}


def test_a_part_of_other_settings_waits(run: SmallRun) -> None:
    part = run.add_part("ztf", "allsky", [])
    reader = BoardReader(run.results)
    assert dict(reader.read().archives[1].jobs) == {"done": 1}
    run.edit_status(part, key={**KEY, "settings_hash": "other"})
    assert dict(reader.read().archives[1].jobs) == {"waiting": 1}


def test_rate_and_time_left_follow_from_the_finished_jobs(run: SmallRun) -> None:
    run.add_part("ztf", "allsky", [lightcurve_row("a", "ztf")])
    board = BoardReader(run.results).read()
    # Half a second for three targets; the other archive is taken for an average one.
    assert board.archives[1].targets_per_s == pytest.approx(6.0)
    assert board.seconds_left == pytest.approx(0.5)


def test_it_is_complete_with_the_manifest(run: SmallRun) -> None:
    for archive in ("unwise", "ztf"):
        run.add_part(archive, "allsky", [])
    assert BoardReader(run.results).read().exit_code == INCOMPLETE
    (run.results / "manifest.json").write_text("{}")
    assert BoardReader(run.results).read().exit_code == COMPLETE


def test_the_governor_is_heard(run: SmallRun) -> None:
    record_run(run, ("fermigbm", "xmm"))
    spec: ArchiveSpec = read_record(run.results).archives["xmm"]
    folder = service_folder(run.results / "parts" / ".services", spec)
    folder.mkdir(parents=True)
    now_s = time.time()
    state = {
        "recent": {"x": [now_s, None], "y": [now_s - 1, now_s]},
        "failures": 3,
        "quiet": {"since_s": now_s, "length_s": 60.0},
        "opened": None,
    }
    (folder / "governor.json").write_text(json.dumps(state))
    (service,) = BoardReader(run.results).read().services
    assert (service.archives, service.under_way, service.failures) == (["fermigbm", "xmm"], 1, 3)
    assert service.left_alone_until is not None


def test_the_command_ends_with_the_code_of_the_board(run: SmallRun) -> None:
    shown = CliRunner().invoke(app, ["status", str(run.results)])
    assert (shown.exit_code, "0 of 6 searches done" in shown.output) == (INCOMPLETE, True)
    as_json = CliRunner().invoke(app, ["status", str(run.results), "--json"])
    assert json.loads(as_json.output)["shards"] == 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"run\.json: not found.*snakemake --cores all"):
        BoardReader(tmp_path).read()


def test_the_record_names_no_store(run: SmallRun) -> None:
    written = json.loads((run.results / "run.json").read_text())
    assert "storage_options" not in json.dumps(written["settings"])
    record = read_record(run.results)
    specs = record.archives.values()
    assert all(not place.storage_options for spec in specs for place in spec.places)
    assert any(len(spec.places) > 1 for spec in specs)
    assert written["read_from"].keys() == set(record.enabled)
