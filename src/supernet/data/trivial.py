"""TrivialAugment: each image is changed by one operation drawn for it, with a strength drawn for it.

Müller & Hutter, ICCV 2021, arXiv 2103.10158. The operations and ranges are the paper's: those called Wide, or those
called RA, which are RandAugment's. Three deliberate differences: the images of a batch that drew operations of one kind
are changed together; values are rounded, not cut to whole numbers; and a translation of RA is a share of the side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data.augment import integers
from supernet.data.colour import recolour

GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOUR = ("brightness", "contrast", "color")
OPERATIONS = ("identity", *GEOMETRY, *COLOUR, "sharpness", "posterize", "solarize", "autocontrast", "equalize")

_STRENGTHS = 31  # 0, 1/30, ..., 1 of the largest
_WIDE_FROM = 32  # pixels of the shorter side; the wide translation is of so many
_SMOOTH = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13  # pillow's filter of this name


def trivial(pixels: Tensor, draws: torch.Generator, *, mirrored: bool) -> Tensor:
    """Return images (B, H, W, C), values 0..255, as uint8, each changed by one operation.

    The ranges are the wide ones for images of 32 pixels a side and more whose mirror images keep their class, and
    RandAugment's for all others: a digit that is turned by 135 degrees is another one. Only images of 3 channels have
    `color`.
    """
    x = pixels if pixels.dtype == torch.uint8 else _rounded(pixels)
    names = [name for name in OPERATIONS if name != "color" or x.shape[3] == 3]
    which, step, side = (integers(bound, len(x), draws).squeeze(1) for bound in (len(names), _STRENGTHS, 2))
    strength = step.float() / (_STRENGTHS - 1)
    return changed(x, which, names, strength * (2 * side - 1), wide=mirrored and min(x.shape[1:3]) >= _WIDE_FROM)


def changed(x: Tensor, which: Tensor, names: list[str], strength: Tensor, *, wide: bool) -> Tensor:
    """Return images (B, H, W, C) uint8, image i changed by the operation `names[which[i]]`.

    `strength` (B,) is a share, -1 to 1, of the largest; operations in one direction take its size.
    """
    out = x.clone()

    def change(group: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return which images have an operation of the group, and for each of its names their strengths, else 0."""
        numbers = {name: names.index(name) for name in group if name in names}
        chosen = torch.isin(which, torch.tensor(list(numbers.values()), device=x.device)).nonzero().squeeze(1)
        return chosen, {
            name: torch.where(which[chosen] == numbers[name], strength[chosen], 0)
            if name in numbers
            else torch.zeros_like(strength[chosen])
            for name in group
        }

    for group, operation in (
        (GEOMETRY, _moved),
        (COLOUR, _recoloured),
        (("sharpness",), _sharpened),
        (("posterize",), _posterized),
        (("solarize",), _solarized),
        (("autocontrast",), _stretched),
        (("equalize",), _equalized),
    ):
        chosen, strengths = change(group)
        if len(chosen):
            out[chosen] = operation(x[chosen], strengths, wide)
    return out


def _moved(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Shear about the corner, translate or rotate about the centre; a pixel is the nearest one, or black outside.

    The largest strengths are 0.99, 32 pixels and 135 degrees if `wide`, else 0.3, 10/32 of the side and 30 degrees.
    """
    count, height, width, channels = x.shape
    shear, angle = (0.99, 135) if wide else (0.3, 30)
    shift = (32.0, 32.0) if wide else (width * 10 / 32, height * 10 / 32)
    across = (torch.arange(width, device=x.device) + 0.5).expand(count, height, width)
    down = (torch.arange(height, device=x.device) + 0.5)[:, None].expand(count, height, width)
    by = {name: value[:, None, None] for name, value in strength.items()}
    turn = by["rotate"] * math.radians(angle)
    right, below = across - width / 2, down - height / 2
    column = right * turn.cos() - below * turn.sin() + width / 2
    row = right * turn.sin() + below * turn.cos() + height / 2
    column = (column + shear * by["shear_x"] * down + shift[0] * by["translate_x"]).floor().long()
    row = (row + shear * by["shear_y"] * across + shift[1] * by["translate_y"]).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    place = place + height * width * torch.arange(count, device=x.device)[:, None, None]
    return x.reshape(-1, channels)[place.flatten()].view(x.shape) * inside[..., None]


def _recoloured(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    factors = (1 + _blend(wide) * strength[name][:, None, None, None] for name in COLOUR)
    return _rounded(recolour(x.float(), *factors))


def _sharpened(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Move values away from those of a smoothed image, or towards them; the outermost pixels stay."""
    planes = x.permute(0, 3, 1, 2).float()
    kernel = _SMOOTH.to(x.device).expand(x.shape[3], 1, 3, 3)
    inner = F.conv2d(planes, kernel, padding=1, groups=x.shape[3]).round()
    smooth = planes.clone()
    smooth[:, :, 1:-1, 1:-1] = inner[:, :, 1:-1, 1:-1]
    factor = 1 + _blend(wide) * strength["sharpness"][:, None, None, None]
    return _rounded(torch.lerp(smooth, planes, factor)).permute(0, 2, 3, 1)


def _posterized(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Keep the highest bits of values: 8 down to 2 if `wide`, else down to 4."""
    lost = (strength["posterize"].abs() * (6 if wide else 4)).round().long()
    return x & (256 - 2**lost).clamp(max=255).to(torch.uint8)[:, None, None, None]


def _solarized(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Invert values from a threshold on."""
    threshold = 255 * (1 - strength["solarize"].abs())[:, None, None, None]
    return torch.where(x >= threshold, 255 - x, x)


def _stretched(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Stretch the values of each channel to 0..255."""
    low, high = (found.float() for found in (x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)))
    return torch.where(high > low, _rounded((x - low) * (255 / (high - low).clamp(min=1))), x)


def _equalized(x: Tensor, strength: dict[str, Tensor], wide: bool) -> Tensor:
    """Spread the values of each channel so that all are about as frequent, as pillow does."""
    count, height, width, channels = x.shape
    values = x.permute(0, 3, 1, 2).reshape(count * channels, -1).long()
    histogram = torch.zeros(len(values), 256, dtype=torch.long, device=x.device)
    histogram.scatter_add_(1, values, torch.ones_like(values))
    last = histogram.gather(1, values.amax(1, keepdim=True))
    step = (height * width - last) // 255
    below = histogram.cumsum(1) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    found = torch.where(step > 0, table.gather(1, values), values).to(torch.uint8)
    return found.view(count, channels, height, width).permute(0, 2, 3, 1)


def _blend(wide: bool) -> float:
    return 0.99 if wide else 0.9


def _rounded(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)
