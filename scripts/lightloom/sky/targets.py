"""The targets around which the embedded sky is built."""

from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lightloom.errors import SampleError
from lightloom.sky.geometry import coordinates, healpix_cells, shift
from lightloom.sky.streams import random_stream

_SAMPLE_COLUMNS = ("name", "ra", "dec")

#: Targets closer than this are one target.
MERGE_RADIUS_ARCSEC = 1.0


@dataclass(frozen=True)
class Target:
    """A position to be searched.

    Attributes
    ----------
    objectid : str
        Id of the target.
    ra_deg, dec_deg : float
        Position, ICRS.
    label : str
        What it is there for.
    """

    objectid: str
    ra_deg: float
    dec_deg: float
    label: str


def read_sample(path: Path) -> list[Target]:
    """Read the targets of a sample.

    Parameters
    ----------
    path : pathlib.Path
        CSV file with the columns ``name``, ``ra`` and ``dec`` (degrees, ICRS).

    Returns
    -------
    list of Target
        In the order of the file, with the file's stem as label.

    Raises
    ------
    SampleError
        If a column is missing, or a position is no position.
    """
    table = pd.read_csv(path, dtype={"name": str})
    missing = [column for column in _SAMPLE_COLUMNS if column not in table.columns]
    if missing:
        raise SampleError(
            f"{path}: columns {missing} are missing, found {list(table.columns)}, "
            f"expected {list(_SAMPLE_COLUMNS)}"
        )
    ra_deg = pd.to_numeric(table["ra"], errors="coerce")
    dec_deg = pd.to_numeric(table["dec"], errors="coerce")
    is_position = ra_deg.between(0.0, 360.0) & dec_deg.between(-90.0, 90.0)
    if not is_position.all():
        row = int(np.argmin(is_position))
        raise SampleError(
            f"{path}: row {row + 1}: found ra={table['ra'][row]}, dec={table['dec'][row]}, "
            "expected degrees with ra in [0, 360] and dec in [-90, 90]"
        )
    return [
        Target(name, ra, dec, path.stem)
        for name, ra, dec in zip(table["name"], ra_deg, dec_deg, strict=True)
    ]


def group_targets(targets: list[Target], radius_arcsec: float) -> NDArray[np.int64]:
    """Find the targets that are one because they are close.

    Parameters
    ----------
    targets : list of Target
        The targets.
    radius_arcsec : float
        Two targets within this distance belong together, and so do those that a chain of such
        pairs links.

    Returns
    -------
    ndarray of shape (n_targets,)
        Number of the group of each target, counted from zero in the order of the targets.
    """
    position = coordinates([t.ra_deg for t in targets], [t.dec_deg for t in targets])
    first, second, _, _ = position.search_around_sky(position, radius_arcsec * u.arcsec)
    links = coo_array((np.ones(first.size), (first, second)), shape=(len(targets),) * 2)
    _, group = connected_components(links, directed=False)
    return group.astype(np.int64)


def leading_target(targets: list[Target]) -> Target:
    """Return the target that stands for a group: the first by HEALPix cell of order 29, then id."""
    cells = healpix_cells([t.ra_deg for t in targets], [t.dec_deg for t in targets], 29)
    order = sorted(range(len(targets)), key=lambda i: (cells[i], targets[i].objectid))
    return targets[order[0]]


def draw_targets(
    catalogue: Path,
    n_targets: int,
    seed: int,
    *,
    max_offset_arcsec: float = 1.0,
    ra: str = "objra",
    dec: str = "objdec",
) -> pd.DataFrame:
    """Draw random targets near objects of a catalogue of the embedded sky.

    Parameters
    ----------
    catalogue : pathlib.Path
        A HATS catalogue.
    n_targets : int
        How many; each is near another object, so there must be as many objects.
    seed : int
        Seed of the choice, not negative.
    max_offset_arcsec : float, optional
        Largest distance of a target from its object.
    ra, dec : str, optional
        Columns of the positions; by default those of ZTF.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``ra`` and ``dec`` (degrees, ICRS), the columns of a sample.
    """
    rng = random_stream(seed, "draw targets")
    dataset = ds.dataset(catalogue / "dataset", format="parquet")
    rows = np.sort(rng.choice(dataset.count_rows(), n_targets, replace=False))
    objects = dataset.take(pa.array(rows), columns=[ra, dec])
    ra_deg, dec_deg = shift(
        objects[ra].to_numpy().astype(np.float64),
        objects[dec].to_numpy().astype(np.float64),
        rng.uniform(0.0, 360.0, n_targets),
        max_offset_arcsec * np.sqrt(rng.random(n_targets)),
    )
    names = [f"random-{number}" for number in range(n_targets)]
    return pd.DataFrame({"name": names, "ra": ra_deg, "dec": dec_deg})
