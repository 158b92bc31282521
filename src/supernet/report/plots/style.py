"""What all pictures share: typeface, colours, and how they are written."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from supernet.errors import UserError

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "supernet",
}

# Okabe and Ito's colour-blind-safe colours for operations with weights, muted tones for those without.
_COLOURS = {
    "none": "#b5b5b5",
    "skip_connect": "#5a5a5a",
    "avg_pool_3x3": "#b09a78",
    "max_pool_3x3": "#8f8fb3",
    "nor_conv_1x1": "#e69f00",
    "nor_conv_3x3": "#0072b2",
    "sep_conv_3x3": "#009e73",
    "sep_conv_5x5": "#d55e00",
    "dil_conv_3x3": "#cc79a7",
    "dil_conv_5x5": "#56b4e9",
    "noise": "#882255",
}
_OTHERS = (
    *("#332288", "#999933", "#aa4499", "#117733", "#661100", "#6699cc", "#44aa99"),
    *("#e41a1c", "#8ac926", "#f781bf", "#9467bd"),
)
METHOD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")
LINES = {"has weights": (2.6, "-"), "no weights": (1.2, "-"), "none": (0.9, ":")}  # width in points, style


def colour(op: str) -> str:
    """Return the colour of operation `op`: the same in every figure and every process."""
    return _COLOURS.get(op) or _OTHERS[zlib.crc32(op.encode()) % len(_OTHERS)]


def line_kind(op: str, learned: Collection[str]) -> str:
    """Return which of LINES operation `op` is drawn with; those in `learned` have weights."""
    if op == "none":
        return "none"
    return "has weights" if op in learned else "no weights"


def line_keys(kinds: Collection[str]) -> list[Line2D]:
    """Return the legend's entries for the `kinds` of LINES that a picture has."""
    return [Line2D([], [], color="#444444", lw=w, ls=s, label=k) for k, (w, s) in LINES.items() if k in kinds]


def text_width(text: str, points: float, weight: str = "normal") -> float:
    """Return the width in inches of `text` at that size."""
    font = FontProperties(family=STYLE["font.family"], weight=weight)
    return float(TextPath((0, 0), text, size=points, prop=font).get_extents().width) / 72 if text else 0.0


def text_room(text: str, points: float, weight: str = "normal") -> float:
    """Return the inches to leave for `text`: on a coarse grid of pixels its letters stand further apart."""
    return 1.1 * text_width(text, points, weight)


def save(figure: Figure, path: Path | str) -> None:
    """Write the figure as .svg or .png, by the suffix; the same figure always gives the same bytes."""
    kind = Path(path).suffix
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if kind not in metadata:
        raise UserError(f"cannot write a figure to '{path}'; its name must end in .svg or .png")
    with mpl.rc_context(STYLE):
        figure.savefig(path, dpi=200, metadata=metadata[kind])
