"""The probe of a service: once in a while one job asks it for something known."""

import json
import logging
import time
from pathlib import Path

from filelock import FileLock

from lightloom.archives.base import Archive
from lightloom.plan import code_hash, digest_json
from lightloom.services.folders import archive_folder

_log = logging.getLogger(__name__)


def ensure_probed(archive: Archive, valid_s: float) -> None:
    """Probe an archive, unless that was done lately with the same settings and code.

    Jobs that come while another one probes wait for its result. Only success is kept: an archive
    that has been put right is searched at the next attempt.

    Parameters
    ----------
    archive : Archive
    valid_s : float
        For how long a probe holds [s].

    Raises
    ------
    ArchiveError
        What `Archive.probe` raises.
    """
    folder = archive_folder(archive.state, archive.spec)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "probe.json"
    with FileLock(folder / "probe.lock", fallback_to_soft=False):
        # Within the lock: Python 3.11.7 cannot parse in two threads at once (CPython issue 106905).
        asked = [digest_json(archive.spec.settings()), code_hash(archive.spec)]
        if _holds(record, asked, valid_s):
            return
        archive.probe()
        _log.info("%s answers as its entry says", archive.spec.name)
        temporary = record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"asked": asked, "time_s": time.time()}))
        temporary.replace(record)


def _holds(record: Path, asked: list[str], valid_s: float) -> bool:
    try:
        document = json.loads(record.read_text())
        age_s = time.time() - document["time_s"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    return document.get("asked") == asked and 0.0 <= age_s < valid_s
