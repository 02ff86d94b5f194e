"""Which row groups of a file may hold a source near a target, by the limits in its footer."""

import pyarrow as pa
import pyarrow.parquet as pq

from lightloom.catalogs.files import CatalogFile, Key, Leaf
from lightloom.catalogs.geometry import Neighbourhoods


def touched_row_groups(
    file: CatalogFile, ra: Leaf, dec: Leaf, key: Key | None, targets: Neighbourhoods
) -> list[int]:
    """Return the numbers of the row groups that the limits do not rule out, ascending.

    Parameters
    ----------
    file : CatalogFile
    ra, dec : Leaf
        Columns of the position, whose limits tell if there is no key.
    key : Key, optional
    targets : Neighbourhoods
    """
    return [
        row_group
        for row_group in range(file.metadata.num_row_groups)
        if (
            _box_may_match(file, row_group, ra, dec, targets)
            if key is None
            else _key_may_match(file, row_group, key, targets)
        )
    ]


def _key_may_match(file: CatalogFile, row_group: int, key: Key, targets: Neighbourhoods) -> bool:
    statistics = _statistics(file, row_group, file.leaf(key.column))
    if statistics is None:
        return True
    limits = pa.array([statistics.min, statistics.max], pa.uint64())
    low, high = key.cells(limits, targets.order)
    return bool(targets.touch(low, high))


def _box_may_match(
    file: CatalogFile, row_group: int, ra: Leaf, dec: Leaf, targets: Neighbourhoods
) -> bool:
    in_ra, in_dec = (_statistics(file, row_group, leaf) for leaf in (ra, dec))
    if in_ra is None or in_dec is None:
        return True
    return bool(targets.touch_boxes([in_ra.min], [in_ra.max], [in_dec.min], [in_dec.max])[0])


def _statistics(file: CatalogFile, row_group: int, leaf: Leaf) -> pq.Statistics | None:
    (chunk,) = file.chunks(row_group, leaf)
    if chunk.statistics is None or not chunk.statistics.has_min_max:
        return None
    return chunk.statistics
