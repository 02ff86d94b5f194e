"""Services that run beside a run: started, waited for, and gone with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightloom.config import LocalService
from lightloom.errors import ConfigError
from lightloom.local_services import start_services

#: A run that starts a service and goes on until it is killed.
_RUN = """
import signal, sys, time
from pathlib import Path
from lightloom.config import LocalService
from lightloom.local_services import start_services
# Ignored where the tests themselves run in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
port = int(sys.argv[1])
service = LocalService("files", f"python -m http.server --bind 127.0.0.1 {port}", port, {})
start_services([service], Path(sys.argv[2]))
print("started", flush=True)
time.sleep(60)
"""


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def run(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _RUN, str(port), str(tmp_path / "logs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_service_ends_with_its_run(
    run: subprocess.Popen[bytes], port: int, end: signal.Signals
) -> None:
    assert _is_listening(port)
    os.kill(run.pid, end)
    deadline = time.monotonic() + 20
    while _is_listening(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_taken_port(port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", port)):
        service = LocalService("files", "python -m http.server", port, {})
        with pytest.raises(ConfigError, match=rf"services\.files: found port {port} taken"):
            start_services([service], tmp_path)


def test_service_that_does_not_start(port: int, tmp_path: Path) -> None:
    service = LocalService("broken", "python -c 'raise SystemExit(3)'", port, {})
    with pytest.raises(ConfigError, match=r"services\.broken: found exit code 3, expected a serv"):
        start_services([service], tmp_path)
    assert (tmp_path / "broken.log").exists()


def test_environment_of_a_service(port: int, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('found', flush=True)")
    service = LocalService("mine", "python -m mine", port, {"PYTHONPATH": str(tmp_path)})
    with pytest.raises(ConfigError, match="exit code 0"):
        start_services([service], tmp_path)
    assert (tmp_path / "mine.log").read_text() == "found\n"
