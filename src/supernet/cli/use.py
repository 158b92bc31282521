"""`supernet evaluate | predict | export`: uses of a retrained network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, parse
from supernet.errors import UserError, visible

if TYPE_CHECKING:
    from supernet.report.console import Console
    from supernet.retraining.evaluate import ClassScore, Evaluation, Pass

_SHOWN = 20  # classes in the table

_Run = Annotated[
    Positional[str], arg(metavar="RUN", help="folder of a finished retraining, or of a search that holds one")
]
_Weights = Annotated[Literal["last", "best"], arg(help="those after the last epoch, or after the best one")]
_Space = Annotated[str | None, arg(help="space as module:NAME, if it is one of your own", metavar="STR")]
_Device = Annotated[str, arg(help="auto, cpu, cuda, cuda:1, ...")]


@dataclass(frozen=True)
class Evaluate:
    """Measure a retrained network: accuracies, confusion, size, latency and memory."""

    run: _Run
    data: Annotated[str | None, arg(metavar="DATA")] = None
    """images to measure on; None is the run's own"""
    weights: _Weights = "last"
    space: _Space = None
    device: _Device = "auto"


@dataclass(frozen=True)
class Predict:
    """Predict the classes of images."""

    run: _Run
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGE...")]
    """picture files"""
    weights: _Weights = "last"
    space: _Space = None
    device: _Device = "auto"
    json: bool = False
    """print the probabilities of all classes, as JSON"""


@dataclass(frozen=True)
class Export:
    """Write a retrained network as one file for other programs."""

    run: _Run
    format: str
    """onnx, torch (torch.export) or genotype (the architecture alone, as JSON)"""
    out: Annotated[str | None, arg(metavar="FILE")] = None
    """file to write; None is one in the run's folder"""
    weights: _Weights = "last"
    space: _Space = None


def evaluate(given: Arguments) -> None:
    """Measure a retrained network."""
    from supernet.report import console as show
    from supernet.retraining import evaluate as evaluation
    from supernet.retraining import predictor

    asked = parse("evaluate", Evaluate, given)
    import_own(given)
    found = evaluation.evaluate(
        asked.run, data=asked.data, weights=asked.weights, space=asked.space, device=asked.device
    )
    console = show.Console()
    _result(console, found)
    folder = predictor.retraining(asked.run).path
    show.line(console, f"run folder    {folder} (evaluation.json, confusion.svg)")
    show_next(console, "evaluate", folder)


def predict(given: Arguments) -> None:
    """Predict the classes of images."""
    from supernet.report import console as show
    from supernet.retraining import predictor

    asked = parse("predict", Predict, given)
    if not asked.images:
        raise UserError("missing IMAGE: picture files (see supernet predict --help)")
    import_own(given)
    loaded = predictor.load(asked.run, weights=asked.weights, space=asked.space, device=asked.device)
    found = loaded.predict(asked.images)
    rows = [{"image": image} | asdict(prediction) for image, prediction in zip(asked.images, found, strict=True)]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    console = show.Console()
    show.listing(console, ((row["image"], row["label"], f"{100 * row['probability']:.1f} %") for row in rows))
    show_next(console, "predict", predictor.retraining(asked.run).path)


def export(given: Arguments) -> None:
    """Write a retrained network for other programs."""
    from supernet.report import console as show
    from supernet.retraining import export as exporting
    from supernet.retraining import predictor

    asked = parse("export", Export, given)
    import_own(given)
    done = exporting.export_checked(asked.run, asked.format, out=asked.out, weights=asked.weights, space=asked.space)
    checked = "" if done.difference is None else f"; logits differ by {done.difference:.1g} at most from the network's"
    console = show.Console()
    show.line(console, f"{done.path} ({done.path.stat().st_size / 1e6:.2f} MB{checked})")
    show_next(console, "export", predictor.retraining(asked.run).path)


def _result(console: Console, found: Evaluation) -> None:
    """Print the measurements."""
    from supernet.report.console import line

    top5 = "" if found.top5 is None else f", {100 * found.top5:.2f} % among the five most probable"
    images = {"test": "test images", "validation": "validation images", "all": "images"}[found.images]
    line(console, f"accuracy      {100 * found.accuracy:.2f} %{top5}; on {found.count} {images} of {found.data}")
    line(console, f"weights       those of the {found.weights} epoch")
    line(console, f"size          {found.params / 1e6:.3f} M parameters, {found.flops / 1e6:.1f} M FLOPs")
    for number, needed in enumerate(found.passes):
        line(console, ("" if number else f"on {found.device}").ljust(14) + _pass(needed))
    line(console, "")
    _scores(console, found.classes)


def _pass(needed: Pass) -> str:
    time = needed.latency
    images = "1 image" if time.batch == 1 else f"{time.batch} images"
    threads = "1 thread" if time.threads == 1 else f"{time.threads} threads"
    spread = f"half of {time.repeats} passes: {time.low:.2f} to {time.high:.2f}; {threads}"
    return f"{images}: {time.median:.2f} ms ({spread}), {needed.memory / 1e6:.2f} MB beside the weights"


def _scores(console: Console, classes: tuple[ClassScore, ...]) -> None:
    """Print a row per class; of many classes only those of lowest F1."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from supernet.report.console import line

    shown = classes if len(classes) <= _SHOWN else sorted(classes, key=lambda score: score.f1 or 0)[:_SHOWN]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("class", "precision %", "recall %", "F1 %", "images"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for score in shown:
        shares = ("-" if share is None else f"{100 * share:.1f}" for share in (score.precision, score.recall, score.f1))
        table.add_row(escape(visible(score.name)), *shares, str(score.support))
    console.print(table)
    if len(shown) < len(classes):
        line(console, f"These {len(shown)} of {len(classes)} classes have the lowest F1; all are in evaluation.json.")
