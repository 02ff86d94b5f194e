"""A merge in a process of its own: ``python merge_process.py FOLDER SHARD KEY`` (see merge.py)."""

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from peaks import peak_mib

from lightloom.merge import Part, merge_shard

folder, shard, key = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
merged = folder / "merged.parquet"
parts = [
    Part(path.stem, path, path.with_suffix(".status.json"), key)
    for path in sorted((folder / "parts").glob("*.parquet"))
]
merge_shard(
    shard_path=folder / f"{shard}.parquet",
    parts=parts,
    catalogue=[part.archive for part in parts],
    lightcurves_path=merged,
    ledger_path=folder / "ledger.parquet",
    allow_partial=False,
)
result = {
    "rows": pq.read_metadata(merged).num_rows,
    "cpu_s": round(time.process_time(), 1),
    "peak_rss_mib": peak_mib("self"),
}
print(json.dumps(result))
