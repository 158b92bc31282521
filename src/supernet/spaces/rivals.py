"""The rivals: networks known without search, each as a space with one architecture, for any width and depth.

A space of one architecture is trained, measured, used for prediction and exported like any other. The width of a rival
is the number of channels of its last convolutions, so that it can be scaled in fine steps; all other layers have the
channels of the paper times the same factor, rounded. Its depth is the number of blocks of its longest stage. At their
own width and depth the networks have the parameters and FLOPs of torchvision's `resnet18`, `mobilenet_v2` and
`efficientnet_b0`, and `resnet-cifar` those of ResNet-20, which the paper has for CIFAR-10 (section 4.2), with 1x1
convolutions in the two shortcuts where the shape changes. On images of up to 64 pixels, they have the stems that are
usual on CIFAR: a 3x3 convolution, without halving up to 32 pixels, and MobileNetV2 and EfficientNet also leave out the
first halving after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supernet.spaces.cell import Cell
from supernet.spaces.genotype import Genotype
from supernet.spaces.operations import Primitive, inverted
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.shapes import CellAt, ConvAt, HeadAt, Layer

if TYPE_CHECKING:
    from torch import nn

_PAPER_STEM = 2  # halvings in the stem from which on it is that of the paper: images of more than 64 pixels

Stage = tuple[str, int, int, int]
"""The kind of block, its channels, how many there are, and the stride of the first."""


@dataclass(frozen=True)
class Blocks:
    """The skeleton of a rival: a stem, stages of blocks, maybe a 1x1 convolution, and the classifier.

    - `width`, `depth`: those of the paper, for which the numbers of `stages` hold.
    - `stem`: the stem's channels, and `large` the kernel of the paper's stem, which pools if it is above 3.
    - `last`: whether there is a last 1x1 convolution, of `width` channels.
    """

    width: int
    depth: int
    stem: int
    stages: tuple[Stage, ...]
    activation: str = "relu"
    large: int = 3
    last: bool = True

    def plan(self, width: int, depth: int, stem: int) -> tuple[Layer, ...]:
        """List the layers."""
        paper = stem >= _PAPER_STEM
        kernel = self.large if paper else 3
        first = ConvAt(self._channels(self.stem, width), kernel, 2 if stem else 1, self.activation, pool=kernel > 3)
        whole = 0 if paper or not self.last else 1  # halvings that are left out
        layers: list[Layer] = [first]
        for kind, channels, blocks, stride in self.stages:
            stride, whole = (1, whole - 1) if stride == 2 and whole else (stride, whole)
            count = -(-blocks * depth // self.depth)
            cells = [CellAt(kind, self._channels(channels, width), stride if n == 0 else 1) for n in range(count)]
            layers += cells
        layers += [ConvAt(width, 1, 1, self.activation)] if self.last else []
        return (*layers, HeadAt(norm=False))

    def _channels(self, channels: int, width: int) -> int:
        return max(1, round(channels * width / self.width))


def _basic(cin: int, cout: int, stride: int, norm: Any) -> nn.Module:
    from supernet.spaces.residual import basic_block

    return basic_block(cin, cout, stride, norm)


def _inverted(kernel: int, expand: int, activation: str, *, squeeze: bool) -> Primitive:
    name = f"{'se_' if squeeze else ''}inverted_{kernel}x{kernel}_{expand}"
    return inverted(name, kernel=kernel, expand=expand, activation=activation, squeeze=squeeze)


def _rival(name: str, skeleton: Blocks, blocks: dict[str, Primitive], summary: str, paper: str) -> SearchSpace:
    cells = {kind: Cell.dense(2, [block.name]) for kind, block in blocks.items()}
    target = (skeleton.width, skeleton.depth)
    primitives = tuple(blocks.values())
    return SearchSpace(name, cells, skeleton, primitives, target=target, summary=summary, paper=paper)


_BASIC = {"block": Primitive("basic_block", _basic)}
RESNET = _rival(
    "resnet",
    Blocks(
        *(512, 2, 64),
        (("block", 64, 2, 1), ("block", 128, 2, 2), ("block", 256, 2, 2), ("block", 512, 2, 2)),
        large=7,
        last=False,
    ),
    _BASIC,
    "basic blocks of two 3x3 convolutions in four stages, ResNet-18 at its own size",
    "He, Zhang, Ren & Sun, CVPR 2016, arXiv 1512.03385",
)
RESNET_CIFAR = _rival(
    "resnet-cifar",
    Blocks(64, 3, 16, (("block", 16, 3, 1), ("block", 32, 3, 2), ("block", 64, 3, 2)), last=False),
    _BASIC,
    "basic blocks of two 3x3 convolutions in three stages, ResNet-20 at its own size; for images of up to 64 pixels",
    "He, Zhang, Ren & Sun, CVPR 2016, arXiv 1512.03385",
)
_MOBILE: tuple[Stage, ...] = (
    *(("first", 16, 1, 1), ("block", 24, 2, 2), ("block", 32, 3, 2), ("block", 64, 4, 2)),
    *(("block", 96, 3, 1), ("block", 160, 3, 2), ("block", 320, 1, 1)),
)
MOBILENET_V2 = _rival(
    "mobilenet-v2",
    Blocks(1280, 4, 32, _MOBILE, "relu6"),
    {"first": _inverted(3, 1, "relu6", squeeze=False), "block": _inverted(3, 6, "relu6", squeeze=False)},
    "inverted residuals in seven stages",
    "Sandler et al., CVPR 2018, arXiv 1801.04381",
)
_EFFICIENT: tuple[Stage, ...] = (
    *(("first", 16, 1, 1), ("block3", 24, 2, 2), ("block5", 40, 2, 2), ("block3", 80, 3, 2)),
    *(("block5", 112, 3, 1), ("block5", 192, 4, 2), ("block3", 320, 1, 1)),
)
EFFICIENTNET = _rival(
    "efficientnet",
    Blocks(1280, 4, 32, _EFFICIENT, "silu"),
    {
        "first": _inverted(3, 1, "silu", squeeze=True),
        "block3": _inverted(3, 6, "silu", squeeze=True),
        "block5": _inverted(5, 6, "silu", squeeze=True),
    },
    "inverted residuals with squeeze-and-excitation in seven stages, EfficientNet-B0 at its own size",
    "Tan & Le, ICML 2019, arXiv 1905.11946",
)
RIVALS: dict[str, SearchSpace] = {rival.name: rival for rival in (RESNET, RESNET_CIFAR, MOBILENET_V2, EFFICIENTNET)}


def only_architecture(rival: SearchSpace) -> Genotype:
    """Return the architecture of a rival, its only one."""
    return rival.choose(dict.fromkeys(rival.cells, (0,)))
