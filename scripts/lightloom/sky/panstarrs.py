"""Pan-STARRS of the embedded sky: mean objects, and their detections in a catalogue of their own.

The catalogues have columns of the objects (otmo) and detections of Pan-STARRS1 DR2 that STScI
serves as HATS catalogues. A detection lies in the partition of its own position, which need not be
that of its object; what is missing is -999.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hats.catalog import CatalogType
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.sources import variation_mag
from lightloom.sky.streams import random_stream

OBJECTS, DETECTIONS = "panstarrs/otmo", "panstarrs/detection"

#: Southern limit of the survey. [deg]
DEC_MIN_DEG = -30.0

FILTER_BANDS = {1: "g", 2: "r", 3: "i", 4: "z", 5: "y"}

#: Value of a missing number.
MISSING = -999.0

OBJECT_SCHEMA = pa.schema(
    [
        described_field("_healpix_29", pa.int64(), "nested HEALPix cell of order 29"),
        described_field("objID", pa.int64(), "object identifier"),
        described_field("raMean", pa.float64(), "mean right ascension", "deg"),
        described_field("decMean", pa.float64(), "mean declination", "deg"),
        described_field("nDetections", pa.int32(), "detections of the object"),
        described_field("epochMean", pa.float64(), "mean epoch of the detections", "d"),
    ]
)

DETECTION_SCHEMA = pa.schema(
    [
        described_field("_healpix_29", pa.int64(), "nested HEALPix cell of order 29"),
        described_field("objID", pa.int64(), "identifier of the detection's object"),
        described_field("detectID", pa.int64(), "detection identifier"),
        described_field("ra", pa.float64(), "right ascension", "deg"),
        described_field("dec", pa.float64(), "declination", "deg"),
        described_field("obsTime", pa.float64(), "middle of the exposure, MJD (TAI)", "d"),
        described_field("filterID", pa.int16(), "1 g, 2 r, 3 i, 4 z, 5 y"),
        described_field("psfFlux", pa.float64(), "PSF flux", "Jy"),
        described_field("psfFluxErr", pa.float64(), "its 1-sigma error", "Jy"),
        described_field("apFlux", pa.float64(), "aperture flux", "Jy"),
        described_field("psfQfPerfect", pa.float64(), "PSF-weighted share of unmasked pixels"),
        described_field("infoFlag", pa.int64(), "flags of the photometry"),
        described_field("infoFlag2", pa.int32(), "more flags of the photometry"),
        described_field("infoFlag3", pa.int32(), "flags of the detection"),
    ]
)

#: Properties of the HATS catalogues that depend on their columns.
OBJECT_PROPERTIES = {
    "hats_col_ra": "raMean",
    "hats_col_dec": "decMean",
    "hats_cols_default": ["objID", "raMean", "decMean", "nDetections"],
}
DETECTION_PROPERTIES = {
    "dataproduct_type": CatalogType.SOURCE,
    "hats_col_ra": "ra",
    "hats_col_dec": "dec",
    "hats_cols_default": ["objID", "ra", "dec", "obsTime", "filterID", "psfFlux", "psfFluxErr"],
}

# Mean colours of stars and the band in which a source varies alike.
_LIKE = {"g": ("g", 0.0), "r": ("r", 0.0), "i": ("i", 0.0), "z": ("i", -0.1), "y": ("i", -0.15)}
SURVEY_MJD = (55_250.0, 56_900.0)
EXPOSURES_PER_FILTER = 14
KEPT_EXPOSURES = 0.85
# All sources of a cell of this order are seen by the same exposures.
_POINTING_ORDER = 5
#: Noise of an exposure at the sky level. [Jy]
_SKY_NOISE_JY = {"g": 1.1e-6, "r": 1.2e-6, "i": 1.4e-6, "z": 2.4e-6, "y": 6.0e-6}
_AB_ZERO_POINT_JY_MAG = 8.9
_MISSING_FLUX_SHARE, _MISSING_TIME_SHARE, _MISSING_QF_SHARE = 0.02, 0.006, 0.01
_MASKED_SHARE = 0.05


def observe(sources: pd.DataFrame, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the catalogues' rows for some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    objects : pyarrow.Table
        In `OBJECT_SCHEMA`, sorted by cell and object identifier.
    detections : pyarrow.Table
        In `DETECTION_SCHEMA`, sorted by cell and detection identifier.
    """
    is_seen = sources["in_panstarrs"] & (sources["dec_deg"] > DEC_MIN_DEG)
    sources = sources[is_seen].reset_index(drop=True)
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.3 * sources["scatter_arcsec"].to_numpy(),
        random_stream(seed, "panstarrs positions"),
    )
    cells = healpix_cells(ra_deg, dec_deg, 29)
    order = np.argsort(cells, kind="stable")
    sources, ra_deg, dec_deg = (
        sources.iloc[order].reset_index(drop=True),
        ra_deg[order],
        dec_deg[order],
    )
    exposures = _exposures(sources, cells[order], seed)
    source = exposures["source"].to_numpy()
    ids = object_ids(ra_deg, dec_deg)
    epochs = exposures.groupby("source")["obsTime"].agg(["size", "mean"])
    epochs = epochs.reindex(range(len(sources)))
    objects = {
        "_healpix_29": cells[order],
        "objID": ids,
        "raMean": ra_deg,
        "decMean": dec_deg,
        "nDetections": epochs["size"].fillna(0).astype(np.int32),
        "epochMean": epochs["mean"].fillna(MISSING),
    }
    detections = measure(exposures, sources, seed).assign(objID=ids[source])
    detections["ra"], detections["dec"] = scatter(
        ra_deg[source],
        dec_deg[source],
        sources["panstarrs_scatter_arcsec"].to_numpy()[source],
        random_stream(seed, "panstarrs detections"),
    )
    detections["_healpix_29"] = healpix_cells(detections["ra"], detections["dec"], 29)
    detections = detections.sort_values(["_healpix_29", "detectID"])
    return table_of(objects, OBJECT_SCHEMA), table_of(detections, DETECTION_SCHEMA)


def table_of(columns: pd.DataFrame | dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema as a table."""
    arrays = [pa.array(np.asarray(columns[field.name]), field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def object_ids(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return identifiers (of degrees, ICRS): zone of half an arcminute, right ascension, number."""
    zone = np.floor((dec_deg + 90.0) * 120.0).astype(np.int64)
    prefix = pd.Series(zone * 10**13 + np.round(ra_deg * 1e6).astype(np.int64) * 10**4)
    return (prefix + prefix.groupby(prefix).cumcount()).to_numpy()


def _exposures(sources: pd.DataFrame, cells: NDArray[np.int64], seed: int) -> pd.DataFrame:
    """Return ``source``, ``filterID`` and ``obsTime`` (MJD, TAI) of each detection."""
    rng = random_stream(seed, "panstarrs epochs")
    pointing = cells >> 2 * (29 - _POINTING_ORDER)
    limit = sources["panstarrs_max_detections"].to_numpy()
    schedules: dict[tuple[int, int], NDArray[np.float64]] = {}
    pieces = []
    for source in range(len(sources)):
        for filter_id in FILTER_BANDS:
            key = (int(pointing[source]), filter_id)
            if key not in schedules:
                schedule = random_stream(seed, "panstarrs schedule", *key)
                schedules[key] = np.sort(schedule.uniform(*SURVEY_MJD, EXPOSURES_PER_FILTER))
            times = schedules[key]
            times = times[rng.random(times.size) < KEPT_EXPOSURES][: limit[source]]
            pieces.append(pd.DataFrame({"source": source, "filterID": filter_id, "obsTime": times}))
    return pd.concat(pieces, ignore_index=True)


def measure(exposures: pd.DataFrame, sources: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return what is measured in each exposure.

    Parameters
    ----------
    exposures : pandas.DataFrame
        ``source`` (row of the source), ``filterID`` and ``obsTime`` (MJD, TAI).
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the measurements.

    Returns
    -------
    pandas.DataFrame
        The exposures with the columns of `DETECTION_SCHEMA` but position and object; ``detectID``
        counts them.
    """
    n_rows = len(exposures)
    rng = random_stream(seed, "panstarrs photometry")
    source = exposures["source"].to_numpy()
    bands = exposures["filterID"].map(FILTER_BANDS)
    like = bands.map({band: name for band, (name, _) in _LIKE.items()}).to_numpy(np.str_)
    colour_mag = bands.map({band: colour for band, (_, colour) in _LIKE.items()}).to_numpy()
    mean_mag = np.choose(
        np.searchsorted(["g", "i", "r"], like),
        [sources[f"{name}_mag"].to_numpy()[source] for name in ("g", "i", "r")],
    )
    variation = variation_mag(sources, source, like, exposures["obsTime"].to_numpy(), seed)
    true_jy = 10.0 ** (0.4 * (_AB_ZERO_POINT_JY_MAG - mean_mag - colour_mag - variation))
    error_jy = np.hypot(bands.map(_SKY_NOISE_JY).to_numpy(), 0.006 * true_jy)
    flux_jy = true_jy + error_jy * rng.normal(size=n_rows)
    quality = np.where(rng.random(n_rows) < _MASKED_SHARE, rng.uniform(0.2, 0.95, n_rows), 0.999)
    no_flux, no_time, no_quality = (
        rng.random(n_rows) < share
        for share in (_MISSING_FLUX_SHARE, _MISSING_TIME_SHARE, _MISSING_QF_SHARE)
    )
    return exposures.assign(
        detectID=10**17 + 10**4 * np.arange(n_rows, dtype=np.int64),
        obsTime=np.where(no_time, MISSING, exposures["obsTime"]),
        psfFlux=np.where(no_flux, MISSING, flux_jy),
        psfFluxErr=np.where(no_flux, MISSING, error_jy),
        apFlux=flux_jy + 0.5 * error_jy * rng.normal(size=n_rows),
        psfQfPerfect=np.where(no_quality, MISSING, quality),
        infoFlag=2**25 + np.where(rng.random(n_rows) < 0.04, 2**30, 0),
        infoFlag2=np.where(rng.random(n_rows) < 0.1, 2**6, 0),
        infoFlag3=2**5 + 2**22,
    )
