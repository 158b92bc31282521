"""Finished searches per hour: `supernet compare` on all cores, beside a plain training loop in one process.

    python benchmarks/per_hour.py

Both sides run the same searches of the small protocol: Single-DARTS and random search, a seed for each core, on 8192
images of 16x16 pixels. The images are noise, which costs as much as photos.

- supernet: the command, from its start to its table: measuring, processes, checkpoints, pictures and pages included.
- plain loop: the reference engine as other packages train a supernet, channels-first, with PyTorch's optimizers and all
  threads, one search after the other; nothing is saved or drawn. Of Single-DARTS one seed runs, and counts once for
  each core; random search trains the architectures of each seed, which differ in cost.

Whole searches have 40 epochs. Two short ones, of 2 and of 6 epochs, are timed, and the line through both goes to 40: an
estimate, which takes all epochs to last as long.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import supernet as sn
from sides import fail, table, where
from supernet.data import Augment, Batches, ordered
from supernet.data.limits import cores
from supernet.methods.random_search import RandomSearchConfig
from supernet.methods.relaxation import candidate_mask, initial_alpha
from supernet.models.mix import Mix, dense
from supernet.searching.plan import Plan, planned
from supernet.spaces.modules import Norm

METHODS = ("single-darts", "random")
HEAD = ("side", "short, s", "longer, s", "an epoch of all, s", "whole, min", "searches per hour")
EPOCHS_EACH = RandomSearchConfig().epochs_each
EVALUATED = 512  # images at a time


def make_images(file: Path, count: int, side: int) -> None:
    """Write a set of noise in ten classes."""
    draws = np.random.default_rng(0)
    np.savez(file, x_train=draws.integers(0, 256, (count, side, side, 3), np.uint8), y_train=np.arange(count) % 10)


def compared(file: Path, settings: Mapping[str, Any], epochs: int, seeds: int, out: Path) -> float:
    """Return the seconds of a comparison of all methods and seeds, as a command."""
    words = [str(file), "--methods", METHODS[0], "--seeds", f"0-{seeds - 1}", "--budget", "epochs", "--out", str(out)]
    words += [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    start = time.perf_counter()
    command = [sys.executable, "-m", "supernet", "compare", *words, "--epochs", str(epochs), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        fail(f"the comparison ended with status {done.returncode}: {done.stdout}{done.stderr}")
    print("\n".join(line for line in done.stdout.splitlines() if " worker" in line), flush=True)
    return time.perf_counter() - start


def plain(file: Path, settings: Mapping[str, Any], epochs: int, method: str, seed: int = 0) -> float:
    """Return the seconds of a search by a plain loop, its measurement after each epoch included."""
    start = time.perf_counter()
    torch.manual_seed(0)
    plan = planned(str(file), method=method, epochs=epochs, device="cpu", **settings)
    config, (train, validation) = plan.config, plan.parts
    supernet = sn.Supernet(plan.space, plan.network_size, Norm(config.norm_affine, config.norm_track))
    supernet.engine = "reference"
    masks = {kind: candidate_mask(cell) for kind, cell in plan.space.cells.items()}
    alphas = {k: initial_alpha(m, "sigmoid", "inv_n", torch.Generator()).requires_grad_() for k, m in masks.items()}
    w = torch.optim.SGD(supernet.parameters(), config.w.lr, momentum=config.w.momentum)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(w, epochs)
    optimizers = [w, torch.optim.Adam(alphas.values())] if method != "random" else [w]
    augment = Augment(config.pad or 0, bool(config.mirror), config.cutout)
    stream = Batches(plan.images, train, config.batch_size, augment, 0)

    def mix(epoch: int) -> Mix:
        if method == "random":  # the architecture that the package's random search draws for this epoch
            return supernet.only(plan.space.sample(random.Random(f"{seed} {epoch // EPOCHS_EACH}")))
        return dense({kind: torch.sigmoid(alpha) for kind, alpha in alphas.items()})

    for epoch in range(epochs):
        _epoch(supernet, stream, partial(mix, epoch), optimizers)
        _accuracy(supernet, plan, validation, mix(epoch))
        rate.step()
    return time.perf_counter() - start


def _epoch(
    supernet: sn.Supernet, stream: Batches, mix: Callable[[], Mix], optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    for _ in range(stream.steps):
        batch = stream.next()
        F.cross_entropy(supernet(batch.x.contiguous(), mix()), batch.y).backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@torch.no_grad()
def _accuracy(supernet: sn.Supernet, plan: Plan, validation: torch.Tensor, mix: Mix) -> float:
    supernet.eval()
    batches = ordered(plan.images, validation, EVALUATED)
    right = sum(int((supernet(x.contiguous(), mix).argmax(1) == y).sum()) for x, y, _ in batches)
    supernet.train()
    return right / len(validation)


def line(name: str, short: float, longer: float, given: argparse.Namespace, searches: int) -> tuple[list[str], float]:
    """Return the row of a side, and its searches per hour."""
    epoch = (longer - short) / (given.longer - given.short)
    whole = short + (given.epochs - given.short) * epoch
    rate = 3600 * searches / whole
    numbers = f"{short:.1f}", f"{longer:.1f}", f"{epoch:.2f}", f"{whole / 60:.1f}", f"{rate:.1f}"
    return [name, *numbers], rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 8192, "side": 16, "width": 16, "epochs": 40, "short": 2, "longer": 6}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, default=cores(), help="of each method, in place of one for each core")
    parser.add_argument("--tiny", action="store_true", help="a trial run, whose times mean nothing")
    given = parser.parse_args()
    if given.tiny:
        given.images, given.side, given.width, given.short, given.longer = 128, 8, 2, 2, 3
    if not 2 <= given.short < given.longer:  # random search needs two epochs
        fail("give two numbers of epochs, --short from 2 on and --longer above it")
    print(where())
    seeds = given.seeds
    searches = len(METHODS) * seeds
    with tempfile.TemporaryDirectory() as folder:
        file, settings = Path(folder, "noise.npz"), {"width": given.width, "batch_size": min(64, given.images // 4)}
        make_images(file, given.images, given.side)
        sides: dict[str, list[float]] = {"supernet": [], "plain loop": []}
        for epochs in (given.short, given.longer):
            sides["supernet"].append(compared(file, settings, epochs, seeds, Path(folder, str(epochs))))
            loop = seeds * plain(file, settings, epochs, METHODS[0])
            sides["plain loop"].append(
                loop + sum(plain(file, settings, epochs, "random", seed) for seed in range(seeds))
            )
            print(f"{epochs} epochs: " + ", ".join(f"{name} {times[-1]:.1f} s" for name, times in sides.items()))
    rows, rates = zip(*(line(name, *times, given, searches) for name, times in sides.items()), strict=True)
    print(table(rows, HEAD))
    ratio = rates[0] / rates[1]
    print(f"{searches} searches of {given.epochs} epochs each, an estimate from short ones; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
