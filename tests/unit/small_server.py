"""A small HTTP server in a thread: each path answers as a test says."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from lightloom.config import ArchiveSpec, load_run

#: Limits with waits that suit a test.
LIMITS: dict[str, Any] = {
    "concurrent_requests": 4,
    "requests_per_s": 500,
    "timeout_s": 30.0,
    "reply_mb": 100,
    "attempts": 3,
    "longest_wait_s": 0.05,
    "breaker_failures": 50,
    "breaker_pause_s": 0.2,
    "probe_valid_s": 60,
}


@dataclass
class Seen:
    """A request as it arrived."""

    time_s: float
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class SmallServer:
    """What the server is to answer, and what it has seen."""

    url: str = ""
    routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            path = urlsplit(handler.path).path
            seen = Seen(time.time(), handler.command, path, dict(handler.headers))
            self.seen.append(seen)
        self.routes[path](handler)

    def work(self, time_s: float) -> None:
        """Be busy for a time; whoever counts after the answer is sent may be overtaken."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(time_s)
        with self._lock:
            self._at_once -= 1

    def most_per_s(self) -> int:
        """Most requests in any window of a second."""
        times = sorted(seen.time_s for seen in self.seen)
        return max(sum(start <= time < start + 1.0 for time in times) for start in times)


@contextmanager
def running_server() -> Iterator[SmallServer]:
    small = SmallServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            small.take(self)

        do_POST = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients go away; that is what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        small.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield small
        finally:
            server.shutdown()
            thread.join()


def answer(
    body: bytes = b"whole", status: int = 200, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with a body; the headers' names have underscores for hyphens."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return send


def service_spec(endpoint: str, **changes: Any) -> SimpleNamespace:
    """The part of a catalogue entry that a session reads."""
    limits = LIMITS | changes.pop("limits", {})
    fields = {"auth": {}, "replies": {}, "is_replayed": False, **changes}
    return SimpleNamespace(name="survey", endpoint=endpoint, limits=limits, **fields)


def counter_spec(endpoint: str, **changes: Any) -> ArchiveSpec:
    """Check an entry of the service `example_archives.counter`, as a run does."""
    entry = {
        "module": "example_archives.counter",
        "title": "A counter",
        "release": "DR1",
        "endpoint": endpoint,
        "layout": "service",
        "query_version": 1,
        "radius_arcsec": 1.0,
        "epoch_jyear": 2016.0,
        "views": {},
        "citation": {"bibcode": "2020AJ....000....1X", "acknowledgement": "A counter"},
        **changes,
    }
    limits = {"retries": 0, "threads": 1, "mem_mb": 1000, **LIMITS}
    entry["limits"] = limits | changes.get("limits", {})
    source = {"kind": "table", "path": "x.csv", "ra": "ra", "dec": "dec"}
    config = {
        "sample": {"sources": [source]},
        "archives": {"counter": {"enabled": True}},
        "catalogue": {"counter": entry},
    }
    return load_run(config).archives["counter"]
