"""Who may write: one run in a results folder, one job at its outputs.

The locks are the kernel's, so that they end with their process, however it ends. Snakemake's own
lock begins when the Snakefile is read, by which time files were changed; it stays behind a killed
run, and `--unlock` takes it away from one that still runs. Of the jobs of a killed run it knows
nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

#: A dry run looks at a folder for a moment; a run waits so long for its end [s].
MOMENT_S = 5.0

_LOOK_EVERY_S = 0.1

_log = logging.getLogger(__name__)


def results_lock(results: Path) -> FileLock:
    """Return the lock of a results folder; it is held as long as the object is there."""
    return FileLock(results / ".lock", fallback_to_soft=False)


def taken(lock: FileLock, patience_s: float) -> bool:
    """Take a lock, and tell whether nobody else has it.

    Parameters
    ----------
    lock : filelock.FileLock
    patience_s : float
        How long to wait for it [s].

    Returns
    -------
    bool
        Also true where files cannot be locked (a read-only folder, a file system without locks):
        nothing is known of others there.
    """
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience_s, poll_interval=_LOOK_EVERY_S)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        _log.warning("%s cannot be locked: %s", lock.lock_file, error)
    return True


@contextmanager
def alone(log: Path) -> Iterator[None]:
    """Wait for a job with the same log, which a killed run has left: its outputs are the same.

    Parameters
    ----------
    log : pathlib.Path
        The log of the job; the lock lies beside it.
    """
    lock = FileLock(log.with_name(f".{log.stem}.lock"), fallback_to_soft=False)
    if not taken(lock, 0):
        _log.warning("%s: waiting for the end of the job that a killed run has left", log)
        taken(lock, -1)
    try:
        yield
    finally:
        lock.release()
