"""The predictor: a retrained network with its preprocessing, from pixel values to classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from supernet.data import read_picture
from supernet.data.arrays import pixels, plain_array
from supernet.data.levels import Levels
from supernet.data.pictures import readable
from supernet.data.resize import fit_picture, to_grey
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.genotype import Genotype

Picture = str | os.PathLike[str] | Image.Image | Tensor | NDArray[Any]

BATCH = 256  # images per forward pass
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
        """Return the logits (B, classes) of images (B, C, H, W) uint8; raises UserError for floats."""
        if x.is_floating_point():  # from 0 to 1 they would be divided twice
            raise UserError("a predictor takes pixels as uint8: `predict` also takes floats in [0, 1]")
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
        while group := list(islice(numbered, BATCH)):
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
        batches = torch.split(x, BATCH)
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
            what = f"image '{image}'"
            x = read_picture(image, self.network_size.channels, *(self.image_size or self.size), self.levels)
        elif isinstance(image, Image.Image):
            x = self._from_pillow(image, what)
        elif isinstance(image, Tensor | np.ndarray):
            x = pixels(plain_array(image, what), what, one=True, levels=self.levels)
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
