"""Which rows of a source become targets: those in a part of the sky, and no more than a number."""

import hashlib
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import angular_separation
from mocpy import MOC
from numpy.typing import NDArray

from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.coordinates import FloatArray


def within_cuts(
    source: TableSource, ra_deg: FloatArray, dec_deg: FloatArray, ids: pa.Array
) -> NDArray[np.bool_]:
    """Tell which rows a source keeps.

    First the sky is cut, then the number. Rows with the same id stay together. Which ids stay does
    not depend on the order of the rows, and another row changes one of them at most.

    Parameters
    ----------
    source : TableSource
        Its ``cone``, ``moc`` and ``max_targets``.
    ra_deg, dec_deg : ndarray, shape (n,)
        ICRS [deg].
    ids : pyarrow.Array of string, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    SampleError
        If the coverage cannot be read.
    """
    kept = np.ones(len(ra_deg), dtype=bool)
    if source.cone is not None:
        centre_rad = np.deg2rad([source.cone["ra_deg"], source.cone["dec_deg"]])
        distance_rad = angular_separation(*centre_rad, np.deg2rad(ra_deg), np.deg2rad(dec_deg))
        kept &= distance_rad <= np.deg2rad(source.cone["radius_deg"])
    if source.moc is not None:
        kept &= _read_moc(source.moc).contains_lonlat(ra_deg * u.deg, dec_deg * u.deg)
    if source.max_targets is not None:
        kept[kept] = _fewest(ids.filter(pa.array(kept)), source.max_targets)
    return kept


def _read_moc(path: str) -> MOC:
    if not Path(path).is_file():
        raise SampleError(f"{path}: no such file, expected a multi-order coverage (MOC)")
    format_ = {".fits": "fits", ".json": "json"}.get(Path(path).suffix.lower(), "ascii")
    try:
        return MOC.load(path, format=format_)
    except (OSError, ValueError) as error:
        raise SampleError(
            f"{path}: found no multi-order coverage (MOC) in {format_} ({error})"
        ) from None


def _fewest(ids: pa.Array, max_ids: int) -> NDArray[np.bool_]:
    encoded = ids.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    digests = [hashlib.sha256(text.encode()).digest() for text in distinct]
    chosen = np.zeros(len(distinct), dtype=bool)
    chosen[sorted(range(len(distinct)), key=digests.__getitem__)[:max_ids]] = True
    return np.asarray(chosen[encoded.indices.to_numpy()])
