"""unWISE of the embedded sky: the coadds that see a source, and what they measure.

The catalogue has the columns of the unWISE time-domain catalogue (Meisner et al. 2023, AJ 165, 36)
that IRSA serves as Parquet files partitioned by HEALPix cell of order 5.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import coordinates, healpix_cells, scatter
from lightloom.sky.sources import variation_mag
from lightloom.sky.streams import random_stream

CATALOGUE = "unwise-neo7-time_domain-healpix_k5.parquet"
PARTITION_COLUMN = "healpix_k5"
PARTITION_ORDER = 5

BANDS = {1: "W1", 2: "W2"}


SCHEMA = pa.schema(
    [
        described_field(
            "unwise_detid", pa.binary(), "detection identifier: coadd, band, number, epoch"
        ),
        described_field("coadd_id", pa.binary(), "coadd tile"),
        described_field("band", pa.int32(), "1 W1, 2 W2"),
        described_field("EPOCH", pa.int32(), "number of the visit"),
        described_field("forward", pa.int16(), "scan direction of the visit"),
        described_field("ra", pa.float64(), "right ascension", "deg"),
        described_field("dec", pa.float64(), "declination", "deg"),
        described_field("flux", pa.float32(), "flux", "Vega nMgy"),
        described_field("dflux", pa.float32(), "statistical 1-sigma error of flux", "Vega nMgy"),
        described_field("fluxlbs", pa.float32(), "flux above the local background", "Vega nMgy"),
        described_field("dfluxlbs", pa.float32(), "1-sigma error of fluxlbs", "Vega nMgy"),
        described_field("fwhm", pa.float32(), "full width at half maximum of the PSF", "pix"),
        described_field("spread_model", pa.float32(), "SExtractor-like spread"),
        described_field("qf", pa.float32(), "PSF-weighted share of good pixels"),
        described_field("rchi2", pa.float32(), "PSF-weighted reduced chi-squared"),
        described_field(
            "fracflux", pa.float32(), "share of the flux at the position that is the source's"
        ),
        described_field("sky", pa.float32(), "sky background", "Vega nMgy"),
        described_field("nm", pa.int32(), "exposures in the coadd"),
        described_field("primary", pa.int16(), "1 if the coadd is the one to use at the position"),
        described_field("flags_unwise", pa.int32(), "coadd flags at the central pixel"),
        described_field("flags_info", pa.int32(), "informational flags at the central pixel"),
        described_field("MJDMIN", pa.float64(), "first exposure", "d"),
        described_field("MJDMAX", pa.float64(), "last exposure", "d"),
        described_field("MJDMEAN", pa.float64(), "mean of the exposures", "d"),
    ]
)

# Tiles of 2048 pixels of 2.75 arcsec, closer to each other than they are wide.
_TILE_DEG, _TILE_SPACING_DEG = 1.564, 1.5156

# Makes the numbers of the rows positive.
_TILE_ROW_OFFSET = 100

# Visits: while the satellite was cold, and after it was woken up.
_VISITS_MJD = ((55203.0, 55593.0), (56639.0, 59197.0))
_VISIT_INTERVAL_D = 182.62
_SUN_DEG_PER_D = 0.985647

_ZERO_POINT_MAG = 22.5
#: Noise of a coadd of `_TYPICAL_EXPOSURES` at the sky level. [Vega nMgy]
_SKY_NOISE = np.array([23.0, 62.0])
_TYPICAL_EXPOSURES = 11


def tile_of(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> pd.DataFrame:
    """Return the coadd tiles that hold each position.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray of shape (n_sources,)
        Positions, ICRS.

    Returns
    -------
    pandas.DataFrame
        ``source`` (index of the position), ``row`` and ``column`` of the tile, ``primary`` (1 for
        the tile to use, 0 for a neighbour that overlaps it).
    """
    row = np.rint(dec_deg / _TILE_SPACING_DEG).astype(np.int64)
    along = ra_deg / 360.0 * _tiles_in_row(row)
    column = np.floor(along).astype(np.int64)
    overlap_deg = (_TILE_DEG - _TILE_SPACING_DEG) / 2.0
    width_deg = 360.0 * np.cos(np.radians(dec_deg)) / _tiles_in_row(row)
    east_deg = (along - column) * width_deg
    north_deg = dec_deg - (row - 0.5) * _TILE_SPACING_DEG
    source = np.arange(len(ra_deg))
    tiles = [pd.DataFrame({"source": source, "row": row, "column": column, "primary": 1})]
    for column_step, is_near in (
        (-1, east_deg < overlap_deg),
        (1, width_deg - east_deg < overlap_deg),
    ):
        is_near = is_near & (_tiles_in_row(row) > 1)
        neighbour = (column[is_near] + column_step) % _tiles_in_row(row[is_near])
        tiles.append(_neighbours(source[is_near], row[is_near], neighbour))
    for row_step, is_near in (
        (-1, north_deg < overlap_deg),
        (1, _TILE_SPACING_DEG - north_deg < overlap_deg),
    ):
        other_row = row[is_near] + row_step
        neighbour = np.floor(ra_deg[is_near] / 360.0 * _tiles_in_row(other_row)).astype(np.int64)
        tiles.append(_neighbours(source[is_near], other_row, neighbour))
    return pd.concat(tiles, ignore_index=True)


def _tiles_in_row(row: NDArray[np.int64]) -> NDArray[np.int64]:
    cosine = np.cos(np.radians(np.minimum(np.abs(row) * _TILE_SPACING_DEG, 90.0)))
    return np.maximum(1, np.ceil(360.0 * cosine / _TILE_SPACING_DEG)).astype(np.int64)


def _neighbours(
    source: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64]
) -> pd.DataFrame:
    return pd.DataFrame({"source": source, "row": row, "column": column, "primary": 0})


def tile_edge(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return a position near the given one that two coadd tiles hold, in degrees."""
    row = round(dec_deg / _TILE_SPACING_DEG)
    return ra_deg, (row + 0.5) * _TILE_SPACING_DEG - 0.01


def observe(sources: pd.DataFrame, seed: int) -> pa.Table:
    """Return the catalogue's rows for some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    pyarrow.Table
        Detections in `SCHEMA` and the column `PARTITION_COLUMN`, sorted by partition, position,
        band and time.
    """
    sources = sources[sources["in_unwise"]].reset_index(drop=True)
    tiles = tile_of(sources["ra_deg"].to_numpy(), sources["dec_deg"].to_numpy())
    tiles = tiles.sort_values(["row", "column", "source"], ignore_index=True)
    tiles["number"] = tiles.groupby(["row", "column"]).cumcount()
    detections = tiles.merge(_visits(tiles, seed), on=["row", "column"])
    variation = variation_mag(
        sources,
        detections["source"].to_numpy(),
        detections["band"].map(BANDS).to_numpy(np.str_),
        detections["MJDMEAN"].to_numpy(),
        seed,
    )
    rng = random_stream(seed, "unwise photometry")
    table = measure(detections, sources, variation, rng)
    cells = healpix_cells(table["ra"], table["dec"], 29)
    partition = (cells >> 2 * (29 - PARTITION_ORDER)).astype(np.int32)
    order = np.lexsort((table["MJDMEAN"], table["band"], cells))
    return table.append_column(PARTITION_COLUMN, pa.array(partition)).take(order)


def _visits(tiles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per tile, visit and band.

    WISE looks away from the Sun at a right angle: a tile is visited every half year, when its
    ecliptic longitude lies 90 degrees from the Sun's.
    """
    visited = tiles[["row", "column"]].drop_duplicates().reset_index(drop=True)
    n_columns = _tiles_in_row(visited["row"].to_numpy())
    ra_deg = (visited["column"].to_numpy() + 0.5) / n_columns * 360.0
    dec_deg = np.clip(visited["row"].to_numpy() * _TILE_SPACING_DEG, -90.0, 90.0)
    position = coordinates(ra_deg, dec_deg).barycentricmeanecliptic
    first_mjd = _VISITS_MJD[0][0]
    sun_deg = 280.46 + _SUN_DEG_PER_D * (first_mjd - 51544.5)
    wait_d = (position.lon.deg - 90.0 - sun_deg) % 180.0 / _SUN_DEG_PER_D
    visits = []
    for index, (row, column) in enumerate(visited.to_numpy().tolist()):
        start_mjd = first_mjd + wait_d[index]
        centre_mjd = start_mjd + _VISIT_INTERVAL_D * np.arange(23)
        is_made = np.any([(a <= centre_mjd) & (centre_mjd < b) for a, b in _VISITS_MJD], axis=0)
        centre_mjd = np.repeat(centre_mjd[is_made], len(BANDS))
        rng = random_stream(seed, "unwise visits", row + _TILE_ROW_OFFSET, column)
        half_length_d = rng.uniform(0.5, 1.3, centre_mjd.size)
        mean_mjd = centre_mjd + rng.normal(0.0, 0.3, centre_mjd.size)
        visits.append(
            pd.DataFrame(
                {
                    "row": row,
                    "column": column,
                    "coadd_id": _coadd_id(ra_deg[index], dec_deg[index]),
                    "EPOCH": np.repeat(np.arange(is_made.sum()), len(BANDS)),
                    "band": np.tile(list(BANDS), is_made.sum()),
                    "nm": rng.integers(9, 15, centre_mjd.size),
                    "MJDMIN": mean_mjd - half_length_d,
                    "MJDMAX": mean_mjd + half_length_d,
                    "MJDMEAN": mean_mjd,
                }
            )
        )
    return pd.concat(visits, ignore_index=True)


def _coadd_id(ra_deg: float, dec_deg: float) -> str:
    sign = "p" if dec_deg >= 0 else "m"
    return f"{round(10 * ra_deg):04d}{sign}{round(10 * abs(dec_deg)):03d}"


def measure(
    detections: pd.DataFrame,
    sources: pd.DataFrame,
    variation: NDArray[np.float64] | float,
    rng: np.random.Generator,
) -> pa.Table:
    """Return what is measured in coadds.

    Parameters
    ----------
    detections : pandas.DataFrame
        ``source`` (row of the source), ``primary``, ``number`` (of the source in the coadd) and the
        columns of the visit: ``coadd_id``, ``band``, ``EPOCH``, ``nm``, ``MJDMIN``, ``MJDMAX``,
        ``MJDMEAN``.
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    variation : ndarray of shape (n_detections,) or float
        Deviation from the mean magnitudes. [mag]
    rng : numpy.random.Generator
        Source of errors and flags.

    Returns
    -------
    pyarrow.Table
        In `SCHEMA`, in the order of the detections.
    """
    n_rows = len(detections)
    source = detections["source"].to_numpy()
    band = detections["band"].to_numpy()
    mean_mag = sources[["w1_mag", "w2_mag"]].to_numpy()[source, band - 1]
    true_mag = mean_mag + variation
    true_flux = 10.0 ** (0.4 * (_ZERO_POINT_MAG - true_mag))
    sky_noise = _SKY_NOISE[band - 1] * np.sqrt(_TYPICAL_EXPOSURES / detections["nm"].to_numpy())
    dflux = np.hypot(sky_noise, 0.003 * true_flux)
    flux = true_flux + np.hypot(dflux, 0.01 * true_flux) * rng.normal(size=n_rows)
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy()[source],
        sources["dec_deg"].to_numpy()[source],
        sources["scatter_arcsec"].to_numpy()[source],
        rng,
    )
    quality = rng.random(n_rows)
    columns = detections.assign(
        unwise_detid=[
            f"{coadd}w{band}o{number:07d}e{epoch:03d}".encode()
            for coadd, band, number, epoch in zip(
                detections["coadd_id"],
                band,
                detections["number"],
                detections["EPOCH"],
                strict=True,
            )
        ],
        coadd_id=detections["coadd_id"].str.encode("ascii"),
        forward=detections["EPOCH"] % 2,
        ra=ra_deg,
        dec=dec_deg,
        flux=flux,
        dflux=dflux,
        fluxlbs=flux + 0.3 * dflux * rng.normal(size=n_rows),
        dfluxlbs=1.02 * dflux,
        fwhm=rng.normal(2.5, 0.005, n_rows),
        spread_model=rng.normal(0.001, 0.003, n_rows),
        # Mostly whole, sometimes with a bad pixel at the rim of the PSF, rarely without a good one.
        qf=np.select(
            [quality < 0.003, quality < 0.03],
            [0.0, rng.uniform(0.3, 0.9, n_rows)],
            1.0 - 1e-3 * rng.random(n_rows),
        ),
        rchi2=rng.gamma(8.0, 0.125, n_rows) + (true_flux / 5000.0) ** 2,
        fracflux=1.0 - 0.15 * rng.random(n_rows),
        sky=rng.normal(0.0, 0.4, n_rows),
        flags_unwise=np.where(rng.random(n_rows) < 0.03, 2 ** rng.integers(0, 8, n_rows), 0),
        flags_info=np.where(rng.random(n_rows) < 0.05, 2 ** rng.integers(0, 4, n_rows), 0),
    )
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
