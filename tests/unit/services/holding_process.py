"""A process that makes a request and never ends it: folder, limits."""

import json
import sys
import time
from pathlib import Path

from lightloom.services.governor import Governor

if __name__ == "__main__":
    folder, limits = sys.argv[1:]
    with Governor(Path(folder), json.loads(limits)).request():
        print("asking", flush=True)
        time.sleep(600)
