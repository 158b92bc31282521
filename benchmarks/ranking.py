"""NAO-V2's three claims about ranking by one-shot accuracy, on real CIFAR-10, at a size for two CPU cores.

    python benchmarks/ranking.py cifar10.npz --out comparisons/ranking --report ranking.md
    python benchmarks/ranking.py cifar10.npz --out comparisons/ranking-medium --protocol medium --claims abd

The protocol is that of small_cifar.yaml, 8 192 images of 16x16, with 24 epochs (1 536 steps) for each supernet, or that
of medium.yaml, 25 000 images, with 50 epochs (9 750 steps), where only pools of 64 are sampled uniformly. Architectures
are ranked by their accuracy as paths of the supernet on 1 024 validation images, and compared with NAS-Bench-201's
CIFAR-10 test accuracies. The ranked architectures are those `trained` in the supernet's last pool, all that the search
has evaluated (`known`), or 100 of the `space`. For the same seed, all searches have the same first pool and the same
100 architectures of the space; the second pool comes from each search's own controller.

a. A supernet ranks better with more updates per architecture: pools of 16, 64 and 256, with the same number of steps.
b. It ranks better if architectures are sampled in proportion to their parameters than if they are sampled uniformly.
c. The second iteration's supernet ranks better if it is independent of the first than if only the learning rate begins
   anew.
d. In addition to the paper's claims: batch statistics rank better than running statistics, on the same supernets.
e. Running statistics that are measured anew for each architecture rank better than those of the whole training.

The verdict on a claim comes from the differences of tau, one per seed. The claim holds if Student's 95 % interval of
their mean is above 0; the opposite holds if it is below; otherwise the claim is open. So few seeds resolve only
differences that are large compared with the seeds' spread.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sides
import supernet as sn
from claims import Claim, Found, judged, numbers, told
from supernet.report import plots
from supernet.searching.studies import RankingConfig
from trajectories import finished

POOLS, TWICE = [16, 64, 256], 64  # pools of searches with one iteration, and with two
IMAGES = 1024  # validation images that evaluate an architecture: all of them would take longer than the searches


@dataclass(frozen=True)
class Protocol:
    """The images, the epochs of a supernet, its steps, and the pools that are also sampled uniformly."""

    images: int
    epochs: int
    steps: int
    uniform: Sequence[int]

    @property
    def comparisons(self) -> dict[str, dict[str, Any]]:
        """The comparisons by the names of their folders, which are the claims that need them."""
        images = {"images": self.images, "image_size": 16, "device": "cpu", "final": 0, "eval_images": IMAGES}
        one = {**images, "methods": ["nao-v2"], "iterations": 1, "epochs": self.epochs}
        two = {"iterations": 2, "pool": TWICE, "new": TWICE, "controller.epochs": 100, "epochs": 2 * self.epochs}
        return {
            "abde": {**one, "axes": {"pool": POOLS, "sampling": ["params"]}},
            "b": {**one, "axes": {"pool": list(self.uniform), "sampling": ["uniform"]}},
            "c": {**images, **two, "methods": ["nao-v2"], "axes": {"reinit": ["all", "lr"]}},
        }


PROTOCOLS = {"small": Protocol(8192, 24, 1536, POOLS), "medium": Protocol(25_000, 50, 9750, [64])}
HEAD = (
    *("supernet", "updates per architecture", "ranked", "n", "tau", "tau, best half", "pairs, %"),
    *("regret of 3, points", "tau of the parameters"),
)


@dataclass(frozen=True)
class View:
    """The architectures of a search that are ranked, and how they are evaluated."""

    label: str
    config: RankingConfig

    def of(self, run: sn.Run) -> dict[str, Any]:
        """Return the ranking, which stays in the run's folder under a name of its own."""
        file = run.path / f"rank-{self.label.replace(' ', '-').replace(',', '')}.json"
        if not file.exists():
            sn.rank(run, device="cpu", config=self.config)
            for ending in (".svg", ".json"):
                (run.path / f"rank{ending}").replace(file.with_suffix(ending))
        ranking: dict[str, Any] = json.loads(file.read_text())
        return ranking


@dataclass(frozen=True)
class Variant:
    """A row of a comparison, the updates per architecture of its last pool, and the architectures that are ranked."""

    label: str
    case: str
    views: Sequence[View]
    updates: float | None = None


def view(label: str, **settings: Any) -> View:
    """Return a view with the regret of the three highest one-shot accuracies."""
    return View(label, RankingConfig(top=3, images=IMAGES, **settings))


TRAINED = {norm: f"trained, {norm}" for norm in ("running", "recalibrated")} | {"batch": "trained"}
"""The views of the trained architectures, by the statistics of batch norm."""


def single(pool: int, sampling: str, steps: int) -> Variant:
    """Return NAO-V2 with one iteration."""
    own = {"sampler": "own", "count": min(pool, 100)}
    trained = (view(TRAINED[norm], **own, norm=norm) for norm in ("batch", "running", "recalibrated"))
    case = f"nao-v2, pool={pool}, sampling={sampling}"
    return Variant(f"pool {pool}, {sampling}", case, (*trained, view("space")), steps / pool)


def double(reinit: str, steps: int) -> Variant:
    """Return NAO-V2 with a second iteration, on the same number of new architectures."""
    own = [view(label, sampler="own", count=n * TWICE) for label, n in (("trained", 1), ("known", 2))]
    views = (*own, view("space"))
    return Variant(f"2 x {TWICE}, reinit {reinit}", f"nao-v2, reinit={reinit}", views, steps / TWICE)


def variants(protocol: Protocol, letters: str) -> Iterator[Variant]:
    """Yield the rows that the claims need."""
    if set(letters) & set("abde"):
        yield from (single(pool, "params", protocol.steps) for pool in POOLS)
    if "b" in letters:
        yield from (single(pool, "uniform", protocol.steps) for pool in protocol.uniform)
    if "c" in letters:
        yield from (double(reinit, protocol.steps) for reinit in ("all", "lr"))


def claims(protocol: Protocol, rows: Sequence[Variant]) -> Iterator[Claim]:
    """Yield all comparisons that the rows allow, and more."""
    for seen in ("trained", "space"):
        for few, many in itertools.pairwise(POOLS):
            yield Claim("a", (f"pool {few}, params", seen), (f"pool {many}, params", seen))
        for pool in protocol.uniform:
            yield Claim("b", (f"pool {pool}, params", seen), (f"pool {pool}, uniform", seen))
    for seen in ("trained", "known", "space"):
        yield Claim("c", (f"2 x {TWICE}, reinit all", seen), (f"2 x {TWICE}, reinit lr", seen))
    for variant in rows:
        places = {norm: (variant.label, label) for norm, label in TRAINED.items()}
        yield Claim("d", places["batch"], places["running"])
        yield Claim("e", places["recalibrated"], places["running"])


def searched(data: str, out: Path, seeds: str, protocol: Protocol, letters: str) -> dict[str, list[sn.Run]]:
    """Run all searches that are missing, and return them by the name of their row."""
    runs: dict[str, list[sn.Run]] = {}
    for name, settings in protocol.comparisons.items():
        if set(name) & set(letters):
            comparison = sn.compare(data, seeds=seeds, out=out / name, budget="epochs", **settings)
            runs |= {case.label: found for case, found in finished(comparison)}
    return runs


def table(known: Found, variants: Sequence[Variant]) -> str:
    """Return a table of all rankings in Markdown, with means and standard deviations over the seeds."""
    rows = []
    for variant in variants:
        updates = "" if variant.updates is None else f"{variant.updates:.0f}"
        for own in variant.views:
            rankings = known[variant.label, own.label]
            size = "/".join(sorted({str(len(ranking["indices"])) for ranking in rankings}))
            taus = [told(numbers(rankings, part, "tau")) for part in ("whole", "best_half")]
            pairs = told([100 * value for value in numbers(rankings, "whole", "pairs")])
            rest = [told(numbers(rankings, "whole", name)) for name in ("regret", "params_tau")]
            rows.append([variant.label, updates, own.label, size, *taus, pairs, *rest])
    return sides.table(rows, HEAD)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparisons")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="small")
    parser.add_argument("--claims", default="abcde", help="letters of the claims")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--report", type=Path, help="write the tables here (.md) and the figure beside them")
    given = parser.parse_args()
    protocol = PROTOCOLS[given.protocol]
    runs = searched(given.data, given.out, given.seeds, protocol, given.claims)
    rows = list(variants(protocol, given.claims))
    known = {(row.label, own.label): [own.of(run) for run in runs[row.case]] for row in rows for own in row.views}
    tested = [
        claim
        for claim in claims(protocol, rows)
        if claim.letter in given.claims and {claim.better, claim.worse} <= known.keys()
    ]
    text = f"{table(known, rows)}\n{judged(known, sorted(tested, key=lambda claim: claim.letter))}"
    print(text)
    if given.report is not None:
        given.report.write_text(text)
        taus = {
            f"{label}: {seen}": numbers(rankings, "whole", "tau")
            for (label, seen), rankings in known.items()
            if seen in ("trained", "known", "space")
        }
        plots.save(plots.draw_taus(taus), given.report.with_suffix(".svg"))


if __name__ == "__main__":
    main()
