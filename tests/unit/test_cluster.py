"""The Dask client of a job."""

import os
from collections.abc import Iterator

import dask
import pytest
from distributed import LocalCluster

import lightloom
from lightloom.cluster import PROCESSES_FROM_REQUESTS, dask_client
from lightloom.config import DaskConfig
from lightloom.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "n_requests", "own_process"),
    [
        ("auto", PROCESSES_FROM_REQUESTS - 1, True),
        ("auto", PROCESSES_FROM_REQUESTS, False),
        ("threads", 1000, True),
    ],
)
def test_small_jobs_stay_in_their_process(kind: str, n_requests: int, own_process: bool) -> None:
    with dask_client(DaskConfig(kind), threads=2, mem_mb=2000, n_requests=n_requests) as client:
        workers = client.run(os.getpid)
        # It can stop a process of Python 3.11 for good.
        assert not any(client.run(dask.config.get, "distributed.worker.profile.enabled").values())
        assert sum(client.nthreads().values()) == 2
    assert (set(workers.values()) == {os.getpid()}) == own_process
    assert client.status == "closed"


@pytest.fixture
def running_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def test_a_running_cluster_is_used_and_left_running(running_cluster: LocalCluster) -> None:
    config = DaskConfig("address", address=running_cluster.scheduler_address)
    for _ in range(2):
        with dask_client(config, threads=1, mem_mb=1000, n_requests=1) as client:
            assert client.submit(sum, [1, 2]).result() == 3


def test_workers_of_another_version_are_refused(
    running_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DaskConfig("address", address=running_cluster.scheduler_address)
    monkeypatch.setattr("lightloom.cluster._worker_version", lambda: "0.0.0")
    expected = rf"found lightloom 0\.0\.0, expected {lightloom.__version__}"
    with (
        pytest.raises(ConfigError, match=expected),
        dask_client(config, threads=1, mem_mb=1000, n_requests=1),
    ):
        pass
