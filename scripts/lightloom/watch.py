"""Start a run whenever a table arrives in an inbox.

``lightloom watch inbox`` waits until what has arrived is no
longer being written, runs the command, and waits again. Runs never overlap; what arrives meanwhile
starts the next one. A wrong table is set aside by the run itself (`lightloom.sample.sources`); a
run that fails is tried again, after ever longer waits or when another table arrives.
"""

import logging
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout
from watchfiles import watch as watch_files

from lightloom.errors import LightloomError
from lightloom.sample.sources import arrivals

#: What is run where nothing else is asked for.
DEFAULT_COMMAND = ("snakemake", "--cores", "all")
_LOCK = ".watch.lock"
_LONGEST_RETRY_S = 3600.0

#: Size [bytes] and time of the last change [ns] of each table.
_Tables = dict[Path, tuple[int, int]]

_log = logging.getLogger("lightloom.watch")


class WatchError(LightloomError):
    """An inbox cannot be watched."""


@dataclass(frozen=True)
class Waits:
    """How long to wait [s].

    Attributes
    ----------
    settle_s : float
        Nothing may have changed for so long when a run starts.
    longest_s : float
        A run starts so long after the first change, even if tables keep arriving.
    retry_s : float
        After a failed run; twice as long after each further one, up to an hour.
    """

    settle_s: float = 2.0
    longest_s: float = 30.0
    retry_s: float = 60.0


def watch(folders: Sequence[Path], command: Sequence[str], waits: Waits, stop: Event) -> None:
    """Run a command whenever tables have arrived, until told to stop.

    What lies in the folders at the start counts as having arrived.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        Inboxes.
    command : sequence of str
    waits : Waits
    stop : threading.Event
        Ends the watch; a run under way is waited for.

    Raises
    ------
    SampleError
        If a folder does not exist.
    WatchError
        If a folder is watched already.
    """
    seen = _tables(folders)
    handled: _Tables = {}
    changed_s = time.monotonic()
    first_s: float | None = None
    failures, retry_at_s = 0, float("inf")
    tick_ms = max(10, int(1000 * waits.settle_s / 4))
    with ExitStack() as locks:
        for folder in folders:
            _hold(folder, locks)
        for _ in watch_files(
            *folders,
            recursive=False,
            debounce=tick_ms,
            rust_timeout=tick_ms,
            yield_on_timeout=True,
            stop_event=stop,
        ):
            now_s = time.monotonic()
            # Notices of changes may be lost, on network file systems above all.
            found = _tables(folders)
            if found != seen:
                seen, changed_s = found, now_s
            new = seen.items() - handled.items()
            if not new:
                first_s = None
            elif first_s is None:
                first_s = now_s
            settled = first_s is not None and (
                now_s >= changed_s + waits.settle_s or now_s >= first_s + waits.longest_s
            )
            if not settled and now_s < retry_at_s:
                continue
            _log.info("%d tables have arrived or changed: a run starts", len(new))
            code = _run(command)
            _log.info("the run has ended with code %d", code)
            handled, first_s, retry_at_s = seen, None, float("inf")
            failures = failures + 1 if code else 0
            if code:
                wait_s = min(waits.retry_s * 2 ** (failures - 1), _LONGEST_RETRY_S)
                retry_at_s = time.monotonic() + wait_s
                _log.warning("it is tried again in %g s, or when another table arrives", wait_s)


def _tables(folders: Sequence[Path]) -> _Tables:
    return {path: state for folder in folders for path, state in arrivals(folder).items()}


def _hold(folder: Path, locks: ExitStack) -> None:
    """Hold the lock of a folder, so that nobody else watches it."""
    try:
        locks.enter_context(FileLock(folder / _LOCK, timeout=0))
    except Timeout:
        raise WatchError(
            f"{folder}: found another watch of this inbox, expected none (it holds {_LOCK})"
        ) from None


def _run(command: Sequence[str]) -> int:
    # In a session of its own, so that Ctrl-C reaches it once, from here.
    with subprocess.Popen(command, start_new_session=True) as run:
        try:
            return run.wait()
        except KeyboardInterrupt:
            run.send_signal(signal.SIGINT)
            raise
