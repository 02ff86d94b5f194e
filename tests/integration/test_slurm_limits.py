"""The limits of a service hold for the jobs on all nodes of a cluster together."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from service_runs import HASTY, load_spec, shard_for
from slurm import Slurm

from laboratory import Laboratory
from lightloom.config import ArchiveSpec

FETCH = Path(__file__).with_name("fetch_on_node.py")
REQUESTS_PER_S = 6
CONCURRENT_REQUESTS = 2
LIMITS = {
    **HASTY,
    "requests_per_s": REQUESTS_PER_S,
    "concurrent_requests": CONCURRENT_REQUESTS,
    "targets_per_query": 1,
}
#: So slow that the requests of several jobs meet.
SLOW = {"service": "nsc", "action": "slow", "path": "sync", "bytes_per_s": 4000}
_END_S = 120.0


@pytest.fixture
def slow_laboratory(laboratory: Laboratory) -> Iterator[Laboratory]:
    laboratory.clear_log()
    laboratory.faults([SLOW])
    yield laboratory
    laboratory.faults([])


def run_jobs(
    slurm: Slurm, spec: ArchiveSpec, sky: Path, folders: dict[str, Path], n_jobs: int
) -> set[str]:
    """Fetch shards on both nodes at the same time; return the nodes that did.

    Jobs that have their results in one folder know of each other.
    """
    shard = shard_for("nsc", sky)
    parts = []
    for number in range(n_jobs):
        node = list(folders)[number % len(folders)]
        part = folders[node] / "parts" / "nsc" / f"{number}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        targets = part.with_suffix(".targets")
        pq.write_table(shard.slice(number * len(shard) // n_jobs, len(shard) // n_jobs), targets)
        asked = {"shard": str(targets), "part": str(part), "spec": spec.as_dict()}
        part.with_suffix(".job.json").write_text(json.dumps(asked))
        command = f"exec {sys.executable} {FETCH} {part.with_suffix('.job.json')}"
        options = [f"--nodelist={node}", "--ntasks=1", "--cpus-per-task=2", "--mem=2000"]
        log = part.with_suffix(".log")
        slurm.call(
            "sbatch", *options, f"--output={log}", f"--chdir={folders[node]}", "--wrap", command
        )
        parts.append(part)
    deadline = time.monotonic() + _END_S
    while slurm.jobs():
        assert time.monotonic() < deadline, slurm.call("squeue")
        time.sleep(0.2)
    for part in parts:
        assert part.exists(), part.with_suffix(".log").read_text()
    return {part.with_suffix(".node").read_text() for part in parts}


def test_limits_hold_across_nodes(
    slurm: Slurm, sky: Path, slow_laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = load_spec("nsc", slow_laboratory, LIMITS)
    nodes = run_jobs(slurm, spec, sky, dict.fromkeys(slurm.nodes, tmp_path / "shared"), 4)
    assert nodes == set(slurm.nodes)
    # A run that asks little would keep to any limit.
    assert len(slow_laboratory.log("nsc")) > 2 * REQUESTS_PER_S
    assert slow_laboratory.max_concurrent("nsc") == CONCURRENT_REQUESTS
    assert slow_laboratory.max_requests_in_window(1.0, "nsc") <= REQUESTS_PER_S

    # Jobs that know nothing of each other exceed them: it is the folder that keeps the limits.
    slow_laboratory.clear_log()
    run_jobs(slurm, spec, sky, {node: tmp_path / node for node in slurm.nodes}, 2)
    assert slow_laboratory.max_concurrent("nsc") > CONCURRENT_REQUESTS
