"""Batches of an image set: an endless augmented stream for training, and an ordered pass for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from supernet.data.augment import Augment, Normalise, check_crop, crop_and_mirror, cut_out
from supernet.data.colour import jitter
from supernet.data.images import Images
from supernet.data.mixing import mixed
from supernet.data.streamed import Pixels, Streamed
from supernet.data.trivial import trivial
from supernet.errors import UserError


class Batch(NamedTuple):
    """Images ready for a network."""

    x: Tensor  # (B, C, H, W) float32, normalised, channels_last
    y: Tensor  # (B,) int64; of mixed images the shares of their classes, (B, classes) float32
    index: Tensor  # type: ignore[assignment]  # (B,) int64, positions in the image set; hides tuple.index


class Batches:
    """An endless shuffled stream of augmented batches of the images at the indices `subset`; it can be resumed.

    A pass has every image at most once, in a new order, and drops the incomplete last batch. If it is `balanced`, each
    of its images is drawn by itself, from every class with the same probability. A batch size above the size of the
    subset is reduced to it. Streams of one image set share its tensors. Raises UserError for an empty subset, a batch
    size below 1, and images smaller than the crop.
    """

    size: int  # images per batch
    steps: int  # batches per pass
    _ahead: Iterator[Tensor] | None = None  # of a stream: the batches of this pass, some of which are decoded ahead
    cutout_probability: float = 1.0  # of an image, if the augmentation has cutout; can be changed between two batches

    def __init__(
        self,
        images: Images,
        subset: Tensor,
        batch_size: int,
        augment: Augment,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        balanced: bool = False,
    ) -> None:
        _check_batch_size(batch_size)
        if len(subset) == 0:
            raise UserError(f"no images of '{images.name}' to make batches of")
        check_crop(images.x, augment.crop, images.name)
        self._images, self._augment, self._subset = images.to(device), augment, subset.cpu()
        self._x, self._balanced = self._images.x, balanced
        self._pixels = None if isinstance(self._x, Streamed) else _rows(self._x)
        self._normalise = Normalise(images.mean, images.std, augment.crop or images.x.shape[3], device)
        self.size = min(batch_size, len(subset))
        self.steps = len(subset) // self.size
        self._shuffle = torch.Generator().manual_seed(seed)
        draws_seed = int(torch.randint(2**62, (), generator=self._shuffle))  # independent of the shuffle's numbers
        self._draws = torch.Generator(device).manual_seed(draws_seed)
        self._begin_pass()

    def next(self) -> Batch:
        """Return the next batch; after the last batch of a pass, a new pass begins."""
        if self._position == self.steps:
            self._begin_pass()
        start = self._position * self.size
        index = self._order[start : start + self.size]
        self._position += 1
        pixels = crop_and_mirror(self._read(index), self._augment, self._draws)
        if self._augment.trivial:
            pixels = trivial(pixels, self._draws, mirrored=self._augment.mirror)
        if self._augment.jitter:
            pixels = jitter(pixels, self._draws)
        x = cut_out(self._normalise(pixels), self._augment.cutout, self._draws, self.cutout_probability)
        y = self._images.y[index]
        if self._mixes:
            draws = np.random.default_rng((self._mixing, self._position))  # beta has no generator in PyTorch
            x, y = mixed(x, y, len(self._images.classes), self._augment.mixup, self._augment.cutmix, draws)
        return Batch(x.permute(0, 3, 1, 2), y, index)

    @property
    def _mixes(self) -> bool:
        return self._augment.mixup > 0 or self._augment.cutmix > 0

    def _read(self, index: Tensor) -> Tensor:
        """Return the pixels (B, H, W, C) of the next batch."""
        if self._pixels is not None:
            return self._pixels[index]
        if self._ahead is None:
            assert isinstance(self._x, Streamed)
            end, start = self.size * self.steps, self.size * (self._position - 1)
            self._ahead = self._x.batches(self._order[start:end], self.size)
        pixels = next(self._ahead)
        if self._position == self.steps:
            self._ahead = None  # leaves the processes to the next pass
        return pixels

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream as tensors and ints, for `torch.save`."""
        return {
            "shuffle": self._pass_start.clone(),
            "draws": self._draws.get_state(),
            "position": self._position,
            "stream": self._stream(),
        }

    def load_state_dict(self, state: dict[str, Any], *, anywhere: bool = False) -> None:
        """Continue from `state`, bit for bit; raises UserError for the state of a different stream.

        With `anywhere`, also from that of a stream on another type of device: in the same order, with other draws.
        """
        as_there, here = state["stream"] == self._stream(), self._stream()
        if not as_there and not (anywhere and state["stream"][:2] == here[:2]):
            ours, theirs = (f"{n} images by {b} on {d}" for n, b, d in (here, state["stream"]))
            raise UserError(f"cannot continue a stream of {theirs} as one of {ours}")
        self._shuffle.set_state(state["shuffle"].cpu())
        if as_there:
            self._draws.set_state(state["draws"].cpu())
        self._begin_pass()
        self._position = int(state["position"])

    def _stream(self) -> list[Any]:
        return [len(self._subset), self.size, self._draws.device.type]

    def _begin_pass(self) -> None:
        self._pass_start = self._shuffle.get_state()  # enough to draw the order of this pass again
        self._order = self._subset[self._places()].to(self._images.x.device)
        if self._mixes:
            self._mixing = int(torch.randint(2**62, (), generator=self._shuffle))
        self._position = 0
        self._ahead = None

    def _places(self) -> Tensor:
        """Draw the order of a pass, places in the subset."""
        if not self._balanced:
            return torch.randperm(len(self._subset), generator=self._shuffle)
        y = self._images.y[self._subset].cpu()
        each = 1 / torch.bincount(y).double()[y]
        return torch.multinomial(each, len(y), replacement=True, generator=self._shuffle)


def ordered(
    images: Images, subset: Tensor | None, batch_size: int, *, test: bool = False, crop: int | None = None
) -> Iterator[Batch]:
    """Yield the images at the indices `subset` (None: all) once, in order, normalised and not augmented.

    The images are training images, or with `test` the test images, normalised by the training images in both cases.
    With `crop` only the centre square of this side in pixels is kept. Raises UserError, before the first batch, for
    missing test images, a batch size below 1, and images smaller than the crop.
    """
    _check_batch_size(batch_size)
    x, y = (images.x_test, images.y_test) if test else (images.x, images.y)
    if x is None or y is None:
        raise UserError(f"'{images.name}' has no test images")
    check_crop(x, crop, images.name)
    indices = torch.arange(len(x)) if subset is None else subset
    normalise = Normalise(images.mean, images.std, crop or x.shape[3], x.device)
    parts = torch.split(indices.to(x.device), batch_size)
    read = zip(parts, in_order(x, indices, batch_size, crop), strict=True)
    return (Batch(normalise(pixels).permute(0, 3, 1, 2), y[index], index) for index, pixels in read)


def in_order(x: Pixels, indices: Tensor, size: int, crop: int | None = None) -> Iterator[Tensor]:
    """Yield the images (B, H, W, C) uint8 at some indices, `size` at a time; with `crop` only their centre squares."""
    if isinstance(x, Streamed):
        found = x.batches(indices, size)
        return found if crop is None else (_centre(pixels, crop) for pixels in found)
    rows = _rows(x) if crop is None else _centre(_rows(x), crop)
    return (rows[index] for index in torch.split(indices.to(x.device), size))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"a batch has at least 1 image, not {batch_size}")


def _centre(pixels: Tensor, side: int) -> Tensor:
    """Return a view of the centre square of images (N, H, W, C)."""
    top, left = (pixels.shape[1] - side) // 2, (pixels.shape[2] - side) // 2
    return pixels[:, top : top + side, left : left + side]


def _rows(x: Tensor) -> Tensor:
    """Return channels_last images (N, C, H, W) as (N, H, W, C), in the same memory."""
    return x.permute(0, 2, 3, 1).contiguous()
