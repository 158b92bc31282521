"""`load`: digits, .npz files and torch Datasets, and one clear line for each mistake in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import supernet
from pairs import Pairs
from supernet.data import Images, is_available, load, read_picture, same_source, source_name
from supernet.errors import UserError

Y = np.array([0, 1, 2, 0, 1, 2])
KNOWN = (
    "digits, a folder of class folders, a folder of IDX or CIFAR files, a .npz file, shards (.tar, .parquet, .arrow)"
)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def message(source: Any, image_size: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(source, image_size)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "some.npz", **arrays)
    return folder / "some.npz"


# --- digits


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()
    images = load("digits")
    assert images.x_test is not None
    assert images.y_test is not None
    x = torch.cat([images.x, images.x_test])[:, 0].numpy()
    np.testing.assert_array_equal(x, np.rint(original.images * 255 / 16))
    np.testing.assert_array_equal(torch.cat([images.y, images.y_test]).numpy(), original.target)


def test_digits_as_a_set() -> None:
    images = load("digits")
    assert images.x.shape == (1500, 1, 8, 8)
    assert images.x_test is not None
    assert images.x_test.shape == (297, 1, 8, 8)
    assert (images.name, images.classes, images.mirror) == ("digits", tuple("0123456789"), False)
    assert (int(images.x.min()), int(images.x.max())) == (0, 255)
    assert images.fingerprint == "5172f23c94045037"  # of the file that comes with the package


def test_a_folder_called_digits_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("0", "1"):
        (tmp_path / "digits" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(pixels(8, 8, seed=number)).save(tmp_path / "digits" / label / f"{number}.png")
    found = load(Path("digits"))
    assert len(found.classes) == 2
    assert load(source_name(Path("digits"))).fingerprint == found.fingerprint
    assert same_source(source_name(Path("digits")), str(tmp_path / "digits"))
    assert not same_source(source_name(Path("digits")), "digits")


def test_only_the_estimator_knows_scikit_learn() -> None:
    package = Path(supernet.__file__).parent
    assert [path.name for path in package.rglob("*.py") if "sklearn" in path.read_text()] == ["classifier.py"]


# --- sizes of arrays


def resized(x: np.ndarray, size: int, folder: Path) -> np.ndarray:
    return load(saved(folder, x_train=x, y_train=Y), size).x.numpy()


def test_a_multiple_of_the_size_is_averaged(tmp_path: Path) -> None:
    x = pixels(6, 3, 8, 8)
    mean = x.reshape(6, 3, 2, 4, 2, 4).astype(np.float64).mean(axis=(3, 5))
    np.testing.assert_array_equal(resized(x, 2, tmp_path), np.rint(mean))


def test_digits_are_averaged() -> None:
    mean = load("digits").x.numpy().reshape(1500, 1, 4, 2, 4, 2).astype(np.float64).mean(axis=(3, 5))
    np.testing.assert_array_equal(load("digits", 4).x.numpy(), np.rint(mean))


@pytest.mark.parametrize("size", [5, 12])
def test_other_sides_are_resized_bilinearly_with_antialiasing(size: int, tmp_path: Path) -> None:
    x = pixels(6, 3, 8, 8)
    y = F.interpolate(torch.from_numpy(x).double(), size=(size, size), mode="bilinear", antialias=True).numpy()
    assert np.abs(resized(x, size, tmp_path) - y).max() <= 0.51


@pytest.mark.parametrize(("shape", "centre"), [((8, 13), np.s_[:, 2:10]), ((12, 8), np.s_[2:10, :])])
def test_the_centre_square_is_kept(shape: tuple[int, int], centre: Any, tmp_path: Path) -> None:
    x = pixels(6, 3, *shape)
    np.testing.assert_array_equal(resized(x, 8, tmp_path), x[:, :, *centre])
    mean = x[:, :, *centre].reshape(6, 3, 4, 2, 4, 2).astype(np.float64).mean(axis=(3, 5))
    np.testing.assert_array_equal(resized(x, 4, tmp_path), np.rint(mean))


def test_arrays_keep_their_size_by_default(tmp_path: Path) -> None:
    x = pixels(6, 3, 40, 50)
    np.testing.assert_array_equal(load(saved(tmp_path, x_train=x, y_train=Y)).x.numpy(), x)


def test_a_large_set_is_resized_in_chunks_without_a_seam(tmp_path: Path) -> None:
    x, y = pixels(2050, 4, 4), np.arange(2050) % 2
    mean = x.reshape(2050, 1, 2, 2, 2, 2).astype(np.float64).mean(axis=(3, 5))
    np.testing.assert_array_equal(load(saved(tmp_path, x_train=x, y_train=y), 2).x.numpy(), np.rint(mean))


# --- .npz


@pytest.mark.parametrize(
    ("shape", "channels_last"),
    [((5, 7), False), ((5, 7, 3), True), ((5, 7, 1), True), ((3, 5, 7), False), ((4, 9, 9), False), ((3, 5, 4), True)],
)
def test_the_layouts_of_arrays(shape: tuple[int, ...], channels_last: bool, tmp_path: Path) -> None:
    x = pixels(6, *shape)
    images = load(saved(tmp_path, x_train=x, y_train=Y))
    expected = np.moveaxis(x, 3, 1) if channels_last else x if x.ndim == 4 else x[:, None]
    np.testing.assert_array_equal(images.x.numpy(), expected)
    assert (images.name, images.classes, images.mirror) == ("some", ("0", "1", "2"), True)
    assert (images.x_test, images.y_test) == (None, None)
    assert images.y.tolist() == Y.tolist()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_scaled_and_rounded(dtype: str, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 6 * 1050, dtype=dtype).reshape(1050, 2, 3)  # more than one chunk
    images = load(saved(tmp_path, x_train=x, y_train=np.arange(1050) % 2))
    np.testing.assert_array_equal(images.x[:, 0].numpy(), np.rint(x.astype(np.float64) * 255))
    levels = np.arange(256).reshape(2, 1, 128)
    again = load(saved(tmp_path, x_train=(levels / 255).astype(dtype), y_train=Y[:2]))
    np.testing.assert_array_equal(again.x.numpy(), levels[:, None].swapaxes(1, 2))


def test_test_images_are_read_and_may_lack_classes(tmp_path: Path) -> None:
    x, x_test = pixels(6, 8, 8), pixels(2, 8, 8, seed=1)
    path = saved(tmp_path, x_train=x, y_train=Y, x_test=x_test, y_test=np.array([2, 2], dtype=np.uint8), other=x)
    images = load(str(path), 8)
    assert images.x_test is not None
    assert images.y_test is not None
    np.testing.assert_array_equal(images.x_test[:, 0].numpy(), x_test)
    assert images.y_test.tolist() == [2, 2]
    assert images.classes == ("0", "1", "2")


X = pixels(6, 8, 8)
FLOATS = X.astype(np.float32) / 255
FLOATS[0, 0, :2] = 0, 1
ADVICE = "give uint8 images, or floats in [0, 1] before normalisation"
UNDERSTOOD = (
    "; expected x_train, y_train and, if you have them, x_val, y_val, x_test, y_test; "
    "or MedMNIST's train_images, train_labels and so on"
)
EXPECTED = "expected (N, H, W), (N, H, W, C) or (N, C, H, W) with C from 1 to 4"
NPZ_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"x_train": X}, "'{path}' has no array 'y_train'; it holds x_train"),
    ({"x": X, "y": Y}, "'{path}' has no array 'x_train'; it holds x, y" + UNDERSTOOD),
    (
        {"x_train": X, "X_Train": X, "y_train": Y},
        "'{path}' holds x_train and X_Train: expected one array of images",
    ),
    ({"train_images": X}, "'{path}' has no array 'train_labels'; it holds train_images"),
    ({"x_train": X, "y_train": Y, "x_valid": X}, "'{path}' has no array 'y_valid'; it holds x_train, y_train, x_valid"),
    ({"x_train": X, "y_train": Y, "x_test": X}, "'{path}' has no array 'y_test'; it holds x_train, y_train, x_test"),
    ({}, "'{path}' has no array 'x_train'; it holds nothing" + UNDERSTOOD),
    ({"x_train": X.astype(object), "y_train": Y}, "cannot read '{path}': not an .npz file of plain arrays, or damaged"),
    ({"x_train": X.astype(str), "y_train": Y}, "{x} has dtype <U3; expected uint8, or floats in [0, 1]"),
    ({"x_train": X * 1.5, "y_train": Y}, "{x} holds floats from 0 to 382.5; " + ADVICE),
    ({"x_train": FLOATS * 2.6, "y_train": Y}, "{x} holds floats from 0 to 2.6; " + ADVICE),
    (
        {"x_train": FLOATS, "y_train": Y, "x_test": X * 1.0, "y_test": Y},
        "x_test of 'some.npz' holds floats from 0 to 255; " + ADVICE,
    ),
    (
        {"x_train": X.astype(int), "y_train": Y, "x_test": X.astype(int) + 1, "y_test": Y},
        "x_test of 'some.npz' holds integers from 1 to 256; expected 0 to 255",
    ),
    ({"x_train": FLOATS * 2 - 1, "y_train": Y}, "{x} holds floats from -1 to 1; " + ADVICE),
    ({"x_train": np.where(X > 250, np.nan, FLOATS), "y_train": Y}, "{x} holds NaN or infinity"),
    ({"x_train": np.where(X > 250, -np.inf, FLOATS), "y_train": Y}, "{x} holds NaN or infinity"),
    ({"x_train": X[0], "y_train": Y}, "{x} has shape (8, 8); " + EXPECTED),
    ({"x_train": np.uint8(3), "y_train": Y}, "{x} has shape (); " + EXPECTED),
    ({"x_train": pixels(6, 0, 8), "y_train": Y}, "{x} has shape (6, 0, 8); " + EXPECTED),
    ({"x_train": pixels(6, 8, 8, 0), "y_train": Y}, "{x} has shape (6, 8, 8, 0); " + EXPECTED),
    ({"x_train": X[:0], "y_train": Y[:0]}, "{x} holds no images"),
    ({"x_train": X, "y_train": Y[:5]}, "{x} has 6 images but y_train has 5 labels"),
    ({"x_train": X, "y_train": Y[:0]}, "{x} has 6 images but y_train has 0 labels"),
    ({"x_train": X, "y_train": np.stack([Y, Y], 1)}, "{y} has shape (6, 2); expected one label per image, (N,)"),
    ({"x_train": X, "y_train": Y * 0.5}, "{y} has dtype float64; labels must be integers"),
    ({"x_train": X, "y_train": Y - 1}, "{y} holds label -1; labels are class numbers 0, 1, 2, ..."),
    (
        {"x_train": X, "y_train": Y.astype(np.uint64) + np.uint64(2**63)},
        "{y} holds label 9223372036854775808; labels are class numbers 0, 1, 2, ...",
    ),
    ({"x_train": X, "y_train": Y * 0 + 3}, "{y} holds only one class, 3: at least 2 are needed"),
    ({"x_train": X, "y_train": Y * 2}, "{y} has no image of class 1: each of classes 0 to 4 needs one"),
    (
        {"x_train": X, "y_train": Y * 10**15},
        "{y} has no image of class 1: each of classes 0 to 2000000000000000 needs one",
    ),
    (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
        "y_test of 'some.npz' holds label 3, which no training image has",
    ),
    (
        {"x_train": X, "y_train": Y, "x_test": X[:, :4], "y_test": Y},
        "test images of 'some.npz' have another shape (C, H, W) than training images: "
        "(1, 4, 8) in x_test, (1, 8, 8) in x_train",
    ),
    ({"x_train": X, "y_train": Y, "x_test": X[:0], "y_test": Y[:0]}, "x_test of 'some.npz' holds no images"),
    (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y[:4]},
        "x_test of 'some.npz' has 6 images but y_test has 4 labels",
    ),
]


@pytest.mark.parametrize(("arrays", "expected"), NPZ_MISTAKES, ids=[text[:60] for _, text in NPZ_MISTAKES])
def test_npz_mistakes(arrays: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays)
    assert message(path) == expected.format(path=path, x="x_train of 'some.npz'", y="y_train of 'some.npz'")


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    assert message(path) == f"cannot read '{path}': not an .npz file of plain arrays, or damaged"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    save(path, x_train=X, y_train=Y)
    content = bytearray(path.read_bytes())
    content[250:300] = bytes(b ^ 255 for b in content[250:300])
    path.write_bytes(content)
    assert message(path) == f"cannot read '{path}': not an .npz file of plain arrays, or damaged"


def test_a_single_array_under_the_name_npz(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    with path.open("wb") as file:
        np.save(file, X)
    assert message(path) == f"'{path}' holds a single array: save it with np.savez, as x_train and y_train"


# --- sources that do not exist


def test_unknown_names_and_missing_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message("digts") == f"unknown data 'digts'; did you mean 'digits'? known: {KNOWN}"
    assert message("cifar10") == f"unknown data 'cifar10'; known: {KNOWN}"
    assert message("") == f"unknown data ''; known: {KNOWN}"
    words = "the digits of the package are the text 'digits', no Path"
    assert message(Path("digits")) == f"no such file or folder: './digits'; {words}"
    assert message("some.npz") == "no such file or folder: 'some.npz'"
    assert message("no/such") == "no such file or folder: 'no/such'"
    assert message(tmp_path / "no") == f"no such file or folder: '{tmp_path / 'no'}'"


def test_the_home_of_nobody_is_a_missing_path() -> None:
    assert message("~nobody-of-this-name/photos") == "no such file or folder: '~nobody-of-this-name/photos'"
    assert not is_available("~nobody-of-this-name/photos")
    with pytest.raises(UserError, match=r"^cannot read image '~nobody-of-this-name/a.png': No such file"):
        read_picture("~nobody-of-this-name/a.png", 3, 8, 8)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("1,2")
    assert message(path) == f"'{path}' is not an .npz file: expected {KNOWN}"


def test_errors_of_the_system_are_one_line(tmp_path: Path) -> None:
    name = "n" * 300
    assert message(tmp_path / name) == f"cannot read '{tmp_path / name}': File name too long"


def test_other_objects_and_sizes() -> None:
    assert (
        message(7) == "data cannot be of type int: 7; expected 'digits', a path, a torch Dataset, or arrays as (X, y)"
    )
    assert message("digits", 0) == "image_size must be at least 1 pixel, not 0"


# --- torch Datasets

RGB = pixels(6, 7, 5, 3)
GREY = pixels(6, 7, 5)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (RGB, np.moveaxis(RGB, 3, 1)),
        (torch.from_numpy(RGB).permute(0, 3, 1, 2), np.moveaxis(RGB, 3, 1)),
        (torch.from_numpy(RGB) / 255, np.moveaxis(RGB, 3, 1)),
        ((torch.from_numpy(RGB) / 255).requires_grad_(), np.moveaxis(RGB, 3, 1)),
        (RGB / 255, np.moveaxis(RGB, 3, 1)),
        ([Image.fromarray(x) for x in RGB], np.moveaxis(RGB, 3, 1)),
        (GREY, GREY[:, None]),
        (torch.from_numpy(GREY)[:, None], GREY[:, None]),
        ([Image.fromarray(x) for x in GREY], GREY[:, None]),
    ],
)
def test_kinds_of_images(images: Any, expected: np.ndarray) -> None:
    loaded = load(Pairs(images))
    np.testing.assert_array_equal(loaded.x.numpy(), expected)
    assert (loaded.name, loaded.y.tolist(), loaded.classes) == ("Pairs", Y.tolist(), ("0", "1", "2"))
    assert loaded.x_test is None


def test_bfloat16_images_are_read() -> None:
    loaded = load(Pairs(torch.ones(6, 1, 7, 5, dtype=torch.bfloat16)))
    assert loaded.x.unique().tolist() == [255]


@pytest.mark.parametrize("labels", [torch.from_numpy(Y), Y, Y.astype(np.uint8), [np.array(y) for y in Y], Y.tolist()])
def test_kinds_of_labels(labels: Any) -> None:
    assert load(Pairs(RGB, labels)).y.tolist() == Y.tolist()
    assert load(TensorDataset(torch.from_numpy(GREY), torch.from_numpy(Y))).y.tolist() == Y.tolist()


def test_classes_of_the_dataset_give_the_names() -> None:
    assert load(Pairs(RGB, classes=["cat", "dog", "eel"])).classes == ("cat", "dog", "eel")


def test_labels_refer_to_known_classes_some_of_which_have_no_images(tmp_path: Path) -> None:
    pairs = Pairs(pixels(3, 4, 4), [0, 2, 0], classes=["cat", "dog", "owl"])
    images = load(pairs, classes=["ape", "owl", "cat"])
    assert (images.classes, images.y.tolist()) == (("ape", "owl", "cat"), [2, 1, 2])
    some = saved(tmp_path, x_train=pixels(3, 4, 4), y_train=[2, 2, 2], x_test=pixels(2, 4, 4), y_test=[1, 0])
    images = load(some, classes=["0", "2", "1"])
    assert images.y_test is not None
    assert (images.classes, images.y.tolist(), images.y_test.tolist()) == (("0", "2", "1"), [1, 1, 1], [2, 0])
    with pytest.raises(UserError, match=r"y_test of 'some.npz': unknown label '0'; known: 1, 2"):
        load(some, classes=["1", "2"])
    with pytest.raises(UserError, match=r"labels of Pairs: unknown class 'cat'; known: owl"):
        load(pairs, classes=["owl"])


def test_arrays_are_resized_as_in_an_npz_file(tmp_path: Path) -> None:
    x = pixels(6, 8, 10, 3)
    from_file: Images = load(saved(tmp_path, x_train=x, y_train=Y), 4)
    assert torch.equal(load(Pairs(x), 4).x, from_file.x)
    assert torch.equal(load(Pairs([Image.fromarray(image) for image in x]), 4).x, from_file.x)


def test_pictures_of_one_size_keep_it_and_others_get_the_default_size() -> None:
    one = [Image.new("RGB", (50, 40), color) for color in ("red", "blue", "red", "blue", "red", "blue")]
    assert load(Pairs(one)).x.shape == (6, 3, 40, 50)
    mixed = [*one[:3], *(Image.new("RGB", (w, 90), "blue") for w in (20, 22, 24))]
    assert load(Pairs(mixed)).x.shape == (6, 3, 24, 24)  # of 20 22 24 40 40 40, the lower middle
    large = [*one[:2], *(Image.new("RGB", (290, 230), "blue") for _ in range(4))]
    assert load(Pairs(large)).x.shape == (6, 3, 224, 224)


UNCLEAR = (
    "does not tell channels from height and width: "
    "images of more than 4 channels must be square, with another side than the number of channels"
)
ONE = "expected (H, W), (H, W, C) or (C, H, W) with C from 1 to 4"
OTHER_SHAPE = "item 1 of Pairs has another shape (C, H, W) than item 0: (3, 6, 5), not (3, 7, 5); give all one shape"
DATASET_MISTAKES: list[tuple[Dataset[Any], str]] = [
    (Pairs([]), "Pairs holds no images"),
    (Pairs([RGB[0], RGB[1][:6]]), OTHER_SHAPE),
    (Pairs(FLOATS * 4 - 1.5), "item 0 of Pairs holds floats from -1.5 to 2.5; " + ADVICE),
    (Pairs(torch.full((6, 3, 8, 8), torch.nan)), "item 0 of Pairs holds NaN or infinity"),
    (
        Pairs([RGB[0], RGB[1].astype(int)]),
        "item 1 of Pairs has dtype int64 and item 0 uint8: give all one type",
    ),
    (Pairs(RGB[:, None]), "item 0 of Pairs has shape (1, 7, 5, 3); " + ONE),
    (Pairs(RGB[:, 0, 0]), "item 0 of Pairs has shape (3,); " + ONE),
    (Pairs(pixels(6, 9, 8, 7)), "item 0 of Pairs has shape (9, 8, 7), which " + UNCLEAR),
    (Pairs(["a.png"] * 6), "item 0 of Pairs has an image of type str; expected a PIL image, array or tensor"),
    (
        Pairs([Image.new("RGB", (4, 4)), None, None]),
        "item 1 of Pairs has an image of type NoneType; expected a PIL image, array or tensor",
    ),
    (
        Pairs([Image.new("F", (4, 4))] * 6),
        "cannot read the image of item 0 of Pairs: it has floating-point pixels; save it with 8 or 16 bits",
    ),
    (Pairs(RGB, Y * 0.5), "labels of Pairs has dtype float64; labels must be integers"),
    (Pairs(RGB, torch.zeros(6, 6)), "labels of Pairs has shape (6, 6); expected one label per image, (N,)"),
    (Pairs(RGB, [0, 1, "b"] * 2), "labels of Pairs are of different forms: 0 and 'b'"),
    (Pairs(RGB, [0, 1, None]), "item 2 of Pairs has a label of type NoneType; labels must be integers"),
    (Pairs(RGB, Y - 1), "labels of Pairs holds label -1; labels are class numbers 0, 1, 2, ..."),
    (Pairs(RGB, [0, 1, 2**70] * 2), "labels of Pairs has dtype object; labels must be integers"),
    (Pairs(RGB, Y * 0), "labels of Pairs holds only one class, 0: at least 2 are needed"),
    (Pairs(RGB, Y * 2), "labels of Pairs has no image of class 1: each of classes 0 to 4 needs one"),
    (
        Pairs(RGB, classes=["a", "b", "c", "d"]),
        "labels of Pairs has no image of class 3 ('d'): each of classes 0 to 3 needs one",
    ),
    (Pairs(RGB, classes=["a", "b"]), "labels of Pairs holds label 2, but there are only 2 class names"),
    (TensorDataset(torch.zeros(3, 8, 8)), "item 0 of TensorDataset is not a pair (image, label)"),
]


@pytest.mark.parametrize(("dataset", "expected"), DATASET_MISTAKES, ids=[text[:60] for _, text in DATASET_MISTAKES])
def test_dataset_mistakes(dataset: Dataset[Any], expected: str) -> None:
    assert message(dataset) == expected


def test_a_dataset_without_a_length() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    assert message(Endless()) == "Endless has no length: a Dataset with __len__ and __getitem__ is needed"


def test_an_exception_in_the_users_code_passes_through() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load(Broken(RGB))
