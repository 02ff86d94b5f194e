"""Long lists in pieces that a service takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield ``size`` items at a time, fewer at the end."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
