"""TrivialAugment: every operation against pillow's, what is drawn, and images on which an operation makes no sense."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from supernet.data.trivial import OPERATIONS, changed, trivial

COUNT = 24


def pictures(height: int = 37, width: int = 34, channels: int = 3) -> Tensor:
    """Return smooth images with noise, none of which uses all values."""
    g = torch.Generator().manual_seed(height)
    ramps = torch.linspace(40, 200, width) + torch.linspace(-30, 30, height)[:, None]
    noise = torch.randint(-9, 10, (COUNT, height, width, channels), generator=g)
    return (ramps[..., None] + noise).clamp(0, 255).to(torch.uint8)


def affine(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


def theirs(name: str, picture: Image.Image, s: float, wide: bool) -> Image.Image:
    """Return what pillow makes of a picture, by the definitions of the paper's released code."""
    shear, shift, turn, blend, bits = (0.99, 32, 135, 0.99, 6) if wide else (0.3, 10 / 32, 30, 0.9, 4)
    moves = (shift, shift) if wide else (shift * picture.width, shift * picture.height)
    size = abs(s)
    return {
        "identity": lambda: picture,
        "shear_x": lambda: affine(picture, (1, shear * s, 0, 0, 1, 0)),
        "shear_y": lambda: affine(picture, (1, 0, 0, shear * s, 1, 0)),
        "translate_x": lambda: affine(picture, (1, 0, moves[0] * s, 0, 1, 0)),
        "translate_y": lambda: affine(picture, (1, 0, 0, 0, 1, moves[1] * s)),
        "rotate": lambda: picture.rotate(turn * s),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(1 + blend * s),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(1 + blend * s),
        "color": lambda: ImageEnhance.Color(picture).enhance(1 + blend * s),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(1 + blend * s),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(bits * size)),
        "solarize": lambda: ImageOps.solarize(picture, math.ceil(255 * (1 - size))),
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
    }[name]()


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name: str, wide: bool) -> None:
    x = pictures()
    strength = torch.linspace(-1, 1, COUNT).roll(5) * 0.97  # no translation by whole and a half pixels
    found = changed(x, torch.full((COUNT,), OPERATIONS.index(name)), list(OPERATIONS), strength, wide=wide).numpy()
    expected = [
        np.asarray(theirs(name, Image.fromarray(image), s, wide))
        for image, s in zip(x.numpy(), strength.tolist(), strict=True)
    ]
    off = np.abs(found.astype(int) - np.stack(expected))
    moves = name.startswith(("shear", "translate", "rotate"))
    assert (off > 2).mean() < (2e-3 if moves else 1e-9)  # a nearest pixel may be another one where two are as near
    assert name == "identity" or (found != x.numpy()).mean() > 0.1


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_solarize_inverts_values_from_the_threshold_on_as_pillow_does(strength: float) -> None:
    x = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3).contiguous()
    found = changed(x, torch.tensor([0]), ["solarize"], torch.tensor([strength]), wide=True)
    expected = np.asarray(theirs("solarize", Image.fromarray(x[0].numpy()), strength, wide=True))
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_each_image_has_an_operation_and_a_strength_of_its_own() -> None:
    x = pictures()
    which = torch.arange(COUNT) % len(OPERATIONS)
    strength = torch.linspace(-1, 1, COUNT)
    together = changed(x, which, list(OPERATIONS), strength, wide=True)
    for i in range(COUNT):
        alone = changed(x[i : i + 1], which[i : i + 1], list(OPERATIONS), strength[i : i + 1], wide=True)
        assert torch.equal(together[i], alone[0])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 8), (40, 33)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_shape_stay_images_of_it(height: int, width: int, channels: int) -> None:
    x = pictures(height, width, channels)
    draws = torch.Generator().manual_seed(1)
    for _ in range(5):
        found = trivial(x, draws, mirrored=True)
        assert (found.shape, found.dtype) == (x.shape, torch.uint8)
    assert torch.equal(trivial(x.float() + 0.2, torch.Generator().manual_seed(1), mirrored=True), _first(x))


def _first(x: Tensor) -> Tensor:
    return trivial(x, torch.Generator().manual_seed(1), mirrored=True)


@pytest.mark.parametrize(("side", "mirrored", "wide"), [(32, True, True), (31, True, False), (32, False, False)])
def test_the_wide_ranges_are_for_large_images_that_may_be_mirrored(
    side: int, mirrored: bool, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("supernet.data.trivial.changed", lambda *given, wide: asked.append((given, wide)))
    draws = torch.Generator().manual_seed(0)
    for channels in (1, 3):
        for _ in range(40):
            trivial(pictures(side, side, channels), draws, mirrored=mirrored)
    assert {now for _, now in asked} == {wide}
    for channels, calls in ((1, asked[:40]), (3, asked[40:])):
        names = calls[0][0][2]
        assert names == [name for name in OPERATIONS if name != "color" or channels == 3]
        which, strength = (torch.cat([given[place] for given, _ in calls]) for place in (1, 3))
        assert torch.bincount(which).min() > 0.6 * len(which) / len(names)
        steps = 30 * strength.double()
        torch.testing.assert_close(steps, steps.round(), atol=1e-5, rtol=0)
        assert set(steps.round().int().tolist()) == set(range(-30, 31))
