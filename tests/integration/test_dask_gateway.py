"""Jobs with clusters of a Dask Gateway."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gateway
import pytest
from fetch_step import FetchStep, dask_section

from lightloom.cluster.client import dask_client
from lightloom.config import DaskConfig
from lightloom.errors import ClusterError

pytestmark = pytest.mark.skipif(bool(gateway.missing()), reason=gateway.missing())

_FETCH = """
import json, sys
from pathlib import Path
from lightloom.config import DaskConfig
from lightloom.cluster.client import dask_client
if __name__ == "__main__":
    config = DaskConfig(**json.loads(sys.argv[1]))
    with dask_client(config, threads=1, mem_mb=1000, n_requests=1) as client:
        Path("connected").touch()
        client.submit(__import__("time").sleep, 100).result()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gateway.GatewayServer]:
    with gateway.serve(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def config(server: gateway.GatewayServer, monkeypatch: pytest.MonkeyPatch) -> DaskConfig:
    monkeypatch.setenv("GATEWAY_PASSWORD", gateway.PASSWORD)
    auth = {"type": "basic", "username": "observer", "secret_env": "GATEWAY_PASSWORD"}
    section = {"address": server.url, "auth": auth, "adapt": {"minimum": 2, "maximum": 2}}
    return dask_section({"gateway": section})


def wait_until_closed(server: gateway.GatewayServer) -> None:
    deadline = time.monotonic() + 20
    while (running := server.clusters()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running == []


def test_as_on_the_laptop(
    fetch_step: FetchStep,
    laptop_digests: dict[str, str],
    server: gateway.GatewayServer,
    config: DaskConfig,
) -> None:
    assert fetch_step.digests("gateway", config) == laptop_digests
    wait_until_closed(server)


def test_closed_after_an_error(server: gateway.GatewayServer, config: DaskConfig) -> None:
    def fail() -> None:
        with dask_client(config, threads=1, mem_mb=1000, n_requests=1) as client:
            assert server.clusters()
            client.submit(lambda: 1 / 0).result()

    with pytest.raises(ZeroDivisionError):
        fail()
    wait_until_closed(server)


def test_closed_after_sigterm(
    server: gateway.GatewayServer, config: DaskConfig, tmp_path: Path
) -> None:
    section = {"cluster": "gateway", "gateway": config.gateway}
    with subprocess.Popen(
        [sys.executable, "-c", _FETCH, json.dumps(section)], cwd=tmp_path, env=os.environ
    ) as process:
        while not (tmp_path / "connected").exists():
            assert process.poll() is None
            time.sleep(0.05)
        assert server.clusters()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    wait_until_closed(server)


def test_a_wrong_password(config: DaskConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PASSWORD", "guessed")
    with (
        pytest.raises(ClusterError, match=r"dask\.gateway: .*401.*Unauthorized") as error,
        dask_client(config, threads=1, mem_mb=1000, n_requests=1),
    ):
        pass
    assert "guessed" not in str(error.value)
