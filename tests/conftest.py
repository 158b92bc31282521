"""What the tests share: threads that do not fight, a space of a user's own, and images that can be learned."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, and for the programs that tests start
    _threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ["OMP_NUM_THREADS"] = str(_threads)

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet.data import Batch, Images
from supernet.modules import Norm
from supernet.primitives import Primitive
from supernet.spaces import Cell, Edge, SearchSpace, Skeleton

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(_threads)


class Depthwise(nn.Module):
    """A user's operation: a weight that is no layer's and has no reset_parameters, and a norm of its own choice."""

    def __init__(self, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(channels, 1, 1))
        self.norm = nn.BatchNorm2d(channels, affine=norm.affine, track_running_stats=norm.track)

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
        skeleton=Skeleton(stages=("normal", "last")),
        primitives=(Primitive("depthwise", Depthwise),),
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


@pytest.fixture
def ragged() -> SearchSpace:
    return ragged_space()
