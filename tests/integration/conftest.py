"""Servers of the tests that need one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
import slurm as slurm_service
from rclone import rclone_server

from laboratory import Laboratory

# The catalogues are written as those of the unit tests are, and services are asked as in the tests
# of faults.
TESTS = Path(__file__).parents[1]
SHARED = ("unit", "unit/archives", "unit/catalogs", "unit/laboratory", "faults")
sys.path[:0] = [str(TESTS / folder) for folder in SHARED]

from fetch_step import FetchStep  # noqa: E402 (it asks as the tests of faults do)

from lightloom.config import DaskConfig  # noqa: E402


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
