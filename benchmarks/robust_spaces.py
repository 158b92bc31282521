"""DARTS-PT and blank in S2 and S3, spaces in which DARTS collapses to skip connections, at a size for two cores.

    python benchmarks/robust_spaces.py cifar10.npz --out runs/robust-spaces

The searches use 4 096 images of CIFAR-10 at 16x16, half of them for the weights, 4 channels and 20 epochs; selections
train for one epoch between two decisions. The selected architectures are trained from scratch by the recipe `quick`,
but with 5 epochs and 8 channels, on 8 192 images of 16x16.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import supernet as sn
from small_selection import SGD, Search, Study, line
from study import arguments, spread

SHARED = ["--images", "4096", "--image-size", "16", "--width", "4", "--epochs", "20", "--device", "cpu"]
SELECT = ["--tune-epochs", "1"]
SEARCHES = (
    Search("DARTS", ["--method", "darts", *SGD], ["perturbation"]),
    Search("Single-DARTS", ["--method", "single-darts"], ["perturbation"]),
    Search("blank", ["--method", "blank", *(flag.replace("--", "--select.") for flag in SELECT)]),
    Search("random search", ["--method", "random"]),
)


def table(study: Study, out: Path, seeds: int) -> str:
    """Return the table in Markdown."""
    head = ["search", "selected by", "n", "skip connections of the normal cell, of 8", "in both cells, of 16"]
    lines = [line([*head, "M parameters", "test accuracy, %"]), line(["---"] * 7)]
    for search, name, runs in study.rows(out, seeds):
        lines.append(_row(search, name, runs))
    return "\n".join(lines) + "\n"


def _row(search: Search, name: str, runs: Sequence[sn.Run]) -> str:
    normal = [float(_skips(run, ["normal"])) for run in runs]
    both = [float(_skips(run, ["normal", "reduce"])) for run in runs]
    retrained = [sn.Run(run.path / "quick-0") for run in runs]
    tests = [100 * run.summary["test_accuracy"]["last"] for run in retrained if run.finished]
    size = statistics.fmean(run.summary["params"] for run in retrained if run.finished) / 1e6
    told = [spread(normal), spread(both), f"{size:.2f}", spread(tests)]
    return line([search.label, name, str(len(runs)), *told])


def _skips(run: sn.Run, kinds: Sequence[str]) -> int:
    return sum(choice.op == "skip_connect" for kind in kinds for choice in run.genotype[kind])


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    retrain = ["--recipe", "quick", "--image-size", "16", "--width", "8", "--epochs", "5"]
    for seeds in range(1, given.seeds + 1):  # both spaces have the same seeds, whenever the study is stopped
        for space in ("s2", "s3"):
            study = Study(SEARCHES, ["--space", space, *SHARED], SELECT, retrain)
            study.run(given.data, given.out / space, seeds, given.workers)
    for space in ("s2", "s3"):
        print(f"{space}\n\n{table(study, given.out / space, given.seeds)}")


if __name__ == "__main__":
    main()
