"""Map of states: every target and archive at a glance."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lightloom.plots.style import STATE_COLOURS, drawn_name, figure_style, save_figure

#: Targets whose ids are written at the axis; of more, the rows have no names.
_MAX_NAMED = 60
#: Space for the names at the axis.
_NAME_CHARACTERS = 42
#: Rows of the map; of more targets, each row stands for several, by the worst of their states.
_MAX_ROWS = 1200
#: Space for the names of the archives and for the legend [in].
_ABOVE_IN, _BELOW_IN = 0.75, 0.45
#: States from the worst to the best.
_BY_SEVERITY = (
    *("failed", "truncated", "ambiguous", "data"),
    *("searched_empty", "outside_footprint", "not_requested"),
)


def plot_state_map(*, ledger_path: Path, figure_paths: Iterable[Path]) -> None:
    """Draw the state of each target (rows, in sky order) in each archive that was asked (columns).

    Parameters
    ----------
    ledger_path : pathlib.Path
        The ledger (``LEDGER``).
    figure_paths : iterable of pathlib.Path
        Files to write, ``.svg``, ``.pdf`` or ``.png``.
    """
    severity, archives, objectids = _read(ledger_path)
    n_targets = len(severity)
    with figure_style():
        is_named = n_targets <= _MAX_NAMED
        inner_in = 0.145 * max(n_targets, 6) if is_named else 5.5
        height_in = inner_in + _ABOVE_IN + _BELOW_IN
        left = 0.28 if is_named else 0.1
        figure = Figure(figsize=(8.4, height_in))
        place = (left, _BELOW_IN / height_in, 0.97 - left, inner_in / height_in)
        axes = figure.add_axes(place)
        colours = ListedColormap([STATE_COLOURS[state] for state in _BY_SEVERITY])
        axes.imshow(
            severity,
            cmap=colours,
            norm=BoundaryNorm(np.arange(len(_BY_SEVERITY) + 1) - 0.5, colours.N),
            aspect="auto",
            interpolation="nearest",
            extent=(-0.5, len(archives) - 0.5, n_targets - 0.5, -0.5),
        )
        axes.set_xticks(range(len(archives)), archives, rotation=40, ha="left", size=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(archives) - 1) + 0.5, minor=True)
        axes.grid(visible=True, which="minor", axis="x", color="white", linewidth=1.5)
        if is_named:
            labels = axes.set_yticks(
                range(n_targets), [drawn_name(one, _NAME_CHARACTERS) for one in objectids], size=6.5
            )
            for label in labels:
                label.label1.set_parse_math(False)
            axes.set_yticks(np.arange(n_targets - 1) + 0.5, minor=True)
            axes.grid(visible=True, which="minor", axis="y", color="white", linewidth=0.8)
        else:
            axes.set_ylabel("targets, in the order of the sky")
        axes.tick_params(which="minor", length=0)
        present = [state for i, state in enumerate(_BY_SEVERITY) if np.any(severity == i)]
        handles = [
            Patch(fc=STATE_COLOURS[state], ec="#999999", lw=0.5, label=state.replace("_", " "))
            for state in present
        ]
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.08 / inner_in),
            ncols=len(handles),
            handlelength=1,
            columnspacing=1,
        )
        save_figure(figure, figure_paths)


def _read(ledger_path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Return severities, shape (n_rows, n_archives), and the names of both axes."""
    pieces = []
    objectids: list[str] = []
    with pq.ParquetFile(ledger_path) as file:
        first = next(file.iter_batches(1000, columns=["archive"]), None)
        archives = sorted(set(first["archive"].to_pylist())) if first is not None else []
        for batch in file.iter_batches(columns=["objectid", "state"]):
            rows = pa.table(batch)
            pieces.append(
                pc.index_in(rows["state"], value_set=pa.array(_BY_SEVERITY))
                .to_numpy()
                .astype(np.int8)
            )
            if len(objectids) <= _MAX_NAMED:
                objectids += dict.fromkeys(rows["objectid"].to_pylist())
    severity = np.concatenate([*pieces, np.zeros(0, np.int8)]).reshape(-1, max(1, len(archives)))
    asked = np.any(severity != _BY_SEVERITY.index("not_requested"), axis=0)
    n_together = -(-len(severity) // _MAX_ROWS)
    if n_together > 1:
        severity = np.minimum.reduceat(severity, np.arange(0, len(severity), n_together))
    names = [archive for archive, is_asked in zip(archives, asked, strict=True) if is_asked]
    return severity[:, asked], names, objectids
