"""The kinds of clusters that the configuration knows: each is opened for a job and closed after."""

import importlib
import json
import logging
import operator
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from distributed import LocalCluster
from distributed.core import Status

from lightloom.config import DaskConfig
from lightloom.errors import ClusterError, ConfigError
from lightloom.services.credentials import read_secret_file

#: How long a batch system may take to take or refuse the first job [s].
_SUBMISSION_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """The size of a job.

    Attributes
    ----------
    threads : int
        Cores that it may use.
    mem_mb : int
        Memory that it may use [MB].
    n_requests : int
        Requests that it is going to make.
    """

    threads: int
    mem_mb: int
    n_requests: int


def open_cluster(config: DaskConfig, job: Job) -> AbstractContextManager[Any]:
    """Open the cluster of a job.

    Parameters
    ----------
    config : DaskConfig
    job : Job

    Returns
    -------
    context manager
        Its value is a cluster or the address of a scheduler, as `distributed.Client` takes it. A
        cluster that was started for the job ends with the context.

    Raises
    ------
    ClusterError
        On entering the context, if the cluster cannot be started.
    ConfigError
        On entering the context, if a setting is wrong.
    """
    return _KINDS[config.cluster](config, job)


@contextmanager
def _local(config: DaskConfig, job: Job) -> Iterator[LocalCluster]:
    processes = config.cluster == "local" and job.n_requests >= config.processes_from_requests
    n_workers = job.threads if processes else 1
    with LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1 if processes else job.threads,
        processes=processes,
        memory_limit=f"{job.mem_mb // n_workers}MB" if processes else 0,
        # Its pages cost every job half a second and 20 MB, and close with the job. Any port: the
        # default one may be a neighbour's.
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.WARNING,
    ) as cluster:
        _log.info("%d Dask workers (%s)", n_workers, "processes" if processes else "threads")
        yield cluster


@contextmanager
def _at_address(config: DaskConfig, _job: Job) -> Iterator[str | None]:
    yield config.address


@contextmanager
def _of_scheduler_file(config: DaskConfig, _job: Job) -> Iterator[str]:
    # Dask itself would wait for the file for ever.
    path = Path(str(config.scheduler_file)).expanduser()
    try:
        address: str = json.loads(path.read_text())["address"]
    except OSError as error:
        raise ClusterError(
            f"dask.scheduler_file: {path} cannot be read: {error.strerror}; expected the file of a"
            " running scheduler (`lightloom cluster start` writes one)"
        ) from error
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"dask.scheduler_file: {path} is not the file of a scheduler: {error!r}"
        ) from error
    yield address


@contextmanager
def _gateway(config: DaskConfig, job: Job) -> Iterator[Any]:
    from aiohttp import ClientError
    from dask_gateway import Gateway, GatewayClusterError, GatewayServerError

    settings = config.gateway or {}
    unreachable = (ClientError, GatewayClusterError, GatewayServerError)
    with _explained("dask.gateway"):
        gateway = Gateway(
            address=settings.get("address"),
            proxy_address=settings.get("proxy_address"),
            auth=_gateway_auth(settings["auth"]) if "auth" in settings else None,
        )
    with _closed_once(gateway, gateway):
        with _explained("dask.gateway", *unreachable):
            name = settings.get("name") or gateway.submit(**settings["options"])
        try:
            _log.info("Dask Gateway cluster %s", name)
            with _explained("dask.gateway", *unreachable):
                cluster = gateway.connect(name)
            with _closed_once(cluster, cluster.gateway):
                if "name" not in settings:
                    _size(cluster, settings, job)
                yield cluster
        finally:
            if "name" not in settings:
                try:
                    gateway.stop_cluster(name)
                except (*unreachable, OSError) as error:
                    _log.error("Dask Gateway cluster %s may still run: %s", name, error)


@contextmanager
def _closed_once(closing: Any, gateway: Any) -> Iterator[None]:
    """Close at the end, and keep dask-gateway from closing once more, which fails (2026.3)."""
    try:
        yield
    finally:
        closing.close()
        del gateway._loop_runner


def _gateway_auth(auth: Mapping[str, str]) -> Any:
    from dask_gateway.auth import BasicAuth, JupyterHubAuth, KerberosAuth

    if auth["type"] == "kerberos":
        return KerberosAuth()
    secret = os.environ.get(auth.get("secret_env", ""), "")
    if not secret and "secret_file" in auth:
        secret = read_secret_file(
            "dask.gateway.auth.secret_file", Path(auth["secret_file"]).expanduser()
        )
    places = [auth[key] for key in ("secret_env", "secret_file") if key in auth]
    if not secret and places:
        raise ConfigError(
            f"dask.gateway.auth: found nothing in {' and '.join(places)}, expected the password or"
            " token of the gateway"
        )
    if auth["type"] == "basic":
        return BasicAuth(auth.get("username"), secret)
    return JupyterHubAuth(secret or None)


@contextmanager
def _jobqueue(config: DaskConfig, job: Job) -> Iterator[Any]:
    import dask_jobqueue

    settings = config.jobqueue or {}
    cluster_class: Any = {
        "slurm": dask_jobqueue.SLURMCluster,
        "pbs": dask_jobqueue.PBSCluster,
        "lsf": dask_jobqueue.LSFCluster,
        "htcondor": dask_jobqueue.HTCondorCluster,
    }[settings["system"]]
    command = cluster_class.job_cls.submit_command
    if shutil.which(command) is None:
        raise ClusterError(
            f"dask.jobqueue: found no command {command}, expected it because the system is"
            f" {settings['system']}"
        )
    as_large_as_the_job = {
        "cores": job.threads,
        "memory": f"{job.mem_mb}MB",
        "scheduler_options": {"dashboard_address": ":0"},
    }
    refusals: SimpleQueue[str] = SimpleQueue()
    with _explained("dask.jobqueue"):
        cluster = cluster_class(
            job_cls=_reporting(cluster_class.job_cls, refusals),
            **as_large_as_the_job | settings["options"],
        )
    with cluster:
        _size(cluster, settings, job)
        with suppress(Empty):
            if refusal := refusals.get(timeout=_SUBMISSION_S):
                raise ClusterError(f"dask.jobqueue: {settings['system']}: {refusal}")
        yield cluster


def _reporting(job_class: Any, refusals: SimpleQueue[str]) -> Any:
    """Return a class of jobs that tell whether they were refused; else only Dask's log does."""

    class ReportingJob(job_class):
        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                # Closing a cluster fails if one of its jobs is neither running nor this.
                self.status = Status.failed
                refusals.put(str(error))
                raise
            refusals.put("")

    return ReportingJob


@contextmanager
def _plugin(config: DaskConfig, _job: Job) -> Iterator[Any]:
    settings = config.plugin or {}
    module, _, name = settings["function"].partition(":")
    try:
        function = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"dask.plugin.function: {settings['function']!r} not found: {error}"
        ) from error
    with function(**settings["options"]) as cluster:
        yield cluster


_KINDS: dict[str, Callable[[DaskConfig, Job], AbstractContextManager[Any]]] = {
    "local": _local,
    "threads": _local,
    "address": _at_address,
    "scheduler_file": _of_scheduler_file,
    "gateway": _gateway,
    "jobqueue": _jobqueue,
    "plugin": _plugin,
}


def _size(cluster: Any, settings: Mapping[str, Any], job: Job) -> None:
    """Ask for workers: never for more than there are requests."""
    if "adapt" in settings:
        limits = {name: min(n, job.n_requests) for name, n in settings["adapt"].items()}
        cluster.adapt(**limits)
    else:
        cluster.scale(min(settings["scale"], job.n_requests))


@contextmanager
def _explained(key: str, *unreachable: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while a cluster is started into an error that names the setting."""
    failures: tuple[type[Exception], ...] = (OSError, RuntimeError, *unreachable)
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error
    except failures as error:
        raise ClusterError(f"{key}: the cluster cannot be started: {error}") from error
