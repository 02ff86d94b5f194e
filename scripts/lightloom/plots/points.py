"""What a figure of a target shows: its measurements by unit, and where they are dense."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.schema import QUALITY_BAD

#: A part of the time axis is drawn again, larger, if it has such a share of the points in less than
#: such a share of the time: the first pair that fits.
_DENSE_SHARES = ((0.6, 0.4), (0.4, 0.2))
#: A panel with fewer points has no such part.
_DENSE_POINTS = 40

#: Fluxes outside these percentiles of the points that are not bad may lie outside a panel.
_SHOWN_PERCENTILES = (0.5, 99.5)
#: Part of the range of the values that is left free above and below.
_MARGIN = 0.08
#: A panel whose values differ by more than this factor has an axis that is linear near zero only.
_WIDE_FACTOR = 30.0


@dataclass(frozen=True)
class Series:
    """Points that look alike: indices into the arrays of `Points`."""

    archive: str
    band: str
    kind: str
    quality: int
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """The measurements in one unit.

    Attributes
    ----------
    unit : str
        ``mJy``, or the unit of the published values.
    time_mjd, value, error : ndarray of float64, shape (n_points,)
        Time in TDB at the barycentre; value and 1-sigma error in the unit, NaN if there is none.
    quality : ndarray of int64, shape (n_points,)
    series : list of Series
        Every point is in one of them; in the order of archive, band, kind and falling quality.
    n_hidden : int
        Rows without time or value.
    rows : pyarrow.Table
        The rows of the points (``LIGHTCURVE``).
    """

    unit: str
    time_mjd: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    quality: NDArray[np.int64]
    series: list[Series]
    n_hidden: int
    rows: pa.Table

    def __len__(self) -> int:
        return len(self.value)


def points_by_unit(rows: pa.Table) -> list[Points]:
    """Return the measurements by unit: flux densities first, then the other units by name.

    Archives without any flux density are shown by their published values.

    Parameters
    ----------
    rows : pyarrow.Table
        Rows of a target without its events (``LIGHTCURVE``).
    """
    counted = rows.group_by("archive").aggregate([("flux_mjy", "count")])
    with_flux = counted.filter(pc.field("flux_mjy_count") > 0)["archive"].combine_chunks()
    has_flux = pc.is_in(rows["archive"], value_set=with_flux)
    native = rows.filter(pc.invert(has_flux))
    panels = [_points(rows.filter(has_flux), "mJy", ("flux_mjy", "flux_err_mjy"))]
    for unit in sorted(native["native_unit"].unique().to_pylist()):
        of_unit = native.filter(pc.field("native_unit") == unit)
        panels.append(_points(of_unit, unit, ("native_value", "native_err")))
    return [panel for panel in panels if len(panel) or panel.n_hidden]


def _points(rows: pa.Table, unit: str, columns: tuple[str, str]) -> Points:
    time_mjd, value = floats(rows["time_mjd_tdb"]), floats(rows[columns[0]])
    is_shown = np.isfinite(time_mjd) & np.isfinite(value)
    shown = rows.filter(pa.array(is_shown))
    return Points(
        unit=unit,
        time_mjd=time_mjd[is_shown],
        value=value[is_shown],
        error=floats(shown[columns[1]]),
        quality=shown["quality"].to_numpy().astype(np.int64),
        series=list(_series(shown)),
        n_hidden=rows.num_rows - shown.num_rows,
        rows=shown,
    )


def _series(rows: pa.Table) -> Iterator[Series]:
    keys = ("archive", "band", "kind")
    encoded = [pc.dictionary_encode(rows[name].combine_chunks()) for name in keys]
    code = rows["quality"].to_numpy().astype(np.int64)
    for column in encoded:
        code = code * len(column.dictionary) + column.indices.to_numpy()
    order = np.argsort(code, kind="stable")
    borders = np.flatnonzero(np.diff(code[order])) + 1
    groups = np.split(order, borders) if len(order) else []
    series = [
        Series(
            *(column[int(group[0])].as_py() for column in encoded),
            quality=rows["quality"][int(group[0])].as_py(),
            indices=group,
        )
        for group in groups
    ]
    yield from sorted(series, key=lambda s: (s.archive, s.band, s.kind, -s.quality))


def dense_window(time_mjd: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the part of the time axis where most of the points lie, if it is a small one.

    Parameters
    ----------
    time_mjd : ndarray of float64, shape (n_points,)

    Returns
    -------
    tuple of float or None
        Begin and end [MJD], with a little space around the points.
    """
    if len(time_mjd) < _DENSE_POINTS:
        return None
    times = np.sort(time_mjd)
    for share, most in _DENSE_SHARES:
        n_inside = int(np.ceil(share * len(times)))
        widths = times[n_inside - 1 :] - times[: len(times) - n_inside + 1]
        first = int(np.argmin(widths))
        width = float(widths[first])
        if 0 < width < most * (times[-1] - times[0]):
            margin = 0.04 * width
            return float(times[first]) - margin, float(times[first]) + width + margin
    return None


def value_scale(points: Points) -> tuple[str, dict[str, float]]:
    """Return the scale of a panel's axis: linear, or for a wide range logarithmic.

    An axis of a wide range with negative values is linear near zero and logarithmic far from it.

    Returns
    -------
    tuple of str and dict
        Name and options of a scale of matplotlib.
    """
    value = _shown(points)[0]
    if points.unit == "mag" or len(value) < 2:
        return "linear", {}
    small, large = np.percentile(np.abs(value), [10, 98])
    if small <= 0 or large < _WIDE_FACTOR * small:
        return "linear", {}
    if np.all(value > 0):
        return "log", {}
    return "asinh", {"linear_width": float(small)}


def value_limits(points: Points, scale: str) -> tuple[float, float]:
    """Return the range of a panel by the points that are not bad.

    Single outliers must not flatten the rest.
    """
    value, error = _shown(points)
    if scale == "log":
        low, high = np.percentile(value, _SHOWN_PERCENTILES)
        return float(low) / 1.5, float(high) * 1.5
    low = float(np.percentile(value - error, _SHOWN_PERCENTILES[0]))
    high = float(np.percentile(value + error, _SHOWN_PERCENTILES[1]))
    margin = _MARGIN * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _shown(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and errors of the points that are not bad, or of all if all are."""
    chosen = points.quality != QUALITY_BAD
    if not chosen.any():
        chosen[:] = True
    return points.value[chosen], np.nan_to_num(points.error[chosen])


def floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where it has none."""
    values: NDArray[np.float64] = pc.fill_null(column, np.nan).to_numpy()
    return values
