"""Datasets as people have them: parts of others, Hugging Face's items, random transforms, broken items."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch.utils.data import ConcatDataset, Subset, TensorDataset, random_split

import pairs
from supernet.data import load, source_name
from supernet.errors import UserError

Y = [0, 1, 2, 0, 1, 2]
ANIMALS = ["cat", "dog", "eel"]
X = np.random.default_rng(0).integers(0, 256, (6, 7, 5), dtype=np.uint8)


class Pairs(pairs.Pairs):
    def __init__(self, images: Any = X, labels: Any = tuple(Y), classes: Any = None) -> None:
        super().__init__(images, labels, classes)


class Rows:
    """A dataset of Hugging Face: no torch Dataset, and its items are mappings."""

    def __init__(self, image: str = "image", label: str = "label") -> None:
        self.keys, self.images = (image, label), [Image.fromarray(x) for x in X]
        named = {"coarse_label": ["animal"], label: ANIMALS}
        self.features = {name: SimpleNamespace(names=names) for name, names in named.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return {"id": index, **dict(zip(self.keys, (self.images[index], Y[index]), strict=True))}


def message(source: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **more)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- parts of others


def test_parts_of_datasets_keep_the_class_names() -> None:
    named = Pairs(classes=ANIMALS)
    assert load(Subset(Subset(named, range(6)), range(3))).classes == tuple(ANIMALS)
    assert load(ConcatDataset([named, Subset(named, [0])])).classes == tuple(ANIMALS)
    first, _ = random_split(ConcatDataset([named] * 5), [25, 5], torch.Generator().manual_seed(0))
    assert load(first).classes == tuple(ANIMALS)
    assert load(Subset(Pairs(), range(3))).classes == ("0", "1", "2")


def test_a_part_may_lack_the_last_classes() -> None:
    assert load(Subset(Pairs(classes=ANIMALS), [0, 1])).classes == ("cat", "dog")
    lacking = "labels of Subset has no image of class 1 ('dog'): each of classes 0 to 2 needs one"
    assert message(Subset(Pairs(classes=ANIMALS), [0, 2])) == lacking


def test_datasets_of_different_classes_are_not_joined() -> None:
    both = ConcatDataset([Pairs(classes=ANIMALS), Pairs(classes=ANIMALS[::-1])])
    assert message(both) == "the datasets of a ConcatDataset have different classes: give all the same"


# --- Hugging Face


@pytest.mark.parametrize(("image", "label"), [("image", "label"), ("img", "label"), ("img", "fine_label")])
def test_items_of_hugging_face(image: str, label: str) -> None:
    images = load(Rows(image, label))
    assert (images.name, images.classes, images.y.tolist()) == ("Rows", tuple(ANIMALS), Y)
    assert np.array_equal(images.x[:, 0], X)
    assert source_name(Rows()) == "Rows"


def test_items_without_image_or_label() -> None:
    wanted = "expected image or img, and label, labels, fine_label or class"
    assert message(Rows("picture")) == f"item 0 of Rows holds id, picture, label; {wanted}"
    assert message(Rows(label="target")) == f"item 0 of Rows holds id, image, target; {wanted}"


# --- labels and values


@pytest.mark.parametrize(
    "labels",
    [
        [ANIMALS[y] for y in Y],
        [np.array(ANIMALS[y]) for y in Y],
        [ANIMALS[y].encode() for y in Y],
    ],
)
def test_names_as_labels(labels: Any) -> None:
    images = load(Pairs(labels=labels))
    assert (images.classes, images.y.tolist()) == (tuple(ANIMALS), Y)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor(Y)[:, None],
        torch.eye(3)[Y],
        np.array(Y)[:, None],
        np.array(Y) * 1.0,
        [float(y) for y in Y],
        torch.tensor(Y, dtype=torch.bfloat16),
    ],
)
def test_forms_of_labels(labels: Any) -> None:
    images = load(Pairs(labels=labels))
    assert (images.classes, images.y.tolist()) == (("0", "1", "2"), Y)


def test_values_of_all_items_decide_on_their_scale() -> None:
    dark = np.minimum(X, 1)  # as the first item alone, floats of 0 and 1 would be black and white
    pixels = np.concatenate([dark[:1], X[1:]])
    images = load(Pairs(torch.from_numpy(pixels).float()))
    assert np.array_equal(images.x[:, 0], pixels)
    assert images.notes == ("images: floats from 0 to 255 taken as pixel values",)
    shaded = np.concatenate([X[:1], X[1:] / 4])  # with fractions, and without anything bright
    assert load(Pairs(torch.from_numpy(shaded))).x[0].max() == X[0].max() > 128
    wide = load(Pairs(pixels.astype(np.uint16) * 100))
    low, high = 0, 100 * int(pixels.max())
    assert wide.levels == (low, high)
    assert np.array_equal(wide.x[:, 0], np.rint(pixels * 100.0 * 255 / high))
    assert load(Pairs(torch.from_numpy(pixels).long()), 5).x.shape == (6, 1, 5, 5)
    assert load(Pairs(np.random.default_rng(0).integers(0, 256, (6, 13, 8, 8), dtype=np.uint8))).x.shape[1] == 13


def test_items_with_a_mask_are_refused() -> None:
    assert message(Pairs(np.ma.masked_equal(X, 0))).startswith("item 0 of Pairs has a mask, and no value may")


def test_normalised_floats_are_refused() -> None:
    advice = "give uint8 images, or floats in [0, 1] before normalisation"
    assert message(Pairs(torch.from_numpy(X) / 127.5 - 1)).endswith(advice)


# --- random transforms and broken items


class Noisy(Pairs):
    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        return image ^ np.random.default_rng().integers(0, 256, image.shape, np.uint8), label


def test_random_transforms_are_noticed() -> None:
    note = (
        "Noisy gives other pixels each time: read once, as they came; "
        "take the random transforms out, supernet augments itself"
    )
    assert load(Noisy()).notes == (note,)
    pictures = [Image.fromarray(x) for x in X]
    tensors = TensorDataset(torch.from_numpy(X), torch.tensor(Y))
    for quiet in (Pairs(), Pairs(torch.from_numpy(X)), Pairs(pictures), tensors):
        assert load(quiet).notes == ()


class Broken(Pairs):
    def __getitem__(self, index: int) -> Any:
        if index in (0, 4):
            raise OSError(f"no file {index}")
        return super().__getitem__(index)


@pytest.mark.parametrize("images", [X, [Image.fromarray(x) for x in X], X.astype(np.uint16) * 99])
def test_broken_items_are_left_out_where_that_is_asked_for(images: Any) -> None:
    loaded = load(Broken(images), skip_broken=True)
    assert loaded.y.tolist() == [1, 2, 0, 2]
    assert loaded.notes[0] == "2 of 6 items left out (item 0: OSError no file 0)"
    with pytest.raises(OSError, match="no file 0"):
        load(Broken(images))


def test_an_item_is_compared_with_the_first_that_can_be_read() -> None:
    for images, told in (
        ([*X[:2], X[2, :6]], "another shape (C, H, W) than item 1: (1, 6, 5), not (1, 7, 5)"),
        ([*X[:2], X[2].astype(np.int64)], "dtype int64 and item 1 uint8"),
    ):
        assert message(Broken(images), skip_broken=True).startswith(f"item 2 of Broken has {told}")


def test_pictures_that_cannot_be_decoded_are_broken() -> None:
    file = BytesIO()
    Image.fromarray(X[0]).save(file, "png")
    content = file.getvalue()
    files = [content, content[: len(content) // 2], content]
    pictures = Pairs([Image.open(BytesIO(content)) for content in files], [0, 1, 1])
    assert message(pictures).startswith("cannot read the image of item 1 of Pairs: ")
    loaded = load(pictures, 4, skip_broken=True)
    assert loaded.y.tolist() == [0, 1]
    assert loaded.notes[0].startswith("1 of 3 items left out (item 1: cannot read the image of item 1 ")


def test_nothing_can_be_read() -> None:
    broken = Subset(Broken(), [0, 4])
    assert message(broken, skip_broken=True) == "no item of Subset can be read: item 0: OSError no file 0"


def test_more_images_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_MEMORY_GB", "0.0000004")
    assert message(Pairs()).startswith("Pairs needs 4.2e-07 GB of memory, but SUPERNET_MEMORY_GB allows 4e-07 GB")


# --- arrays


def test_arrays_in_a_tuple() -> None:
    y = np.array(Y)
    images = load((X, y))
    assert np.array_equal(images.x[:, 0], X)
    assert (images.name, images.y.tolist(), images.x_test) == ("arrays", Y, None)
    for x, labels in ((torch.from_numpy(X), torch.tensor(Y)), (X, Y), (torch.from_numpy(X).unsqueeze(1), y)):
        assert load((x, labels)).fingerprint == images.fingerprint
    both = load(((X, [ANIMALS[label] for label in Y]), (X[:2], ["eel", "dog"])), 5)
    assert both.classes == tuple(ANIMALS)
    assert both.x_test is not None
    assert both.y_test is not None
    assert (both.x_test.shape, both.y_test.tolist()) == ((2, 1, 5, 5), [2, 1])
    assert source_name((X, y)) == "arrays"
    assert load(([torch.from_numpy(x) for x in X], y)).fingerprint == images.fingerprint


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ((), "arrays are given as (X, y), or as ((X, y), (X_test, y_test)) with test images"),
        ((X,), "arrays are given as (X, y), or as ((X, y), (X_test, y_test)) with test images"),
        ((X, Y, X, Y), "arrays are given as (X, y), or as ((X, y), (X_test, y_test)) with test images"),
        (((X, Y), (X,)), "arrays are given as (X, y), or as ((X, y), (X_test, y_test)) with test images"),
        (("a.png", Y), "X is of type str; expected an array or a tensor"),
        ((np.ma.masked_equal(np.zeros((6, 8, 8)), 0), Y), "X has a mask"),
        ((X, [[0], [1, 2]]), "y cannot be made one array: give an array or a tensor"),
        ((X, Y[:3]), "X of the arrays has 6 images but y has 3 labels"),
        ((X[:, :0], Y), "X of the arrays has shape (6, 0, 5); expected (N, H, W), (N, H, W, C) or (N, C, H, W) with"),
        (((X, Y), (X, [3] * 6)), "y_test of the arrays holds label 3, which no training image has"),
    ],
)
def test_mistakes_in_arrays(arrays: Any, expected: str) -> None:
    assert message(arrays).startswith(expected)


# --- the classes of a run


def test_classes_of_a_run_for_every_source(tmp_path: Path) -> None:
    classes = ["eel", "dog", "cat", "fox"]
    for source in (Pairs(classes=ANIMALS), Rows(), Pairs(labels=[ANIMALS[y] for y in Y])):
        images = load(source, classes=classes)
        assert (images.classes, images.y.tolist()) == (tuple(classes), [2 - y for y in Y])
    one = load(Subset(Pairs(classes=ANIMALS), [1]), classes=classes)
    assert one.y.tolist() == [1]
    unknown = "labels of Pairs: unknown class 'eel'; known: cat, dog"
    assert message(Pairs(classes=ANIMALS), classes=["cat", "dog"]) == unknown
    counted = load(Pairs(labels=[y + 1 for y in Y], classes=ANIMALS))
    assert counted.first_label == 1
    for arrays in ((X, [y + 1 for y in Y]), (X[:2], [1, 2])):
        np.savez(tmp_path / "a.npz", x_train=arrays[0], y_train=arrays[1])
        for source in (arrays, tmp_path / "a.npz"):
            again = load(source, classes=counted.classes, first_label=1)
            assert again.y.tolist() == Y[: len(arrays[1])]
    digits = load("digits")
    assert load("digits", classes=digits.classes[::-1]).y.tolist() == (9 - digits.y).tolist()
    assert message("digits", classes=["0", "1"]).startswith("y of digits: unknown class '2'")


def test_16_bit_pictures_of_a_dataset_are_scaled_from_their_range() -> None:
    deep = [Image.fromarray(np.linspace(low, high, 64).reshape(8, 8).astype(np.uint16)) for low, high in RANGES]
    images = load(Pairs(deep, [0, 1]))
    assert images.levels == (100, 4000)
    assert "16-bit values 100 to 4000 read as black to white" in " ".join(images.notes)
    assert (int(images.x.min()), int(images.x.max())) == (0, 255)
    assert int(load(Pairs(deep, [0, 1]), levels=(0, 65535)).x.max()) == round(4000 / 257)


def test_16_bit_pictures_are_found_behind_many_others() -> None:
    deep = [Image.fromarray(np.linspace(low, high, 64).reshape(8, 8).astype(np.uint16)) for low, high in RANGES]
    images = load(Pairs([*[Image.new("L", (8, 8), 7)] * 20, *deep], [0, 1] * 11))
    assert images.levels == (100, 4000)
    assert "16-bit values 100 to 4000 read as black to white" in " ".join(images.notes)
    assert int(images.x[-1].max()) == 255
    assert int(images.x[0].max()) == 7


def test_16_bit_pictures_are_read_whole_for_a_run_of_8_bits_as_those_of_a_folder() -> None:
    deep = [Image.fromarray(np.linspace(low, high, 64).reshape(8, 8).astype(np.uint16)) for low, high in RANGES]
    images = load(Pairs(deep, [0, 1]), classes=["0", "1"])
    assert (images.levels, int(images.x.max())) == (None, round(4000 / 257))


def test_damaged_16_bit_pictures_of_a_dataset_are_named_or_left_out() -> None:
    def read(cut: bool) -> Image.Image:
        file = BytesIO()
        Image.fromarray(np.arange(100, 1700, dtype=np.uint16).reshape(40, 40)).save(file, "png")
        content = file.getvalue()
        return Image.open(BytesIO(content[: len(content) // 2] if cut else content))

    def pairs() -> Pairs:
        return Pairs([read(False), read(True), read(False), Image.new("I", (40, 40), 2**17)], [0, 1, 1, 0])

    assert message(pairs()).startswith("cannot read the image of item 1 of Pairs: ")
    loaded = load(pairs(), skip_broken=True)
    assert loaded.y.tolist() == [0, 1]
    assert loaded.levels == (100, 1699)


RANGES = ((100, 3000), (200, 4000))


def test_pictures_that_lie_on_their_side_are_brought_to_one_size() -> None:
    """A phone writes all pictures alike, and notes how they were held: upright they are of two sizes."""
    images = [Image.fromarray(np.full((6, 8, 3), 40 * number, np.uint8)) for number in range(4)]
    images[3].getexif()[ExifTags.Base.Orientation] = 6
    found = load(pairs.Pairs(images, [0, 1, 0, 1]))
    assert found.x.shape == (4, 1, 6, 6)
    assert load(pairs.Pairs(images[:3], [0, 1, 0])).x.shape == (3, 1, 6, 8)  # of one size, they stay as they are


@pytest.mark.parametrize("suffix", ["jpeg", "tiff", "png"])
def test_files_that_lie_on_their_side_are_of_one_size(suffix: str) -> None:
    exif, files = Image.Exif(), []
    exif[ExifTags.Base.Orientation] = 6
    if suffix == "jpeg":
        exif[ExifTags.Base.ImageWidth] = 4032  # as before it was made smaller
    for number in range(4):
        file = BytesIO()
        Image.fromarray(np.full((6, 8), 40 * number, np.uint8)).save(file, suffix, exif=exif)
        files.append(Image.open(file))
    assert load(pairs.Pairs(files, [0, 1, 0, 1])).x.shape == (4, 1, 8, 6)
    upright = Image.fromarray(np.full((8, 6), 9, np.uint8))
    assert load(pairs.Pairs([*files[:3], upright], [0, 1, 0, 1])).x.shape == (4, 1, 8, 6)
