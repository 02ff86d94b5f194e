"""Targets in the circles of events: a search on the sphere whose radius is that of each event."""

import numpy as np
from numpy.typing import NDArray

from lightloom.catalogs.geometry import Neighbourhoods, cells_at, separation_arcsec

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

#: Pairs of an event and a target that are looked at together, which bounds the memory.
_PAIRS = 1_000_000

#: Larger circles are compared with every target: cells are of no use to them [arcsec].
_LARGEST_BY_CELLS_ARCSEC = 20 * 3600.0

#: Circles below this count as having it when they are grouped by size [arcsec].
_SMALLEST_ARCSEC = 1.0


def targets_in_circles(
    event_ra_deg: FloatArray,
    event_dec_deg: FloatArray,
    event_radius_arcsec: FloatArray,
    ra_deg: FloatArray,
    dec_deg: FloatArray,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return every pair of an event and a target in its circle.

    Parameters
    ----------
    event_ra_deg, event_dec_deg, event_radius_arcsec : ndarray, shape (n_events,)
        Centres [deg] and radii [arcsec] of the circles; one that is not finite holds nothing.
    ra_deg, dec_deg : ndarray, shape (n_targets,)
        The targets [deg].

    Returns
    -------
    event, target : ndarray of int64
        Indices, one element per pair, ordered by event and target.
    distance_arcsec : ndarray of float64
        Distance of the target from the centre [arcsec].
    """
    known = (
        np.isfinite(event_ra_deg) & np.isfinite(event_dec_deg) & np.isfinite(event_radius_arcsec)
    )
    # Circles of similar size are searched together: the largest of them sets the cells.
    size = np.zeros(len(event_ra_deg))
    size[known] = np.ceil(np.log2(np.maximum(event_radius_arcsec[known], _SMALLEST_ARCSEC)))
    n_together = max(1, _PAIRS // max(1, len(ra_deg)))
    pieces = []
    for radius_arcsec in 2.0 ** np.unique(size[known]):
        of_size = np.flatnonzero(known & (2.0**size == radius_arcsec))
        if radius_arcsec <= _LARGEST_BY_CELLS_ARCSEC:
            near = Neighbourhoods.of(ra_deg, dec_deg, radius_arcsec)
            cell = cells_at(event_ra_deg[of_size], event_dec_deg[of_size], near.order)
            is_near = near.contain(cell)
            of_size, cell = of_size[is_near], cell[is_near]
        for first in range(0, len(of_size), n_together):
            event = of_size[first : first + n_together]
            centre_deg = event_ra_deg[event], event_dec_deg[event]
            if radius_arcsec <= _LARGEST_BY_CELLS_ARCSEC:
                found, target, distance_arcsec = near.match(
                    *centre_deg, cell[first : first + n_together]
                )
            else:
                found, target, distance_arcsec = _all_pairs(*centre_deg, ra_deg, dec_deg)
            inside = distance_arcsec <= event_radius_arcsec[event[found]]
            pieces.append((event[found][inside], target[inside], distance_arcsec[inside]))
    if not pieces:
        return np.array([], np.int64), np.array([], np.int64), np.array([], np.float64)
    event, target, distance_arcsec = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.lexsort((target, event))
    return event[order], target[order], distance_arcsec[order]


def _all_pairs(
    event_ra_deg: FloatArray, event_dec_deg: FloatArray, ra_deg: FloatArray, dec_deg: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    event, target = (
        index.ravel() for index in np.indices((len(event_ra_deg), len(ra_deg)), np.int64)
    )
    distance_arcsec = separation_arcsec(
        ra_deg[target], dec_deg[target], event_ra_deg[event], event_dec_deg[event]
    )
    return event, target, distance_arcsec
