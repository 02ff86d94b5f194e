"""Locks that end with their process."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightloom.errors import ConfigError
from lightloom.locks import alone, results_lock, taken

HOLDS = """
import sys, time
from pathlib import Path
from lightloom.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    Path(sys.argv[1]).touch()
"""


def holder(log: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(log), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_job_waits_for_that_of_a_killed_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "job.log"
    with holder(log, 0.5) as process, alone(log):
        assert log.exists()
        process.communicate()
    assert "waiting for the end of the job that a killed run has left" in caplog.text


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "job.log", 60) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    started = time.monotonic()
    with alone(tmp_path / "job.log"):
        assert time.monotonic() - started < 5


def test_the_second_to_come_does_not_get_the_folder(tmp_path: Path) -> None:
    first, second = results_lock(tmp_path), results_lock(tmp_path)
    assert taken(first, 0)
    assert not taken(second, 0)
    first.release()
    assert taken(second, 0)
    second.release()


def test_where_nothing_can_be_locked_nothing_is_known_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without_locks)
    lock = results_lock(tmp_path)
    assert taken(lock, 0)
    assert not lock.is_locked
    assert "has no locks" in caplog.text


def test_a_lock_that_is_refused_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(ConfigError, match=r"results/\.lock: found a file that cannot be locked"):
        taken(results_lock(tmp_path / "results"), 0)
