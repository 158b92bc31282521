"""`supernet predict`: the classes of pictures, and of whole folders of them, in a table, as CSV or as JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice, tee
from typing import TYPE_CHECKING, Annotated, TextIO

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, import_own, parse
from supernet.cli.pictures import Pictures
from supernet.cli.use import Device, RunFolder, Space, Weights
from supernet.engine.files import replacing
from supernet.errors import UserError, reason_of, visible
from supernet.report.text import number

if TYPE_CHECKING:
    from supernet.report.console import Console
    from supernet.retraining.predictor import Prediction, Predictor

    Row = tuple[str, Prediction]

_LINES = 256  # in one table, and images that are read before their rows are printed
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


@dataclass(frozen=True)
class Predict:
    """Predict the classes of images."""

    run: RunFolder
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGE...")]
    """picture files, folders with all pictures below them, or patterns in quotes: "photos/*.png" """
    weights: Weights = "last"
    space: Space = None
    device: Device = "auto"
    top: int | None = None
    """how many of the most probable classes to print; None is one, and as JSON all"""
    csv: Annotated[str | None, arg(metavar="FILE")] = None
    """write a table as CSV into a file, or to the terminal if it is -"""
    json: bool = False
    """print JSON, with the probabilities of all classes"""
    skip_broken: bool = False
    """go on without pictures that cannot be read"""


def predict(given: Arguments) -> None:
    """Predict the classes of images."""
    from supernet.report import console as show
    from supernet.retraining.load import load, retraining

    asked = parse("predict", Predict, given)
    if not asked.images:
        raise UserError("missing IMAGE: picture files (see supernet predict --help)")
    if asked.top is not None and asked.top < 1:
        raise UserError(f"setting top must be at least 1, not {asked.top}")
    if asked.json and asked.csv is not None:
        raise UserError("--json and --csv are two forms of the same result: give one")
    import_own(given)
    loaded = load(asked.run, weights=asked.weights, space=asked.space, device=asked.device)
    result = Result(loaded, Pictures(asked.images), skip_broken=asked.skip_broken)
    if asked.csv is not None:
        with _written(asked.csv) as file:
            _print_csv(result.rows(), min(asked.top or 1, len(loaded.classes)), file)
            result.check()
        if asked.csv != "-":
            print(f"{asked.csv} ({number(result.count, 'image')})")
        return
    if asked.json:
        _print_json(result.rows(), asked.top)
        result.check()
        return
    console = show.Console()
    _print_table(console, result.rows(), asked.top or 1)
    result.check()
    show_next(console, "predict", retraining(asked.run).path)


class Result:
    """The predictions for pictures, made while they are read, and afterwards the pictures that were left out."""

    def __init__(self, loaded: Predictor, pictures: Pictures, *, skip_broken: bool) -> None:
        self.loaded, self.pictures, self.skip_broken = loaded, pictures, skip_broken
        self.broken: list[str] = []  # messages
        self.count = 0

    def rows(self) -> Iterator[Row]:
        """Yield each picture with its prediction, and once one is broken none, unless broken ones are skipped."""
        names, images = tee(self.pictures)
        pairs = zip(names, self.loaded.each(images), strict=True)
        while part := list(islice(pairs, _LINES)):
            self.broken += [str(found) for _, found in part if isinstance(found, UserError)]
            if self.skip_broken or not self.broken:
                rows = [(name, found) for name, found in part if not isinstance(found, UserError)]
                self.count += len(rows)
                yield from rows

    def check(self) -> None:
        """Say what was left out; raise UserError for broken pictures that are not skipped, and if nothing is left."""
        if self.broken[1:] or self.skip_broken:
            for message in self.broken:  # a line each, since one line of all would be cut
                print(f"supernet: {'left out: ' if self.skip_broken else ''}{message}", file=sys.stderr)
        if self.broken and not self.skip_broken:
            several = f"{len(self.broken)} images cannot be used; --skip-broken goes on without"
            raise UserError(several if self.broken[1:] else self.broken[0])
        if self.pictures.others:
            print(f"supernet: left out: {number(self.pictures.others, 'file')} without a picture", file=sys.stderr)
        if not self.count:
            raise UserError(f"no picture that can be read in {', '.join(self.pictures.named)}")


def _most_probable(found: Prediction, top: int | None) -> list[tuple[str, float]]:
    return sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:top]


def _print_table(console: Console, rows: Iterator[Row], top: int) -> None:
    from supernet.report import console as show

    while part := list(islice(rows, _LINES)):
        show.listing(console, (_line(image, _most_probable(found, top)) for image, found in part))


def _line(image: str, classes: list[tuple[str, float]]) -> tuple[str, str, str]:
    (label, share), *others = classes
    return image, label, ", ".join([f"{100 * share:.1f} %", *(f"{name} {100 * p:.1f} %" for name, p in others)])


def _print_json(rows: Iterator[Row], top: int | None) -> None:
    opening = "[\n"
    for image, found in rows:
        shares = found.probabilities if top is None else dict(_most_probable(found, top))
        row = {"image": image, "label": found.label, "probability": found.probability, "probabilities": shares}
        text = json.dumps(row, indent=2).replace("\n", "\n  ")
        print(f"{opening}  {text}", end="")
        opening = ",\n"
    if opening != "[\n":
        print("\n]")


def _print_csv(rows: Iterator[Row], top: int, file: TextIO) -> None:
    writer, shown = csv.writer(file, lineterminator="\n"), visible if file.isatty() else str
    names = [
        f"{name}{place}" for place in ("", *(f"_{n}" for n in range(2, top + 1))) for name in ("label", "probability")
    ]
    for row, (image, found) in enumerate(rows):
        if not row:
            writer.writerow(["image", *names])
        path = f"./{image}" if image.startswith(_FORMULA) else image
        classes = [(shown(_no_formula(label)), f"{share:.6g}") for label, share in _most_probable(found, top)]
        writer.writerow([shown(path), *(value for pair in classes for value in pair)])


def _no_formula(label: str) -> str:
    """Return a label that no spreadsheet takes for a formula: with an apostrophe before it unless it is a number."""
    try:
        float(label)
    except ValueError:
        return f"'{label}" if label.startswith(_FORMULA) else label
    return label


@contextmanager
def _written(name: str) -> Iterator[TextIO]:
    """Open a file that takes its place once it is whole; "-" is the terminal, and pipes are written as they are."""
    from supernet.data.pictures import path_of

    path = path_of(name)
    if name == "-":
        yield sys.stdout
        return
    special = path.exists() and not path.is_file()
    try:
        with (
            nullcontext(path) if special else replacing(path) as whole,
            whole.open("w" if special else "x", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise UserError(f"cannot write '{path}': {reason_of(error)}") from None
