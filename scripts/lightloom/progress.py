"""Lines in a job's log that say how far it is, and when it will have ended."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

#: Time between two lines [s]; `lightloom status` takes a job for dead whose log is silent for long.
INTERVAL_S = 10.0

_log = logging.getLogger(__name__)


class Progress:
    """How much of a job's work is done; whoever does it counts here.

    Parameters
    ----------
    total : int
        How much there is to do.
    what : str
        What is counted, in the plural.
    """

    def __init__(self, total: int, what: str) -> None:
        self.done = 0
        self._total = total
        self._what = what
        self._started_s = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count what has been done."""
        self.done += count

    def __str__(self) -> str:
        took_s = time.monotonic() - self._started_s
        line = f"{self.done} of {self._total} {self._what}"
        if not 0 < self.done < self._total:
            return line
        left_s = took_s / self.done * (self._total - self.done)
        return (
            f"{line} ({100 * self.done / self._total:.0f} %), {self.done / took_s:.3g} per s,"
            f" about {duration(left_s)} left"
        )


@contextmanager
def progress_lines(total: int, what: str, interval_s: float = INTERVAL_S) -> Iterator[Progress]:
    """Log how far the block is, as long as it runs, and at its end.

    The lines come from a thread that sleeps in between, so that they also come while the block
    waits for an archive, and cost nothing.

    Parameters
    ----------
    total : int
        How much there is to do.
    what : str
        What is counted, in the plural, such as ``requests answered``.
    interval_s : float
        Time between two lines [s].

    Yields
    ------
    Progress
        To be advanced.
    """
    progress, ended = Progress(total, what), Event()

    def tell() -> None:
        while not ended.wait(interval_s):
            _log.info("%s", progress)

    thread = Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
    _log.info("%s", progress)


def duration(seconds: float) -> str:
    """Write a time for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s"
    hours, rest_min = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest_min:02d} min"
    return f"{hours // 24} d {hours % 24} h"
