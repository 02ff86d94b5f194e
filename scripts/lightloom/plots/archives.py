"""Figure of an archive: where it has the sample, when it looked, and how far its matches lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightloom.plots.coverage import project
from lightloom.plots.matches import (
    MIN_MATCHES,
    ChanceMatches,
    OffsetMatches,
    fit_chance_matches,
    share_of_offsets,
)
from lightloom.plots.points import floats
from lightloom.plots.style import BLUE, GREY, INK, STATE_COLOURS, figure_style, save_figure
from lightloom.schema import STATES

#: More markers than this are drawn smaller.
_MANY_TARGETS = 500
#: Steps between rows: logarithms of days.
_CADENCE_BINS = np.linspace(-4, 3.5, 61)
_EPOCH_BINS = np.arange(47000, 63001, 90)
_MATCH_BINS = 30
_OFFSET_COUNTS = ("n_offsets", "n_offset_matches")
_SPANS_DAYS = {
    "minute": 1 / 1440,
    "hour": 1 / 24,
    "day": 1.0,
    "month": 365.25 / 12,
    "year": 365.25,
}


@dataclass
class _Times:
    """Counts of epochs and of steps between them, gathered block by block."""

    epochs: NDArray[np.int64]
    steps: NDArray[np.int64]


def plot_archives(
    *,
    sample_path: Path,
    ledger_path: Path,
    lightcurve_paths: list[Path],
    radii_arcsec: Mapping[str, float | None],
    figure_paths: Mapping[str, Path],
) -> None:
    """Draw a figure for each archive.

    Parameters
    ----------
    sample_path, ledger_path : pathlib.Path
        Tables in the ``SAMPLE`` and ``LEDGER`` schemas.
    lightcurve_paths : list of pathlib.Path
        Merged light curves of all shards (``LIGHTCURVE``); they are read piece by piece.
    radii_arcsec : mapping of str to float or None
        Search radius of each archive; None for one whose matches have radii of their own.
    figure_paths : mapping of str to pathlib.Path
        File to write for each archive, ``.svg``, ``.pdf`` or ``.png``.
    """
    sample = pq.read_table(sample_path, columns=["objectid", "ra_deg", "dec_deg"])
    times = _gather_times(lightcurve_paths, list(figure_paths))
    with figure_style():
        for archive, path in figure_paths.items():
            ledger = pq.read_table(
                ledger_path,
                columns=[
                    "objectid",
                    "state",
                    "n_rows",
                    "match_arcsec",
                    *_OFFSET_COUNTS,
                ],
                filters=pc.field("archive") == archive,
            )
            figure = Figure(figsize=(9.5, 5.6))
            figure.suptitle(archive, x=0.02, ha="left", weight="bold")
            grid = figure.add_gridspec(
                2, 2, left=0.08, right=0.98, bottom=0.09, top=0.89, hspace=0.42, wspace=0.2
            )
            sky = figure.add_subplot(grid[0, 0], projection="mollweide")
            _draw_sky(sky, sample, ledger)
            n_rows = ledger["n_rows"].to_numpy()
            _draw_epochs(figure.add_subplot(grid[0, 1]), times[archive], n_rows[n_rows > 0])
            _draw_cadence(figure.add_subplot(grid[1, 0]), times[archive])
            _draw_matches(
                figure.add_subplot(grid[1, 1]),
                floats(ledger["match_arcsec"]),
                radii_arcsec[archive],
                share_of_offsets(*(int(ledger[name].to_numpy().sum()) for name in _OFFSET_COUNTS)),
            )
            save_figure(figure, [path])


def _gather_times(paths: list[Path], archives: list[str]) -> dict[str, _Times]:
    times = {
        archive: _Times(
            np.zeros(len(_EPOCH_BINS) - 1, np.int64), np.zeros(len(_CADENCE_BINS) - 1, np.int64)
        )
        for archive in archives
    }
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["objectid", "archive", "band", "time_mjd_tdb"]):
                rows = pa.table(batch)
                for archive in rows["archive"].unique().to_pylist():
                    if archive in times:
                        _add(times[archive], rows.filter(pc.field("archive") == archive))
    return times


def _add(times: _Times, rows: pa.Table) -> None:
    rows = rows.filter(rows["time_mjd_tdb"].is_valid())
    if not rows.num_rows:
        return
    curve = np.zeros(rows.num_rows, np.int64)
    for name in ("objectid", "band"):
        column = pc.dictionary_encode(rows[name].combine_chunks())
        curve = curve * len(column.dictionary) + column.indices.to_numpy()
    time_mjd = rows["time_mjd_tdb"].to_numpy()
    order = np.lexsort([time_mjd, curve])
    steps = np.diff(time_mjd[order])[np.diff(curve[order]) == 0]
    times.epochs += np.histogram(time_mjd, _EPOCH_BINS)[0]
    times.steps += np.histogram(np.log10(steps[steps > 0]), _CADENCE_BINS)[0]


def _draw_sky(axes: Axes, sample: pa.Table, ledger: pa.Table) -> None:
    axes.set_xticks([], [])
    axes.set_yticks([], [])
    axes.grid(visible=True)
    n_targets = sample.num_rows
    size = 14 if n_targets <= _MANY_TARGETS else 3
    where = pc.index_in(sample["objectid"], value_set=ledger["objectid"].combine_chunks())
    states = ledger["state"].take(where).combine_chunks()
    handles = []
    for state in reversed(STATES):
        chosen = pc.equal(states, state).to_numpy(zero_copy_only=False)
        if not chosen.any():
            continue
        x, y = project(sample["ra_deg"].to_numpy()[chosen], sample["dec_deg"].to_numpy()[chosen])
        look: dict[str, Any] = {"color": STATE_COLOURS[state], "edgecolors": INK, "linewidths": 0.3}
        axes.scatter(x, y, s=size, rasterized=n_targets > _MANY_TARGETS, zorder=2, **look)
        label = f"{state.replace('_', ' ')}  {int(chosen.sum())}"
        handles.append(
            Line2D(
                [],
                [],
                ls="",
                marker="o",
                ms=4,
                mec=INK,
                mew=0.3,
                color=STATE_COLOURS[state],
                label=label,
            )
        )
    axes.legend(
        handles=handles[::-1],
        loc="upper center",
        bbox_to_anchor=(0.5, 0.02),
        ncols=3,
        fontsize=7,
        handletextpad=0.1,
        columnspacing=0.9,
    )
    axes.set_title(f"{n_targets} targets by state of the search, ICRS")


def _draw_epochs(axes: Axes, times: _Times, numbers: NDArray[np.int64]) -> None:
    """Draw the epochs; ``numbers`` are those of the rows of each target that has any."""
    found = np.flatnonzero(times.epochs)
    axes.set_title("epochs: rows in 90 days")
    axes.set_xlabel("MJD (TDB)")
    _count_along_y(axes, "rows")
    if not len(found):
        _say(axes, "no rows with a time")
        return
    axes.stairs(times.epochs, _EPOCH_BINS, fill=True, color=BLUE)
    last = min(found[-1] + 3, len(_EPOCH_BINS) - 1)
    axes.set_xlim(_EPOCH_BINS[max(found[0] - 2, 0)], _EPOCH_BINS[last])
    axes.grid(visible=True, axis="y")
    axes.text(
        0.99,
        0.97,
        f"{len(numbers)} targets with rows; their median number: {np.median(numbers):.0f}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        size=7.5,
    )
    axes.set_ylim(0, 1.15 * times.epochs.max())


def _draw_cadence(axes: Axes, times: _Times) -> None:
    axes.set_title("cadence: time between rows of a target in a band (logarithmic)")
    _count_along_y(axes, "pairs of rows")
    axes.set_xticks(np.log10(list(_SPANS_DAYS.values())), list(_SPANS_DAYS))
    axes.set_xlim(_CADENCE_BINS[0], _CADENCE_BINS[-1])
    if not times.steps.any():
        _say(axes, "no target has two rows in a band")
        return
    axes.stairs(times.steps, _CADENCE_BINS, fill=True, color=BLUE)
    axes.grid(visible=True)


def _draw_matches(
    axes: Axes,
    distances_arcsec: NDArray[np.float64],
    radius_arcsec: float | None,
    beside: OffsetMatches | None,
) -> None:
    distances = distances_arcsec[np.isfinite(distances_arcsec)]
    axes.set_title("distance of the nearest match of each target")
    axes.set_xlabel("distance [arcsec]" if radius_arcsec is not None else "distance [deg]")
    _count_along_y(axes, "targets")
    if not len(distances):
        _say(axes, "no matches")
        return
    if radius_arcsec is None:
        distances = distances / 3600
        note = "events: within their own error circles"
    top = max(radius_arcsec or 0.0, float(distances.max())) or 1.0
    edges = np.linspace(0, top, _MATCH_BINS + 1)
    counts, _ = np.histogram(distances, edges)
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.set_xlim(0, top)
    axes.set_ylim(0, 1.5 * counts.max())
    axes.grid(visible=True, axis="y")
    if radius_arcsec is not None:
        note = _draw_chance(axes, distances, radius_arcsec, edges)
        if beside is not None:
            note += (
                f"\nbeside the targets: {_percent(beside)} of {beside.n_offsets} circles"
                " hold a source"
            )
    axes.text(0.99, 0.97, note, transform=axes.transAxes, ha="right", va="top", size=7.5)


def _draw_chance(
    axes: Axes,
    distances_arcsec: NDArray[np.float64],
    radius_arcsec: float,
    edges_arcsec: NDArray[np.float64],
) -> str:
    """Draw how many matches there are by chance, and at most; return what to say of them."""
    fit = fit_chance_matches(distances_arcsec, radius_arcsec)
    if fit is None:
        return f"fewer than {MIN_MATCHES} matches: their distances tell no rate by chance"
    uniform = np.diff(edges_arcsec**2) / radius_arcsec**2
    for share, style in ((fit.share, "-"), (fit.high, ":")):
        expected = len(distances_arcsec) * share * uniform
        axes.stairs(expected, edges_arcsec, color=INK, ls=style, baseline=None)
    return (
        f"by chance, by distance: {_percent(fit)} of {len(distances_arcsec)} matches\n"
        f"scatter of the others: {fit.sigma_arcsec:.2f} arcsec"
    )


def _percent(share: ChanceMatches | OffsetMatches) -> str:
    return f"{100 * share.share:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f} %)"


def _count_along_y(axes: Axes, what: str) -> None:
    axes.set_ylabel(what)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _say(axes: Axes, message: str) -> None:
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yticks([])
