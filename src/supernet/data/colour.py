"""Colour jitter, as ImageNet recipes have it: brightness, contrast, saturation and hue of each image, at random."""

from __future__ import annotations

import torch
from torch import Tensor

STRENGTH = 0.4  # brightness, contrast and saturation by a factor of 0.6 to 1.4
HUE = 0.2  # of a whole turn, either way
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def jittered(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """Change the colours of each of the images (B, H, W, C), values 0..255, on its own; return them as float32.

    What is done is that of torchvision's ColorJitter(.4, .4, .4, .2), without rounding to whole grey levels between,
    and always in the order of `recoloured`, where torchvision draws an order for each image.
    """
    brightness, contrast, saturation = (_around(1, STRENGTH, len(pixels), draws) for _ in range(3))
    return recoloured(pixels.float(), brightness, contrast, saturation, _around(0, HUE, len(pixels), draws))


def recoloured(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
    """Return images (B, H, W, C), float values 0..255, with other colours; all that changes them is (B, 1, 1, 1).

    In this order: `brightness` multiplies values, `contrast` multiplies their distance from the image's mean grey,
    `saturation` their distance from the pixel's own grey, each clipped to 0..255 again; `turn` moves the hue, in parts
    of a whole turn. Images that have not 3 channels have no colours: only the first two change them. Each of the four
    is homogeneous, so on values 0..255 they do what they do on 0..1.
    """
    x = (x * brightness).clamp(0, 255)
    x = torch.lerp(_grey(x).mean(dim=(1, 2, 3), keepdim=True), x, contrast).clamp(0, 255)
    if x.shape[3] != 3:
        return x
    x = torch.lerp(_grey(x), x, saturation).clamp(0, 255)
    return _turned(x, turn)


def _grey(x: Tensor) -> Tensor:
    """Return the grey of each pixel, (B, H, W, 1): luma, or the mean where there are not 3 channels."""
    if x.shape[3] != 3:
        return x.mean(dim=3, keepdim=True)
    red, green, blue = torch.split(x, 1, dim=3)
    luma: Tensor = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return luma


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Move the hue of RGB images, the way there and back through HSV in sixths of a turn; grey stays exactly grey."""
    red, green, blue = torch.split(x, 1, dim=3)
    value = x.amax(dim=3, keepdim=True)
    chroma = value - x.amin(dim=3, keepdim=True)
    some = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(value == green, (blue - red) / some + 2, (red - green) / some + 4)
    hue = torch.where(value == red, (green - blue) / some, hue) + 6 * turn
    towards = (torch.arange(5, 0, -2, device=x.device) + hue) % 6  # of red, green and blue: 1..3 is far away
    return value - chroma * torch.minimum(towards, 4 - towards).clamp(0, 1)


def _around(middle: float, reach: float, count: int, draws: torch.Generator) -> Tensor:
    """Draw `count` numbers up to `reach` from `middle`, uniform, as (count, 1, 1, 1)."""
    numbers = torch.empty(count, 1, 1, 1, device=draws.device)
    return numbers.uniform_(middle - reach, middle + reach, generator=draws)
