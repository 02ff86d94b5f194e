"""A worker with little memory asks for dense places in pieces, and finds the same."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from small_archives import shard_of, shipped_entry, spec_of

from lightloom.schema import SHARD
from lightloom.sky.dense import DenseSize, Layout, build_dense

FETCH = Path(__file__).parents[1] / "fetching_process.py"

#: One partition with 600,000 epochs of 1,000 targets.
SIZE = DenseSize(n_objects=2000, mean_epochs=300, n_visits=1, n_partitions=1)
SMALL_MB, LARGE_MB = 440, 8000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
def test_a_dense_partition_is_answered_in_pieces(tmp_path: Path) -> None:
    build_dense(tmp_path, SIZE, Layout.PAGED, row_group_rows=100_000, seed=1)
    catalogue = tmp_path / "ztf_dr24_lc-hats"
    sources = ds.dataset(catalogue / "dataset", format="parquet").to_table(
        ["objra", "objdec"], filter=ds.field("filterid") == 1
    )
    shard = tmp_path / "allsky.parquet"
    pq.write_table(shard_of(*(column.to_pylist() for column in sources)).cast(SHARD), shard)
    peaks_mb, targets, parts = {}, {}, {}
    for mem_mb in (SMALL_MB, LARGE_MB):
        limits = {"retries": 0, "threads": 1, "mem_mb": mem_mb}
        part = tmp_path / str(mem_mb) / shard.name
        status = part.with_suffix(".status.json")
        part.parent.mkdir()
        arguments = {
            "paths": {"shard_path": str(shard), "part_path": str(part), "status_path": str(status)},
            "spec": spec_of(shipped_entry("ztf", catalogue, limits=limits)).as_dict(),
            "key": {},
        }
        command = [sys.executable, FETCH, json.dumps(arguments)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks_mb[mem_mb] = int(run.stdout.split()[-1])
        targets[mem_mb] = json.loads(status.read_text())["targets"]
        parts[mem_mb] = part.read_bytes()
    assert parts[SMALL_MB] == parts[LARGE_MB]
    assert targets[SMALL_MB] == targets[LARGE_MB]
    assert targets[SMALL_MB]["n_rows"].count(0) == 0
    assert peaks_mb[SMALL_MB] <= SMALL_MB < peaks_mb[LARGE_MB], peaks_mb
