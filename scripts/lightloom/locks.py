"""Who may write: one run in a results folder, one job at its outputs.

The locks are the kernel's, so that they end with their process, however it ends. Snakemake's own
lock begins when the Snakefile is read, by which time files were changed; it stays behind a killed
run, and `--unlock` takes it away from one that still runs. Of the jobs of a killed run it knows
nothing.
"""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lightloom.errors import ConfigError

#: A dry run looks at a folder for a moment; a run waits so long for its end [s].
MOMENT_S = 5.0

_LOOK_EVERY_S = 0.1

#: What file systems without locks answer, and those that nobody can write to.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EROFS}

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
        Also true on a file system that has no locks or is read-only: nothing is known of others
        there.

    Raises
    ------
    ConfigError
        If the file cannot be locked for any other reason, as one of somebody else.
    """
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience_s, poll_interval=_LOOK_EVERY_S)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise ConfigError(
                f"{lock.lock_file}: found a file that cannot be locked ({error.strerror}), expected"
                " a folder that you can write to; set `results` to one of your own"
            ) from error
        _log.warning("%s: this file system has no locks: %s", lock.lock_file, error)
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
