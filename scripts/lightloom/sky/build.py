"""Building the embedded sky: sources, catalogues and the truth about them."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from astropy import units as u
from hats.pixel_math import HealpixPixel

from lightloom.errors import ResultError
from lightloom.sky import unwise, ztf
from lightloom.sky.geometry import coordinates, shift
from lightloom.sky.layout import partition_cells, write_hats, write_hive
from lightloom.sky.places import (
    UNWISE_RADIUS_ARCSEC,
    ZTF_RADIUS_ARCSEC,
    Place,
    awkward_places,
    sample_places,
)
from lightloom.sky.sources import source_table, star_table
from lightloom.sky.streams import random_stream
from lightloom.sky.targets import Target, read_sample
from lightloom.sky.truth import Footprint, compute_truth

#: Seed of the sky that `make run` builds.
DEFAULT_SEED = 20180318

_TRUTH, _AWKWARD = "truth", "awkward.csv"

_FIELD_RADIUS_ARCSEC = 1200.0
_EMPTY_RADIUS_ARCSEC = 60.0

# Partitions of order 2 at the coarsest: its borders are borders of partitions everywhere.
_ZTF_LOWEST_ORDER, _ZTF_HIGHEST_ORDER = 2, 6
_ROW_GROUP_ROWS = 128
_PAGE_ROWS = 32
_UNWISE_ROW_GROUP_ROWS = 2048
_UNWISE_PAGE_ROWS = 256


@dataclass(frozen=True)
class SkySize:
    """How much there is besides the sources meant for targets.

    Attributes
    ----------
    all_sky_stars : int
        Stars all over the footprint of ZTF.
    stars_per_place : int
        Stars around each place, in both archives.
    ztf_partition_rows : int
        Most objects of a partition of the ZTF catalogue.
    """

    all_sky_stars: int = 6000
    stars_per_place: int = 40
    ztf_partition_rows: int = 600


FULL_SIZE = SkySize()


def build_sky(output: Path, sample: Path, seed: int, size: SkySize = FULL_SIZE) -> None:
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

    Raises
    ------
    SampleError
        If the sample is wrong.
    ResultError
        If the folder exists and holds anything but an older sky.
    """
    _check_replaceable(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _write_sky(unfinished, read_sample(sample), seed, size)
        if output.exists():
            shutil.rmtree(output)
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check_replaceable(output: Path) -> None:
    found = {path.name for path in output.iterdir()} if output.exists() else set()
    foreign = sorted(found - {ztf.CATALOGUE, unwise.CATALOGUE, _TRUTH, _AWKWARD})
    if foreign:
        raise ResultError(
            f"{output}: found {foreign}, expected nothing or an older sky, which would be replaced"
        )


def _write_sky(output: Path, sample: list[Target], seed: int, size: SkySize) -> None:
    awkward = list(awkward_places(seed))
    places = [*sample_places(sample, seed), *awkward]
    targets = [target for place in places for target in place.targets]
    _write_targets(output / _AWKWARD, [t for place in awkward for t in place.targets])

    sources = pd.concat(
        [
            source_table(source for place in places for source in place.sources),
            _field_stars(places, targets, seed, size.stars_per_place),
            _all_sky_stars(targets, seed, size.all_sky_stars),
        ],
        ignore_index=True,
    )
    objects = ztf.observe(sources, seed)
    detections = unwise.observe(sources, seed)

    ztf_pixels = partition_cells(
        objects["_healpix_29"].to_numpy(),
        max_rows=size.ztf_partition_rows,
        lowest_order=_ZTF_LOWEST_ORDER,
        highest_order=_ZTF_HIGHEST_ORDER,
    )
    write_hats(
        output / ztf.CATALOGUE,
        objects,
        ztf_pixels,
        ztf.HATS_PROPERTIES,
        row_group_rows=_ROW_GROUP_ROWS,
        page_rows=_PAGE_ROWS,
    )
    unwise_cells = write_hive(
        output / unwise.CATALOGUE,
        detections,
        unwise.PARTITION_COLUMN,
        row_group_rows=_UNWISE_ROW_GROUP_ROWS,
        page_rows=_UNWISE_PAGE_ROWS,
    )
    lightcurves, states = compute_truth(
        targets,
        objects,
        detections,
        Footprint(ztf_pixels, ZTF_RADIUS_ARCSEC),
        Footprint(
            [HealpixPixel(unwise.PARTITION_ORDER, cell) for cell in unwise_cells],
            UNWISE_RADIUS_ARCSEC,
        ),
    )
    truth = output / _TRUTH
    truth.mkdir()
    pq.write_table(lightcurves, truth / "lightcurves.parquet")
    pq.write_table(states, truth / "states.parquet")


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
