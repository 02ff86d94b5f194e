"""The Dask client of a job."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import dask
from distributed import Client

from lightloom.cluster.kinds import Job, open_cluster
from lightloom.cluster.settings import SETTINGS
from lightloom.cluster.workers import check_workers, ship_package, wait_for_workers
from lightloom.config import DaskConfig
from lightloom.errors import ClusterError


@contextmanager
def dask_client(
    config: DaskConfig, *, threads: int, mem_mb: int, n_requests: int
) -> Iterator[Client]:
    """Open the client that a job spreads its requests with, and close it at the end.

    A cluster that was started for the job ends with it, also after an error, Ctrl-C or SIGTERM.

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
    ClusterError
        If the cluster cannot be reached or started, has no workers in time, or if its workers have
        other versions of Lightloom and its libraries.
    ConfigError
        If a setting of the cluster is wrong.
    """
    job = Job(threads, mem_mb, n_requests)
    with (
        dask.config.set(SETTINGS),
        _ended_by_sigterm(),
        open_cluster(config, job) as cluster,
        _connected(cluster) as client,
    ):
        if config.is_elsewhere:
            wait_for_workers(client, config.wait_for_workers_s)
            if config.ship_package:
                ship_package(client)
            check_workers(client)
        yield client


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM raise, as Ctrl-C does, so that what runs elsewhere is ended as well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        # Who asks a second time does not want to wait for anything.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(128 + number)

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextmanager
def _connected(cluster: Any) -> Iterator[Client]:
    try:
        client = Client(cluster)
    except OSError as error:
        where = cluster if isinstance(cluster, str) else type(cluster).__name__
        raise ClusterError(
            f"dask: no scheduler answers at {where}: {error}; is the cluster running, and can it be"
            " reached from here?"
        ) from error
    with client:
        yield client
