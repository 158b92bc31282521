"""Images: mean, std and fingerprint, splits into halves and held-out images, and the first n images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.data import SPLITS, Images, hold_out, split, take
from supernet.errors import UserError


def make(n: int = 20, channels: int = 3, seed: int = 0, classes: int = 2) -> Images:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, channels, 6, 5), dtype=torch.uint8, generator=g)
    test = (x[:4].flip(3), torch.arange(4) % classes)
    return Images.of("some", (x, torch.arange(n) % classes), tuple(str(c) for c in range(classes)), test)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_do_not_depend_on_the_number_of_values_at_a_time(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(9, channels)
    for pixels in (1, 40, 70):  # an image has 30 pixels: one, one, two images at a time
        monkeypatch.setattr("supernet.data.images._CHUNK_VALUES", pixels * channels)
        few = make(9, channels)
        assert (few.mean, few.std) == (whole.mean, whole.std)


@pytest.mark.parametrize("n", [7, 1024, 1500])  # below, at and above the chunk
@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_equal_those_of_numpy_over_the_training_images(n: int, channels: int) -> None:
    images = make(n, channels)
    values = images.x.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(images.mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(images.std, values.std(axis=(0, 2, 3)), rtol=1e-12)


def test_a_constant_channel_has_a_std_of_one_grey_level() -> None:
    x = torch.full((4, 2, 3, 3), 9, dtype=torch.uint8)
    x[:2, 1] = 200
    images = Images.of("flat", (x, torch.tensor([0, 1, 0, 1])), ("a", "b"))
    assert images.std == (1 / 255, pytest.approx(191 / 2 / 255))


def test_pixels_are_unchanged_in_channels_last_memory() -> None:
    x = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    images = Images.of("some", (x, torch.tensor([0, 1])), ("a", "b"))
    assert torch.equal(images.x, x)
    assert images.x.is_contiguous(memory_format=torch.channels_last)


def test_the_fingerprint_does_not_depend_on_the_memory_format() -> None:
    first = make()
    again = Images.of(
        "other name",
        (first.x.contiguous(), first.y.clone()),
        first.classes,
        (first.x_test.contiguous(), first.y_test),  # type: ignore[union-attr,arg-type]
    )
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 16
    assert int(first.fingerprint, 16) >= 0


def test_the_fingerprint_depends_on_all_data() -> None:
    base = make()
    test = (base.x_test, base.y_test)
    pixel, label, test_pixel = base.x.clone(), base.y.clone(), base.x_test.clone()  # type: ignore[union-attr]
    pixel[3, 1, 2, 2] ^= 1
    label[:2] = label[:2].flip(0)
    test_pixel[0, 0, 0, 0] ^= 1
    others = [
        Images.of("some", (pixel, base.y), base.classes, test),  # type: ignore[arg-type]
        Images.of("some", (base.x, label), base.classes, test),  # type: ignore[arg-type]
        Images.of("some", (base.x, base.y), ("0", "one"), test),  # type: ignore[arg-type]
        Images.of("some", (base.x, base.y), base.classes, (test_pixel, base.y_test)),  # type: ignore[arg-type]
        Images.of("some", (base.x, base.y), base.classes),
        Images.of("some", (base.x.reshape(20, 3, 5, 6), base.y), base.classes, test),  # type: ignore[arg-type]
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 7


def test_to_shares_tensors_on_the_same_device_and_moves_others() -> None:
    images = make()
    assert images.to("cpu").x.data_ptr() == images.x.data_ptr()
    moved = images.to("meta")
    assert {moved.x.device.type, moved.y.device.type} == {"meta"}
    assert moved.x_test is not None
    assert moved.x_test.device.type == "meta"
    assert (moved.mean, moved.fingerprint, moved.classes) == (images.mean, images.fingerprint, images.classes)
    assert replace(images, x_test=None, y_test=None).to("cpu").x_test is None


@settings(max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.sampled_from(SPLITS))
def test_halves_are_disjoint_complete_and_of_equal_size(labels: list[int], rule: str) -> None:
    first, second = split(torch.tensor(labels), rule)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    assert abs(len(first) - len(second)) <= 1


@settings(max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60))
def test_stratified_halves_have_the_same_balance_of_classes(labels: list[int]) -> None:
    y = torch.tensor(labels)
    first, second = (torch.bincount(y[half], minlength=5) for half in split(y))
    assert (first - second).abs().max() <= 1


def test_stratified_halves_are_shuffled_and_the_same_in_every_run() -> None:
    y = torch.arange(200) % 2
    torch.manual_seed(1)
    first, _ = split(y, "stratified")
    torch.manual_seed(2)
    again, _ = split(y, "stratified")
    assert torch.equal(first, again)
    assert 20 < int((first < 100).sum()) < 80  # from both ends of the order
    assert len(torch.unique(first[1:] - first[:-1])) > 2  # and not every second image


def test_index_halves_are_the_first_and_the_second() -> None:
    first, second = split(torch.tensor([0, 0, 0, 1, 1]), "index")
    assert (first.tolist(), second.tolist()) == ([0, 1], [2, 3, 4])


@pytest.mark.parametrize(
    ("n", "rule", "message"),
    [
        (4, "stratfied", "unknown split 'stratfied'; did you mean 'stratified'? known: stratified, index"),
        (1, "stratified", "cannot split 1 training image into two halves: give at least 2"),
        (0, "index", "cannot split 0 training images into two halves: give at least 2"),
    ],
)
def test_split_mistakes(n: int, rule: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        split(torch.zeros(n, dtype=torch.int64), rule)
    assert str(caught.value) == message


@settings(max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0.01, 0.99))
def test_a_share_of_each_class_is_held_out(labels: list[int], share: float) -> None:
    y = torch.tensor([7, 7, *labels])  # a class of two images, which can be divided
    parts = hold_out(y, share)
    assert all(part.dtype == torch.int64 and part.tolist() == sorted(part.tolist()) for part in parts)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(y)))
    kept, held = (torch.bincount(y[part], minlength=8) for part in parts)
    for k, h in zip(kept.tolist(), held.tolist(), strict=True):
        if k + h >= 2:
            assert min(k, h) >= 1
            assert abs(h - share * (k + h)) <= 0.5 or min(k, h) == 1
        else:
            assert h == 0


@pytest.mark.parametrize(
    ("share", "held"),
    [
        (0.1, [10, 2, 1, 0]),
        (0.25, [25, 5, 1, 0]),
        (0.9, [90, 18, 1, 0]),
        (0.999, [99, 19, 1, 0]),
        (0.001, [1, 1, 1, 0]),
    ],
)
def test_the_number_of_held_out_images_per_class(share: float, held: list[int]) -> None:
    y = torch.tensor([0] * 100 + [3] * 20 + [5] * 2 + [6])
    assert torch.bincount(y[hold_out(y, share)[1]], minlength=7)[[0, 3, 5, 6]].tolist() == held


def test_held_out_images_are_shuffled_and_the_same_in_every_run() -> None:
    y = torch.arange(400) % 2
    torch.manual_seed(1)
    kept, held = hold_out(y, 0.25)
    torch.manual_seed(2)
    again = hold_out(y, 0.25)
    assert torch.equal(kept, again[0])
    assert torch.equal(held, again[1])
    assert 25 < int((held < 200).sum()) < 75  # from both ends of the order
    assert len(torch.unique(held[1:] - held[:-1])) > 2  # and not every fourth image


@pytest.mark.parametrize(
    ("labels", "share", "message"),
    [
        ([0, 0, 1], 0, "the share to hold out must be between 0 and 1, without either, not 0"),
        ([0, 0, 1], 1.0, "the share to hold out must be between 0 and 1, without either, not 1.0"),
        ([0, 0, 1], -0.1, "the share to hold out must be between 0 and 1, without either, not -0.1"),
        ([0, 0, 1], float("nan"), "the share to hold out must be between 0 and 1, without either, not nan"),
        ([0, 2, 1], 0.5, "cannot hold out some of 3 images: no class has two; give more of each class"),
        ([], 0.5, "cannot hold out some of 0 images: no class has two; give more of each class"),
    ],
)
def test_hold_out_mistakes(labels: list[int], share: float, message: str) -> None:
    with pytest.raises(UserError) as caught:
        hold_out(torch.tensor(labels, dtype=torch.int64), share)
    assert str(caught.value) == message


def test_take_keeps_the_first_images_the_classes_and_the_test_set() -> None:
    images = make(20, classes=3)
    few = take(images, 4)
    assert torch.equal(few.x, images.x[:4])
    assert few.y.tolist() == images.y[:4].tolist()
    assert few.classes == images.classes
    assert few.x_test is not None
    assert images.x_test is not None
    assert torch.equal(few.x_test, images.x_test)
    assert few.mean == pytest.approx((images.x[:4] / 255).mean(dim=(0, 2, 3)).tolist())
    assert few.fingerprint != images.fingerprint
    assert few.mirror == images.mirror
    assert take(replace(images, mirror=False), 4).mirror is False
    assert take(replace(images, x_test=None, y_test=None), 4).x_test is None


def test_take_keeps_the_share_of_given_validation_images_and_one_at_least() -> None:
    x, y = torch.zeros(100, 1, 2, 2, dtype=torch.uint8), torch.arange(100) % 2
    for validation, kept in ((40, 4), (20, 2), (1, 1)):
        cut = 100 - validation
        images = Images.of("some", (x[:cut], y[:cut]), ("a", "b"), validation=(x[cut:], y[cut:]))
        few = take(images, 10)
        assert (len(few.x), few.validation) == (10, kept)


def test_take_all() -> None:
    images = make(20)
    assert take(images, None) is images
    assert take(images, 20) is images


@pytest.mark.parametrize("n", [21, 0, -1])
def test_take_refuses_a_wrong_number_of_images(n: int) -> None:
    with pytest.raises(UserError) as caught:
        take(make(20), n)
    assert str(caught.value) == f"cannot take {n} training images of 'some': it has 20"


def test_take_refuses_to_lose_a_class() -> None:
    images = make(20, classes=3)
    by_class = torch.argsort(images.y, stable=True)
    with pytest.raises(UserError, match="the first 5 training images of 'some' hold only 1 of 3 classes: take more"):
        take(replace(images, x=images.x[by_class], y=images.y[by_class]), 5)
