"""The predictor: a retrained network with its preprocessing, from pixel values to classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from supernet.data import read_picture
from supernet.data.arrays import pixels
from supernet.data.items import plain_tensor
from supernet.data.levels import Levels
from supernet.data.pictures import readable
from supernet.data.resize import fit_picture, to_grey
from supernet.engine.device import device_named
from supernet.engine.run import Run
from supernet.engine.seeds import random_state_kept
from supernet.errors import UserError, unknown
from supernet.models.network import Network
from supernet.retraining.config import RetrainRecord, recorded
from supernet.spaces import NetworkSize, SearchSpace, recorded_space
from supernet.spaces import space as space_named
from supernet.spaces.genotype import Genotype

Checkpoint = Literal["last", "best"]
Picture = str | os.PathLike[str] | Image.Image | Tensor | NDArray[Any]

_CHECKPOINTS = ("last", "best")
_BATCH = 256  # images per forward pass
_RGB = 3  # channels


@dataclass(frozen=True)
class Prediction:
    """The most probable class of an image, its probability, and the probabilities of all classes."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor(nn.Module):
    """A network with its normalisation: pixels (B, C, H, W) uint8 -> logits (B, classes).

    - `network`: the plain network; `classes`: the names of its classes.
    - `mean`, `std`: those of x/255 per channel over the training images, (C, 1, 1).
    - `levels`: the values that became 0 and 255, if the training images had more than 8 bits.
    - `image_size`: height and width that pictures are brought to. Where the recipe takes crops it is larger than
      `size`, and the middle of a picture is looked at; None is not known, of runs before it was recorded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        image_size: tuple[int, int] | None,
        levels: Levels | None = None,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.image_size = network, tuple(classes), image_size
        self.levels = levels
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    @property
    def genotype(self) -> Genotype:
        """The architecture of the network."""
        return self.network.genotype

    @property
    def space(self) -> SearchSpace:
        """The search space of the architecture."""
        return self.network.space

    @property
    def network_size(self) -> NetworkSize:
        """The width, depth and image size of the network."""
        return self.network.network_size

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that `forward` takes."""
        return self.network_size.image_size

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, C, H, W) uint8."""
        out: Tensor = self.network((x.float() / 255 - self.mean) / self.std)
        return out

    def predict(self, images: Iterable[Picture]) -> list[Prediction]:
        """Return the prediction for each image.

        Paths and pillow's images are brought to the size of the training images as those of a folder were, and to
        their channels, grey or RGB. Arrays and tensors, (H, W), (H, W, C) or (C, H, W), have both already, but for one
        channel in the place of three equal ones: uint8, or floats in [0, 1]. Raises UserError for the
        first image that cannot be taken, before any is looked at.
        """
        _check_several(images)
        parts = [self._pixels(image, number) for number, image in enumerate(images)]
        return self._predictions(torch.cat(parts)) if parts else []

    def each(self, images: Iterable[Picture]) -> Iterator[Prediction | UserError]:
        """Yield the prediction for each image in turn, or the UserError that says why it cannot be taken.

        Images are as for `predict`; only some of them are held in memory at a time.
        """
        _check_several(images)
        numbered = enumerate(images)
        while group := list(islice(numbered, _BATCH)):
            read = [self._tried(image, number) for number, image in group]
            parts = [x for x in read if isinstance(x, Tensor)]
            found = iter(self._predictions(torch.cat(parts)) if parts else ())
            yield from (next(found) if isinstance(x, Tensor) else x for x in read)

    def _tried(self, image: Picture, number: int) -> Tensor | UserError:
        try:
            return self._pixels(image, number)
        except UserError as error:
            return error

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities (B, classes), on the CPU, of images (B, C, H, W) uint8 of any number."""
        batches = torch.split(x, _BATCH)
        return torch.cat([self(batch.to(self.mean.device)).softmax(dim=1).cpu() for batch in batches])

    def _predictions(self, x: Tensor) -> list[Prediction]:
        return [self._prediction(row) for row in self.probabilities(x).tolist()]

    def _prediction(self, row: list[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(self.classes[best], row[best], dict(zip(self.classes, row, strict=True)))

    def _pixels(self, image: Picture, number: int) -> Tensor:
        """Return an image as (1, C, H, W) uint8 of the size that `forward` takes."""
        what = f"image {number}"
        if isinstance(image, str | os.PathLike):
            what, x = (
                f"image '{image}'",
                read_picture(image, self.network_size.channels, *(self.image_size or self.size), self.levels),
            )
        elif isinstance(image, Image.Image):
            x = self._from_pillow(image, what)
        elif isinstance(image, Tensor | np.ndarray):
            array = plain_tensor(image) if isinstance(image, Tensor) else image
            x = pixels(array, what, one=True, levels=self.levels)
        else:
            raise UserError(f"{what} is of type {type(image).__name__}; expected a path, a pillow image or an array")
        return self.fitted(x, what)

    def _from_pillow(self, picture: Image.Image, what: str) -> Tensor:
        with readable(what):
            x = fit_picture(picture, self.image_size or self.size, self.levels)
        return to_grey(x) if self.network_size.channels == 1 else x

    def fitted(self, x: Tensor, what: str) -> Tensor:
        """Return the middle of images (N, C, H, W), as large as `forward` takes them, and one channel as three.

        Raises UserError, which calls them `what`, if they have other channels or another size than training images.
        """
        if x.shape[1] == 1 and self.network_size.channels == _RGB:
            x = x.expand(-1, _RGB, -1, -1)
        _, channels, height, width = x.shape
        enough = self.size[0] <= height and self.size[1] <= width
        fits = (height, width) in (self.size, self.image_size) or (self.image_size is None and enough)
        if channels != self.network_size.channels or not fits:
            known = "x".join(map(str, (self.network_size.channels, *(self.image_size or self.size))))
            raise UserError(
                f"{what} is {channels}x{height}x{width} (channels, height, width); the network was trained on {known}"
            )
        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        return x[:, :, top : top + self.size[0], left : left + self.size[1]]


def _check_several(images: object) -> None:
    if isinstance(images, str | os.PathLike | Image.Image) or not isinstance(images, Iterable):
        raise UserError("predict takes several images: give a single one as a list of one")


def load(
    run: Run | str | os.PathLike[str],
    *,
    weights: Checkpoint = "last",
    space: str | SearchSpace | None = None,
    device: str = "cpu",
) -> Predictor:
    """Return the network of a finished retraining, ready to predict.

    - `run`: the retraining or its folder, or a search whose folder holds exactly one.
    - `weights`: those after the "last" epoch, or after the "best" one.
    - `space`: the architecture's, if it is one of your own.
    - `device`: "auto", "cpu", "cuda", ...

    Raises UserError if there is no such retraining, or if its network does not fit what it has learned.
    """
    found = retraining(run)
    config = recorded(found)
    home, state = _space(found, space), _state(found, weights)
    network_size = NetworkSize.from_json(config["network_size"])
    with random_state_kept():  # a new network draws weights
        network = Network(home, home.check(Genotype.from_json(config["genotype"])), network_size)
    _restore(network, found, state)
    size, levels = (
        _image_size(config, network_size),
        (config["levels"][0], config["levels"][1]) if config["levels"] else None,
    )
    predictor = Predictor(network, config["classes"], config["mean"], config["std"], size, levels)
    return predictor.eval().to(device_named(device))


def retraining(run: Run | str | os.PathLike[str]) -> Run:
    """Return the run itself if it is a retraining, or the one retraining in its folder. Raises UserError."""
    found = Run.of(run)
    if found.task is None:
        raise found.is_none(right="give that of a retraining, or of the search it is of")
    if found.task == "retrain":
        return found
    runs = [inner for inner in found.inside if inner.task == "retrain"]
    if not runs:
        raise UserError(f"run '{found.path}' has no retrained network: supernet retrain {found.path}")
    if len(runs) > 1:
        several = ", ".join(str(inner.path) for inner in runs)
        raise UserError(f"run '{found.path}' holds several retrainings: give one of {several}")
    return runs[0]


def _image_size(config: RetrainRecord, network_size: NetworkSize) -> tuple[int, int] | None:
    """Return the height and width of the training images, of which a recipe may take crops."""
    if not config["crop"]:
        return network_size.image_size
    side = config["image_size"]
    height, width = config.get("image_sides", (side, side))
    return None if height is None or width is None else (height, width)


def _space(run: Run, given: str | SearchSpace | None) -> SearchSpace:
    return space_named(given) if given else recorded_space(run.config.get("space"))


def _state(run: Run, weights: str) -> Mapping[str, Any]:
    if weights not in _CHECKPOINTS:
        raise unknown("weights", weights, _CHECKPOINTS)
    run.check_finished()
    if weights == "best":
        return run.load_best()

    def refuse(message: str) -> None:  # the checkpoint before it is of another epoch than the summary
        raise UserError(
            f"checkpoint '{run.path / 'checkpoints' / 'last.pt'}' is damaged: take the best weights instead"
        )

    state = run.load_checkpoint(refuse)
    if state is None:
        raise UserError(f"run '{run.path}' has no checkpoint: retrain again, with --force")
    return state


def _restore(network: Network, run: Run, state: Mapping[str, Any]) -> None:
    """Load the learned weights into the network, but for those of the auxiliary head, which only training needs."""
    with run.restoring():
        learned = cast(Mapping[str, Tensor], state["task"]["network"])
        network.load_state_dict({name: value for name, value in learned.items() if not name.startswith("auxiliary.")})
