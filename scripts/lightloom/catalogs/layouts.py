"""How catalogues are laid out: which HEALPix partitions there are and where their files lie."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jproperties import Properties, PropertyError

from lightloom.catalogs.markers import COLLECTION_PROPERTIES, HATS_PROPERTIES
from lightloom.catalogs.page_limit import DEFAULT_PAGE_MB
from lightloom.catalogs.storage import names_in, read_bytes
from lightloom.errors import ArchiveError, ArchiveSchemaError, DamagedFileError

#: Types of HATS catalogues that have a position per row.
_POSITIONAL_TYPES = ("object", "source")


@dataclass(frozen=True)
class CatalogSpec:
    """What the catalogue entry of an archive says about its Parquet files.

    Attributes
    ----------
    endpoint : str
        Root of the catalogue: a local path or an ``s3://`` or ``https://`` URL. A HATS collection
        stands for its primary table.
    layout : str
        ``hats`` or ``hive`` (one folder ``<partition>=<pixel>`` per nested HEALPix pixel).
    ra, dec : str
        Columns of the position: degrees, ICRS.
    object_id : str
        Column of the source's id.
    partition : str
        Partition key of a ``hive`` catalogue; its trailing number is the HEALPix order.
    storage_options : mapping
        Options of the fsspec file system.
    page_mb : float
        Largest page of a file that is unpacked [MB].
    """

    endpoint: str
    layout: str
    ra: str
    dec: str
    object_id: str
    partition: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    page_mb: float = DEFAULT_PAGE_MB


class Partition(NamedTuple):
    """A nested HEALPix pixel and the path of its file, or of its folder (ending in ``/``)."""

    order: int
    pixel: int
    path: str


@dataclass(frozen=True)
class Catalog:
    """A catalogue whose partitions are known, ascending on the sky; no data have been read."""

    spec: CatalogSpec
    partitions: tuple[Partition, ...]


def open_catalog(spec: CatalogSpec) -> Catalog:
    """Find the partitions of a catalogue.

    Raises
    ------
    ArchiveError
        If there is no catalogue at the endpoint.
    ArchiveSchemaError
        If it is of another kind than a table with a position per row.
    DamagedFileError
        If its list of partitions cannot be understood.
    TransientArchiveError
        If the store does not answer.
    """
    if spec.layout == "hats":
        partitions = _hats_partitions(spec)
    elif spec.layout == "hive":
        partitions = _hive_partitions(spec)
    else:
        raise ValueError(f"{spec.endpoint}: layout is {spec.layout!r}, expected 'hats' or 'hive'")
    ascending = sorted(partitions, key=lambda part: (part.pixel << 2 * (29 - part.order), part))
    return Catalog(spec, tuple(ascending))


def partition_files(partition: Partition, storage_options: Mapping[str, Any]) -> list[str]:
    """Return the Parquet files of a partition, sorted by name.

    Raises
    ------
    DamagedFileError
        If the partition's folder is absent or holds no file.
    """
    if not partition.path.endswith("/"):
        return [partition.path]
    names = [
        name
        for name in names_in(partition.path, storage_options)
        if name.endswith((".parquet", ".parq")) and not name.startswith(("_", "."))
    ]
    if not names:
        raise DamagedFileError(f"{partition.path}: the partition is listed but holds no file")
    return [partition.path + name for name in names]


def _hats_partitions(spec: CatalogSpec) -> list[Partition]:
    root, properties = hats_root(spec.endpoint.rstrip("/"), spec.storage_options)
    kind = properties.get("dataproduct_type", "")
    if kind not in _POSITIONAL_TYPES:
        raise ArchiveSchemaError(
            f"{root}: dataproduct_type is {kind!r}, expected one of {_POSITIONAL_TYPES}"
        )
    suffix = properties.get("hats_npix_suffix", ".parquet")
    return [
        Partition(
            order,
            pixel,
            f"{root}/dataset/Norder={order}/Dir={pixel // 10_000 * 10_000}/Npix={pixel}{suffix}",
        )
        for order, pixel in _hats_pixels(root, spec.storage_options)
    ]


def hats_root(root: str, storage_options: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the root of a HATS catalogue, of a collection that of its primary table; properties.

    Raises
    ------
    ArchiveError
        If there is no catalogue.
    """
    for name in HATS_PROPERTIES:
        properties = _read_properties(f"{root}/{name}", storage_options)
        if properties is not None:
            return root, properties
    path = f"{root}/{COLLECTION_PROPERTIES}"
    collection = _read_properties(path, storage_options)
    if collection is None:
        raise ArchiveError(
            f"{root}: no HATS catalogue, found none of "
            f"{', '.join((*HATS_PROPERTIES, COLLECTION_PROPERTIES))}"
        )
    if "hats_primary_table_url" not in collection:
        raise DamagedFileError(f"{path}: no hats_primary_table_url, found {sorted(collection)}")
    return hats_root(f"{root}/{collection['hats_primary_table_url']}", storage_options)


def _read_properties(path: str, storage_options: Mapping[str, Any]) -> dict[str, str] | None:
    content = read_bytes(path, storage_options)
    if content is None:
        return None
    properties = Properties()
    try:
        properties.load(content, "utf-8")
    except (PropertyError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path}: no properties file ({error})") from error
    return dict(properties.properties)


def _hats_pixels(root: str, storage_options: Mapping[str, Any]) -> list[tuple[int, int]]:
    path = f"{root}/partition_info.csv"
    content = read_bytes(path, storage_options)
    if content is None:
        return _listed_hats_pixels(f"{root}/dataset", storage_options)
    rows = csv.DictReader(content.decode(errors="replace").splitlines())
    try:
        return [(int(row["Norder"]), int(row["Npix"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"{path}: line {rows.line_num}: Norder and Npix expected as whole numbers ({error!r})"
        ) from error


def _listed_hats_pixels(dataset: str, storage_options: Mapping[str, Any]) -> list[tuple[int, int]]:
    pixels = []
    for norder in names_in(dataset, storage_options):
        if norder.startswith("Norder="):
            for directory in names_in(f"{dataset}/{norder}", storage_options):
                for npix in names_in(f"{dataset}/{norder}/{directory}", storage_options):
                    found = re.match(r"Npix=(\d+)", npix)
                    if found:
                        pixels.append((int(norder.removeprefix("Norder=")), int(found[1])))
    return pixels


def _hive_partitions(spec: CatalogSpec) -> list[Partition]:
    order = re.search(r"\d+$", spec.partition)
    if order is None:
        raise ValueError(
            f"{spec.endpoint}: partition is {spec.partition!r}, expected a name that ends in the "
            "HEALPix order, such as 'healpix_k5'"
        )
    root = spec.endpoint.rstrip("/")
    folder = re.compile(rf"{re.escape(spec.partition)}=(\d+)")
    found = [folder.fullmatch(name) for name in names_in(root, spec.storage_options)]
    partitions = [
        Partition(int(order[0]), int(match[1]), f"{root}/{match[0]}/") for match in found if match
    ]
    if not partitions:
        raise ArchiveError(f"{root}: no hive catalogue, found no folder {spec.partition}=<pixel>")
    return partitions
