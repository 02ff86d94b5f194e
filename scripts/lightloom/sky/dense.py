"""Large catalogues of random sources in the archives' layouts, to measure readers with.

The sources fill cells of order 5 that are spread evenly over the footprint of ZTF; each cell is one
partition of each catalogue. Real catalogues are as dense, and have partitions of that order.
Memory grows with a row group and the positions in a partition, not with the number of partitions.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import cdshealpix
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hats.pixel_math import HealpixPixel

from lightloom.sky import gaia, panstarrs, unwise, ztf
from lightloom.sky.dense_rows import (
    gaia_chunks,
    panstarrs_chunks,
    panstarrs_objects,
    unwise_chunks,
    ztf_chunks,
    ztf_objects,
)
from lightloom.sky.geometry import healpix_cells, shift
from lightloom.sky.layout import (
    PART_NAME,
    SKYMAP_ORDER,
    cell_range,
    finish_hats,
    finish_hive,
    paged_options,
    partition_path,
)
from lightloom.sky.sources import star_table
from lightloom.sky.streams import random_stream

#: Order of the partitions.
PARTITION_ORDER = unwise.PARTITION_ORDER

_PAGE_ROWS = 1000
_FAINTEST_MAG = 20.9
_BORDER_ARCSEC = 2.0


class Layout(StrEnum):
    """How the Parquet files are written."""

    #: One row group per file and no page index: what plain pyarrow writes.
    LEGACY = "legacy"
    #: Row groups of a given size, small pages and a page index: what HATS writes today.
    PAGED = "paged"


@dataclass(frozen=True, kw_only=True)
class DenseSize:
    """How much there is.

    Attributes
    ----------
    n_objects : int
        Rows of the ZTF catalogue; every source is an object in g and one in r.
    mean_epochs : int
        Mean number of epochs of a ZTF light curve.
    n_visits : int
        Visits of unWISE to each source, in two bands.
    n_partitions : int
        Partitions of each catalogue.
    """

    n_objects: int = 2_000_000
    mean_epochs: int = 60
    n_visits: int = 10
    n_partitions: int = 48


class _Hats:
    """A HATS catalogue that is written partition by partition.

    Parameters
    ----------
    folder : pathlib.Path
    schema : pyarrow.Schema
    properties : mapping of str to object
        See `lightloom.sky.layout.finish_hats`.
    """

    def __init__(self, folder: Path, schema: pa.Schema, properties: Mapping[str, Any]) -> None:
        self._folder = folder
        self._schema = schema
        self._properties = properties
        self._counts = np.zeros(12 * 4**SKYMAP_ORDER, dtype=np.int64)

    def write(
        self,
        pixel: HealpixPixel,
        chunks: Iterable[pa.Table],
        layout: Layout,
        row_group_rows: int,
    ) -> None:
        path = partition_path(self._folder, pixel)
        _write_part(path, self._schema, self._counted(chunks), layout, row_group_rows)

    def _counted(self, chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for chunk in chunks:
            cells = chunk["_healpix_29"].to_numpy() >> 2 * (29 - SKYMAP_ORDER)
            self._counts += np.bincount(cells, minlength=self._counts.size)
            yield chunk

    def finish(self, pixels: Sequence[HealpixPixel]) -> None:
        finish_hats(self._folder, pixels, self._counts, self._properties)


def build_dense(
    output: Path, size: DenseSize, layout: Layout, row_group_rows: int, seed: int
) -> None:
    """Write large catalogues like those of ZTF, unWISE, Gaia and Pan-STARRS.

    The rows depend on the size and the seed, not on the layout. Gaia sees a third of the sources,
    Pan-STARRS a quarter.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write the catalogues into; it must not hold them yet.
    size : DenseSize
        How much there is.
    layout : Layout
        How the files are written.
    row_group_rows : int
        Rows of a row group in the layout ``paged``.
    seed : int
        Seed of all random numbers, not negative.
    """
    hive = output / unwise.CATALOGUE
    curves = _Hats(output / ztf.CATALOGUE, ztf.SCHEMA, ztf.HATS_PROPERTIES)
    transits = _Hats(output / gaia.CATALOGUE, gaia.SCHEMA, gaia.HATS_PROPERTIES)
    means = _Hats(output / panstarrs.OBJECTS, panstarrs.OBJECT_SCHEMA, panstarrs.OBJECT_PROPERTIES)
    detections = _Hats(
        output / panstarrs.DETECTIONS, panstarrs.DETECTION_SCHEMA, panstarrs.DETECTION_PROPERTIES
    )
    pixels = _spread_pixels(size.n_partitions)
    n_sources = np.full(len(pixels), size.n_objects // 2 // len(pixels))
    n_sources[: size.n_objects // 2 % len(pixels)] += 1
    footers: list[pq.FileMetaData] = []
    for number, (pixel, n) in enumerate(zip(pixels, n_sources, strict=True)):
        sources = _sources(pixel, int(n), seed)
        objects = ztf_objects(sources, number, seed)
        chunks = ztf_chunks(objects, sources, size.mean_epochs, number, seed)
        curves.write(pixel, chunks, layout, row_group_rows)
        transits.write(pixel, gaia_chunks(sources, number, seed), layout, row_group_rows)
        seen = sources[sources["in_panstarrs"]].reset_index(drop=True)
        mean_objects, exposures = panstarrs_objects(seen, number, seed)
        means.write(pixel, [mean_objects], layout, row_group_rows)
        detections.write(
            pixel, panstarrs_chunks(exposures, seen, number, seed), layout, row_group_rows
        )
        relative = f"{unwise.PARTITION_COLUMN}={pixel.pixel}/{PART_NAME}"
        (hive / relative).parent.mkdir(parents=True)
        _write_part(
            hive / relative,
            unwise.SCHEMA,
            unwise_chunks(sources, size.n_visits, number, seed),
            layout,
            row_group_rows,
            footers,
        )
        footers[-1].set_file_path(relative)
    for catalogue in (curves, transits, means, detections):
        catalogue.finish(pixels)
    finish_hive(hive, unwise.SCHEMA, footers)


def _spread_pixels(n_pixels: int) -> list[HealpixPixel]:
    """Return cells of `PARTITION_ORDER` evenly spread over the footprint of ZTF."""
    cells = np.arange(12 * 4**PARTITION_ORDER)
    _, lat = cdshealpix.vertices(cells.astype(np.uint64), PARTITION_ORDER)
    cells = cells[lat.deg.min(axis=1) > ztf.DEC_MIN_DEG]
    chosen = cells[np.arange(n_pixels) * cells.size // n_pixels]
    return [HealpixPixel(PARTITION_ORDER, int(cell)) for cell in chosen]


def _sources(pixel: HealpixPixel, n_sources: int, seed: int) -> pd.DataFrame:
    """Return sources inside a cell, in the order of their cells of order 29."""
    rng = random_stream(seed, "dense sources", pixel.pixel)
    # Some are too near to the border: their catalogued positions could lie beyond it.
    n_candidates = n_sources + n_sources // 50 + 100
    cells = rng.integers(*cell_range(pixel), n_candidates).astype(np.uint64)
    lon, lat = cdshealpix.healpix_to_lonlat(cells, 29)
    is_inside = np.all(
        [
            healpix_cells(*shift(lon.deg, lat.deg, angle_deg, _BORDER_ARCSEC), pixel.order)
            == pixel.pixel
            for angle_deg in (0.0, 90.0, 180.0, 270.0)
        ],
        axis=0,
    )
    inside = np.sort(cells[is_inside][:n_sources])
    lon, lat = cdshealpix.healpix_to_lonlat(inside, 29)
    sources = star_table(f"dense-{pixel.pixel}", lon.deg, lat.deg, rng, in_unwise=True)
    return sources.assign(g_mag=sources["g_mag"].clip(upper=_FAINTEST_MAG))


def _write_part(
    path: Path,
    schema: pa.Schema,
    chunks: Iterable[pa.Table],
    layout: Layout,
    row_group_rows: int,
    footers: list[pq.FileMetaData] | None = None,
) -> None:
    """Write one file, a row group at a time."""
    if layout is Layout.PAGED:
        options, most_rows = paged_options(schema, _PAGE_ROWS), row_group_rows
    else:
        options, most_rows = {"compression": "snappy"}, sys.maxsize
    with pq.ParquetWriter(path, schema, metadata_collector=footers, **options) as writer:
        for group in _regrouped(schema, chunks, most_rows):
            writer.write_table(group, row_group_size=group.num_rows)


def _regrouped(schema: pa.Schema, chunks: Iterable[pa.Table], most_rows: int) -> Iterator[pa.Table]:
    """Yield the rows of ``chunks`` in tables of ``most_rows`` rows, the last one with the rest."""
    pending = schema.empty_table()
    for chunk in chunks:
        pending = pa.concat_tables([pending, chunk])
        while pending.num_rows >= most_rows:
            yield pending.slice(0, most_rows)
            pending = pending.slice(most_rows)
    if pending.num_rows:
        yield pending
