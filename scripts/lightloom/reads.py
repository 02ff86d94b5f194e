"""The account of what was read from an archive."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reads:
    """What a search cost.

    Attributes
    ----------
    requests : int
        Requests to the service, repeated ones and those for a file's version included; of local
        files the reads, one for all ranges that are read together.
    bytes : int
        Bytes that they returned, as stored.
    rows : int
        Rows whose key or position was looked at.
    """

    requests: int = 0
    bytes: int = 0
    rows: int = 0

    def __add__(self, other: "Reads") -> "Reads":
        return Reads(
            self.requests + other.requests, self.bytes + other.bytes, self.rows + other.rows
        )
