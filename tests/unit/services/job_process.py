"""Ask a TAP archive for targets, in a process that the test kills: script <entry> <state> <n>."""

import json
import sys
from pathlib import Path

from small_services import ask, positions

from lightloom.config import ArchiveSpec

if __name__ == "__main__":
    spec = ArchiveSpec.from_dict(json.loads(Path(sys.argv[1]).read_text()))
    ask(spec, Path(sys.argv[2]), *positions())
