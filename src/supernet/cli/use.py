"""`supernet evaluate | export`: uses of a retrained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, parse
from supernet.errors import visible

if TYPE_CHECKING:
    from supernet.report.console import Console
    from supernet.retraining.evaluation import ClassScore, Evaluation, Pass

_SHOWN = 20  # classes in the table

RunFolder = Annotated[
    Positional[str], arg(metavar="RUN", help="folder of a finished retraining, or of a search that holds one")
]
Weights = Annotated[Literal["last", "best"], arg(help="those after the last epoch, or after the best one")]
Space = Annotated[str | None, arg(help="space as module:NAME, if it is one of your own", metavar="STR")]
Device = Annotated[str, arg(help="auto, cpu, cuda, cuda:1, ...")]


@dataclass(frozen=True)
class Evaluate:
    """Measure a retrained network: accuracies, confusion, size, latency and memory."""

    run: RunFolder
    data: Annotated[str | None, arg(metavar="DATA")] = None
    """images to measure on; None is the run's own"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of naming them and stopping"""
    stream: bool = False
    """leave the images on the disk, also those that would fit into memory"""
    weights: Weights = "last"
    space: Space = None
    device: Device = "auto"


@dataclass(frozen=True)
class Export:
    """Write a retrained network as one file for other programs."""

    run: RunFolder
    format: str
    """onnx, torch (torch.export) or genotype (the architecture alone, as JSON)"""
    out: Annotated[str | None, arg(metavar="FILE")] = None
    """file to write; None is one in the run's folder"""
    input: Annotated[Literal["uint8", "float"], arg(help="values of pixels: 0 to 255, or float32 from 0 to 1")] = (
        "uint8"
    )
    weights: Weights = "last"
    space: Space = None


def evaluate(given: Arguments) -> None:
    """Measure a retrained network."""
    from supernet.report import console as show
    from supernet.retraining import evaluate as evaluating
    from supernet.retraining.evaluation import files_of
    from supernet.retraining.load import retraining

    asked = parse("evaluate", Evaluate, given)
    import_own(given)
    found = evaluating.evaluate(
        asked.run,
        data=asked.data,
        skip_broken=asked.skip_broken,
        stream=asked.stream,
        weights=asked.weights,
        space=asked.space,
        device=asked.device,
    )
    console = show.Console()
    run = retraining(asked.run)
    files = files_of(run, found)
    _result(console, found, files[0])
    show.line(console, f"run folder    {run.path} ({', '.join(files)})")
    show_next(console, "evaluate", run.path)


def export(given: Arguments) -> None:
    """Write a retrained network for other programs."""
    from supernet.report import console as show
    from supernet.retraining import export as exporting
    from supernet.retraining.load import retraining

    asked = parse("export", Export, given)
    import_own(given)
    done = exporting.export_checked(
        asked.run, asked.format, input=asked.input, out=asked.out, weights=asked.weights, space=asked.space
    )
    checked = "" if done.difference is None else f"; logits differ by {done.difference:.1g} at most from the network's"
    console = show.Console()
    show.line(console, f"{done.path} ({done.path.stat().st_size / 1e6:.2f} MB{checked})")
    show_next(console, "export", retraining(asked.run).path)


def _result(console: Console, found: Evaluation, file: str) -> None:
    """Print the measurements, which lie in `file`."""
    from supernet.engine.glance import size
    from supernet.report.console import line

    line(console, f"read {found.read}")
    top5 = "" if found.top5 is None else f", {100 * found.top5:.2f} % among the five most probable"
    images = {"test": "test images", "validation": "validation images", "all": "images"}[found.images]
    line(console, f"accuracy      {100 * found.accuracy:.2f} %{top5}; on {found.count} {images} of {found.data}")
    if len({score.support for score in found.classes if score.support}) > 1:
        line(console, f"balanced      {100 * found.balanced_accuracy:.2f} %, the mean recall of the classes")
    line(console, f"weights       those of the {found.weights} epoch")
    line(console, f"size          {size(found.params, found.flops)}")
    for number, needed in enumerate(found.passes):
        line(console, ("" if number else f"on {found.device}").ljust(14) + _pass(needed))
    line(console, "")
    _scores(console, found.classes, file)


def _pass(needed: Pass) -> str:
    time = needed.latency
    images = "1 image" if time.batch == 1 else f"{time.batch} images"
    threads = "1 thread" if time.threads == 1 else f"{time.threads} threads"
    spread = f"half of {time.repeats} passes: {time.low:.2f} to {time.high:.2f}; {threads}"
    return f"{images}: {time.median:.2f} ms ({spread}), {needed.memory / 1e6:.2f} MB beside the weights"


def _ranked(score: ClassScore) -> tuple[bool, float]:
    """Return the place of a class in the table: lowest F1 first, and classes without images last."""
    return score.support == 0, score.f1 or 0.0


def _scores(console: Console, classes: tuple[ClassScore, ...], file: str) -> None:
    """Print a row per class; of many classes only those of lowest F1."""
    from rich.markup import escape

    from supernet.report.console import line, table_of

    shown = classes if len(classes) <= _SHOWN else sorted(classes, key=_ranked)[:_SHOWN]
    table = table_of(["class"], ("precision %", "recall %", "F1 %", "images"))
    for score in shown:
        shares = ("-" if share is None else f"{100 * share:.1f}" for share in (score.precision, score.recall, score.f1))
        table.add_row(escape(visible(score.name)), *shares, str(score.support))
    console.print(table)
    if len(shown) < len(classes):
        line(console, f"These {len(shown)} of {len(classes)} classes have the lowest F1; all are in {file}.")
