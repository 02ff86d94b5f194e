"""Files of the future, which a clock leaves that was ahead and has been set back.

Snakemake ends every job with an error whose input is newer than the output that was just written,
and would do so until the clock has caught up.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from lightloom.errors import ConfigError

#: Between two files, of those that had different times of the future [ns].
_GRAIN_NS = 1000

_log = logging.getLogger(__name__)


def bring_back(results: Path) -> int:
    """Give the files of the future the present time, in their order.

    They stay newer than all others. Present is what the file system says, as with several hosts
    their clocks may differ.

    Parameters
    ----------
    results : pathlib.Path
        The results folder; it has to be there.

    Returns
    -------
    int
        Number of such files.

    Raises
    ------
    ConfigError
        If nothing can be written there.
    """
    now_ns = _now_ns(results)
    future = []
    for folder, folders, names in os.walk(results):
        for name in (*folders, *names):
            path = Path(folder, name)
            # Jobs that a killed run has left may still make and remove files.
            with suppress(FileNotFoundError):
                time_ns = path.stat(follow_symlinks=False).st_mtime_ns
                if time_ns > now_ns:
                    future.append((time_ns, path))
    future.sort()
    for age, (_, path) in enumerate(reversed(future)):
        time_ns = now_ns - age * _GRAIN_NS
        with suppress(FileNotFoundError):
            os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)
    if future:
        _log.warning("%s: %d files of the future have the present time now", results, len(future))
    return len(future)


def _now_ns(folder: Path) -> int:
    watch = folder / ".clock"
    try:
        watch.touch()
        now_ns = watch.stat().st_mtime_ns
        watch.unlink()
    except OSError as error:
        raise ConfigError(
            f"{folder}: found a folder that cannot be written ({error.strerror}), expected one for"
            " the results; make room or choose another one with `results`"
        ) from error
    return now_ns
