"""The workflow on a real Slurm: the same bytes as on a laptop, whatever dies on the way."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm import Slurm

from laboratory import Laboratory
from project import Project, Run
from service_project import services_project

pytestmark = pytest.mark.timeout(900)

PROFILE = (
    *("--profile", "profiles/slurm"),
    # The files are on this machine, and a test waits for every look at the jobs.
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10"),
)
#: The service does not answer.
HANG = {"service": "nsc", "action": "timeout", "seconds": 300}
#: How long a run may take to end [s].
END_S = 60.0


def run_on(slurm: Slurm, project: Project, *options: str) -> Run:
    return project.snakemake(*PROFILE, *options, environment=slurm.environment)


def started_on(slurm: Slurm, project: Project, *options: str) -> subprocess.Popen[str]:
    return project.started(*PROFILE, *options, environment=slurm.environment)


def wait_for(happened: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    while not happened():
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def laptop(
    sky: Path, laboratory: Laboratory, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Digests of what an undisturbed run on this machine makes."""
    root = tmp_path_factory.mktemp("laptop") / "project"
    project = services_project(root, sky, laboratory, ["nsc"], retries=0)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    return project.digests()


@pytest.fixture
def hanging(
    sky: Path, laboratory: Laboratory, tmp_path: Path
) -> Iterator[tuple[Project, Laboratory]]:
    """A project that asks a service which does not answer one query of two."""
    laboratory.clear_log()
    laboratory.faults([HANG | {"every": 2}])
    project = services_project(
        tmp_path / "project", sky, laboratory, ["nsc"], retries=0, targets_per_query=1
    )
    yield project, laboratory
    laboratory.faults([])


def hangs(laboratory: Laboratory) -> bool:
    return any(rule["applied"] for rule in laboratory.fault_report())


def test_bytes_are_those_of_a_laptop(slurm: Slurm, finished: Project, tmp_path: Path) -> None:
    project = finished.without_results(tmp_path / "project")
    before = slurm.submitted()
    run = run_on(slurm, project)
    assert run.returncode == 0, run.output
    assert project.digests() == finished.digests()
    # The shards of an archive are one job, and so are their merges.
    assert run.fetches == {"ztf": 3, "unwise": 3}
    assert run.jobs["merge_shard"] == 3
    single = run.jobs.total() - 9
    assert slurm.submitted() - before == 2 + 1 + single
    assert slurm.jobs() == []
    assert run_on(slurm, project).nothing_to_do


def test_signals_end_the_jobs_in_the_queue(
    slurm: Slurm, hanging: tuple[Project, Laboratory], laptop: dict[str, str]
) -> None:
    project, laboratory = hanging
    for number in (signal.SIGINT, signal.SIGTERM):
        with started_on(slurm, project) as run:
            wait_for(lambda: hangs(laboratory), run)
            told = time.monotonic()
            run.send_signal(number)
            output = run.communicate(timeout=END_S)[0]
            while slurm.jobs() or slurm.processes_of_jobs():
                assert time.monotonic() - told < END_S, output
                time.sleep(0.1)
        assert run.returncode != 0
        # The next run goes on from there, and does not get to its end either.
        laboratory.faults([HANG])

    # Nobody ends the jobs of a run that is killed outright, until the next one does: it leaves no
    # second writer.
    with started_on(slurm, project) as run:
        wait_for(lambda: hangs(laboratory), run)
        run.kill()
    left = slurm.jobs()
    assert left
    unlocked = project.snakemake("--unlock")
    assert unlocked.returncode == 0, unlocked.output
    assert_goes_on(slurm, project, laboratory, laptop)
    log = (slurm.folder / "slurmctld.log").read_text()
    assert f"REQUEST_KILL_JOB JobId={left[0]} " in log
    assert run_on(slurm, project, "--dry-run").nothing_to_do


def test_a_killed_node_and_a_killed_job(
    slurm: Slurm, hanging: tuple[Project, Laboratory], laptop: dict[str, str]
) -> None:
    project, laboratory = hanging
    with started_on(slurm, project) as run:
        wait_for(lambda: hangs(laboratory), run)
        (node,) = slurm.call("squeue", "--noheader", "--format=%N").split()
        slurm.kill_node(node)
        # As a health check of the cluster does, or the controller itself after SlurmdTimeout.
        slurm.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        output = run.communicate()[0]
    slurm.start_node(node)
    assert run.returncode != 0
    assert f"on failed node {node}" in (slurm.folder / "slurmctld.log").read_text(), output

    # The second run loses a job only.
    laboratory.faults([HANG | {"nth": 2}])
    with started_on(slurm, project) as run:
        wait_for(lambda: hangs(laboratory), run)
        for process in slurm.processes_of_jobs():
            if "fetch_lightcurves.py" in " ".join(process.cmdline()):
                process.kill()
        output = run.communicate()[0]
    assert run.returncode != 0, output
    assert_goes_on(slurm, project, laboratory, laptop)


def assert_goes_on(
    slurm: Slurm, project: Project, laboratory: Laboratory, laptop: dict[str, str]
) -> None:
    """The next run completes what is missing: nothing is lost, and nothing doubled."""
    laboratory.faults([])
    again = run_on(slurm, project)
    assert again.returncode == 0, again.output
    assert project.digests() == laptop
    assert slurm.jobs() == []
