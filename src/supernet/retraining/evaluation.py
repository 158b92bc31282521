"""An evaluation: what was measured of a retrained network, and the files that hold it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from supernet.engine.files import read_json
from supernet.engine.measure import Latency
from supernet.engine.run import Run

_LETTERS = 60  # of the data's name in the name of a file


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class; None where the denominator is 0."""

    name: str
    precision: float | None  # share of the images predicted as the class that belong to it
    recall: float | None  # share of the class's images that are predicted as it
    f1: float | None  # harmonic mean of precision and recall
    support: int  # images of the class


@dataclass(frozen=True)
class Pass:
    """The time of a forward pass, and its memory in bytes beside the weights."""

    latency: Latency
    memory: int


@dataclass(frozen=True)
class Mistake:
    """An image whose class the network got wrong; `index` counts the images of its part of the data from 0."""

    index: int
    label: str
    predicted: str
    probability: float  # of the class that was predicted


@dataclass(frozen=True)
class Calibration:
    """The images for which the network gave about the same probability to the class it predicted."""

    confidence: float  # the mean of these probabilities
    accuracy: float
    count: int


@dataclass(frozen=True)
class Evaluation:
    """The measurements of a retrained network; accuracies are from 0 to 1."""

    data: str  # the name of the image set
    fingerprint: str
    images: str  # "test", "validation", or "all" training images
    count: int
    read: str  # a line on all that was read
    weights: str  # "last" or "best"
    accuracy: float
    balanced_accuracy: float  # the mean recall of the classes that have images
    top5: float | None  # of more than 10 classes
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]  # [i][j]: images of class i predicted as class j
    params: int
    flops: int  # multiply-adds for one image
    device: str
    passes: tuple[Pass, ...]  # on 1 and on 32 images
    environment: Mapping[str, Any]
    mistakes: tuple[Mistake, ...] = ()  # those with the highest probability
    calibration: tuple[Calibration, ...] = ()  # by tenths of the probability, without empty ones
    source: str = ""  # the absolute path of the image set, if it was given and has one
    own: bool = False  # whether the images are of the data that the network was trained on

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dicts."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def files_of(run: Run, evaluation: Evaluation) -> tuple[str, str]:
    """Return the names of an evaluation's file and picture in the folder of its run.

    They are `evaluation.json` and `confusion.svg` for the last weights on the run's own data. Other data puts its name
    into them, as in `evaluation-photos.json`, and the best weights put "best", as in `evaluation.best.json`. Behind the
    name is a checksum of the data's path where files of this name are of data in another place.
    """
    data = "" if evaluation.own else "-" + (re.sub(r"[^\w-]+", "-", evaluation.data)[:_LETTERS].strip("-") or "data")
    if not evaluation.own and evaluation.source and _places(run, data) - {evaluation.source}:
        data += f"-{sha256(evaluation.source.encode(errors='backslashreplace')).hexdigest()[:8]}"
    weights = "" if evaluation.weights == "last" else f".{evaluation.weights}"
    return f"evaluation{data}{weights}.json", f"confusion{data}{weights}.svg"


def _places(run: Run, data: str) -> set[str]:
    """Return the paths of the data whose evaluations, by last and best weights, have `data` in their names."""
    places = set()
    for name in (f"evaluation{data}.json", f"evaluation{data}.best.json"):
        with suppress(ValueError, TypeError, KeyError):  # of none, a damaged one, and one without a path
            places.add(str(read_json(run.path / name)["source"]))
    return places - {""}
