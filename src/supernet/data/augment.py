"""What is done to the pixels of a batch: crop, mirror, normalisation, cutout, each image at its own place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data.images import Images
from supernet.errors import UserError


@dataclass(frozen=True)
class Augment:
    """What is done at random to each training image: crop, mirror and cutout, in that order.

    `pad`: zeros (black) put around the image, in pixels, before a crop of its own size; `mirror`: flip left and right
    with probability one half; `cutout`: side in pixels of a square set to the mean, centred anywhere in the image and
    clipped at its border (DeVries & Taylor, 2017).
    """

    pad: int = 0
    mirror: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.pad < 0 or self.cutout < 0:
            raise UserError(f"pad and cutout are pixels, 0 or more, not {self.pad} and {self.cutout}")


class Normalise:
    """(x/255 - mean)/std as one multiplication and one addition per value."""

    def __init__(self, images: Images) -> None:
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (images.mean, images.std))
        width, device = images.x.shape[3], images.x.device
        # Repeated for a whole row of pixels: an inner loop over 3 channels is 6 times slower
        self._scale = (1 / (255 * std)).repeat(width).float().to(device)
        self._shift = (-mean / std).repeat(width).float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return images (B, H, W, C) uint8 as float32."""
        rows = pixels.flatten(2)  # (B, H, W * C)
        return rows.float().mul_(self._scale).add_(self._shift).view(pixels.shape)


def moved(pixels: Tensor, augment: Augment, draws: torch.Generator) -> Tensor:
    """Crop and mirror each of the images (B, H, W, C) at its own place, all by one gather of pixels."""
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
