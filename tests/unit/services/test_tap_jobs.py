"""Jobs of a TAP service: gone on with after a kill, asked anew if they are gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from small_archives import shard_of
from small_services import ask, positions, rows_of, service_spec, write_tables

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.config import ArchiveSpec
from lightloom.errors import ArchiveDownError, BadRequestError, TransientArchiveError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(write_tables(tmp_path_factory.mktemp("sky"))) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(running: Laboratory) -> Laboratory:
    running.faults([])
    running.clear_log()
    return running


@pytest.fixture
def spec(laboratory: Laboratory) -> ArchiveSpec:
    """Every question is a job."""
    return service_spec(laboratory, "nsc", limits={"sync_targets": 0})


def slow_job(seconds: float) -> dict[str, Any]:
    """The fault that the first job to be started takes some time."""
    started = {"path": "/phase$", "method": "POST", "first": 1}
    return {"action": "job_seconds", "seconds": seconds, **started}


def _submissions(laboratory: Laboratory) -> list[str]:
    return [
        record["path"]
        for record in laboratory.log("nsc")
        if record["method"] == "POST" and record["path"].endswith("/async")
    ]


def _records(state: Path) -> list[Path]:
    return sorted(state.rglob("jobs/*.json"))


def _job_url(state: Path) -> str:
    (record,) = _records(state)
    return str(json.loads(record.read_text())["url"])


def _phase(state: Path) -> str:
    """Phase of the only job, empty if there is none yet."""
    return requests.get(f"{_job_url(state)}/phase", timeout=5).text if _records(state) else ""


def _kill_while_a_job_runs(spec: ArchiveSpec, state: Path) -> None:
    """Ask in a process, and kill it as soon as its first job runs."""
    entry = state / "entry.json"
    entry.write_text(json.dumps(spec.as_dict()))
    folders = [HERE.parents[1], HERE.parents[2] / "scripts", HERE.parent / "archives"]
    path = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, HERE / "job_process.py", entry, state],
        env=os.environ | {"PYTHONPATH": path},
    )
    try:
        end_s = time.monotonic() + 60
        while _phase(state) not in ("QUEUED", "EXECUTING"):
            assert process.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_job_of_a_killed_process_is_gone_on_with(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    _, plain = ask(spec, tmp_path / "plain", *positions())
    laboratory.clear_log()
    laboratory.faults([slow_job(2.0)])
    _kill_while_a_job_runs(spec, tmp_path)
    assert len(_submissions(laboratory)) == 1
    laboratory.faults([])
    _, answers = ask(spec, tmp_path, *positions())
    # The job for the objects; the one for the targets is the one of the killed process.
    assert len(_submissions(laboratory)) == 2
    pd.testing.assert_frame_equal(rows_of(answers), rows_of(plain))
    assert not _records(tmp_path)


def test_job_that_was_not_started_is_started_by_the_next_attempt(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "status", "path": "/phase$", "method": "POST", "first": 1}])
    with pytest.raises(TransientArchiveError, match="503"):
        ask(spec, tmp_path, *positions())
    assert _phase(tmp_path) == "PENDING"
    _, answers = ask(spec, tmp_path, *positions())
    assert len(_submissions(laboratory)) == 2
    assert answers[0].rows.num_rows


def test_job_that_takes_too_long_is_gone_on_with_later(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    _, plain = ask(spec, tmp_path / "plain", *positions())
    laboratory.clear_log()
    laboratory.faults([slow_job(2.0)])
    hasty = service_spec(laboratory, "nsc", limits={"sync_targets": 0, "job_timeout_s": 0.3})
    with pytest.raises(ArchiveDownError, match=r"the job is (QUEUED|EXECUTING) after 0\.3 s"):
        ask(hasty, tmp_path, *positions())
    assert len(_records(tmp_path)) == 1
    _, answers = ask(spec, tmp_path, *positions())
    # The job for the targets once, the one for the objects once.
    assert len(_submissions(laboratory)) == 2
    pd.testing.assert_frame_equal(rows_of(answers), rows_of(plain))


def test_failure_while_waiting_leaves_the_job_for_the_next_attempt(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    limits = {"sync_targets": 0, "targets_per_query": 3}
    spec = service_spec(laboratory, "nsc", limits=limits)
    ra_deg, dec_deg = positions()
    _, plain = ask(spec, tmp_path / "plain", ra_deg[3:], dec_deg[3:])
    laboratory.clear_log()
    # The job is looked at when it is made, when it is started, and then to see whether it is done.
    laboratory.faults([{"action": "status", "path": r"/async/\w+$", "method": "GET", "nth": 3}])
    archive, shard = get_archive(spec, tmp_path), shard_of(ra_deg, dec_deg)
    second = archive.plan(shard).requests[1]
    with pytest.raises(TransientArchiveError, match="503"):
        archive.answer(shard, second)
    # A later attempt asks for what failed alone, and numbers it otherwise.
    _, answers = ask(spec, tmp_path, ra_deg[3:], dec_deg[3:])
    assert len(_submissions(laboratory)) == 2
    pd.testing.assert_frame_equal(rows_of(answers), rows_of(plain))


def test_job_that_the_service_has_forgotten_is_asked_anew(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    _, plain = ask(spec, tmp_path / "plain", *positions())
    laboratory.faults([slow_job(2.0)])
    _kill_while_a_job_runs(spec, tmp_path)
    (record,) = _records(tmp_path)
    record.write_text(json.dumps({"url": _job_url(tmp_path)[:-4] + "beef"}))
    laboratory.faults([])
    laboratory.clear_log()
    _, answers = ask(spec, tmp_path, *positions())
    assert len(_submissions(laboratory)) == 2
    pd.testing.assert_frame_equal(rows_of(answers), rows_of(plain))


def test_ended_jobs_are_deleted_on_the_server(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    ask(spec, tmp_path, *positions())
    created = len(_submissions(laboratory))
    deleted = [record for record in laboratory.log("nsc") if record["method"] == "DELETE"]
    assert created == len(deleted) == 2


def test_error_of_a_job_is_the_error_of_the_question(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = service_spec(
        laboratory, "nsc", limits={"sync_targets": 0}, options={"where": "obj.nothing = 1"}
    )
    with pytest.raises(BadRequestError, match="nothing"):
        ask(spec, tmp_path, *positions())
    # It is not gone on with: the next attempt asks anew.
    assert not _records(tmp_path)


def test_job_that_the_service_aborts_is_worth_another_attempt(
    laboratory: Laboratory, spec: ArchiveSpec, tmp_path: Path
) -> None:
    laboratory.faults([slow_job(20.0)])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, spec, tmp_path, *positions())
        end_s = time.monotonic() + 20
        while _phase(tmp_path) not in ("QUEUED", "EXECUTING"):
            assert time.monotonic() < end_s
            time.sleep(0.02)
        requests.post(f"{_job_url(tmp_path)}/phase", {"PHASE": "ABORT"}, timeout=5)
        with pytest.raises(TransientArchiveError, match="the job ended as ABORTED"):
            asked.result()
    _, answers = ask(spec, tmp_path, *positions())
    assert answers[0].rows.num_rows
