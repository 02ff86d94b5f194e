"""Which row groups of a file may hold a source near a target, by the limits in its footer."""

from typing import Any

import numpy as np
import pyarrow as pa

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
    limited = [file.leaf(key.column)] if key else [ra, dec]
    limits: list[list[Any]] = [
        [_limits(file, row_group, leaf) for leaf in limited]
        for row_group in range(file.metadata.num_row_groups)
    ]
    touched = np.array([None in of_group for of_group in limits], bool)
    known = np.flatnonzero(~touched)
    if len(known):
        # By column, lowest and highest.
        values = [
            [limits[row_group][number][end] for row_group in known]
            for number in range(len(limited))
            for end in (0, 1)
        ]
        if key:
            low, high = (key.cells(pa.array(cells, pa.uint64()), targets.order) for cells in values)
            touched[known] = targets.touch(low, high)
        else:
            touched[known] = targets.touch_boxes(*values)
    return np.flatnonzero(touched).tolist()


def _limits(file: CatalogFile, row_group: int, leaf: Leaf) -> tuple[Any, Any] | None:
    (chunk,) = file.chunks(row_group, leaf)
    statistics = chunk.statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return statistics.min, statistics.max
