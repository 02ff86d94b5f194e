"""Workers and schedulers that die in the middle of a job, and the command for a shared cluster."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fetch_step import FetchStep, dask_section

from lightloom.config import DaskConfig
from lightloom.errors import ClusterError
from project import Project

#: So slow that a job is under way for some seconds.
SLOW = {"service": "nsc", "action": "slow", "path": "sync", "bytes_per_s": 3000}

#: Requests that the service has seen when something is killed.
SOME = 4


def cluster(*arguments: str) -> str:
    """Call the command, and return what it prints; what it starts outlives it."""
    done = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", "cluster", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def shared(fetch_step: FetchStep) -> Iterator[Path]:
    """A cluster of two workers, in the folder that the command takes by default."""
    assert "use it with" in cluster("start", "--workers", "2")
    yield Path("results/cluster")
    # A test may have ended all of it.
    cluster("stop")


@pytest.fixture
def config(shared: Path) -> DaskConfig:
    section = {"scheduler_file": str(shared / "scheduler.json"), "wait_for_workers_s": 2}
    return dask_section(section)


def processes(folder: Path) -> list[psutil.Process]:
    """The scheduler and the process that starts the workers."""
    numbers = json.loads((folder / "processes.json").read_text())["processes"]
    return [psutil.Process(number) for number, _ in numbers]


def workers(folder: Path) -> list[psutil.Process]:
    started = processes(folder)[1].children(recursive=True)
    return [process for process in started if "spawn_main" in " ".join(process.cmdline())]


def kill_a_worker(folder: Path) -> None:
    workers(folder)[0].kill()


def kill_all_workers(folder: Path) -> None:
    """Also the nannies, which would start others."""
    above = processes(folder)[1]
    for process in [above, *above.children(recursive=True)]:
        process.kill()


def kill_the_scheduler(folder: Path) -> None:
    processes(folder)[0].kill()


@pytest.fixture
def slow_service(fetch_step: FetchStep) -> Iterator[None]:
    fetch_step.laboratory.faults([SLOW])
    fetch_step.laboratory.clear_log()
    yield
    fetch_step.laboratory.faults([])


def test_the_laptop_and_a_shared_cluster_agree(
    fetch_step: FetchStep, laptop_digests: dict[str, str], config: DaskConfig, shared: Path
) -> None:
    assert fetch_step.digests("shared", config) == laptop_digests
    assert "2, 2 threads" in cluster("status")
    assert "a cluster of this folder is running; `lightloom" in cluster("start")
    running = [*processes(shared), *workers(shared)]
    assert cluster("stop") == "ended\n"
    assert psutil.wait_procs(running, timeout=5)[1] == []
    assert "results/cluster: no cluster of this folder is running; `light" in cluster("status")
    error = fetch_step.fetch("ztf", "stopped", config)
    assert isinstance(error, ClusterError)
    assert "scheduler.json cannot be read: No such file" in str(error)


@pytest.mark.usefixtures("slow_service")
def test_a_killed_worker_is_replaced(
    fetch_step: FetchStep, laptop_digests: dict[str, str], config: DaskConfig, shared: Path
) -> None:
    before = {process.pid for process in workers(shared)}
    thread = fetch_step.once_asked(SOME, lambda: kill_a_worker(shared))
    assert fetch_step.fetch("nsc", "worker", config) is None
    thread.join()
    assert before - {process.pid for process in workers(shared)}
    assert fetch_step.job("nsc", "worker", config).digest == laptop_digests["nsc"]


@pytest.mark.usefixtures("slow_service")
@pytest.mark.parametrize(
    ("kill", "message"),
    [
        (kill_all_workers, r"dask: found no worker that works for 2 s \(none\)"),
        (kill_the_scheduler, r"dask: lost the scheduler: "),
    ],
)
def test_a_lost_cluster_is_reported_and_what_was_answered_is_kept(
    fetch_step: FetchStep,
    laptop_digests: dict[str, str],
    config: DaskConfig,
    shared: Path,
    kill: Callable[[Path], None],
    message: str,
) -> None:
    name = kill.__name__
    thread = fetch_step.once_asked(SOME, lambda: kill(shared))
    start_s = time.monotonic()
    error = fetch_step.fetch("nsc", name, config)
    thread.join()
    assert time.monotonic() - start_s < 60
    with pytest.raises(ClusterError, match=message):
        raise error
    fetch_step.laboratory.faults([])
    n_all = len(fetch_step.laboratory.log("nsc"))
    fetch_step.laboratory.clear_log()
    assert fetch_step.fetch("nsc", name, DaskConfig("threads")) is None
    assert fetch_step.job("nsc", name, config).digest == laptop_digests["nsc"]
    assert n_all >= SOME


def test_a_run_with_a_shared_cluster(project: Project, shared: Path) -> None:
    before = project.digests()
    file = str(shared.resolve() / "scheduler.json")
    fresh = project.without_results(project.root.with_name("fresh"))
    fresh.configure(fresh.configuration | {"dask": {"scheduler_file": file}})
    run = fresh.snakemake()
    assert run.returncode == 0, run.output
    assert fresh.digests() == before
