"""What is each part of the recipe `strong` worth? One cell retrained with all parts, and with all but one of them.

    python benchmarks/recipe.py cifar10.npz --out runs/recipe --epochs 10
    python benchmarks/recipe.py cifar10.npz --out runs/recipe --epochs 40 --seeds 2 --sides plain strong

The plain side is the recipe `quick`: crops, mirror images, SGD and a cosine. Every other side adds parts to it and
changes nothing else. The cell is #9930 of NAS-Bench-201. The first training images train, the ones after them test.
Finished runs are kept, so that more seeds or sides can be added.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import supernet as sn
from sides import fail, spread, table, where
from supernet.data import load

VALIDATION = 0.05  # few, since no epoch is chosen here


def parts(epochs: int) -> dict[str, dict[str, Any]]:
    return {
        "TrivialAugment": {"augment": "trivial"},
        "mixup and cutmix": {"mixup": 0.2, "cutmix": 1.0},
        "label smoothing": {"label_smoothing": 0.1},
        "EMA": {"ema": 0.999},
        "warm-up": {"w": {"warmup": max(2, epochs // 20)}},
    }


def settings(epochs: int) -> dict[str, dict[str, Any]]:
    """Return the settings of each side beyond the recipe `quick`."""
    every = parts(epochs)
    whole = {"strong": list(every)} | {f"without {name}": [kept for kept in every if kept != name] for name in every}
    sides = {"plain": {}} | {title: _joined(every, names) for title, names in whole.items()}
    return sides | {f"plain and {name}": found for name, found in every.items()}


def _joined(every: dict[str, dict[str, Any]], names: list[str]) -> dict[str, Any]:
    return {key: value for name in names for key, value in every[name].items()}


def subset(data: str, folder: Path, images: int, tests: int) -> Path:
    """Write the first training images, and the ones after them as test images; return the file."""
    found = load(data)
    if len(found.y) <= images:
        fail(f"'{data}' has {len(found.y)} training images, of which some must test: give smaller --images and --tests")
    file = folder / f"images-{found.fingerprint[:8]}-{images}-{tests}.npz"
    if not file.exists():
        x, y = found.x[: images + tests].permute(0, 2, 3, 1).numpy(), found.y[: images + tests].numpy()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(file, x_train=x[:images], y_train=y[:images], x_test=x[images:], y_test=y[images:])
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="an .npz file, a folder, or digits")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="that train and validate")
    parser.add_argument("--tests", type=int, default=5000)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--width", type=int, default=8)
    sides = "some of the sides; all with and without one part"
    parser.add_argument("--sides", nargs="+", choices=tuple(settings(10)), metavar="SIDE", help=sides)
    given = parser.parse_args()
    every = settings(given.epochs)
    chosen = given.sides or [name for name in every if not name.startswith("plain and")]
    data = subset(given.data, given.out, given.images, given.tests)
    common = {"data": data, "recipe": "quick", "epochs": given.epochs, "validation_share": VALIDATION, "device": "cpu"}
    common |= {"image_size": given.image_size, "width": given.width, "quiet": True}
    found: dict[str, list[sn.Run]] = {name: [] for name in chosen}
    for seed in range(given.seeds):
        for name in chosen:
            out = given.out / f"{given.epochs}-{name.replace(' ', '-')}-{seed}"
            run = sn.retrain("9930", seed=seed, out=out, **common | every[name])
            found[name].append(run)
            print(f"{name}, seed {seed}: {100 * run.summary['test_accuracy']['last']:.2f} %", flush=True)
        accuracies = {n: [100 * r.summary["test_accuracy"]["last"] for r in runs] for n, runs in found.items()}
        losses = {n: [r.metrics[-1]["loss"] for r in runs] for n, runs in found.items()}
        rows = [[n, str(len(a)), spread(a), spread(losses[n])] for n, a in accuracies.items()]
        print("\n" + where() + "\n" + table(rows, ("recipe", "n", "test accuracy, %", "training loss")), flush=True)


if __name__ == "__main__":
    main()
