"""Figures of light curves: a panel for each archive, all on one time axis."""

from collections.abc import Iterable, Mapping, Sequence
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
from numpy.typing import NDArray

from lightloom.plots.style import GREY, INK, band_colours, figure_style, save_figure
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD, QUALITY_SUSPECT

_MARKERS = {"detection": "o", "forced": "o", "limit": "v"}

#: A panel with more points than this is stored in an SVG as pixels.
_MAX_VECTOR_POINTS = 2000
#: A panel with more points has no error bars: nobody could tell one from another.
_MAX_ERROR_BARS = 20_000
#: Fluxes outside these percentiles of the points that are not bad may lie outside a panel.
_SHOWN_PERCENTILES = (0.5, 99.5)
#: Marker size [pt] of a panel with few points, and of one with more than `_MANY_POINTS`.
_MARK_SIZES_PT = (3.4, 2.2)
_MANY_POINTS = 150
#: Part of the range of the fluxes that is left free above and below.
_MARGIN = 0.12

_MJD_J2000 = 51544.5
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Target:
    """A target and the rows of the ledger about it (``LEDGER``)."""

    objectid: str
    ra_deg: float
    dec_deg: float
    shard: str
    states: pa.Table


@dataclass(frozen=True)
class _Points:
    """What a panel shows: arrays of shape (n_points,), ``value`` in ``unit``; out of ``n_rows``."""

    time_mjd: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    band: NDArray[np.object_]
    quality: NDArray[np.int64]
    kind: NDArray[np.object_]
    unit: str
    n_rows: int

    def select(self, mask: NDArray[np.bool_]) -> "_Points":
        columns: dict[str, Any] = {
            name: values[mask] if isinstance(values, np.ndarray) else values
            for name, values in vars(self).items()
        }
        return _Points(**columns)


def richest_targets(*, sample_path: Path, ledger_path: Path, n_targets: int) -> list[Target]:
    """Return the targets with most light-curve rows, most first (then by objectid).

    Parameters
    ----------
    sample_path, ledger_path : pathlib.Path
        Tables in the ``SAMPLE`` and ``LEDGER`` schemas.
    n_targets : int
        Most targets to return; a smaller sample gives fewer.

    Returns
    -------
    list of Target
    """
    with pq.ParquetFile(ledger_path) as file:
        batches = file.iter_batches(columns=["objectid", "n_rows"])
        # A target's rows of the ledger may lie in two batches: their sums are summed again.
        partial = [_sum_rows(pa.table(batch)) for batch in batches]
    ranking = _sum_rows(pa.concat_tables(partial)).sort_by(
        [("n_rows", "descending"), ("objectid", "ascending")]
    )
    chosen = ranking["objectid"].slice(0, n_targets).combine_chunks()
    is_chosen = pc.field("objectid").isin(chosen)
    ledger = pq.read_table(ledger_path, filters=is_chosen)
    sample = pq.read_table(
        sample_path, columns=["objectid", "ra_deg", "dec_deg", "shard"], filters=is_chosen
    )
    places = {row["objectid"]: row for row in sample.to_pylist()}
    return [
        Target(**places[objectid], states=ledger.filter(pc.field("objectid") == objectid))
        for objectid in chosen.to_pylist()
    ]


def _sum_rows(table: pa.Table) -> pa.Table:
    sums = table.group_by("objectid").aggregate([("n_rows", "sum")])
    return sums.rename_columns({"n_rows_sum": "n_rows"})


def plot_richest_lightcurves(
    *,
    sample_path: Path,
    ledger_path: Path,
    lightcurve_paths: Mapping[str, Path],
    figure_paths: Sequence[Path],
) -> None:
    """Draw the light curves of the targets with most rows, one target to a file.

    Parameters
    ----------
    sample_path, ledger_path : pathlib.Path
        Tables in the ``SAMPLE`` and ``LEDGER`` schemas.
    lightcurve_paths : mapping of str to pathlib.Path
        Merged light curves of each shard (``LIGHTCURVE``).
    figure_paths : sequence of pathlib.Path
        Files to write, ``.svg`` or ``.png``, for at most as many targets as there are.
    """
    targets = richest_targets(
        sample_path=sample_path, ledger_path=ledger_path, n_targets=len(figure_paths)
    )
    for target, path in zip(targets, figure_paths, strict=True):
        rows = pq.read_table(
            lightcurve_paths[target.shard],
            filters=pc.field("objectid") == target.objectid,
        )
        plot_target(target, rows, [path])


def plot_target(target: Target, rows: pa.Table, figure_paths: Iterable[Path]) -> None:
    """Draw everything that the archives have of one target.

    Flux density against time in TDB at the barycentre, or the native value where no flux density
    is defined: a panel for each archive and unit. Events, which are no measurements of the target,
    share a panel that shows when they happened. Open marks are suspect by the archive's flags, grey
    crosses bad.

    Parameters
    ----------
    target : Target
        The target.
    rows : pyarrow.Table
        Its rows (``LIGHTCURVE``), possibly none.
    figure_paths : iterable of pathlib.Path
        Files to write, ``.svg`` or ``.png``.
    """
    is_event = pc.equal(rows["kind"], "event")
    events = rows.filter(is_event)
    panels = _panels(rows.filter(pc.invert(is_event)))
    n_panels = len(panels) + (events.num_rows > 0)
    with figure_style():
        height_in = 1.15 + 2.1 * max(1, len(panels)) + 1.2 * (events.num_rows > 0)
        figure = Figure(figsize=(7.6, height_in), layout="constrained")
        figure.suptitle(
            f"{target.objectid}   RA {target.ra_deg:.5f}°  Dec {target.dec_deg:+.5f}°",
            parse_math=False,
            x=0.02,
            ha="left",
            size=10.5,
            weight="bold",
        )
        states = {row["archive"]: row for row in target.states.to_pylist()}
        ratios = [*(2.1 for _ in panels), *([1.2] if events.num_rows else [])] or [1.0]
        all_axes = figure.subplots(
            len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios
        )[:, 0]
        for axes, (archive, points) in zip(all_axes, panels, strict=False):
            _draw_panel(axes, points)
            axes.set_title(_panel_title(states[archive], points), parse_math=False)
        if events.num_rows:
            _draw_events(all_axes[-1], events)
        if n_panels:
            _draw_time_axes(all_axes)
        else:
            _draw_message(all_axes[0], "no light curve in any archive")
        with_rows = set(rows["archive"].unique().to_pylist())
        figure.supxlabel(_without_rows(states, with_rows), parse_math=False, size=8, color=GREY)
        save_figure(figure, figure_paths)


def _panels(rows: pa.Table) -> list[tuple[str, _Points]]:
    """Return the archives' measurements, those in different units apart."""
    panels = []
    for archive in sorted(rows["archive"].unique().to_pylist()):
        of_archive = rows.filter(pc.field("archive") == archive)
        if of_archive["flux_mjy"].null_count < of_archive.num_rows:
            panels.append((archive, _points(of_archive, "flux", "mJy")))
            continue
        for unit in sorted(of_archive["native_unit"].unique().to_pylist()):
            of_unit = of_archive.filter(pc.field("native_unit") == unit)
            panels.append((archive, _points(of_unit, "native", unit)))
    return panels


def _points(rows: pa.Table, kind: str, unit: str) -> _Points:
    value, error = {
        "flux": ("flux_mjy", "flux_err_mjy"),
        "native": ("native_value", "native_err"),
    }[kind]
    points = _Points(
        time_mjd=_floats(rows["time_mjd_tdb"]),
        value=_floats(rows[value]),
        error=_floats(rows[error]),
        band=np.array(rows["band"].to_pylist(), object),
        quality=rows["quality"].to_numpy().astype(np.int64),
        kind=np.array(rows["kind"].to_pylist(), object),
        unit=unit,
        n_rows=rows.num_rows,
    )
    return points.select(np.isfinite(points.time_mjd) & np.isfinite(points.value))


def _draw_events(axes: Axes, events: pa.Table) -> None:
    """Mark when events happened in whose error circle the target lies, a line for each archive."""
    archives = sorted(events["archive"].unique().to_pylist(), reverse=True)
    labels = []
    for place, archive in enumerate(archives):
        of_archive = events.filter(pc.field("archive") == archive)
        time_mjd = _floats(of_archive["time_mjd_tdb"])
        is_good = of_archive["quality"].to_numpy() == QUALITY_GOOD
        for chosen, colour in ((~is_good, GREY), (is_good, INK)):
            axes.plot(
                time_mjd[chosen], np.full(chosen.sum(), place), "|", ms=11, mew=1.4, color=colour
            )
        labels.append(f"{archive}  {of_archive.num_rows}")
    axes.set_yticks(range(len(archives)), labels)
    axes.set_ylim(-0.6, len(archives) - 0.4)
    axes.grid(visible=True, axis="x")
    axes.set_title("events in whose error circle the target lies (grey: suspect)")


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return pc.fill_null(column, np.nan).to_numpy()


def _draw_panel(axes: Axes, points: _Points) -> None:
    colours = band_colours(points.band)
    bands = sorted(set(points.band), key=lambda band: (list(colours).index(band), band))
    rasterized = len(points.value) > _MAX_VECTOR_POINTS
    size_pt = _MARK_SIZES_PT[len(points.value) > _MANY_POINTS]
    for band in bands:
        for kind, marker in _MARKERS.items():
            for quality in (QUALITY_BAD, QUALITY_SUSPECT, QUALITY_GOOD):
                chosen = points.select(
                    (points.band == band) & (points.kind == kind) & (points.quality == quality)
                )
                if len(chosen.value):
                    style = _mark_style(colours[band], marker, quality, size_pt)
                    has_errors = quality != QUALITY_BAD and len(points.value) <= _MAX_ERROR_BARS
                    axes.errorbar(
                        chosen.time_mjd,
                        chosen.value,
                        np.nan_to_num(chosen.error) if has_errors else None,
                        rasterized=rasterized,
                        **style,
                    )
    handles = [
        Line2D([], [], ls="", marker="o", ms=4, color=colours[band], label=f"{band}  {n}")
        for band in bands
        if (n := int(np.sum(points.band == band)))
    ]
    handles += _quality_handles(points)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.03), handletextpad=0.3)
    axes.set_ylabel("flux density [mJy]" if points.unit == "mJy" else f"value [{points.unit}]")
    axes.grid(visible=True)
    _limit_values(axes, points)


def _mark_style(colour: str, marker: str, quality: int, size_pt: float) -> dict[str, Any]:
    if quality == QUALITY_BAD:
        return {"fmt": "x", "ms": _MARK_SIZES_PT[0], "mew": 0.7, "color": GREY, "zorder": 1}
    return {
        "fmt": marker,
        "ms": size_pt,
        "mew": 0.7,
        "color": colour,
        "mfc": colour if quality == QUALITY_GOOD else "white",
        "elinewidth": 0.6,
        "ecolor": (colour, 0.45),
        "zorder": 3 if quality == QUALITY_GOOD else 2,
    }


def _quality_handles(points: _Points) -> list[Line2D]:
    handles = []
    for quality, name in ((QUALITY_SUSPECT, "suspect"), (QUALITY_BAD, "bad")):
        n_points = int(np.sum(points.quality == quality))
        if n_points:
            style = _mark_style(INK, "o", quality, 4)
            look = {key: style[key] for key in ("ms", "mew", "color", "mfc") if key in style}
            label = f"{name}  {n_points}"
            handles.append(Line2D([], [], ls="", marker=style["fmt"], label=label, **look))
    return handles


def _limit_values(axes: Axes, points: _Points) -> None:
    """Set the range by the points that are not bad: single outliers must not flatten the rest."""
    shown = points.select(points.quality != QUALITY_BAD)
    if not len(shown.value):
        shown = points
    if not len(shown.value):
        return
    error = np.nan_to_num(shown.error)
    low = np.percentile(shown.value - error, _SHOWN_PERCENTILES[0])
    high = np.percentile(shown.value + error, _SHOWN_PERCENTILES[1])
    margin = _MARGIN * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    is_magnitude = points.unit == "mag"
    axes.set_ylim((high, low) if is_magnitude else (low, high))
    if low < 0 < high and not is_magnitude:
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    n_outside = int(np.sum((points.value < low) | (points.value > high)))
    if n_outside:
        axes.text(
            0.995,
            0.97,
            f"{n_outside} outside the panel",
            transform=axes.transAxes,
            ha="right",
            va="top",
            size=7.5,
            color=GREY,
        )


def _panel_title(state: dict[str, Any], points: _Points) -> str:
    n_points = len(points.value)
    number = "one point" if n_points == 1 else f"{n_points} points"
    n_hidden = points.n_rows - n_points
    hidden = f", {n_hidden} rows without time or value" if n_hidden else ""
    return f"{state['archive']} {state['release']}: {_words(state['state'])}, {number}{hidden}"


def _words(state: str) -> str:
    return state.replace("_", " ")


def _without_rows(states: dict[str, dict[str, Any]], with_rows: set[str]) -> str:
    absent = [
        f"{archive}: {_words(state['state'])}"
        for archive, state in states.items()
        if archive not in with_rows and state["state"] != "not_requested"
    ]
    return "No rows:  " + ",  ".join(absent) if absent else ""


def _draw_message(axes: Axes, message: str) -> None:
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", size=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_time_axes(all_axes: NDArray[np.object_]) -> None:
    """Label the lowest panel with MJD and the highest with years."""
    all_axes[-1].set_xlabel("MJD (TDB, barycentre)")
    years = all_axes[0].secondary_xaxis(
        "top",
        functions=(
            lambda mjd: 2000 + (mjd - _MJD_J2000) / _DAYS_PER_YEAR,
            lambda year: _MJD_J2000 + (year - 2000) * _DAYS_PER_YEAR,
        ),
    )
    years.tick_params(labelsize=7.5, colors=GREY)
