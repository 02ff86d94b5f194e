"""Searching flat detections as is usual: a table per HEALPix pixel, matched with astropy."""

import re

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from astropy.coordinates import Latitude, Longitude, SkyCoord
from cdshealpix.nested import lonlat_to_healpix
from methods import RADIUS_ARCSEC, Found, Question

_ROLES = ("ra", "dec", "band", "time", "value", "error")


def table_per_pixel(question: Question) -> Found:
    """Read the partition of each target as a table, and match it by `search_around_sky`."""
    spec = question.spec
    partition = spec.columns["partition"]
    order = int(re.search(r"\d+$", partition)[0])
    dataset = ds.parquet_dataset(f"{question.catalogue}/_metadata", partitioning="hive")
    columns = [spec.columns[role] for role in _ROLES]
    targets = question.targets
    pixels = lonlat_to_healpix(
        Longitude(targets["ra"], u.deg), Latitude(targets["dec"], u.deg), order
    )
    frames = []
    for pixel in np.unique(pixels).tolist():
        table = dataset.to_table(columns=columns, filter=ds.field(partition) == pixel)
        inside = targets[pixels == pixel].reset_index(drop=True)
        frames.append(_matched(table.to_pandas(), inside, spec.columns))
    found = pd.concat(frames, ignore_index=True)
    names = {int(code): band["name"] for code, band in spec.bands.items()}
    return Found(lambda: found.assign(band=found["band"].map(names)), {})


def _matched(
    detections: pd.DataFrame, targets: pd.DataFrame, columns: dict[str, str]
) -> pd.DataFrame:
    position = SkyCoord(detections[columns["ra"]], detections[columns["dec"]], unit=u.deg)
    near = SkyCoord(targets["ra"], targets["dec"], unit=u.deg)
    detection, target, separation, _ = near.search_around_sky(position, RADIUS_ARCSEC * u.arcsec)
    rows = detections.iloc[detection].reset_index(drop=True)
    return rows.rename(columns={columns[role]: role for role in _ROLES}).assign(
        target=targets["number"].to_numpy()[target], separation_arcsec=separation.arcsec
    )
