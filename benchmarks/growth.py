"""How the time and memory of a step grow with the network, the space and the batch.

    python benchmarks/growth.py                       # all sections, each within three minutes
    python benchmarks/growth.py --only width batch --figure growth.svg

Around one step (cells of 4 nodes with NAS-Bench-201's operations, 16 channels, one cell per stage, 64 images of 16x16
pixels) one size grows at a time. `fused` and `reference` are the engines of `speed.py`, the reference as other packages
run a supernet; `convolutions` are those of the fused step alone. With several architectures at once there is no
gradient, and `reference` runs them one after the other. Memory is the peak of all tensors of a step. A slope is that of
the logarithms between a size and the one before: 1 is proportional, 0 is free.

The time of a fused step has three parts, the largest of which is its limit:

- calls: the same step on 2 images of a few pixels, which is hardly arithmetic.
- arithmetic: its convolutions alone, without those on the 2 images.
- cache: the rest, the passes of everything else over memory.

The size at which memory is full follows from the last slope of its peak.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import supernet as sn
from sides import Work, apart, sides, table, where
from speed import FUSED, PLAIN, Case, Convolutions, Dense, How, shrunk
from supernet.data.limits import free_bytes
from supernet.engine.peak_memory import peak_of
from supernet.report.plots.style import METHOD_COLOURS, STYLE, save

OPS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
MORE = (*OPS[2:0:-1], OPS[0], OPS[3], "sep_conv_3x3", "dil_conv_3x3", "sep_conv_5x5", "dil_conv_5x5")
PARTS = ("calls", "cache", "arithmetic")
HEAD = ("size", "fused, ms", "slope", "reference, ms", "slope", "convolutions, ms", "slope", "reference / fused")
HEAD += ("fused, MiB", "slope", "reference, MiB", "slope", *PARTS)
LINES = {"fused": "-", "reference": "--", "convolutions": ":"}


@dataclass(frozen=True)
class Grown(Case):
    """A supernet of a space of any size, its batch, and how many architectures run at once; None is a dense step."""

    ops: tuple[str, ...] = OPS
    nodes: int = 4
    together: int | None = None

    @property
    def search_space(self) -> sn.SearchSpace:
        """The space."""
        return sn.SearchSpace("grown", {"cell": sn.Cell.dense(self.nodes, self.ops)}, sn.Stages(("cell",) * 3))

    @property
    def calls(self) -> Grown:
        """The same step on 2 images of a few pixels."""
        return replace(self, batch=2, size=max(4, min(8, self.size // 2)))


SECTIONS: Mapping[str, tuple[str, Sequence[int]]] = {
    "width": ("width", (4, 8, 16, 32, 64)),
    "depth": ("depth", (1, 2, 4, 8)),
    "candidates": ("ops", (1, 2, 4, 8)),
    "nodes": ("nodes", (2, 3, 4, 6, 8)),
    "side": ("size", (8, 16, 32, 64)),
    "batch": ("batch", (16, 32, 64, 128, 256)),
    "architectures": ("together", (1, 3, 10, 30, 100)),
}


def cases(section: str, *, tiny: bool) -> dict[int, Grown]:
    """Return the steps of a section by the size that grows."""
    name, sizes = SECTIONS[section]
    base = Grown("grown", 16, 1, 16)
    if tiny:
        base, sizes = shrunk(base), sizes[:3]
    return {size: replace(base, **{name: MORE[:size] if name == "ops" else size}) for size in sizes}


class Passes:
    """The passes of a case's random architectures, without gradients."""

    def __init__(self, case: Grown, how: How) -> None:
        self.supernet, self.x, rng = how.supernet(case).eval(), how.images(case).x, random.Random(0)
        self.mixes = [self.supernet.only(case.search_space.sample(rng)) for _ in range(case.together or 0)]
        self.batched = how == FUSED

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the logits of all architectures."""
        if self.batched:
            return self.supernet.batched(self.x, self.mixes)
        return torch.stack([self.supernet(self.x, mix) for mix in self.mixes])

    def tensors(self) -> list[Tensor]:
        """Return all tensors that live from pass to pass."""
        return [*self.supernet.parameters(), *self.supernet.buffers(), self.x]


def step(case: Grown, how: How, *, alone: bool) -> Work:
    """Return a step, or with `alone` its convolutions."""
    if alone:
        return Convolutions(case, how)
    if case.together is None:
        dense, batch = Dense(case, how), how.images(case)
        return lambda: dense(batch)
    return Passes(case, how)


def works(section: Mapping[int, Grown], how: How, *, alone: bool) -> dict[str, Work]:
    """Return the steps of a section, and those on 2 images where they tell of calls."""
    found = {str(size): step(case, how, alone=alone) for size, case in section.items()}
    small = {} if how == PLAIN else {f"{size} calls": step(c.calls, how, alone=alone) for size, c in section.items()}
    return found | small


def peaks(section: Mapping[int, Grown], how: How) -> list[float]:
    """Return the peak MiB of each step of a section."""
    return [_peak(case, how) / 2**20 for case in section.values()]


def _peak(case: Grown, how: How) -> int:
    if case.together is not None:
        passes = Passes(case, how)
        return peak_of(passes, how.device, passes.tensors())
    dense, batch = Dense(case, how), how.images(case)
    dense(batch)  # makes the momentum
    return peak_of(lambda: dense(batch), how.device, [*batch, *dense.tensors()])


Medians = Mapping[str, Mapping[str, float]]


def times(section: Mapping[int, Grown], threads: int, rounds: int, seconds: float) -> Medians:
    """Return the median milliseconds of all works by side, of as many rounds as the seconds allow."""
    end = time.monotonic() + seconds
    ways = {"fused": (FUSED, False), "reference": (PLAIN, False), "convolutions": (FUSED, True)}
    if any(case.together for case in section.values()):
        del ways["convolutions"]
    makes = {name: (partial(works, section, how, alone=alone), how.keeps) for name, (how, alone) in ways.items()}
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    with sides(makes, threads) as started:
        for number in range(rounds):
            for work in next(iter(started.values())).proof:
                for name, side in started.items():
                    if work in side.proof and (number == 0 or time.monotonic() < end):
                        seen[name].setdefault(work, []).append(side.time(work, 0.3))
    return {name: {work: float(np.median(found)) for work, found in each.items()} for name, each in seen.items()}


def slopes(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the slopes of the logarithms between neighbours, NaN for the first."""
    return [math.nan, *(np.diff(np.log(values)) / np.diff(np.log(sizes))).tolist()]


def parts(found: Medians, size: int) -> dict[str, float]:
    """Return the shares of calls, cache and arithmetic in a fused step; the latter is unknown without convolutions."""
    fused, work, small = found["fused"], str(size), f"{size} calls"
    calls = min(1.0, fused[small] / fused[work])
    if "convolutions" not in found:
        return {"calls": calls, "cache": 1 - calls, "arithmetic": math.nan}
    alone = found["convolutions"]
    arithmetic = min(1 - calls, max(0.0, alone[work] - alone[small]) / fused[work])
    return {"calls": calls, "cache": 1 - calls - arithmetic, "arithmetic": arithmetic}


def rows(found: Medians, memory: Mapping[str, Sequence[float]], sizes: Sequence[int]) -> list[list[str]]:
    """Return a line of the table for each size."""
    columns: list[Sequence[str]] = [[str(size) for size in sizes]]
    for name in LINES:
        values = [found[name][str(size)] if name in found else math.nan for size in sizes]
        columns += [[_number(v, "#.3g") for v in values], [_number(v, ".2f") for v in slopes(sizes, values)]]
    columns.append([f"{found['reference'][str(size)] / found['fused'][str(size)]:.2f}" for size in sizes])
    for each in memory.values():
        columns += [[f"{value:#.3g}" for value in each], [_number(v, ".2f") for v in slopes(sizes, each)]]
    shares = [parts(found, size) for size in sizes]
    columns += [[_number(share[name], ".2f") for share in shares] for name in PARTS]
    return [list(row) for row in zip(*columns, strict=True)]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def limits(found: Medians, memory: Sequence[float], sizes: Sequence[int]) -> Iterator[str]:
    """Yield, in words, at which size each limit takes over."""
    before = ""
    for size in sizes:
        shares = {name: share for name, share in parts(found, size).items() if not math.isnan(share)}
        now = max(shares, key=lambda name: shares[name])
        if now != before:
            yield f"{now} from {size} on"
        before = now
    free, slope = free_bytes(), slopes(sizes, memory)[-1]
    if free and slope > 0.5:
        yield f"memory from about {sizes[-1] * (free / 2**20 / memory[-1]) ** (1 / slope):.2g} on"


@mpl.rc_context(STYLE)
def draw(seen: Mapping[str, tuple[Medians, Mapping[str, Sequence[float]]]]) -> Figure:
    """Draw the times of all sections, and below them the memory, with logarithmic axes."""
    figure = Figure(figsize=(1 + 2.1 * len(seen), 4.6), layout="constrained")
    axes = figure.subplots(2, len(seen), squeeze=False, sharex="col", sharey="row")
    for column, (name, (found, memory)) in enumerate(seen.items()):
        sizes = [int(work) for work in found["fused"] if work.isdecimal()]
        drawn = [{side: [each[str(size)] for size in sizes] for side, each in found.items()}, memory]
        for panel, curves, label in zip(axes[:, column], drawn, ("ms", "MiB"), strict=True):
            for colour, side in zip(METHOD_COLOURS, LINES, strict=False):
                if side in curves:
                    panel.loglog(sizes, curves[side], LINES[side], color=colour, marker=".", label=side)
            panel.set_xticks(sizes, [str(size) for size in sizes])
            panel.minorticks_off()
            panel.yaxis.set_major_formatter("{x:g}")  # STYLE shows formulas as they are typed
            panel.set_ylabel(label if column == 0 else "")
        axes[0, column].set_title(name)
    sides = {side: line for panel in axes[0] for line, side in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(sides.values()), list(sides), loc="outside lower center", ncols=len(LINES))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(SECTIONS), nargs="+", default=tuple(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120, help="after which a section has its last measurement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--figure", type=Path, default=Path("growth.svg"), help="file of the figure")
    parser.add_argument("--tiny", action="store_true", help="a trial run of small steps, whose times mean nothing")
    given = parser.parse_args()
    print(where(threads=given.threads))
    seen = {}
    for name in given.only:
        section = cases(name, tiny=given.tiny)
        sizes, ways = list(section), {"fused": FUSED, "reference": PLAIN}
        memory = {side: apart(partial(peaks, section, how), given.threads) for side, how in ways.items()}
        found = times(section, given.threads, 1 if given.tiny else given.rounds, given.seconds)
        seen[name] = found, memory
        print(table(rows(found, memory, sizes), (name, *HEAD[1:])))
        print(f"{name}: {'; '.join(limits(found, memory['fused'], sizes))}\n", flush=True)
        save(draw(seen), given.figure)


if __name__ == "__main__":
    main()
