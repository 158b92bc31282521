"""What is done to the pixels of a batch: crop, mirror, normalisation, cutout, each image at its own place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.errors import UserError

_LEAST_AREA = 0.08  # of the image, for a resized crop; the most is all of it
_LARGEST_RATIO = 4 / 3  # of its width to its height; the least is the inverse


@dataclass(frozen=True)
class Augment:
    """What is done at random to each training image: crop, mirror, jitter and cutout, in that order.

    `pad`: zeros (black) put around the image, in pixels, before a crop of its own size; `mirror`: flip left and right
    with probability one half; `cutout`: side in pixels of a square set to the mean, centred anywhere in the image and
    clipped at its border (DeVries & Taylor, 2017). And from ImageNet recipes, `crop`: instead of `pad`, a box of 8 to
    100 % of the image's area and of 3:4 to 4:3 is brought to this side in pixels, see `moved`; `jitter`: other
    brightness, contrast, saturation and hue, see `supernet.data.colour.jittered`.
    """

    pad: int = 0
    mirror: bool = False
    cutout: int = 0
    crop: int | None = None
    jitter: bool = False

    def __post_init__(self) -> None:
        if self.pad < 0 or self.cutout < 0:
            raise UserError(f"pad and cutout are pixels, 0 or more, not {self.pad} and {self.cutout}")
        if self.crop is not None and self.pad:
            raise UserError(f"crop and pad are two ways to crop: give one, not crop {self.crop} and pad {self.pad}")


def check_crop(x: Tensor, crop: int | None, name: str) -> None:
    """Raise UserError if `crop` is no side of a square within images (N, C, H, W) of the set called `name`."""
    height, width = x.shape[2:]
    if crop is not None and crop < 1:
        raise UserError(f"crop is a side in pixels, 1 or more, not {crop}")
    if crop is not None and crop > min(height, width):
        raise UserError(
            f"images of '{name}' are too small for a crop of {crop}x{crop}: they have {height}x{width} pixels"
        )


class Normalise:
    """(x/255 - mean)/std as one multiplication and one addition per value.

    `mean` and `std` are those of `Images`, one per channel; `width` is that of the images to come, in pixels.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], width: int, device: torch.device | str = "cpu"
    ) -> None:
        centre, spread = (torch.tensor(v, dtype=torch.float64) for v in (mean, std))
        # Repeated for a whole row of pixels: an inner loop over 3 channels is 6 times slower
        self._scale = (1 / (255 * spread)).repeat(width).float().to(device)
        self._shift = (-centre / spread).repeat(width).float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return images (B, H, W, C), values 0..255 in uint8 or float32, as float32."""
        rows = pixels.flatten(2)  # (B, H, W * C)
        return rows.to(torch.float32, copy=True).mul_(self._scale).add_(self._shift).view(pixels.shape)


def moved(pixels: Tensor, augment: Augment, draws: torch.Generator) -> Tensor:
    """Crop and mirror each of the images (B, H, W, C) uint8 at its own place.

    With `augment.crop` they come back as float32 and of that size, see `_resized_crop`; else as they were, in uint8 and
    of their own size, all by one gather of pixels.
    """
    if augment.crop is not None:
        return _resized_crop(pixels, augment.crop, augment.mirror, draws)
    if not (augment.pad or augment.mirror):
        return pixels
    count, height, width, channels = pixels.shape
    span = 2 * augment.pad + 1
    row = torch.arange(height, device=pixels.device) + _below(span, count, draws)
    column = torch.arange(width, device=pixels.device).expand(count, width)
    if augment.mirror:
        column = torch.where(_below(2, count, draws) == 1, column.flip(1), column)
    column = column + _below(span, count, draws)
    padded = F.pad(pixels, (0, 0, augment.pad, augment.pad, augment.pad, augment.pad))
    row = row + padded.shape[1] * torch.arange(count, device=pixels.device)[:, None]
    place = row[:, :, None] * padded.shape[2] + column[:, None, :]  # (B, H, W) into all pixels of the batch
    return padded.view(-1, channels).index_select(0, place.flatten()).view(pixels.shape)


def _resized_crop(pixels: Tensor, crop: int, mirror: bool, draws: torch.Generator) -> Tensor:
    """Bring a box of each image to `crop` x `crop` pixels by bilinear interpolation, without antialiasing.

    A box has an area of 8 to 100 % of the image's, uniform, and a ratio of width to height of 3/4 to 4/3, uniform in
    its logarithm, as in torchvision's RandomResizedCrop; sides and place need not be whole pixels, and the place is
    uniform in the image. A side that is longer than the image's is cut to it, where torchvision draws the box again,
    ten times at most.
    """
    count, height, width, _ = pixels.shape
    bound = math.log(_LARGEST_RATIO)
    area = height * width * _between(_LEAST_AREA, 1, count, draws)
    ratio = _between(-bound, bound, count, draws).exp()
    row = _points((area / ratio).sqrt(), height, crop, draws)
    column = _points((area * ratio).sqrt(), width, crop, draws)
    if mirror:
        column = torch.where(_below(2, count, draws) == 1, column.flip(1), column)
    shape = (count, crop, crop)
    points = torch.stack([column[:, None, :].expand(shape), row[:, :, None].expand(shape)], dim=3)
    x = pixels.permute(0, 3, 1, 2).float()
    return F.grid_sample(x, points, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _points(side: Tensor, length: int, crop: int, draws: torch.Generator) -> Tensor:
    """Return the middles of `crop` equal parts of an interval somewhere in an image's `length`, as (B, crop).

    `side` (B, 1): how long each interval is, in pixels. As `grid_sample` has it, the image is from -1 to 1.
    """
    side = side.clamp(max=length)
    start = (length - side) * _between(0, 1, len(side), draws)
    middles = (torch.arange(crop, device=side.device) + 0.5) / crop
    return (start + side * middles) * (2 / length) - 1


def cut(x: Tensor, side: int, draws: torch.Generator) -> Tensor:
    """Set a square of each normalised image (B, H, W, C) to 0, in place."""
    if not side:
        return x
    count, height, width, _ = x.shape
    inside = []
    for length in (height, width):
        start = _below(length, count, draws) - side // 2
        place = torch.arange(length, device=x.device)
        inside.append((place >= start) & (place < start + side))
    kept = ~(inside[0][:, :, None] & inside[1][:, None, :])
    return x.mul_(kept[..., None].float())


def _below(bound: int, count: int, draws: torch.Generator) -> Tensor:
    """Draw `count` numbers 0..bound-1, as a column (count, 1)."""
    return torch.randint(bound, (count, 1), generator=draws, device=draws.device)


def _between(low: float, high: float, count: int, draws: torch.Generator) -> Tensor:
    """Draw `count` numbers from an interval, uniform, as a column (count, 1)."""
    return torch.empty(count, 1, device=draws.device).uniform_(low, high, generator=draws)


def check_pixels(side: int, **lengths: int | None) -> None:
    """Raise UserError for the first of the lengths that images of `side` pixels do not have; None is none."""
    for name, pixels in lengths.items():
        if pixels is not None and pixels >= side:
            raise UserError(f"setting {name} must be less than the {side} pixels of an image's side, not {pixels}")
