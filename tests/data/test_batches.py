"""Batches: crop, mirror and cutout against a slow reference, the order of a pass, and resuming a stream."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet.data import Augment, Batch, Batches, Images, ordered
from supernet.data.augment import crop_and_mirror
from supernet.errors import UserError


def make(n: int = 24, channels: int = 3, height: int = 9, width: int = 7, test: int = 5) -> Images:
    """Return images of noise without black pixels."""
    g = torch.Generator().manual_seed(n)
    x = torch.randint(1, 256, (n + test, channels, height, width), dtype=torch.uint8, generator=g)
    y = torch.arange(n + test) % 3
    return Images.of("some", (x[:n], y[:n]), ("a", "b", "c"), (x[n:], y[n:]) if test else None)


def normalised(images: Images, x: Tensor) -> np.ndarray:
    mean, std = (np.array(v)[:, None, None] for v in (images.mean, images.std))
    return (x.numpy().astype(np.float64) / 255 - mean) / std


class Crops(NamedTuple):
    """Every crop and mirror of one image, each made the slow way."""

    keys: list[tuple[int, int, bool]]  # (top, left, mirrored)
    x: np.ndarray  # (len(keys), C, H, W), normalised

    def matching(self, x: np.ndarray) -> list[tuple[int, int, bool]]:
        """Return the keys of the crops that are `x`."""
        distances = np.abs(self.x - x).reshape(len(self.keys), -1).max(axis=1)
        return [self.keys[number] for number in np.flatnonzero(distances < 1e-5)]


def crops(images: Images, index: int, augment: Augment) -> Crops:
    _, height, width = images.x.shape[1:]
    pad = augment.pad
    padded = np.pad(images.x[index].numpy(), ((0, 0), (pad, pad), (pad, pad)))
    flips = (False, True) if augment.mirror else (False,)
    keys = list(itertools.product(range(2 * pad + 1), range(2 * pad + 1), flips))
    cut = [padded[:, top : top + height, left : left + width] for top, left, _ in keys]
    pixels = np.stack([crop[:, :, ::-1] if flip else crop for crop, (_, _, flip) in zip(cut, keys, strict=True)])
    return Crops(keys, normalised(images, torch.from_numpy(pixels)))


def squares(height: int, width: int, side: int) -> np.ndarray:
    """Return the pixels that each square leaves, (H * W, H, W), one square per centre."""
    kept = np.ones((height, width, height, width), dtype=bool)
    for row, column in itertools.product(range(height), range(width)):
        top, left = row - side // 2, column - side // 2
        kept[row, column, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = False
    return kept.reshape(-1, height, width)


def stream(images: Images, augment: Augment, size: int = 6, seed: int = 0) -> Batches:
    return Batches(images, torch.arange(len(images.x)), size, augment, seed)


def drawn(batches: Batches, count: int) -> list[Batch]:
    return [batches.next() for _ in range(count)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [Augment(2, True), Augment(2, False), Augment(0, True)])
def test_each_image_is_one_of_its_crops_and_all_crops_occur(augment: Augment, channels: int) -> None:
    images = make(channels=channels)
    options = [crops(images, i, augment) for i in range(len(images.x))]
    seen: set[tuple[int, int, bool]] = set()
    differing = np.zeros(3)
    for batch in drawn(stream(images, augment), 120):
        keys = [options[i].matching(x.numpy()) for x, i in zip(batch.x, batch.index.tolist(), strict=True)]
        assert all(len(key) == 1 for key in keys)
        seen.update(key[0] for key in keys)
        differing += [len(set(values)) > 1 for values in zip(*(key[0] for key in keys), strict=True)]
    assert seen == set(options[0].keys)  # every offset, mirrored and not
    random = [augment.pad > 0, augment.pad > 0, augment.mirror]
    assert ((differing > 100) == random).all()  # the images of a batch have their own offsets in each direction


def test_without_augmentation_images_are_unchanged() -> None:
    images = make()
    for batch in drawn(stream(images, Augment()), 4):
        np.testing.assert_allclose(batch.x.numpy(), normalised(images, images.x[batch.index]), atol=1e-5)
        assert torch.equal(batch.y, images.y[batch.index])


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_cutout_is_one_clipped_square_centred_anywhere_in_each_image(side: int) -> None:
    images = make(channels=2)
    patterns = {kept.tobytes() for kept in squares(9, 7, side)}
    seen: list[bytes] = []
    for batch in drawn(stream(images, Augment(cutout=side), size=12), 40):
        whole = normalised(images, images.x[batch.index])
        kept = (batch.x != 0).all(dim=1).numpy()
        np.testing.assert_allclose(batch.x.numpy(), whole * kept[:, None], atol=1e-5)
        seen.extend(k.tobytes() for k in kept)
    assert set(seen) == patterns  # every possible square and no other pattern
    assert side == 30 or len(set(seen[:12])) > 4  # not one square for the batch


def test_cutout_with_a_probability_leaves_the_other_images_whole() -> None:
    images = make(n=12)
    streams = [stream(images, Augment(cutout=3), size=12) for _ in range(4)]
    for each, probability in zip(streams[1:], (1.0, 0.3, 0.0), strict=True):
        each.cutout_probability = probability
    always, same, some, never = ([(x == 0).flatten(1).any(1) for x, *_ in drawn(each, 40)] for each in streams)
    assert torch.cat(always).all()
    assert torch.equal(torch.cat(same), torch.cat(always))
    assert 0.2 < torch.cat(some).double().mean() < 0.4
    assert not torch.cat(never).any()


def test_cutout_follows_the_crop_and_hides_padding() -> None:
    images = make(n=6, channels=1)
    augment = Augment(pad=3, cutout=4)
    kept = squares(9, 7, 4)[None]
    options = [(crops(images, i, augment).x * kept).reshape(-1, 9 * 7) for i in range(6)]
    for batch in drawn(stream(images, augment), 5):
        for x, index in zip(batch.x.numpy(), batch.index.tolist(), strict=True):
            assert np.abs(options[index] - x.reshape(9 * 7)).max(axis=1).min() < 1e-5
    augmented = torch.cat([batch.x for batch in drawn(stream(images, augment), 5)])
    black = -images.mean[0] / images.std[0]
    assert ((augmented - black).abs() < 1e-5).any()  # padding is black before normalisation


def test_mirror_is_a_fair_coin() -> None:
    images = make(n=20)
    options = [crops(images, i, Augment(mirror=True)) for i in range(20)]
    batches = drawn(stream(images, Augment(mirror=True), size=20), 40)
    images_drawn = [(x.numpy(), i) for batch in batches for x, i in zip(batch.x, batch.index.tolist(), strict=True)]
    flips = [options[i].matching(x)[0][2] for x, i in images_drawn]
    assert abs(np.mean(flips) - 0.5) < 0.07  # 4 sigma of 800 draws


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [Augment(), Augment(1, True, 2)])
def test_batches_are_float_and_channels_last(channels: int, augment: Augment) -> None:
    batch = stream(make(channels=channels), augment).next()
    assert batch.x.dtype == torch.float32
    assert batch.x.shape == (6, channels, 9, 7)
    assert batch.x.is_contiguous(memory_format=torch.channels_last)
    assert (batch.y.dtype, batch.index.dtype) == (torch.int64, torch.int64)


def test_images_are_not_modified_and_shared_between_streams() -> None:
    images = make()
    before = images.x.clone()
    for _ in range(2):
        drawn(stream(images, Augment(2, True, 3)), 4)
    assert torch.equal(images.x, before)
    assert stream(images, Augment())._pixels.data_ptr() == images.x.data_ptr()


def test_a_pass_has_every_image_of_the_subset_once_in_a_new_order() -> None:
    images, subset = make(), torch.tensor([1, 3, 4, 8, 9, 20])
    batches = Batches(images, subset, 2, Augment(), 0)
    assert batches.steps == 3
    passes = [torch.cat([batch.index for batch in drawn(batches, 3)]).tolist() for _ in range(4)]
    assert all(sorted(order) == subset.tolist() for order in passes)
    assert len({tuple(order) for order in passes}) == 4


def test_the_incomplete_last_batch_is_dropped() -> None:
    batches = Batches(make(), torch.arange(11), 4, Augment(), 0)
    assert batches.steps == 2
    passes = [torch.cat([batch.index for batch in drawn(batches, 2)]) for _ in range(20)]
    assert all(len(torch.unique(order)) == 8 for order in passes)
    assert len(torch.unique(torch.cat(passes))) == 11  # not the same images in every pass


def test_the_batch_size_is_at_most_the_size_of_the_subset() -> None:
    batches = Batches(make(), torch.tensor([5, 2, 7]), 64, Augment(), 0)
    assert batches.steps == 1
    assert sorted(batches.next().index.tolist()) == [2, 5, 7]


def test_a_stream_depends_only_on_its_seed() -> None:
    images = make()
    torch.manual_seed(1)
    first = drawn(stream(images, Augment(2, True, 3), seed=5), 6)
    torch.manual_seed(2)
    again, other = (drawn(stream(images, Augment(2, True, 3), seed=seed), 6) for seed in (5, 6))
    assert all(torch.equal(a.x, b.x) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a.index, b.index) for a, b in zip(first, other, strict=True))


def test_what_is_drawn_for_images_does_not_follow_from_the_numbers_of_their_order() -> None:
    images, augment = make(), Augment(pad=2)
    batch = stream(images, augment, seed=7).next()
    pixels = images.x[batch.index].permute(0, 2, 3, 1)
    of_the_order = crop_and_mirror(pixels, augment, torch.Generator().manual_seed(7)).permute(0, 3, 1, 2)
    assert np.abs(batch.x.numpy() - normalised(images, of_the_order)).max() > 0.1


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 8, 9])  # 4 batches per pass: start, middle and end of passes
def test_a_stream_continues_bit_for_bit_from_a_saved_state(steps: int) -> None:
    images, augment = make(), Augment(2, True, 3)
    original = stream(images, augment)
    drawn(original, steps)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    expected = drawn(original, 10)
    file.seek(0)
    continued = stream(images, augment, seed=99)
    drawn(continued, 2)
    continued.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(expected, drawn(continued, 10), strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)
        assert torch.equal(a.index, b.index)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_stream_on_a_gpu_continues_and_agrees_with_the_reference() -> None:
    images, augment = make(), Augment(2, True)
    options = [crops(images, i, augment) for i in range(len(images.x))]
    original = Batches(images.to("cuda"), torch.arange(24), 6, augment, 0, "cuda")
    drawn(original, 3)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    continued = Batches(images, torch.arange(24), 6, augment, 9, "cuda")
    continued.load_state_dict(torch.load(file, weights_only=True, map_location="cuda"))
    for a, b in zip(drawn(original, 9), drawn(continued, 9), strict=True):
        assert a.x.device.type == "cuda"
        assert torch.equal(a.x, b.x)
        for x, i in zip(a.x.cpu(), a.index.tolist(), strict=True):
            assert len(options[i].matching(x.numpy())) == 1


def test_later_batches_do_not_change_a_state() -> None:
    batches = stream(make(), Augment(2, True, 3))
    drawn(batches, 2)
    state = batches.state_dict()
    expected = drawn(batches, 9)
    batches.load_state_dict(state)
    assert all(torch.equal(a.x, b.x) for a, b in zip(expected, drawn(batches, 9), strict=True))


def test_a_state_of_another_stream_is_refused() -> None:
    state = stream(make(), Augment(), size=6).state_dict()
    with pytest.raises(UserError) as caught:
        stream(make(), Augment(), size=4).load_state_dict(state)
    expected = "cannot continue a stream of 24 images by 6 on cpu as one of 24 images by 4 on cpu"
    assert str(caught.value) == expected


def test_a_stream_goes_on_on_another_device_in_its_order_where_that_is_asked_for() -> None:
    images, augment = make(), Augment(pad=2)
    before = stream(images, augment, size=6)
    before.next()
    there = before.state_dict()
    there["stream"][-1], there["draws"] = "cuda", torch.zeros(16, dtype=torch.uint8)  # as a GPU's generator has them
    with pytest.raises(UserError, match="by 6 on cuda as one of 24 images by 6 on cpu"):
        stream(images, augment, size=6).load_state_dict(there)
    after = stream(images, augment, size=6)
    after.load_state_dict(there, anywhere=True)
    assert [after.next().index.tolist() for _ in range(3)] == [before.next().index.tolist() for _ in range(3)]
    with pytest.raises(UserError, match="as one of 24 images by 4"):
        stream(images, augment, size=4).load_state_dict(there, anywhere=True)


@pytest.mark.parametrize(
    ("augment", "subset", "size", "message"),
    [
        ({}, [0, 1], 0, "a batch has at least 1 image, not 0"),
        ({}, [], 4, "no images of 'some' to make batches of"),
        ({"pad": -1}, [0, 1], 4, "pad and cutout are pixels, 0 or more, not -1 and 0"),
        ({"cutout": -2}, [0, 1], 4, "pad and cutout are pixels, 0 or more, not 0 and -2"),
        ({"crop": 4, "pad": 2}, [0, 1], 4, "crop and pad are two ways to crop: give one, not crop 4 and pad 2"),
        ({"crop": 0}, [0, 1], 4, "crop is a side in pixels, 1 or more, not 0"),
        ({"crop": 8}, [0, 1], 4, "images of 'some' are too small for a crop of 8x8: they have 9x7 pixels"),
    ],
)
def test_stream_mistakes(augment: dict[str, int], subset: list[int], size: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Batches(make(), torch.tensor(subset, dtype=torch.int64), size, Augment(**augment), 0)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_ordered_yields_a_subset_once_in_order_with_the_incomplete_last_batch() -> None:
    images, subset = make(), torch.tensor([7, 0, 3, 22, 5])
    batches = list(ordered(images, subset, 2))
    assert [batch.index.tolist() for batch in batches] == [[7, 0], [3, 22], [5]]
    assert torch.equal(torch.cat([batch.y for batch in batches]), images.y[subset])
    x = torch.cat([batch.x for batch in batches])
    np.testing.assert_allclose(x.numpy(), normalised(images, images.x[subset]), atol=1e-5)
    assert all(batch.x.is_contiguous(memory_format=torch.channels_last) for batch in batches)


def test_ordered_yields_all_test_images_normalised_as_training_images() -> None:
    images = make(test=5)
    batches = list(ordered(images, None, 4, test=True))
    assert [batch.index.tolist() for batch in batches] == [[0, 1, 2, 3], [4]]
    assert images.x_test is not None
    assert images.y_test is not None
    assert torch.equal(torch.cat([batch.y for batch in batches]), images.y_test)
    x = torch.cat([batch.x for batch in batches])
    np.testing.assert_allclose(x.numpy(), normalised(images, images.x_test), atol=1e-5)


@pytest.mark.parametrize(("side", "top", "left"), [(7, 1, 0), (6, 1, 0), (4, 2, 1), (1, 4, 3)])
@pytest.mark.parametrize("test", [False, True])
def test_ordered_yields_the_centre_square(side: int, top: int, left: int, test: bool) -> None:
    images = make(channels=2)
    x = images.x_test if test else images.x
    assert x is not None
    batches = list(ordered(images, torch.tensor([3, 0, 4]), 2, test=test, crop=side))
    expected = normalised(images, x[[3, 0, 4], :, top : top + side, left : left + side])
    np.testing.assert_allclose(torch.cat([batch.x for batch in batches]).numpy(), expected, atol=1e-5)
    assert all(batch.x.is_contiguous(memory_format=torch.channels_last) for batch in batches)


def test_ordered_refuses_mistakes_before_the_first_batch() -> None:
    with pytest.raises(UserError, match=r"^'some' has no test images$"):
        ordered(replace(make(), x_test=None, y_test=None), None, 4, test=True)
    with pytest.raises(UserError, match=r"^a batch has at least 1 image, not 0$"):
        ordered(make(), None, 0)
    with pytest.raises(UserError, match=r"^images of 'some' are too small for a crop of 8x8: they have 9x7 pixels$"):
        ordered(make(), None, 4, crop=8)
    with pytest.raises(UserError, match=r"^crop is a side in pixels, 1 or more, not -1$"):
        ordered(make(), None, 4, crop=-1)
