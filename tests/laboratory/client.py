"""The laboratory in tests: started as a process, controlled over HTTP, stopped for sure."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

#: Longest time [s] to wait for the server's start.
START_S = 30.0
#: Longest time [s] to wait for its end before it is killed.
STOP_S = 5.0
LOOK_S = 0.02


class Laboratory:
    """A running laboratory.

    Parameters
    ----------
    sky : Path
        Folder of the embedded sky.
    port : int
        0 for a free one.
    tokens : mapping of str to str
        By service the token that it demands.
    log : Path or None
        File for the log of requests.
    faults : Path or None
        File with the fault script to begin with.

    Examples
    --------
    >>> with Laboratory(sky) as laboratory:  # doctest: +SKIP
    ...     service = pyvo.dal.TAPService(laboratory.url("nsc") + "/tap")
    """

    def __init__(
        self,
        sky: Path,
        port: int = 0,
        tokens: Mapping[str, str] | None = None,
        log: Path | None = None,
        faults: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "laboratory", "--sky", str(sky)]
        self._command += ["--port", str(port)]
        for service, token in (tokens or {}).items():
            self._command += ["--token", f"{service}={token}"]
        for option, path in (("--log", log), ("--faults", faults)):
            if path is not None:
                self._command += [option, str(path)]
        self._process: subprocess.Popen | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self.base = ""

    def __enter__(self) -> "Laboratory":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Identifier of the server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it listens.

        Raises
        ------
        RuntimeError
            It ended, or did not listen in time; the message has what it printed.
        """
        package = str(Path(__file__).parents[1])
        self._folder = tempfile.TemporaryDirectory(prefix="laboratory-")
        ready, printed = (Path(self._folder.name) / name for name in ("ready", "printed"))
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        with printed.open("w") as stream:
            self._process = subprocess.Popen(
                [*self._command, "--ready", str(ready), "--end-with-input"],
                # Closed by the system if this process is killed.
                stdin=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": path},
            )
        end_s = time.monotonic() + START_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > end_s:
                message = f"the laboratory does not start:\n{printed.read_text()}"
                self.stop()
                raise RuntimeError(message)
            time.sleep(LOOK_S)
        self.base = f"http://127.0.0.1:{json.loads(ready.read_text())['port']}"

    def stop(self) -> None:
        """Stop the server; kill it if it does not end."""
        if self._process is None or self._folder is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None
        self._folder.cleanup()

    def url(self, service: str) -> str:
        """Return the base address of a service, without the protocol's own part."""
        return f"{self.base}/{service}"

    def faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put rules in force instead of the present ones; an empty list heals all."""
        self._ask("/__faults", list(rules))

    def fault_report(self) -> list[dict[str, Any]]:
        """Return the rules with the number of requests concerned and struck."""
        return self._ask("/__faults")

    def log(self, service: str | None = None, since_s: float = 0.0) -> list[dict[str, Any]]:
        """Return the records of requests, in the order in which these ended.

        Parameters
        ----------
        service : str or None
            Only those to this service.
        since_s : float
            Only those that began at or after this Unix time [s].
        """
        records = self._ask(f"/__log?since={since_s!r}")
        return [entry for entry in records if service in (None, entry["service"])]

    def clear_log(self) -> None:
        """Forget all requests so far."""
        self._ask("/__log/clear", [])

    def max_requests_in_window(self, window_s: float = 1.0, service: str | None = None) -> int:
        """Return the largest number of requests that began within any window of time [s]."""
        starts = sorted(record["start_s"] for record in self.log(service))
        largest = first = 0
        for last, start in enumerate(starts):
            while start - starts[first] >= window_s:
                first += 1
            largest = max(largest, last - first + 1)
        return largest

    def max_concurrent(self, service: str | None = None) -> int:
        """Return the largest number of requests that were served at the same time."""
        edges = []
        for record in self.log(service):
            edges += [(record["start_s"], 1), (record["end_s"], -1)]
        # At equal times an end counts first: such requests only touch.
        largest = running = 0
        for _, step in sorted(edges):
            running += step
            largest = max(largest, running)
        return largest

    def _ask(self, path: str, document: Any = None) -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(
            self.base + path, data, {"content-type": "application/json"}
        )
        try:
            with contextlib.closing(urllib.request.urlopen(request, timeout=30)) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error
