"""How small may a proxy be? Architectures of NAS-Bench-201 trained alone, in protocols of growing cost.

    python benchmarks/proxy.py cifar10.npz --out runs/proxy               # 60 of the whole space
    python benchmarks/proxy.py cifar10.npz --out runs/proxy-best --best   # 32 of its best 5 %, where a search ends

Each architecture is trained from scratch by the recipe `quick`, in a network and for a time of the protocol, and
measured on the last 4 000 of the 25 000 images, which train nothing. Each protocol ranks the architectures by that
accuracy; the truth is NAS-Bench-201's CIFAR-10 test accuracy. No supernet of this size, trained on these images for
this long, can be expected to rank better: it is the ceiling of the protocol. Beside it stand the rankings that need no
training, by parameters and by FLOPs. Results are added to a file one by one, so the same command goes on where it was
stopped. Costs are seconds of the processor, since other work may share it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import supernet as sn
from sides import table, where
from supernet.engine.driving import as_planned
from supernet.engine.loop import LazyBatches
from supernet.models.rank_metrics import kendall, spearman
from supernet.retraining.plan import RetrainingPlan, planned
from supernet.retraining.train import TrainingTask

VALIDATION, RESAMPLES, DRAWN, BEST = 4000, 1000, 2000, 0.05
TRUTH = "c10_test"
SPACE = sn.space("nasbench201")
FREE = {"parameters": "c10_params_m", "FLOPs": "c10_flops_m", "12 epochs of the table's own": "c10_valid_12"}
HEAD = (
    *("ranked by", "n", "tau", "rho", "tau, best half", "rho, best half", "tau above the parameters', best half"),
    *("steps", "processor s per architecture", "tau per s"),
)
Values = NDArray[Any]
Rank = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Proxy:
    """A protocol of standalone training: the network's size, the images and the epochs."""

    width: int
    depth: int
    side: int
    images: int
    epochs: int

    def plan(self, data: str, genotype: sn.Genotype) -> RetrainingPlan:
        """Return the plan of the training of an architecture."""
        size = {"width": self.width, "depth": self.depth, "image_size": self.side}
        plan = planned(genotype, data=data, epochs=self.epochs, device="cpu", **size)
        every = torch.arange(len(plan.images.y))
        return replace(plan, parts=(every[: self.images], every[-VALIDATION:]))

    @property
    def label(self) -> str:
        """The protocol in words."""
        cells, epochs = (
            f"{count} {what}{'s' if count > 1 else ''}"
            for count, what in ((self.depth, "cell"), (self.epochs, "epoch"))
        )
        return f"C = {self.width}, {cells}, {self.side}x{self.side}, {self.images} images, {epochs}"


# From the cheapest to the dearest, about, so that a stopped study is a study of small proxies.
PROXIES = (
    Proxy(8, 1, 16, 4000, 1),
    Proxy(8, 1, 16, 4000, 4),
    Proxy(8, 1, 16, 12000, 4),
    Proxy(16, 1, 16, 4000, 4),
    Proxy(8, 2, 16, 4000, 4),
    Proxy(8, 1, 32, 4000, 4),
    Proxy(8, 1, 16, 12000, 12),
)


def genotypes() -> Sequence[sn.Genotype]:
    """Return 60 architectures, drawn uniformly from the space, all different."""
    rng, drawn = random.Random(0), dict[sn.Genotype, None]()
    while len(drawn) < 60:
        drawn[SPACE.sample(rng)] = None
    return list(drawn)


def best(share: float) -> Values:
    """Return the indices of the truly best `share` of the space."""
    truth = sn.table("nasbench201").column(TRUTH)
    return np.argsort(-truth, kind="stable")[: int(share * len(truth))]


def best_genotypes() -> Sequence[sn.Genotype]:
    """Return 32 architectures of the truly best share, all different."""
    drawn = np.random.default_rng(1).choice(best(BEST), 32, replace=False)
    return [sn.table("nasbench201").genotype(int(index)) for index in drawn]


def trained(plan: RetrainingPlan) -> Mapping[str, float]:
    """Train a network by the package's own task; return its validation accuracy (0 to 1), steps and seconds."""
    start = time.process_time()
    with as_planned(plan):
        task = TrainingTask(plan)
        for epoch in range(task.epochs):
            task.begin_epoch(epoch)
            for _ in range(task.streams["train"].steps):
                task.step(LazyBatches(task.streams))
        steps = task.epochs * task.streams["train"].steps
        accuracy = task.accuracies(test=False)["accuracy"]
    return {"accuracy": accuracy, "steps": steps, "seconds": time.process_time() - start}


def run(data: str, file: Path, architectures: Sequence[sn.Genotype]) -> None:
    """Train all architectures that `file` has no result of, protocol by protocol."""
    for proxy in PROXIES:
        known = found(file, architectures).get(proxy, {})
        plan = proxy.plan(data, architectures[0])
        for number, genotype in enumerate(architectures):
            if number not in known:
                which = {"number": number, "architecture": str(genotype)}
                row = asdict(proxy) | which | trained(replace(plan, genotype=genotype))
                with file.open("a") as lines:
                    lines.write(json.dumps(row) + "\n")
        print(f"done: {proxy.label}", flush=True)


def found(file: Path, architectures: Sequence[sn.Genotype]) -> dict[Proxy, dict[int, Mapping[str, Any]]]:
    """Return the results in a file that are of these architectures, by protocol and number of the architecture."""
    names = list(map(str, architectures))
    results: dict[Proxy, dict[int, Mapping[str, Any]]] = {}
    for text in file.read_text().splitlines() if file.exists() else ():
        row = json.loads(text)
        proxy, number = Proxy(**{name: row.pop(name) for name in Proxy.__dataclass_fields__}), row.pop("number")
        if names[number : number + 1] == [row.get("architecture")]:
            results.setdefault(proxy, {})[number] = row
    return results


def told(measure: Callable[[Values], float], count: int, sign: str = "") -> str:
    """Return a measure of all `count` architectures, and its standard error over resamples of their numbers."""
    rng = np.random.default_rng(0)
    drawn = [measure(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    return f"{measure(np.arange(count)):{sign}.2f} ± {np.nanstd(drawn, ddof=1):.2f}"


def row(label: str, estimate: Values, indices: Values, cost: Sequence[str] = ("", "", "")) -> list[str]:
    """Return a row of the table: an estimate of the architectures `indices`, ranked as a whole and in the best half."""
    known = sn.table("nasbench201")
    truth, params = known.column(TRUTH)[indices], known.column("c10_params_m")[indices]
    half = np.argsort(-truth, kind="stable")[: -(-len(truth) // 2)]  # the truly best

    def agreement(rank: Rank, values: Values, among: Values) -> Callable[[Values], float]:
        return lambda drawn: rank(values[among[drawn]], truth[among[drawn]])

    cells = [
        told(agreement(rank, estimate, among), len(among))
        for among in (np.arange(len(truth)), half)
        for rank in (kendall, spearman)
    ]
    ours, theirs = (agreement(kendall, values, half) for values in (estimate, params))
    cells.append(told(lambda drawn: ours(drawn) - theirs(drawn), len(half), sign="+"))
    return [label, str(len(indices)), *cells, *cost]


def report(results: Mapping[Proxy, Mapping[int, Mapping[str, Any]]], architectures: Sequence[sn.Genotype]) -> str:
    """Return the table of all protocols, and of the rankings that need no training, in Markdown."""
    known = sn.table("nasbench201")
    indices = np.array([known.index(genotype) for genotype in architectures])
    rows = [row(label, known.column(field)[indices], indices) for label, field in FREE.items()]
    for proxy in (proxy for proxy in PROXIES if proxy in results):
        by_number = results[proxy]
        numbers = sorted(by_number)
        accuracy, seconds, steps = (
            np.array([by_number[number][name] for number in numbers]) for name in ("accuracy", "seconds", "steps")
        )
        tau = kendall(accuracy, known.column(TRUTH)[indices[numbers]])
        cost = [f"{steps.mean():.0f}", f"{seconds.mean():.1f}", f"{tau / seconds.mean():.3f}"]
        rows.append(row(proxy.label, accuracy, indices[numbers], cost))
    return table(rows, HEAD)


def shares() -> str:
    """Return the tau of the rankings that need no training here, over the best shares of the whole space."""
    known, rng = sn.table("nasbench201"), np.random.default_rng(0)
    truth, rows = known.column(TRUTH), []
    for share in (1.0, 0.5, BEST):
        among = best(share)
        drawn = rng.choice(among, min(len(among), DRAWN), replace=False)
        taus = [f"{kendall(known.column(field)[drawn], truth[drawn]):.2f}" for field in FREE.values()]
        rows.append([f"{share:.0%}", str(len(drawn)), *taus])
    return table(rows, ("truly best", "n", *FREE))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz, with 25 000 training images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--show", action="store_true", help="train nothing more; print the table of what is there")
    parser.add_argument("--best", action="store_true", help="architectures of the truly best 5 %% only")
    given = parser.parse_args()
    architectures = best_genotypes() if given.best else genotypes()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.jsonl"
    if not given.show:
        run(given.data, file, architectures)
    text = f"{where()}\n{report(found(file, architectures), architectures)}\n{shares()}"
    print(text)
    (given.out / "table.md").write_text(text)


if __name__ == "__main__":
    main()
