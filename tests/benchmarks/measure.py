"""Running a job in a process of its own and watching its memory."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

_HERE = Path(__file__).parent
_INTERVAL_S = 0.05


class JobError(Exception):
    """A job ended with an error; the message holds what it has written."""


def run_job(script: str, job: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Run a job to its end.

    Parameters
    ----------
    script : str
        Name of the script beside this one.
    job : mapping
        Its description, JSON-able.
    scratch : pathlib.Path
        An existing folder for its files.

    Returns
    -------
    dict
        The job's result.

    Raises
    ------
    JobError
        If it fails.
    """
    return _watch(script, job, scratch)[0]


def measure_search(job: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Run a search and watch it.

    Parameters
    ----------
    job : mapping
        Its description, JSON-able.
    scratch : pathlib.Path
        An existing folder for its files.

    Returns
    -------
    dict
        The search's result, and ``start_s`` (from the start of the process until the work began),
        ``total_s`` (from the start until the work ended) and ``tree_rss_bytes`` (largest sum over
        the process and its descendants that was seen meanwhile; looked at 20 times a second).

    Raises
    ------
    JobError
        If it fails.
    """
    started_s = time.monotonic()
    result, seen = _watch("search.py", job, scratch)
    start_s = result.pop("work_began_monotonic_s") - started_s
    total_s = start_s + result["wall_s"]
    tree_rss_bytes = max(rss for at_s, rss in seen if at_s <= started_s + total_s)
    return {**result, "start_s": start_s, "total_s": total_s, "tree_rss_bytes": tree_rss_bytes}


def _watch(
    script: str, job: Mapping[str, Any], scratch: Path
) -> tuple[dict[str, Any], list[tuple[float, int]]]:
    """Run a job; return its result, and its memory (bytes) with the time it was looked at."""
    job_path, result_path, log_path = (scratch / f"job{end}" for end in (".json", ".out", ".log"))
    job_path.write_text(json.dumps(job))
    command = [sys.executable, "-W", "ignore", str(_HERE / script), job_path, result_path]
    seen = []
    with (
        log_path.open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            seen.append((time.monotonic(), _tree_rss_bytes(process.pid)))
            time.sleep(_INTERVAL_S)
    if process.returncode:
        raise JobError(f"{script} {json.dumps(job)} failed:\n{log_path.read_text()}")
    return json.loads(result_path.read_text()), seen


def _tree_rss_bytes(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    # A process may end between being found and being looked at.
    except psutil.NoSuchProcess:
        return total
    return total
