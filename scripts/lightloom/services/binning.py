"""Light curves averaged in bins of time."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.schema import QUALITY_BAD, TARGET_ROWS

_SECONDS_PER_DAY = 86400.0

FloatArray = NDArray[np.float64]


def bin_rows(rows: pa.Table, bin_s: float) -> pa.Table:
    """Average the usable points of one light curve in bins of equal length.

    Parameters
    ----------
    rows : pyarrow.Table
        Rows of one target in one band and one unit, in the schema ``TARGET_ROWS``.
    bin_s : float
        Length of a bin [s]. Bins begin at multiples of it after MJD 0.

    Returns
    -------
    pyarrow.Table
        A row for each bin with a usable point: one with a time and a brightness that is not bad.
        Brightness and time are means weighted by the inverse variance of the brightness; of points
        without errors they are plain means without an error. Exposure times are added up, flags
        united, and the worst quality counts. ``native_columns`` holds the number of points,
        ``n_points``, besides what the first of them holds.
    """
    usable = pc.and_(rows["time_mjd"].is_valid(), pc.less(rows["quality"], QUALITY_BAD))
    rows = rows.filter(usable).sort_by("time_mjd")
    error = _numbers(rows, "native_err")
    weighted = bool(np.any(error > 0))
    if weighted:
        rows, error = rows.filter(pa.array(error > 0)), error[error > 0]
    if not rows.num_rows:
        return rows
    number = np.floor_divide(_numbers(rows, "time_mjd") * _SECONDS_PER_DAY, bin_s)
    _, first, count = np.unique(number, return_index=True, return_counts=True)
    weight = error**-2.0 if weighted else np.ones(rows.num_rows)
    total = np.add.reduceat(weight, first)

    def mean(name: str) -> FloatArray:
        values = _numbers(rows, name)
        # Around the first value of the bin, so that a mean of large numbers keeps their digits.
        start = values[first]
        shifted = (values - np.repeat(start, count)) * weight
        return start + np.add.reduceat(shifted, first) / total

    scale = _numbers(rows, "flux_err_mjy") / error if weighted else np.full(rows.num_rows, np.nan)
    binned_error = total**-0.5 if weighted else np.full(len(first), np.nan)
    columns = {
        **{name: mean(name) for name in ("time_mjd", "time_mjd_tdb", "native_value", "flux_mjy")},
        "native_err": binned_error,
        "flux_err_mjy": binned_error * scale[first],
        "exposure_s": np.add.reduceat(_numbers(rows, "exposure_s"), first),
        "flags_native": np.bitwise_or.reduceat(rows["flags_native"].fill_null(0).to_numpy(), first),
        "quality": np.maximum.reduceat(rows["quality"].to_numpy(), first),
    }
    binned = rows.take(pa.array(first))
    for name, values in columns.items():
        field = TARGET_ROWS.field(name)
        index = TARGET_ROWS.get_field_index(name)
        binned = binned.set_column(index, field, pa.array(values, field.type, from_pandas=True))
    counted = [
        json.dumps({**json.loads(text or "{}"), "n_points": int(points)}, separators=(",", ":"))
        for text, points in zip(binned["native_columns"].to_pylist(), count, strict=True)
    ]
    index = TARGET_ROWS.get_field_index("native_columns")
    return binned.set_column(
        index, TARGET_ROWS.field("native_columns"), pa.array(counted, pa.string())
    )


def _numbers(rows: pa.Table, name: str) -> FloatArray:
    """Return a column as doubles, with NaN for nulls."""
    numbers: FloatArray = rows[name].to_numpy().astype(np.float64)
    return numbers
