"""Targets close together share a cone: for services that take one position at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightloom.catalogs.geometry import cells_at, separation_arcsec

#: Order of the cells along whose curve targets are sorted; far finer than any cone.
_SORT_ORDER = 20

#: Factor of a cone's radius, so that rounding at the service loses nothing.
_MARGIN = 1 + 1e-9

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Cone:
    """A circle that holds the search circles of some targets.

    Attributes
    ----------
    target : ndarray of int64
        Indices of the targets, ascending.
    ra_deg, dec_deg : float
        Centre, ICRS [deg].
    radius_deg : float
    """

    target: IntArray
    ra_deg: float
    dec_deg: float
    radius_deg: float


def group_into_cones(
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    radius_arcsec: float,
    *,
    largest_radius_deg: float,
    most_targets: int,
) -> list[Cone]:
    """Cover the search circles of targets with few cones.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n_targets,)
        Positions, ICRS [deg].
    radius_arcsec : float
        Radius of the search circles [arcsec].
    largest_radius_deg : float
        No cone is larger [deg], unless a single circle is.
    most_targets : int
        Targets in a cone at most.

    Returns
    -------
    list of Cone
        Every target is in one of them, with its whole search circle. A cone is centred on a target.
    """
    cells = cells_at(ra_deg, dec_deg, _SORT_ORDER)
    waiting = np.argsort(cells, kind="stable")
    reach_arcsec = largest_radius_deg * 3600 / _MARGIN - radius_arcsec
    cones = []
    while len(waiting):
        # Neighbours on the curve are neighbours on the sky, as a rule: only these are looked at.
        first, near = waiting[0], waiting[:most_targets]
        distance = separation_arcsec(ra_deg[first], dec_deg[first], ra_deg[near], dec_deg[near])
        inside = distance <= max(reach_arcsec, 0.0)
        inside[0] = True
        members = np.sort(near[inside])
        radius_deg = (distance[inside].max() + radius_arcsec) / 3600 * _MARGIN
        cones.append(Cone(members, float(ra_deg[first]), float(dec_deg[first]), float(radius_deg)))
        waiting = np.concatenate([near[~inside], waiting[most_targets:]])
    return cones


def pairs_within(
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    found_ra_deg: FloatArray,
    found_dec_deg: FloatArray,
    radius_arcsec: float,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Match targets with what a service has found around them, by exact distances.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n_targets,)
        Positions of the targets [deg].
    found_ra_deg, found_dec_deg : ndarray, shape (n_found,)
        Positions of what was found [deg].
    radius_arcsec : float
        Largest distance of a match [arcsec].

    Returns
    -------
    target, found : ndarray of int64
        Indices of each pair, by target and distance.
    match_arcsec : ndarray
        Its distance [arcsec].
    """
    distance = separation_arcsec(
        ra_deg[:, np.newaxis], dec_deg[:, np.newaxis], found_ra_deg, found_dec_deg
    )
    target, found = np.nonzero(distance <= radius_arcsec)
    match_arcsec = distance[target, found]
    order = np.lexsort((found, match_arcsec, target))
    return target[order], found[order], match_arcsec[order]
