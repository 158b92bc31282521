"""The typeface, the colours and the line styles of all figures, and writing a figure to a file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from supernet.engine.files import write_atomically
from supernet.errors import UserError

# Matplotlib's own, whatever a file called matplotlibrc says: one in the current folder comes before the user's
_DEFAULTS = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
STYLE: dict[Any, Any] = _DEFAULTS | {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # a fixed height: otherwise Matplotlib measures the ticks of every panel again
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 9,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,  # it would stand in a panel's title
    "text.parse_math": False,  # a label is what a user typed, dollars included
    "svg.hashsalt": "supernet",
    "svg.fonttype": "none",  # text stays text, which can be selected, searched and read aloud
}

# Okabe and Ito's colour-blind-safe colours for operations with weights, muted tones for those without.
_COLOURS = {
    "none": "#b5b5b5",
    "skip_connect": "#5a5a5a",
    "identity": "#5a5a5a",  # a skip connection, as NAO's spaces call it
    "avg_pool_3x3": "#b09a78",
    "max_pool_3x3": "#8f8fb3",
    "nor_conv_1x1": "#e69f00",
    "nor_conv_3x3": "#0072b2",
    "sep_conv_3x3": "#009e73",
    "sep_conv_5x5": "#d55e00",
    "dil_conv_3x3": "#cc79a7",
    "dil_conv_5x5": "#56b4e9",
    "noise": "#882255",
    "sep_conv_7x7": "#332288",  # Okabe and Ito have no more; this and the next are of Tol's scheme "muted"
    "dil_conv_7x7": "#661100",
}
_BLOCKS = {  # inverted residuals by kernel, with squeeze-and-excitation or not: of expansions up to 3, and above
    "k3": ("#6baed6", "#08519c"),
    "k5": ("#fdae61", "#d94801"),
    "k7": ("#74c476", "#00691b"),
    "k3_se": ("#4dc0c0", "#00796b"),
    "k5_se": ("#f48fb1", "#ad1457"),
    "k7_se": ("#b39ddb", "#512da8"),
}
_COLOURS |= {f"mb{expand}_{rest}": pair[expand > 3] for rest, pair in _BLOCKS.items() for expand in (1, 3, 4, 6)}
_OTHERS = (
    *("#332288", "#999933", "#aa4499", "#117733", "#661100", "#6699cc", "#44aa99"),
    *("#e41a1c", "#8ac926", "#f781bf", "#9467bd"),
)
METHOD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a")
DARK, GREY = "#222222", "#b5b5b5"
LINES = {"has weights": (2.6, "-"), "no weights": (1.2, "-"), "none": (0.9, ":")}  # width in points, style


def colour(op: str) -> str:
    """Return the colour of operation `op`: the same in every figure and every process."""
    return _COLOURS.get(op) or _OTHERS[zlib.crc32(op.encode()) % len(_OTHERS)]


def line_kind(op: str, learned: Collection[str]) -> str:
    """Return the key of LINES for operation `op`; the operations in `learned` have weights."""
    if op == "none":
        return "none"
    return "has weights" if op in learned else "no weights"


def line_keys(kinds: Collection[str]) -> list[Line2D]:
    """Return the legend entries of the `kinds` of LINES that a figure contains."""
    return [Line2D([], [], color="#444444", lw=w, ls=s, label=k) for k, (w, s) in LINES.items() if k in kinds]


def text_width(text: str, points: float = 9, weight: str = "normal") -> float:
    """Return the inches to reserve for `text`: 10 % more than its width, since pixel grids spread letters."""
    font = FontProperties(family=STYLE["font.family"], weight=weight, size=points)
    return 1.1 * float(text_to_path.get_text_width_height_descent(text, font, False)[0]) / 72


def mark_epochs(axes: Axes, epochs: Sequence[int], ticks: int) -> None:
    """Label about `ticks` whole epochs on the x axis, and end the axis half an epoch beyond the first and the last."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def save(figure: Figure, path: Path | str) -> None:
    """Write the figure as .svg or .png, by the suffix of `path`; the same figure always gives the same bytes.

    Raises UserError for any other suffix.
    """
    suffix, drawn = Path(path).suffix, io.BytesIO()
    if suffix not in (".svg", ".png"):
        raise UserError(f"cannot write a figure to '{path}'; its name must end in .svg or .png")
    with mpl.rc_context(STYLE):
        figure.set_dpi(200)
        if suffix == ".svg":  # a canvas draws once, `figure.savefig` twice
            write_svg(figure, drawn)
        else:
            FigureCanvasAgg(figure).print_png(drawn, metadata={"Software": None})  # type: ignore[no-untyped-call]
    write_atomically(Path(path), drawn.getvalue())


@mpl.rc_context(STYLE)
def write_svg(figure: Figure, file: io.BytesIO) -> None:
    """Write the figure as SVG into an empty file; the same figure always gives the same bytes."""
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    elsewhere = file.getvalue().replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")  # as wide letters
    file.seek(0)
    file.write(elsewhere)
