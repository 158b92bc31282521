"""Pictures: damage of any kind is one line; no other format than pictures is tried; sizes have a limit."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from supernet.data import load, read_picture
from supernet.errors import UserError

KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "jp2": "JPEG2000"}


def written(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@settings(max_examples=150)
@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_a_damaged_picture_is_read_or_refused_in_one_line(suffix: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(written(KINDS[suffix]))
    for place, value in changes:
        content[place % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{suffix}"
        path.write_bytes(content)
        try:
            assert read_picture(path, 3, 8, 8).shape == (1, 3, 8, 8)
        except UserError as error:
            assert str(error).startswith(f"cannot read image '{path}': ")  # noqa: PT017 - both outcomes are right


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UserError, match="not a regular file"):
        read_picture(tmp_path / "x.png", 3, 8, 8)
    for name in ("set/a/1.png", "set/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(written("PNG"))
    os.mkfifo(tmp_path / "set" / "a" / "x.png")
    assert len(load(tmp_path / "set").y) == 2


def test_only_formats_of_pictures_are_tried(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(UserError, match="not an image"):
        read_picture(tmp_path / "x.png", 3, 8, 8)


def test_a_bomb_is_not_decoded_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (11_000, 10_000)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="has more than 100 million pixels: make it smaller, or set"):
        read_picture(tmp_path / "x.png", 3, 8, 8)
    Image.new("1", (20, 10)).save(tmp_path / "y.png")
    for most, fits in (("199", False), ("200", True), ("many", False), ("-1", False)):
        monkeypatch.setenv("SUPERNET_MAX_PIXELS", most)
        if fits:
            assert read_picture(tmp_path / "y.png", 3, 8, 8).shape == (1, 3, 8, 8)
        else:
            with pytest.raises(UserError, match="SUPERNET_MAX_PIXELS"):
                read_picture(tmp_path / "y.png", 3, 8, 8)
