"""Figures of moving objects: the track on the sky with its matches, and magnitude against time."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightloom.moving.plan import file_name
from lightloom.moving.tracks import Tracks, ra_dec_deg, unit_vectors
from lightloom.plots.style import GREY, INK, band_colours, figure_style, save_figure

#: Points at which a piece of a track is drawn.
_PER_PIECE = 4
_SIZE_INCHES = (7.0, 7.4)


def plot_objects(
    *,
    status: dict[str, Any],
    ephemerides: dict[str, Any],
    ephemerides_folder: Path,
    rows: pa.Table,
    folder: Path,
) -> None:
    """Draw a figure for each object that has a track.

    Parameters
    ----------
    status, ephemerides : dict
        What the jobs tell of the matches and the ephemerides of a block.
    ephemerides_folder : Path
        Where the tracks lie.
    rows : pyarrow.Table
        Matches and negatives (``LABELLED``).
    folder : Path
        Where the figures go, named after the objects.
    """
    matches = rows.filter(pc.equal(rows["label"], 1))
    for name in sorted({one["object"] for one in status["records"]}):
        files = [
            one["file"] for one in ephemerides["records"] if one["object"] == name and one["file"]
        ]
        if not files:
            continue
        tracks = [Tracks.from_table(pq.read_table(ephemerides_folder / one), 0) for one in files]
        title = next(
            one["target_name"] or name
            for one in ephemerides["records"]
            if one["object"] == name and one["file"]
        )
        mine = matches.filter(pc.equal(matches["objectid"], name))
        with figure_style():
            figure = draw_object(f"{name} · {title}", Tracks.join(tracks), mine)
            save_figure(figure, [folder / f"{file_name(name)}.png"])


def draw_object(title: str, track: Tracks, matches: pa.Table) -> Figure:
    """Return the figure of one object: sky above, magnitudes below."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    sky, light = figure.subplots(2, 1, height_ratios=(1.15, 1.0))
    _draw_sky(sky, track, matches)
    _draw_light(light, track, matches)
    sky.set_title(f"{title}: {matches.num_rows} matched alerts", parse_math=False)
    return figure


def _points(track: Tracks) -> tuple[np.ndarray, np.ndarray]:
    piece = np.repeat(np.arange(len(track)), _PER_PIECE)
    part = np.tile((np.arange(_PER_PIECE) + 0.5) / _PER_PIECE, len(track))
    return piece, track.start_mjd[piece] + part * (track.stop_mjd - track.start_mjd)[piece]


def _draw_sky(axes: Axes, track: Tracks, matches: pa.Table) -> None:
    piece, time_mjd = _points(track)
    ra_deg, dec_deg = ra_dec_deg(track.directions(piece, time_mjd))
    # Right ascension is drawn around the middle of the track, which may lie at 0.
    middle = ra_dec_deg(unit_vectors(ra_deg, dec_deg).mean(axis=0, keepdims=True))[0][0]
    along = _around(ra_deg, middle)
    jumps = np.flatnonzero(np.abs(np.diff(along)) > 90.0) + 1
    for part in np.split(np.arange(len(along)), jumps):
        axes.plot(along[part], dec_deg[part], color=GREY, linewidth=0.8, zorder=1)
    colours = band_colours(matches["band"].to_pylist())
    for band in sorted(set(matches["band"].to_pylist())):
        mine = matches.filter(pc.equal(matches["band"], band))
        axes.scatter(
            _around(mine["ra_deg"].to_numpy(), middle),
            mine["dec_deg"].to_numpy(),
            s=14,
            color=colours[band],
            linewidths=0,
            label=band,
            zorder=2,
        )
    axes.invert_xaxis()
    axes.set_xlabel("Right ascension (ICRS) [deg]")
    axes.set_ylabel("Declination (ICRS) [deg]")
    axes.grid(visible=True)
    if matches.num_rows:
        axes.legend(title="band", ncols=3)


def _around(ra_deg: np.ndarray, middle: float) -> np.ndarray:
    return (ra_deg - middle + 180.0) % 360.0 - 180.0 + middle


def _draw_light(axes: Axes, track: Tracks, matches: pa.Table) -> None:
    piece, time_mjd = _points(track)
    predicted = track.quantities(piece, time_mjd)["v_mag"]
    if np.isfinite(predicted).any():
        axes.plot(time_mjd, predicted, color=GREY, linewidth=0.8, label="predicted V")
    colours = band_colours(matches["band"].to_pylist())
    for band in sorted(set(matches["band"].to_pylist())):
        mine = matches.filter(pc.equal(matches["band"], band))
        is_positive = mine["is_positive"].to_numpy(zero_copy_only=False)
        for sign, face in ((True, colours[band]), (False, "none")):
            chosen = mine.filter(pa.array(is_positive == sign))
            axes.errorbar(
                chosen["time_mjd"].to_numpy(),
                chosen["magpsf"].to_numpy(zero_copy_only=False).astype(float),
                chosen["sigmapsf"].to_numpy(zero_copy_only=False).astype(float),
                fmt="o",
                markersize=3.5,
                color=colours[band],
                markerfacecolor=face,
                elinewidth=0.7,
                label=band if sign else None,
            )
    axes.invert_yaxis()
    axes.set_xlabel("Time, middle of the exposure [MJD, UTC]")
    axes.set_ylabel("Magnitude of the difference [AB mag]")
    axes.grid(visible=True)
    axes.tick_params(colors=INK)
    if matches.num_rows or np.isfinite(predicted).any():
        axes.legend(ncols=4)
