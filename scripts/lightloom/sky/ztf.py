"""ZTF of the embedded sky: which fields, quadrants and filters see a source, and what they measure.

The catalogue has the columns and types of the ZTF DR24 light curves that IRSA serves as a HATS
catalogue: positions in single precision, a struct of lists named ``lightcurve``, and
``_healpix_29`` computed from the stored positions.
"""

from functools import lru_cache
from typing import Any

import erfa
import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import constants
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.sources import variation_mag
from lightloom.sky.streams import random_stream

CATALOGUE = "ztf_dr24_lc-hats"

#: Southern limit of the survey. [deg]
DEC_MIN_DEG = -30.0

FILTER_BANDS = {1: "g", 2: "r", 3: "i"}

#: Bit 15 of catflags: clouds or moon (ZTF Science Data System Explanatory Supplement).
FLAG_CLOUDS_OR_MOON = 32768


def _list_of(type_: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", type_))


LIGHTCURVE_TYPE = pa.struct(
    [
        described_field(
            "hmjd", _list_of(pa.float64()), "heliocentric date of the middle of the exposure", "d"
        ),
        described_field("mag", _list_of(pa.float32()), "PSF magnitude", "mag"),
        described_field("magerr", _list_of(pa.float32()), "1-sigma error of mag", "mag"),
        described_field(
            "clrcoeff", _list_of(pa.float32()), "coefficient of the linear colour term"
        ),
        described_field("catflags", _list_of(pa.int32()), "photometric and image quality flags"),
    ]
)

SCHEMA = pa.schema(
    [
        described_field("_healpix_29", pa.int64(), "nested HEALPix cell of order 29"),
        described_field(
            "objectid", pa.int64(), "object identifier: one per field, quadrant, filter and source"
        ),
        described_field("filterid", pa.int8(), "1 g, 2 r, 3 i"),
        described_field("objra", pa.float32(), "right ascension", "deg"),
        described_field("objdec", pa.float32(), "declination", "deg"),
        described_field("nepochs", pa.int64(), "epochs of the light curve"),
        described_field("fieldid", pa.int16(), "field"),
        described_field("rcid", pa.int8(), "readout channel, 0 to 63"),
        pa.field("lightcurve", LIGHTCURVE_TYPE),
    ]
)

#: Properties of the HATS catalogue that depend on its columns.
HATS_PROPERTIES = {
    "hats_col_ra": "objra",
    "hats_col_dec": "objdec",
    "hats_cols_default": [name for name in SCHEMA.names if name != "_healpix_29"],
}

# Fields lie in two grids of rows of equal declination; the second is shifted by half a field.
_FIELD_DEG = 7.2
_GRID_FIRST_DEC_DEG = (-26.4, -30.0)
_GRID_FIRST_FIELDID = (245, 1245)
_GRID_ROWS = 17
_FIELD_OVERLAP = 0.04
_SECOND_GRID_SHARE = 0.5
_I_BAND_SHARE = 0.3

_SURVEY_MJD = (58200.0, 60600.0)
_CADENCE_D = {0: {1: 3.0, 2: 3.0, 3: 12.0}, 1: {1: 9.0, 2: 9.0, 3: 24.0}}
_CLEAR_NIGHTS = 0.65
_KEPT_EXPOSURES = 0.85
# Local midnight at Palomar, and the half length of the useful night. [d]
_MIDNIGHT_D, _HALF_NIGHT_D = 0.33, 0.15
_SUN_LIMIT_DEG = 62.0
_CIRCUMPOLAR_DEC_DEG = 62.0

_FAINTEST_MAG = 21.2
_FLAGGED_SHARE, _MINOR_FLAG_SHARE = 0.04, 0.015
_MINOR_FLAGS = np.array([1, 2, 4, 8, 16, 64, 128, 3, 20], dtype=np.int32)

# TDB-UTC over the survey. [d]
_TDB_MINUS_UTC_D = 69.184 / 86400.0
_LIGHT_DAY_PER_AU = float(constants.au.value / constants.c.value / 86400.0)
_MJD_EPOCH_JD = 2_400_000.5


def stored_position(ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:
    """Return positions as the catalogue stores them, in single precision, as doubles.

    Parameters
    ----------
    ra_deg, dec_deg : float or ndarray
        Positions, ICRS.

    Returns
    -------
    ra_deg, dec_deg : float or ndarray
        Rounded positions; right ascensions that round to 360 become 0.
    """
    ra = np.asarray(ra_deg).astype(np.float32).astype(np.float64) % 360.0
    dec = np.asarray(dec_deg).astype(np.float32).astype(np.float64)
    return (float(ra), float(dec)) if ra.ndim == 0 else (ra, dec)


def pointings(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    grid: int,
    *,
    neighbours: bool = False,
) -> pd.DataFrame:
    """Return the field and readout channel that see each position.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray of shape (n_sources,)
        Positions, ICRS.
    grid : int
        0 for the primary grid of fields, 1 for the secondary one.
    neighbours : bool
        Give the neighbouring field instead, for the positions in the overlap of two.

    Returns
    -------
    pandas.DataFrame
        ``source`` (index of the position), ``fieldid``, ``rcid``, ``field_ra_deg``,
        ``field_dec_deg``.
    """
    row = np.clip(np.rint((dec_deg - _GRID_FIRST_DEC_DEG[grid]) / _FIELD_DEG), 0, _GRID_ROWS - 1)
    row = row.astype(np.int64)
    row_dec_deg = _GRID_FIRST_DEC_DEG[grid] + _FIELD_DEG * np.arange(_GRID_ROWS)
    n_columns = np.maximum(1, np.ceil(360.0 * np.cos(np.radians(row_dec_deg)) / 7.0)).astype(int)
    first_fieldid = _GRID_FIRST_FIELDID[grid] + np.concatenate([[0], np.cumsum(n_columns)[:-1]])
    along = ra_deg / 360.0 * n_columns[row] + 0.5 * grid
    column = np.floor(along).astype(np.int64)
    x = along - column
    source = np.arange(len(ra_deg))
    if neighbours:
        step = np.where(x < _FIELD_OVERLAP, -1, np.where(x > 1.0 - _FIELD_OVERLAP, 1, 0))
        source = np.flatnonzero((step != 0) & (n_columns[row] > 1))
        row, column, step = row[source], column[source] + step[source], step[source]
        x = np.where(step > 0, 0.0, 1.0)
    y = (dec_deg[source] - row_dec_deg[row]) / _FIELD_DEG + 0.5
    column %= n_columns[row]
    return pd.DataFrame(
        {
            "source": source,
            "fieldid": first_fieldid[row] + column,
            "rcid": _readout_channel(x, y),
            "field_ra_deg": (column + 0.5 - 0.5 * grid) / n_columns[row] * 360.0 % 360.0,
            "field_dec_deg": row_dec_deg[row],
        }
    )


def _readout_channel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the readout channel at ``x``, ``y`` in [0, 1]: 4 x 4 CCDs of 2 x 2 quadrants."""
    i = np.clip((8 * x).astype(np.int64), 0, 7)
    j = np.clip((8 * y).astype(np.int64), 0, 7)
    return 4 * (4 * (j // 2) + i // 2) + 2 * (j % 2) + i % 2


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
        Objects in `SCHEMA`, sorted by cell and object identifier.
    """
    is_seen = sources["in_ztf"] & (sources["dec_deg"] > DEC_MIN_DEG)
    sources = sources[is_seen].reset_index(drop=True)
    objects = _objects(sources, seed)
    objects = catalogue_positions(objects, sources, random_stream(seed, "ztf positions"))
    exposures = _exposures(objects, sources, seed)
    observed = objects.iloc[exposures["object"]]
    variation = variation_mag(
        sources,
        observed["source"].to_numpy(),
        observed["filterid"].map(FILTER_BANDS).to_numpy(np.str_),
        exposures["exposure_mjd"].to_numpy(),
        seed,
    )
    rng = random_stream(seed, "ztf photometry")
    epochs = measure(exposures, objects, sources, variation, rng)
    is_kept = objects.index.isin(epochs["object"]) | objects["is_empty"]
    objects = objects[is_kept].sort_values(["_healpix_29", "fieldid", "rcid", "filterid", "source"])
    objects = objects.assign(objectid=object_ids(objects)).sort_values(["_healpix_29", "objectid"])
    place = pd.Series(np.arange(len(objects)), objects.index)
    epochs["object"] = place[epochs["object"]].to_numpy()
    return assemble(objects, epochs.sort_values(["object", "hmjd"]))


def _objects(sources: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per source, field, readout channel and filter."""
    ra_deg, dec_deg = sources["ra_deg"].to_numpy(), sources["dec_deg"].to_numpy()
    rng = random_stream(seed, "ztf coverage")
    in_second_grid = rng.random(len(sources)) < _SECOND_GRID_SHARE
    in_i_band = rng.random(len(sources)) < _I_BAND_SHARE
    in_i_band |= sources["ztf_empty_filterid"].to_numpy() == 3
    second = pointings(ra_deg, dec_deg, 1)
    looks = pd.concat(
        [
            pointings(ra_deg, dec_deg, 0).assign(grid=0),
            pointings(ra_deg, dec_deg, 0, neighbours=True).assign(grid=0),
            second[in_second_grid[second["source"]]].assign(grid=1),
        ],
        ignore_index=True,
    )
    objects = looks.merge(pd.DataFrame({"filterid": list(FILTER_BANDS)}), how="cross")
    source = objects["source"].to_numpy()
    objects = objects[(objects["filterid"] != 3) | in_i_band[source]].reset_index(drop=True)
    source = objects["source"].to_numpy()
    empty_filterid = sources["ztf_empty_filterid"].to_numpy()[source]
    return objects.assign(
        is_empty=(empty_filterid == objects["filterid"])
        | (sources["ztf_max_epochs"].to_numpy()[source] == 0)
    )


def catalogue_positions(
    objects: pd.DataFrame, sources: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return objects with the positions that the catalogue gives them.

    Parameters
    ----------
    objects : pandas.DataFrame
        With ``source``, the row of each object's source.
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    rng : numpy.random.Generator
        Source of the errors of the positions.

    Returns
    -------
    pandas.DataFrame
        The objects with ``objra``, ``objdec`` (degrees) and ``_healpix_29``.
    """
    source = objects["source"].to_numpy()
    ra_deg, dec_deg = stored_position(
        *scatter(
            sources["ra_deg"].to_numpy()[source],
            sources["dec_deg"].to_numpy()[source],
            sources["scatter_arcsec"].to_numpy()[source],
            rng,
        )
    )
    return objects.assign(
        objra=ra_deg, objdec=dec_deg, _healpix_29=healpix_cells(ra_deg, dec_deg, 29)
    )


def _exposures(objects: pd.DataFrame, sources: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return ``object`` (row of the object) and ``exposure_mjd`` (UTC, at the geocentre)."""
    rng = random_stream(seed, "ztf epochs")
    schedule = lru_cache(maxsize=None)(_schedule)
    max_epochs = sources["ztf_max_epochs"].to_numpy()[objects["source"]]
    max_epochs = np.where(objects["is_empty"], 0, max_epochs)
    times = []
    for row, limit in zip(objects.itertuples(), max_epochs, strict=True):
        exposures = schedule(
            seed, row.fieldid, row.filterid, row.grid, row.field_ra_deg, row.field_dec_deg
        )
        kept = exposures[rng.random(exposures.size) < _KEPT_EXPOSURES]
        if kept.size > limit:
            kept = np.sort(rng.choice(kept, limit, replace=False))
        times.append(kept)
    n_epochs = [len(kept) for kept in times]
    return pd.DataFrame(
        {
            "object": np.repeat(np.arange(len(objects)), n_epochs),
            "exposure_mjd": np.concatenate(times),
        }
    )


def _schedule(
    seed: int, fieldid: int, filterid: int, grid: int, ra_deg: float, dec_deg: float
) -> NDArray[np.float64]:
    """Return the middles of the exposures of a field in a filter, MJD in UTC at the geocentre."""
    rng = random_stream(seed, "ztf schedule", int(fieldid), int(filterid))
    night_mjd = np.arange(*_SURVEY_MJD, _CADENCE_D[grid][filterid])
    night_mjd = np.floor(night_mjd + rng.uniform(-1.0, 1.0, night_mjd.size))
    # The mean longitude of the Sun is near enough to its right ascension to shape the seasons.
    sun_ra_deg = 280.46 + 0.9856474 * (night_mjd - 51544.5)
    from_sun_deg = np.abs((ra_deg - sun_ra_deg + 180.0) % 360.0 - 180.0)
    is_observed = (from_sun_deg > _SUN_LIMIT_DEG) | (dec_deg > _CIRCUMPOLAR_DEC_DEG)
    is_observed &= rng.random(night_mjd.size) < _CLEAR_NIGHTS
    time_mjd = night_mjd + _MIDNIGHT_D + rng.uniform(-_HALF_NIGHT_D, _HALF_NIGHT_D, night_mjd.size)
    return np.sort(time_mjd[is_observed])


def measure(
    exposures: pd.DataFrame,
    objects: pd.DataFrame,
    sources: pd.DataFrame,
    variation: NDArray[np.float64] | float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return what is measured on exposures, if the source is bright enough.

    Parameters
    ----------
    exposures : pandas.DataFrame
        ``object`` (row of the object) and ``exposure_mjd`` (UTC, at the geocentre).
    objects : pandas.DataFrame
        ``source`` (row of the source), ``filterid``, ``objra`` and ``objdec``, numbered from zero.
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    variation : ndarray of shape (n_exposures,) or float
        Deviation from the mean magnitudes. [mag]
    rng : numpy.random.Generator
        Source of errors and flags.

    Returns
    -------
    pandas.DataFrame
        ``object`` and the fields of `LIGHTCURVE_TYPE`, in the order of the exposures.
    """
    index = exposures["object"].to_numpy()
    source = objects["source"].to_numpy()[index]
    exposure_mjd = exposures["exposure_mjd"].to_numpy()
    mean_mag = sources[["g_mag", "r_mag", "i_mag"]].to_numpy()
    true_mag = mean_mag[source, objects["filterid"].to_numpy()[index] - 1]
    true_mag = true_mag + variation
    sigma_mag = np.hypot(0.012, 0.035 * 10.0 ** (0.4 * (true_mag - 18.5)))
    sigma_mag *= rng.uniform(0.85, 1.25, index.size)
    catflags = np.where(
        rng.random(index.size) < _MINOR_FLAG_SHARE, rng.choice(_MINOR_FLAGS, index.size), 0
    )
    is_cloudy = rng.random(index.size) < _FLAGGED_SHARE
    is_cloudy |= sources["ztf_all_flagged"].to_numpy()[source]
    measured = pd.DataFrame(
        {
            "object": index,
            "hmjd": exposure_mjd + _heliocentric_delay_d(exposure_mjd, objects, index),
            "mag": (true_mag + sigma_mag * rng.normal(size=index.size)).astype(np.float32),
            "magerr": sigma_mag.astype(np.float32),
            "clrcoeff": rng.normal(-0.05, 0.03, index.size).astype(np.float32),
            "catflags": (catflags | np.where(is_cloudy, FLAG_CLOUDS_OR_MOON, 0)).astype(np.int32),
        }
    )
    return measured[true_mag < _FAINTEST_MAG]


def _heliocentric_delay_d(
    exposure_mjd: NDArray[np.float64], objects: pd.DataFrame, index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how much earlier light reaches the geocentre than the Sun's centre, in days."""
    # A spline through daily positions is good to a microsecond, and a hundred times faster.
    days_mjd = np.arange(_SURVEY_MJD[0] - 5.0, _SURVEY_MJD[1] + 5.0)
    earth, _ = erfa.epv00(_MJD_EPOCH_JD, days_mjd + _TDB_MINUS_UTC_D)
    earth_au = CubicSpline(days_mjd, earth["p"])(exposure_mjd)
    direction = erfa.s2c(
        np.radians(objects["objra"].to_numpy()), np.radians(objects["objdec"].to_numpy())
    )
    return np.einsum("ij,ij->i", earth_au, direction[index]) * _LIGHT_DAY_PER_AU


def object_ids(objects: pd.DataFrame) -> pd.Series:
    """Return object identifiers: field, filter, CCD, quadrant and a running number.

    Parameters
    ----------
    objects : pandas.DataFrame
        ``fieldid``, ``filterid`` and ``rcid``, in the order of the running numbers.

    Returns
    -------
    pandas.Series
        Identifiers as ZTF builds them, with eight digits for the running number.
    """
    number = objects.groupby(["fieldid", "filterid", "rcid"]).cumcount() + 1
    ccd, quadrant = objects["rcid"] // 4 + 1, objects["rcid"] % 4 + 1
    prefix = objects["fieldid"] * 10 + objects["filterid"]
    return ((prefix * 100 + ccd) * 10 + quadrant) * 10**8 + number


def assemble(objects: pd.DataFrame, epochs: pd.DataFrame) -> pa.Table:
    """Return objects and their epochs as rows of the catalogue.

    Parameters
    ----------
    objects : pandas.DataFrame
        The columns of `SCHEMA` but ``nepochs`` and ``lightcurve``.
    epochs : pandas.DataFrame
        ``object`` (number of the object in this order) and the fields of `LIGHTCURVE_TYPE`, sorted
        by object.

    Returns
    -------
    pyarrow.Table
        In `SCHEMA`.
    """
    n_epochs = np.bincount(epochs["object"], minlength=len(objects))
    borders = pa.array(np.concatenate([[0], np.cumsum(n_epochs)]), pa.int32())
    lists = [
        pa.ListArray.from_arrays(borders, pa.array(epochs[field.name]), type=field.type)
        for field in LIGHTCURVE_TYPE
    ]
    columns = {name: objects[name] for name in SCHEMA.names if name in objects} | {
        "nepochs": n_epochs,
        "lightcurve": pa.StructArray.from_arrays(lists, fields=list(LIGHTCURVE_TYPE)),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
