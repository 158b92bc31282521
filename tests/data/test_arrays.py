"""Arrays of every layout and type become pixels, or one line says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from supernet.data import Augment, Batches, load
from supernet.data.arrays import pixels
from supernet.errors import UserError

Y = np.array([0, 1, 2, 0, 1, 2])
X = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
X[0, 0, :2] = 0, 255


def loaded(x: np.ndarray, x_test: np.ndarray | None = None) -> Any:
    return load((x, Y) if x_test is None else ((x, Y), (x_test, Y)))


@pytest.mark.parametrize(
    ("x", "note"),
    [
        (X.astype(np.int64), "int64 taken as pixel values"),
        (X.astype(">u2"), ">u2 taken as pixel values"),
        (X.astype(np.float32), "floats from 0 to 255 taken as pixel values"),
        (X - 0.25 * (X > 9), "floats from 0 to 255 taken as pixel values"),  # fractions, but bright
    ],
)
def test_pixel_values_of_other_types(x: np.ndarray, note: str) -> None:
    images = loaded(x.copy(), x[:, ::-1, ::-1])
    expected = torch.from_numpy(X)[:, None]
    assert torch.equal(images.x, expected)
    assert torch.equal(images.x_test, expected.flip(2, 3))
    assert (images.levels, images.notes) == (None, (f"X: {note}",))


def test_false_and_true_are_black_and_white() -> None:
    images = loaded(X > 99)
    assert torch.equal(images.x[:, 0], torch.from_numpy(np.where(X > 99, 255, 0).astype(np.uint8)))
    assert images.notes == ("X: False and True taken as black and white",)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32])
def test_wide_integers_are_scaled_by_the_training_images(dtype: Any) -> None:
    x = X.astype(dtype) * 100 + 50
    x_test = x + 51  # half of a level is 50: one level above, or above the highest
    images = loaded(x, x_test)
    assert images.levels == (50, 25550)
    assert torch.equal(images.x[:, 0], torch.from_numpy(X))
    assert torch.equal(images.x_test[:, 0].int(), (torch.from_numpy(X).int() + 1).clamp(max=255))
    assert images.notes == (f"X: {np.dtype(dtype)} values 50 to 25550 scaled to 0 to 255",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_other_integers_are_scaled_as_the_training_images(dtype: Any) -> None:
    wide = X.astype(np.int16) - 100
    images = loaded(wide, np.full((6, *X.shape[1:]), 55, dtype))
    assert images.levels == (-100, 155)
    assert images.x_test.unique().tolist() == [155]
    for training in (X > 99, (X > 99) * 1.0):
        assert loaded(training, (X > 99).astype(dtype)).x_test.equal(loaded(X > 99).x)
        assert loaded(training, X.astype(dtype)).x_test.equal(torch.from_numpy(X)[:, None])  # brighter than 1: pixels


def test_dark_test_images_keep_the_scale_of_the_training_images() -> None:
    dark = np.minimum(X, 1) * 1.0
    assert loaded(X * 1.0, dark).x_test.max() == 1
    assert loaded(X * 100.0 / 25500, dark).x_test.max() == 255


def test_a_prediction_takes_the_levels_of_the_training() -> None:
    image = np.array([[0, 50, 25550, 60000]] * 4, np.uint16)
    assert pixels(image, "image", one=True, levels=(50, 25550))[0, 0, 0].tolist() == [0, 0, 255, 255]
    eight_bits = image.astype(np.uint8)
    assert torch.equal(pixels(eight_bits, "image", True, levels=(50, 25550)), torch.from_numpy(eight_bits)[None, None])
    with pytest.raises(UserError, match="image holds integers from 0 to 60000; expected 0 to 255"):
        pixels(image, "image", one=True)


@pytest.mark.parametrize("shape", [(13, 8, 8), (8, 8, 13), (5, 8, 8), (9, 9, 8), (8, 9, 9), (13, 64, 4)])
def test_more_than_four_channels_are_the_axis_that_differs(shape: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    last = shape[2] <= 4 or shape[0] == shape[1]
    expected = x.transpose(0, 3, 1, 2) if last else x
    assert np.array_equal(loaded(x).x.numpy(), expected)
    assert np.array_equal(pixels(x[0], "image", one=True).numpy(), expected[:1])


@pytest.mark.parametrize("shape", [(9, 8, 7), (8, 8, 8), (13, 32, 24)])
def test_channels_that_cannot_be_told_from_the_sides(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="which does not tell channels from height and width: images of more than 4"):
        loaded(np.zeros((6, *shape), np.uint8))


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4), (3, 3, 3)])
def test_channels_may_be_either_axis_of_tiny_square_images(shape: tuple[int, int, int]) -> None:
    told = "has shape {}, which does not tell channels from height and width: give larger images, or grey ones as {}"
    with pytest.raises(UserError) as caught:
        loaded(np.zeros((6, *shape), np.uint8))
    assert str(caught.value) == f"X of the arrays {told.format((6, *shape), '(N, H, W)')}"
    with pytest.raises(UserError) as caught:
        pixels(np.zeros(shape, np.uint8), "image", one=True)
    assert str(caught.value) == f"image {told.format(shape, '(H, W)')}"
    assert loaded(np.zeros((6, 2, 2, 3), np.uint8)).x.shape == (6, 3, 2, 2)


def test_batches_of_many_channels_are_augmented() -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 13), dtype=np.uint8)
    images = loaded(x)
    for augment in (Augment(pad=2, mirror=True, cutout=4), Augment(crop=8, mirror=True, jitter=True)):
        batch = Batches(images, torch.arange(6), 3, augment, seed=0).next()
        assert batch.x.shape[:2] == (3, 13)
        assert bool(batch.x.isfinite().all())


def test_arrays_that_torch_cannot_share() -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    assert torch.equal(loaded(fixed).x, loaded(X).x)
    assert torch.equal(loaded(X[:, ::-1]).x, loaded(X).x.flip(2))


DTYPES = ["?", "u1", "i1", "u2", ">i2", "i8", "u8", "f2", ">f4", "f8", "c8", "U2", "M8[s]"]


@given(st.data(), st.sampled_from(DTYPES), st.booleans())
def test_any_array_gives_pixels_or_a_line(data: Any, dtype: str, one: bool) -> None:
    array = data.draw(arrays(dtype, array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6)))
    for levels in (None, (-5, 1000), (7, 7)):
        try:
            x = pixels(array, "image", one, levels=levels)
        except UserError:
            continue
        assert (x.dtype, x.ndim, x.numel()) == (torch.uint8, 4, array.size)


@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_any_image_set_is_read_or_a_line(data: Any, dtype: str, label_dtype: str) -> None:
    count = data.draw(st.integers(2, 4))
    shape = data.draw(array_shapes(min_dims=2, max_dims=3, max_side=6))
    x, x_test = (data.draw(arrays(dtype, (count, *shape))) for _ in range(2))
    y = data.draw(arrays(label_dtype, (count,) if data.draw(st.booleans()) else (count, 2)))
    for classes in (None, ["0", "1", "2"]):
        try:
            images = load(((x, y), (x_test, y)), 3, classes=classes)
        except UserError:
            continue
        assert images.x.shape == images.x_test.shape  # type: ignore[union-attr]
        assert torch.equal(images.y, images.y_test)  # type: ignore[arg-type]


@given(arrays("f8", (3, 2, 2), elements=st.integers(0, 255)), st.sampled_from(["u1", "u2", "i8", "f4", "f8"]))
def test_pixel_values_round_trip(array: np.ndarray, dtype: str) -> None:
    array[0, 0, 0] = 255
    assert np.array_equal(pixels(array.astype(dtype), "x").numpy()[:, 0], array)
    if dtype.startswith("f"):
        assert np.array_equal(pixels((array / 255).astype(dtype), "x").numpy()[:, 0], array)
