"""Fetch a shard from a service, as a job on a node of a cluster: ``python fetch_on_node.py FILE``.

The file says what to fetch; what the node is called is written beside the part.
"""

import json
import os
import sys
from pathlib import Path

from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.fetch import fetch_shard

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    part = Path(asked["part"])
    part.with_suffix(".node").write_text(os.environ["SLURMD_NODENAME"])
    fetch_shard(
        shard_path=Path(asked["shard"]),
        part_path=part,
        status_path=part.with_suffix(".status.json"),
        spec=ArchiveSpec.from_dict(asked["spec"]),
        key={"shard_hash": part.stem, "settings_hash": "1", "code_hash": "2"},
        dask_config=DaskConfig("threads"),
        threads=2,
        mem_mb=1000,
        allow_partial=False,
    )
