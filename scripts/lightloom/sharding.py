"""Shards: spatially contiguous parts of a sample, of bounded size.

A shard is a leaf of the nested HEALPix tree that is split while it holds more than the allowed
number of targets. Its bounds depend on nothing but the number of targets inside, and its content
hash on nothing but its own targets: other targets can come and go without touching it.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: HEALPix order of the positions in `_healpix_29`, the HATS convention.
POSITION_ORDER = 29
#: Leaves of this order (0.2 arcsec) are not split further, whatever they hold.
MAX_ORDER = 20

#: A shard that holds the whole sample.
ALL_SKY = "allsky"


@dataclass(frozen=True)
class Leaf:
    """A shard's place: rows ``start`` to ``stop`` of the sorted sample."""

    name: str
    start: int
    stop: int


def leaf_name(order: int, pixel: int) -> str:
    """Name of the shard on a nested HEALPix pixel, in the terms of HATS."""
    return f"norder{order}-npix{pixel}"


def parse_leaf(name: str) -> tuple[int, int] | None:
    """Return (order, pixel) of a shard name, or None for the whole sky."""
    if name == ALL_SKY:
        return None
    order, pixel = name.removeprefix("norder").split("-npix")
    return int(order), int(pixel)


def is_shard_name(name: str) -> bool:
    """Tell whether a text is a name that `split` gives."""
    return re.fullmatch(rf"{ALL_SKY}|norder\d+-npix\d+", name) is not None


def overlap(first: str, second: str) -> bool:
    """Tell whether the places of two shards have anything in common."""
    places = parse_leaf(first), parse_leaf(second)
    if places[0] is None or places[1] is None:
        return True
    (order, pixel), (finer_order, finer_pixel) = sorted((places[0], places[1]))
    return finer_pixel >> 2 * (finer_order - order) == pixel


def split(cells: NDArray[np.int64], max_targets: int) -> list[Leaf]:
    """Divide a sorted sample into shards.

    Parameters
    ----------
    cells : ndarray of int64, shape (n_targets,)
        Nested HEALPix cells of order 29, ascending.
    max_targets : int
        Most targets in a shard.

    Returns
    -------
    list of Leaf
        Non-empty shards, ascending in position; together they hold every target once.
    """
    if len(cells) == 0:
        return []
    if len(cells) <= max_targets:
        return [Leaf(ALL_SKY, 0, len(cells))]
    return [leaf for pixel in range(12) for leaf in _split_pixel(cells, 0, pixel, max_targets)]


def _split_pixel(
    cells: NDArray[np.int64], order: int, pixel: int, max_targets: int
) -> Iterator[Leaf]:
    shift = 2 * (POSITION_ORDER - order)
    start, stop = (int(i) for i in np.searchsorted(cells, [pixel << shift, (pixel + 1) << shift]))
    if start == stop:
        return
    if stop - start <= max_targets or order == MAX_ORDER:
        yield Leaf(leaf_name(order, pixel), start, stop)
        return
    for child in range(4 * pixel, 4 * pixel + 4):
        yield from _split_pixel(cells, order + 1, child, max_targets)


def content_hash(targets: pa.Table) -> str:
    """Hash what a shard holds, whatever library version wrote its file.

    Parameters
    ----------
    targets : pyarrow.Table
        A shard in the ``SHARD`` schema.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in targets.column_names:
        column = targets[name].combine_chunks()
        digest.update(f"{name}:{len(column)}:".encode())
        if pa.types.is_string(column.type):
            for text in column.to_pylist():
                encoded = text.encode()
                digest.update(f"{len(encoded)}:".encode() + encoded)
        else:
            digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()[:16]
