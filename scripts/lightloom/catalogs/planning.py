"""Which partitions of a catalogue must be read for which targets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightloom.catalogs.geometry import (
    FINEST_ORDER,
    FloatArray,
    IntArray,
    cell_ranges,
    cells_around,
    cells_at,
    circle_ranges,
    neighbourhood_order,
)
from lightloom.catalogs.layouts import Catalog, Partition


@dataclass(frozen=True)
class Search:
    """One partition, and the targets whose circles touch it.

    Attributes
    ----------
    partition : Partition
    target : numpy.ndarray of int64
        Indices into the caller's arrays, ascending.
    ra_deg, dec_deg : numpy.ndarray of float64
        Positions of these targets.
    """

    partition: Partition
    target: IntArray
    ra_deg: FloatArray
    dec_deg: FloatArray

    def only(self, target: IntArray) -> "Search":
        """Return the search for those of its targets that are among ``target``."""
        kept = np.isin(self.target, target)
        return Search(self.partition, self.target[kept], self.ra_deg[kept], self.dec_deg[kept])


def plan_searches(
    catalog: Catalog, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike, radius_arcsec: float
) -> tuple[list[Search], npt.NDArray[np.bool_]]:
    """Return one search per touched partition, so that none is opened twice.

    Parameters
    ----------
    catalog : Catalog
    ra_deg, dec_deg : array_like of float, shape (n_targets,)
        Positions, ICRS, at the catalogue's epoch.
    radius_arcsec : float
        Radius of the circles, at most 36 degrees.

    Returns
    -------
    searches : list of Search
        In the order of the catalogue's partitions.
    outside : numpy.ndarray of bool, shape (n_targets,)
        Targets whose circle touches no partition.

    Raises
    ------
    ValueError
        If a position is not on the sphere, or the radius not in range.
    """
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    wrong = np.flatnonzero(~(np.isfinite(ra) & (np.abs(dec) <= 90)))
    if len(wrong):
        raise ValueError(
            f"target {wrong[0]}: ra_deg is {ra[wrong[0]]}, dec_deg is {dec[wrong[0]]}, "
            "expected a position on the sphere"
        )
    outside = np.ones(len(ra), bool)
    if not len(ra) or not catalog.partitions:
        return [], outside
    target, partition = _touched(catalog.partitions, ra, dec, radius_arcsec)
    outside[target] = False
    by_partition = np.lexsort((target, partition))
    target, partition = target[by_partition], partition[by_partition]
    numbers, first, count = np.unique(partition, return_index=True, return_counts=True)
    searches = []
    for number, start, end in zip(numbers, first, first + count, strict=True):
        members = target[start:end]
        searches.append(Search(catalog.partitions[number], members, ra[members], dec[members]))
    return searches, outside


def _touched(
    partitions: tuple[Partition, ...], ra: FloatArray, dec: FloatArray, radius_arcsec: float
) -> tuple[IntArray, IntArray]:
    """Return the pairs of a target and the number of a partition that its circle touches.

    The cells around a target reach farther than its circle. Where they lie in the target's own
    partition alone they decide; the other targets, few if the radius is small, are looked at again
    with their true circle.
    """
    starts, ends = cell_ranges(
        np.array([partition.pixel for partition in partitions]),
        [partition.order for partition in partitions],
    )
    finest = cells_at(ra, dec, FINEST_ORDER)
    own, own_end = _overlapped(starts, ends, finest, finest + 1)
    order = neighbourhood_order(radius_arcsec)
    target, cell = cells_around(ra, dec, order)
    low, high = _overlapped(starts, ends, *cell_ranges(cell, order))
    elsewhere = (low < high) & ((low != own[target]) | (high != own_end[target]))
    near_border = np.zeros(len(ra), bool)
    near_border[target[elsewhere]] = True
    whole = np.flatnonzero((own < own_end) & ~near_border)
    targets, numbers = [whole], [own[whole]]
    for index in np.flatnonzero(near_border):
        circle = circle_ranges(ra[index], dec[index], radius_arcsec)
        low, high = _overlapped(starts, ends, *circle)
        touched = np.unique(
            np.concatenate([np.arange(*span) for span in zip(low, high, strict=True)])
        )
        targets.append(np.full(len(touched), index))
        numbers.append(touched)
    return np.concatenate(targets), np.concatenate(numbers)


def _overlapped(
    starts: IntArray, ends: IntArray, first: IntArray, end: IntArray
) -> tuple[IntArray, IntArray]:
    """Return, for each range of cells, the half-open range of the partitions that it overlaps."""
    return np.searchsorted(ends, first, side="right"), np.searchsorted(starts, end, side="left")
