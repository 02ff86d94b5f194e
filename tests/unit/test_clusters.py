"""The Dask client of a job: where its workers are, who they are, and that nothing stays behind."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

import lightloom
from lightloom.cluster.client import dask_client
from lightloom.cluster.settings import SETTINGS
from lightloom.cluster.workers import check_versions, versions
from lightloom.config import DaskConfig
from lightloom.errors import ClusterError, ConfigError

JOB = {"threads": 1, "mem_mb": 1000, "n_requests": 1}


def opened(config: DaskConfig, **changes: Any) -> Any:
    return dask_client(config, **JOB | changes)


@pytest.mark.parametrize(
    ("kind", "n_requests", "own_process"),
    [("local", 63, True), ("local", 64, False), ("threads", 1000, True)],
)
def test_small_jobs_stay_in_their_process(kind: str, n_requests: int, own_process: bool) -> None:
    with opened(DaskConfig(kind), threads=2, n_requests=n_requests) as client:
        workers = client.run(os.getpid)
        # It can stop a process of Python 3.11 for good.
        assert not any(client.run(dask.config.get, "distributed.worker.profile.enabled").values())
        assert sum(client.nthreads().values()) == 2
    assert (set(workers.values()) == {os.getpid()}) == own_process
    assert client.status == "closed"


def test_jobs_do_not_get_in_the_way_of_each_other() -> None:
    with opened(DaskConfig("local")) as one, opened(DaskConfig("local")) as other:
        assert one.submit(sum, [1, 2]).result() == other.submit(sum, [2, 1]).result()


@pytest.fixture
def running_cluster() -> Iterator[LocalCluster]:
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
    ):
        yield cluster


def test_a_running_cluster_is_used_and_left_running(
    running_cluster: LocalCluster, tmp_path: Path
) -> None:
    address = running_cluster.scheduler_address
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    for config in (
        DaskConfig("address", address=address),
        DaskConfig("scheduler_file", scheduler_file=str(file)),
    ):
        with opened(config) as client:
            assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (
            DaskConfig("scheduler_file", scheduler_file="no/scheduler.json"),
            ClusterError,
            r"dask\.scheduler_file: no/scheduler\.json cannot be read: No such file",
        ),
        (
            DaskConfig("scheduler_file", scheduler_file=__file__),
            ConfigError,
            r"dask\.scheduler_file: .*py is not the file of a scheduler",
        ),
        (
            DaskConfig("jobqueue", jobqueue={"system": "lsf", "options": {}, "scale": 1}),
            ClusterError,
            r"dask\.jobqueue: found no command bsub, expected it because the system is lsf",
        ),
        (
            DaskConfig("plugin", plugin={"function": "nowhere:Cluster", "options": {}}),
            ConfigError,
            r"dask\.plugin\.function: 'nowhere:Cluster' not found: No module named 'nowhere'",
        ),
        (
            DaskConfig("gateway", gateway={"address": "http://127.0.0.1:9", "options": {}}),
            ClusterError,
            r"dask\.gateway: the cluster cannot be started: Cannot connect to host 127\.0\.0\.1:9",
        ),
        (
            DaskConfig("gateway", gateway={"auth": {"type": "basic", "secret_env": "NO_SECRET"}}),
            ConfigError,
            r"dask\.gateway\.auth: found nothing in NO_SECRET, expected the password or token",
        ),
    ],
)
def test_what_cannot_be_opened_is_said(
    config: DaskConfig, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), opened(config):
        pass


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lightloom.cluster.client.SETTINGS", {"distributed.comm.timeouts.connect": "1s"}
    )
    config = DaskConfig("address", address="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://"), opened(config):
        pass


def test_a_cluster_without_workers_is_not_waited_for_for_ever() -> None:
    options = {"n_workers": 0, "processes": False, "dashboard_address": ":0"}
    plugin = {"function": "distributed:LocalCluster", "options": options}
    config = DaskConfig("plugin", plugin=plugin, wait_for_workers_s=0.2)
    with pytest.raises(ClusterError, match=r"found no worker within 0\.2 s"), opened(config):
        pass


def test_versions_of_workers_are_compared(
    running_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DaskConfig("address", address=running_cluster.scheduler_address)
    here = versions() | {"lightloom": "99", "numpy": "0.1"}
    monkeypatch.setattr("lightloom.cluster.workers.versions", lambda: here)
    monkeypatch.setattr(Client, "run_on_scheduler", lambda *_: here)
    there = versions.__wrapped__()
    monkeypatch.setattr(Client, "run", lambda *_, **__: {"tcp://w:1": there})
    expected = (
        rf"worker tcp://w:1: found lightloom {lightloom.__version__}, numpy {there['numpy']},"
        r" expected lightloom 99, numpy 0\.1;"
    )
    with pytest.raises(ClusterError, match=expected), opened(config):
        pass


def test_a_missing_library_is_a_difference() -> None:
    with pytest.raises(ClusterError, match=r"a worker: found pyarrow none, expected pyarrow 26;"):
        check_versions({"python": "3.12", "pyarrow": "26"}, {"python": "3.12"}, "a worker")


def test_the_cluster_ends_after_sigterm() -> None:
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    plugin = {"function": "distributed:LocalCluster", "options": options}
    clusters = []
    before = signal.getsignal(signal.SIGTERM)

    def be_ended() -> None:
        with opened(DaskConfig("plugin", plugin=plugin)) as client:
            clusters.append(client.cluster)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    with pytest.raises(SystemExit, match="143"):
        be_ended()
    assert [cluster.status.name for cluster in clusters] == ["closed"]
    assert signal.getsignal(signal.SIGTERM) is before
