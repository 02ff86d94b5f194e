"""Which alerts lie on which tracks: a join over HEALPix x time, and then exact distances.

The tracks are cut into slots of time. A circle that holds the way of an object within a slot is
looked up, as its HEALPix cell and that cell's neighbours, among the alerts of the slot in the order
of their cells. Only what comes up there is compared with the position at the alert's own time.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lightloom.catalogs.geometry import cells_around, cells_at, neighbourhood_order
from lightloom.moving.tracks import (
    ARCSEC_PER_RAD,
    FloatArray,
    IntArray,
    Tracks,
    ra_dec_deg,
    separation_arcsec,
    unit_vectors,
)

#: Length of a slot [d]: objects move little in it, and few slots are looked up.
SLOT_DAYS = 4.0

#: Order of the cells by which the alerts are sorted.
_ORDER = 10
_N_CELLS = 12 * 4**_ORDER

#: Larger circles are not looked up: all alerts of their slot are compared.
_LARGEST_ARCSEC = 30.0 * 3600.0

#: Pairs compared at a time, which bounds the memory.
_BLOCK = 200_000


@dataclass(frozen=True)
class Pairs:
    """Alerts on tracks; arrays of shape (n,), ordered by object and then by alert."""

    object: IntArray
    alert: IntArray
    piece: IntArray
    separation_arcsec: FloatArray


def search_radius_arcsec(
    tracks: Tracks, radius_arcsec: float, sigmas: float, largest_uncertainty_arcsec: float
) -> FloatArray:
    """Return the radius in which alerts are matched, for each piece [arcsec].

    Parameters
    ----------
    tracks : Tracks
    radius_arcsec : float
        What is allowed besides the uncertainty of the ephemeris.
    sigmas : float
        How many standard deviations of the ephemeris to add; 0 ignores it.
    largest_uncertainty_arcsec : float
        Most that is added, for lost objects.

    Returns
    -------
    ndarray, shape (n_pieces,)
    """
    known = np.nan_to_num(tracks.uncertainty_arcsec, nan=0.0, posinf=np.inf)
    return float(radius_arcsec) + np.minimum(sigmas / 3.0 * known, largest_uncertainty_arcsec)


def find_pairs(
    tracks: Tracks,
    radius_arcsec: FloatArray,
    time_mjd: FloatArray,
    ra_deg: FloatArray,
    dec_deg: FloatArray,
) -> Pairs:
    """Find the alerts on tracks.

    Parameters
    ----------
    tracks : Tracks
        Ordered by object and time.
    radius_arcsec : ndarray, shape (n_pieces,)
        Radius of each piece.
    time_mjd, ra_deg, dec_deg : ndarray, shape (n_alerts,)
        Middle of the exposure (UTC) and position (ICRS).

    Returns
    -------
    Pairs
        Those within the radius, the same as if every alert were compared with every track.
    """
    if not len(tracks) or not len(time_mjd):
        nothing = np.empty(0, np.int64)
        return Pairs(nothing, nothing, nothing, np.empty(0))
    vectors = unit_vectors(ra_deg, dec_deg)
    origin = float(tracks.start_mjd.min())
    slot = np.floor((time_mjd - origin) / SLOT_DAYS).astype(np.int64)
    keys = slot * _N_CELLS + cells_at(ra_deg, dec_deg, _ORDER)
    order = np.argsort(keys, kind="stable")
    circles = _Circles.of(tracks, radius_arcsec, origin)
    low, high, number = circles.ranges()
    first = np.searchsorted(keys[order], low)
    count = np.searchsorted(keys[order], high) - first
    found = []
    for block in _blocks(count):
        size = count[block]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        alert = order[np.repeat(first[block], size) + within]
        object_number = circles.object[np.repeat(number[block], size)]
        found.append(_compare(tracks, radius_arcsec, object_number, alert, time_mjd, vectors))
    return _joined(found)


def _compare(
    tracks: Tracks,
    radius_arcsec: FloatArray,
    object_number: IntArray,
    alert: IntArray,
    time_mjd: FloatArray,
    vectors: FloatArray,
) -> Pairs:
    piece = tracks.piece_at(object_number, time_mjd[alert])
    on_track = piece >= 0
    piece, alert = piece[on_track], alert[on_track]
    separation = separation_arcsec(tracks.directions(piece, time_mjd[alert]), vectors[alert])
    close = separation <= radius_arcsec[piece]
    piece, alert = piece[close], alert[close]
    return Pairs(tracks.object[piece], alert, piece, separation[close])


def _joined(found: list[Pairs]) -> Pairs:
    columns = [
        np.concatenate(values)
        for values in zip(*(vars(one).values() for one in found), strict=True)
    ]
    object_number, alert = columns[:2]
    order = np.lexsort((alert, object_number))
    return Pairs(*(values[order] for values in columns))


def _blocks(count: IntArray) -> list[slice]:
    """Cut ranges into blocks of about `_BLOCK` pairs."""
    total = np.cumsum(count)
    number = total // _BLOCK
    edges = np.flatnonzero(np.diff(number)) + 1
    bounds = [0, *edges.tolist(), len(count)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@dataclass(frozen=True)
class _Circles:
    """A circle for each object and slot: it holds the track and the search radius."""

    object: IntArray
    slot: IntArray
    centre: FloatArray
    radius_arcsec: FloatArray

    @classmethod
    def of(cls, tracks: Tracks, radius_arcsec: FloatArray, origin: float) -> "_Circles":
        first = np.floor((tracks.start_mjd - origin) / SLOT_DAYS).astype(np.int64)
        last = np.floor((tracks.stop_mjd - origin) / SLOT_DAYS).astype(np.int64)
        n_slots = last - first + 1
        piece = np.repeat(np.arange(len(tracks)), n_slots)
        slot = np.repeat(first, n_slots)
        slot += np.arange(len(slot)) - np.repeat(np.cumsum(n_slots) - n_slots, n_slots)
        order = np.lexsort((slot, tracks.object[piece]))
        piece, slot = piece[order], slot[order]
        number = tracks.object[piece]
        starts = np.flatnonzero(
            np.concatenate([[True], (np.diff(number) != 0) | (np.diff(slot) != 0)])
        )
        centres, reach = tracks.caps()
        total = np.add.reduceat(centres[piece], starts)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        # Opposite pieces cancel out; any centre will do, as the circle is the whole sky then.
        centre = np.where(length > 1e-6, total / np.maximum(length, 1e-6), centres[piece[starts]])
        group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(piece)]))
        away = separation_arcsec(centre[group], centres[piece]) + reach[piece] * ARCSEC_PER_RAD
        return cls(
            object=number[starts],
            slot=slot[starts],
            centre=centre,
            radius_arcsec=np.maximum.reduceat(away + radius_arcsec[piece], starts),
        )

    def ranges(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return half-open ranges of keys of alerts, and the circle of each; ordered by key."""
        ra_deg, dec_deg = ra_dec_deg(self.centre)
        orders = np.array(
            [
                min(_ORDER, neighbourhood_order(radius)) if radius <= _LARGEST_ARCSEC else -1
                for radius in np.maximum(self.radius_arcsec, 1e-3)
            ]
        )
        whole = np.flatnonzero(orders < 0)
        low, high = [self.slot[whole] * _N_CELLS], [(self.slot[whole] + 1) * _N_CELLS]
        number = [whole]
        for order in np.unique(orders[orders >= 0]):
            mine = np.flatnonzero(orders == order)
            position, cell = cells_around(ra_deg[mine], dec_deg[mine], int(order))
            shift = 2 * (_ORDER - int(order))
            base = self.slot[mine[position]] * _N_CELLS
            low.append(base + (cell << shift))
            high.append(base + ((cell + 1) << shift))
            number.append(mine[position])
        lows, highs, numbers = map(np.concatenate, (low, high, number))
        by_key = np.argsort(lows, kind="stable")
        return lows[by_key], highs[by_key], numbers[by_key]
