"""Gaia of the embedded sky: when a source transits, and what is measured then.

The catalogue has the columns of the epoch photometry of Gaia DR3 as the LINCC project serves it as
a HATS catalogue: a row per source with a light curve, its transits in a struct of lists.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.sources import variation_mag
from lightloom.sky.streams import random_stream

CATALOGUE = "gaia_dr3_epoch_phot"


def _list_of(type_: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", type_))


_TIME = "barycentric date (TCB) from 2010-01-01T00:00"

LIGHTCURVE_TYPE = pa.struct(
    [
        described_field("g_transit_time", _list_of(pa.float64()), _TIME, "d"),
        described_field("g_transit_flux", _list_of(pa.float64()), "flux in G", "electron/s"),
        described_field(
            "g_transit_flux_error", _list_of(pa.float64()), "its 1-sigma error", "electron/s"
        ),
        described_field("g_transit_flux_over_error", _list_of(pa.float32()), "flux over its error"),
        described_field("bp_obs_time", _list_of(pa.float64()), _TIME, "d"),
        described_field("bp_flux", _list_of(pa.float64()), "flux in BP", "electron/s"),
        described_field("bp_flux_over_error", _list_of(pa.float32()), "flux over its error"),
        described_field("rp_obs_time", _list_of(pa.float64()), _TIME, "d"),
        described_field("rp_flux", _list_of(pa.float64()), "flux in RP", "electron/s"),
        described_field("rp_flux_over_error", _list_of(pa.float32()), "flux over its error"),
        described_field(
            "variability_flag_g_reject", _list_of(pa.bool_()), "rejected by variability processing"
        ),
        described_field(
            "variability_flag_bp_reject", _list_of(pa.bool_()), "rejected by variability processing"
        ),
        described_field(
            "variability_flag_rp_reject", _list_of(pa.bool_()), "rejected by variability processing"
        ),
    ]
)

SCHEMA = pa.schema(
    [
        described_field("_healpix_29", pa.int64(), "nested HEALPix cell of order 29"),
        described_field("source_id", pa.int64(), "source identifier"),
        described_field("ra", pa.float64(), "right ascension at J2016.0", "deg"),
        described_field("dec", pa.float64(), "declination at J2016.0", "deg"),
        described_field("n_transits", pa.int16(), "transits of the light curve"),
        pa.field("epoch_photometry", LIGHTCURVE_TYPE),
    ]
)

#: Properties of the HATS catalogue that depend on its columns.
HATS_PROPERTIES = {
    "hats_col_ra": "ra",
    "hats_col_dec": "dec",
    "hats_cols_default": [name for name in SCHEMA.names if name != "_healpix_29"],
}

#: Days between MJD 0 and the zero of the catalogue's times: MJD of 2010-01-01.
TIME_ZERO_MJD = 55197.0

#: AB zero points of DR3 (Gaia DR3 documentation, external calibration). [mag]
AB_ZERO_POINT_MAG = {"G": 25.8010446445, "BP": 25.3539555559, "RP": 25.1039837393}

# The band in which a source varies as it does in the Gaia band.
_LIKE = {"G": "r", "BP": "g", "RP": "i"}
_SURVEY_D = (1666.0, 2704.0)
_TRANSITS = (25, 55)
# The CCDs of BP and RP follow those of G. [d]
_DELAY_D = {"G": 0.0, "BP": 4.0e-4, "RP": 4.6e-4}
#: Noise of a transit that does not depend on the source. [electron/s]
_NOISE = {"G": 1.0, "BP": 12.0, "RP": 11.0}
_MISSING_SHARE, _NO_FLUX_SHARE, _REJECTED_SHARE = 0.05, 0.02, 0.06
#: Order of the cells whose number begins a source identifier.
_ID_ORDER = 12


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
        Sources in `SCHEMA`, sorted by cell and source identifier.
    """
    sources = sources[sources["in_gaia"]].reset_index(drop=True)
    rng = random_stream(seed, "gaia positions")
    # A Gaia position is far better than one of ZTF.
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.02 * sources["scatter_arcsec"].to_numpy(),
        rng,
    )
    cells = healpix_cells(ra_deg, dec_deg, 29)
    order = np.argsort(cells, kind="stable")
    sources = sources.iloc[order].reset_index(drop=True)
    n_transits = np.minimum(
        random_stream(seed, "gaia transits").integers(*_TRANSITS, len(sources)),
        sources["gaia_max_transits"].to_numpy(),
    )
    rows = pd.DataFrame(
        {
            "_healpix_29": cells[order],
            "source_id": source_ids(cells[order]),
            "ra": ra_deg[order],
            "dec": dec_deg[order],
            "n_transits": n_transits,
        }
    )
    return assemble(rows, sources, seed)


def assemble(rows: pd.DataFrame, sources: pd.DataFrame, seed: int) -> pa.Table:
    """Return rows of the catalogue with what is measured of them.

    Parameters
    ----------
    rows : pandas.DataFrame
        The columns of `SCHEMA` but ``epoch_photometry``.
    sources : pandas.DataFrame
        The source of each row, as `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the measurements.

    Returns
    -------
    pyarrow.Table
        In `SCHEMA`.
    """
    columns: dict[str, Any] = {name: rows[name] for name in SCHEMA.names if name in rows}
    columns["epoch_photometry"] = _light_curves(sources, rows["n_transits"].to_numpy(), seed)
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def source_ids(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return identifiers that begin with the cell (order 29, ascending), as Gaia's do."""
    prefix = cells >> 2 * (29 - _ID_ORDER)
    number = pd.Series(prefix).groupby(prefix).cumcount().to_numpy() + 1
    return (prefix << 35) | (number << 7)


def _light_curves(
    sources: pd.DataFrame, n_transits: NDArray[np.int64], seed: int
) -> pa.StructArray:
    source = np.repeat(np.arange(len(sources)), n_transits)
    rng = random_stream(seed, "gaia photometry")
    time_d = rng.uniform(*_SURVEY_D, source.size)
    time_d = time_d[np.lexsort((time_d, source))]
    borders = pa.array(np.concatenate([[0], np.cumsum(n_transits)]), pa.int32())
    fields: dict[str, pa.Array] = {}
    for band in AB_ZERO_POINT_MAG:
        measured = _measure(sources, source, time_d + _DELAY_D[band], band, seed, rng)
        prefix, time_name = (
            ("g_transit", "g_transit_time")
            if band == "G"
            else (band.lower(), f"{band.lower()}_obs_time")
        )
        fields |= {
            time_name: measured["time"],
            f"{prefix}_flux": measured["flux"],
            f"{prefix}_flux_error": measured["error"],
            f"{prefix}_flux_over_error": measured["flux_over_error"],
            f"variability_flag_{band.lower()}_reject": measured["is_rejected"],
        }
    lists = [
        pa.ListArray.from_arrays(
            borders, fields[field.name].cast(field.type.value_type), type=field.type
        )
        for field in LIGHTCURVE_TYPE
    ]
    return pa.StructArray.from_arrays(lists, fields=list(LIGHTCURVE_TYPE))


def _measure(
    sources: pd.DataFrame,
    source: NDArray[np.int64],
    time_d: NDArray[np.float64],
    band: str,
    seed: int,
    rng: np.random.Generator,
) -> dict[str, pa.Array]:
    """Return what is measured in one band, with nulls and NaN where there is nothing."""
    like = _LIKE[band]
    mag = sources[f"{like}_mag"].to_numpy()[source] + variation_mag(
        sources, source, np.full(source.size, like), time_d + TIME_ZERO_MJD, seed
    )
    true_flux = 10.0 ** (0.4 * (AB_ZERO_POINT_MAG[band] - mag))
    error = np.hypot(_NOISE[band], 0.004 * true_flux)
    flux = true_flux + error * rng.normal(size=source.size)
    ratio = flux / error
    is_rejected = rng.random(source.size) < _REJECTED_SHARE
    draw = rng.random(source.size)
    is_missing = (draw < _MISSING_SHARE) & (band != "G")
    has_no_flux = is_missing | (draw > 1.0 - _NO_FLUX_SHARE)
    # Half of the missing values are nulls, the others NaN: catalogues have both.
    is_null = np.arange(source.size) % 2 == 0
    for values in (flux, error, ratio):
        values[has_no_flux] = np.nan
    time_d = np.where(is_missing, np.nan, time_d)
    return {
        "time": pa.array(time_d, mask=is_missing & is_null),
        "flux": pa.array(flux, mask=has_no_flux & is_null),
        "error": pa.array(error, mask=has_no_flux & is_null),
        "flux_over_error": pa.array(ratio.astype(np.float32), mask=has_no_flux & is_null),
        "is_rejected": pa.array(is_rejected),
    }
