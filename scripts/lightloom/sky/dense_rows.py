"""The rows of the large catalogues: what each survey has of the sources of a partition.

A partition is made a chunk at a time, so that the content does not depend on the row groups.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky import gaia, panstarrs, unwise, ztf
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.streams import random_stream

_ZTF_CHUNK_OBJECTS = 16_384
_GAIA_CHUNK_SOURCES = 16_384
_UNWISE_CHUNK_SOURCES = 4_096
_PANSTARRS_CHUNK_DETECTIONS = 131_072

_TIMES_PER_FIELD = 3000
#: Transits of a Gaia light curve, least and more than most.
_TRANSITS = (25, 55)


def ztf_objects(sources: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """Return an object in g and one in r for each source, in the order of the catalogue.

    Parameters
    ----------
    sources : pandas.DataFrame
        Sources of a partition, as `lightloom.sky.sources.star_table` gives them.
    number : int
        Number of the partition.
    seed : int
        Seed of the sky.
    """
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


def ztf_chunks(
    objects: pd.DataFrame, sources: pd.DataFrame, mean_epochs: int, number: int, seed: int
) -> Iterator[pa.Table]:
    """Yield the rows of `ztf.SCHEMA`, from what `ztf_objects` gives."""
    times_mjd = np.sort(
        random_stream(seed, "dense times", number).uniform(58200.0, 60600.0, _TIMES_PER_FIELD)
    )
    for start in range(0, len(objects), _ZTF_CHUNK_OBJECTS):
        chunk = objects[start : start + _ZTF_CHUNK_OBJECTS].reset_index(drop=True)
        rng = random_stream(seed, "dense light curves", number, start)
        n_epochs = np.maximum(1, rng.poisson(mean_epochs, len(chunk)))
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


def unwise_chunks(
    sources: pd.DataFrame, n_visits: int, number: int, seed: int
) -> Iterator[pa.Table]:
    """Yield the rows of `unwise.SCHEMA`: every source at each visit, in two bands."""
    visit = np.repeat(np.arange(n_visits), 2)
    mean_mjd = (
        56700.0 + 182.62 * visit + random_stream(seed, "dense visits", number).random(visit.size)
    )
    visits = pd.DataFrame(
        {
            "coadd_id": f"{number:04d}p000",
            "primary": 1,
            "band": np.tile([1, 2], n_visits),
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


def gaia_chunks(sources: pd.DataFrame, number: int, seed: int) -> Iterator[pa.Table]:
    """Yield the rows of `gaia.SCHEMA`, of the sources that Gaia sees."""
    sources = sources[sources["in_gaia"]].reset_index(drop=True)
    cells = healpix_cells(sources["ra_deg"], sources["dec_deg"], 29)
    rng = random_stream(seed, "dense gaia transits", number)
    rows = pd.DataFrame(
        {
            "_healpix_29": cells,
            "source_id": gaia.source_ids(cells),
            "ra": sources["ra_deg"],
            "dec": sources["dec_deg"],
            "n_transits": rng.integers(*_TRANSITS, len(sources)),
        }
    )
    for start in range(0, len(rows), _GAIA_CHUNK_SOURCES):
        chunk = slice(start, start + _GAIA_CHUNK_SOURCES)
        yield gaia.assemble(
            rows[chunk].reset_index(drop=True),
            sources[chunk].reset_index(drop=True),
            _chunk_seed(seed, "dense gaia", number, start),
        )


def panstarrs_objects(
    sources: pd.DataFrame, number: int, seed: int
) -> tuple[pa.Table, pd.DataFrame]:
    """Return objects, and where and when they were detected.

    Returns
    -------
    objects : pyarrow.Table
        In `panstarrs.OBJECT_SCHEMA`.
    exposures : pandas.DataFrame
        ``source`` (row of the objects), ``objID``, ``filterID``, ``obsTime`` and position of each
        detection, in the order of the catalogue.
    """
    ra_deg, dec_deg = sources["ra_deg"].to_numpy(), sources["dec_deg"].to_numpy()
    object_ids = panstarrs.object_ids(ra_deg, dec_deg)
    rng = random_stream(seed, "dense panstarrs", number)
    times = rng.uniform(
        *panstarrs.SURVEY_MJD, (len(panstarrs.FILTER_BANDS), panstarrs.EXPOSURES_PER_FILTER)
    )
    is_detected = rng.random((len(sources), *times.shape)) < panstarrs.KEPT_EXPOSURES
    source, band, exposure = np.nonzero(is_detected)
    ra, dec = scatter(
        ra_deg[source],
        dec_deg[source],
        sources["panstarrs_scatter_arcsec"].to_numpy()[source],
        rng,
    )
    exposures = pd.DataFrame(
        {
            "source": source,
            "objID": object_ids[source],
            "filterID": np.array(list(panstarrs.FILTER_BANDS))[band],
            "obsTime": times[band, exposure],
            "ra": ra,
            "dec": dec,
            "_healpix_29": healpix_cells(ra, dec, 29),
        }
    ).sort_values("_healpix_29", kind="stable", ignore_index=True)
    n_detections = np.bincount(source, minlength=len(sources))
    total_mjd = np.bincount(source, times[band, exposure], minlength=len(sources))
    objects = {
        "_healpix_29": healpix_cells(ra_deg, dec_deg, 29),
        "objID": object_ids,
        "raMean": ra_deg,
        "decMean": dec_deg,
        "nDetections": n_detections,
        "epochMean": np.where(
            n_detections > 0, total_mjd / np.maximum(n_detections, 1), panstarrs.MISSING
        ),
    }
    return panstarrs.table_of(objects, panstarrs.OBJECT_SCHEMA), exposures


def panstarrs_chunks(
    exposures: pd.DataFrame, sources: pd.DataFrame, number: int, seed: int
) -> Iterator[pa.Table]:
    """Yield the rows of `panstarrs.DETECTION_SCHEMA`, from what `panstarrs_objects` gives."""
    for start in range(0, len(exposures), _PANSTARRS_CHUNK_DETECTIONS):
        chunk = exposures[start : start + _PANSTARRS_CHUNK_DETECTIONS].reset_index(drop=True)
        measured = panstarrs.measure(
            chunk, sources, _chunk_seed(seed, "dense panstarrs chunk", number, start)
        )
        first_id = 10**8 * number + start
        yield panstarrs.table_of(
            measured.assign(detectID=measured["detectID"] + 10**4 * first_id),
            panstarrs.DETECTION_SCHEMA,
        )


def _chunk_seed(seed: int, *purpose: str | int) -> int:
    return int(random_stream(seed, *purpose).integers(2**31))
