"""The supernets of NAS-Bench-201 and DARTS, and DARTS' steps on them, in plain PyTorch, written from the papers.

Dong & Yang, ICLR 2020, arXiv 2001.00326; Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055. Nothing here uses the
package: `parity.py` compares the two. Layers are made in the order of a supernet's, so that states can be copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Images = tuple[Tensor, Tensor]
"""Images (B, 3, H, W) and their labels (B,)."""


def norm(channels: int) -> nn.Module:
    """Return the batch norm of a search, which learns neither scale nor shift."""
    return nn.BatchNorm2d(channels, affine=False)


class Zero(nn.Module):
    """The operation `none`."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Halved(nn.Module):
    """A factorised reduction: two 1x1 convolutions, the second one pixel further, side by side."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(cin, cout // 2, 1, 2, bias=False)
        self.second = nn.Conv2d(cin, cout - cout // 2, 1, 2, bias=False)
        self.norm = norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, cin, H, W) to (B, cout, H/2, W/2)."""
        x = x.relu()
        return self.norm(torch.cat([self.first(x), self.second(x[:, :, 1:, 1:])], 1))


def convolution(cin: int, cout: int, kernel: int) -> nn.Module:
    """Return ReLU, convolution and batch norm."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=False), norm(cout))


def depthwise(c: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """Return ReLU, a convolution of each channel, a 1x1 convolution and batch norm."""
    padding = dilation * (kernel - 1) // 2
    each = nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False)
    return [nn.ReLU(), each, nn.Conv2d(c, c, 1, bias=False), norm(c)]


def bench_operations(c: int) -> list[nn.Module]:
    """Return none, skip, the two convolutions and the pooling of NAS-Bench-201."""
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return [Zero(), nn.Identity(), convolution(c, c, 1), convolution(c, c, 3), pool]


def darts_operations(c: int, stride: int) -> list[nn.Module]:
    """Return none, both poolings, skip, and the separable and dilated convolutions of DARTS."""
    return [
        Zero(stride),
        nn.Sequential(nn.MaxPool2d(3, stride, 1), norm(c)),
        nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), norm(c)),
        nn.Identity() if stride == 1 else Halved(c, c),
        *(nn.Sequential(*depthwise(c, kernel, stride), *depthwise(c, kernel, 1)) for kernel in (3, 5)),
        *(nn.Sequential(*depthwise(c, kernel, stride, 2)) for kernel in (3, 5)),
    ]


def mixed(operations: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of the operations' outputs by their weights (ops,)."""
    return torch.stack([w * op(x) for w, op in zip(weights, operations.children(), strict=True)]).sum(0)


def nodes_of(
    inputs: Sequence[Tensor], edges: Sequence[nn.Module], weights: Tensor, counts: Sequence[int]
) -> list[Tensor]:
    """Return the inputs and the nodes, each the sum of its edges from the first `counts` of them."""
    nodes, number = list(inputs), 0
    for count in counts:
        into = [mixed(edges[number + i], nodes[i], weights[number + i]) for i in range(count)]
        nodes.append(torch.stack(into).sum(0))
        number += count
    return nodes


class BenchCell(nn.Module):
    """A cell of NAS-Bench-201: four nodes, of which each reads all before."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleList(bench_operations(c)) for _ in range(6))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the last node; `weights` are (6, 5)."""
        return nodes_of([x], self.edges, weights, (1, 2, 3))[-1]


class DARTSCell(nn.Module):
    """A cell of DARTS: two inputs and four nodes, which are its output side by side."""

    def __init__(self, before: tuple[int, int], c: int, *, halved: bool, halves: bool) -> None:
        super().__init__()
        first = Halved(before[0], c) if halved else convolution(before[0], c, 1)
        self.inputs = nn.ModuleList([first, convolution(before[1], c, 1)])
        strides = [2 if halves and source < 2 else 1 for node in range(4) for source in range(2 + node)]
        self.edges = nn.ModuleList(nn.ModuleList(darts_operations(c, stride)) for stride in strides)

    def forward(self, inputs: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return the nodes; `weights` are (14, 8)."""
        projected = [project(x) for project, x in zip(self.inputs, inputs, strict=True)]
        return torch.cat(nodes_of(projected, self.edges, weights, (2, 3, 4, 5))[2:], 1)


class Residual(nn.Module):
    """The block between the stages of NAS-Bench-201, which halves the image."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.one, self.one_norm = nn.Conv2d(cin, cout, 3, 2, 1, bias=False), nn.BatchNorm2d(cout)
        self.two, self.two_norm = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.shortcut = nn.Conv2d(cin, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, cin, H, W) to (B, cout, H/2, W/2)."""
        inside = self.one_norm(self.one(x.relu())).relu()
        return self.shortcut(F.avg_pool2d(x, 2)) + self.two_norm(self.two(inside))


class BenchSupernet(nn.Module):
    """NAS-Bench-201: three stages of `depth` cells; one alpha (6, 5)."""

    shapes = ((6, 5),)

    def __init__(self, c: int, depth: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))
        layers: list[nn.Module] = []
        for stage in range(3):
            layers += [Residual(c << stage - 1, c << stage)] if stage else []
            layers += [BenchCell(c << stage) for _ in range(depth)]
        self.layers, self.norm, self.head = nn.ModuleList(layers), nn.BatchNorm2d(4 * c), nn.Linear(4 * c, classes)

    def forward(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes); `weights` are those of the shapes."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x, weights[0]) if isinstance(layer, BenchCell) else layer(x)
        return self.head(self.norm(x).relu().mean((2, 3)))


class DARTSSupernet(nn.Module):
    """DARTS: 3 depth + 2 cells, two of which halve the image; two alphas (14, 8), of normal and reduction cells."""

    shapes = ((14, 8), (14, 8))

    def __init__(self, c: int, depth: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        count = 3 * depth + 2
        self.halves = [number in (count // 3, 2 * count // 3) for number in range(count)]
        cells, channels = list[nn.Module](), [3 * c, 3 * c]
        for halved, halves in pairwise([False, *self.halves]):
            c *= 1 + halves
            cells.append(DARTSCell((channels[-2], channels[-1]), c, halved=halved, halves=halves))
            channels.append(4 * c)
        self.cells, self.head = nn.ModuleList(cells), nn.Linear(4 * c, classes)

    def forward(self, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes); `weights` are those of the shapes."""
        states = [self.stem(x)] * 2
        for cell, halves in zip(self.cells, self.halves, strict=True):
            states.append(cell(states[-2:], weights[halves]))
        return self.head(states[-1].mean((2, 3)))


class Steps:
    """DARTS' steps: alpha by Adam on validation images, the weights by SGD on training images.

    `xi` is the learning rate of the weights, and of the unrolled step of second order.
    """

    def __init__(self, network: nn.Module, alphas: Sequence[Tensor], xi: float, *, nesterov: bool = False) -> None:
        self.network, self.alphas, self.xi, self.w = network, list(alphas), xi, list(network.parameters())
        self.sgd = torch.optim.SGD(self.w, xi, momentum=0.9, weight_decay=3e-4, nesterov=nesterov)
        self.adam = torch.optim.Adam(self.alphas, 3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def loss(self, batch: Images) -> Tensor:
        """Return the cross-entropy of images under softmax(alpha)."""
        return F.cross_entropy(self.network(batch[0], [alpha.softmax(1) for alpha in self.alphas]), batch[1])

    def weight_step(self, batch: Images) -> None:
        """Take a step of the weights."""
        self.sgd.zero_grad()
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.w, 5)
        self.sgd.step()

    def alpha_step(self, gradients: Sequence[Tensor]) -> None:
        """Take a step of alpha."""
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.adam.step()

    def first_order(self, train: Images, validation: Images) -> Sequence[Tensor]:
        """Return the gradient of alpha by the weights as they are."""
        return torch.autograd.grad(self.loss(validation), self.alphas)

    def second_order(self, train: Images, validation: Images) -> Sequence[Tensor]:
        """Return the gradient of alpha through a step of the weights (equations 6 to 8 of the paper)."""
        begun = [w.detach().clone() for w in self.w]
        slopes = torch.autograd.grad(self.loss(train), self.w)
        buffers = [self.sgd.state[w].get("momentum_buffer", torch.zeros_like(w)) for w in self.w]
        pushes = [0.9 * b + g + 3e-4 * w for b, g, w in zip(buffers, slopes, begun, strict=True)]
        self._move(begun, pushes, -self.xi)
        count, loss = len(self.alphas), self.loss(validation)
        found = torch.autograd.grad(loss, [*self.alphas, *self.w])
        direction = found[count:]
        r = 0.01 / torch.sqrt(sum((v.square().sum() for v in direction), torch.zeros(())))
        sides = []
        for sign in (1, -1):
            self._move(begun, direction, sign * r)
            sides.append(torch.autograd.grad(self.loss(train), self.alphas))
        self._move(begun, direction, 0)
        return [a - self.xi * (p - m) / (2 * r) for a, p, m in zip(found[:count], *sides, strict=True)]

    @torch.no_grad()
    def _move(self, begun: Sequence[Tensor], direction: Sequence[Tensor], scale: float | Tensor) -> None:
        for w, start, along in zip(self.w, begun, direction, strict=True):
            w.copy_(start + scale * along)
