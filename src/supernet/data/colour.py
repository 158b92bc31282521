"""Colour jitter, as in ImageNet recipes: random brightness, contrast, saturation and hue for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from supernet.data.augment import uniform

STRENGTH = 0.4  # factors of brightness, contrast and saturation are 0.6 to 1.4
HUE = 0.2  # of a full turn, in both directions
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def jitter(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """Return images (B, H, W, C), values 0..255, as float32 with randomly changed colours.

    Same as torchvision's ColorJitter(.4, .4, .4, .2), except that values are not rounded between the changes, and that
    the order of the changes is always that of `recolour`, where torchvision draws an order for each image.
    """
    bounds = [(1 - STRENGTH, 1 + STRENGTH)] * 3 + [(-HUE, HUE)]
    factors = (uniform(low, high, len(pixels), draws)[:, :, None, None] for low, high in bounds)
    return recolour(pixels.float(), *factors)


def recolour(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor | None = None) -> Tensor:
    """Return images (B, H, W, C), float values 0..255, with changed colours; the factors have shape (B, 1, 1, 1).

    In this order: `brightness` multiplies values, `contrast` multiplies their distance from the image's mean grey, and
    `saturation` their distance from the grey of the same pixel, each followed by clipping to 0..255; `turn` shifts the
    hue, in full turns. Images without 3 channels have only brightness and contrast. All four changes are homogeneous:
    their effect on values 0..255 is the same as on 0..1.
    """
    x = (x * brightness).clamp(0, 255)
    x = torch.lerp(_grey(x).mean(dim=(1, 2, 3), keepdim=True), x, contrast).clamp(0, 255)
    if x.shape[3] != 3:
        return x
    x = torch.lerp(_grey(x), x, saturation).clamp(0, 255)
    return x if turn is None else _turn_hue(x, turn)


def _grey(x: Tensor) -> Tensor:
    """Return the grey value of each pixel, (B, H, W, 1): luma of 3 channels, the mean of any other number."""
    if x.shape[3] != 3:
        return x.mean(dim=3, keepdim=True)
    red, green, blue = torch.split(x, 1, dim=3)
    luma: Tensor = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return luma


def _turn_hue(x: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue of RGB images by way of HSV, with the hue in sixths of a turn; grey stays exactly grey."""
    red, green, blue = torch.split(x, 1, dim=3)
    value = x.amax(dim=3, keepdim=True)
    chroma = value - x.amin(dim=3, keepdim=True)
    divisor = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    hue = torch.where(value == red, (green - blue) / divisor, hue) + 6 * turn
    distance = (torch.arange(5, 0, -2, device=x.device) + hue) % 6  # from red, green and blue; 1..3 is far
    return value - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1)
