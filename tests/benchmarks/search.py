"""A search by one method in a process of its own: ``python search.py JOB.json RESULT.json``.

The result holds what the work took, and what was found. The method has searched for one target
before: imports, compilation and other costs of a first use are told apart.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from kinds import KINDS, Kind
from methods import Found, Question, compare_on


def run_method(job: dict[str, Any]) -> dict[str, Any]:
    """Search by one method, and tell what it took and what it found."""
    kind = KINDS[job["kind"]]
    method = _method(kind, job["method"])
    question = Question.of(job)
    method(question.about_one_target())
    work_began_monotonic_s = time.monotonic()
    before = _usage(job)
    found = method(question)
    after = _usage(job)
    work = {name: after[name] - before[name] for name in before}
    return {
        **work,
        "largest_process_rss_bytes": _largest_process_rss_bytes(),
        "work_began_monotonic_s": work_began_monotonic_s,
        "accounted": found.accounted,
        "compared": compare_on(kind, found.rows()),
    }


def _method(kind: Kind, name: str) -> Callable[[Question], Found]:
    module, _, function = kind.methods[name].partition(":")
    found: Callable[[Question], Found] = getattr(importlib.import_module(module), function)
    return found


def _usage(job: dict[str, Any]) -> dict[str, float]:
    """Return what this process and those that it has waited for have used."""
    n_requests = 0
    if "counter" in job:
        with urlopen(job["counter"]) as answer:
            n_requests = int(answer.read())
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return {
        "requests": n_requests,
        "wall_s": time.monotonic(),
        "cpu_s": sum(os.times()[:4]),
        "read_bytes": int(counters["rchar"]),
        "disk_bytes": int(counters["read_bytes"]),
    }


def _largest_process_rss_bytes() -> int:
    kibibytes = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return kibibytes * 1024


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    result_path.write_text(json.dumps(run_method(json.loads(job_path.read_text()))))
