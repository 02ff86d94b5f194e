"""Hosts of their own in network namespaces of this machine, joined by a bridge."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field


def missing() -> str:
    """Say what is missing to make hosts here; empty if nothing is."""
    if shutil.which("ip") is None:
        return "the command ip (Debian: iproute2) is not installed"
    if os.geteuid() != 0:
        return "network namespaces are made as root only"
    name = f"try{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"network namespaces cannot be made here: {done.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


@dataclass
class Hosts:
    """Hosts on a network that this machine is on as well.

    Attributes
    ----------
    address : str
        This machine, as the hosts see it.
    names : list of str
    """

    address: str
    names: list[str] = field(default_factory=list)

    def address_of(self, name: str) -> str:
        """Address of a host."""
        network, _, _ = self.address.rpartition(".")
        return f"{network}.{self.names.index(name) + 2}"

    def start(self, name: str, *command: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a Python command on a host."""
        return subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, *command],
            stdin=subprocess.DEVNULL,
            **options,
        )

    def cut_off(self, name: str) -> None:
        """Pull the plug: nothing is said to anyone any more."""
        _ip("link", "set", _cable(name), "down")


@contextmanager
def hosts(n_hosts: int = 2) -> Iterator[Hosts]:
    """Make hosts, and remove them in the end; their processes are the caller's.

    Parameters
    ----------
    n_hosts : int, optional

    Yields
    ------
    Hosts
    """
    number = os.getpid()
    bridge = f"llb{number}"
    # A range that is set aside for tests of networks (RFC 2544).
    made = Hosts(f"198.18.{number % 250}.1")
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{made.address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for index in range(n_hosts):
            name = f"llh{index}n{number}"
            made.names.append(name)
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            cable = _cable(name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{made.address_of(name)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        yield made


@contextmanager
def relay(address: str, port: int) -> Iterator[int]:
    """Let the hosts reach a port of this machine's loopback; return the port at its address."""
    with socket.create_server((address, 0)) as server:
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        yield server.getsockname()[1]
        # A blocked accept does not notice that its socket is closed.
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        upstream = socket.create_connection(("127.0.0.1", port))
        for pair in ((client, upstream), (upstream, client)):
            threading.Thread(target=_copy, args=pair, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with source:
        try:
            while piece := source.recv(65_536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # The other direction has ended both.
            target.close()


def _cable(name: str) -> str:
    return f"v{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
