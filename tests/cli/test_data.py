"""`supernet data`: what is read, and every file that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from conftest import Call


def test_what_is_read_and_what_is_not_is_printed(call: Call, tmp_path: Path) -> None:
    for number, folder in enumerate(("Train/cat", "Train/dog", "valid/cat", "Testing/dog")):
        for i in range(3 - number // 2):
            path = tmp_path / "photos" / folder / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((9, 8), 40 * number + i, dtype=np.uint8)).save(path)
    status, out, err = call("data", "photos")
    assert (status, err) == (0, "")
    assert out == (
        "8 images of 2 classes (cat, dog), 8x8 grey; 2 of them given for validation; 2 test images\n\n"
        "cat  3 training, 2 validation, 0 test\ndog  3 training, 0 validation, 2 test\n\n"
        "next          supernet search photos\n"
    )
    (tmp_path / "photos" / "Train" / "cat" / "x.heic").touch()
    (tmp_path / "photos" / "Train" / "cat" / "0.png").write_bytes(b"?")
    status, out, err = call("data", "photos")
    assert (status, err) == (2, "supernet: 1 image cannot be read: --skip-broken goes on without it\n")
    assert out.startswith("7 images of 2 classes (cat, dog), 8x8 grey; 2 of them given for validation; 2 test images; ")
    assert "; 1 left out (1 .heic); 1 broken, left out\n" in out
    assert "photos/Train/cat/x.heic: of no format that is read\n" in out
    assert "cannot read image 'photos/Train/cat/0.png': not an image\n" in out
    assert call("data", "photos", "--skip-broken")[0] == 0


def test_given_validation_images_validate_a_search_and_a_retraining(call: Call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {"train": 6, "val": 4}
    arrays = {f"x_{part}": rng.integers(0, 256, (n, 8, 8), dtype=np.uint8) for part, n in parts.items()}
    np.savez(tmp_path / "some.npz", **arrays, **{f"y_{part}": np.arange(n) % 2 for part, n in parts.items()})
    small = ["--epochs", "1", "--width", "2", "--device", "cpu"]
    status, out, err = call("search", "some.npz", *small, "--method", "darts", "--out", "run")
    assert (status, err) == (0, "")
    read = "read 10 images of 2 classes (0, 1), 8x8 grey; 4 of them given for validation; no test images"
    assert out.splitlines()[0] == read
    status, out, err = call("retrain", "run", *small)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == read
    assert "\nvalidation    " in out
