"""The log of requests: one JSON object each, in memory and, if wanted, in a file."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Longest time [s] to wait for a slow client to take the end of its reply.
LONGEST_END_S = 1.0
LOOK_S = 0.002


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
        self._ending: set[object] = set()
        # Line-buffered: what ended before a kill is on disk.
        self._file = path.open("a", buffering=1) if path is not None else None

    def expect(self, reply: object) -> None:
        """Note that the last bytes of a reply are being handed over; its record follows."""
        self._ending.add(reply)

    async def settled(self) -> None:
        """Wait for the records of replies that their clients may have read already."""
        end_s = time.monotonic() + LONGEST_END_S
        while self._ending and time.monotonic() < end_s:
            await asyncio.sleep(LOOK_S)

    def add(self, reply: object, record: dict[str, Any]) -> None:
        """Keep the record of a reply."""
        self._ending.discard(reply)
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
