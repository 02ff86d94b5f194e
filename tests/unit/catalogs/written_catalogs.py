"""Small catalogues, written as archives write theirs, and skies to fill them with."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from astropy.coordinates import angular_separation as vincenty
from cdshealpix.nested import healpix_to_lonlat, lonlat_to_healpix, vertices
from hypothesis import strategies as st

from lightloom.catalogs.layouts import CatalogSpec

Pixel = tuple[int, int]


class Position(NamedTuple):
    ra_deg: float
    dec_deg: float


def cells(ra_deg: Any, dec_deg: Any, order: int) -> np.ndarray:
    return lonlat_to_healpix(
        Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), order, num_threads=1
    ).astype(np.int64)


def separations_arcsec(ra1: Any, dec1: Any, ra2: Any, dec2: Any) -> np.ndarray:
    """Distances by Vincenty's formula: another than the engine's."""
    return np.degrees(vincenty(*(np.radians(value) for value in (ra1, dec1, ra2, dec2)))) * 3600


def offset(position: Position, angle_deg: Any, distance_arcsec: Any) -> tuple[Any, Any]:
    """Positions at a distance from another: around the origin, then turned to it."""
    angle, distance = np.radians(angle_deg), np.radians(np.divide(distance_arcsec, 3600))
    ra, dec = np.radians(position)
    x, east, north = (
        np.cos(distance),
        np.sin(distance) * np.sin(angle),
        np.sin(distance) * np.cos(angle),
    )
    outwards, up = x * np.cos(dec) - north * np.sin(dec), x * np.sin(dec) + north * np.cos(dec)
    moved_ra = ra + np.arctan2(east, outwards)
    return np.degrees(moved_ra) % 360, np.degrees(np.arctan2(up, np.hypot(outwards, east)))


def corner_of(order: int, cell: int, corner: int) -> Position:
    lon, lat = vertices(np.array([cell % (12 * 4**order)]), order)
    return Position(lon.to_value(u.deg)[0, corner] % 360, lat.to_value(u.deg)[0, corner])


def awkward_positions() -> st.SearchStrategy[Position]:
    """Anywhere, at the poles, at RA 0 and at the corners of cells of all orders."""
    ra = st.floats(0, 360, exclude_max=True)
    dec = st.floats(-90, 90)
    gap = st.floats(-1e-3, 1e-3)
    return st.one_of(
        st.builds(Position, ra, dec),
        st.builds(_near_pole, ra, gap),
        st.builds(lambda gap, dec: Position(gap % 360, dec), gap, dec),
        st.builds(corner_of, st.integers(0, 14), st.integers(0, 12 * 4**14 - 1), st.integers(0, 3)),
    )


def _near_pole(ra_deg: float, gap_deg: float) -> Position:
    """Position by a pole: the northern one if the gap is positive."""
    return Position(ra_deg, float(np.copysign(90 - abs(gap_deg), gap_deg)))


def radii_arcsec() -> st.SearchStrategy[float]:
    return st.floats(np.log(0.1), np.log(3600)).map(lambda value: float(np.exp(value)))


def tiling(splits: Iterable[int], holes: Iterable[int]) -> list[Pixel]:
    """Partitions of several orders: base pixels, some split again and again, some left out."""
    pixels = [(0, cell) for cell in range(12)]
    for split in splits:
        order, cell = pixels.pop(split % len(pixels))
        pixels += [(order + 1, 4 * cell + child) for child in range(4)]
    left_out = {hole % len(pixels) for hole in holes}
    return [pixel for index, pixel in enumerate(pixels) if index not in left_out]


def random_table(
    ra_deg: np.ndarray, dec_deg: np.ndarray, seed: int, *, key: str | None = "_healpix_29"
) -> pa.Table:
    """Sources with a nested light curve, sorted by key; some lists are empty or null."""
    rng = np.random.default_rng(seed)
    n_sources = len(ra_deg)
    finest = cells(ra_deg, dec_deg, 29) if n_sources else np.empty(0, np.int64)
    by_cell = np.argsort(finest, kind="stable")
    ra_deg, dec_deg, finest = ra_deg[by_cell], dec_deg[by_cell], finest[by_cell]
    n_epochs = rng.integers(0, 6, n_sources)
    offsets = pa.array(np.concatenate([[0], np.cumsum(n_epochs)]), pa.int32())
    n_rows = int(n_epochs.sum())

    def lists(values: np.ndarray, type_: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values, type_))

    light_curve = pa.StructArray.from_arrays(
        [
            lists(58000 + rng.random(n_rows), pa.float64()),
            lists(rng.random(n_rows), pa.float32()),
            lists(rng.integers(0, 1 << 16, n_rows), pa.int32()),
        ],
        names=["hmjd", "mag", "catflags"],
        mask=pa.array(n_epochs == 5),
    )
    columns = {
        "objectid": pa.array(rng.permutation(n_sources) + 10**15, pa.int64()),
        "filterid": pa.array(rng.integers(1, 4, n_sources), pa.int8()),
        "objra": pa.array(ra_deg),
        "objdec": pa.array(dec_deg),
        "lightcurve": light_curve,
    }
    if key == "_healpix_29":
        columns = {key: pa.array(finest)} | columns
    elif key == "_hipscat_index":
        ranked = ((finest >> 20).astype(np.uint64) << np.uint64(22)) + np.arange(
            n_sources, dtype=np.uint64
        )
        columns = {key: pa.array(ranked)} | columns
    return pa.table(columns)


def write_hats(
    root: Path, table: pa.Table, pixels: Iterable[Pixel], *, suffix: str = ".parquet",
    n_files: int = 1, partition_info: bool = True, **write_options: Any,
) -> CatalogSpec:  # fmt: skip
    """Write a HATS catalogue: a file per pixel, or (suffix ``/``) a folder of files."""
    pixels = list(pixels)
    root.mkdir(parents=True)
    (root / "hats.properties").write_text(
        f"obs_collection=small\ndataproduct_type=object\nhats_npix_suffix={suffix}\n"
    )
    if partition_info:
        lines = [f"{order},{cell}" for order, cell in pixels]
        (root / "partition_info.csv").write_text("\n".join(["Norder,Npix", *lines, ""]))
    ra, dec = table["objra"].to_numpy(), table["objdec"].to_numpy()
    for order, cell in pixels:
        here = table.filter(cells(ra, dec, order) == cell) if len(ra) else table
        folder = root / "dataset" / f"Norder={order}" / f"Dir={cell // 10_000 * 10_000}"
        path = folder / f"Npix={cell}{suffix.rstrip('/')}"
        if suffix == "/":
            path.mkdir(parents=True)
            for number in range(n_files):
                part = here.take(np.arange(number, here.num_rows, n_files))
                pq.write_table(part, path / f"part{number}.parquet", **write_options)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(here, path, **write_options)
    return CatalogSpec(str(root), "hats", "objra", "objdec", "objectid")


def write_hive(
    root: Path, table: pa.Table, key: str, order: int, **write_options: Any
) -> CatalogSpec:
    """Write a folder per touched pixel of one order, and an empty ``_metadata``."""
    root.mkdir(parents=True)
    ra, dec = table["objra"].to_numpy(), table["objdec"].to_numpy()
    cell = cells(ra, dec, order)
    for pixel in np.unique(cell):
        folder = root / f"{key}={pixel}"
        folder.mkdir()
        pq.write_table(
            table.filter(cell == pixel), folder / "part0.snappy.parquet", **write_options
        )
    (root / "_metadata").touch()
    return CatalogSpec(str(root), "hive", "objra", "objdec", "objectid", partition=key)


def in_memory(spec: CatalogSpec) -> CatalogSpec:
    """The same catalogue in a store that is not the local file system."""
    fsspec.filesystem("memory").put(spec.endpoint, spec.endpoint, recursive=True)
    return replace(spec, endpoint=f"memory://{spec.endpoint}")


def sources_around(
    targets: list[Position], radius_arcsec: float, rng: np.random.Generator, n_each: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """Sources within the radius, at its very edge on both sides, and beyond."""
    factors = np.array([0.0, 0.3, 1 - 1e-6, 1 + 1e-6, 1.3, 4.0])
    ra, dec = [], []
    for target in targets:
        distance = rng.choice(factors, n_each) * radius_arcsec
        found = offset(target, rng.uniform(0, 360, n_each), distance)
        ra.append(found[0] % 360)
        dec.append(found[1])
    return np.concatenate(ra), np.concatenate(dec)


def pixel_centres(pixels: Iterable[Pixel]) -> list[Position]:
    orders, numbers = zip(*pixels, strict=True)
    lon, lat = healpix_to_lonlat(np.array(numbers, np.uint64), np.array(orders, np.uint8))
    return [Position(*pair) for pair in zip(lon.to_value(u.deg), lat.to_value(u.deg), strict=True)]
