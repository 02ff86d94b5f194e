"""A run that is told to end does so with everything it has started, here and in Slurm's queue.

Snakemake waits for running jobs when it is terminated, and an interrupt that reaches it alone does
not reach its jobs. What a killed run has left in the queue is ended by the next one.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil

#: So long have jobs to end by themselves; Slurm grants 30 s by default [s].
_END_S = 8.0
_SCANCEL_S = 60.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: So long has the main thread to act on a signal [s].
_REMIND_S = 0.5


def end_with_jobs() -> None:
    """Let SIGINT and SIGTERM end the run and its processes, killing what lasts longer than 8 s.

    A second signal ends the run at once. Services of this machine are left to their supervisors,
    which end them with the run.
    """
    ending = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        ending.set()
        _end()

    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # Python keeps the number of the descriptor alone, and writes to it until the process ends.
    wakeup = sender.detach()
    for number in _SIGNALS:
        signal.signal(number, end)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    main_thread = threading.get_ident()

    def remind() -> None:
        while receiver.recv(1)[0] not in _SIGNALS:
            continue
        while not ending.wait(_REMIND_S):
            signal.pthread_kill(main_thread, signal.SIGINT)

    # Python runs handlers in the main thread alone. A signal that comes just before that thread
    # begins to wait for its jobs, or that another thread gets, does not wake it: it is repeated.
    threading.Thread(target=remind, daemon=True).start()


def _end() -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    family = _processes_of_jobs()
    for process in family:
        _tell(process, signal.SIGTERM)
    # The interpreter may not wait for this thread: the run ends once its jobs have.
    threading.Thread(target=_kill, args=(family,), daemon=True).start()
    raise KeyboardInterrupt


def _processes_of_jobs() -> list[psutil.Process]:
    session = os.getsid(0)
    return [child for child in psutil.Process().children(recursive=True) if _in(child, session)]


def _in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session
    except ProcessLookupError:
        return False


def _tell(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _kill(processes: list[psutil.Process]) -> None:
    for process in psutil.wait_procs(processes, timeout=_END_S)[1]:
        _tell(process, signal.SIGKILL)


def watch_slurm_jobs(executor: Any, folder: Path) -> None:
    """See to it that no job of the run stays in Slurm's queue after its end.

    Snakemake cancels the jobs that it knows to be active; those that are being submitted or looked
    at when it is interrupted are not among them. All jobs of a run have its identifier as name.

    Parameters
    ----------
    executor : object
        Snakemake's executor; only that of Slurm has a ``run_uuid``.
    folder : Path
        Where the run leaves a note of its name. A note of a run that is no more was left by a kill;
        the jobs of that name are cancelled, since two jobs must not write the same part.
    """
    name = getattr(executor, "run_uuid", None)
    if name is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for note in sorted(folder.glob("*.json")):
        if not _is_running(json.loads(note.read_text(encoding="utf-8"))):
            _cancel(note)
    note = folder / f"{name}.json"
    note.write_text(json.dumps(_this_process()), encoding="utf-8")
    atexit.register(_cancel, note)


def _this_process() -> dict[str, Any]:
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _is_running(process: dict[str, Any]) -> bool:
    """Tell whether a process is alive; one of another host counts as gone, as its lock is."""
    if process["host"] != socket.gethostname():
        return False
    try:
        return bool(psutil.Process(process["pid"]).create_time() == process["started"])
    except psutil.NoSuchProcess:
        return False


def _cancel(note: Path) -> None:
    """Cancel the jobs of a run; the note stays if Slurm does not answer."""
    command = ["scancel", "--quiet", f"--name={note.stem}"]
    if subprocess.run(command, timeout=_SCANCEL_S, check=False).returncode == 0:
        note.unlink()
