"""What the jobs have to know of a service that is no archive of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ServiceSpec:
    """A service: as much of an archive's entry as its sessions need.

    Attributes
    ----------
    name : str
        For messages, and for the folder in which its jobs leave each other word.
    endpoint : str
    limits : mapping
        As in the catalogue of archives.
    auth : mapping
        Where its token is found.
    """

    name: str
    endpoint: str
    limits: Mapping[str, Any]
    auth: Mapping[str, str] = field(default_factory=dict)
