"""NAO-V2's three claims about ranking by one-shot accuracy, on real CIFAR-10, at a size for two CPU cores.

    python benchmarks/ranking.py cifar10.npz --out runs/ranking --report ranking.md

The protocol is that of small_cifar.py, 8 192 images of 16x16, with 24 epochs for each supernet. Architectures are
ranked by their accuracy as paths of the supernet on 1 024 validation images, and compared with NAS-Bench-201's CIFAR-10
test accuracies. The ranked architectures are those `trained` in the supernet's last pool, all that the search has
evaluated (`known`), or 100 of the `space`. For the same seed, all searches have the same first pool and the same 100
architectures of the space; the second pool comes from each search's own controller.

a. A supernet ranks better with more updates per architecture: pools of 16, 64 and 256, with the same number of steps.
b. It ranks better if architectures are sampled in proportion to their parameters than if they are sampled uniformly.
c. The second iteration's supernet ranks better if it is independent of the first than if only the learning rate begins
   anew.
d. In addition to the paper's claims: batch statistics rank better than running statistics, on the same supernets.

The verdict on a claim comes from the differences of tau, one per seed. The claim holds if their mean is above 0 by more
than Student's t (one-sided, 5 %) times their standard error; the opposite holds if the mean is below 0 by as much;
otherwise the claim is open. So few seeds resolve only differences that are large compared with the seeds' spread.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from claims import Claim, Found, judged, numbers, told
from small_selection import line
from study import arguments
from supernet.report import plots

EPOCHS, STEPS = 24, 64  # per supernet; steps: batches of 64 in the 4 096 training images
POOLS, TWICE = (16, 64, 256), 64  # pools of searches with one iteration, and with two
IMAGES = ["1024"]  # validation images that evaluate an architecture: all 4 096 would take longer than the searches
SHARED = ["--space", "nasbench201", "--images", "8192", "--image-size", "16", "--device", "cpu"]
NAO = ["--method", "nao-v2", "--final", "0", "--eval-images", *IMAGES]


@dataclass(frozen=True)
class View:
    """The architectures of a search that are ranked, and how they are evaluated."""

    label: str
    flags: Sequence[str]

    @property
    def file(self) -> str:
        """The file name of the ranking in the folder of the search."""
        return f"rank-{self.label.replace(' ', '-').replace(',', '')}.json"


@dataclass(frozen=True)
class Variant:
    """A search with its flags, the updates per architecture of its last pool, and the architectures that are ranked."""

    label: str
    flags: Sequence[str]
    views: Sequence[View]
    updates: float | None = None


def view(label: str, *flags: str) -> View:
    """Return a view with the regret of the three highest one-shot accuracies."""
    return View(label, [*flags, "--top", "3", "--images", *IMAGES])


SPACE = (view("space", "--count", "100"), view("space, running", "--count", "100", "--norm", "running"))


def single(pool: int, sampling: str) -> Variant:
    """Return NAO-V2 with one iteration."""
    own = ["--sampler", "own", "--count", str(min(pool, 100))]
    flags = ["--iterations", "1", "--pool", str(pool), "--sampling", sampling, "--epochs", str(EPOCHS)]
    views = (view("trained", *own), view("trained, running", *own, "--norm", "running"), SPACE[0])
    return Variant(f"pool {pool}, {sampling}", [*NAO, *flags], views, EPOCHS * STEPS / pool)


def double(pool: int, reinit: str) -> Variant:
    """Return NAO-V2 with a second iteration, on the same number of new architectures."""
    flags = ["--iterations", "2", "--pool", str(pool), "--new", str(pool), "--reinit", reinit]
    made = ["--controller.epochs", "100", "--epochs", str(2 * EPOCHS)]
    own = [view(label, "--sampler", "own", "--count", str(n * pool)) for label, n in (("trained", 1), ("known", 2))]
    return Variant(f"2 x {pool}, reinit {reinit}", [*NAO, *flags, *made], (*own, SPACE[0]), EPOCHS * STEPS / pool)


VARIANTS = (
    *(single(pool, "params") for pool in POOLS),
    *(single(pool, "uniform") for pool in POOLS[1:]),
    *(double(TWICE, reinit) for reinit in ("all", "lr")),
    Variant("RSPS", ["--method", "rsps", "--epochs", str(EPOCHS)], SPACE),
)


def claims() -> Iterator[Claim]:
    """Yield all comparisons."""
    for seen in ("trained", "space"):
        for few, many in itertools.pairwise(POOLS):
            yield Claim("a", (f"pool {few}, params", seen), (f"pool {many}, params", seen))
        for pool in POOLS[1:]:
            yield Claim("b", (f"pool {pool}, params", seen), (f"pool {pool}, uniform", seen))
    for seen in ("trained", "known", "space"):
        yield Claim("c", (f"2 x {TWICE}, reinit all", seen), (f"2 x {TWICE}, reinit lr", seen))
    for variant in VARIANTS:
        labels = [own.label for own in variant.views]
        for running in (label for label in labels if label.endswith(", running")):
            yield Claim("d", (variant.label, running.removesuffix(", running")), (variant.label, running))


def folder(out: Path, variant: Variant, seed: int) -> Path:
    """Return the run folder of a search."""
    words = "".join(letter if letter.isalnum() else " " for letter in variant.label.lower()).split()
    return out / f"{'-'.join(words)}-{seed}"


def run(data: str, out: Path, seeds: int, workers: int) -> None:
    """Run all missing searches and rankings, seed by seed."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))

    def supernet(*words: str) -> None:
        command = [sys.executable, "-m", "supernet", *words]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": threads}, check=True, stdout=subprocess.DEVNULL)

    def go(job: tuple[int, Variant]) -> None:
        seed, variant = job
        place = folder(out, variant, seed)
        supernet("search", data, *SHARED, *variant.flags, "--seed", str(seed), "--out", str(place), "--quiet")
        for own in variant.views:
            if not (place / own.file).exists():
                supernet("rank", str(place), *own.flags, "--device", "cpu")
                (place / "rank.svg").replace((place / own.file).with_suffix(".svg"))
                (place / "rank.json").replace(place / own.file)
        print(f"done: {variant.label}, seed {seed}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(go, [(seed, variant) for seed in range(seeds) for variant in VARIANTS]))


def found(out: Path, seeds: int) -> Found:
    """Return the rankings of all variants and views, by seed."""
    return {
        (variant.label, own.label): [
            json.loads((folder(out, variant, seed) / own.file).read_text()) for seed in range(seeds)
        ]
        for variant in VARIANTS
        for own in variant.views
    }


def table(known: Found) -> str:
    """Return a table of all rankings in Markdown, with means and standard deviations over the seeds."""
    head = ["supernet", "updates per architecture", "ranked", "n", "tau", "tau, best half", "pairs, %"]
    lines = [line([*head, "regret of 3, points", "tau of the parameters"]), line(["---"] * 9)]
    for variant in VARIANTS:
        updates = "" if variant.updates is None else f"{variant.updates:.0f}"
        for own in variant.views:
            rankings = known[variant.label, own.label]
            size = "/".join(sorted({str(len(ranking["indices"])) for ranking in rankings}))
            taus = [told(numbers(rankings, part, "tau")) for part in ("whole", "best_half")]
            pairs = told([100 * value for value in numbers(rankings, "whole", "pairs")])
            rest = [told(numbers(rankings, "whole", name)) for name in ("regret", "params_tau")]
            lines.append(line([variant.label, updates, own.label, size, *taus, pairs, *rest]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="write the tables here (.md) and the figure beside them")
    given = parser.parse_args()
    run(given.data, given.out, given.seeds, given.workers)
    known = found(given.out, given.seeds)
    text = f"{table(known)}\n{judged(known, sorted(claims(), key=lambda claim: claim.letter))}"
    print(text)
    if given.report is not None:
        given.report.write_text(text)
        taus = {
            f"{label}: {seen}": numbers(rankings, "whole", "tau")
            for (label, seen), rankings in known.items()
            if "running" not in seen
        }
        plots.save(plots.draw_taus(taus), given.report.with_suffix(".svg"))


if __name__ == "__main__":
    main()
