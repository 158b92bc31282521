"""What the package computes beside a plain rewriting of it, as the largest relative differences, in a minute.

    OMP_NUM_THREADS=1 python benchmarks/parity.py

`plain.py` has the supernets and the steps. Both sides start from the same weights and alphas and see the same images.
A difference is that of a tensor, |ours - plain| / |plain| by their largest numbers, the largest of all tensors; "steps"
are what two steps change, so that a weight itself hides nothing. Everything is compared with the plain side in
float64: the columns of float32 show the rounding of this number format, on the plain side, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import supernet as sn
from plain import BenchSupernet, DARTSSupernet, Images, Steps
from sides import table, where
from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.models.execution import Execution
from supernet.models.mixed_cell import Engine
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize
from supernet.spaces.modules import Norm

ENGINES: tuple[Engine, ...] = get_args(Engine)
STEPS = 2
Found = Mapping[str, Sequence[Tensor]]
"""Tensors by the quantity that they belong to."""


@dataclass(frozen=True)
class Case:
    """A space with its width and depth, and the order and the momentum of the steps in its released code."""

    space: str
    network: type[BenchSupernet | DARTSSupernet]
    width: int
    depth: int
    first: str
    nesterov: bool

    def plain(self, dtype: torch.dtype) -> tuple[nn.Module, list[Tensor]]:
        """Return the plain supernet and its alphas, always the same ones."""
        torch.manual_seed(0)
        network = self.network(self.width, self.depth, 10)
        return network.to(dtype), [torch.randn(shape).to(dtype).requires_grad_() for shape in network.shapes]

    def ours(self, engine: str, dtype: torch.dtype, order: int) -> Differentiable:
        """Return DARTS on a supernet with the weights and the alphas of the plain one."""
        network, alphas = self.plain(dtype)
        size = NetworkSize(self.width, self.depth, (16, 16), 3, 10)
        supernet = Supernet(sn.space(self.space), size, Norm(affine=False)).to(dtype)
        values = zip(supernet.state_dict(), network.state_dict().values(), strict=True)
        supernet.load_state_dict(dict(values))
        Execution(engine).apply(supernet.to(memory_format=torch.channels_last))
        adam = AlphaOptimizerConfig("adam", lr=3e-4, weight_decay=1e-3)
        how = {"regime": "different_subset", "activation": "softmax", "order": order, "first": self.first}
        weights = SGDConfig(nesterov=self.nesterov)
        method = Differentiable(DifferentiableConfig(**how, alpha=adam), supernet, Budget(1, weights, 0))
        with torch.no_grad():
            for mine, alpha in zip(method.alphas.values(), alphas, strict=True):
                mine.copy_(alpha)
        return method


CASES = (
    Case("nasbench201", BenchSupernet, 8, 1, "weights", nesterov=True),
    Case("darts", DARTSSupernet, 4, 1, "alpha", nesterov=False),
)


def images(number: int, dtype: torch.dtype) -> Images:
    """Return a batch of noise with random labels."""
    g = torch.Generator().manual_seed(number)
    return torch.randn(4, 3, 16, 16, generator=g).to(dtype), torch.randint(10, (4,), generator=g)


def batch(number: int, dtype: torch.dtype) -> Batch:
    """Return the same images as a batch of a search."""
    x, y = images(number, dtype)
    return Batch(x.contiguous(memory_format=torch.channels_last), y, torch.arange(4))


def passed(logits: Tensor, y: Tensor, module: nn.Module, alphas: Sequence[Tensor]) -> Found:
    """Return what one pass forward and backward computes."""
    weights = list(module.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(logits, y), [*weights, *alphas])
    statistics = [value.clone() for name, value in module.named_buffers() if "running" in name]
    found = {"logits": [logits.detach()], "running statistics": statistics}
    return found | {"gradient of the weights": slopes[: len(weights)], "gradient of alpha": slopes[len(weights) :]}


def moved(name: str, before: Mapping[str, Sequence[Tensor]], after: Mapping[str, Sequence[Tensor]]) -> Found:
    """Return by how much the tensors of both groups have moved."""
    pairs = {group: zip(after[group], before[group], strict=True) for group in before}
    return {f"{name}: steps of {group}": [a.detach() - b for a, b in pair] for group, pair in pairs.items()}


def copied(groups: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Return copies of the tensors."""
    return {group: [value.detach().clone() for value in values] for group, values in groups.items()}


def by_plain(case: Case, dtype: torch.dtype) -> Found:
    """Return all quantities as the plain side computes them."""
    network, alphas = case.plain(dtype)
    x, y = images(0, dtype)
    found = dict(passed(network(x, [alpha.softmax(1) for alpha in alphas]), y, network, alphas))
    for name in ("first order", "second order"):
        network, alphas = case.plain(dtype)
        steps = Steps(network, alphas, 0.025, nesterov=case.nesterov)
        learned = {"the weights": steps.w, "alpha": steps.alphas}
        before = copied(learned)
        for number in range(STEPS):
            train, validation = images(2 * number, dtype), images(2 * number + 1, dtype)
            if case.first == "weights":
                steps.weight_step(train)
            steps.alpha_step(getattr(steps, name.replace(" ", "_"))(train, validation))
            if case.first == "alpha":
                steps.weight_step(train)
        found |= moved(name, before, learned)
    return found


def by_package(case: Case, engine: str, dtype: torch.dtype) -> Found:
    """Return all quantities as the package computes them."""
    method, given = case.ours(engine, dtype, 1), batch(0, dtype)
    logits = method.supernet(given.x, method.mix())
    found = dict(passed(logits, given.y, method.supernet, list(method.alphas.values())))
    for order, name in ((1, "first order"), (2, "second order")):
        method = case.ours(engine, dtype, order)
        learned = {"the weights": method.weights, "alpha": list(method.alphas.values())}
        before = copied(learned)
        for number in range(STEPS):
            method.step({"weights": batch(2 * number, dtype), "alpha": batch(2 * number + 1, dtype)})
        found |= moved(name, before, learned)
    return found


def difference(ours: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """Return the largest relative difference of the tensors, in float64; not a number if one of them holds such."""
    pairs = [(a.double(), b.double()) for a, b in zip(ours, plain, strict=True)]
    return float(torch.stack([(a - b).abs().max() / b.abs().max() for a, b in pairs]).max())


def rows(case: Case) -> list[list[str]]:
    """Return the rows of a space: a difference for every quantity and column."""
    plain = by_plain(case, torch.float64)
    sides = [by_package(case, engine, torch.float64) for engine in ENGINES]
    sides += [by_plain(case, torch.float32), *(by_package(case, engine, torch.float32) for engine in ENGINES)]
    return [[name, case.space, *(f"{difference(side[name], plain[name]):.0e}" for side in sides)] for name in plain]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    doubles, floats = ([f"{side}, {dtype}" for side in ENGINES] for dtype in ("float64", "float32"))
    head = ["quantity", "space", *doubles, "plain, float32", *floats]
    print(table([row for case in CASES for row in rows(case)], head))
    print(f"fused: {Execution().kernels(torch.device('cpu'))} kernels. {where()}")


if __name__ == "__main__":
    main()
