"""Circles on the sphere and the HEALPix cells (nested) that they touch."""

from dataclasses import dataclass

import erfa
import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from astropy_healpix import lonlat_to_healpix, neighbours
from cdshealpix.nested import cone_search

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Order at which a partition or a cell is written as a range of the finest cells.
FINEST_ORDER = 29

#: Mean cell size (the root of its area) over the distance to which its neighbours reach around a
#: cell: an upper limit. The greatest ratio on the sphere is 1.22 at order 0 and rises to 1.48.
_SIZE_OVER_REACH = 1.6

_ORDER_0_SIZE_DEG = np.degrees(np.sqrt(np.pi / 3))

#: Pairs of a box and a target that are looked at together.
_PAIRS_AT_ONCE = 100_000

#: Orders below the neighbourhood's by which a circle is resolved when its border matters.
_REFINEMENT = 4


def separation_arcsec(
    ra1_deg: npt.ArrayLike, dec1_deg: npt.ArrayLike, ra2_deg: npt.ArrayLike, dec2_deg: npt.ArrayLike
) -> FloatArray:
    """Return great-circle distances by the haversine formula, exact for the smallest of them.

    Parameters
    ----------
    ra1_deg, dec1_deg, ra2_deg, dec2_deg : array_like
        Positions in degrees; broadcast against each other.

    Returns
    -------
    numpy.ndarray of float64
        Distances in arcsec.
    """
    ra1, dec1, ra2, dec2 = (
        np.asarray(value, float) for value in (ra1_deg, dec1_deg, ra2_deg, dec2_deg)
    )
    # Differences are taken in degrees, where those of neighbouring numbers are exact.
    half_ra = np.sin(np.radians(ra2 - ra1) / 2)
    half_dec = np.sin(np.radians(dec2 - dec1) / 2)
    haversine = half_dec**2 + np.cos(np.radians(dec1)) * np.cos(np.radians(dec2)) * half_ra**2
    return np.degrees(2 * np.arcsin(np.sqrt(np.minimum(haversine, 1.0)))) * 3600


def offset_by(
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    position_angle_deg: npt.ArrayLike,
    distance_arcsec: npt.ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Return the positions at a distance from others along great circles.

    By vectors, as spherical trigonometry (astropy's function of the same name) loses the direction
    within a milliarcsecond of a pole.

    Parameters
    ----------
    ra_deg, dec_deg : array_like of float
        Where the great circles begin; all four broadcast against each other.
    position_angle_deg : array_like of float
        Their directions there, from north through east.
    distance_arcsec : array_like of float
        Backwards if negative.

    Returns
    -------
    ra_deg, dec_deg : numpy.ndarray of float64
        Right ascension from 0 to 360.
    """
    ra, dec, angle = (np.radians(value) for value in (ra_deg, dec_deg, position_angle_deg))
    distance = np.radians(np.asarray(distance_arcsec, float) / 3600)
    north, east = erfa.s2c(ra, dec + np.pi / 2), erfa.s2c(ra + np.pi / 2, 0.0)
    direction = north * np.cos(angle)[..., np.newaxis] + east * np.sin(angle)[..., np.newaxis]
    moved_ra, moved_dec = erfa.c2s(
        erfa.s2c(ra, dec) * np.cos(distance)[..., np.newaxis]
        + direction * np.sin(distance)[..., np.newaxis]
    )
    return np.degrees(erfa.anp(moved_ra)), np.degrees(moved_dec)


def neighbourhood_order(radius_arcsec: float) -> int:
    """Return the finest order at which a cell and its neighbours hold any circle centred in it.

    Raises
    ------
    ValueError
        If the radius is not positive, or too large for the coarsest cells (36.6 degrees).
    """
    largest_deg = _ORDER_0_SIZE_DEG / _SIZE_OVER_REACH
    if not 0 < radius_arcsec <= largest_deg * 3600:
        raise ValueError(
            f"radius_arcsec is {radius_arcsec}, expected more than 0 and at most {largest_deg} deg"
        )
    return min(FINEST_ORDER, int(np.log2(largest_deg * 3600 / radius_arcsec)))


def cells_at(ra_deg: FloatArray, dec_deg: FloatArray, order: int) -> IntArray:
    """Return the cells of ``order`` that hold the positions, which must be on the sphere."""
    # Not by cdshealpix, which starts a pool of threads with each call: a millisecond.
    cells: IntArray = lonlat_to_healpix(
        ra_deg * u.deg, dec_deg * u.deg, nside=1 << order, order="nested"
    )
    return cells


def cells_around(ra_deg: FloatArray, dec_deg: FloatArray, order: int) -> tuple[IntArray, IntArray]:
    """Return the cell of each position and its neighbours (8, at base-pixel corners 7 or 6).

    Returns
    -------
    position : numpy.ndarray of int64
        Index of the position.
    cell : numpy.ndarray of int64
        A cell of ``order``, as long as ``position``; distinct within a position.
    """
    cells = cells_at(ra_deg, dec_deg, order)
    unique_cells, inverse = np.unique(cells, return_inverse=True)
    # What is missing at a corner is not a number before it is one.
    with np.errstate(invalid="ignore"):
        next_to = neighbours(unique_cells, nside=1 << order, order="nested")
    around = np.sort(np.vstack([unique_cells, next_to]).T, axis=1)[inverse]
    distinct = around >= 0
    distinct[:, 1:] &= around[:, 1:] != around[:, :-1]
    position, _ = np.nonzero(distinct)
    return position, around[distinct]


def circle_ranges(ra_deg: float, dec_deg: float, radius_arcsec: float) -> tuple[IntArray, IntArray]:
    """Return the cells that a circle touches, as ranges of the finest cells.

    Next to the corners of base pixels cells up to about twice the radius from the centre are among
    them; elsewhere the excess is a few percent.

    Returns
    -------
    first, end : numpy.ndarray of int64
        Half-open ranges of cells of order 29, ascending.
    """
    order = min(FINEST_ORDER, neighbourhood_order(radius_arcsec) + _REFINEMENT)
    cells, orders, _ = cone_search(
        Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), radius_arcsec * u.arcsec, order
    )
    return cell_ranges(cells.astype(np.int64), orders)


def cell_ranges(cells: IntArray, orders: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Return cells as half-open ranges of cells of order 29."""
    shift = 2 * (FINEST_ORDER - np.asarray(orders, np.int64))
    return cells << shift, (cells + 1) << shift


@dataclass(frozen=True)
class Neighbourhoods:
    """The cells around targets in which every source within the radius lies.

    Attributes
    ----------
    ra_deg, dec_deg : numpy.ndarray of float64, shape (n_targets,)
    radius_arcsec : float
    order : int
        Order of the cells.
    cell, target : numpy.ndarray of int64, shape (n_pairs,)
        Pairs of a cell and a target whose circle may reach into it, by ascending cell.
    """

    ra_deg: FloatArray
    dec_deg: FloatArray
    radius_arcsec: float
    order: int
    cell: IntArray
    target: IntArray

    @classmethod
    def of(
        cls,
        ra_deg: FloatArray,
        dec_deg: FloatArray,
        radius_arcsec: float,
        finest_order: int = FINEST_ORDER,
    ) -> "Neighbourhoods":
        """Return the neighbourhoods of targets, in cells not finer than ``finest_order``."""
        order = min(neighbourhood_order(radius_arcsec), finest_order)
        target, cell = cells_around(ra_deg, dec_deg, order)
        by_cell = np.argsort(cell, kind="stable")
        return cls(ra_deg, dec_deg, radius_arcsec, order, cell[by_cell], target[by_cell])

    def inside(self, ra_deg: FloatArray, dec_deg: FloatArray) -> tuple[IntArray, IntArray]:
        """Return the positions that lie in any neighbourhood, by number, and the cell of each.

        A position that is not on the sphere lies in none.
        """
        valid = np.flatnonzero(np.isfinite(ra_deg) & (np.abs(dec_deg) <= 90))
        cell = cells_at(ra_deg[valid], dec_deg[valid], self.order)
        inside = self.contain(cell)
        return valid[inside], cell[inside]

    def contain(self, cell: IntArray) -> npt.NDArray[np.bool_]:
        """Tell which cells (of this order) belong to any neighbourhood."""
        at = np.searchsorted(self.cell, cell)
        return self.cell[np.minimum(at, len(self.cell) - 1)] == cell

    def touch(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell which ranges of cells (of this order, ends included) hold one of a neighbourhood."""
        return np.searchsorted(self.cell, low, side="left") < np.searchsorted(
            self.cell, high, side="right"
        )

    def touch_boxes(
        self,
        ra_min_deg: npt.ArrayLike,
        ra_max_deg: npt.ArrayLike,
        dec_min_deg: npt.ArrayLike,
        dec_max_deg: npt.ArrayLike,
    ) -> npt.NDArray[np.bool_]:
        """Tell which boxes hold a position that may lie within the radius of a target.

        Parameters
        ----------
        ra_min_deg, ra_max_deg : array_like of float, shape (n_boxes,)
            Ranges of right ascension, in any cycle.
        dec_min_deg, dec_max_deg : array_like of float, shape (n_boxes,)
            Ranges of declination.

        Returns
        -------
        numpy.ndarray of bool, shape (n_boxes,)
        """
        radius_deg, half_width = self.radius_arcsec / 3600, self._half_widths_deg()
        boxes = np.column_stack([ra_min_deg, ra_max_deg, dec_min_deg, dec_max_deg])
        # All at once would take memory for each pair of a box and a target.
        n_blocks = max(1, -(-len(boxes) * len(self.ra_deg) // _PAIRS_AT_ONCE))
        touched = []
        for block in np.array_split(boxes.astype(np.float64), n_blocks):
            ra_min, ra_max, dec_min, dec_max = block.T[..., np.newaxis]
            near = (
                (self.dec_deg >= dec_min - radius_deg)
                & (self.dec_deg <= dec_max + radius_deg)
                & (
                    np.mod(self.ra_deg - (ra_min - half_width), 360.0)
                    <= (ra_max - ra_min) + 2 * half_width
                )
            )
            touched.append(near.any(axis=1))
        return np.concatenate(touched)

    def _half_widths_deg(self) -> FloatArray:
        """Return how far the circle of each target reaches in right ascension."""
        radius, dec = np.radians(self.radius_arcsec / 3600), np.radians(self.dec_deg)
        pole_inside = np.abs(dec) + radius >= np.pi / 2
        sine = np.where(pole_inside, 0.0, np.sin(radius) / np.cos(dec))
        half_width: FloatArray = np.where(pole_inside, 180.0, np.degrees(np.arcsin(sine)))
        return half_width

    def match(
        self, ra_deg: FloatArray, dec_deg: FloatArray, cell: IntArray
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Return every pair of a source and a target not farther apart than the radius.

        Parameters
        ----------
        ra_deg, dec_deg : numpy.ndarray of float64, shape (n_sources,)
            Positions; one that is not finite matches nothing.
        cell : numpy.ndarray of int64, shape (n_sources,)
            Cell of each source, of this order.

        Returns
        -------
        source, target : numpy.ndarray of int64
            Indices, one element per pair.
        separation : numpy.ndarray of float64
            Distance in arcsec.
        """
        first = np.searchsorted(self.cell, cell, side="left")
        n_targets = np.searchsorted(self.cell, cell, side="right") - first
        source = np.repeat(np.arange(len(cell)), n_targets)
        rank = np.arange(len(source)) - np.repeat(np.cumsum(n_targets) - n_targets, n_targets)
        target = self.target[first[source] + rank]
        with np.errstate(invalid="ignore"):
            separation = separation_arcsec(
                self.ra_deg[target], self.dec_deg[target], ra_deg[source], dec_deg[source]
            )
        within = separation <= self.radius_arcsec
        return source[within], target[within], separation[within]
