"""Servers of the tests that need one."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import pytest
import slurm as slurm_service

from laboratory import Laboratory

# The catalogues are written as those of the unit tests are, and services are asked as in the tests
# of faults.
TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "unit" / "catalogs"), str(TESTS / "faults")]

from fetch_step import FetchStep  # noqa: E402 (it asks as the tests of faults do)

from lightloom.config import DaskConfig  # noqa: E402


def rclone() -> str:
    """The program, as the development environment installs it or the system has it."""
    beside_python = Path(sys.executable).with_name("rclone")
    found = shutil.which(beside_python) or shutil.which("rclone")
    if found is None:
        pytest.skip("rclone is not installed: it serves the S3 store of these tests")
    return found


@contextmanager
def rclone_server(protocol: str, root: Path, *options: str) -> Iterator[str]:
    """Serve a folder, by `s3` the folders in it as buckets, and return the endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [rclone(), "serve", protocol, "--addr", address, "--config", "/dev/null"]
    with subprocess.Popen([*command, *options, str(root)], stderr=subprocess.PIPE) as server:
        try:
            _wait_for(address, server)
            yield f"http://{address}"
        finally:
            server.terminate()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    for _ in range(100):
        if server.poll() is not None:
            assert server.stderr is not None
            pytest.fail(f"rclone ended: {server.stderr.read().decode()}")
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"rclone does not listen at {address}")


@pytest.fixture
def serve_s3(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start an S3 server of the test's folder, with options of rclone; return its endpoint."""
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(rclone_server("s3", tmp_path, *options))


@pytest.fixture(scope="module")
def slurm() -> Iterator[slurm_service.Slurm]:
    """A Slurm of two nodes; see the module of that name."""
    missing = slurm_service.missing()
    if missing:
        pytest.skip(missing)
    with slurm_service.serve() as running:
        yield running


@pytest.fixture(scope="module")
def fetch_step(
    tmp_path_factory: pytest.TempPathFactory, sky: Path, laboratory: Laboratory
) -> Iterator[FetchStep]:
    """Fetches in a folder that has the embedded sky, which is the current one."""
    folder = tmp_path_factory.mktemp("fetch_step")
    (folder / "sky").symlink_to(sky)
    with chdir(folder):
        yield FetchStep(folder, laboratory)


@pytest.fixture(scope="module")
def laptop_digests(fetch_step: FetchStep) -> dict[str, str]:
    """Digests of the parts that jobs with clusters of their own fetch."""
    return fetch_step.digests("laptop", DaskConfig())
