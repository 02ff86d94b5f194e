"""Figure of the sky and of the states: what the archives gave for the sample."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from lightloom.manifest import count_states
from lightloom.plots.style import GREY, INK, NO_DATA_GREY, STATE_COLOURS, figure_style, save_figure

#: More markers than this are stored in an SVG as pixels.
_MAX_VECTOR_MARKERS = 5000
#: More markers than this have no outline, or they would hide each other.
_MAX_OUTLINED_MARKERS = 500
#: Bars shorter than this share of the axis have no room for their number.
_SHARE_FOR_LABEL = 0.035


def plot_coverage(*, sample_path: Path, ledger_path: Path, figure_paths: Iterable[Path]) -> None:
    """Draw where the targets lie with the number of archives that have them, and the states.

    Parameters
    ----------
    sample_path : pathlib.Path
        The sample (``SAMPLE``).
    ledger_path : pathlib.Path
        The ledger (``LEDGER``).
    figure_paths : iterable of pathlib.Path
        Files to write, ``.svg`` or ``.png``.
    """
    sample = pq.read_table(sample_path, columns=["objectid", "ra_deg", "dec_deg"])
    states = {
        archive: entry["states"]
        for archive, entry in sorted(count_states(ledger_path).items())
        if entry["states"].keys() != {"not_requested"}
    }
    n_archives = _archives_with_rows(sample["objectid"], ledger_path)
    with figure_style():
        height_in = 4.6 + 0.34 * len(states)
        figure = Figure(figsize=(7.6, height_in), layout="constrained")
        upper, lower = figure.subfigures(
            2, 1, squeeze=False, height_ratios=[4.0, height_in - 4.0]
        ).flat
        _draw_sky(upper, sample, n_archives, len(states))
        if states:
            _draw_states(lower.add_subplot(), states, sample.num_rows)
        save_figure(figure, figure_paths)


def _archives_with_rows(objectids: pa.ChunkedArray, ledger_path: Path) -> NDArray[np.int64]:
    with pq.ParquetFile(ledger_path) as file:
        found = [
            pa.table(batch).filter(pc.field("n_rows") > 0).select(["objectid"])
            for batch in file.iter_batches(columns=["objectid", "n_rows"])
        ]
    counted = pa.concat_tables(found).group_by("objectid").aggregate([([], "count_all")])
    where = pc.index_in(objectids, counted["objectid"].combine_chunks())
    return pc.fill_null(counted["count_all"].take(where), 0).to_numpy()


def _draw_sky(
    panel: SubFigure, sample: pa.Table, n_archives: NDArray[np.int64], n_asked: int
) -> None:
    axes = panel.add_subplot(projection="mollweide")
    longitudes = np.radians(np.arange(-150, 151, 30))
    axes.set_xticks(longitudes, [f"{180 - round(np.degrees(x))}°" for x in longitudes])
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]))
    axes.tick_params(axis="x", labelsize=7, colors=GREY)
    for label in axes.get_xticklabels():
        label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(visible=True)
    plane = SkyCoord(l=np.linspace(0, 360, 721), b=0, unit="deg", frame="galactic").icrs
    x, y = project(plane.ra.deg, plane.dec.deg)
    order = np.argsort(x)
    axes.plot(x[order], y[order], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))

    steps = colormaps["viridis_r"](np.linspace(0.25, 0.95, max(1, n_asked)))
    colours = ListedColormap([NO_DATA_GREY, *steps])
    # Targets with most archives are drawn last, on top.
    order = np.argsort(n_archives, kind="stable")
    x, y = project(sample["ra_deg"].to_numpy(), sample["dec_deg"].to_numpy())
    n_targets = len(order)
    marks = axes.scatter(
        x[order],
        y[order],
        c=n_archives[order],
        s=np.clip(6000 / max(1, n_targets), 2, 40),
        cmap=colours,
        norm=BoundaryNorm(np.arange(n_asked + 2) - 0.5, colours.N),
        edgecolors=INK if n_targets <= _MAX_OUTLINED_MARKERS else "none",
        linewidths=0.4,
        rasterized=n_targets > _MAX_VECTOR_MARKERS,
        zorder=2,
    )
    bar = panel.colorbar(
        marks, ax=axes, orientation="horizontal", shrink=0.5, aspect=32, pad=0.03, drawedges=True
    )
    bar.set_ticks(list(range(n_asked + 1)))
    bar.set_ticks([], minor=True)
    bar.ax.tick_params(length=0)
    bar.set_label("archives with a light curve")
    axes.set_title(f"{n_targets} targets, ICRS", pad=10)
    axes.text(
        1,
        1.02,
        "dashed: Galactic plane",
        transform=axes.transAxes,
        ha="right",
        color=GREY,
        size=7.5,
    )


def project(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return map coordinates [rad] with right ascension growing to the left of 180 degrees."""
    return np.radians(180 - np.mod(ra_deg, 360)), np.radians(dec_deg)


def _draw_states(axes: Axes, states: dict[str, dict[str, int]], n_targets: int) -> None:
    drawn = [name for name in STATE_COLOURS if any(name in counts for counts in states.values())]
    archives = list(states)
    left = np.zeros(len(archives))
    for state in drawn:
        counts = np.array([states[archive].get(state, 0) for archive in archives])
        boxes = axes.barh(
            archives,
            counts,
            left=left,
            height=0.62,
            color=STATE_COLOURS[state],
            edgecolor="white",
            linewidth=0.8,
            label=state.replace("_", " "),
        )
        labels = [str(n) if n >= _SHARE_FOR_LABEL * n_targets else "" for n in counts]
        axes.bar_label(boxes, labels, label_type="center", color=INK, size=8)
        left += counts
    axes.set_xlim(0, n_targets)
    axes.invert_yaxis()
    axes.set_xlabel("targets")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(drawn), handlelength=1.0)
