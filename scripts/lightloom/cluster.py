"""The Dask client of a job."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

import lightloom
from lightloom.config import DaskConfig
from lightloom.errors import ConfigError

#: From this many requests on, starting worker processes (about 2 s of CPU each) pays for itself.
PROCESSES_FROM_REQUESTS = 64

_SETTINGS = {
    # The profiler asks Python for all threads' frames a hundred times a second, which now and then
    # stops the process for good (https://github.com/python/cpython/issues/106883, Python 3.11).
    "distributed.worker.profile.enabled": False,
    # A worker that comes near its memory limit pauses; it spills nothing, as results are small.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.scheduler.allowed-failures": 2,
    "distributed.comm.timeouts.connect": "30s",
}

_log = logging.getLogger(__name__)


@contextmanager
def dask_client(
    config: DaskConfig, *, threads: int, mem_mb: int, n_requests: int
) -> Iterator[Client]:
    """Open the client that a job spreads its requests with, and close it at the end.

    Parameters
    ----------
    config : DaskConfig
        Where the workers are.
    threads : int
        Cores that the job may use.
    mem_mb : int
        Memory that the job may use [MB].
    n_requests : int
        Requests that the job is going to make.

    Raises
    ------
    ConfigError
        If the workers of a running cluster have another version of Lightloom, or none.
    """
    with dask.config.set(_SETTINGS):
        if config.cluster in ("address", "scheduler_file"):
            with Client(address=config.address, scheduler_file=config.scheduler_file) as client:
                _check_workers(client)
                yield client
            return
        processes = config.cluster == "processes" or (
            config.cluster == "auto" and n_requests >= PROCESSES_FROM_REQUESTS
        )
        n_workers = threads if processes else 1
        with (
            LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1 if processes else threads,
                processes=processes,
                memory_limit=f"{mem_mb // n_workers}MB" if processes else 0,
                dashboard_address=":0",
                silence_logs=logging.WARNING,
            ) as cluster,
            Client(cluster) as client,
        ):
            _log.info("%d Dask workers (%s)", n_workers, "processes" if processes else "threads")
            yield client


def _worker_version() -> str:
    return lightloom.__version__


def _check_workers(client: Client) -> None:
    """Refuse workers whose code is not this code."""
    versions = client.run(_worker_version, on_error="return")
    wrong = {
        worker: version for worker, version in versions.items() if version != lightloom.__version__
    }
    if wrong:
        worker, version = next(iter(wrong.items()))
        raise ConfigError(
            f"dask: worker {worker}: found lightloom {version}, expected {lightloom.__version__};"
            " install the same version in the workers' environment"
        )
