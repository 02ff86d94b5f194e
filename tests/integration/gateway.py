"""A Dask Gateway on this machine, with its own proxy and its backend of local processes."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

PASSWORD = "only for this test"

_WAIT_S = 30.0
_CONFIGURATION = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = {password!r}
c.DaskGateway.address = "127.0.0.1:{api}"
c.Proxy.address = "127.0.0.1:{proxy}"
c.UnsafeLocalBackend.clusters_directory = {folder!r}
c.UnsafeLocalBackend.sigint_timeout = 3
c.UnsafeLocalBackend.sigterm_timeout = 2
c.ClusterConfig.scheduler_cmd = {scheduler!r}
c.ClusterConfig.worker_cmd = {worker!r}
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_memory = "1 G"
"""


def missing() -> str:
    """Say what is missing to run Dask Gateway here; empty if nothing is."""
    if shutil.which("dask-gateway-server", path=str(Path(sys.executable).parent)) is None:
        return "dask-gateway-server is not installed"
    return ""


@dataclass
class GatewayServer:
    """A running gateway.

    Attributes
    ----------
    url : str
    process : psutil.Process
    """

    url: str
    process: psutil.Process

    def clusters(self) -> list[psutil.Process]:
        """Schedulers and workers that run."""
        return [
            child
            for child in self.process.children()
            if child.status() != psutil.STATUS_ZOMBIE
            and "distributed.cli.dask_" in " ".join(child.cmdline())
        ]


@contextmanager
def serve(folder: Path) -> Iterator[GatewayServer]:
    """Start a gateway, and end it with all of its clusters."""
    api, proxy = _free_ports(2)
    bin_folder = Path(sys.executable).parent
    clusters = folder / "clusters"
    clusters.mkdir(parents=True)
    configuration = folder / "dask_gateway_config.py"
    configuration.write_text(
        _CONFIGURATION.format(
            password=PASSWORD,
            api=api,
            proxy=proxy,
            folder=str(clusters),
            scheduler=[sys.executable, "-m", "distributed.cli.dask_scheduler"],
            worker=[sys.executable, "-m", "distributed.cli.dask_worker"],
        )
    )
    with (folder / "gateway.log").open("wb") as log:
        process = psutil.Popen(
            [str(bin_folder / "dask-gateway-server"), "--config", str(configuration)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{proxy}"
        _wait_for(url, process, folder / "gateway.log")
        yield GatewayServer(url, process)
    finally:
        family = process.children(recursive=True)
        process.terminate()
        for one in psutil.wait_procs([process, *family], timeout=10)[1]:
            one.kill()
        process.wait()


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_for(url: str, process: psutil.Popen, log: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/api/version", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the gateway did not start:\n{log.read_text()}")
