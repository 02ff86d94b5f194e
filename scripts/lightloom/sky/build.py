"""Building the embedded sky: sources, catalogues and the truth about them."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from hats.pixel_math import HealpixPixel

from lightloom.errors import ResultError
from lightloom.sky import gaia, neowise, panstarrs, unwise, ztf
from lightloom.sky.geometry import coordinates, shift
from lightloom.sky.layout import partition_cells, write_hats, write_hive
from lightloom.sky.moving.alerts import AlertNumbers
from lightloom.sky.moving.build import write_moving
from lightloom.sky.places import (
    RADIUS_ARCSEC,
    Place,
    awkward_places,
    sample_places,
)
from lightloom.sky.second_release import SecondRelease, as_published
from lightloom.sky.service_places import service_places
from lightloom.sky.services import write_registries, write_services
from lightloom.sky.sources import source_table, star_table
from lightloom.sky.streams import random_stream
from lightloom.sky.targets import Target, read_sample
from lightloom.sky.truth import Catalogue, Footprint, compute_truth

#: Seed of the sky that `make run` builds.
DEFAULT_SEED = 20180318

_SERVICES, _MOVING, _TRUTH, _AWKWARD = "services", "moving", "truth", "awkward.csv"

#: Everything in the folder of a sky.
_CONTENT = {
    *(
        Path(name).parts[0]
        for name in (
            ztf.CATALOGUE,
            unwise.CATALOGUE,
            gaia.CATALOGUE,
            panstarrs.OBJECTS,
            *map(neowise.catalogue, neowise.SUBSETS),
        )
    ),
    _SERVICES,
    _MOVING,
    _TRUTH,
    _AWKWARD,
}

_FIELD_RADIUS_ARCSEC = 1200.0
_EMPTY_RADIUS_ARCSEC = 60.0

# Partitions of order 2 at the coarsest: its borders are borders of partitions everywhere.
_LOWEST_ORDER, _HIGHEST_ORDER = 2, 7
_ROW_GROUP_ROWS = 128
_PAGE_ROWS = 32
_FLAT_ROW_GROUP_ROWS = 2048
_FLAT_PAGE_ROWS = 256


@dataclass(frozen=True)
class SkySize:
    """How much there is besides the sources meant for targets.

    Attributes
    ----------
    all_sky_stars : int
        Stars all over the footprint of ZTF.
    stars_per_place : int
        Stars around each place, in both archives.
    partition_rows : int
        Most objects of a partition of a HATS catalogue, and a tenth of its most detections.
    alerts : AlertNumbers
        Alerts of moving objects, and others.
    """

    all_sky_stars: int = 6000
    stars_per_place: int = 40
    partition_rows: int = 600
    alerts: AlertNumbers = field(default_factory=AlertNumbers)


FULL_SIZE = SkySize()


def build_sky(
    output: Path, sample: Path, seed: int, size: SkySize = FULL_SIZE, *, release: int = 1
) -> None:
    """Build the embedded sky.

    The folder appears when it is complete. The same arguments give the same bytes.

    Parameters
    ----------
    output : pathlib.Path
        The folder to write; an older sky is replaced.
    sample : pathlib.Path
        Targets around which the sky is built; see `lightloom.sky.targets.read_sample`.
    seed : int
        Seed of all random numbers, not negative.
    size : SkySize, optional
        How much there is besides the sources meant for targets.
    release : int, optional
        1, or 2 for the same sky with some points changed, which ``truth/changes.parquet`` lists.

    Raises
    ------
    SampleError
        If the sample is wrong, or too small for a second release.
    ResultError
        If the folder exists and holds anything but an older sky.
    """
    _check_replaceable(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _write_sky(unfinished, read_sample(sample), seed, size, release)
        if output.exists():
            shutil.rmtree(output)
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check_replaceable(output: Path) -> None:
    found = {path.name for path in output.iterdir()} if output.exists() else set()
    foreign = sorted(found - _CONTENT)
    if foreign:
        raise ResultError(
            f"{output}: found {foreign}, expected nothing or an older sky, which would be replaced"
        )


def _write_sky(output: Path, sample: list[Target], seed: int, size: SkySize, release: int) -> None:
    awkward = [*awkward_places(seed), *service_places()]
    sampled = [*sample_places(sample, seed)]
    places = [*sampled, *awkward]
    targets = [target for place in places for target in place.targets]
    others = [target for place in awkward for target in place.targets]
    _write_targets(output / _AWKWARD, others)
    second = SecondRelease([t for place in sampled for t in place.targets], others, seed)
    edit = as_published if release == 1 else second.edit

    sources = pd.concat(
        [
            source_table(source for place in places for source in place.sources),
            _field_stars(places, targets, seed, size.stars_per_place),
            _all_sky_stars(targets, seed, size.all_sky_stars),
        ],
        ignore_index=True,
    )
    catalogues = {
        "ztf": _write_ztf(output, edit("ztf", (ztf.observe(sources, seed),)), size),
        "unwise": _write_unwise(output, edit("unwise", (unwise.observe(sources, seed),))),
        "gaia": _write_gaia(output, sources, seed, size),
        "panstarrs": _write_panstarrs(output, sources, seed, size),
        "neowise": _write_neowise(output, sources, seed),
    } | write_services(output / _SERVICES, sources, seed, edit)
    write_registries(output / _SERVICES, [*sample, *(t for p in awkward for t in p.targets)], seed)
    write_moving(output / _MOVING, output / _SERVICES, seed, size.alerts)
    lightcurves, states = compute_truth(targets, catalogues)
    truth = output / _TRUTH
    truth.mkdir()
    pq.write_table(lightcurves, truth / "lightcurves.parquet")
    pq.write_table(states, truth / "states.parquet")
    if release > 1:
        pq.write_table(second.changes, truth / "changes.parquet")


def _catalogue(
    archive: str, tables: Sequence[pa.Table], pixels: Sequence[HealpixPixel]
) -> Catalogue:
    radius_arcsec = RADIUS_ARCSEC[archive]
    return Catalogue(tables, radius_arcsec, Footprint(pixels, radius_arcsec))


def _write_ztf(output: Path, tables: tuple[pa.Table, ...], size: SkySize) -> Catalogue:
    (objects,) = tables
    pixels = _write_objects(output / ztf.CATALOGUE, objects, ztf.HATS_PROPERTIES, size)
    return _catalogue("ztf", [objects], pixels)


def _write_gaia(output: Path, sources: pd.DataFrame, seed: int, size: SkySize) -> Catalogue:
    objects = gaia.observe(sources, seed)
    pixels = _write_objects(output / gaia.CATALOGUE, objects, gaia.HATS_PROPERTIES, size)
    return _catalogue("gaia", [objects], pixels)


def _write_panstarrs(output: Path, sources: pd.DataFrame, seed: int, size: SkySize) -> Catalogue:
    objects, detections = panstarrs.observe(sources, seed)
    pixels = _write_objects(output / panstarrs.OBJECTS, objects, panstarrs.OBJECT_PROPERTIES, size)
    write_hats(
        output / panstarrs.DETECTIONS,
        detections,
        _pixels(detections, 10 * size.partition_rows),
        panstarrs.DETECTION_PROPERTIES,
        row_group_rows=_FLAT_ROW_GROUP_ROWS,
        page_rows=_FLAT_PAGE_ROWS,
    )
    return _catalogue("panstarrs", [objects, detections], pixels)


def _write_objects(
    catalogue: Path, objects: pa.Table, properties: Mapping[str, Any], size: SkySize
) -> list[HealpixPixel]:
    """Write a HATS catalogue with a row per object and return its partitions."""
    pixels = _pixels(objects, size.partition_rows)
    write_hats(
        catalogue,
        objects,
        pixels,
        properties,
        row_group_rows=_ROW_GROUP_ROWS,
        page_rows=_PAGE_ROWS,
    )
    return pixels


def _pixels(table: pa.Table, max_rows: int) -> list[HealpixPixel]:
    return partition_cells(
        table["_healpix_29"].to_numpy(),
        max_rows=max_rows,
        lowest_order=_LOWEST_ORDER,
        highest_order=_HIGHEST_ORDER,
    )


def _write_unwise(output: Path, tables: tuple[pa.Table, ...]) -> Catalogue:
    (detections,) = tables
    pixels = _write_detections(output / unwise.CATALOGUE, detections, unwise.PARTITION_ORDER)
    return _catalogue("unwise", [detections], pixels)


def _write_neowise(output: Path, sources: pd.DataFrame, seed: int) -> Catalogue:
    subsets = neowise.observe(sources, seed)
    pixels = {
        pixel
        for subset, detections in subsets.items()
        for pixel in _write_detections(
            output / neowise.catalogue(subset), detections, neowise.PARTITION_ORDER
        )
    }
    return _catalogue("neowise", list(subsets.values()), sorted(pixels))


def _write_detections(catalogue: Path, detections: pa.Table, order: int) -> list[HealpixPixel]:
    """Write a catalogue in hive folders of cells and return its partitions."""
    cells = write_hive(
        catalogue,
        detections,
        f"healpix_k{order}",
        row_group_rows=_FLAT_ROW_GROUP_ROWS,
        page_rows=_FLAT_PAGE_ROWS,
    )
    return [HealpixPixel(order, cell) for cell in cells]


def _write_targets(path: Path, targets: Sequence[Target]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "ra", "dec", "label"])
        for target in targets:
            writer.writerow(
                [target.objectid, repr(target.ra_deg), repr(target.dec_deg), target.label]
            )


def _field_stars(
    places: Sequence[Place], targets: Sequence[Target], seed: int, n_stars: int
) -> pd.DataFrame:
    """Return stars around each place."""
    tables = []
    for place in places:
        if not place.has_field_stars:
            continue
        target = place.targets[0]
        rng = random_stream(seed, "field stars", target.objectid)
        ra_deg, dec_deg = shift(
            np.full(n_stars, target.ra_deg),
            np.full(n_stars, target.dec_deg),
            rng.uniform(0.0, 360.0, n_stars),
            _FIELD_RADIUS_ARCSEC * np.sqrt(rng.random(n_stars)),
        )
        tables.append(star_table(f"field-{target.objectid}", ra_deg, dec_deg, rng, in_unwise=True))
    return _away_from_targets(pd.concat(tables), targets)


def _all_sky_stars(targets: Sequence[Target], seed: int, n_stars: int) -> pd.DataFrame:
    """Return stars spread evenly over the footprint of ZTF."""
    rng = random_stream(seed, "all-sky stars")
    south = np.sin(np.radians(ztf.DEC_MIN_DEG))
    dec_deg = np.degrees(np.arcsin(rng.uniform(south, 1.0, n_stars)))
    stars = star_table("star", rng.uniform(0.0, 360.0, n_stars), dec_deg, rng, in_unwise=False)
    return _away_from_targets(stars, targets)


def _away_from_targets(stars: pd.DataFrame, targets: Sequence[Target]) -> pd.DataFrame:
    """Drop the stars that a search of a target could find."""
    position = coordinates([t.ra_deg for t in targets], [t.dec_deg for t in targets])
    _, separation, _ = coordinates(stars["ra_deg"], stars["dec_deg"]).match_to_catalog_sky(position)
    return stars[separation > _EMPTY_RADIUS_ARCSEC * u.arcsec]
