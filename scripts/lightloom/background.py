"""A run of Snakemake in the background: started, looked at, ended; Snakemake does the work.

The run has a session of its own, so that it outlives the shell and the login that started it, and
leaves a note of itself below its results folder.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil

from lightloom.errors import ConfigError

#: A run that is told to end has so long for it, then it is killed [s].
END_S = 20.0
_POLL_S = 0.2


@dataclass(frozen=True)
class BackgroundRun:
    """A run in the background, as its note describes it.

    Attributes
    ----------
    host : str
        The machine that it was started on.
    pid : int
        Its process, the first of a session of its own.
    created : float
        When the process was created, by its machine's clock [Unix s].
    started_utc : str
    command : list of str
    log : str
        The file with what Snakemake prints.
    """

    host: str
    pid: int
    created: float
    started_utc: str
    command: list[str]
    log: str

    @classmethod
    def read(cls, results: Path) -> Self:
        """Read the note in a results folder.

        Raises
        ------
        ConfigError
            If there is none.
        """
        path = _note(results)
        if not path.exists():
            raise ConfigError(
                f"{path}: not found, expected the note of a run; start one with `lightloom submit`,"
                " or name its results folder with --results"
            )
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def is_running(self) -> bool:
        """Tell whether the run is alive.

        Raises
        ------
        ConfigError
            If it was started on another machine.
        """
        if self.host != socket.gethostname():
            raise ConfigError(
                f"found a run of {self.host}, expected one of this machine,"
                f" {socket.gethostname()}; ask there"
            )
        try:
            process = psutil.Process(self.pid)
            same = process.create_time() == self.created
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def describe(self) -> str:
        """Say in a few lines what it does, with the end of its log."""
        state = "running" if self.is_running() else "ended"
        log = Path(self.log)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        told = [line for line in lines if " steps (" in line or "Nothing to be done" in line]
        return "\n".join(
            [
                f"{state}: process {self.pid} on {self.host}, started {self.started_utc}",
                f"command: {' '.join(self.command)}",
                f"log: {self.log}",
                *(told or lines)[-1:],
            ]
        )

    def cancel(self) -> bool:
        """End it with all its jobs; kill its session if that takes longer than `END_S`.

        Returns
        -------
        bool
            Whether it was running.
        """
        if not self.is_running():
            return False
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while processes := [one for one in psutil.process_iter() if self._has_living(one)]:
            time.sleep(_POLL_S)
            if time.monotonic() > deadline:
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
        return True

    def _has_living(self, process: psutil.Process) -> bool:
        """Tell whether a process belongs to the run; the dead may stay listed for ever."""
        try:
            return os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


def submit(results: Path, target: str, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start Snakemake in the background.

    Parameters
    ----------
    results : Path
        The results folder of the run.
    target : str
        What to make.
    options : sequence of str
        Further options of Snakemake; by default ``--cores all``.

    Returns
    -------
    subprocess.Popen
        The run; its note lies in the results folder.

    Raises
    ------
    ConfigError
        If a run that was started so is still running.
    """
    if _note(results).exists() and (run := BackgroundRun.read(results)).is_running():
        raise ConfigError(
            f"{results}: found a running run, process {run.pid}, expected none;"
            " wait for it, or end it with `lightloom cancel`"
        )
    command = [sys.executable, "-m", "snakemake", *(options or ["--cores", "all"]), "--", target]
    started = datetime.now(UTC)
    log = results / "logs" / "submitted" / f"{started:%Y-%m-%dT%H%M%S}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # The end of a login ends the processes of its session only.
            start_new_session=True,
        )
    run = BackgroundRun(
        host=socket.gethostname(),
        pid=process.pid,
        created=psutil.Process(process.pid).create_time(),
        started_utc=started.isoformat(timespec="seconds"),
        command=command,
        log=str(log),
    )
    _write(_note(results), asdict(run))
    return process


def _note(results: Path) -> Path:
    return results / ".submitted.json"


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    temporary.replace(path)
