"""A comparison in a process of its own: ``python differences_process.py FOLDER``."""

import json
import sys
import time
from collections import deque
from pathlib import Path

from peaks import peak_mib

from lightloom.diff import Comparison, Summary

folder = Path(sys.argv[1])
summary = Summary()
deque(summary.counted(Comparison(folder / "old", folder / "new").differences()), maxlen=0)
result = {
    "differences": dict(sorted(summary.total.items())),
    "cpu_s": round(time.process_time(), 1),
    "peak_rss_mib": peak_mib("self"),
}
print(json.dumps(result))
