"""A Dask cluster on this machine that all jobs of a run share, with its dashboard.

Scheduler and workers are Dask's own commands, in the background; a folder holds the scheduler's
file, the process numbers and the logs.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from distributed import Client

from lightloom.cluster.settings import as_environment
from lightloom.errors import ClusterError
from lightloom.storage import write_json

_START_S = 60.0
_ANSWER_S = 10.0
_END_S = 10.0


@dataclass(frozen=True)
class Status:
    """What a running cluster says of itself.

    Attributes
    ----------
    scheduler_file : Path
        What ``dask.scheduler_file`` of the configuration has to be.
    address, dashboard : str
        The scheduler and its web page.
    n_workers, n_threads : int
    memory_bytes : int
        Memory limit of all workers [bytes].
    """

    scheduler_file: Path
    address: str
    dashboard: str
    n_workers: int
    n_threads: int
    memory_bytes: int


def start(
    folder: Path,
    *,
    n_workers: int,
    threads_per_worker: int = 1,
    host: str = "127.0.0.1",
    dashboard_port: int = 0,
) -> Status:
    """Start a cluster in the background and wait for its workers.

    Parameters
    ----------
    folder : Path
        For the scheduler's file and the logs.
    n_workers, threads_per_worker : int
        Worker processes, and threads of each.
    host : str, optional
        Address on which the scheduler listens. Whoever reaches it can run code as this user.
    dashboard_port : int, optional
        0 takes a free one.

    Returns
    -------
    Status

    Raises
    ------
    ClusterError
        If a cluster of this folder runs already, or this one does not start.
    """
    if _running(folder):
        raise ClusterError(
            f"{folder}: a cluster of this folder is running; `lightloom cluster stop` ends it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file = _scheduler_file(folder)
    file.unlink(missing_ok=True)
    processes: list[psutil.Popen] = []
    try:
        processes.append(
            _launch(
                folder,
                "scheduler",
                *("--scheduler-file", str(file), "--host", host, "--port", "0"),
                *("--dashboard-address", f"{host}:{dashboard_port}"),
            )
        )
        _wait_for_file(folder, processes[0])
        processes.append(
            _launch(
                folder,
                "worker",
                *("--scheduler-file", str(file), "--host", host),
                *("--nworkers", str(n_workers), "--nthreads", str(threads_per_worker)),
                *("--local-directory", str(folder / "scratch")),
            )
        )
        with _client(folder, _START_S) as client:
            client.wait_for_workers(n_workers, timeout=_START_S)
    except BaseException as error:
        _end(processes)
        file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ClusterError(f"{folder}: no cluster: {error}; see the logs there") from error
        raise
    write_json(
        _processes_file(folder),
        {"processes": [[process.pid, process.create_time()] for process in processes]},
    )
    return status(folder)


def status(folder: Path) -> Status:
    """Ask a running cluster who its workers are.

    Raises
    ------
    ClusterError
        If no cluster of this folder runs, or its scheduler does not answer.
    """
    if not _running(folder):
        raise ClusterError(
            f"{folder}: no cluster of this folder is running; `lightloom cluster start` starts one"
        )
    try:
        with _client(folder, _ANSWER_S) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            return Status(
                _scheduler_file(folder),
                client.scheduler.address,
                client.dashboard_link,
                len(workers),
                sum(worker["nthreads"] for worker in workers),
                sum(worker["memory_limit"] for worker in workers),
            )
    except OSError as error:
        raise ClusterError(f"{folder}: the scheduler does not answer: {error}") from error


def stop(folder: Path) -> None:
    """End a cluster and everything that it has started.

    Raises
    ------
    ClusterError
        If no cluster of this folder runs.
    """
    running = _running(folder)
    if not running:
        raise ClusterError(
            f"{folder}: no cluster of this folder is running; name another with --folder"
        )
    _end(running)
    for path in (_processes_file(folder), _scheduler_file(folder)):
        path.unlink(missing_ok=True)


def _scheduler_file(folder: Path) -> Path:
    return folder / "scheduler.json"


def _processes_file(folder: Path) -> Path:
    return folder / "processes.json"


def _launch(folder: Path, kind: str, *options: str) -> psutil.Popen:
    with (folder / f"{kind}.log").open("wb") as log:
        return psutil.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | as_environment(),
            # Ctrl-C in the terminal is for what runs there.
            start_new_session=True,
        )


def _wait_for_file(folder: Path, scheduler: psutil.Popen) -> None:
    deadline = time.monotonic() + _START_S
    while not _scheduler_file(folder).exists():
        if scheduler.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(
                f"{folder}: the scheduler has not started; see {folder / 'scheduler.log'}"
            )
        time.sleep(0.05)


def _client(folder: Path, timeout_s: float) -> Client:
    return Client(
        scheduler_file=str(_scheduler_file(folder)), timeout=timeout_s, set_as_default=False
    )


def _running(folder: Path) -> list[psutil.Process]:
    """Return the processes of a folder's cluster that are alive, scheduler first."""
    path = _processes_file(folder)
    if not path.exists():
        return []
    found = []
    for pid, created in json.loads(path.read_text())["processes"]:
        try:
            process = psutil.Process(pid)
            # A process number may belong to somebody else by now.
            if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _end(processes: list[psutil.Process]) -> None:
    # The workers first, while they can still tell the scheduler.
    family = [child for process in processes for child in process.children(recursive=True)]
    for process in reversed(processes):
        process.terminate()
        psutil.wait_procs([process], timeout=_END_S)
    for process in psutil.wait_procs([*processes, *family], timeout=1.0)[1]:
        process.kill()
