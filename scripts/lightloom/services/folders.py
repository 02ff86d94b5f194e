"""Folders in which the jobs of a run leave each other word about services.

Entries with the same endpoint ask the same server: what it can bear is a matter of all of them
together, what they found out about their tables is a matter of each.
"""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from lightloom.config_sources import ServiceSpec


def service_folder(state: Path, spec: ServiceSpec) -> Path:
    """Folder of the governor: the same for all archives with the same endpoint.

    Parameters
    ----------
    state : Path
        Folder shared by the jobs of all services.
    spec : ServiceSpec
    """
    endpoint = spec.endpoint.rstrip("/")
    digest = hashlib.sha256(endpoint.encode()).hexdigest()[:8]
    # The hyphen tells it from the folders of archives, whose names have none.
    return state / f"{urlsplit(endpoint).hostname or 'service'}-{digest}"


def archive_folder(state: Path, spec: ServiceSpec) -> Path:
    """Folder of one archive: its last probe, its jobs at the service, tables it has fetched.

    Parameters
    ----------
    state : Path
        Folder shared by the jobs of all services.
    spec : ServiceSpec
    """
    return state / spec.name
