"""Services that run beside a run on this machine: started with it, ended with it.

A tunnel to an archive, a proxy, the servers of the embedded sky: whatever its jobs have to reach.
A supervisor of its own (this module as a command) ends the service when the run is gone, however
the run has ended.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lightloom.config import LocalService
from lightloom.errors import ConfigError

_START_S = 30.0
_LOOK_EVERY_S = 0.1
_END_S = 5.0


def start_services(services: Iterable[LocalService], logs: Path) -> None:
    """Start services and wait until they listen; they end when this process does.

    Parameters
    ----------
    services : iterable of LocalService
    logs : Path
        Folder for what they print, a file for each.

    Raises
    ------
    ConfigError
        If a service ends at once, does not listen in time, or finds its port taken.
    """
    for service in services:
        _start(service, logs)


@contextmanager
def running_services(services: Iterable[LocalService], logs: Path) -> Iterator[None]:
    """Run services for as long as the block does.

    Parameters
    ----------
    services : iterable of LocalService
    logs : Path
        Folder for what they print, a file for each.

    Raises
    ------
    ConfigError
        As `start_services`.
    """
    supervisors = []
    try:
        for service in services:
            supervisors.append(_start(service, logs))
        yield
    finally:
        for supervisor in supervisors:
            supervisor.terminate()
        for supervisor in supervisors:
            supervisor.wait()


def _start(service: LocalService, logs: Path) -> subprocess.Popen[bytes]:
    if _is_listening(service.port):
        raise ConfigError(
            f"services.{service.name}: found port {service.port} taken, expected it free;"
            " another run may be using it: wait for it, or choose another port here and in"
            " the endpoints of its archives"
        )
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{service.name}.log"
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "lightloom.local_services", str(os.getpid())]
            + [sys.executable if word == "python" else word for word in _words(service)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | _environment(service),
            # Ctrl-C reaches the run, which may have jobs that still need the service.
            start_new_session=True,
        )
    _wait_until_listening(service, supervisor, log)
    return supervisor


def _words(service: LocalService) -> list[str]:
    return shlex.split(service.command)


def _environment(service: LocalService) -> dict[str, str]:
    """Return the environment of a service; its PYTHONPATH comes before that of the run."""
    environment = dict(service.environment)
    if "PYTHONPATH" in environment and "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    return environment


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_listening(
    service: LocalService, supervisor: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + _START_S
    while not _is_listening(service.port):
        code = supervisor.poll()
        if code is not None or time.monotonic() > deadline:
            supervisor.terminate()
            what = f"exit code {code}" if code is not None else f"none within {_START_S:.0f} s"
            raise ConfigError(
                f"services.{service.name}: found {what}, expected a service that listens on port"
                f" {service.port}; see {log}"
            )
        time.sleep(_LOOK_EVERY_S)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _supervise(run: int, command: list[str]) -> int:
    """Run a command until it ends, the run does or SIGTERM comes, and leave nothing behind."""
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    child = psutil.Popen(command)
    while child.poll() is None and _is_alive(run) and not signals:
        time.sleep(_LOOK_EVERY_S)
    if child.poll() is not None:
        return int(child.returncode)
    family = [*child.children(recursive=True), child]
    for process in family:
        process.terminate()
    for process in psutil.wait_procs(family, timeout=_END_S)[1]:
        process.kill()
    return 0


if __name__ == "__main__":
    sys.exit(_supervise(int(sys.argv[1]), sys.argv[2:]))
