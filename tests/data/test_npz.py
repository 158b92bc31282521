""".npz files: the names of their arrays, and files that would fill the memory or never end."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supernet.data import load
from supernet.errors import UserError

Y = np.array([0, 1, 2, 0, 1, 2])
X, X_VAL, X_TEST = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 8), dtype=np.uint8)


def message(source: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(source)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "some.npz", **arrays)
    return folder / "some.npz"


NAMES = [
    "x_train y_train x_val y_val x_test y_test",
    "X_Train Y_TRAIN x_valid y_valid x_test y_test",
    "x_train y_train x_validation y_validation X_test y_Test",
    "train_images train_labels val_images val_labels test_images test_labels",
]


@pytest.mark.parametrize("names", NAMES)
def test_the_names_of_the_arrays(names: str, tmp_path: Path) -> None:
    arrays = (X, Y, X_VAL, Y[:, None], X_TEST, Y[::-1, None])  # MedMNIST's labels are columns
    images = load(saved(tmp_path, **dict(zip(names.split(), arrays, strict=True)), other=X))
    assert np.array_equal(images.x[:, 0], np.concatenate([X, X_VAL]))
    assert images.y.tolist() == [*Y, *Y]
    assert images.validation == 6
    assert images.x_test is not None
    assert images.y_test is not None
    assert np.array_equal(images.x_test[:, 0], X_TEST)
    assert images.y_test.tolist() == Y[::-1].tolist()


def test_validation_images_follow_the_training_images(tmp_path: Path) -> None:
    arrays = {"x_train": X.astype(np.uint16) * 9, "y_train": Y + 1, "x_val": X_VAL.astype(np.uint16) * 18}
    images = load(saved(tmp_path, **arrays, y_val=Y + 1))
    low, high = 9 * int(X.min()), 9 * int(X.max())
    assert images.levels == (low, high)
    scaled = np.rint((X_VAL * 18.0 - low) * 255 / (high - low)).clip(0, 255)
    assert np.array_equal(images.x[6:, 0], scaled)
    assert images.y.tolist() == [*Y, *Y]
    assert message(saved(tmp_path, **arrays, y_val=Y)) == (
        "y_val of 'some.npz' holds label 0, which no training image has"
    )
    arrays["x_val"] = X_VAL[:, :4]
    assert message(saved(tmp_path, **arrays, y_val=Y + 1)) == (
        "validation images of 'some.npz' have another shape (C, H, W) than training images: "
        "(1, 4, 8) in x_val, (1, 8, 8) in x_train"
    )


# --- files that would fill the memory or never end


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def packed(path: Path, images: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", images)
        labels = io.BytesIO()
        np.save(labels, Y)
        archive.writestr("y_train.npy", labels.getvalue())
    return path


DAMAGED = "cannot read '{}': not an .npz file of plain arrays, or damaged"


@pytest.mark.parametrize("shape", [(2**30, 256, 256), (2**80, 1), (-1, 8, 8), (6, 8, 9)])
def test_a_header_that_announces_more_than_there_is(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = packed(tmp_path / "some.npz", header(shape) + X.tobytes())
    assert message(path) == DAMAGED.format(path)


@pytest.mark.parametrize(("dtype", "least"), [("|u1", 5_000_000), ("<f4", 6_250_000)])
def test_an_archive_that_unpacks_to_more_than_is_allowed(
    dtype: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "some.npz", header((5_000_000 // np.dtype(dtype).itemsize,), dtype) + bytes(5_000_000))
    assert path.stat().st_size < 10_000
    monkeypatch.setenv("SUPERNET_MEMORY_GB", str((least - 1) / 10**9))
    assert message(path).startswith(f"'{path}' needs 0.00")
    monkeypatch.setenv("SUPERNET_MEMORY_GB", str((least + 1000) / 10**9))
    assert "has shape" in message(path)


def test_a_single_array_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(header((2**30, 256, 256)))
    assert message(path) == f"'{path}' holds a single array: save it with np.savez, as x_train and y_train"


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    os.mkfifo(path)
    assert message(path) == f"'{path}' is a pipe or a device: expected a file"
    (tmp_path / "device.npz").symlink_to("/dev/zero")
    assert message(tmp_path / "device.npz") == f"'{tmp_path / 'device.npz'}' is a pipe or a device: expected a file"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4), st.booleans())
def test_damage_anywhere_is_a_line(tmp_path: Path, changes: list[tuple[float, bytes]], compress: bool) -> None:
    path = tmp_path / "some.npz"
    (np.savez_compressed if compress else np.savez)(path, x_train=X, y_train=Y)
    content = bytearray(path.read_bytes())
    for place, change in changes:
        start = int(place * len(content))
        content[start : start + len(change)] = change
    path.write_bytes(content)
    try:
        images = load(path)
    except UserError:
        return
    assert images.x.dtype == torch.uint8
