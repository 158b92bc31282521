"""Evaluation of a retrained network: accuracy, confusion and scores per class, and its cost on this device."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from supernet.data import Images, Source, hold_out, is_available, same_source, source_name
from supernet.data import load as load_images
from supernet.data.batches import in_order
from supernet.data.pictures import path_of
from supernet.data.streamed import Pixels
from supernet.engine.defaults import plain_torch
from supernet.engine.environment import environment
from supernet.engine.measure import latency
from supernet.engine.peak_memory import peak_memory
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.evaluate import balanced_accuracy
from supernet.report import page
from supernet.retraining.accuracy import calibration, class_scores, confusion_of, mistakes, topk_accuracy
from supernet.retraining.config import recorded
from supernet.retraining.evaluation import Evaluation, Pass, files_of
from supernet.retraining.load import Checkpoint, load, retraining
from supernet.retraining.predictor import BATCH, Predictor
from supernet.spaces import SearchSpace

_FEW = 10  # classes; up to this number top-5 accuracy says nothing


@plain_torch()
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
    own = _is_own(found, images, data)
    x, y, which, numbers = _chosen(images, recorded(found)["validation_share"] if own else None)
    logits = _logits(predictor, _fitted(predictor, x, f"each image of '{images.name}'"))
    predicted, surest = logits.argmax(dim=1), logits.softmax(dim=1).max(dim=1)
    confusion = confusion_of(predicted, y, len(predictor.classes))
    price = cost(predictor.space, predictor.genotype, predictor.network_size)
    evaluation = Evaluation(
        data=images.name,
        fingerprint=images.fingerprint,
        images=which,
        count=len(y),
        read=images.described(len(y) if which == "validation" else None),
        weights=weights,
        accuracy=topk_accuracy(logits, y, 1),
        balanced_accuracy=balanced_accuracy(predicted == y, y),
        top5=topk_accuracy(logits, y, 5) if len(predictor.classes) > _FEW else None,
        classes=class_scores(confusion, predictor.classes),
        confusion=confusion,
        mistakes=mistakes(surest, y, predictor.classes, numbers),
        calibration=calibration(surest, y),
        params=price.params,
        flops=price.flops,
        device=str(predictor.mean.device),
        passes=tuple(_pass(predictor, batch) for batch in (1, 32)),
        environment=environment(device=predictor.mean.device),
        source=_place(data),
        own=own,
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
    if not _are_same(run, images):
        raise UserError(f"'{source}' has changed since run '{run.path}' was trained on it: {advice}")
    return images


def _place(data: Source | None) -> str:
    """Return the absolute path of a source that is a file or a folder, nothing for any other."""
    return str(path_of(data).resolve()) if isinstance(data, str | os.PathLike) and path_of(data).exists() else ""


def _is_own(run: Run, images: Images, data: Source | None) -> bool:
    """Return whether images, given as `data`, are the run's; where only one is streamed, their place tells."""
    config = recorded(run)
    here = data is None or images.streamed == config["stream"] or same_source(source_name(data), config["data"])
    return here and _are_same(run, images)


def _are_same(run: Run, images: Images) -> bool:
    """Return whether images are the run's, by their pixels.

    Where only one of the two is streamed, labels tell, since a stream is known by names and sizes alone.
    """
    config = recorded(run)
    if images.streamed == config["stream"]:
        return images.fingerprint == config["fingerprint"]
    mark = images.label_mark
    return list(images.classes) == config["classes"] and run.summary.get("labels", mark) == mark


def _chosen(images: Images, share: float | None) -> tuple[Pixels, Tensor, str, Tensor]:
    """Return images, labels, which part of the data they are, and their numbers in the test or the other images.

    `share` is the validation share of the run whose own images they are, None for other images.
    """
    if images.x_test is not None and images.y_test is not None:
        return images.x_test, images.y_test, "test", torch.arange(len(images.y_test))
    if share is None:
        return images.x, images.y, "all", torch.arange(len(images.y))
    _, held = images.given_parts or hold_out(images.y, share)
    return images.x[held], images.y[held], "validation", held


@torch.no_grad()
def _logits(predictor: Predictor, parts: Iterable[Tensor]) -> Tensor:
    """Return the logits (N, classes) of images, given as batches (B, C, H, W) uint8, on the CPU."""
    return torch.cat([predictor(part.to(predictor.mean.device)).cpu() for part in parts])


def _fitted(predictor: Predictor, x: Pixels, what: str) -> Iterator[Tensor]:
    """Yield images, called `what`, in batches of the size that the predictor takes."""
    for part in in_order(x, torch.arange(len(x)), BATCH):
        yield predictor.fitted(part.permute(0, 3, 1, 2), what)


def _pass(predictor: Predictor, batch: int) -> Pass:
    shape = (batch, predictor.network_size.channels, *predictor.size)
    x = torch.zeros(shape, dtype=torch.uint8, device=predictor.mean.device)
    return Pass(latency(predictor, x), peak_memory(predictor, x))


def _write(run: Run, evaluation: Evaluation, images: Images) -> None:
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    file, drawn = files_of(run, evaluation)
    names = [score.name for score in evaluation.classes]
    plots.save(plots.draw_confusion(evaluation.confusion, names), run.path / drawn)
    run.write(file, json.dumps(evaluation.to_json(), indent=2) + "\n")
    if file == "evaluation.json":
        with suppress(UserError):  # of damaged metrics, which no evaluation needs; `supernet report` tells them
            page.write(run, images)
