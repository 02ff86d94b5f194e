"""Work that is spread over a cluster, some or all of which is lost meanwhile."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from lightloom.cluster.settings import SETTINGS
from lightloom.config import DaskConfig
from lightloom.errors import ArchiveError, ClusterError, TransientArchiveError
from lightloom.moving.work import spread


def slowly(number: int) -> int:
    if number:
        time.sleep(1)
    return -number


def with_faults(number: int) -> int:
    if number == 3:
        raise ArchiveError("three is not there")
    if number == 5:
        os._exit(1)
    return -number


def deadly_once(folder_and_number: tuple[Path, int]) -> int:
    """Kill the worker, but only the first time."""
    folder, number = folder_and_number
    try:
        (folder / "killed").touch(exist_ok=False)
    except FileExistsError:
        return -number
    os._exit(1)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with (
        # One death is enough to be taken for a killer: each takes seconds.
        dask.config.set(SETTINGS | {"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture
def config(cluster: LocalCluster) -> DaskConfig:
    return DaskConfig("address", address=cluster.scheduler_address, wait_for_workers_s=3.0)


def test_everything_is_done_once(config: DaskConfig) -> None:
    found = dict(spread(slowly, range(8), config, threads=1, mem_mb=1000))
    assert found == {number: -number for number in range(8)}


# A worker that is started anew leaves a warning of its predecessor's connection.
@pytest.mark.filterwarnings("ignore")
def test_the_work_of_a_lost_worker_is_done_again(config: DaskConfig, tmp_path: Path) -> None:
    config = replace(config, wait_for_workers_s=60.0)
    items = [(tmp_path, number) for number in range(4)]
    found = dict(spread(deadly_once, items, config, threads=1, mem_mb=1000))
    assert found == {item: -item[1] for item in items}


@pytest.mark.filterwarnings("ignore")
def test_a_failure_is_that_of_its_item(config: DaskConfig) -> None:
    config = replace(config, wait_for_workers_s=60.0)
    found = dict(spread(with_faults, range(12), config, threads=1, mem_mb=1000))
    failed = {number: found.pop(number) for number in (3, 5)}
    assert str(failed[3]) == "three is not there"
    assert isinstance(failed[5], TransientArchiveError)
    assert "Dask workers died on this task" in str(failed[5])
    assert found == {number: -number for number in range(12) if number not in (3, 5)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_items", [200, 2], ids=["much is left", "nothing waits"])
@pytest.mark.parametrize(
    ("lose", "message"),
    [
        (lambda cluster: cluster.scale(0), r"dask: found no worker that works for 3 s \(none\)"),
        (lambda cluster: cluster.close(), r"dask: lost the scheduler: "),
    ],
    ids=["workers", "scheduler"],
)
def test_a_lost_cluster_ends_the_work(
    cluster: LocalCluster,
    config: DaskConfig,
    lose: Callable[[LocalCluster], None],
    message: str,
    n_items: int,
) -> None:
    found = spread(slowly, range(n_items), config, threads=1, mem_mb=1000)
    assert next(found) == (0, 0)
    lose(cluster)
    with pytest.raises(ClusterError, match=message):
        list(found)
