"""The fewest bytes with which the matches of some targets can be read from a catalogue's files.

Footer; pages of the key (without one, of the positions) that may hold a target; pages of the
positions of the matches; pages of the columns asked for of the matches; and the indexes of these
columns. Whoever reads less cannot know the answer. Files without a page index can be read no finer
than from the start of a column chunk to the last page that is wanted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from methods import RADIUS_ARCSEC, Question
from numpy.typing import NDArray
from parquet_pages import ParquetPages

from lightloom.sky.geometry import coordinates, healpix_cells

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Positions:
    """Key and positions of a row group, and the rows that are matches."""

    key: IntArray
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    matches: IntArray


@dataclass(frozen=True)
class _Search:
    """What is looked for in a catalogue.

    Attributes
    ----------
    targets : pandas.DataFrame
        ``ra`` and ``dec`` (degrees).
    radius_arcsec : float
    ra, dec, key : str
        Columns.
    ids : (str, numpy.ndarray) or None
        A column and the values of which a match must have one.
    """

    targets: pd.DataFrame
    radius_arcsec: float
    ra: str
    dec: str
    key: str
    ids: tuple[str, IntArray] | None = None

    def here(self, path: Path) -> "_Search":
        """Return the search for the targets in a partition."""
        order, pixel = _partition_order(path)
        cells = healpix_cells(self.targets["ra"], self.targets["dec"], order)
        return replace(self, targets=self.targets[cells == pixel])


def minimum_bytes(question: Question, columns: Sequence[str]) -> int:
    """Return the fewest bytes with which columns of the targets' matches can be read.

    Parameters
    ----------
    question : Question
    columns : sequence of str
        Columns to read of each match, beside its position.
    """
    spec, key = question.spec, question.kind.key
    roles = spec.columns
    search = _Search(question.targets, RADIUS_ARCSEC, roles["ra"], roles["dec"], key)
    if not question.detections:
        return _of_catalogue(Path(question.catalogue), search, columns)
    object_id = roles["object_id"]
    objects = _matched(Path(question.catalogue), search, object_id)
    near_objects = _Search(
        objects,
        spec.detections["radius_arcsec"],
        spec.detections["columns"]["ra"],
        spec.detections["columns"]["dec"],
        key,
        (object_id, objects["id"].to_numpy()),
    )
    return _of_catalogue(Path(question.catalogue), search, [object_id]) + _of_catalogue(
        Path(question.detections), near_objects, columns
    )


def _of_catalogue(catalogue: Path, search: _Search, columns: Sequence[str]) -> int:
    return sum(
        _of_file(path, search.here(path), columns)
        for path in sorted(catalogue.rglob("part*.parquet"))
    )


def _matched(catalogue: Path, search: _Search, object_id: str) -> pd.DataFrame:
    """Return position and id of the objects that match."""
    frames = []
    for path in sorted(catalogue.rglob("part*.parquet")):
        here = search.here(path)
        if len(here.targets):
            with pq.ParquetFile(path) as file:
                for row_group in range(file.num_row_groups):
                    positions = _positions(file, row_group, here)
                    ids = file.read_row_group(row_group, [object_id])[0].to_numpy()
                    frame = {"ra": positions.ra_deg, "dec": positions.dec_deg, "id": ids}
                    frames.append(pd.DataFrame(frame).iloc[positions.matches])
    return pd.concat(frames, ignore_index=True)


def _of_file(path: Path, search: _Search, columns: Sequence[str]) -> int:
    """Return the bytes of a file; one that no target touches is not opened."""
    if search.targets.empty:
        return 0
    with ParquetPages(path) as pages, pq.ParquetFile(path) as file:
        total = pages.footer_bytes
        for row_group in range(file.num_row_groups):
            positions = _positions(file, row_group, search)
            total += _of_row_group(pages, file, row_group, search, positions)
            total += _of_columns(pages, file, row_group, columns, positions.matches)
    return total


def _partition_order(path: Path) -> tuple[int, int]:
    """Return order and pixel of a partition, from the names of its folders."""
    folders = dict(part.split("=") for part in path.parts if part.count("=") == 1)
    if "Norder" in folders:
        return int(folders["Norder"]), int(folders["Npix"])
    ((name, pixel),) = folders.items()
    return int(name.rpartition("_k")[2]), int(pixel)


def _positions(file: pq.ParquetFile, row_group: int, search: _Search) -> _Positions:
    names = [*filter(None, [search.key]), search.ra, search.dec]
    table = file.read_row_group(row_group, [*names, *(search.ids or ())[:1]])
    ra_deg, dec_deg = (
        table[name].to_numpy().astype(np.float64) for name in (search.ra, search.dec)
    )
    near = coordinates(search.targets["ra"], search.targets["dec"])
    matches, _, _, _ = near.search_around_sky(
        coordinates(ra_deg, dec_deg), search.radius_arcsec * u.arcsec
    )
    matches = np.unique(matches)
    if search.ids is not None:
        column, wanted = search.ids
        matches = matches[np.isin(table[column].to_numpy()[matches], wanted)]
    key = table[search.key].to_numpy() if search.key else np.empty(0, np.int64)
    return _Positions(key, ra_deg, dec_deg, matches)


def _of_row_group(
    pages: ParquetPages,
    file: pq.ParquetFile,
    row_group: int,
    search: _Search,
    positions: _Positions,
) -> int:
    """Return the bytes that it takes to find the matches."""
    position_columns = [search.ra, search.dec]
    if not search.key:
        return _of_boxes(pages, row_group, position_columns, positions, search)
    chunk = pages.chunk(row_group, search.key)
    cells = healpix_cells(search.targets["ra"], search.targets["dec"], 29)
    # The footer rules out the row groups that end before a cell or begin behind it.
    cells = cells[(cells >= positions.key[0]) & (cells <= positions.key[-1])]
    if not len(cells) and not len(positions.matches):
        return 0
    rows = np.searchsorted(positions.key, cells)
    # A reader knows from the index which pages may hold the cells, without it from the values.
    wanted = chunk.holding(np.union1d(rows, positions.matches))
    return (
        chunk.index_bytes
        + chunk.bytes_of(wanted)
        + _of_columns(pages, file, row_group, position_columns, positions.matches)
    )


def _of_boxes(
    pages: ParquetPages,
    row_group: int,
    columns: Sequence[str],
    positions: _Positions,
    search: _Search,
) -> int:
    """Return the bytes of the pages of positions whose ranges hold a target."""
    chunks = [pages.chunk(row_group, column) for column in columns]
    if not all(chunk.is_indexed for chunk in chunks):
        return sum(chunk.bytes_of(np.arange(len(chunk.sizes))) for chunk in chunks)
    # Positions that straddle RA 0 span the whole circle, so that the declination alone decides;
    # a reader with the index knows no better.
    total = 0
    radius_deg = search.radius_arcsec / 3600.0
    for chunk in chunks:
        starts = chunk.first[:-1]
        low_ra, high_ra, low_dec, high_dec = (
            reduce.reduceat(values, starts)
            for values in (positions.ra_deg, positions.dec_deg)
            for reduce in (np.minimum, np.maximum)
        )
        ra, dec = (search.targets[name].to_numpy()[:, np.newaxis] for name in ("ra", "dec"))
        margin_ra = radius_deg / np.cos(np.radians(dec))
        touched = np.any(
            (ra >= low_ra - margin_ra)
            & (ra <= high_ra + margin_ra)
            & (dec >= low_dec - radius_deg)
            & (dec <= high_dec + radius_deg),
            axis=0,
        )
        # As the footer tells, no page of a row group that is far from all targets.
        if touched.any():
            total += chunk.index_bytes + chunk.bytes_of(np.flatnonzero(touched))
    return total


def _of_columns(
    pages: ParquetPages,
    file: pq.ParquetFile,
    row_group: int,
    columns: Sequence[str],
    rows: IntArray,
) -> int:
    """Return the bytes of the pages that hold some rows of some columns."""
    if not len(rows):
        return 0
    total = 0
    for column in columns:
        chunk = pages.chunk(row_group, column)
        wanted = rows if chunk.is_indexed else _last_values(file, row_group, column, rows)
        total += chunk.index_bytes + chunk.bytes_of(chunk.holding(wanted))
    return total


def _last_values(file: pq.ParquetFile, row_group: int, column: str, rows: IntArray) -> IntArray:
    """Return the number of the last value of each row; an empty list is stored as one value."""
    _, _, field = column.partition(".")
    if not field:
        return rows
    (values,) = file.read_row_group(row_group, [column]).columns
    lengths = pc.list_value_length(pc.struct_field(values, field))
    stored = np.maximum(pc.fill_null(lengths, 0).cast(pa.int64()).to_numpy(), 1)
    return np.cumsum(stored)[rows] - 1
