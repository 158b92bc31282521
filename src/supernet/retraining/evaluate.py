"""Evaluation of a retrained network: accuracy, confusion and scores per class, and its cost on this device."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from supernet.data import Images, Source, hold_out, is_available, same_source, source_name
from supernet.data import load as load_images
from supernet.data.batches import in_order
from supernet.data.pictures import path_of
from supernet.data.streamed import Pixels
from supernet.engine.environment import environment
from supernet.engine.files import read_json
from supernet.engine.measure import Latency, latency
from supernet.engine.peak_memory import peak_memory
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.evaluate import balanced_accuracy
from supernet.report import page
from supernet.retraining.config import RetrainRecord, recorded
from supernet.retraining.predictor import Checkpoint, Predictor, load, retraining
from supernet.spaces import SearchSpace

_FEW = 10  # classes; up to this number top-5 accuracy says nothing
_WORST = 16  # mistakes that are told
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

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dicts."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def evaluate(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    skip_broken: bool = False,
    stream: bool = False,
    weights: Checkpoint = "last",
    space: str | SearchSpace | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure a finished retraining; writes `evaluation.json`, `confusion.svg` and the page into its folder.

    - `run`, `weights`, `space`, `device`: as for `supernet.load`.
    - `data`: other images, as for `supernet.search`, of some or all of the same classes; None is the run's own.
    - `skip_broken`: leave out pictures that cannot be read, as the run did if it was told to.
    - `stream`: leave the images on the disk, as for `supernet.search`.

    The images are the test images. Without any, they are the validation images of the run's own data, and all images
    of other data. An evaluation of other data or of the best weights has files of its own: see `files_of`. Raises
    UserError for data of other classes or of another size.
    """
    found = retraining(run)
    predictor = load(found, weights=weights, space=space, device=device)
    images = _images(found, data, predictor, skip_broken=skip_broken, stream=stream)
    x, y, which, numbers = _chosen(found, images, data)
    logits = _logits(predictor, _fitted(predictor, x, f"each image of '{images.name}'"))
    predicted, surest = logits.argmax(dim=1), logits.softmax(dim=1).max(dim=1)
    confusion = _confusion(predicted, y, len(predictor.classes))
    price = cost(predictor.space, predictor.genotype, predictor.network_size)
    evaluation = Evaluation(
        data=images.name,
        fingerprint=images.fingerprint,
        images=which,
        count=len(y),
        read=images.described(len(y) if which == "validation" else None),
        weights=weights,
        accuracy=_share(logits, y, 1),
        balanced_accuracy=balanced_accuracy(predicted == y, y),
        top5=_share(logits, y, 5) if len(predictor.classes) > _FEW else None,
        classes=_scores(confusion, predictor.classes),
        confusion=confusion,
        mistakes=_mistakes(surest, y, predictor.classes, numbers),
        calibration=_calibration(surest, y),
        params=price.params,
        flops=price.flops,
        device=str(predictor.mean.device),
        passes=tuple(_pass(predictor, batch) for batch in (1, 32)),
        environment=environment(device=predictor.mean.device),
        source=_place(data),
    )
    _write(found, evaluation, images)
    return evaluation


def _images(run: Run, data: Source | None, predictor: Predictor, *, skip_broken: bool, stream: bool) -> Images:
    """Return the given images, by default those of the run, brought to the size and channels of the training images."""
    config = recorded(run)
    how: dict[str, Any] = {"image_size": predictor.image_size, "channels": predictor.network_size.channels}
    if data is not None:
        how |= {"classes": config["classes"], "levels": predictor.levels}
        how |= {"first_label": config.get("first_label", 0)}
        images = load_images(data, **how, skip_broken=skip_broken, stream=stream or None)
        if list(images.classes) != config["classes"]:  # of a source whose labels have names of their own
            raise UserError(
                f"'{images.name}' has classes {', '.join(images.classes)}; "
                f"the network was trained on {', '.join(config['classes'])}"
            )
        return images
    source, advice = str(config["data"]), "give images with --data, or data= in Python"
    if not is_available(source):
        raise UserError(f"run '{run.path}' was trained on '{source}', which is not here: {advice}")
    skip_broken = skip_broken or config["skip_broken"]
    images = load_images(source, **how, skip_broken=skip_broken, stream=stream or config["stream"])
    if images.streamed == config["stream"]:
        changed = images.fingerprint != config["fingerprint"]
    else:  # a stream is known by names and sizes, and images in memory by their pixels
        changed = list(images.classes) != config["classes"]
    if changed:
        raise UserError(f"'{source}' has changed since run '{run.path}' was trained on it: {advice}")
    return images


def _place(data: Source | None) -> str:
    """Return the absolute path of a source that is a file or a folder, nothing for any other."""
    return str(path_of(data).resolve()) if isinstance(data, str | os.PathLike) and path_of(data).exists() else ""


def _is_own(config: RetrainRecord, images: Images, data: Source | None) -> bool:
    """Return whether images, given as `data`, are those of the run.

    Where only the ones or the others were streamed their place tells, since a stream is known by names and sizes alone.
    """
    if images.streamed == config["stream"]:
        return images.fingerprint == config["fingerprint"]
    return data is None or same_source(source_name(data), config["data"])


def _chosen(run: Run, images: Images, data: Source | None) -> tuple[Pixels, Tensor, str, Tensor]:
    """Return images, labels, which part of the data they are, and their numbers in the test or the other images."""
    if images.x_test is not None and images.y_test is not None:
        return images.x_test, images.y_test, "test", torch.arange(len(images.y_test))
    config = recorded(run)
    if not _is_own(config, images, data):
        return images.x, images.y, "all", torch.arange(len(images.y))
    _, held = images.given_parts or hold_out(images.y, config["validation_share"])
    return images.x[held], images.y[held], "validation", held


@torch.no_grad()
def _logits(predictor: Predictor, parts: Iterable[Tensor]) -> Tensor:
    """Return the logits (N, classes) of images, given as batches (B, C, H, W) uint8, on the CPU."""
    return torch.cat([predictor(part.to(predictor.mean.device)).cpu() for part in parts])


def _fitted(predictor: Predictor, x: Pixels, what: str, batch_size: int = 256) -> Iterator[Tensor]:
    """Yield images, called `what`, in batches of the size that the predictor takes."""
    for part in in_order(x, torch.arange(len(x)), batch_size):
        yield predictor.fitted(part.permute(0, 3, 1, 2), what)


def _share(logits: Tensor, y: Tensor, k: int) -> float:
    """Return the top-k accuracy."""
    hits = (logits.topk(k, dim=1).indices == y[:, None]).sum().item()
    return hits / len(y)


def _confusion(found: Tensor, y: Tensor, classes: int) -> tuple[tuple[int, ...], ...]:
    counts = torch.bincount(classes * y + found, minlength=classes * classes).view(classes, classes)
    return tuple(tuple(row) for row in counts.tolist())


def _scores(confusion: tuple[tuple[int, ...], ...], classes: tuple[str, ...]) -> tuple[ClassScore, ...]:
    taken = [sum(column) for column in zip(*confusion, strict=True)]
    scores = []
    for number, name in enumerate(classes):
        right, support = confusion[number][number], sum(confusion[number])
        precision, recall = _ratio(right, taken[number]), _ratio(right, support)
        scores.append(ClassScore(name, precision, recall, _ratio(2 * right, taken[number] + support), support))
    return tuple(scores)


def _mistakes(
    surest: tuple[Tensor, Tensor], y: Tensor, classes: tuple[str, ...], numbers: Tensor
) -> tuple[Mistake, ...]:
    """Return the mistakes that the network was surest of, from each image's largest probability and its class."""
    probability, predicted = surest
    wrong = (predicted != y).nonzero().flatten()
    worst = wrong[probability[wrong].argsort(descending=True, stable=True)][:_WORST].tolist()
    return tuple(
        Mistake(int(numbers[n]), classes[int(y[n])], classes[int(predicted[n])], float(probability[n])) for n in worst
    )


def _calibration(surest: tuple[Tensor, Tensor], y: Tensor) -> tuple[Calibration, ...]:
    probability, predicted = surest
    tenths = (10 * probability).long().clamp(max=9)
    groups = [(probability[tenths == tenth], (predicted == y)[tenths == tenth]) for tenth in range(10)]
    return tuple(Calibration(float(p.mean()), float(hit.double().mean()), len(p)) for p, hit in groups if len(p))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _pass(predictor: Predictor, batch: int) -> Pass:
    shape = (batch, predictor.network_size.channels, *predictor.size)
    x = torch.zeros(shape, dtype=torch.uint8, device=predictor.mean.device)
    return Pass(latency(predictor, x), peak_memory(predictor, x))


def files_of(run: Run, evaluation: Evaluation) -> tuple[str, str]:
    """Return the names of an evaluation's file and picture in the folder of its run.

    They are `evaluation.json` and `confusion.svg` for the last weights on the run's own data. Other data puts its name
    into them, as in `evaluation-photos.json`, and the best weights put "best", as in `evaluation.best.json`. Behind the
    name is a checksum of the data's path where files of this name are of data in another place.
    """
    own = evaluation.fingerprint == run.config["fingerprint"]
    data = "" if own else "-" + (re.sub(r"[^\w-]+", "-", evaluation.data)[:_LETTERS].strip("-") or "data")
    if not own and evaluation.source and _places(run, data) - {evaluation.source}:
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


def _write(run: Run, evaluation: Evaluation, images: Images) -> None:
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    file, drawn = files_of(run, evaluation)
    names = [score.name for score in evaluation.classes]
    plots.save(plots.draw_confusion(evaluation.confusion, names), run.path / drawn)
    run.write(file, json.dumps(evaluation.to_json(), indent=2) + "\n")
    if file == "evaluation.json":
        page.write(run, images)
