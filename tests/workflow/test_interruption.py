"""A run that is told to end does so with everything it has started, and the next one goes on."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from laboratory import Laboratory
from project import Project
from service_project import services_project

#: How long a run may take to end [s].
END_S = 20.0
HANGS = [{"service": "nsc", "action": "timeout", "seconds": 300}]


@pytest.fixture
def hanging(laboratory: Laboratory) -> Iterator[Laboratory]:
    laboratory.clear_log()
    laboratory.faults(HANGS)
    yield laboratory
    laboratory.faults([])


def wait_until_a_job_hangs(laboratory: Laboratory, run: subprocess.Popen[str]) -> None:
    while not any(rule["applied"] for rule in laboratory.fault_report()):
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.1)


def processes_of(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_a_run_and_its_jobs(
    sky: Path, hanging: Laboratory, tmp_path: Path, number: signal.Signals
) -> None:
    project = services_project(tmp_path / "project", sky, hanging, ["nsc"], retries=0)
    with project.started() as run:
        wait_until_a_job_hangs(hanging, run)
        # It alone is told, as by `kill`; Ctrl-C in a terminal tells its jobs as well.
        told = time.monotonic()
        run.send_signal(number)
        output = run.communicate(timeout=END_S)[0]
    assert time.monotonic() - told < END_S
    assert run.returncode != 0
    assert processes_of(run.pid) == [], output
    assert_goes_on(project, hanging)


def assert_goes_on(project: Project, laboratory: Laboratory) -> None:
    laboratory.faults([])
    again = project.snakemake()
    assert again.returncode == 0, again.output
    assert again.fetches == {"nsc": len(project.shards)}
    assert project.snakemake("--dry-run").nothing_to_do
