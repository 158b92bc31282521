"""What the tests share: threads that do not fight, a space of a user's own, and images that can be learned."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    _threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ["OMP_NUM_THREADS"] = str(_threads)

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet import cli
from supernet.data import Batch, Images
from supernet.spaces import Cell, Edge, SearchSpace, Stack, Stages
from supernet.spaces.modules import Noise, Norm
from supernet.spaces.operations import Primitive

Call = Callable[..., tuple[int, str, str]]

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(_threads)


class Depthwise(nn.Module):
    """A user's operation: a weight that is no layer's and has no reset_parameters, and a norm of its own choice."""

    def __init__(self, cin: int, cout: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(cin, cout, 3, stride, padding=1, groups=math.gcd(cin, cout), bias=False)
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(cout, 1, 1))
        self.norm = nn.BatchNorm2d(cout, affine=norm.affine, track_running_stats=norm.track)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.relu(x)) * self.gain)


def ragged_space() -> SearchSpace:
    """A user's space: two kinds of cell, other candidates on each edge, an operation without a known cost."""
    normal = (
        Edge(1, 0, ("skip_connect", "depthwise")),
        Edge(2, 0, ("none", "nor_conv_1x1", "avg_pool_3x3")),
        Edge(2, 1, ("depthwise", "nor_conv_1x1")),
    )
    return SearchSpace(
        name="ragged",
        cells={"normal": Cell(normal), "last": Cell((Edge(1, 0, ("nor_conv_3x3", "skip_connect", "none")),))},
        skeleton=Stages(("normal", "last")),
        primitives=(Primitive("depthwise", Depthwise),),
    )


def two_input_space() -> SearchSpace:
    """A user's space of DARTS' kind, small: two inputs, reduction cells, two edges kept per node, none and noise."""
    ops = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
    reduce = (Edge(2, 0, ("noise", "dil_conv_3x3")), Edge(2, 1, ("skip_connect", "none")), Edge(3, 2, ("depthwise",)))
    return SearchSpace(
        name="two inputs",
        cells={
            "normal": Cell.dense(5, ops, inputs=2, output="concat", keep=2, project=True),
            "reduce": Cell(reduce, inputs=2, output="concat", keep=2, project=True),
        },
        skeleton=Stack(),
        primitives=(Primitive("depthwise", Depthwise),),
        norm_pools=True,
    )


def macro_space() -> SearchSpace:
    """A user's chain of positions, each with its own candidates, channels and stride."""
    blocks = ("depthwise", "nor_conv_3x3")
    return SearchSpace.chain(
        "macro",
        [(blocks, 1, 1), (blocks, 2, 2), (("skip_connect", *blocks, "none"), 2, 1), (blocks[::-1], 3, 2)],
        primitives=(Primitive("depthwise", Depthwise),),
    )


def branched_space() -> SearchSpace:
    """A user's space of NAO's kind, small: two branches per node, which may read the same one, in one of them none."""
    ops = ("sep_conv_3x3", "avg_pool_3x3", "identity")
    reduce = (
        *(Edge(2, source, ("identity", "none"), branch) for source in (0, 1) for branch in (0, 1)),
        *(Edge(3, source, ("max_pool_3x3", "identity"), 0) for source in (0, 2)),
        *(Edge(3, source, ("nor_conv_1x1", "none"), 1) for source in (1, 2)),
    )
    return SearchSpace(
        name="branched",
        cells={
            "normal": Cell.dense(4, ops, inputs=2, output="unused", project="calibrate", branches=2),
            "reduce": Cell(reduce, inputs=2, output="unused", project="calibrate"),
        },
        skeleton=Stack(),
    )


def tiny_images(count: int = 48, side: int = 8) -> Images:
    """Noise with a bright band at the top, in the middle or at the bottom: the class, mirrored or not."""
    g = torch.Generator().manual_seed(count)
    y = torch.arange(count) % 3
    x = torch.randint(0, 120, (count, 1, side, side), generator=g)
    for image, label in zip(x, y.tolist(), strict=True):
        image[:, label * side // 3 : (label + 1) * side // 3] += 130
    return Images.of("bands", (x.to(torch.uint8), y), ("top", "middle", "bottom"))


class Pairs(Dataset):
    """The same images as a torch Dataset of (array, label)."""

    def __init__(self, images: Images) -> None:
        self.images, self.classes = images, images.classes

    def __len__(self) -> int:
        return len(self.images.y)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.images.x[index, 0].numpy(), int(self.images.y[index])


def noise_batch(seed: int, count: int = 6, side: int = 8, channels: int = 1, classes: int = 3) -> Batch:
    """A batch of float64 noise, for comparisons that rounding must not decide."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, channels, side, side, generator=g, dtype=torch.float64)
    return Batch(x, torch.randint(classes, (count,), generator=g), torch.arange(count))


def bits(state: Any) -> bytes:
    """The bits of what a checkpoint holds, whichever of its equal words are one object in memory."""

    def same(value: Any) -> Any:
        if isinstance(value, dict):
            return {same(name): same(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(same(part) for part in value)
        return sys.intern(value) if isinstance(value, str) else value

    file = io.BytesIO()
    torch.save(same(state), file)
    return file.getvalue()


@pytest.fixture
def still_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of the operation `noise` is the same in every run, so that two forward passes can be compared."""

    def forward(self: Noise, x: Tensor) -> Tensor:
        shape = (x.shape[0], self.cout, -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return drawn.to(x.dtype)

    monkeypatch.setattr(Noise, "forward", forward)


@pytest.fixture
def ragged() -> SearchSpace:
    return ragged_space()


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "path", list(sys.path))
        try:
            cli.main(arguments)
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run
