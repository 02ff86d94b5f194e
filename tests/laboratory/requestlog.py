"""The log of requests: one JSON object each, in memory and, if wanted, in a file."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RequestLog:
    """Collects records in the order in which requests end.

    Parameters
    ----------
    path : Path or None
        File to append each record to, as a line of JSON.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._records: list[dict[str, Any]] = []
        # Line-buffered: what ended before a kill is on disk.
        self._file = path.open("a", buffering=1) if path is not None else None

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        with self._lock:
            self._records.append(record)
            if self._file is not None:
                self._file.write(json.dumps(record) + "\n")

    def since(self, start_s: float) -> list[dict[str, Any]]:
        """Return the records of requests that began at or after a Unix time [s]."""
        with self._lock:
            return [record for record in self._records if record["start_s"] >= start_s]

    def clear(self) -> None:
        """Forget all records; the file keeps its own."""
        with self._lock:
            self._records.clear()


def utc_text(time_s: float) -> str:
    """Return a Unix time [s] as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds")
