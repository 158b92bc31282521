"""What the files of a run must hold, whatever else is in them; a file that does not is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from supernet.engine.files import read_json
from supernet.errors import UserError
from supernet.settings import Count, Fraction, Real, Seed, Whole
from supernet.spaces.genotype import Genotype
from supernet.spaces.tables.entry import TableEntry

GenotypeRecord = Annotated[dict[str, Any], AfterValidator(Genotype.from_json)]
"""An architecture, as `Genotype.to_json` writes it."""


class Record(TypedDict):
    """The settings of a run, config.yaml: what every task has."""

    task: Literal["search", "select", "retrain"]
    data: str
    data_name: str
    fingerprint: str  # of the images
    classes: list[str]
    space: str
    space_hash: str
    seed: Seed


class Learned(TypedDict, total=False):
    """What pictures and summaries look for in that which a method or a selector adds to a row."""

    alphas: dict[str, list[list[float]]]
    edge_weights: dict[str, list[float]]
    best_accuracy: Annotated[float, Field(le=1)]  # below 0 before there is any


class Added(Learned, total=False):
    """What a summary looks for besides in the row of a search, to which steps add the means of their metrics."""

    accuracy: Fraction


class Row(Learned):
    """One line of metrics.jsonl: what every task has, and what pictures and studies look for."""

    epoch: Count
    seconds: Real
    op_scores: NotRequired[dict[str, list[list[float]]]]
    architecture: NotRequired[str]
    verdict: NotRequired[str]
    table: NotRequired[dict[str, float]]
    forward_backward: NotRequired[Whole]  # batches that have gone forward and backward so far
    back_to: NotRequired[Count]  # the epoch to whose state the search went back after this one


class Target(TypedDict):
    """The size of the network that a search is for."""

    width: Count
    depth: Count


class LimitsRecord(TypedDict):
    """The limits of a search."""

    max_params: int | None
    max_flops: int | None
    max_latency_ms: float | None
    latency: str


class TargetCost(TypedDict):
    """The target of a cost, the cost of the network, None if a table lacks it, and that expected of the op scores."""

    target: Real
    expected: Real | None
    network: float | None


class LatencyRecord(TypedDict):
    """The latency of an architecture."""

    ms: Real
    source: str


class FrontPoint(TypedDict):
    """An architecture of a front: the folder it was selected in, its cost, and its accuracy in the supernet."""

    run: str
    architecture: str
    cost: Real
    supernet: Fraction


class Front(TypedDict):
    """Architectures along one of their costs: how many were asked for, and those that there are."""

    asked: Count
    cost: str
    images: Count
    points: list[FrontPoint]


class Decision(TypedDict):
    """What a selector has decided about an edge."""

    kind: str
    edge: str
    chosen: str | None
    scores: dict[str, float]


class Stopped(TypedDict):
    """The last epoch of a search that has ended by itself, by its method or its patience, and why."""

    epoch: Count
    reason: str


class Measured(TypedDict):
    """The accuracy that a search ends with, on its images.

    It is `of` the supernet after the last epoch that the search did not go back from, of the chosen path of it, or of
    the chosen architecture alone, which the method has trained as a network of its own.
    """

    images: Literal["validation", "training"]
    count: Count
    accuracy: Fraction
    of: NotRequired[Literal["supernet", "path", "alone"]]


class MarginRecord(TypedDict):
    """The margin of a chosen operation."""

    kind: str
    edge: str
    op: str
    margin: float
    share: float
    held: bool


class MarginsRecord(TypedDict):
    """How decided a search is."""

    settled: Whole
    undecided: bool
    epochs: Count
    text: str
    edges: list[MarginRecord]


class Reported(TypedDict, total=False):
    """What pictures, and a summary itself, look for in that which a selector adds to it."""

    criterion: str
    decisions: list[Decision]
    supernet_accuracy: Fraction  # of the chosen path on so many `images`; both or neither count
    images: Count


class SearchSummary(Reported):
    """The summary.json of a search or a selection."""

    genotype: GenotypeRecord
    architecture: str
    verdict: str
    params: Whole
    flops: Whole
    target: Target
    limits: LimitsRecord | None
    targets: NotRequired[dict[str, TargetCost]]
    latency: LatencyRecord | None
    table_entry: TableEntry | None
    forward_backward: NotRequired[Whole]
    seconds: Real
    selector: str
    measured: NotRequired[Measured | None]
    margins: NotRequired[MarginsRecord | None]
    stopped: NotRequired[Stopped]
    front: NotRequired[Front]


class Accuracies(TypedDict):
    """The accuracies after the last and after the best epoch."""

    last: Fraction
    best: Fraction


class RetrainingSummary(TypedDict):
    """The summary.json of a retraining."""

    genotype: GenotypeRecord
    architecture: str
    params: Whole
    flops: Whole
    measured_on: Literal["validation", "test"]
    accuracy: Accuracies
    balanced_accuracy: NotRequired[Accuracies | None]
    test_accuracy: Accuracies | None
    test_balanced_accuracy: NotRequired[Accuracies | None]
    best_epoch: Count
    labels: NotRequired[str]  # a hash; absent from runs of before it was recorded
    seconds: Real


class Score(TypedDict):
    """The scores of a class."""

    name: str
    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None
    support: Whole


class Mistake(TypedDict):
    """An image whose class the network got wrong."""

    index: Whole
    label: str
    predicted: str
    probability: Real


class Bin(TypedDict):
    """The images that the network is about as sure of."""

    confidence: Real
    accuracy: Fraction
    count: Whole


class EvaluationRecord(TypedDict):
    """The measurements of a retrained network, evaluation.json: what its page shows."""

    images: Literal["test", "validation", "all"]
    count: Whole
    accuracy: Fraction
    classes: list[Score]
    mistakes: list[Mistake]
    calibration: list[Bin]


def standing(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of a search's rows, one per epoch, that led to its state: without epochs that it went back from."""
    found: list[Mapping[str, Any]] = []
    for row in rows:
        found.append(row)
        if "back_to" in row:
            found = [each for each in found if each["epoch"] <= row["back_to"]]
    return found


def last_standing(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row that a search is at, an empty one before its first epoch."""
    return standing(rows)[-1] if rows else {}


def last_accuracy(summary: Mapping[str, Any]) -> float:
    """Return the accuracy (0 to 1) of a retraining after its last epoch: on the test images, if there are some."""
    return float((summary["test_accuracy"] or summary["accuracy"])["last"])


def read_checked(kind: Any, file: Path, advice: str) -> Any:
    """Return the content of a JSON file if it has the fields of `kind`; raises UserError with `advice`."""
    try:
        content = read_json(file)
    except ValueError as error:
        raise damaged(file, error, advice) from None
    return check(kind, content, file, advice)


def check(kind: Any, value: object, file: Path, advice: str) -> Any:
    """Return plain `value`, the content of a file, if it has the fields of `kind`; raises UserError with `advice`."""
    if reason := flaw(kind, value):
        raise damaged(file, reason, advice)
    return value


def flaw(kind: Any, value: object) -> str:
    """Return why plain `value` lacks the fields of `kind`; empty if it has them."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode(errors="replace")  # a path may hold bytes that are no text
        _adapter(kind).validate_json(text, strict=True)  # read as JSON, a list may be a tuple
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        return str(first.get("ctx", {}).get("error", reason))
    return ""


def damaged(file: Path, reason: object, advice: str) -> UserError:
    """Build the error for a file that cannot be used, with what helps."""
    return UserError(f"'{file}' is damaged ({reason}): {advice}")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
