"""Bring the plan of a run up to date with its sample, as the Snakefile does (see sample.py)."""

import json
import resource
import sys
import time
from pathlib import Path

began_s, began_cpu_s = time.monotonic(), time.process_time()

import yaml  # noqa: E402 (the imports are measured)

from lightloom.config import load_run  # noqa: E402
from lightloom.plan import sync_plan  # noqa: E402

CONFIG = Path(__file__).parents[2] / "config"

job = json.loads(Path(sys.argv[1]).read_text())
config = yaml.safe_load((CONFIG / "config.yaml").read_text())
config |= yaml.safe_load((CONFIG / "archives.yaml").read_text())
config["results"] = job["results"]
source = {"kind": "table", "path": job["table"], "id": "id", "ra": "ra", "dec": "dec"}
config["sample"] = {"sources": [source]}
plan = sync_plan(load_run(config))
result = {
    "wall_s": round(time.monotonic() - began_s, 2),
    "cpu_s": round(time.process_time() - began_cpu_s, 2),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    "n_targets": plan.n_targets,
    "n_shards": len(plan.shards),
}
Path(sys.argv[2]).write_text(json.dumps(result))
