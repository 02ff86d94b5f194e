"""Positions beside the targets, where every match is one by chance.

How often a source lies there within the radius of a match is how often one would lie at a target
that the catalogue does not have. A position is looked at in its own partition only, and a source
beyond the border missed: of all of them 8 / (3 pi) times the radius over the partition's width, two
in ten thousand with 1 arcsec and a degree.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lightloom.catalogs.geometry import FloatArray, IntArray, cells_at, offset_by
from lightloom.catalogs.planning import Search

#: In which directions from its target a position lies, from north through east.
_DIRECTIONS_DEG = (0.0, 180.0)

#: Whether a source lies at a position beside a target: a row for each that was looked at.
OFFSETS = pa.schema([("target", pa.int64()), ("direction", pa.int64()), ("matched", pa.bool_())])


@dataclass(frozen=True)
class Offsets:
    """Positions beside the targets of a search, of those that lie in its partition.

    Attributes
    ----------
    target : numpy.ndarray of int64, shape (n_positions,)
        The target, as the search has it.
    direction : numpy.ndarray of int64, shape (n_positions,)
        Number of the direction.
    ra_deg, dec_deg : numpy.ndarray of float64, shape (n_positions,)
        ICRS, as the positions of the search.
    """

    target: IntArray
    direction: IntArray
    ra_deg: FloatArray
    dec_deg: FloatArray

    @classmethod
    def beside(cls, search: Search, offset_arcsec: float) -> "Offsets":
        """Return the positions at a distance from each target; none if the distance is 0."""
        n_directions = len(_DIRECTIONS_DEG) if offset_arcsec else 0
        index = np.repeat(np.arange(len(search.target)), n_directions)
        direction = np.tile(np.arange(n_directions), len(search.target))
        ra_deg, dec_deg = offset_by(
            search.ra_deg[index],
            search.dec_deg[index],
            np.array(_DIRECTIONS_DEG)[direction],
            offset_arcsec,
        )
        # Others are looked at in the partition that they lie in, or not at all.
        here = cells_at(ra_deg, dec_deg, search.partition.order) == search.partition.pixel
        return cls(search.target[index][here], direction[here], ra_deg[here], dec_deg[here])

    def table(self, matched: IntArray) -> pa.Table:
        """Return the positions in the schema ``OFFSETS``.

        Parameters
        ----------
        matched : numpy.ndarray of int64
            Numbers of the positions at which there is a source.
        """
        is_matched = np.zeros(len(self.target), bool)
        is_matched[matched] = True
        return pa.table([self.target, self.direction, is_matched], schema=OFFSETS)
