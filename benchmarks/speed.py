"""Time and memory of the fused engine on a CPU, against the reference engine in the same run.

    python benchmarks/speed.py                      # all sections
    python benchmarks/speed.py --only dense --quick # one section, few rounds

- dense: a single-level search step: forward, backward, SGD step of weights and alphas; the op weights are sigmoids.
  `plain` is the reference engine as others run such a supernet, in channels-first memory. `reference` also has all
  advantages that need no fusion: channels-last memory and an allocator that keeps freed memory; so has `fused`. The
  convolutions alone are those of the same step, forward and backward, by PyTorch's own functions, without the rest.
- kernels: the fused step with the C kernels, against the same step with PyTorch's operations.
- sparse: one operation per edge, against the same architecture as a standalone network with the same weights.
- paths: a step of one architecture by the supernet, against a plain network in either memory format.
- networks: a retraining step of the recipe `quick`, against the same network in plain PyTorch: in channels-first memory
  with the default allocator, in channels-last memory, and by `torch.compile`, whose first step is told in seconds.
- batched: many architectures on the same images, against one pass after the other.
- calls: PyTorch's calls in a search step and in a step of one path, by kind, against a loop as others write it.
- memory: the peak of the bytes of all tensors in a step, and the growth of the process.

Before they are timed, the sides are compared in float64: outputs, gradients and running statistics, to 1e-10. The first
results of the timed sides are compared as well.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import supernet as sn
from sides import Make, Times, Work, apart, difference, fail, row, sides, table, take_turns, where
from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig, clip_gradient
from supernet.engine.peak_memory import peak_of
from supernet.engine.precision import Precision
from supernet.methods.relaxation import candidate_mask, initial_alpha
from supernet.models.mix import Mix, dense
from supernet.models.mixed_cell import Engine, MixedCell
from supernet.models.network import FixedCell, Network
from supernet.retraining.recipes import RECIPES
from supernet.spaces.modules import Norm

T = TypeVar("T")
Rows = Iterator[list[str]]
"""The lines of a section's table, each as soon as it is measured."""

EXACT = 1e-10
CHECKED = 16  # images in the comparison in float64
SEARCHED, RETRAINED = Norm(affine=False, track=True), Norm(affine=True, track=True)
BEST = 9930  # the best architecture of NAS-Bench-201
LINE = 40.0  # seconds after which a line of a table takes no more than three rounds, so that a section takes minutes
COUNTS = (10, 100)  # of architectures on one batch


@dataclass(frozen=True)
class Case:
    """A supernet and the size of its batches."""

    space: str
    width: int
    depth: int
    size: int
    batch: int = 64
    norm_pools: bool | None = None  # None leaves the space as it is

    @property
    def title(self) -> str:
        """The name of the case in tables."""
        return f"{self.space} C={self.width} depth {self.depth}, {self.batch} of {self.size}x{self.size}"

    @property
    def search_space(self) -> sn.SearchSpace:
        """The space."""
        space = sn.space(self.space)
        return space if self.norm_pools is None else replace(space, norm_pools=self.norm_pools)

    @property
    def network_size(self) -> sn.NetworkSize:
        """The size of the supernet."""
        return sn.NetworkSize(self.width, self.depth, (self.size, self.size))


@dataclass(frozen=True)
class How:
    """How a case runs; `keeps`: the allocator keeps freed memory; `compiled`: with the C kernel if there is one."""

    engine: Engine
    channels_last: bool = True
    keeps: bool = True
    compiled: bool = True
    checkpointing: bool = False
    precision: Precision = "float32"
    device: torch.device = torch.device("cpu")

    def placed(self, module: Any) -> Any:
        """Return a module or images on the device and in the memory format of this side."""
        return module.to(self.device).to(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )

    def supernet(self, case: Case, norm: Norm = SEARCHED) -> sn.Supernet:
        """Return the supernet, with the same weights every time."""
        if not self.compiled:  # in the process of this side alone
            os.environ["SUPERNET_NATIVE"] = "0"
        torch.manual_seed(0)
        supernet = sn.Supernet(case.search_space, case.network_size, norm)
        supernet.engine, supernet.precision, supernet.checkpointing = self.engine, self.precision, self.checkpointing
        return self.placed(supernet)

    def images(self, case: Case) -> Batch:
        """Return a batch of noise, the same every time."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(case.batch, 3, case.size, case.size, generator=generator)
        y = torch.randint(10, (case.batch,), generator=generator)
        return Batch(self.placed(x), y.to(self.device), torch.arange(case.batch, device=self.device))


PLAIN, REFERENCE, FUSED = How("reference", channels_last=False, keeps=False), How("reference"), How("fused")
UNCOMPILED = replace(FUSED, compiled=False)
ENGINES = {"reference": REFERENCE, "fused": FUSED}
WHOLE = {"network": False, "path": True}

DENSE = (
    Case("nasbench201", 16, 1, 16),
    Case("nasbench201", 8, 1, 16),
    Case("nasbench201", 8, 1, 8),
    Case("darts", 16, 2, 32),
)
SPARSE = (
    Case("nasbench201", 16, 1, 16),
    Case("darts", 8, 2, 32, norm_pools=False),
)  # networks have no norm behind a pool
BATCHED = Case("nasbench201", 16, 1, 16)
LARGE = (DENSE[0], DENSE[3])
KERNELS = (DENSE[0], DENSE[1], Case("darts", 16, 1, 32))
CALLS = DENSE[1:3]
NETWORKS = {Case("nasbench201", 16, 1, 16): f"#{BEST}", Case("darts", 16, 2, 32): "DARTS_V2"}


def shrunk(case: Case) -> Case:
    """Return a very small case, which only shows that a benchmark runs."""
    return replace(case, width=4, depth=1, size=8, batch=8)


def learned_from(loss: Tensor, *optimizers: torch.optim.Optimizer, clip: Callable[[], object] | None = None) -> Tensor:
    """Go backward from a loss, clip the gradients, take a step of each optimizer, and return the loss."""
    loss.backward()
    if clip is not None:
        clip()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach()


class Dense:
    """A single-level search step: forward, backward, SGD step of weights and alphas; the op weights are sigmoids."""

    def __init__(self, case: Case, how: How) -> None:
        self.supernet = how.supernet(case)
        masks = {kind: candidate_mask(cell) for kind, cell in case.search_space.cells.items()}
        start = {k: initial_alpha(m, "sigmoid", "inv_n", torch.Generator()) for k, m in masks.items()}
        self.alphas = {kind: alpha.to(how.device).requires_grad_() for kind, alpha in start.items()}
        config = SGDConfig()
        of_weights = config.optimizer(self.supernet.parameters())
        self._optimizers = [of_weights, AlphaOptimizerConfig().make(self.alphas.values(), config)]

    def __call__(self, batch: Batch) -> Tensor:
        """Take the step and return the loss before it."""
        mix = dense({kind: torch.sigmoid(alpha) for kind, alpha in self.alphas.items()})
        loss = F.cross_entropy(self.supernet(batch.x, mix), batch.y)
        return learned_from(loss, *self._optimizers)

    def tensors(self) -> list[Tensor]:
        """Return all tensors that live from step to step."""
        states = [state.values() for optimizer in self._optimizers for state in optimizer.state.values()]
        found = [*self.supernet.parameters(), *self.supernet.buffers(), *self.alphas.values()]
        return found + [value for values in states for value in values if isinstance(value, Tensor)]


def dense_works(case: Case, how: How) -> Mapping[str, Work]:
    step, batch = Dense(case, how), how.images(case)
    return {"step": lambda: step(batch)}


def engines_agree(case: Case, how: How) -> float:
    """Return the largest difference between the engines in float64: logits, gradients, running statistics."""
    case = replace(case, batch=min(CHECKED, case.batch))
    supernet, (x, y, _) = how.supernet(case).double(), how.images(case)
    generator = torch.Generator().manual_seed(2)
    shapes = {kind: candidate_mask(cell).shape for kind, cell in case.search_space.cells.items()}
    alphas = {k: torch.randn(s, generator=generator).double().to(x.device) for k, s in shapes.items()}
    before, found = deepcopy(supernet.state_dict()), []
    for engine in ("reference", "fused"):
        supernet.load_state_dict(before)
        supernet.engine = engine
        found.append(_learned(supernet, x.double(), y, {k: a.requires_grad_() for k, a in alphas.items()}))
    return largest(*found)


def _learned(supernet: sn.Supernet, x: Tensor, y: Tensor, alphas: Mapping[str, Tensor]) -> list[Tensor]:
    logits = supernet(x, dense({kind: torch.sigmoid(alpha) for kind, alpha in alphas.items()}))
    inputs = [*supernet.parameters(), *alphas.values()]
    gradients = torch.autograd.grad(F.cross_entropy(logits, y), inputs, materialize_grads=True)
    return [logits, *gradients, *(buffer.clone() for buffer in supernet.buffers())]


def largest(some: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """Return the largest difference of any pair of tensors."""
    pairs = zip(some, others, strict=True)
    return max(difference(*(t.detach().double().cpu().numpy() for t in pair)) for pair in pairs)


class _Recorded(TorchDispatchMode):
    """Records every convolution with weights: shapes, settings, and whether its input needs a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[torch.Size, torch.Size, torch.Size, bool, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default and args[1].requires_grad:
            x, weight, bias, *settings = args
            assert bias is None
            self.calls.append((x.shape, weight.shape, out.shape, x.requires_grad, tuple(settings)))
        return out


KINDS = {
    "convolutions": ("conv", "mkldnn"),
    "batch norm": ("batch_norm",),
    "pooling": ("pool",),
    "sums and products": ("add", "mul", "sum", "sub", "div", "lerp", "norm"),
    "new tensors": ("empty", "zeros", "ones", "clone", "cat", "full"),
    "copies and fills": ("copy", "fill", "zero"),
}
"""The kinds of calls, each with parts of the names that belong to it; the first kind that fits counts."""


def calls(work: Work) -> dict[str, list[float]]:
    """Return the calls of PyTorch's operations in a repeat of `work` by kind, also those from within another."""
    for _ in range(2):  # allocates the momentum
        work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        work()
    counts = {"all": [0.0], **{kind: [0.0] for kind in KINDS}}
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            fits = [kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)]
            for kind in ["all", *fits[:1]]:
                counts[kind][0] += event.count
    return counts


def step_calls(case: Case, how: How) -> dict[str, list[float]]:
    """Return the calls of a search step."""
    return calls(dense_works(case, how)["step"])


class PathStep:
    """A step of one architecture: forward, backward, clipping and SGD step; by the supernet or as a plain network."""

    def __init__(self, case: Case, how: How, *, whole: bool) -> None:
        supernet, genotype, self._batch = (
            how.supernet(case, RETRAINED),
            architectures(case)[f"#{BEST}"],
            how.images(case),
        )
        self._mix = supernet.only(genotype) if whole else None
        self._module = supernet if whole else how.placed(network_of(supernet, genotype))
        self._weights, config = list(self._module.parameters()), SGDConfig()
        settings = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        self._optimizer = config.optimizer(self._weights) if whole else torch.optim.SGD(self._weights, **settings)
        self._clip = clip_gradient if whole else torch.nn.utils.clip_grad_norm_

    def __call__(self) -> Tensor:
        """Take the step and return the loss before it."""
        logits = self._module(self._batch.x, *([] if self._mix is None else [self._mix]))
        loss = F.cross_entropy(logits, self._batch.y)
        return learned_from(loss, self._optimizer, clip=lambda: self._clip(self._weights, SGDConfig().clip))


class NetworkStep:
    """A step of a retraining by the recipe `quick`; or with `plain`, as PyTorch's own optimizer takes it."""

    def __init__(self, case: Case, how: How, name: str, *, plain: bool, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self._batch, space = how.images(case), case.search_space
        genotype = sn.table(space.table).genotype(BEST) if space.table else space.parse(name)
        module = how.placed(Network(space, genotype, case.network_size))
        config, weights = RECIPES["quick"].w, list(module.parameters())
        settings = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        own = partial(torch.optim.SGD, nesterov=config.nesterov, **settings) if plain else config.optimizer
        self._module, self._optimizer = torch.compile(module, dynamic=False) if compiled else module, own(weights)
        start = time.perf_counter()
        self()
        self.first = time.perf_counter() - start

    def __call__(self) -> Tensor:
        """Take the step and return the loss before it."""
        loss = F.cross_entropy(self._module(self._batch.x), self._batch.y)
        return learned_from(loss, self._optimizer)


def network_works(case: Case, how: How, name: str, *, plain: bool, compiled: bool = False) -> Mapping[str, Work]:
    step = NetworkStep(case, how, name, plain=plain, compiled=compiled)
    if compiled:
        print(f"torch.compile, {name}: the first step takes {step.first:.0f} s", file=sys.stderr, flush=True)
    return {"step": step}


def path_calls(case: Case, how: How, *, whole: bool) -> dict[str, list[float]]:
    return calls(PathStep(case, how, whole=whole))


def path_works(case: Case, how: How, *, whole: bool) -> Mapping[str, Work]:
    return {"step": PathStep(case, how, whole=whole)}


class Convolutions:
    """The forward and backward passes of all convolutions of a dense step, as the engine runs them."""

    def __init__(self, case: Case, how: How) -> None:
        step = Dense(case, how)
        with _Recorded() as recorded:
            step(how.images(case))
        self._calls = [
            (*(how.placed(torch.randn(shape)) for shape in shapes), needed, settings)
            for *shapes, needed, settings in recorded.calls
        ]

    def __len__(self) -> int:
        return len(self._calls)

    def __call__(self) -> None:
        """Run all forward passes, then all backward passes."""
        for x, weight, _, _, (stride, padding, dilation, _, _, groups) in self._calls:
            F.conv2d(x, weight, None, stride, padding, dilation, groups)
        for x, weight, g, needed, settings in reversed(self._calls):
            torch.ops.aten.convolution_backward(g, x, weight, None, *settings, (needed, True, False))


def convolution_works(case: Case, how: How) -> Mapping[str, Work]:
    return {"step": Convolutions(case, how)}


def architectures(case: Case) -> dict[str, sn.Genotype]:
    """Return the architectures of the sparse section by name: random ones and the best of the benchmark's table."""
    space, rng = case.search_space, random.Random(0)
    if space.table is None:
        return {f"random {number}": space.sample(rng) for number in range(3)}
    benchmark = sn.table(space.table)
    drawn = [space.sample(rng) for _ in range(5)]
    return {f"#{benchmark.index(genotype)}": genotype for genotype in (*drawn, benchmark.genotype(BEST))}


def twins(supernet: sn.Supernet, network: Network) -> list[tuple[nn.Module, nn.Module]]:
    """Return the modules of the supernet that make up an architecture, each with its counterpart in the network."""
    space, pairs = supernet.space, []
    columns = space.columns(network.genotype)
    for kind, mixed, fixed in zip(supernet.kinds, supernet.layers, network.layers, strict=True):
        if kind is None or not isinstance(mixed, MixedCell) or not isinstance(fixed, FixedCell):
            pairs.append((mixed, fixed))
            continue
        kept = [(e, k) for e, k in enumerate(columns[kind]) if k is not None]
        kept = [(e, k) for e, k in kept if not space.primitive(mixed.cell.edges[e].ops[k]).zero]
        pairs += [(mixed.inputs, fixed.inputs), *zip((mixed.ops[e][k] for e, k in kept), fixed.ops, strict=True)]
    return pairs


def network_of(supernet: sn.Supernet, genotype: sn.Genotype) -> Network:
    """Return the standalone network of an architecture with the supernet's weights."""
    network = Network(supernet.space, genotype, supernet.network_size)
    for mixed, fixed in twins(supernet, network):
        fixed.load_state_dict(mixed.state_dict())
    return network


def network_agrees(case: Case, how: How) -> float:
    """Return the largest difference in float64 between supernet and network: logits in both modes, and gradients."""
    case = replace(case, batch=min(CHECKED, case.batch))
    x, y, _ = how.images(case)
    return max(_network_differs(case, how, genotype, x.double(), y) for genotype in architectures(case).values())


def _network_differs(case: Case, how: How, genotype: sn.Genotype, x: Tensor, y: Tensor) -> float:
    supernet = how.supernet(case, RETRAINED).double()
    network, mix = how.placed(network_of(supernet, genotype).double()), supernet.only(genotype)
    logits = [supernet(x, mix), network(x)]
    for found in logits:
        F.cross_entropy(found, y).backward()
    pairs = [(a, b) for some in twins(supernet, network) for a, b in zip(*(m.parameters() for m in some), strict=True)]
    pairs = [(a, b) for a, b in pairs if a.grad is not None or b.grad is not None]
    slopes = [[torch.zeros_like(p) if p.grad is None else p.grad for p in side] for side in zip(*pairs, strict=True)]
    evaluated = [supernet.eval()(x, mix), network.eval()(x)]
    return largest(*([one, two, *gradients] for one, two, gradients in zip(logits, evaluated, slopes, strict=True)))


def sparse_works(case: Case, how: How, *, whole: bool) -> Mapping[str, Work]:
    """Return the passes of each architecture by the supernet (`whole`) or its network: first all forward passes."""
    supernet, batch, chosen = how.supernet(case, RETRAINED), how.images(case), architectures(case)
    modules = {name: supernet if whole else how.placed(network_of(supernet, g)) for name, g in chosen.items()}
    evaluating = deepcopy(supernet).eval()
    evaluated = {name: evaluating if whole else deepcopy(module).eval() for name, module in modules.items()}

    def run(module: nn.Module, genotype: sn.Genotype) -> Tensor:
        return module(batch.x, module.only(genotype)) if isinstance(module, sn.Supernet) else module(batch.x)

    works: dict[str, Work] = {}
    for name, genotype in chosen.items():
        works[f"{name}, forward"] = torch.no_grad()(partial(run, evaluated[name], genotype))
    for name, genotype in chosen.items():
        forward = partial(run, modules[name], genotype)
        works[f"{name}, forward and backward"] = _Both(forward, batch.y, modules[name])
    return works


class _Both:
    """A forward and a backward pass, with new gradients of the weights each time."""

    def __init__(self, forward: Callable[[], Tensor], y: Tensor, module: nn.Module) -> None:
        self._forward, self._y, self._module = forward, y, module
        self._used: list[Tensor] = []

    def __call__(self) -> Tensor:
        loss = F.cross_entropy(self._forward(), self._y)
        loss.backward()
        self._used = self._used or [weight for weight in self._module.parameters() if weight.grad is not None]
        for weight in self._used:
            weight.grad = None
        return loss.detach()


def batched_works(case: Case, how: How, *, batched: bool) -> Mapping[str, Work]:
    """Return passes of the first 10 and 100 architectures without gradient: `batched`, or one after the other."""
    supernet, x, rng = how.supernet(case).eval(), how.images(case).x, random.Random(0)
    mixes = [supernet.only(case.search_space.sample(rng)) for _ in range(max(COUNTS))]
    run = supernet.batched if batched else partial(_one_by_one, supernet)
    return {batched_title(case, count): torch.no_grad()(partial(run, x, mixes[:count])) for count in COUNTS}


def _one_by_one(supernet: sn.Supernet, x: Tensor, mixes: Sequence[Mix]) -> Tensor:
    return torch.stack([supernet(x, mix) for mix in mixes])


def batched_title(case: Case, count: int) -> str:
    return f"{count} architectures, {case.title}"


def batched_agrees(case: Case, how: How) -> float:
    """Return the largest difference in float64 between batched architectures and each alone, by either engine."""
    case = replace(case, batch=min(CHECKED, case.batch))
    supernet, x, rng = how.supernet(case).double().eval(), how.images(case).x.double(), random.Random(0)
    mixes = [supernet.only(case.search_space.sample(rng)) for _ in range(max(COUNTS))]
    with torch.no_grad():
        found = [supernet.batched(x, mixes), _one_by_one(supernet, x, mixes)]
        supernet.engine = "reference"
        return largest(found, 2 * [_one_by_one(supernet, x, mixes)])


def memory(case: Case, how: How) -> dict[str, float]:
    """Return the peak MiB of a dense step: of all tensors, and of its process if it has its own."""
    small = shrunk(case)
    Dense(small, how)(how.images(small))  # libraries allocate their own memory first
    before = resident()
    step, batch = Dense(case, how), how.images(case)
    for _ in range(2):
        step(batch)  # allocates the momentum and the libraries' work spaces
    grown = resident() - before
    peak = peak_of(lambda: step(batch), how.device, [*batch, *step.tensors()]) / 2**20
    return {"tensors": peak} | ({"process": grown} if before and parent_process() else {})


def resident() -> float:
    """Return the peak MiB of this process in memory; 0 where the system does not report it."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else 0.0


def memory_rows(case: Case, found: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return one line per quantity and side, against the reference."""
    rows = []
    for what in found["reference"]:
        times = {name: [values[what]] for name, values in found.items()}
        title = f"MiB of {'all tensors' if what == 'tensors' else 'the process'}, {case.title}"
        targets = {"fused": "<= 0.6", "fused, checkpointing": "<= 0.6"} if what == "tensors" else {}
        rows += [row(title, times, name, "reference", targets.get(name, "")) for name in found if name != "reference"]
    return rows


def exact(what: str, worst: float) -> None:
    """Exit with an error if the largest difference between two sides is too large."""
    if not worst <= EXACT:
        fail(f"{what} differ by {worst:.1e} in float64")


class Bench:
    """The sections on a CPU, with a process for each side; `large` are the cases of the memory section."""

    large = LARGE

    def __init__(self, rounds: int, budget: float, threads: int, *, tiny: bool = False) -> None:
        self.rounds, self.budget, self.threads = rounds, budget, threads
        self.fit = shrunk if tiny else lambda case: case

    def on(self, how: How) -> How:
        """Return how a side runs in this bench."""
        return how

    def dense(self) -> Rows:
        """Time search steps."""
        for case in map(self.fit, DENSE):
            yield from self._dense(case)

    def _dense(self, case: Case) -> list[list[str]]:
        self.check_engines(case)
        ways = {"plain": PLAIN, "reference": REFERENCE, "fused": FUSED}
        makes = {name: (partial(dense_works, case, how), how.keeps) for name, how in ways.items()}
        if case.space != "nasbench201":  # all three at once would take 24 GB
            pairs = {name: {name: makes[name], "fused": makes["fused"]} for name in ("plain", "reference")}
            found = {name: self.times(pair)["step"] for name, pair in pairs.items()}
            return [
                row(f"ms, {case.title}", found["plain"], "plain", "fused", ">= 2"),
                row(f"ms, {case.title}", found["reference"], "reference", "fused"),
            ]
        alone = {"convolutions, merged": FUSED, "convolutions, one by one": REFERENCE}
        makes |= {name: (partial(convolution_works, case, how), True) for name, how in alone.items()}
        times = self.times(makes)["step"]
        targets = {"convolutions, merged": "<= 1.6"}
        return [
            row(f"ms, {case.title}", times, "plain", "fused", ">= 3"),
            row(f"ms, {case.title}", times, "reference", "fused"),
            *(row(f"ms, {case.title}", times, "fused", name, targets.get(name, "")) for name in alone),
        ]

    def check_engines(self, case: Case) -> None:
        """Exit with an error if the engines differ."""
        exact(f"the engines on {case.title}", self.alone(partial(engines_agree, case, self.on(FUSED))))

    def sparse(self) -> Rows:
        """Time one operation per edge against plain networks."""
        how = self.on(FUSED)
        for case in map(self.fit, SPARSE):
            exact(f"supernet and network on {case.title}", self.alone(partial(network_agrees, case, how)))
            ways = {"supernet": True, "network": False}
            times = self.times({n: (partial(sparse_works, case, how, whole=w), True) for n, w in ways.items()})
            for work, found in times.items():
                yield row(f"ms, {case.title}: {work}", found, "supernet", "network", "<= 1.15")

    def paths(self) -> Rows:
        """Time a step of one architecture against a plain network, in either memory format."""
        for case in map(self.fit, CALLS):
            first = replace(FUSED, channels_last=False)
            networks = {"network": self.on(FUSED), "network, channels first": self.on(first)}
            makes = {name: (partial(path_works, case, how, whole=False), True) for name, how in networks.items()}
            makes["path"] = (partial(path_works, case, self.on(FUSED), whole=True), True)
            times = self.times(makes)["step"]
            for name in networks:
                yield row(f"ms, #{BEST}, {case.title}", times, "path", name, "<= 1.0")

    def networks(self) -> Rows:
        """Time a step of retraining against plain networks."""
        last, first = self.on(FUSED), self.on(replace(PLAIN, engine="fused"))
        for case, name in NETWORKS.items():
            small = self.fit(case)
            makes = {"retraining": (partial(network_works, small, last, name, plain=False), True)}
            makes["channels first"] = (partial(network_works, small, first, name, plain=True), False)
            makes["channels last"] = (partial(network_works, small, last, name, plain=True), True)
            makes["compiled"] = (partial(network_works, small, last, name, plain=True, compiled=True), True)
            times = self.times(makes)["step"]
            for side in list(makes)[1:]:
                yield row(f"ms, {name}, {small.title}", times, "retraining", side, "<= 1.0")

    def calls(self) -> Rows:
        """Count PyTorch's calls in a step."""
        for case in map(self.fit, CALLS):
            dense = {name: step_calls(case, self.on(how)) for name, how in ENGINES.items()}
            path = {n: path_calls(case, self.on(FUSED), whole=w) for n, w in WHOLE.items()}
            for what, (second, first), found in (("step", ENGINES, dense), ("path", WHOLE, path)):
                for kind, count in found[first].items():
                    counts = {first: count, second: found[second][kind]}
                    if count[0] and counts[second][0]:
                        yield row(f"calls of a {what}, {kind}, {case.title}", counts, first, second)

    def kernels(self) -> Rows:
        """Time fused steps with and without the C kernels."""
        ways = {"PyTorch": UNCOMPILED, "C": FUSED}
        for case in map(self.fit, KERNELS):
            times = self.times({name: (partial(dense_works, case, how), True) for name, how in ways.items()})["step"]
            yield row(f"ms, C kernels, {case.title}", times, "PyTorch", "C")

    def batched(self) -> Rows:
        """Time many architectures on the same images."""
        case, how = self.fit(BATCHED), self.on(FUSED)
        ways = {"batched": (how, True), "loop": (how, False), "reference loop": (self.on(REFERENCE), False)}
        exact("architectures batched and alone", self.alone(partial(batched_agrees, case, how)))
        times = self.times({n: (partial(batched_works, case, w, batched=b), True) for n, (w, b) in ways.items()})
        loops = ("loop", "reference loop")
        yield from (row(f"ms, {work}", found, side, "batched") for work, found in times.items() for side in loops)

    def memory(self) -> Rows:
        """Measure the memory of search steps."""
        ways = {"reference": self.on(REFERENCE), "fused": self.on(FUSED)}
        ways |= {f"{name}, checkpointing": replace(how, checkpointing=True) for name, how in ways.items()}
        for case in map(self.fit, self.large):
            found = {name: self.alone(partial(memory, case, how)) for name, how in ways.items()}
            yield from memory_rows(case, found)

    def alone(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, done in a process of its own."""
        return apart(work, self.threads)

    def times(self, makes: Mapping[str, tuple[Make, bool]]) -> dict[str, Times]:
        """Return the milliseconds of every work."""
        with sides(makes, self.threads) as started:
            works = list(next(iter(started.values())).proof)
            return {
                work: take_turns(
                    {n: partial(s.time, work, self.budget) for n, s in started.items()}, self.rounds, LINE / len(works)
                )
                for work in works
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = ("calls", "dense", "kernels", "sparse", "paths", "networks", "batched", "memory")
    parser.add_argument("--only", choices=sections, nargs="+", default=sections)
    parser.add_argument("--quick", action="store_true", help="3 rounds of a few steps")
    parser.add_argument(
        "--tiny", action="store_true", help="a trial run with very small nets, whose times mean nothing"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report", type=Path, help="write the tables here (.md)")
    given = parser.parse_args()
    rounds, budget = (3, 0.1) if given.quick else (given.rounds, 0.3)
    bench = Bench(rounds, budget, given.threads, tiny=given.tiny)
    texts = [where(threads=given.threads)]
    print(texts[0], flush=True)
    for name in given.only:
        found = []
        for line in getattr(bench, name)():
            print(table([line]) if not found else f"| {' | '.join(line)} |", end="" if not found else None, flush=True)
            found.append(line)
        print()
        texts.append(table(found))
    if given.report is not None:
        given.report.write_text("\n".join(texts))


if __name__ == "__main__":
    main()
