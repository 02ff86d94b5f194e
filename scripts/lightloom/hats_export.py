"""Write the light curves as a HATS catalogue: one row per target, its light curve nested.

The partitions are the shards: both are leaves of the nested HEALPix tree. LSDB opens the catalogue;
the format is described in the IVOA note https://www.ivoa.net/documents/Notes/HATS/.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from hats.catalog import CatalogType, PartitionInfo, TableProperties
from hats.io import paths
from hats.io.file_io import write_fits_image
from hats.io.parquet_metadata import write_parquet_metadata
from hats.io.skymap import write_skymap
from hats.pixel_math import HealpixPixel
from numpy.typing import NDArray

from lightloom import __version__
from lightloom.errors import ResultError
from lightloom.progress import progress_lines
from lightloom.schema import LEDGER, LIGHTCURVE, SAMPLE, SHARD
from lightloom.sharding import POSITION_ORDER, parse_leaf
from lightloom.storage import ParquetSink
from lightloom.stream import BLOCK_ROWS, regroup

#: Name of the nested column.
NESTED = "lightcurve"

_LISTS = [
    pa.field(field.name, pa.list_(field.type), metadata=field.metadata)
    for field in LIGHTCURVE
    if field.name != "objectid"
]

#: Columns of the catalogue.
SCHEMA = pa.schema(
    [
        SHARD.field("_healpix_29"),
        SHARD.field("objectid"),
        SHARD.field("ra_deg"),
        SHARD.field("dec_deg"),
        SAMPLE.field("labels"),
        LEDGER.field("n_rows"),
        pa.field(NESTED, pa.struct(_LISTS)),
    ]
)

#: Version of the HATS note that is followed.
_HATS_VERSION = "v1.0"
#: HEALPix order of the map of target counts (0.05 square degrees a cell).
_SKYMAP_ORDER = 8
#: A row group ends after so many light-curve rows or targets, whichever comes first.
_GROUP_ROWS = BLOCK_ROWS
_GROUP_TARGETS = 4096


@dataclass(frozen=True)
class ShardFiles:
    """Files of a shard: its targets (``SHARD``), and their merged rows (``LIGHTCURVE``)."""

    targets: Path
    lightcurves: Path


def write_hats(*, shards: Sequence[ShardFiles], sample_path: Path, catalog_path: Path) -> None:
    """Write a HATS catalogue of all targets, also of those without a light curve.

    Bytes depend on the tables alone. Memory is bounded by the rows of a row group or of the target
    with most rows, whichever is more, and by the targets of the largest shard.

    Parameters
    ----------
    shards : sequence of ShardFiles
        In the order of the sky.
    sample_path : pathlib.Path
        The sample, in the same order of targets (``SAMPLE``): it has the labels.
    catalog_path : pathlib.Path
        Folder of the catalogue; it appears when it is whole, in place of an older one.

    Raises
    ------
    ResultError
        If the tables do not belong together.
    """
    temporary = catalog_path.with_name(f".{catalog_path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    n_targets: dict[HealpixPixel, int] = {}
    counts = np.zeros(12 * 4**_SKYMAP_ORDER, np.int64)
    sizes = (pq.read_metadata(shard.targets).num_rows for shard in shards)
    samples = regroup(_batches(sample_path, ["objectid", "labels"]), sizes, _LABELLED)
    with progress_lines(len(shards), "shards written") as progress:
        for shard, labelled in zip(shards, samples, strict=True):
            targets = _read_targets(shard.targets, labelled, sample_path)
            cells = targets["_healpix_29"].to_numpy()
            counts += np.bincount(_pixels(cells, _SKYMAP_ORDER), minlength=len(counts))
            partitions = _partitions(shard.targets.stem, cells)
            n_targets |= _write_shard(shard, targets, partitions, temporary)
            progress.advance()
    _write_metadata(temporary, catalog_path.name, n_targets, counts)
    shutil.rmtree(catalog_path, ignore_errors=True)
    temporary.rename(catalog_path)


_LABELLED = pa.schema([SAMPLE.field("objectid"), SAMPLE.field("labels")])


def _batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        for batch in file.iter_batches(BLOCK_ROWS, columns=columns):
            yield pa.table(batch)


def _pixels(cells: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    return cells >> 2 * (POSITION_ORDER - order)


def _read_targets(path: Path, labelled: pa.Table, sample_path: Path) -> pa.Table:
    targets = pq.read_table(path, columns=["_healpix_29", "objectid", "ra_deg", "dec_deg"])
    if not targets["objectid"].equals(labelled["objectid"]):
        raise ResultError(f"{path}: its targets are not those of {sample_path} in the same order")
    return targets.append_column(SCHEMA.field("labels"), labelled["labels"]).combine_chunks()


def _partitions(shard: str, cells: NDArray[np.int64]) -> dict[HealpixPixel, slice]:
    """Divide the rows of a shard over HEALPix pixels: one, or the base pixels of the whole sky."""
    leaf = parse_leaf(shard)
    if leaf is not None:
        return {HealpixPixel(*leaf): slice(0, len(cells))}
    pixels, starts = np.unique(_pixels(cells, 0), return_index=True)
    stops = [*starts[1:], len(cells)]
    return {
        HealpixPixel(0, int(pixel)): slice(int(start), int(stop))
        for pixel, start, stop in zip(pixels, starts, stops, strict=True)
    }


def _count_rows(path: Path, objectids: pa.Array) -> NDArray[np.int64]:
    n_rows = np.zeros(len(objectids), np.int64)
    last = 0
    for batch in _batches(path, ["objectid"]):
        numbers = pc.index_in(batch["objectid"], objectids)
        if numbers.null_count:
            stranger = batch["objectid"].filter(numbers.is_null())[0].as_py()
            raise ResultError(f"{path}: target {stranger!r} is not in the shard")
        targets = numbers.to_numpy()
        if targets[0] < last or np.any(targets[1:] < targets[:-1]):
            raise ResultError(f"{path}: its rows are not in the order of the shard's targets")
        last = targets[-1]
        n_rows += np.bincount(targets, minlength=len(objectids))
    return n_rows


def _row_groups(n_rows: NDArray[np.int64], targets: slice) -> Iterator[slice]:
    """Cut a run of targets so that no piece has too many rows, unless a single target has."""
    ends = np.cumsum(n_rows)
    start = targets.start
    while start < targets.stop:
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + _GROUP_ROWS, side="right"))
        stop = min(max(stop, start + 1), start + _GROUP_TARGETS, targets.stop)
        yield slice(start, stop)
        start = stop


def _write_shard(
    shard: ShardFiles,
    targets: pa.Table,
    partitions: dict[HealpixPixel, slice],
    catalog_path: Path,
) -> dict[HealpixPixel, int]:
    n_rows = _count_rows(shard.lightcurves, targets["objectid"].chunk(0))
    groups = {pixel: list(_row_groups(n_rows, part)) for pixel, part in partitions.items()}
    sizes = [int(n_rows[group].sum()) for pieces in groups.values() for group in pieces]
    rows = regroup(_batches(shard.lightcurves), sizes, LIGHTCURVE)
    for pixel, pieces in groups.items():
        path = Path(str(paths.pixel_catalog_file(catalog_path, pixel)))
        with ParquetSink(path, SCHEMA) as sink:
            for group in pieces:
                block = targets.slice(group.start, group.stop - group.start)
                sink.write_row_group(_nest(block, n_rows[group], next(rows)))
    return {pixel: part.stop - part.start for pixel, part in partitions.items()}


def _nest(targets: pa.Table, n_rows: NDArray[np.int64], rows: pa.Table) -> pa.Table:
    offsets = pa.array(np.concatenate([[0], np.cumsum(n_rows)]), pa.int32())
    lists = [
        pa.ListArray.from_arrays(offsets, rows[field.name].combine_chunks(), type=field.type)
        for field in _LISTS
    ]
    nested = pa.StructArray.from_arrays(lists, fields=_LISTS)
    return targets.append_column("n_rows", pa.array(n_rows)).append_column(NESTED, nested)


def _write_metadata(
    catalog_path: Path, name: str, n_targets: dict[HealpixPixel, int], counts: NDArray[np.int64]
) -> None:
    write_parquet_metadata(catalog_path)
    partitions = PartitionInfo.from_healpix(list(n_targets))
    partitions.write_to_file(catalog_path=catalog_path)
    write_skymap(counts, catalog_path)
    write_fits_image(counts, paths.get_point_map_file_pointer(catalog_path))
    properties = TableProperties.model_validate(
        {
            "catalog_name": name,
            "catalog_type": CatalogType.OBJECT,
            "total_rows": sum(n_targets.values()),
            "ra_column": "ra_deg",
            "dec_column": "dec_deg",
            "healpix_column": "_healpix_29",
            "healpix_order": POSITION_ORDER,
            "skymap_order": _SKYMAP_ORDER,
            "hats_max_rows": max(n_targets.values()),
            "moc_sky_fraction": float(f"{partitions.calculate_fractional_coverage():.5g}"),
            "hats_order": partitions.get_highest_order(),
            "hats_builder": f"lightloom v{__version__}",
            "hats_version": _HATS_VERSION,
        }
    )
    properties.to_properties_file(catalog_path)
