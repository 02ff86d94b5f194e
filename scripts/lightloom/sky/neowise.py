"""NEOWISE of the embedded sky: single exposures, in a catalogue per year.

The catalogues have columns of the NEOWISE-R single exposure source table that IRSA serves as
Parquet files partitioned by HEALPix cell of order 5, with a root for each year.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.sources import variation_mag
from lightloom.sky.streams import random_stream

PARTITION_COLUMN = "healpix_k5"
PARTITION_ORDER = 5

#: The catalogues, and the start of their visits. [MJD]
SUBSETS = {f"year{year}": 56_650.0 + 365.25 * (year - 1) for year in range(1, 12)} | {
    "addendum": 60_530.0
}

SCHEMA = pa.schema(
    [
        described_field("source_id", pa.string(), "scan, frame and number of the source"),
        described_field("cntr", pa.int64(), "identifier of the row"),
        described_field("ra", pa.float64(), "right ascension", "deg"),
        described_field("dec", pa.float64(), "declination", "deg"),
        described_field("mjd", pa.float64(), "middle of the exposure, MJD (UTC)", "d"),
        described_field("w1mpro", pa.float64(), "W1 magnitude, Vega", "mag"),
        described_field("w1sigmpro", pa.float64(), "its 1-sigma error; null for a limit", "mag"),
        described_field("w2mpro", pa.float64(), "W2 magnitude, Vega", "mag"),
        described_field("w2sigmpro", pa.float64(), "its 1-sigma error; null for a limit", "mag"),
        described_field("nb", pa.int32(), "blend components of the fit"),
        described_field("na", pa.int32(), "1 if the source was split actively"),
        described_field("cc_flags", pa.string(), "contamination, a character per band"),
        described_field("ph_qual", pa.string(), "photometric quality, a character per band"),
        described_field("qual_frame", pa.int32(), "quality score of the frame"),
        described_field("qi_fact", pa.float32(), "image quality score of the frame"),
        described_field("saa_sep", pa.float32(), "distance from the South Atlantic Anomaly", "deg"),
        described_field("moon_masked", pa.string(), "moonlight, a character per band"),
        described_field("allwise_cntr", pa.int64(), "identifier of the AllWISE source"),
    ]
)

_BANDS = {"w1": "W1", "w2": "W2"}
_VISITS, _VISIT_INTERVAL_D = 2, 182.6
_EXPOSURES, _ORBIT_D = 7, 0.0656
#: 1-sigma noise of an exposure as a Vega magnitude.
_NOISE_MAG = {"w1": 17.3, "w2": 15.9}
_NULL_SHARE = 0.02
_LIMIT_SNR = 2.0
# A single exposure places a source worse than the mean of many.
_SCATTER_FACTOR = 3.0


def catalogue(subset: str) -> str:
    """Return the path of a subset's catalogue in the folder of the sky."""
    return f"neowiser/healpix_k5/{subset}/neowiser-healpix_k5-{subset}.parquet"


def observe(sources: pd.DataFrame, seed: int) -> dict[str, pa.Table]:
    """Return the catalogues' rows for some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    dict of str to pyarrow.Table
        By subset: detections in `SCHEMA` and the column `PARTITION_COLUMN`, sorted by partition,
        position and time.
    """
    sources = sources[sources["in_neowise"]].reset_index(drop=True)
    return {subset: _subset(sources, subset, seed) for subset in SUBSETS}


def _subset(sources: pd.DataFrame, subset: str, seed: int) -> pa.Table:
    exposures = _exposures(sources, subset, seed)
    n_rows = len(exposures)
    source = exposures["source"].to_numpy()
    rng = random_stream(seed, "neowise photometry", subset)
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy()[source],
        sources["dec_deg"].to_numpy()[source],
        _SCATTER_FACTOR * sources["scatter_arcsec"].to_numpy()[source],
        rng,
    )
    columns = {
        "source_id": [
            f"{scan}-{number:06d}"
            for scan, number in zip(exposures["scan"], exposures["number"], strict=True)
        ],
        "cntr": (list(SUBSETS).index(subset) + 1) * 10**9 + np.arange(n_rows),
        "ra": ra_deg,
        "dec": dec_deg,
        "mjd": exposures["mjd"],
        "nb": np.where(rng.random(n_rows) < 0.05, 2, 1),
        "na": np.where(rng.random(n_rows) < 0.02, 1, 0),
        "cc_flags": rng.choice(
            ["0000", "d000", "00pp", "0h00"], n_rows, p=[0.92, 0.03, 0.03, 0.02]
        ),
        "ph_qual": rng.choice(["AA", "AB", "AU"], n_rows),
        "qual_frame": rng.choice([10, 5], n_rows, p=[0.97, 0.03]),
        "qi_fact": rng.choice([1.0, 0.5, 0.0], n_rows, p=[0.94, 0.05, 0.01]),
        "saa_sep": rng.uniform(-5.0, 110.0, n_rows),
        "moon_masked": rng.choice(["00", "11"], n_rows, p=[0.96, 0.04]),
        "allwise_cntr": pa.array(10**15 + source, mask=rng.random(n_rows) < 0.1),
    }
    for prefix in _BANDS:
        columns |= _measure(exposures, sources, prefix, seed, rng)
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    cells = healpix_cells(ra_deg, dec_deg, 29)
    partition = (cells >> 2 * (29 - PARTITION_ORDER)).astype(np.int32)
    order = np.lexsort((exposures["mjd"], cells))
    return table.append_column(PARTITION_COLUMN, pa.array(partition)).take(order)


def _exposures(sources: pd.DataFrame, subset: str, seed: int) -> pd.DataFrame:
    """Return ``source``, ``mjd``, ``scan`` and ``number`` of each detection."""
    pointing = healpix_cells(sources["ra_deg"], sources["dec_deg"], PARTITION_ORDER)
    schedule = pd.concat(
        [_schedule(int(cell), subset, seed) for cell in np.unique(pointing)], ignore_index=True
    )
    seen = pd.DataFrame(
        {
            "source": np.arange(len(sources)),
            "pointing": pointing,
            "limit": sources["neowise_max_exposures"],
        }
    )
    exposures = seen.merge(schedule, on="pointing")
    exposures = exposures[exposures["exposure"] < exposures["limit"]]
    exposures = exposures.sort_values(["source", "mjd"], ignore_index=True)
    return exposures.assign(number=exposures.groupby("scan").cumcount() + 1)


def _schedule(pointing: int, subset: str, seed: int) -> pd.DataFrame:
    """Return the exposures of a cell; all sources in it share them."""
    rng = random_stream(seed, "neowise schedule", subset, pointing)
    n_visits = 1 if subset == "addendum" else _VISITS
    start_mjd = SUBSETS[subset] + rng.uniform(0.0, 170.0 if n_visits > 1 else 20.0)
    visit, exposure = np.divmod(np.arange(n_visits * _EXPOSURES), _EXPOSURES)
    # Every second orbit sees the place again.
    mjd = start_mjd + _VISIT_INTERVAL_D * visit + 2.0 * _ORBIT_D * exposure
    return pd.DataFrame(
        {
            "pointing": pointing,
            "exposure": exposure,
            "mjd": mjd,
            "scan": [f"{round(time * 10):06d}r{pointing:05d}" for time in mjd],
        }
    )


def _measure(
    exposures: pd.DataFrame,
    sources: pd.DataFrame,
    prefix: str,
    seed: int,
    rng: np.random.Generator,
) -> dict[str, pa.Array]:
    """Return magnitude and error in one band; a weak flux gives a limit without an error."""
    source = exposures["source"].to_numpy()
    band: NDArray[np.str_] = np.full(source.size, _BANDS[prefix])
    mag = sources[f"{prefix}_mag"].to_numpy()[source] + variation_mag(
        sources, source, band, exposures["mjd"].to_numpy(), seed
    )
    true_snr = 10.0 ** (0.4 * (_NOISE_MAG[prefix] - mag))
    error_snr = np.hypot(1.0, 0.02 * true_snr)
    snr = true_snr + error_snr * rng.normal(size=source.size)
    is_limit = snr < _LIMIT_SNR * error_snr
    measured = np.where(is_limit, np.maximum(snr, 0.0) + _LIMIT_SNR * error_snr, snr)
    is_null = rng.random(source.size) < _NULL_SHARE
    magnitude = np.round(_NOISE_MAG[prefix] - 2.5 * np.log10(measured), 3)
    error = np.round(2.5 / np.log(10.0) * error_snr / measured, 3)
    return {
        f"{prefix}mpro": pa.array(magnitude, mask=is_null),
        f"{prefix}sigmpro": pa.array(error, mask=is_null | is_limit),
    }
