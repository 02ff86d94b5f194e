"""A fetch in a process of its own, to be killed or weighed: its arguments as JSON.

Prints the peak of the process [MB]; that of getrusage would begin with what its parent has used.
"""

import json
import re
import sys
from pathlib import Path

from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.fetch import fetch_shard

if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    fetch_shard(
        **{name: Path(path) for name, path in arguments["paths"].items()},
        spec=ArchiveSpec.from_dict(arguments["spec"]),
        key=arguments["key"],
        dask_config=DaskConfig(),
        threads=1,
        mem_mb=1000,
        allow_partial=False,
    )
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) * 1024 // 1_000_000 if peak else "unknown")
