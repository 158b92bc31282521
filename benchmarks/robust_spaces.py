"""DARTS-PT and blank in S2 and S3, spaces in which DARTS collapses to skip connections, at a size for two cores.

    python benchmarks/robust_spaces.py cifar10.npz --out comparisons/robust-spaces

The searches use 4 096 images of CIFAR-10 at 16x16, half of them for the weights, 4 channels and 20 epochs; selections
train for one epoch between two decisions. The selected architectures are trained from scratch by the recipe `quick`,
but with 5 epochs and 8 channels, on all images of the file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import supernet as sn
from sides import spread, table
from trajectories import finished

METHODS = ("darts", "darts+perturbation", "single-darts", "single-darts+perturbation", "blank")
SEARCH = {"images": 4096, "image_size": 16, "width": 4, "epochs": 20, "device": "cpu", "select.tune_epochs": 1}
ALPHA = {"alpha.optimizer": "sgd", "alpha.lr": 0.025, "alpha.weight_decay": 0.0}
RETRAIN = {"recipe": "quick", "image_size": 16, "width": 8, "epochs": 5, "device": "cpu", "quiet": True}
HEAD = ("search", "n", "skip connections of the normal cell, of 8", "in both cells, of 16", "M parameters", "test, %")


def row(label: str, runs: Sequence[sn.Run]) -> list[str]:
    """Return the skip connections of what was found, and the size and accuracy of the networks trained from it."""
    skips = [[float(_skips(run, kinds)) for run in runs] for kinds in (("normal",), ("normal", "reduce"))]
    summaries = [sn.retrain(run, **RETRAIN).summary for run in runs]
    size = statistics.fmean(summary["params"] for summary in summaries) / 1e6
    tests = [100 * (summary["test_accuracy"] or summary["accuracy"])["last"] for summary in summaries]
    return [label, str(len(runs)), *map(spread, skips), f"{size:.2f}", spread(tests)]


def _skips(run: sn.Run, kinds: Sequence[str]) -> int:
    return sum(choice.op == "skip_connect" for kind in kinds for choice in run.genotype[kind])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparisons")
    parser.add_argument("--seeds", default="0-2")
    given = parser.parse_args()
    for space in ("s2", "s3"):
        place, settings = given.out / space, {"space": space} | SEARCH | ALPHA
        found = sn.compare(given.data, methods=METHODS, seeds=given.seeds, budget="epochs", out=place, **settings)
        print(f"{space}\n\n{table([row(case.label, runs) for case, runs in finished(found)], HEAD)}", flush=True)


if __name__ == "__main__":
    main()
