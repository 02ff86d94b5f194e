"""A run in the background: it outlives who has started it, and ends when it is told to."""

import os
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from lightloom.background import END_S, BackgroundRun, submit
from lightloom.cli import app
from lightloom.errors import ConfigError

SNAKEFILE = """
from lightloom.interruption import end_with_jobs

onstart:
    end_with_jobs()

rule quick:
    output: "quick.txt"
    shell: "touch {output}"

rule slow:
    output: "slow.txt"
    shell: "touch started; sleep 300; touch {output}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def living(session: int) -> list[psutil.Process]:
    """Processes of a session; where nothing reaps orphans, the dead stay listed."""
    return [
        process
        for process in psutil.process_iter()
        if process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session
    ]


def test_a_run_is_waited_for(folder: Path) -> None:
    done = CliRunner().invoke(app, ["submit", "quick", "--", "--cores", "1"])
    assert done.exit_code == 0, done.output
    assert (folder / "quick.txt").exists()
    assert "1 of 1 steps" in done.output
    told = CliRunner().invoke(app, ["submitted"])
    assert told.output.startswith("ended: ")
    assert "it was not running" in CliRunner().invoke(app, ["cancel"]).output


def test_a_run_is_cancelled_with_its_jobs(folder: Path) -> None:
    results = Path("results")
    process = submit(results, "slow", ["--cores", "1"])
    while not (folder / "started").exists():
        assert process.poll() is None
        time.sleep(0.1)
    run = BackgroundRun.read(results)
    assert os.getsid(run.pid) == run.pid != os.getsid(0)
    assert run.describe().startswith("running: ")
    with pytest.raises(ConfigError, match=f"found a running run, process {run.pid}"):
        submit(results, "quick", [])
    assert len(living(run.pid)) > 1
    began = time.monotonic()
    assert run.cancel()
    assert time.monotonic() - began < END_S
    assert process.wait() != 0
    assert not living(run.pid)


def test_there_is_nothing_to_tell_of(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not found, expected the note of a run"):
        BackgroundRun.read(Path("results"))
