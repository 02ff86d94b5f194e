"""The processes of a cluster elsewhere: whether they are there, and the same as here."""

import functools
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distributed import Client

import lightloom
from lightloom.errors import ClusterError

#: Libraries that requests, answers and what is computed from them pass through.
LIBRARIES = ("dask", "distributed", "cloudpickle", "numpy", "pandas", "pyarrow", "astropy")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Lightloom, Python and the key libraries in this process."""
    found = {
        "lightloom": lightloom.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def check_versions(expected: Mapping[str, str], found: Mapping[str, str], where: str) -> None:
    """Refuse a process whose code is not that of the job.

    Parameters
    ----------
    expected, found : mapping of str to str
        What `versions` returns in the job and there.
    where : str
        The process, for the message.

    Raises
    ------
    ClusterError
        If versions differ; the message names each of them.
    """
    wrong = [name for name in expected if found.get(name) != expected[name]]
    if wrong:
        there = ", ".join(f"{name} {found.get(name, 'none')}" for name in wrong)
        here = ", ".join(f"{name} {expected[name]}" for name in wrong)
        raise ClusterError(
            f"dask: {where}: found {there}, expected {here}; install what envs/requirements.lock"
            " lists in the environment of scheduler and workers"
        )


def check_workers(client: Client) -> None:
    """Refuse a scheduler or workers whose code is not this code.

    Raises
    ------
    ClusterError
        If Lightloom is missing there, or if versions differ.
    """
    try:
        found = {"the scheduler": client.run_on_scheduler(versions)}
    except ImportError as error:
        found = {"the scheduler": error}
    found |= {
        f"worker {address}": answer
        for address, answer in client.run(versions, on_error="return").items()
    }
    for where, answer in found.items():
        if isinstance(answer, ImportError):
            raise ClusterError(
                f"dask: {where}: found no lightloom ({answer}), expected {lightloom.__version__};"
                " install it there, or set dask.ship_package: true"
            )
        # A worker that has gone meanwhile is replaced by others, which are checked when they work.
        if not isinstance(answer, Exception):
            check_versions(versions(), answer, where)


def wait_for_workers(client: Client, timeout_s: float) -> None:
    """Wait until a cluster has a worker.

    Raises
    ------
    ClusterError
        If there is none in time, or the scheduler is gone.
    """
    try:
        client.wait_for_workers(1, timeout=timeout_s)
    except TimeoutError:
        raise ClusterError(
            f"dask: found no worker within {timeout_s:g} s, expected at least one; see the logs of"
            " the cluster, or raise dask.wait_for_workers_s if workers wait in a queue"
        ) from None
    except OSError as error:
        raise ClusterError(f"dask: lost the scheduler: {error}") from error


def ship_package(client: Client) -> None:
    """Send this Lightloom to the scheduler and to all workers, also those that come later.

    Parameters
    ----------
    client : distributed.Client
        Of a cluster whose processes have not imported another Lightloom.
    """
    package = Path(lightloom.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / f"lightloom-{lightloom.__version__}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(package.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    file.write(path, path.relative_to(package.parent))
        client.upload_file(str(archive))
