"""A store that answers late: a proxy before rclone, in a process of its own.

``python slow_store.py {http,s3} ROOT PORT_FILE --latency-ms 50 --cut-every 20``: each request waits
that long, and of every so many ranges one breaks off in the middle. ``/-/requests`` tells how many
requests have come.
"""

import argparse
import http.client
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COUNTER = "/-/requests"

_FORWARDED = ("Range", "Accept", "If-Match", "If-None-Match")
_PASSED_ON = ("Content-Type", "Content-Range", "Accept-Ranges", "Last-Modified", "ETag", "Location")
_START_S = 20.0


class _Store(ThreadingHTTPServer):
    """The proxy, with what it counts."""

    daemon_threads = True

    def __init__(self, behind: int, latency_s: float, cut_every: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.latency_s = latency_s
        self.cut_every = cut_every
        self.n_requests = 0
        self._n_ranges = 0
        self._lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients go away."""

    def count(self, is_range: bool) -> bool:
        """Count a request, and tell whether it is to break off."""
        with self._lock:
            self.n_requests += 1
            self._n_ranges += is_range
            return is_range and self.cut_every > 0 and self._n_ranges % self.cut_every == 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Store

    def do_GET(self) -> None:
        if self.path == COUNTER:
            self._send(200, {}, str(self.server.n_requests).encode(), cut=False)
            return
        cut = self.server.count(self.command == "GET" and "Range" in self.headers)
        time.sleep(self.server.latency_s)
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        headers = {name: self.headers[name] for name in _FORWARDED if name in self.headers}
        behind.request(self.command, self.path, headers=headers)
        answer = behind.getresponse()
        kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.headers["Content-Length"]
        self._send(answer.status, kept, answer.read(), cut)
        behind.close()

    do_HEAD = do_GET  # noqa: N815

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: bool) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Run the command line, until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=["http", "s3"])
    parser.add_argument("root", type=Path, help="folder to serve; its folders are the buckets")
    parser.add_argument("port_file", type=Path, help="file to write the port into")
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--cut-every", type=int, default=0, help="0 for never")
    chosen = parser.parse_args()
    # So that the server behind ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("rclone")
    # A store has its ETags ready; rclone would read each file whole to answer a request for it.
    no_hashes = ["--etag-hash", ""] if chosen.protocol == "s3" else []
    command = [
        shutil.which(program) or "rclone",
        *("serve", chosen.protocol, "--addr", f"127.0.0.1:{port}", "--config", "/dev/null"),
        *no_hashes,
        str(chosen.root),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as behind:
        try:
            _wait_for(port)
            store = _Store(port, chosen.latency_ms / 1000, chosen.cut_every)
            chosen.port_file.write_text(str(store.server_port))
            store.serve_forever()
        finally:
            behind.terminate()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
