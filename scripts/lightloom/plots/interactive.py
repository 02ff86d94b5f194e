"""Interactive page of a target: one HTML file that needs no network.

The page is compressed inside its file: browsers refuse to show an HTML file of a report that is
larger than 2 MB, and bokeh alone has more than half of that.
"""

import base64
import gzip
import re
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    LinearAxis,
)
from bokeh.models.annotations import Legend, LegendItem, Whisker
from bokeh.models.widgets.markups import Div
from bokeh.plotting import figure as bokeh_figure
from bokeh.resources import INLINE
from numpy.typing import NDArray

from lightloom.plots.points import Points, Series, floats, points_by_unit, value_limits, value_scale
from lightloom.plots.style import GREY, INK, archive_markers, band_colours
from lightloom.plots.targets import Target
from lightloom.schema import QUALITY_BAD, QUALITY_GOOD
from lightloom.storage import atomic_path

#: A page shows about so many points: a browser draws no more with ease, nor shows a larger page.
MAX_POINTS = 15_000
#: A panel with more points has no error bars.
_MAX_ERROR_BARS = 5000
_WIDTH_PX, _HEIGHT_PX, _EVENTS_PX = 1100, 330, 170
_RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHOWN = ("archive", "band", "kind", "survey_object_id", "survey_field", "exposure_id")
#: Marks of limits and of the archives.
_LIMIT = "inverted_triangle"
_MARKERS = (
    *("circle", "square", "diamond", "triangle", "hex", "star", "plus", "square_pin"),
    *("triangle_pin", "circle_dot", "square_dot", "diamond_dot", "hex_dot", "star_dot"),
    "circle_cross",
)
#: Beginnings of the years from 1980 on, and what an axis says of them: of many only some.
_NEW_YEARS_MJD = [(date(year, 1, 1) - date(1858, 11, 17)).days for year in range(1980, 2061)]
_YEAR = """
const year = Math.round(2000 + (tick - 51544) / 365.25);
return year % Math.ceil(ticks.length / 10) ? "" : `${year}`;
"""


def write_page(target: Target, rows: pa.Table, path: Path) -> None:
    """Write a page with the light curves of a target, to be zoomed, hidden and pointed at.

    A panel for each unit on one time axis, colours as in the figures. Of more than `MAX_POINTS`
    points every n-th is drawn, and the titles say so.

    Parameters
    ----------
    target : Target
        The target.
    rows : pyarrow.Table
        Its rows (``LIGHTCURVE``), possibly none.
    path : pathlib.Path
        The file to write.
    """
    is_event = pc.equal(rows["kind"], "event")
    events = rows.filter(is_event)
    panels: list[Any] = []
    markers = archive_markers(target.states["archive"].to_pylist(), _MARKERS)
    measured = points_by_unit(rows.filter(pc.invert(is_event)))
    step = max(1, -(-sum(map(len, measured)) // MAX_POINTS))
    for points in measured:
        if len(points):
            panels.append(_panel(points, panels, step, markers))
    if events.num_rows:
        panels.append(_event_panel(events, panels))
    if panels:
        panels[-1].xaxis[0].axis_label = "MJD (TDB, barycentre)"
        years: Any = LinearAxis()
        years.ticker = FixedTicker(ticks=_NEW_YEARS_MJD)
        years.formatter = CustomJSTickFormatter(code=_YEAR)
        panels[0].add_layout(years, "above")
    head = _head(target, bool(panels))
    page = file_html(column(head, *panels), INLINE, title="Light curves")
    page = _without_random_ids(page, f"{_texts(rows)}\n{head.text}")
    page = page.replace("<title>Light curves", f"<title>{escape(target.objectid)}: light curves", 1)
    with atomic_path(path) as temporary:
        temporary.write_text(_compressed(page), encoding="utf-8")


#: Puts the page that it holds in its own place.
_SHELL = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Light curves</title></head><body>
<script type="application/octet-stream" id="page">{page}</script>
<script>
(async () => {{
  const text = atob(document.getElementById("page").textContent);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const page = await new Response(stream).text();
  document.open();
  document.write(page);
  document.close();
}})();
</script></body></html>
"""


def _compressed(page: str) -> str:
    packed = gzip.compress(page.encode(), mtime=0)
    return _SHELL.format(page=base64.b64encode(packed).decode("ascii"))


def _texts(rows: pa.Table) -> str:
    """Return the different texts that a page shows of rows."""
    columns = [rows[name].unique().to_pylist() for name in _SHOWN]
    return "\n".join(text for texts in columns for text in texts if text)


def _without_random_ids(page: str, texts: str) -> str:
    """Put numbers for the ids that bokeh draws at random: equal rows shall give equal bytes.

    What looks like one in the texts of the rows is theirs.
    """
    numbers = {found: found for found in _RANDOM_ID.findall(texts)}
    return _RANDOM_ID.sub(
        lambda match: numbers.setdefault(match[0], f"00000000-0000-4000-8000-{len(numbers):012d}"),
        page,
    )


def _head(target: Target, has_rows: bool) -> Div:
    found = [
        f"{row['archive']} {row['n_rows']}" for row in target.states.to_pylist() if row["n_rows"]
    ]
    text = (
        f"<h2 style='margin:0'>{escape(target.objectid)}</h2>\n"
        f"RA {target.ra_deg:.5f}°, Dec {target.dec_deg:+.5f}° (ICRS). "
        + (f"Rows: {escape(', '.join(found))}." if found else "No light curve in any archive.")
    )
    if has_rows:
        text += (
            " Point at a mark to read it; click a name to hide or show it; drag to move, turn the"
            " wheel to zoom. Open marks are suspect, crosses bad, triangles that point down limits."
        )
    # An id may hold dollar signs that begin no formula.
    return Div(text=text, width=_WIDTH_PX, styles={"font": "14px sans-serif"}, disable_math=True)


def _plot(panels: Sequence[Any], height_px: int, title: str, label: str, **options: Any) -> Any:
    if panels:
        options["x_range"] = panels[0].x_range
    return bokeh_figure(
        width=_WIDTH_PX,
        height=height_px,
        title=title,
        y_axis_label=label,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_scroll="wheel_zoom",
        **options,
    )


def _panel(points: Points, panels: Sequence[Any], step: int, markers: Mapping[str, str]) -> Any:
    scale, _ = value_scale(points)
    axis_type = "log" if scale == "log" else "linear"
    low, high = value_limits(points, axis_type)
    title = f"{len(points):,} points" + (f", one in {step} is drawn" if step > 1 else "")
    label = "flux density [mJy]" if points.unit == "mJy" else f"value [{points.unit}]"
    y_range = (high, low) if points.unit == "mag" else (low, high)
    plot = _plot(panels, _HEIGHT_PX, title, label, y_range=y_range, y_axis_type=axis_type)
    colours = band_colours(series.band for series in points.series)
    groups: dict[str, list[Any]] = {}
    marks = []
    for series in points.series:
        has_bars = len(points) <= _MAX_ERROR_BARS and series.kind != "limit"
        source = _source(points, series.indices[::step], has_bars)
        look = _look(series, colours[series.band], markers[series.archive])
        mark = plot.scatter("time", "value", source=source, **look)
        drawn = [mark]
        if has_bars:
            bars = Whisker(
                base="time",
                lower="low",
                upper="high",
                source=source,
                line_color=look["line_color"],
                line_alpha=0.4,
                upper_head=None,
                lower_head=None,
                level="underlay",
            )
            plot.add_layout(bars)
            mark.js_link("visible", bars, "visible")
        marks.append(mark)
        groups.setdefault(f"{series.archive} {series.band}", []).extend(drawn)
    items = [LegendItem(label=name, renderers=drawn) for name, drawn in groups.items()]
    legend = Legend(
        items=items,
        click_policy="hide",
        label_text_font_size="7.5pt",
        label_height=12,
        glyph_height=12,
        spacing=1,
        ncols=1 if len(items) <= 18 else 2,
    )
    plot.add_layout(legend, "right")
    tips = [(name.replace("_", " "), f"@{name}") for name in _SHOWN]
    tips += [
        ("MJD (TDB)", "@time{0.00000}"),
        (points.unit, "@value{0.0000[0000]} ± @error{0.0000[0000]}"),
        ("quality", "@quality"),
        ("distance", "@match{0.00} arcsec"),
    ]
    plot.add_tools(HoverTool(renderers=marks, tooltips=tips))
    return plot


def _source(points: Points, indices: NDArray[np.int64], has_bars: bool) -> ColumnDataSource:
    rows = points.rows.take(pa.array(indices))
    value, error = points.value[indices], points.error[indices]
    data: dict[str, Any] = {
        "time": points.time_mjd[indices],
        "value": value,
        "error": error.astype(np.float32),
        "quality": points.quality[indices].astype(np.int8),
        "match": floats(rows["match_arcsec"]).astype(np.float32),
    }
    if has_bars:
        data["low"], data["high"] = value - np.nan_to_num(error), value + np.nan_to_num(error)
    for name in _SHOWN:
        data[name] = pc.fill_null(rows[name], "").to_pylist()
    return ColumnDataSource(data)


def _look(series: Series, colour: str, marker: str) -> dict[str, Any]:
    if series.quality == QUALITY_BAD:
        return {"marker": "x", "size": 5, "line_color": GREY, "fill_color": GREY}
    return {
        "marker": _LIMIT if series.kind == "limit" else marker,
        "size": 5,
        "line_color": colour,
        "fill_color": colour if series.quality == QUALITY_GOOD else "white",
    }


def _event_panel(events: pa.Table, panels: Sequence[Any]) -> Any:
    archives = sorted(events["archive"].unique().to_pylist(), reverse=True)
    title = "events in whose error circle the target lies (grey: suspect)"
    plot = _plot(panels, _EVENTS_PX, title, "", y_range=archives)
    quality = events["quality"].to_numpy()
    source = ColumnDataSource(
        {
            "time": floats(events["time_mjd_tdb"]),
            "archive": events["archive"].to_pylist(),
            "name": pc.fill_null(events["survey_object_id"], "").to_pylist(),
            "colour": [INK if value == QUALITY_GOOD else GREY for value in quality.tolist()],
        }
    )
    plot.scatter(
        "time",
        "archive",
        source=source,
        marker="dash",
        angle=np.pi / 2,
        size=14,
        line_color="colour",
        line_width=2,
    )
    plot.add_tools(HoverTool(tooltips=[("event", "@name"), ("MJD (TDB)", "@time{0.00000}")]))
    return plot
