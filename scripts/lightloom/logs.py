"""The log of a job: everything that it and its children print, one file per attempt."""

import faulthandler
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightloom.errors import LightloomError
from lightloom.locks import alone
from lightloom.printing import printable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Formatter(logging.Formatter):
    """Escapes what archives and tables say: a log is read in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def job_logging(path: str, *, attempt: int) -> Iterator[None]:
    """Send the output of the block into a log file.

    File descriptors are redirected, so that worker processes and compiled code are caught as well.
    Snakemake deletes the log before it tries a job again: a second name, ``<stem>.attempt<N>.log``,
    keeps each attempt's. The block begins when no job of a killed run writes the same outputs.

    Parameters
    ----------
    path : str
        The job's log.
    attempt : int
        Number of the attempt, from 1.

    Raises
    ------
    SystemExit
        With status 1, in place of a `LightloomError`: its message is in the log, without a
        traceback.
    """
    log = Path(path)
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = log.with_name(f"{log.stem}.attempt{attempt}.log")
    sys.stdout.flush()
    sys.stderr.flush()
    # A job that is waited for writes on into its own.
    log.unlink(missing_ok=True)
    with log.open("w", buffering=1) as file:
        terminal = [os.dup(1), os.dup(2)]
        kept.unlink(missing_ok=True)
        os.link(log, kept)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        handler = logging.StreamHandler(file)
        handler.setFormatter(_Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%SZ"))
        logging.Formatter.converter = time.gmtime
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)
        faulthandler.enable(file)
        try:
            with alone(log):
                yield
        except LightloomError as error:
            logging.getLogger("lightloom").error("%s", error)
            raise SystemExit(1) from None
        except Exception:
            logging.getLogger("lightloom").exception("the job failed")
            raise
        finally:
            root.removeHandler(handler)
            logging.captureWarnings(capture=False)
            faulthandler.disable()
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, saved in zip((1, 2), terminal, strict=True):
                os.dup2(saved, descriptor)
                os.close(saved)
