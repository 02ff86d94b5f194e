"""How the embedded catalogues lie on disk: as HATS and as hive-partitioned Parquet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hats.catalog import CatalogType, PartitionInfo, TableProperties
from hats.io import paths, write_parquet_metadata
from hats.io.file_io import get_parquet_write_table_kwargs, write_fits_image
from hats.io.skymap import write_skymap
from hats.pixel_math import HealpixPixel
from hats.pixel_math.partition_stats import generate_alignment
from numpy.typing import NDArray

#: Name of the file in a partition's folder.
PART_NAME = "part0.snappy.parquet"

#: Order of the cells whose objects the map of a HATS catalogue counts.
SKYMAP_ORDER = 8

_HEALPIX_ORDER = 29


def paged_options(schema: pa.Schema, page_rows: int) -> dict[str, Any]:
    """Return options of `pyarrow.parquet.ParquetWriter` for small pages with a page index.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns of the file.
    page_rows : int
        Most rows of a page.

    Returns
    -------
    dict
        The encodings that HATS writes today: without dictionaries of floating-point numbers, which
        a reader would have to load whole for a single page.
    """
    options = get_parquet_write_table_kwargs(
        schema, write_table_kwargs={"compression": "snappy", "max_rows_per_page": page_rows}
    )
    del options["row_group_size"]
    return options


def partition_cells(
    cells: NDArray[np.int64], *, max_rows: int, lowest_order: int, highest_order: int
) -> list[HealpixPixel]:
    """Divide the sky so that no partition has too many objects.

    Parameters
    ----------
    cells : ndarray of shape (n_objects,)
        Nested HEALPix cells of order 29.
    max_rows : int
        Most objects of a partition.
    lowest_order, highest_order : int
        Orders between which a partition may lie.

    Returns
    -------
    list of hats.pixel_math.HealpixPixel
        The partitions that hold objects, in the order of the sky.

    Raises
    ------
    ValueError
        If a partition of the highest order has too many objects.
    """
    coarse = cells >> 2 * (_HEALPIX_ORDER - highest_order)
    counts = np.bincount(coarse, minlength=12 * 4**highest_order)
    alignment = generate_alignment(
        counts, highest_order=highest_order, lowest_order=lowest_order, threshold=max_rows
    )
    found = dict.fromkeys(entry[:2] for entry in alignment if entry is not None)
    return [HealpixPixel(int(order), int(pixel)) for order, pixel in found]


def partition_path(catalogue: Path, pixel: HealpixPixel) -> Path:
    """Return the Parquet file of a partition of a HATS catalogue; its folder is made."""
    pointer = paths.new_pixel_catalog_file(
        catalogue, pixel, npix_suffix="/", npix_parquet_name=PART_NAME
    )
    path = Path(pointer.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_hats(
    catalogue: Path,
    table: pa.Table,
    pixels: Sequence[HealpixPixel],
    properties: Mapping[str, Any],
    *,
    row_group_rows: int,
    page_rows: int,
) -> None:
    """Write a table as a HATS catalogue whose partitions are folders.

    Parameters
    ----------
    catalogue : pathlib.Path
        The folder to write, named like the catalogue.
    table : pyarrow.Table
        Objects, sorted by the column ``_healpix_29``.
    pixels : sequence of hats.pixel_math.HealpixPixel
        The partitions; together they hold every object once.
    properties : mapping of str to object
        Properties of the catalogue; see `finish_hats`.
    row_group_rows, page_rows : int
        Most rows of a row group and of a page.
    """
    cells = table["_healpix_29"].to_numpy()
    options = paged_options(table.schema, page_rows)
    for pixel in pixels:
        start, stop = np.searchsorted(cells, cell_range(pixel))
        pq.write_table(
            table.slice(start, stop - start),
            partition_path(catalogue, pixel),
            row_group_size=row_group_rows,
            **options,
        )
    counts = np.bincount(
        cells >> 2 * (_HEALPIX_ORDER - SKYMAP_ORDER), minlength=12 * 4**SKYMAP_ORDER
    )
    finish_hats(catalogue, pixels, counts, properties)


def cell_range(pixel: HealpixPixel) -> tuple[int, int]:
    """Return the first cell of order 29 in a pixel, and the first one after it."""
    shift = 2 * (_HEALPIX_ORDER - pixel.order)
    return pixel.pixel << shift, (pixel.pixel + 1) << shift


def finish_hats(
    catalogue: Path,
    pixels: Sequence[HealpixPixel],
    counts: NDArray[np.int64],
    properties: Mapping[str, Any],
) -> None:
    """Write the files that make a folder of partitions a HATS catalogue.

    Parameters
    ----------
    catalogue : pathlib.Path
        The folder with the partitions in ``dataset``.
    pixels : sequence of hats.pixel_math.HealpixPixel
        The partitions.
    counts : ndarray of shape (12 * 4**SKYMAP_ORDER,)
        Objects in each nested cell of order `SKYMAP_ORDER`.
    properties : mapping of str to object
        HATS properties that depend on the columns, by their names in the properties file.
    """
    write_parquet_metadata(catalogue)
    partition_info = PartitionInfo(list(pixels))
    partition_info.write_to_file(catalogue / "partition_info.csv")
    write_fits_image(counts, paths.get_point_map_file_pointer(catalogue))
    write_skymap(counts, catalogue)
    # No date of creation: the same sky shall have the same bytes.
    all_properties = {
        "obs_collection": catalogue.name,
        "dataproduct_type": CatalogType.OBJECT,
        "hats_nrows": int(counts.sum()),
        "hats_npix_suffix": "/",
        "hats_col_healpix": "_healpix_29",
        "hats_col_healpix_order": _HEALPIX_ORDER,
        "hats_skymap_order": SKYMAP_ORDER,
        "hats_order": partition_info.get_highest_order(),
        "hats_version": "v1.0",
        "moc_sky_fraction": partition_info.calculate_fractional_coverage(),
        **properties,
    }
    TableProperties.model_validate(all_properties).to_properties_file(catalogue)


def write_hive(
    catalogue: Path,
    table: pa.Table,
    partition_column: str,
    *,
    row_group_rows: int,
    page_rows: int,
) -> list[int]:
    """Write a table as Parquet files in hive folders, with ``_metadata`` at the root.

    Parameters
    ----------
    catalogue : pathlib.Path
        The folder to write.
    table : pyarrow.Table
        Rows, sorted by the partition column.
    partition_column : str
        Column whose values name the folders; it is not written into the files.
    row_group_rows, page_rows : int
        Most rows of a row group and of a page.

    Returns
    -------
    list of int
        Values of the partition column.
    """
    values, starts = np.unique(table[partition_column].to_numpy(), return_index=True)
    stops = [*starts[1:], table.num_rows]
    content = table.drop_columns([partition_column])
    footers: list[pq.FileMetaData] = []
    options = paged_options(content.schema, page_rows)
    for value, start, stop in zip(values, starts, stops, strict=True):
        relative = f"{partition_column}={value}/{PART_NAME}"
        (catalogue / relative).parent.mkdir(parents=True)
        pq.write_table(
            content.slice(start, stop - start),
            catalogue / relative,
            row_group_size=row_group_rows,
            metadata_collector=footers,
            **options,
        )
        footers[-1].set_file_path(relative)
    finish_hive(catalogue, content.schema, footers)
    return values.tolist()


def finish_hive(catalogue: Path, schema: pa.Schema, footers: list[pq.FileMetaData]) -> None:
    """Write ``_metadata`` and ``_common_metadata`` of a hive-partitioned catalogue.

    Parameters
    ----------
    catalogue : pathlib.Path
        The folder with the partitions.
    schema : pyarrow.Schema
        Columns of the files.
    footers : list of pyarrow.parquet.FileMetaData
        Footers of the files, with their paths set.
    """
    pq.write_metadata(schema, catalogue / "_common_metadata")
    pq.write_metadata(schema, catalogue / "_metadata", metadata_collector=footers)
