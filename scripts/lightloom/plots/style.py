"""How every figure looks: colours, type, and files whose bytes depend on the data alone."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lightloom.printing import printable
from lightloom.storage import atomic_path

# Palette for colour-blind readers: Okabe and Ito (2008), https://jfly.uni-koeln.de/color/
BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"

GREY = "#9A9A9A"
NO_DATA_GREY = "#BDBDBD"
LIGHT_GREY = "#D9D9D9"
INK = "#222222"

#: Colour of each band, in every figure.
BAND_COLOURS = {
    "u": PURPLE,
    "g": GREEN,
    "r": VERMILION,
    "i": ORANGE,
    "z": SKY_BLUE,
    "y": BLACK,
    "G": BLACK,
    "BP": BLUE,
    "RP": VERMILION,
    "V": GREEN,
    "W1": BLUE,
    "W2": ORANGE,
    "Y": BLACK,
    "VR": SKY_BLUE,
    "TESS": BLUE,
    "TESS_SAP": SKY_BLUE,
    "Kepler": VERMILION,
    "Kepler_SAP": ORANGE,
    "K2": GREEN,
    "K2_SAP": PURPLE,
    "EP_8": PURPLE,
}

#: Colours of bands that have none above; a band's name decides which.
_FURTHER_COLOURS = (SKY_BLUE, PURPLE, BLUE, ORANGE, GREEN, VERMILION, BLACK)

#: Shapes of the marks, by the place of an archive among all in the order of their names.
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h", "<", ">", "p", "*", "d", "8", "H")

#: Colour of each state of the ledger, in every figure and table.
STATE_COLOURS = {
    "data": GREEN,
    "ambiguous": SKY_BLUE,
    "truncated": ORANGE,
    "searched_empty": NO_DATA_GREY,
    "outside_footprint": "#E4E4E4",
    "failed": VERMILION,
    "not_requested": "#FFFFFF",
}

_STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    # Ids of SVG elements are random without it.
    "svg.hashsalt": "lightloom",
}

#: Metadata that would hold the time of writing or the version of matplotlib.
_NO_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save figures inside this block in the common style."""
    with mpl.rc_context(_STYLE):
        yield


def drawn_name(name: str, most_characters: int = 80) -> str:
    """Return a name as a figure can show it: not too long, and with nothing invisible in it.

    Whoever draws it has to switch off the reading of formulae (``parse_math=False``).
    """
    shown = printable(name)
    return shown if len(shown) <= most_characters else f"{shown[: most_characters - 1]}…"


def band_colours(bands: Iterable[str]) -> dict[str, str]:
    """Return a colour for every band, the same in every figure."""
    return {
        band: BAND_COLOURS.get(band)
        or _FURTHER_COLOURS[zlib.crc32(band.encode()) % len(_FURTHER_COLOURS)]
        for band in bands
    }


def archive_markers(archives: Iterable[str], markers: Sequence[str] = _MARKERS) -> dict[str, str]:
    """Return the shape of the marks of every archive: the same in all figures of a run."""
    names = sorted(set(archives))
    return {name: markers[i % len(markers)] for i, name in enumerate(names)}


def save_figure(figure: Figure, paths: Iterable[Path]) -> None:
    """Write a figure as SVG, PDF or PNG, by the suffix of each path, with reproducible bytes."""
    for path in paths:
        kind = path.suffix
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind.removeprefix("."), metadata=_NO_METADATA[kind])
