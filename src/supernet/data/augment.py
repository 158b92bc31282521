"""Augmentation and normalisation of a batch: crop, mirror and cutout, drawn for each image separately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data.streamed import Pixels
from supernet.errors import UserError

_LEAST_AREA = 0.08  # share of the image in a resized crop; the largest share is 1
_LARGEST_RATIO = 4 / 3  # width to height of a resized crop; the smallest ratio is the inverse


@dataclass(frozen=True)
class Augment:
    """The random augmentation of training images: crop, mirror, trivial, jitter, cutout and mixing, in this order.

    `pad`: pixels of black around the image before a crop of its own size; `mirror`: flip left and right with
    probability one half; `cutout`: side in pixels of a square set to the mean, centred anywhere in the image and
    clipped at its border (DeVries & Taylor, 2017); `crop`, instead of `pad`: side in pixels of a resized random box, as
    in ImageNet recipes (see `_resized_crop`); `trivial`: TrivialAugment (see `supernet.data.trivial`); `jitter`: random
    colours (see `supernet.data.colour.jitter`); `mixup` and `cutmix`: see `supernet.data.mixing.mixed`.
    """

    pad: int = 0
    mirror: bool = False
    cutout: int = 0
    crop: int | None = None
    jitter: bool = False
    trivial: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        if self.pad < 0 or self.cutout < 0:
            raise UserError(f"pad and cutout are pixels, 0 or more, not {self.pad} and {self.cutout}")
        if self.crop is not None and self.pad:
            raise UserError(f"crop and pad are two ways to crop: give one, not crop {self.crop} and pad {self.pad}")


def check_crop(x: Pixels, crop: int | None, name: str) -> None:
    """Raise UserError if the images (N, C, H, W) of the set `name` have no square of `crop` pixels a side."""
    if crop is not None and crop < 1:
        raise UserError(f"crop is a side in pixels, 1 or more, not {crop}")
    if crop is not None and crop > min(x.shape[2:]):
        pixels = "they have {}x{} pixels".format(*x.shape[2:])
        raise UserError(f"images of '{name}' are too small for a crop of {crop}x{crop}: {pixels}")


class Normalise:
    """Compute (x/255 - mean)/std with one multiplication and one addition per value.

    `mean` and `std` are those of `Images`, one per channel; `width` is the width of the images in pixels.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], width: int, device: torch.device | str = "cpu"
    ) -> None:
        centre, spread = (torch.tensor(v, dtype=torch.float64) for v in (mean, std))
        # Repeated for a whole row of pixels: an inner loop over 3 channels would be 6 times slower
        self._scale = (1 / (255 * spread)).repeat(width).float().to(device)
        self._shift = (-centre / spread).repeat(width).float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return images (B, H, W, C) with values 0..255, uint8 or float32, normalised as float32."""
        rows = pixels.flatten(2)  # (B, H, W * C)
        return rows.to(torch.float32, copy=True).mul_(self._scale).add_(self._shift).view(pixels.shape)


def crop_and_mirror(pixels: Tensor, augment: Augment, draws: torch.Generator) -> Tensor:
    """Return images (B, H, W, C) uint8 cropped and mirrored: float32 with `augment.crop`, otherwise of equal size."""
    if augment.crop is not None:
        return _resized_crop(pixels, augment.crop, augment.mirror, draws)
    if not (augment.pad or augment.mirror):
        return pixels
    count, height, width, channels = pixels.shape
    span = 2 * augment.pad + 1
    row = torch.arange(height, device=pixels.device) + integers(span, count, draws)
    column = torch.arange(width, device=pixels.device).expand(count, width)
    if augment.mirror:
        column = torch.where(integers(2, count, draws) == 1, column.flip(1), column)
    column = column + integers(span, count, draws)
    padded = F.pad(pixels, (0, 0, augment.pad, augment.pad, augment.pad, augment.pad))
    row = row + padded.shape[1] * torch.arange(count, device=pixels.device)[:, None]
    index = row[:, :, None] * padded.shape[2] + column[:, None, :]  # (B, H, W), into all pixels of the batch
    return padded.view(-1, channels).index_select(0, index.flatten()).view(pixels.shape)


def _resized_crop(pixels: Tensor, crop: int, mirror: bool, draws: torch.Generator) -> Tensor:
    """Resize a box of each image to `crop` x `crop` pixels by bilinear interpolation without antialiasing.

    As in torchvision's RandomResizedCrop, the area of the box is uniform in 8 to 100 % of the image's, its ratio of
    width to height is log-uniform in 3/4 to 4/3, and its position is uniform in the image. Two differences: sides and
    position need not be whole pixels, and a side longer than the image's is cut to it, where torchvision draws the box
    again, up to ten times.
    """
    count, height, width, _ = pixels.shape
    bound = math.log(_LARGEST_RATIO)
    area = height * width * uniform(_LEAST_AREA, 1, count, draws)
    ratio = uniform(-bound, bound, count, draws).exp()
    row = _points((area / ratio).sqrt(), height, crop, draws)
    column = _points((area * ratio).sqrt(), width, crop, draws)
    if mirror:
        column = torch.where(integers(2, count, draws) == 1, column.flip(1), column)
    shape = (count, crop, crop)
    points = torch.stack([column[:, None, :].expand(shape), row[:, :, None].expand(shape)], dim=3)
    x = pixels.permute(0, 3, 1, 2).float()
    return F.grid_sample(x, points, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _points(side: Tensor, length: int, crop: int, draws: torch.Generator) -> Tensor:
    """Return the centres (B, crop) of `crop` equal parts of a random interval in each image, for `grid_sample`.

    `side` (B, 1) and `length` are the lengths of the intervals and the image in pixels; the image spans -1 to 1.
    """
    side = side.clamp(max=length)
    start = (length - side) * uniform(0, 1, len(side), draws)
    centres = (torch.arange(crop, device=side.device) + 0.5) / crop
    return (start + side * centres) * (2 / length) - 1


def cut_out(x: Tensor, side: int, draws: torch.Generator, probability: float = 1.0) -> Tensor:
    """Set a random square of each normalised image (B, H, W, C), or only with some probability, to 0, in place."""
    if not side:
        return x
    count, height, width, _ = x.shape
    inside = []
    for length in (height, width):
        start = integers(length, count, draws) - side // 2
        position = torch.arange(length, device=x.device)
        inside.append((position >= start) & (position < start + side))
    if probability < 1:
        inside[0] &= uniform(0, 1, count, draws) < probability
    kept = ~(inside[0][:, :, None] & inside[1][:, None, :])
    return x.mul_(kept[..., None].float())


def integers(bound: int, count: int, draws: torch.Generator) -> Tensor:
    """Draw `count` whole numbers 0..bound-1, shape (count, 1)."""
    return torch.randint(bound, (count, 1), generator=draws, device=draws.device)


def uniform(low: float, high: float, count: int, draws: torch.Generator) -> Tensor:
    """Draw `count` numbers uniformly from `low` to `high`, shape (count, 1)."""
    return torch.empty(count, 1, device=draws.device).uniform_(low, high, generator=draws)


def check_pixels(side: int, **lengths: int | None) -> None:
    """Raise UserError for the first length, in pixels, that is not below an image's `side`; None is skipped."""
    for name, pixels in lengths.items():
        if pixels is not None and pixels >= side:
            raise UserError(f"setting {name} must be less than the {side} pixels of an image's side, not {pixels}")
