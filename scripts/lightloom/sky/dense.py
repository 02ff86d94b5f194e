"""Large catalogues of random sources in the archives' layouts, to measure readers with.

The sources fill cells of order 5 that are spread evenly over the footprint of ZTF; each cell is one
partition of either catalogue. Real catalogues are as dense, and have partitions of that order.
Memory grows with the largest row group, not with the number of objects.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cdshealpix
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hats.pixel_math import HealpixPixel

from lightloom.sky import unwise, ztf
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

#: Rows made at a time, so that the content does not depend on the row groups.
_ZTF_CHUNK_OBJECTS = 16_384
_UNWISE_CHUNK_SOURCES = 4_096

_PAGE_ROWS = 1000
_FAINTEST_MAG = 20.9
_TIMES_PER_FIELD = 3000
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


def build_dense(
    output: Path, size: DenseSize, layout: Layout, row_group_rows: int, seed: int
) -> None:
    """Write a large ZTF-like and a large unWISE-like catalogue.

    The rows depend on the size and the seed, not on the layout.

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
    hats, hive = output / ztf.CATALOGUE, output / unwise.CATALOGUE
    pixels = _spread_pixels(size.n_partitions)
    n_sources = np.full(len(pixels), size.n_objects // 2 // len(pixels))
    n_sources[: size.n_objects // 2 % len(pixels)] += 1
    counts = np.zeros(12 * 4**SKYMAP_ORDER, dtype=np.int64)
    footers: list[pq.FileMetaData] = []
    for number, (pixel, n) in enumerate(zip(pixels, n_sources, strict=True)):
        sources = _sources(pixel, int(n), seed)
        objects = _objects(sources, number, seed)
        cells = objects["_healpix_29"].to_numpy() >> 2 * (29 - SKYMAP_ORDER)
        counts += np.bincount(cells, minlength=counts.size)
        _write_part(
            partition_path(hats, pixel),
            ztf.SCHEMA,
            _ztf_chunks(objects, sources, size, seed, number),
            layout,
            row_group_rows,
        )
        relative = f"{unwise.PARTITION_COLUMN}={pixel.pixel}/{PART_NAME}"
        (hive / relative).parent.mkdir(parents=True)
        _write_part(
            hive / relative,
            unwise.SCHEMA,
            _unwise_chunks(sources, size, seed, number),
            layout,
            row_group_rows,
            footers,
        )
        footers[-1].set_file_path(relative)
    finish_hats(hats, pixels, counts, ztf.HATS_PROPERTIES)
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


def _objects(sources: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """Return an object in g and one in r for each source, in the order of the catalogue."""
    objects = pd.DataFrame(
        {
            "source": np.repeat(np.arange(len(sources)), 2),
            "filterid": np.tile([1, 2], len(sources)),
        }
    )
    objects = objects.assign(fieldid=245 + number, rcid=objects["source"] % 64)
    objects = ztf.catalogue_positions(
        objects, sources, random_stream(seed, "dense positions", number)
    ).sort_values(["_healpix_29", "source", "filterid"])
    return objects.assign(objectid=ztf.object_ids(objects)).sort_values(
        ["_healpix_29", "objectid"], ignore_index=True
    )


def _ztf_chunks(
    objects: pd.DataFrame, sources: pd.DataFrame, size: DenseSize, seed: int, number: int
) -> Iterator[pa.Table]:
    times_mjd = np.sort(
        random_stream(seed, "dense times", number).uniform(58200.0, 60600.0, _TIMES_PER_FIELD)
    )
    for start in range(0, len(objects), _ZTF_CHUNK_OBJECTS):
        chunk = objects[start : start + _ZTF_CHUNK_OBJECTS].reset_index(drop=True)
        rng = random_stream(seed, "dense light curves", number, start)
        n_epochs = np.maximum(1, rng.poisson(size.mean_epochs, len(chunk)))
        total = np.repeat(n_epochs, n_epochs)
        index = np.arange(total.size) - np.repeat(np.cumsum(n_epochs) - n_epochs, n_epochs)
        # One time in each of n equal parts of the field's times: in order without sorting.
        chosen = ((index + rng.random(total.size)) * (_TIMES_PER_FIELD / total)).astype(np.int64)
        exposures = pd.DataFrame(
            {
                "object": np.repeat(np.arange(len(chunk)), n_epochs),
                "exposure_mjd": times_mjd[np.minimum(chosen, _TIMES_PER_FIELD - 1)],
            }
        )
        yield ztf.assemble(chunk, ztf.measure(exposures, chunk, sources, 0.0, rng))


def _unwise_chunks(
    sources: pd.DataFrame, size: DenseSize, seed: int, number: int
) -> Iterator[pa.Table]:
    visit = np.repeat(np.arange(size.n_visits), 2)
    mean_mjd = (
        56700.0 + 182.62 * visit + random_stream(seed, "dense visits", number).random(visit.size)
    )
    visits = pd.DataFrame(
        {
            "coadd_id": f"{number:04d}p000",
            "primary": 1,
            "band": np.tile([1, 2], size.n_visits),
            "EPOCH": visit,
            "nm": 11,
            "MJDMIN": mean_mjd - 0.8,
            "MJDMAX": mean_mjd + 0.8,
            "MJDMEAN": mean_mjd,
        }
    ).sort_values(["band", "EPOCH"])
    for start in range(0, len(sources), _UNWISE_CHUNK_SOURCES):
        rows = np.arange(start, min(start + _UNWISE_CHUNK_SOURCES, len(sources)))
        detections = pd.DataFrame({"source": rows, "number": rows}).merge(visits, how="cross")
        rng = random_stream(seed, "dense detections", number, start)
        yield unwise.measure(detections, sources, 0.0, rng)


def _write_part(
    path: Path,
    schema: pa.Schema,
    chunks: Iterator[pa.Table],
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


def _regrouped(schema: pa.Schema, chunks: Iterator[pa.Table], most_rows: int) -> Iterator[pa.Table]:
    """Yield the rows of ``chunks`` in tables of ``most_rows`` rows, the last one with the rest."""
    pending = schema.empty_table()
    for chunk in chunks:
        pending = pa.concat_tables([pending, chunk])
        while pending.num_rows >= most_rows:
            yield pending.slice(0, most_rows)
            pending = pending.slice(most_rows)
    if pending.num_rows:
        yield pending
