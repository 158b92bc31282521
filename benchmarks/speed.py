"""Time and memory of the fused engine on a CPU, against the plain reference engine in the same run.

    python benchmarks/speed.py                      # all of it
    python benchmarks/speed.py --only dense --quick # one section, few rounds

- dense: a search step, single-level: forward, backward, SGD step of weights and alphas, sigmoid op weights. `rivals` is
  the reference engine as others run such a supernet, in channels-first memory; `reference` has what can be had without
  the engine, channels-last memory and an allocator that keeps freed memory, and so has `fused`. The convolutions alone
  are those of the same step, forward and backward, by PyTorch's own functions, and nothing else.
- sparse: one operation per edge, against the same architecture as a plain network with the same weights.
- many: many architectures on the same images, against one pass after the other.
- memory: the bytes of all tensors when a step needs most, and what the process grows by.

Before anything is timed, the sides are compared in float64: outputs, gradients, running statistics, to 1e-10. What the
timed sides return first is compared once more.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.engine.peak_memory import peak_of
from supernet.engine.precision import Precision
from supernet.methods.relaxation import candidate_mask, initial_alpha
from supernet.models.mix import Mix, dense
from supernet.models.mixed_cell import Engine, MixedCell
from supernet.models.network import FixedCell, Network
from supernet.spaces.modules import Norm

T = TypeVar("T")

EXACT = 1e-10
CHECKED = 16  # images in the comparison in float64
SEARCHED, PLAIN = Norm(affine=False, track=True), Norm(affine=True, track=True)
KNOWN = 9930  # the best architecture of NAS-Bench-201
MANY = (10, 100)


@dataclass(frozen=True)
class Case:
    """A supernet and what goes into it."""

    space: str
    width: int
    depth: int
    size: int
    batch: int = 64
    norm_pools: bool | None = None  # None is the space's own

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.space} C={self.width} depth {self.depth}, {self.batch} of {self.size}x{self.size}"

    @property
    def home(self) -> sn.SearchSpace:
        """The space."""
        home = sn.space(self.space)
        return home if self.norm_pools is None else replace(home, norm_pools=self.norm_pools)

    @property
    def network_size(self) -> sn.NetworkSize:
        """The size of the supernet."""
        return sn.NetworkSize(self.width, self.depth, (self.size, self.size))


@dataclass(frozen=True)
class How:
    """How it is run; `keeps`: the allocator keeps freed memory."""

    engine: Engine
    channels_last: bool = True
    keeps: bool = True
    checkpointing: bool = False
    precision: Precision = "float32"
    device: torch.device = torch.device("cpu")

    def lay(self, module: Any) -> Any:
        """Return a module or images on the device, in the memory format."""
        return module.to(self.device).to(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )

    def supernet(self, case: Case, norm: Norm = SEARCHED) -> sn.Supernet:
        """Return the supernet, the same weights every time."""
        torch.manual_seed(0)
        supernet = sn.Supernet(case.home, case.network_size, norm)
        supernet.engine, supernet.precision, supernet.checkpointing = self.engine, self.precision, self.checkpointing
        return self.lay(supernet)

    def images(self, case: Case) -> Batch:
        """Return a batch of noise, the same every time."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(case.batch, 3, case.size, case.size, generator=generator)
        y = torch.randint(10, (case.batch,), generator=generator)
        return Batch(self.lay(x), y.to(self.device), torch.arange(case.batch, device=self.device))


RIVALS, REFERENCE, FUSED = How("reference", channels_last=False, keeps=False), How("reference"), How("fused")

DENSE = (
    Case("nasbench201", 16, 1, 16),
    Case("nasbench201", 8, 1, 16),
    Case("nasbench201", 8, 1, 8),
    Case("darts", 16, 2, 32),
)
SPARSE = (Case("nasbench201", 16, 1, 16), Case("darts", 8, 2, 32, norm_pools=False))  # a network has no norm there
SEVERAL = Case("nasbench201", 16, 1, 16)
LARGE = (DENSE[0], DENSE[3])


def shrunk(case: Case) -> Case:
    """Return a case so small that it only shows whether a benchmark runs."""
    return replace(case, width=4, depth=1, size=8, batch=8)


class Dense:
    """A step of single-level search: forward, backward, SGD step of weights and alphas; the op weights are sigmoids."""

    def __init__(self, case: Case, how: How) -> None:
        self.supernet = how.supernet(case)
        masks = {kind: candidate_mask(cell) for kind, cell in case.home.cells.items()}
        start = {k: initial_alpha(m, "sigmoid", "inv_n", torch.Generator()) for k, m in masks.items()}
        self.alphas = {kind: alpha.to(how.device).requires_grad_() for kind, alpha in start.items()}
        settings = SGDConfig()
        of_weights = settings.optimizer(self.supernet.parameters())
        self._optimizers = [of_weights, AlphaOptimizerConfig().make(self.alphas.values(), settings)]

    def __call__(self, batch: Batch) -> Tensor:
        """Take the step and return the loss before it."""
        mix = dense({kind: torch.sigmoid(alpha) for kind, alpha in self.alphas.items()})
        loss = F.cross_entropy(self.supernet(batch.x, mix), batch.y)
        loss.backward()
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    def tensors(self) -> list[Tensor]:
        """Return all that is kept between two steps."""
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
    shapes = {kind: candidate_mask(cell).shape for kind, cell in case.home.cells.items()}
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


class _Seen(TorchDispatchMode):
    """Notes every convolution with weights: shapes, settings, and whether its input needs a gradient."""

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


class Convolutions:
    """Forward and backward pass of every convolution of a dense step, as the engine runs them, and nothing else."""

    def __init__(self, case: Case, how: How) -> None:
        step = Dense(case, how)
        with _Seen() as seen:
            step(how.images(case))
        self._calls = [
            (*(how.lay(torch.randn(shape)) for shape in shapes), needed, settings)
            for *shapes, needed, settings in seen.calls
        ]

    def __len__(self) -> int:
        return len(self._calls)

    def __call__(self) -> None:
        """Run them: all forward, then all backward."""
        for x, weight, _, _, (stride, padding, dilation, _, _, groups) in self._calls:
            F.conv2d(x, weight, None, stride, padding, dilation, groups)
        for x, weight, g, needed, settings in reversed(self._calls):
            torch.ops.aten.convolution_backward(g, x, weight, None, *settings, (needed, True, False))


def convolution_works(case: Case, how: How) -> Mapping[str, Work]:
    return {"step": Convolutions(case, how)}


def architectures(case: Case) -> dict[str, sn.Genotype]:
    """Return what the sparse section runs, by name: random ones, and the best one that is known."""
    home, rng = case.home, random.Random(0)
    if home.table is None:
        return {f"random {number}": home.sample(rng) for number in range(3)}
    known = sn.table(home.table)
    drawn = [home.sample(rng) for _ in range(5)]
    return {f"#{known.index(genotype)}": genotype for genotype in (*drawn, known.genotype(KNOWN))}


def twins(supernet: sn.Supernet, network: Network) -> list[tuple[nn.Module, nn.Module]]:
    """Return the parts of the supernet that make up an architecture, each with that of its network."""
    home, pairs = supernet.space, []
    columns = home.columns(network.genotype)
    for kind, mixed, fixed in zip(supernet.kinds, supernet.layers, network.layers, strict=True):
        if kind is None or not isinstance(mixed, MixedCell) or not isinstance(fixed, FixedCell):
            pairs.append((mixed, fixed))
            continue
        kept = [(e, k) for e, k in enumerate(columns[kind]) if k is not None]
        kept = [(e, k) for e, k in kept if not home.primitive(mixed.cell.edges[e].ops[k]).zero]
        pairs += [(mixed.inputs, fixed.inputs), *zip((mixed.ops[e][k] for e, k in kept), fixed.ops, strict=True)]
    return pairs


def network_of(supernet: sn.Supernet, genotype: sn.Genotype) -> Network:
    """Return the plain network of an architecture with the supernet's weights."""
    network = Network(supernet.space, genotype, supernet.network_size)
    for mixed, fixed in twins(supernet, network):
        fixed.load_state_dict(mixed.state_dict())
    return network


def network_agrees(case: Case, how: How) -> float:
    """Return the largest difference in float64 between supernet and network: logits of both modes, and gradients."""
    case = replace(case, batch=min(CHECKED, case.batch))
    x, y, _ = how.images(case)
    return max(_network_differs(case, how, genotype, x.double(), y) for genotype in architectures(case).values())


def _network_differs(case: Case, how: How, genotype: sn.Genotype, x: Tensor, y: Tensor) -> float:
    supernet = how.supernet(case, PLAIN).double()
    network, mix = how.lay(network_of(supernet, genotype).double()), supernet.only(genotype)
    logits = [supernet(x, mix), network(x)]
    for found in logits:
        F.cross_entropy(found, y).backward()
    pairs = [(a, b) for some in twins(supernet, network) for a, b in zip(*(m.parameters() for m in some), strict=True)]
    pairs = [(a, b) for a, b in pairs if a.grad is not None or b.grad is not None]
    slopes = [[torch.zeros_like(p) if p.grad is None else p.grad for p in side] for side in zip(*pairs, strict=True)]
    evaluated = [supernet.eval()(x, mix), network.eval()(x)]
    return largest(*([one, two, *own] for one, two, own in zip(logits, evaluated, slopes, strict=True)))


def sparse_works(case: Case, how: How, *, whole: bool) -> Mapping[str, Work]:
    """Return passes of each architecture, by the supernet (`whole`) or by its network: all forward ones first."""
    supernet, batch, chosen = how.supernet(case, PLAIN), how.images(case), architectures(case)
    modules = {name: supernet if whole else how.lay(network_of(supernet, g)) for name, g in chosen.items()}
    judged = deepcopy(supernet).eval()
    evaluated = {name: judged if whole else deepcopy(module).eval() for name, module in modules.items()}

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
    """A forward and a backward pass; the weights' gradients are made anew each time."""

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


def many_works(case: Case, how: How, *, together: bool) -> Mapping[str, Work]:
    """Return passes of the first 10, 100 architectures without gradient: `together`, or one after the other."""
    supernet, x, rng = how.supernet(case).eval(), how.images(case).x, random.Random(0)
    mixes = [supernet.only(case.home.sample(rng)) for _ in range(max(MANY))]
    run = supernet.batched if together else partial(_one_by_one, supernet)
    return {many_title(case, count): torch.no_grad()(partial(run, x, mixes[:count])) for count in MANY}


def _one_by_one(supernet: sn.Supernet, x: Tensor, mixes: Sequence[Mix]) -> Tensor:
    return torch.stack([supernet(x, mix) for mix in mixes])


def many_title(case: Case, count: int) -> str:
    return f"{count} architectures, {case.title}"


def many_agrees(case: Case, how: How) -> float:
    """Return the largest difference in float64 of architectures together, and one by one with either engine."""
    case = replace(case, batch=min(CHECKED, case.batch))
    supernet, x, rng = how.supernet(case).double().eval(), how.images(case).x.double(), random.Random(0)
    mixes = [supernet.only(case.home.sample(rng)) for _ in range(max(MANY))]
    with torch.no_grad():
        found = [supernet.batched(x, mixes), _one_by_one(supernet, x, mixes)]
        supernet.engine = "reference"
        return largest(found, 2 * [_one_by_one(supernet, x, mixes)])


def memory(case: Case, how: How) -> dict[str, float]:
    """Return the MiB that a dense step needs at its peak: of all tensors, and of its process if it has its own."""
    small = shrunk(case)
    Dense(small, how)(how.images(small))  # libraries load what they need
    before = resident()
    step, batch = Dense(case, how), how.images(case)
    for _ in range(2):
        step(batch)  # makes the momentum, and what libraries keep
    grown = resident() - before
    peak = peak_of(lambda: step(batch), how.device, [*batch, *step.tensors()]) / 2**20
    return {"tensors": peak} | ({"process": grown} if before and parent_process() else {})


def resident() -> float:
    """Return the most MiB that this process has had in memory; 0 where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else 0.0


def memory_rows(case: Case, found: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return a line per quantity and side, against the reference."""
    rows = []
    for what in found["reference"]:
        times = {name: [values[what]] for name, values in found.items()}
        title = f"MiB of {'all tensors' if what == 'tensors' else 'the process'}, {case.title}"
        targets = {"fused": "<= 0.6", "fused, checkpointing": "<= 0.6"} if what == "tensors" else {}
        rows += [row(title, times, name, "reference", targets.get(name, "")) for name in found if name != "reference"]
    return rows


def exact(what: str, worst: float) -> None:
    """Exit with an error if two ways of computing the same differ."""
    if not worst <= EXACT:
        fail(f"{what} differ by {worst:.1e} in float64")


class Bench:
    """The sections, on a CPU, with a process for each side."""

    large = LARGE  # whose memory is measured

    def __init__(self, rounds: int, budget: float, threads: int, *, tiny: bool = False) -> None:
        self.rounds, self.budget, self.threads = rounds, budget, threads
        self.fit = shrunk if tiny else lambda case: case

    def on(self, how: How) -> How:
        """Return how a side is run here."""
        return how

    def dense(self) -> list[list[str]]:
        """Time search steps."""
        return [line for case in map(self.fit, DENSE) for line in self._dense(case)]

    def _dense(self, case: Case) -> list[list[str]]:
        self.check_engines(case)
        known, ways = case.space == "nasbench201", {"rivals": RIVALS, "reference": REFERENCE, "fused": FUSED}
        makes = {name: (partial(dense_works, case, how), how.keeps) for name, how in ways.items()}
        if not known:  # all three at once would take 24 GB
            pairs = {name: {name: makes[name], "fused": makes["fused"]} for name in ("rivals", "reference")}
            found = {name: self.times(pair)["step"] for name, pair in pairs.items()}
            return [
                row(f"ms, {case.title}", found["rivals"], "rivals", "fused", ">= 2"),
                row(f"ms, {case.title}", found["reference"], "reference", "fused"),
            ]
        alone = {"convolutions, merged": FUSED, "convolutions, one by one": REFERENCE}
        makes |= {name: (partial(convolution_works, case, how), True) for name, how in alone.items()}
        times = self.times(makes)["step"]
        targets = {"convolutions, merged": "<= 1.6"}
        return [
            row(f"ms, {case.title}", times, "rivals", "fused", ">= 3"),
            row(f"ms, {case.title}", times, "reference", "fused"),
            *(row(f"ms, {case.title}", times, "fused", name, targets.get(name, "")) for name in alone),
        ]

    def check_engines(self, case: Case) -> None:
        """Exit with an error if the engines differ."""
        exact(f"the engines on {case.title}", self.alone(partial(engines_agree, case, self.on(FUSED))))

    def sparse(self) -> list[list[str]]:
        """Time one operation per edge against plain networks."""
        rows, how = [], self.on(FUSED)
        for case in map(self.fit, SPARSE):
            exact(f"supernet and network on {case.title}", self.alone(partial(network_agrees, case, how)))
            ways = {"supernet": True, "network": False}
            times = self.times({n: (partial(sparse_works, case, how, whole=w), True) for n, w in ways.items()})
            rows += [
                row(f"ms, {case.title}: {work}", own, "supernet", "network", "<= 1.15") for work, own in times.items()
            ]
        return rows

    def batched(self) -> list[list[str]]:
        """Time many architectures on the same images; skipped where a supernet cannot do it."""
        if not hasattr(sn.Supernet, "batched"):
            print("many: skipped, Supernet has no attribute 'many'\n")
            return []
        case, ways = (
            self.fit(SEVERAL),
            {"many": (FUSED, True), "loop": (FUSED, False), "reference loop": (REFERENCE, False)},
        )
        exact("architectures together and one by one", self.alone(partial(many_agrees, case, self.on(FUSED))))
        makes = {n: (partial(many_works, case, self.on(how), together=t), True) for n, (how, t) in ways.items()}
        times = self.times(makes)
        return [
            row(f"ms, {work}", own, side, "many") for work, own in times.items() for side in ("loop", "reference loop")
        ]

    def memory(self) -> list[list[str]]:
        """Measure the memory of search steps."""
        rows, ways = [], {"reference": self.on(REFERENCE), "fused": self.on(FUSED)}
        ways |= {f"{name}, checkpointing": replace(how, checkpointing=True) for name, how in ways.items()}
        for case in map(self.fit, self.large):
            rows += memory_rows(case, {name: self.alone(partial(memory, case, how)) for name, how in ways.items()})
        return rows

    def alone(self, work: Callable[[], T]) -> T:
        """Do `work` where it meets nothing else."""
        return apart(work, self.threads)

    def times(self, makes: Mapping[str, tuple[Make, bool]]) -> dict[str, Times]:
        """Return the milliseconds of every work."""
        with sides(makes, self.threads) as started:
            works = list(next(iter(started.values())).proof)
            return {
                work: take_turns({n: partial(s.time, work, self.budget) for n, s in started.items()}, self.rounds)
                for work in works
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = ("dense", "sparse", "many", "memory")
    parser.add_argument("--only", choices=sections, nargs="+", default=sections)
    parser.add_argument("--quick", action="store_true", help="3 rounds of a few steps")
    parser.add_argument("--tiny", action="store_true", help="nets so small that their times mean nothing: a trial run")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report", type=Path, help="write the tables here (.md)")
    given = parser.parse_args()
    rounds, budget = (3, 0.1) if given.quick else (given.rounds, 0.3)
    bench = Bench(rounds, budget, given.threads, tiny=given.tiny)
    texts = [where(threads=given.threads)]
    print(texts[0])
    for name in given.only:
        if rows := getattr(bench, name)():
            texts.append(table(rows))
            print(texts[-1], flush=True)
    if given.report is not None:
        given.report.write_text("\n".join(texts))


if __name__ == "__main__":
    main()
