"""How the truth about the embedded sky is found: matches on whole catalogues, times by ERFA."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import erfa
import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import constants
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hats.pixel_math import HealpixPixel
from numpy.typing import NDArray

from lightloom.sky.geometry import coordinates, healpix_cells, shift
from lightloom.sky.targets import Target

# A point for every degree of the circle tells which partitions it touches.
_CIRCLE_ANGLES_DEG = np.arange(0.0, 360.0, 1.0)


@dataclass(frozen=True)
class Footprint:
    """Where an archive has looked.

    Attributes
    ----------
    pixels : sequence of hats.pixel_math.HealpixPixel
        Cells with data: the partitions of a catalogue.
    radius_arcsec : float
        Search radius.
    """

    pixels: Sequence[HealpixPixel]
    radius_arcsec: float

    def is_touched_by(self, target: Target) -> bool:
        """Tell whether the search circle of a target touches a cell."""
        ra_deg, dec_deg = shift(
            target.ra_deg, target.dec_deg, _CIRCLE_ANGLES_DEG, self.radius_arcsec
        )
        cells = np.append(
            healpix_cells(ra_deg, dec_deg, 29), healpix_cells(target.ra_deg, target.dec_deg, 29)
        )
        return any(np.any(cells >> 2 * (29 - pixel.order) == pixel.pixel) for pixel in self.pixels)


@dataclass(frozen=True)
class Catalogue:
    """What an archive holds, and where.

    Attributes
    ----------
    tables : sequence of pyarrow.Table
        The whole catalogue, in the order in which the archive's search takes its tables.
    radius_arcsec : float
        Search radius; NaN where every event has its own.
    footprint : Footprint, optional
        Where it has looked; without it everywhere.
    """

    tables: Sequence[pa.Table]
    radius_arcsec: float
    footprint: Footprint | None = None

    def looks_at(self, target: Target) -> bool:
        """Tell whether the archive has looked at a target."""
        return self.footprint is None or self.footprint.is_touched_by(target)


@dataclass(frozen=True)
class Found:
    """What a search of one archive finds.

    Attributes
    ----------
    rows : pandas.DataFrame
        Light-curve rows with their ``target``.
    n_sources : pandas.Series
        Survey objects within the radius, by target.
    ambiguous : set of int
        Targets with two distinct survey objects.
    """

    rows: pd.DataFrame
    n_sources: "pd.Series[int]"
    ambiguous: set[int]


def repeated(matches: pd.DataFrame, keys: list[str]) -> set[int]:
    """Return the targets for which one observation holds two of the matched sources."""
    return set(matches.loc[matches.duplicated(keys, keep=False), "target"])


def match(
    position: SkyCoord, ra_deg: NDArray[Any], dec_deg: NDArray[Any], radius_arcsec: float
) -> pd.DataFrame:
    """Return all pairs of a target and a row of a catalogue within the radius."""
    catalogue = coordinates(ra_deg.astype(np.float64), dec_deg.astype(np.float64))
    target, row, _, _ = catalogue.search_around_sky(position, radius_arcsec * u.arcsec)
    separation = position[target].separation(catalogue[row])
    return pd.DataFrame({"target": target, "row": row, "match_arcsec": separation.arcsec})


def matched_rows(pairs: pd.DataFrame, catalogue: pa.Table) -> pd.DataFrame:
    """Return the catalogue's rows of the pairs, with the lists of a struct as columns."""
    objects = catalogue.take(pairs["row"].to_numpy())
    nested = [field.name for field in objects.schema if pa.types.is_struct(field.type)]
    matches = objects.drop_columns(nested).to_pandas()
    for name in nested:
        lists = objects[name].combine_chunks()
        for field in lists.type:
            matches[field.name] = lists.field(field.name).to_pylist()
    return pd.concat([pairs, matches], axis=1)


Flags = pd.Series | NDArray[np.bool_]


def quality(*, bad: Flags, suspect: Flags) -> NDArray[np.int8]:
    """Return the common quality column: 2 where bad, else 1 where suspect, else 0."""
    cases = [np.asarray(bad, bool), np.asarray(suspect, bool)]
    return np.select(cases, [np.int8(2), np.int8(1)], np.int8(0))


def geocentric_to_barycentric(
    mjd: NDArray[np.float64], direction: SkyCoord, scale: str = "utc"
) -> NDArray[np.float64]:
    """Return times at the geocentre as MJD in TDB at the barycentre."""
    time = Time(mjd, format="mjd", scale=scale)
    _, earth = erfa.epv00(time.tdb.jd1, time.tdb.jd2)
    return (time.tdb + _light_travel_time(earth, direction)).mjd


def heliocentric_to_barycentric(
    hmjd: NDArray[np.float64], direction: SkyCoord
) -> NDArray[np.float64]:
    """Return times (UTC) at the heliocentre as MJD in TDB at the barycentre."""
    heliocentric = Time(hmjd, format="mjd", scale="utc")
    time = heliocentric
    # The delay belongs to the time at the geocentre, which is sought: two rounds give it to 5 us.
    for _ in range(2):
        earth, _ = erfa.epv00(time.tdb.jd1, time.tdb.jd2)
        time = heliocentric - _light_travel_time(earth, direction)
    return geocentric_to_barycentric(time.mjd, direction)


def _light_travel_time(earth: NDArray[np.void], direction: SkyCoord) -> u.Quantity:
    """Return how much earlier light arrives at the Earth than at the origin of its position."""
    ahead_au = np.einsum("ij,ij->i", earth["p"], direction.cartesian.xyz.value.T)
    return ahead_au * u.au / constants.c
