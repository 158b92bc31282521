"""Images that processes share: read once, mapped by all, and equal to those that each would read."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet.data import Images, load, prepared, sources, take

N = 300


@pytest.fixture
def file(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (N, 12, 12, 3), dtype=np.uint8), np.arange(N) % 3
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    return tmp_path / "set.npz"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    monkeypatch.setenv(prepared.VARIABLE, str(folder))
    return folder


def assert_same(one: Images, other: Images) -> None:
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Tensor):
            assert torch.equal(a, b)
            assert a.stride() == b.stride()
        else:
            assert a == b


@pytest.mark.parametrize("size", [None, 6, 5])
def test_shared_images_are_those_that_are_read(
    size: int | None, file: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load(file, size), load(file, size)
    monkeypatch.delenv(prepared.VARIABLE)
    plain = load(file, size)
    for found in (first, second):
        assert_same(found, plain)
        assert_same(take(found, 60), take(plain, 60))


def test_images_are_read_once_for_each_setting(file: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    read = sources._read
    monkeypatch.setattr(sources, "_read", lambda *given: (seen.append(given[1].image_size), read(*given))[1])
    assert [load(file, size).x.shape[-1] for size in (6, 4, 6, 4)] == [6, 4, 6, 4]
    assert seen == [6, 4]
    assert len(list(shared.glob("*.pt"))) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs the memory maps of Linux")
def test_pixels_lie_in_the_pages_of_the_file(file: Path, shared: Path) -> None:
    x = take(load(file), 60).x
    assert isinstance(x, Tensor)
    spans = re.findall(rf"^(\w+)-(\w+) .* {re.escape(str(shared))}", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert any(int(start, 16) <= x.data_ptr() < int(end, 16) for start, end in spans)


def test_images_that_cannot_be_written_are_returned(file: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file: file write failed")

    monkeypatch.setattr(prepared.torch, "save", full)
    assert len(load(file).y) == N
    assert list(shared.glob("*.pt")) == []
    monkeypatch.setenv(prepared.VARIABLE, str(shared / "gone"))
    assert len(load(file).y) == N
