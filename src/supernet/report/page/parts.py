"""Parts of a page: pictures of a run, curves, thumbnails of images, and tables of settings."""

from __future__ import annotations

import base64
import io
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from markupsafe import Markup
from torch import Tensor

from supernet.data import Images
from supernet.data.batches import in_order
from supernet.data.streamed import Pixels
from supernet.engine.files import read_json
from supernet.engine.folder import flat
from supernet.engine.glance import planned_epochs
from supernet.engine.run import Run
from supernet.report.text import duration, number, size

_WIDE, _HIGH = 420, 190  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 10, 24  # of them, around the curves
_LETTER = 8.5  # the width of a digit
_TICKS = 4
_SIDE = 64  # pixels of a thumbnail; smaller images are enlarged by whole steps
_SHOWN = 16
# What none of our pictures has; the page runs no script, but what comes with a folder may be anything
_FOREIGN = re.compile(
    rb"<script|<foreignobject|<iframe|<html|<!entity|javascript:|\son\w+\s*=|url\((?!#)", re.IGNORECASE
)

Rows = Sequence[Mapping[str, Any]]


class Chart(NamedTuple):
    """Curves over the epochs, laid out: points, and ticks as (place, text)."""

    title: str
    curves: list[tuple[str, list[str]]]  # a label, and the points of each stretch without a gap
    x: list[tuple[float, str]]
    y: list[tuple[float, str]]
    wide: int = _WIDE
    high: int = _HIGH
    left: int = _LEFT
    bottom: int = _HIGH - _BOTTOM


def chart(title: str, rows: Rows, names: Mapping[str, str], factor: float = 1) -> Chart | None:
    """Lay out the curves of the fields `names` of the rows, name to label; None if no row has a number."""
    series = {label: [_number(row.get(name), factor) for row in rows] for name, label in names.items()}
    series = {label: values for label, values in series.items() if any(map(math.isfinite, values))}
    values = [value for some in series.values() for value in some if math.isfinite(value)]
    if not values:
        return None
    ticks, labels = _ticks(min(values), max(values))
    low, high = min(min(values), ticks[0]), max(max(values), ticks[-1])
    left = max(_LEFT, round(_LETTER * max(map(len, labels))) + 8)
    across = (_WIDE - left - _RIGHT) / max(1, len(rows) - 1)
    down = (_HIGH - _TOP - _BOTTOM) / (high - low)

    def place(epoch: int, value: float) -> tuple[float, float]:
        return round(left + epoch * across, 1), round(_HIGH - _BOTTOM - (value - low) * down, 1)

    curves = [(label, _stretches([place(*point) for point in enumerate(some)])) for label, some in series.items()]
    step = max(1, math.ceil(len(rows) / 8))
    x = [(place(epoch, low)[0], str(rows[epoch]["epoch"])) for epoch in range(len(rows) - 1, -1, -step)]
    y = [(place(0, tick)[1], label) for tick, label in zip(ticks, labels, strict=True)]
    return Chart(title, curves, x, y, left=left)


def _number(value: object, factor: float) -> float:
    return factor * float(value) if isinstance(value, int | float) else math.nan


def _ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return round values around low and high, about _TICKS of them, and their labels, which differ where these do."""
    span = high - low or abs(high) or 1
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(step * power for step in (1, 2, 5, 10) if step * power * _TICKS >= span)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    ticks = [number * step for number in range(first, last + 1)]
    digits = next((n for n in range(6, 17) if len({f"{tick:.{n}g}" for tick in ticks}) == len(ticks)), 17)
    return ticks, [f"{tick:.{digits}g}" for tick in ticks]


def _stretches(points: Iterable[tuple[float, float]]) -> list[str]:
    """Return the points in stretches without a gap, each as the text of a polyline."""
    stretches: list[list[str]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            stretches[-1].append(f"{x},{y}")
        elif stretches[-1]:
            stretches.append([])
    return [" ".join(stretch) for stretch in stretches if stretch]


def picture(run: Run, name: str) -> Markup | None:
    """Return a picture in the folder of a run as part of a page; None if there is none, or one that is not ours."""
    file = run.path / name
    content = file.read_bytes() if file.is_file() else b""
    start = content.find(b"<svg")
    if start < 0 or _FOREIGN.search(content) or content.count(b"</svg>") != 1:
        return None
    return drawn(content)


def drawn(svg: bytes) -> Markup:
    """Return an SVG file of ours as part of a page: without what comes before and after it."""
    text = svg[svg.find(b"<svg") : svg.rfind(b"</svg>") + 6].decode(errors="replace")
    return Markup(re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL))


def figure(name: str, *arguments: Any, **more: Any) -> Markup:
    """Return a figure as part of a page; `name` is that of its function in `supernet.report.plots`."""
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    file = io.BytesIO()
    plots.write_svg(getattr(plots, name)(*arguments, **more), file)
    return drawn(file.getvalue())


def strip(images: Images) -> list[dict[str, str]]:
    """Return some of the training images, one of each class first, each with the name of its class."""
    labels: list[int] = images.y.tolist()
    firsts: dict[int, int] = {}
    others: list[int] = []
    for place, label in enumerate(labels):
        if label not in firsts:
            firsts[label] = place
        elif len(others) < _SHOWN:
            others.append(place)
    chosen = sorted([*list(firsts.values())[:_SHOWN], *others][:_SHOWN], key=lambda place: labels[place])
    names = [images.classes[labels[place]] for place in chosen]
    pairs = zip(thumbnails(images.x, chosen), names, strict=True)
    return [{"source": source, "label": name} for source, name in pairs]


def thumbnails(x: Pixels, numbers: Sequence[int]) -> list[str]:
    """Return the images (N, C, H, W) of these numbers as addresses of small PNGs."""
    batches = in_order(x, torch.tensor(numbers, dtype=torch.int64), _SHOWN)
    return [thumbnail(pixels.permute(2, 0, 1)) for batch in batches for pixels in batch]


def thumbnail(x: Tensor) -> str:
    """Return an image (C, H, W) uint8 as the address of a small PNG; of more than 3 channels, the first."""
    from PIL import Image

    pixels = x.permute(1, 2, 0).cpu().numpy()
    colour = pixels.shape[2] == 3
    image = Image.fromarray(pixels if colour else pixels[:, :, 0].copy())
    image.thumbnail((_SIDE, _SIDE))
    if (times := _SIDE // max(image.size)) > 1:
        image = image.resize((image.width * times, image.height * times), 0)
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def environment(run: Run) -> dict[str, Any]:
    """Return what is known of the versions and the hardware of a run, with its command as a line."""
    file: Path = run.path / "environment.json"
    try:
        found = dict(read_json(file)) if file.is_file() else {}
    except (ValueError, TypeError):
        return {}
    command = found.pop("command", None)
    if isinstance(command, list) and command[1:] and command[1] in ("search", "select", "retrain"):
        found["command"] = shlex.join(["supernet", *map(str, command[1:])])
    peaks = found.pop("peak_memory", None)
    if isinstance(peaks, dict) and all(isinstance(peak, int) for peak in peaks.values()):
        found["peak memory"] = ", ".join(f"{size(peak)} of the {name}" for name, peak in peaks.items())
    return {name: value for name, value in found.items() if value is not None}


def shared(run: Run, images: Images | None, asked: Sequence[str], apart: Sequence[str]) -> dict[str, Any]:
    """Return the sections that the pages of all tasks have.

    `asked` are the settings that stand first, and `apart` those that are not among the others.
    """
    config, rows = run.config, run.metrics
    return {
        "asked": [(name.replace("_", " "), config.get(name)) for name in asked if config.get(name) is not None],
        "settings": [
            (name, "" if value is None else str(value))
            for name, value in flat({name: value for name, value in config.items() if name not in apart}).items()
        ],
        "images": images,
        "data": config["data_name"],
        "classes": config["classes"],
        "strip": strip(images) if images else [],
        "seconds": duration(sum(row["seconds"] for row in rows)),
        "epochs": len(rows),
        "environment": environment(run),
    }


def unfinished(run: Run) -> str:
    """Return how far a run has come that has not finished."""
    done, planned = len(run.metrics), planned_epochs(run.config)
    if planned is None:
        return f"unfinished after {number(done, 'epoch')}"
    return f"unfinished: {done} of {planned} epochs are done"
