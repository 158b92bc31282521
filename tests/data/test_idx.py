"""Folders of IDX files, the format of MNIST, and one-line errors."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supernet.data import load
from supernet.errors import UserError

Y = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


X, X_TEST = pixels(6, 7, 5), pixels(4, 7, 5, seed=1)


def idx(array: np.ndarray) -> bytes:
    """Return an IDX file by its specification: two zeros, 8 for unsigned bytes, the dimensions, big-endian."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def put(folder: Path, part: str = "train", x: np.ndarray = X, y: np.ndarray = Y, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in ((f"{part}-images-idx3-ubyte", x), (f"{part}-labels-idx1-ubyte", y)):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return folder


def message(source: Path, image_size: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(source, image_size)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_training_and_test_images_are_read(packed: bool, tmp_path: Path) -> None:
    put(tmp_path / "garments", packed=packed)
    images = load(put(tmp_path / "garments", "t10k", X_TEST, Y[2:], packed))
    np.testing.assert_array_equal(images.x.numpy(), X[:, None])
    assert images.x_test is not None
    assert images.y_test is not None
    np.testing.assert_array_equal(images.x_test.numpy(), X_TEST[:, None])
    assert (images.y.tolist(), images.y_test.tolist()) == (Y.tolist(), Y[2:].tolist())
    assert (images.name, images.classes, images.mirror) == ("garments", ("0", "1", "2"), True)


def test_labels_refer_to_known_classes(tmp_path: Path) -> None:
    images = load(put(tmp_path / "garments", y=np.array([2, 2, 1, 1, 2, 2])), classes=["3", "2", "1"])
    assert (images.classes, images.y.tolist()) == (("3", "2", "1"), [1, 1, 2, 2, 1, 1])


def test_training_images_alone_have_no_test_images(tmp_path: Path) -> None:
    images = load(put(tmp_path))
    assert (images.x_test, images.y_test) == (None, None)


def test_the_centre_square_is_resized(tmp_path: Path) -> None:
    x = pixels(6, 10, 8)
    expected = np.rint(x[:, 1:9].reshape(6, 4, 2, 4, 2).astype(np.float64).mean(axis=(2, 4)))
    np.testing.assert_array_equal(load(put(tmp_path, x=x), 4).x[:, 0].numpy(), expected)


def test_the_name_is_that_of_the_folder_for_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(put(tmp_path / "kmnist"))
    assert load(".").name == "kmnist"


def test_a_file_is_unpacked_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    put(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.rename(f"{path}.gz")  # unpacked, but still named .gz
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(gzip.compress(labels.read_bytes()))
    images = load(tmp_path)
    np.testing.assert_array_equal(images.x.numpy(), X[:, None])
    assert images.y.tolist() == Y.tolist()


def test_a_folder_with_training_images_is_no_folder_of_class_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "0.png")
    put(tmp_path, "t10k")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y))
    assert load(tmp_path).classes == ("cat", "dog")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(X))
    assert load(tmp_path).classes == ("0", "1", "2")


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=f"needs {FASHION_MNIST}")
def test_fashion_mnist() -> None:
    images = load(FASHION_MNIST)
    assert images.x_test is not None
    assert images.y_test is not None
    assert (images.x.shape, images.x_test.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert torch.bincount(images.y).tolist() == [6000] * 10
    assert torch.bincount(images.y_test).tolist() == [1000] * 10
    assert images.mean[0] == pytest.approx(0.2860, abs=5e-5)  # the published values
    assert images.std[0] == pytest.approx(0.3530, abs=5e-5)


# --- mistakes


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_that_is_missing(name: str, tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, "t10k")
    (tmp_path / name).unlink()
    assert message(tmp_path) == f"'{tmp_path}' has no file {name}, or .gz"


@pytest.mark.parametrize(
    ("name", "content", "mistake"),
    [
        ("train-images-idx3-ubyte", idx(Y), "images: it begins with '00000801', not '00000803'"),
        ("train-labels-idx1-ubyte", idx(X), "labels: it begins with '00000803', not '00000801'"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d" + idx(X)[3:], "images: it begins with '00000d03', not '00000803'"),
        ("t10k-images-idx3-ubyte", b"", "images: it begins with '', not '00000803'"),
        ("t10k-labels-idx1-ubyte", b"<!DOCTYPE html>", "labels: it begins with '3c21444f', not '00000801'"),
    ],
)
def test_a_file_of_another_kind(name: str, content: bytes, mistake: str, tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, "t10k")
    (tmp_path / name).write_bytes(content)
    assert message(tmp_path) == f"'{tmp_path / name}' is not an IDX file of {mistake}"


@pytest.mark.parametrize(("length", "announced"), [(4, 16), (6, 16), (15, 16), (16, 226), (225, 226), (227, 226)])
def test_a_file_that_is_cut_off_or_too_long(length: int, announced: int, tmp_path: Path) -> None:
    path = put(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes((idx(X) + b"more")[:length])
    sizes = f"it has {length} bytes, but by its header {announced}"
    assert message(tmp_path) == f"'{path}' is cut off or damaged: {sizes}"


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (slice(100, None), b""),  # cut off
        (slice(2, 3), b"\x00"),  # unknown method
        (slice(10, 11), b"\x07"),  # unknown kind of block
        (slice(-8, -4), b"abcd"),  # wrong checksum
    ],
)
def test_a_gzip_file_that_is_cut_off_or_damaged(place: slice, damage: bytes, tmp_path: Path) -> None:
    path = put(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[place] = damage
    path.write_bytes(content)
    assert message(tmp_path) == f"cannot read '{path}': a gzip file that is cut off or damaged"


def test_a_small_file_that_unpacks_to_more_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    head = struct.pack(">4B3I", 0, 0, 8, 3, 2000, 28, 28)
    path.write_bytes(gzip.compress(head + bytes(10**7)))
    size = 16 + 2000 * 28 * 28
    assert (
        message(tmp_path)
        == f"'{path}' is cut off or damaged: it has at least {size + 1} bytes, but by its header {size}"
    )
    path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2**31)))
    assert message(tmp_path).startswith(f"'{path}' needs 19,807,040,628,566,")
    monkeypatch.setenv("SUPERNET_MEMORY_GB", "0.0001")
    path.write_bytes(gzip.compress(head + bytes(2000 * 28 * 28)))
    assert message(tmp_path).startswith(f"'{path}' needs 0.00314 GB of memory, but SUPERNET_MEMORY_GB allows 0.0001 GB")


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
IDX_MISTAKES: list[tuple[dict[str, np.ndarray], str]] = [
    ({"y": Y[:5]}, IMAGES + " of '{folder}' has 6 images but " + LABELS + " has 5 labels"),
    ({"x": X[:5]}, IMAGES + " of '{folder}' has 5 images but " + LABELS + " has 6 labels"),
    ({"x": X[:0], "y": Y[:0]}, IMAGES + " of '{folder}' holds no images"),
    ({"y": Y * 0}, LABELS + " of '{folder}' holds only one class, 0: at least 2 are needed"),
    ({"y": Y * 2}, LABELS + " of '{folder}' has no image of class 1: each of classes 0 to 4 needs one"),
]


@pytest.mark.parametrize(("arrays", "expected"), IDX_MISTAKES, ids=[text[:60] for _, text in IDX_MISTAKES])
def test_idx_mistakes(arrays: dict[str, np.ndarray], expected: str, tmp_path: Path) -> None:
    assert message(put(tmp_path, **arrays)) == expected.format(folder=tmp_path)  # type: ignore[arg-type]


def test_mistakes_in_the_test_images(tmp_path: Path) -> None:
    put(tmp_path, packed=True)
    put(tmp_path, "t10k", X_TEST, Y[:4] + 1)
    assert message(tmp_path) == f"t10k-labels-idx1-ubyte of '{tmp_path}' holds label 3, which no training image has"
    put(tmp_path, "t10k", X_TEST, Y)
    counts = "has 4 images but t10k-labels-idx1-ubyte has 6 labels"
    assert message(tmp_path) == f"t10k-images-idx3-ubyte of '{tmp_path}' {counts}"
    put(tmp_path, "t10k", X_TEST[:, :6], Y[:4])
    shapes = "(1, 6, 5) in t10k-images-idx3-ubyte, (1, 7, 5) in train-images-idx3-ubyte.gz"
    shape = "test images of '{}' have another shape (C, H, W) than training images: {}"
    assert message(tmp_path) == shape.format(tmp_path, shapes)


def test_errors_of_the_system_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    put(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    assert message(tmp_path) == f"cannot read '{tmp_path / IMAGES}': Permission denied"
