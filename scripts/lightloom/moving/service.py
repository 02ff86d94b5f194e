"""What the jobs have to know of a service that is no archive of the catalogue."""

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
    limits : dict
        As in the catalogue of archives.
    auth : dict
        Where its token is found.
    options : dict
        None.
    replies : dict
        None are kept.
    is_replayed : bool
        Never.
    """

    name: str
    endpoint: str
    limits: dict[str, Any]
    auth: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    replies: dict[str, Any] = field(default_factory=dict)
    is_replayed: bool = False
