"""A Dask cluster of two hosts, one of which is cut off in the middle of a job."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import hosts
import pytest
from distributed import Client
from fetch_step import FetchStep, dask_section
from service_runs import shard_for

from lightloom.config import DaskConfig

pytestmark = pytest.mark.skipif(bool(reason := hosts.missing()), reason=reason)

#: So slow that a job is under way for some seconds.
SLOW = {"service": "nsc", "action": "slow", "path": "sync", "bytes_per_s": 3000}

#: Requests that the service has seen when the host is cut off: about half of them.
BEFORE = 10
#: After so long a silent connection counts as dead: the least that Dask takes, instead of 30 s.
TIMEOUTS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "12s",
}


@dataclass
class Cluster:
    network: hosts.Hosts
    config: DaskConfig
    service_port: int


@pytest.fixture(scope="module")
def cluster(fetch_step: FetchStep, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("hosts")
    file = folder / "scheduler.json"
    options = {"env": os.environ | TIMEOUTS, "cwd": folder}
    with ExitStack() as stack:
        network = stack.enter_context(hosts.hosts(2))
        port = int(fetch_step.laboratory.base.rpartition(":")[2])
        relayed = stack.enter_context(hosts.relay(network.address, port))

        def kept(process: subprocess.Popen[bytes]) -> None:
            stack.callback(process.wait)
            stack.callback(process.kill)

        log = stack.enter_context((folder / "log").open("wb"))
        options |= {"stdout": log, "stderr": log}
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
        command += ["--host", network.address, "--no-dashboard", "--scheduler-file", str(file)]
        kept(subprocess.Popen(command, **options))
        while not file.exists():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        for name in network.names:
            worker = ("-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard")
            own = ("--nthreads", "1", "--host", network.address_of(name), "--name", name)
            kept(network.start(name, *worker, *own, **options))
        yield Cluster(network, dask_section({"address": address}), relayed)


def test_half_of_the_cluster_is_lost(
    fetch_step: FetchStep, laptop_digests: dict[str, str], cluster: Cluster
) -> None:
    assert fetch_step.fetch("ztf", "hosts", cluster.config) is None
    assert fetch_step.job("ztf", "hosts", cluster.config).digest == laptop_digests["ztf"]
    job = fetch_step.job("nsc", "hosts", cluster.config)
    endpoint = (
        fetch_step.laboratory.base,
        f"http://{cluster.network.address}:{cluster.service_port}",
    )
    job = replace(job, spec=replace(job.spec, endpoint=job.spec.endpoint.replace(*endpoint)))
    fetch_step.laboratory.faults([SLOW])
    fetch_step.laboratory.clear_log()
    try:
        victim = cluster.network.names[0]
        asked_before: list[int] = []

        def cut_off() -> None:
            cluster.network.cut_off(victim)
            asked_before.append(len(fetch_step.laboratory.log("nsc")))

        thread = fetch_step.once_asked(BEFORE, cut_off)
        assert job.fetch(shard_for("nsc", fetch_step.folder / "sky")) is None
        thread.join()
    finally:
        fetch_step.laboratory.faults([])
    assert job.digest == laptop_digests["nsc"]
    # In the middle: as many requests came before, and what the host had begun was begun again.
    (n_before,) = asked_before
    n_after = len(fetch_step.laboratory.log("nsc")) - n_before
    assert n_before >= BEFORE
    assert n_before / 2 <= n_after <= 2 * n_before, (n_before, n_after)
    with Client(cluster.config.address) as client:
        left = client.scheduler_info(n_workers=-1)["workers"].values()
    assert [worker["name"] for worker in left] == cluster.network.names[1:]
