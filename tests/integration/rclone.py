"""Folders of this machine, served by rclone as an S3 store or as a web server."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
