"""Resized crops and colour jitter against slow references and the distributions that they draw from."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Augment, Batch, Batches, Images, Normalise, ordered
from supernet.data.colour import jitter, recolour


def images_of(x: np.ndarray) -> Images:
    """Return a set of images (N, C, H, W)."""
    return Images.of("some", (torch.from_numpy(x.astype(np.uint8)), torch.arange(len(x)) % 2), ("a", "b"))


def noise(n: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, channels, height, width), dtype=np.uint8)


def stream(images: Images, augment: Augment, size: int = 8, seed: int = 0) -> Batches:
    return Batches(images, torch.arange(len(images.x)), size, augment, seed)


def drawn(batches: Batches, count: int) -> list[Batch]:
    return [batches.next() for _ in range(count)]


def levels(images: Images, batch: Batch) -> np.ndarray:
    """Return the pixel values (B, C, H, W), 0..255, that a batch had before normalisation."""
    mean, std = (np.array(v)[:, None, None] for v in (images.mean, images.std))
    return (batch.x.numpy().astype(np.float64) * std + mean) * 255


def distance(sample: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance between the distribution functions of two samples (Kolmogorov-Smirnov)."""
    sample, other = (np.sort(values.round(3)) for values in (sample, other))  # measured values differ by rounding
    every = np.concatenate([sample, other])
    shares = (np.searchsorted(values, every, side="right") / len(values) for values in (sample, other))
    return float(np.abs(np.subtract(*shares)).max())


# --- crop


def ramps(n: int, height: int, width: int) -> np.ndarray:
    """Return images of two ramps, to the right and down, and noise: a crop shows its position."""
    x = noise(n, height, width)
    x[:, 0] = np.arange(width) * (255 // (width - 1))
    x[:, 1] = np.arange(height)[:, None] * (255 // (height - 1))
    return x


def interval(values: np.ndarray, length: int) -> tuple[float, float]:
    """Return start and (signed) length in pixels of the interval that became `values`, from values off the border."""
    count, step = len(values), 255 // (length - 1)
    a, b = count // 4, count - 1 - count // 4
    slope = (values[b] - values[a]) / step / (b - a)
    return float(values[a] / step + 0.5 - (a + 0.5) * slope), float(slope * count)


def box(x: np.ndarray, height: int, width: int) -> tuple[float, float, float, float]:
    """Return left, top, width and height of the box in a crop (3, S, S) of ramps; the width is negative if mirrored."""
    (left, across), (top, down) = interval(x[0].mean(axis=0), width), interval(x[1].mean(axis=1), height)
    return left, top, across, down


def sampled(image: np.ndarray, region: tuple[float, float, float, float], side: int) -> np.ndarray:
    """Return `side` x `side` points of a box of an image (H, W), interpolated the slow way."""
    left, top, across, down = region
    points = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y = min(max(top + down * (i + 0.5) / side - 0.5, 0), image.shape[0] - 1)
            x = min(max(left + across * (j + 0.5) / side - 0.5, 0), image.shape[1] - 1)
            above, before = int(y), int(x)
            below, behind = min(above + 1, image.shape[0] - 1), min(before + 1, image.shape[1] - 1)
            upper = image[above, before] * (1 - x + before) + image[above, behind] * (x - before)
            lower = image[below, before] * (1 - x + before) + image[below, behind] * (x - before)
            points[i, j] = upper * (1 - y + above) + lower * (y - above)
    return points


@pytest.mark.parametrize(("height", "width"), [(20, 20), (18, 30), (30, 18)])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_crop_is_one_box_of_its_image(height: int, width: int, mirror: bool) -> None:
    x = ramps(16, height, width)
    images = images_of(x)
    signs = set()
    for batch in drawn(stream(images, Augment(crop=12, mirror=mirror)), 4):
        assert batch.x.shape == (8, 3, 12, 12)
        assert batch.x.dtype == torch.float32
        assert batch.x.is_contiguous(memory_format=torch.channels_last)
        for crop, index in zip(levels(images, batch), batch.index.tolist(), strict=True):
            region = box(crop, height, width)
            signs.add(region[2] > 0)
            for channel in range(3):
                expected = sampled(x[index, channel].astype(np.float64), region, 12)
                assert np.abs(crop[channel] - expected).max() < 0.1
    assert signs == ({False, True} if mirror else {True})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [9, 14])
def test_a_crop_of_the_whole_image_is_resized_as_by_torch(
    side: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supernet.data.augment._LEAST_AREA", 1)
    monkeypatch.setattr("supernet.data.augment._LARGEST_RATIO", 1)
    images = images_of(noise(8, 14, 14, channels))
    batch = stream(images, Augment(crop=side)).next()
    expected = F.interpolate(images.x[batch.index].double(), size=(side, side), mode="bilinear")
    np.testing.assert_allclose(levels(images, batch), expected.numpy(), atol=2e-3)


@pytest.mark.parametrize(("height", "width"), [(36, 36), (24, 48)])
def test_boxes_have_the_areas_ratios_and_positions_of_the_recipe(height: int, width: int) -> None:
    images = images_of(ramps(100, height, width))
    batches = drawn(stream(images, Augment(crop=8, mirror=True), size=100), 40)
    boxes = np.array([box(crop, height, width) for batch in batches for crop in levels(images, batch)])
    mirrored = boxes[:, 2] < 0
    assert abs(mirrored.mean() - 0.5) < 0.04  # 5 sigma of 4000
    across, down = np.abs(boxes[:, 2]), boxes[:, 3]
    left, top = boxes[:, 0] - across * mirrored, boxes[:, 1]

    g = np.random.default_rng(0)
    area = height * width * g.uniform(0.08, 1, 100_000)
    ratio = np.exp(g.uniform(np.log(3 / 4), np.log(4 / 3), 100_000))
    true_across, true_down = np.minimum(np.sqrt(area * ratio), width), np.minimum(np.sqrt(area / ratio), height)
    assert 0.05 < (true_down == height).mean() < 0.6  # some boxes did not fit
    # Two samples of these sizes differ by more than 0.04 once in 100 000 times
    assert distance(across * down, true_across * true_down) < 0.04
    assert 0.0799 < (across * down).min() / (height * width) < 0.085  # about 22 of 4000 are below
    assert distance(across / down, true_across / true_down) < 0.04
    assert distance(across, true_across) < 0.04
    for start, side, length in ((left, across, width), (top, down, height)):
        assert start.min() > -0.01
        assert (start + side).max() < length + 0.01
        free = side < length - 1  # boxes whose position is free
        assert distance((start / (length - side))[free], np.linspace(0, 1, 100_000)) < 0.05
    free = (across < width - 1) & (down < height - 1)
    assert abs(np.corrcoef((left / (width - across))[free], (top / (height - down))[free])[0, 1]) < 0.1
    assert len(np.unique(across[:100].round(6))) > 80  # not the same box for the whole batch


# --- jitter

# Two greys and a colour determine all four factors, and none of them can be clipped
GREYS, COLOUR = (100.0, 150.0), (130.0, 100.0, 80.0)


def luma(rgb: np.ndarray) -> np.ndarray:
    return 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]


def patches(n: int) -> Images:
    x = np.zeros((n, 3, 1, 4))
    x[:, :, 0, 0], x[:, :, 0, 1], x[:, :, 0, 2:] = GREYS[0], GREYS[1], np.array(COLOUR)[:, None]
    return images_of(x)


def factors(x: np.ndarray) -> np.ndarray:
    """Return brightness, contrast, saturation and turn of one changed image of `patches`, (3, 1, 4)."""
    rgb = x[:, 0].T
    before = np.array([[GREYS[0]] * 3, [GREYS[1]] * 3, COLOUR, COLOUR])
    mean = luma(before).mean()
    spread = (rgb[1, 0] - rgb[0, 0]) / (GREYS[1] - GREYS[0])  # brightness * contrast
    brightness = (rgb[0, 0] - spread * (GREYS[0] - mean)) / mean
    chroma = (rgb[2].max() - rgb[2].min()) / (max(COLOUR) - min(COLOUR))
    turn = colorsys.rgb_to_hsv(*rgb[2])[0] - colorsys.rgb_to_hsv(*COLOUR)[0]
    return np.array([brightness, spread / brightness, chroma / spread, (turn + 0.5) % 1 - 0.5])


def test_each_image_draws_its_own_factors_uniformly() -> None:
    images = patches(100)
    batches = drawn(stream(images, Augment(jitter=True), size=100), 40)
    drawn_factors = np.array([factors(x) for batch in batches for x in levels(images, batch)])
    for values, low, high in zip(drawn_factors.T, (0.6, 0.6, 0.6, -0.2), (1.4, 1.4, 1.4, 0.2), strict=True):
        assert low - 1e-3 < values.min() < values.max() < high + 1e-3
        assert distance(values, np.linspace(low, high, 100_000)) < 0.04
        assert len(np.unique(values[:100].round(6))) > 80  # not one factor for the whole batch
    assert np.abs(np.corrcoef(drawn_factors.T) - np.eye(4)).max() < 0.08  # independent: 5 sigma


def slow(pixel: np.ndarray, grey: float, factor: dict[str, float]) -> list[float]:
    """Return the changed RGB pixel of an image with mean grey `grey` after brightness, values 0..1."""
    rgb = np.clip(pixel * factor["brightness"], 0, 1)
    rgb = np.clip(factor["contrast"] * rgb + (1 - factor["contrast"]) * grey, 0, 1)
    rgb = np.clip(factor["saturation"] * rgb + (1 - factor["saturation"]) * luma(rgb), 0, 1)
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    return list(colorsys.hsv_to_rgb((h + factor["turn"]) % 1, s, v))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def test_changed_colours_are_those_of_a_slow_reference_with_clipping() -> None:
    x = noise(12, 6, 5).transpose(0, 2, 3, 1)
    x[0, 0] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [7, 7, 7]]  # equal largest channels, and grey
    g = np.random.default_rng(1)
    names = ("brightness", "contrast", "saturation", "turn")
    drawn_factors = [g.uniform(0, 3, 12), g.uniform(0, 3, 12), g.uniform(0, 3, 12), g.uniform(-1, 1, 12)]
    y = recolour(torch.from_numpy(x).float(), *(column(*f.tolist()) for f in drawn_factors)).numpy() / 255
    for i in range(12):
        factor = {name: float(values[i]) for name, values in zip(names, drawn_factors, strict=True)}
        image = x[i] / 255
        grey = float(luma(np.clip(image * factor["brightness"], 0, 1)).mean())
        expected = np.array([[slow(pixel, grey, factor) for pixel in row] for row in image])
        np.testing.assert_allclose(y[i], expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_factors_of_one_without_a_turn_change_nothing(channels: int) -> None:
    x = torch.from_numpy(noise(4, 5, 6, channels)).permute(0, 2, 3, 1).float()
    one, none = column(1, 1, 1, 1), column(0, 0, 0, 0)
    assert (recolour(x, one, one, one, none) - x).abs().max() < 1e-3


def test_jitter_of_strength_zero_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.data.colour.STRENGTH", 0)
    monkeypatch.setattr("supernet.data.colour.HUE", 0)
    images = images_of(noise(24, 9, 7))
    for kind in ({"pad": 2}, {"crop": 5}):
        with_jitter, without = (stream(images, Augment(mirror=True, jitter=j, **kind)).next() for j in (True, False))
        assert (with_jitter.x - without.x).abs().max() < 1e-4


@pytest.mark.parametrize(("turn", "order"), [(1 / 3, [2, 0, 1]), (-1 / 3, [1, 2, 0]), (1.0, [0, 1, 2])])
def test_a_third_of_a_turn_of_the_hue_permutes_the_channels(turn: float, order: list[int]) -> None:
    x = torch.from_numpy(noise(5, 4, 4)).permute(0, 2, 3, 1).float()
    one = column(1, 1, 1, 1, 1)
    assert (recolour(x, one, one, one, turn * one) - x[..., order]).abs().max() < 1e-2


def test_saturation_and_hue_do_not_change_grey_images() -> None:
    x = torch.from_numpy(noise(5, 4, 4, 1)).permute(0, 2, 3, 1).float().expand(5, 4, 4, 3)
    one, some = column(1, 1, 1, 1, 1), column(0.6, 0.8, 1.1, 1.3, 1.4)
    y = recolour(x, one, one, some, some - 1)
    assert (y - x).abs().max() < 1e-3
    assert torch.equal(y[..., :1].expand_as(y), y)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_without_three_channels_change_only_brightness_and_contrast(channels: int) -> None:
    x = noise(3, 4, 5, channels).transpose(0, 2, 3, 1).astype(np.float64)
    b, c = np.array([0.6, 1.0, 1.4])[:, None, None, None], np.array([1.4, 0.7, 0.9])[:, None, None, None]
    bright = np.clip(x * b, 0, 255)
    mean = bright.mean(axis=(1, 2, 3), keepdims=True)
    expected = np.clip(mean + c * (bright - mean), 0, 255)
    for other in (column(1, 1, 1), column(0.5, 0.7, 2)):
        y = recolour(torch.from_numpy(x).float(), torch.from_numpy(b), torch.from_numpy(c), other, other)
        np.testing.assert_allclose(y.numpy(), expected, atol=1e-3)


def test_jitter_does_not_modify_its_input() -> None:
    for pixels in (torch.full((2, 3, 3, 3), 100, dtype=torch.uint8), torch.full((2, 3, 3, 3), 100.0)):
        before = pixels.clone()
        assert not torch.equal(jitter(pixels, torch.Generator().manual_seed(0)), pixels.float())
        assert torch.equal(pixels, before)


def test_jitter_follows_the_padding_and_precedes_the_cutout() -> None:
    images = images_of(np.concatenate([np.full((8, 3, 6, 6), 200), np.full((8, 3, 6, 6), 60)]))
    batch = stream(images, Augment(pad=2, jitter=True), size=16).next()
    darkest = levels(images, batch).min(axis=(1, 2, 3))
    assert (darkest > 5).any()  # lower contrast brightens the black padding
    batch = stream(images, Augment(jitter=True, cutout=3), size=16).next()
    assert ((batch.x == 0).all(dim=1).sum(dim=(1, 2)) >= 4).all()  # a square of exactly the mean


# --- streams and normalisation

ALL = Augment(mirror=True, cutout=2, crop=5, jitter=True)


def test_a_stream_depends_only_on_its_seed() -> None:
    images = images_of(noise(24, 9, 7))
    torch.manual_seed(1)
    first = drawn(stream(images, ALL, seed=5), 6)
    torch.manual_seed(2)
    again, other = (drawn(stream(images, ALL, seed=seed), 6) for seed in (5, 6))
    assert all(torch.equal(a.x, b.x) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a.x, b.x) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("steps", [0, 2, 3, 7])  # 3 batches per pass
def test_a_stream_continues_bit_for_bit_from_a_saved_state(steps: int, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    images = images_of(noise(24, 9, 7))
    original, continued = (Batches(images, torch.arange(24), 8, ALL, seed, device) for seed in (0, 99))
    drawn(original, steps)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    expected = drawn(original, 7)
    file.seek(0)
    drawn(continued, 2)
    continued.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(expected, drawn(continued, 7), strict=True):
        assert a.x.device.type == device
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.index, b.index)


def test_normalise_works_without_an_image_set() -> None:
    images = images_of(noise(6, 9, 7))
    (batch,) = ordered(images, None, 6)
    normalise = Normalise(images.mean, images.std, 7)
    pixels = images.x.permute(0, 2, 3, 1)
    assert torch.equal(normalise(pixels).permute(0, 3, 1, 2), batch.x)
    floats = pixels.float()
    assert torch.equal(normalise(floats), normalise(pixels))
    assert torch.equal(floats, pixels.float())  # not modified
