"""What all pictures share: typeface, colours, and how they are written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

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
_OTHERS = ("#332288", "#999933", "#aa4499", "#117733", "#661100", "#6699cc", "#44aa99")
METHODS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")


def colour(op: str) -> str:
    """Return the colour of operation `op`: the same in every figure and every process."""
    return _COLOURS.get(op) or _OTHERS[zlib.crc32(op.encode()) % len(_OTHERS)]


def save(figure: Figure, path: Path | str) -> None:
    """Write the figure as .svg or .png, by the suffix; the same figure always gives the same bytes."""
    kind = Path(path).suffix
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if kind not in metadata:
        raise UserError(f"cannot write a figure to '{path}'; its name must end in .svg or .png")
    with mpl.rc_context(STYLE):
        figure.savefig(path, dpi=200, metadata=metadata[kind])
