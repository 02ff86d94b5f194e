"""Figure of a target: all archives on one time axis, a panel for each unit."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightloom.plots.points import (
    Points,
    Series,
    dense_window,
    floats,
    points_by_unit,
    value_limits,
    value_scale,
)
from lightloom.plots.style import (
    GREY,
    INK,
    LIGHT_GREY,
    VERMILION,
    archive_markers,
    band_colours,
    drawn_name,
    figure_style,
    save_figure,
)
from lightloom.plots.targets import Target, richest_targets
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD, QUALITY_SUSPECT

#: A panel with more points than this is stored in an SVG or PDF as pixels.
_MAX_VECTOR_POINTS = 2000
#: A panel with more points has no error bars: nobody could tell one from another.
_MAX_ERROR_BARS = 20_000
#: Marker size [pt] of a panel with at most so many points.
_MARK_SIZES_PT = ((150, 3.6), (5000, 2.4), (100_000, 1.4), (np.inf, 0.6))

_WIDTH_IN = 11.0
#: Space of the axes in the figure [in].
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _BETWEEN_IN = 0.85, 0.15, 0.35, 0.5, 0.42
_WIDTHS = (5.2, 3.0, 2.1)
#: Heights [in]: the header, a panel with many and one with few points, a line of events.
_HEADER_IN, _PANEL_IN, _SMALL_PANEL_IN, _EVENT_IN = 1.25, 2.7, 1.5, 0.3
_FEW_POINTS = 30
_MJD_J2000 = 51544.5
_DAYS_PER_YEAR = 365.25


def plot_richest_lightcurves(
    *,
    sample_path: Path,
    ledger_path: Path,
    lightcurve_paths: Mapping[str, Path],
    figure_paths: Sequence[Path],
    page_paths: Sequence[Path],
) -> None:
    """Draw the light curves of the targets with most rows, one target to a file.

    Parameters
    ----------
    sample_path, ledger_path : pathlib.Path
        Tables in the ``SAMPLE`` and ``LEDGER`` schemas.
    lightcurve_paths : mapping of str to pathlib.Path
        Merged light curves of each shard (``LIGHTCURVE``).
    figure_paths, page_paths : sequence of pathlib.Path
        Files to write, ``.svg``, ``.pdf`` or ``.png`` and ``.html``, for at most as many targets as
        there are.
    """
    from lightloom.plots.interactive import write_page

    targets = richest_targets(
        sample_path=sample_path, ledger_path=ledger_path, n_targets=len(figure_paths)
    )
    for target, path, page in zip(targets, figure_paths, page_paths, strict=True):
        rows = pq.read_table(
            lightcurve_paths[target.shard],
            filters=pc.field("objectid") == target.objectid,
        )
        plot_target(target, rows, [path])
        write_page(target, rows, page)


def plot_target(target: Target, rows: pa.Table, figure_paths: Iterable[Path]) -> None:
    """Draw everything that the archives have of one target.

    Flux density against time in TDB at the barycentre, and the published values of archives
    without flux densities, a panel for each unit; where most points lie in a small part of the
    time, that part again at its side. A colour is a band, a shape an archive; arrows are limits,
    open marks suspect by the archive's flags, grey crosses bad. Events, which are no measurements
    of the target, are marks in a row for each archive. Above: the place on the sky, and how far
    from the target the matched sources lie.

    Parameters
    ----------
    target : Target
        The target.
    rows : pyarrow.Table
        Its rows (``LIGHTCURVE``), possibly none.
    figure_paths : iterable of pathlib.Path
        Files to write, ``.svg``, ``.pdf`` or ``.png``.
    """
    is_event = pc.equal(rows["kind"], "event")
    events = rows.filter(is_event)
    measurements = rows.filter(pc.invert(is_event))
    panels = [panel for panel in points_by_unit(measurements) if len(panel)]
    hidden = sum(panel.n_hidden for panel in points_by_unit(measurements))
    windows = [dense_window(panel.time_mjd) for panel in panels]
    n_event_rows = len(events["archive"].unique())
    heights_in = [_HEADER_IN]
    heights_in += [_SMALL_PANEL_IN if len(p) < _FEW_POINTS else _PANEL_IN for p in panels]
    if n_event_rows:
        heights_in.append(0.1 + _EVENT_IN * n_event_rows)
    if len(heights_in) == 1:
        heights_in.append(_SMALL_PANEL_IN)
    markers = archive_markers(target.states["archive"].to_pylist())
    with figure_style():
        figure, grid = _make_grid(heights_in)
        _draw_header(figure, grid, target, measurements, hidden)
        all_axes: list[Axes] = []
        for row, (points, window) in enumerate(zip(panels, windows, strict=True), 1):
            axes = _add_panel(figure, grid[row, 0 if any(windows) else slice(0, 2)], all_axes)
            _draw_panel(axes, points, markers)
            if window:
                axes.axvspan(*window, color=LIGHT_GREY, alpha=0.35, lw=0, zorder=0)
                _draw_zoom(figure.add_subplot(grid[row, 1]), points, window, markers)
            free = 1 if any(windows) and not window else 2
            _draw_legend(figure.add_subplot(grid[row, free]), points, markers)
        if n_event_rows:
            place = grid[len(heights_in) - 1, 0 if any(windows) else slice(0, 2)]
            _draw_events(_add_panel(figure, place, all_axes), events)
        if all_axes:
            _label_times(all_axes)
        else:
            axes = figure.add_subplot(grid[1, :])
            axes.text(0.5, 0.5, "no light curve in any archive", ha="center", va="center", size=12)
            axes.set_axis_off()
        save_figure(figure, figure_paths)


def _make_grid(heights_in: Sequence[float]) -> tuple[Figure, GridSpec]:
    """Return a figure and its rows; fixed sizes cost less than a layout that looks for them."""
    inner_in = sum(heights_in) + _BETWEEN_IN * (len(heights_in) - 1)
    height_in = inner_in + _TOP_IN + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    grid = figure.add_gridspec(
        len(heights_in),
        3,
        height_ratios=heights_in,
        width_ratios=_WIDTHS,
        left=_LEFT_IN / _WIDTH_IN,
        right=1 - _RIGHT_IN / _WIDTH_IN,
        bottom=_BOTTOM_IN / height_in,
        top=1 - _TOP_IN / height_in,
        hspace=_BETWEEN_IN * len(heights_in) / sum(heights_in),
        wspace=0.17,
    )
    return figure, grid


def _add_panel(figure: Figure, place: SubplotSpec, all_axes: list[Axes]) -> Axes:
    axes = figure.add_subplot(place, sharex=all_axes[0] if all_axes else None)
    all_axes.append(axes)
    return axes


def _draw_header(
    figure: Figure, grid: GridSpec, target: Target, rows: pa.Table, n_hidden: int
) -> None:
    text = figure.add_subplot(grid[0, 0])
    text.set_axis_off()
    states = {row["archive"]: row for row in target.states.to_pylist()}
    lines = [f"RA {target.ra_deg:.5f}°   Dec {target.dec_deg:+.5f}°  (ICRS)", *_found(states)]
    if n_hidden:
        lines.append(f"{n_hidden} rows without time or value are not drawn")
    text.set_title(drawn_name(target.objectid), size=12, weight="bold", parse_math=False)
    text.text(0, 0.98, "\n".join(lines), va="top", size=8, linespacing=1.45, parse_math=False)
    sky = figure.add_subplot(grid[0, 2], projection="mollweide")
    sky.set_xticks([], [])
    sky.set_yticks([], [])
    sky.axhline(0, color=LIGHT_GREY, lw=0.7)
    longitude = np.radians(180 - target.ra_deg % 360)
    sky.plot([longitude], [np.radians(target.dec_deg)], "o", ms=6, color=VERMILION, mec=INK)
    sky.set_title("place on the sky", size=8, loc="center")
    _draw_matches(figure.add_subplot(grid[0, 1]), rows)


def _found(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say in lines of a bearable length which archives have rows, and how the others ended."""
    words: dict[str, list[str]] = {"rows": []}
    for archive, state in sorted(states.items()):
        if state["n_rows"]:
            note = "" if state["state"] == "data" else f", {_words(state['state'])}"
            words.setdefault("rows", []).append(f"{archive} {state['n_rows']}{note}")
        elif state["state"] != "not_requested":
            words.setdefault(_words(state["state"]), []).append(archive)
    lines = []
    for what, names in words.items():
        if not names:
            continue
        line = f"{what}: "
        for name in names:
            if len(line) + len(name) > 72:
                lines.append(line)
                line = "      "
            line += f"{name}; " if name is not names[-1] else name
        lines.append(line)
    return lines


def _words(state: str) -> str:
    return state.replace("_", " ")


def _draw_matches(axes: Axes, rows: pa.Table) -> None:
    """Show the distances of the matched sources, a line for each archive."""
    archives = sorted(rows["archive"].unique().to_pylist(), reverse=True)
    for place, archive in enumerate(archives):
        found = floats(rows.filter(pc.field("archive") == archive)["match_arcsec"])
        distances = np.unique(np.round(found[np.isfinite(found)], 2))
        axes.plot(distances, np.full(len(distances), place), "|", ms=6, mew=1, color=INK)
    axes.set_yticks(range(len(archives)), archives, size=6.5)
    axes.set_ylim(-0.7, max(len(archives), 1) - 0.3)
    axes.set_xlim(left=0)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title("distance of matched sources [arcsec]", size=8)
    if not archives:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set_xticks([])


def _draw_events(axes: Axes, events: pa.Table) -> None:
    """Mark when events happened in whose error circle the target lies, a line for each archive."""
    archives = sorted(events["archive"].unique().to_pylist(), reverse=True)
    labels = []
    for place, archive in enumerate(archives):
        of_archive = events.filter(pc.field("archive") == archive)
        time_mjd = floats(of_archive["time_mjd_tdb"])
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


def _draw_panel(axes: Axes, points: Points, markers: Mapping[str, str]) -> None:
    _draw_series(axes, points, markers, len(points))
    name = "flux density [mJy]" if points.unit == "mJy" else f"value [{points.unit}]"
    axes.set_ylabel(name, parse_math=False)
    axes.grid(visible=True)
    _limit_values(axes, points)
    n_points = "one point" if len(points) == 1 else f"{len(points):,} points"
    low, high = sorted(axes.get_ylim())
    n_outside = int(np.sum((points.value < low) | (points.value > high)))
    axes.set_title(n_points + (f", {n_outside} outside the panel" if n_outside else ""))


def _draw_zoom(
    axes: Axes, points: Points, window: tuple[float, float], markers: Mapping[str, str]
) -> None:
    inside = (points.time_mjd >= window[0]) & (points.time_mjd <= window[1])
    _draw_series(axes, points, markers, int(inside.sum()), inside)
    part = Points(
        points.unit,
        points.time_mjd[inside],
        points.value[inside],
        points.error[inside],
        points.quality[inside],
        [],
        0,
        points.rows.slice(0, 0),
    )
    _limit_values(axes, part)
    axes.set_xlim(*window)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_facecolor("#F7F7F7")
    axes.grid(visible=True)
    axes.tick_params(labelsize=7.5)
    axes.set_title(f"the shaded time: {int(inside.sum()):,} points")


def _draw_series(
    axes: Axes,
    points: Points,
    markers: Mapping[str, str],
    n_drawn: int,
    inside: NDArray[np.bool_] | None = None,
) -> None:
    colours = band_colours(series.band for series in points.series)
    size_pt = next(size for most, size in _MARK_SIZES_PT if n_drawn <= most)
    for series in points.series:
        chosen = series.indices if inside is None else series.indices[inside[series.indices]]
        if not len(chosen):
            continue
        has_errors = series.quality != QUALITY_BAD and n_drawn <= _MAX_ERROR_BARS
        error = np.nan_to_num(points.error[chosen]) if has_errors else None
        axes.errorbar(
            points.time_mjd[chosen],
            points.value[chosen],
            error if series.kind != "limit" else None,
            rasterized=n_drawn > _MAX_VECTOR_POINTS,
            **_mark_style(series, colours[series.band], markers[series.archive], size_pt),
        )


def _mark_style(series: Series, colour: str, marker: str, size_pt: float) -> dict[str, Any]:
    if series.quality == QUALITY_BAD:
        return {
            "ls": "",
            "marker": "x",
            "ms": max(size_pt, 1.5),
            "mew": 0.6,
            "color": GREY,
            "zorder": 1,
        }
    is_limit = series.kind == "limit"
    return {
        "ls": "",
        "marker": r"$\downarrow$" if is_limit else marker,
        "ms": size_pt * 2.4 if is_limit else size_pt,
        "mew": 0.2 if is_limit else 0.6,
        "color": colour,
        "mfc": colour if is_limit or series.quality == QUALITY_GOOD else "white",
        "elinewidth": 0.6,
        "ecolor": (colour, 0.4),
        "zorder": 3 if series.quality == QUALITY_GOOD else 2,
    }


def _draw_legend(axes: Axes, points: Points, markers: Mapping[str, str]) -> None:
    axes.set_axis_off()
    colours = band_colours(series.band for series in points.series)
    numbers: dict[tuple[str, str], int] = {}
    qualities: dict[int, int] = {}
    n_limits = 0
    for series in points.series:
        key = (series.archive, series.band)
        numbers[key] = numbers.get(key, 0) + len(series.indices)
        qualities[series.quality] = qualities.get(series.quality, 0) + len(series.indices)
        n_limits += len(series.indices) * (series.kind == "limit")
    handles = [
        Line2D([], [], ls="", marker=markers[archive], ms=4, color=colours[band], label=label)
        for (archive, band), n in numbers.items()
        for label in [f"{archive} {drawn_name(band, 30)}  {n}"]
    ]
    n_suspect, n_bad = qualities.get(QUALITY_SUSPECT, 0), qualities.get(QUALITY_BAD, 0)
    notes: dict[str, tuple[dict[str, Any], int]] = {
        "limits": ({"marker": r"$\downarrow$", "color": INK}, n_limits),
        "suspect": ({"marker": "o", "mfc": "white", "color": INK}, n_suspect),
        "bad": ({"marker": "x", "color": GREY}, n_bad),
    }
    for name, (look, n) in notes.items():
        if n:
            handles.append(Line2D([], [], ls="", ms=4, label=f"{name}  {n}", **look))
    legend = axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.08, 1.05),
        ncols=1 if len(handles) <= 15 else 2,
        fontsize=7 if len(handles) <= 15 else 6,
        handletextpad=0.2,
        columnspacing=0.6,
        labelspacing=0.3,
        borderaxespad=0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _limit_values(axes: Axes, points: Points) -> None:
    if not len(points):
        return
    scale, options = value_scale(points)
    axes.set_yscale(scale, **options)
    low, high = value_limits(points, scale)
    is_magnitude = points.unit == "mag"
    axes.set_ylim((high, low) if is_magnitude else (low, high))
    # The power of ten of the numbers, which would stand in the title.
    axes.yaxis.get_offset_text().set(x=1, ha="right", size=7.5)
    if low < 0 < high and not is_magnitude:
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)


def _label_times(all_axes: Sequence[Axes]) -> None:
    """Label the lowest panel with MJD and the highest with years."""
    for axes in all_axes[:-1]:
        axes.tick_params(axis="x", labelbottom=False)
    all_axes[-1].set_xlabel("MJD (TDB, barycentre)")
    years = all_axes[0].secondary_xaxis("top", functions=(_mjd_to_year, _year_to_mjd))
    years.tick_params(labelsize=7.5, colors=GREY)


def _mjd_to_year(mjd: Any) -> Any:
    return 2000 + (mjd - _MJD_J2000) / _DAYS_PER_YEAR


def _year_to_mjd(year: Any) -> Any:
    return _MJD_J2000 + (year - 2000) * _DAYS_PER_YEAR
