"""The peak memory of every process of a run, as the kernel keeps it.

``ru_maxrss`` is no measure of a child: a process that was started by fork has its parent's peak.
"""

import re
from pathlib import Path

import psutil

_SCRIPT = re.compile(r"\.snakemake/scripts/\w+?\.(\w+)\.py$")
_PEAK = re.compile(r"VmHWM:\s+(\d+)")
_KIB_PER_MIB = 1024


class PeakWatch:
    """Peak resident memory of a process and all its descendants, by what they run.

    Parameters
    ----------
    pid : int
        The process at the root.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peaks: dict[str, float] = {}

    def look(self) -> None:
        """Read the peaks of the processes that are there now."""
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                name = self._name(process)
                mib = peak_mib(process.pid)
            # A process may end between being found and being looked at.
            except (psutil.NoSuchProcess, psutil.ZombieProcess, FileNotFoundError):
                continue
            self._peaks[name] = max(mib, self._peaks.get(name, 0.0))

    def _name(self, process: psutil.Process) -> str:
        words = process.cmdline()
        scripts = [found[1] for word in words if (found := _SCRIPT.search(word))]
        if scripts:
            return str(scripts[0])
        if process.pid == self._root.pid:
            return "controller"
        if any("multiprocessing" in word for word in words):
            return "Dask worker"
        return "other"

    def peaks_mib(self) -> dict[str, float]:
        """Return the largest peak of each kind of process [MiB]."""
        return {name: round(mib, 1) for name, mib in sorted(self._peaks.items())}


def peak_mib(pid: int | str) -> float:
    """Return the peak resident memory of a process [MiB]; `self` is this one."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    # A process that has ended and not been waited for has no memory.
    return int(found[1]) / _KIB_PER_MIB if found else 0.0
