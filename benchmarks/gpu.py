"""The speed and memory of the fused engine on one CUDA GPU, in one table, in less than ten minutes.

    python benchmarks/gpu.py cifar10.npz
    python benchmarks/gpu.py                          # with noise in place of CIFAR-10
    python benchmarks/gpu.py --device cpu --tiny      # a trial run without a GPU, whose times mean nothing

- dense: a search step, as in `speed.py`, in every precision that the GPU supports: plain (the reference engine in
  channels-first), and by both engines in channels-last memory, step by step and as a CUDA graph
  (`supernet.engine.cuda_graphs`).
- sparse, batched, memory: as in `speed.py`, in the default precision of this GPU. The memory is that of PyTorch's
  allocator.
- search: the whole Single-DARTS search of the protocol `nasbench201`, 50 epochs on 25 000 images, extrapolated from
  its first two epochs; `--full` runs all 50 with the default settings. `cifar10.npz` holds x_train and y_train (uint8,
  32x32x3) with 50 000 images: the weights are trained on half of them, and the others are the validation images.

All sides share one process and take turns. They are compared first: in float64 to 1e-10, then the losses of their first
five steps, recorded ones among them, within the rounding of the precision.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

import supernet as sn
from sides import Make, Times, Work, check_same, milliseconds, plain, row, table, take_turns, where
from speed import FUSED, PLAIN, REFERENCE, Bench, Case, Dense, How
from supernet.engine.cuda_graphs import EAGER, CudaGraph, RecordedStep
from supernet.engine.precision import Precision, precision_named, products
from supernet.searching.plan import planned

T = TypeVar("T")

DENSE = (Case("nasbench201", 16, 5, 32), Case("darts", 16, 2, 32))
ROUNDING = {"float32": 5e-3, "tf32": 2e-2, "bf16": 1e-1}
EPOCHS, IMAGES, TINY_IMAGES = 50, 50_000, 64
TINY = {"width": 4, "depth": 1, "batch_size": 8, "image_size": 8}


class Step:
    """A dense step on one batch; with `graphs` on a GPU, the first steps are followed by a recorded graph."""

    def __init__(self, case: Case, how: How, say: Callable[[str], None], *, graphs: bool) -> None:
        step, self._batch = Dense(case, how), how.images(case)
        graph = CudaGraph(how.device) if graphs and how.device.type == "cuda" else None
        self._learn = RecordedStep(lambda batches: {"loss": step(batches["weights"])}, graph, say)

    def __call__(self) -> Tensor:
        """Take the step and return its loss, which the next step may overwrite."""
        return self._learn({"weights": self._batch})["loss"]


class OnGpu(Bench):
    """The sections of `speed.py` in this process, on one device in one precision, and two further sections."""

    large = DENSE

    def __init__(self, device: torch.device, precision: Precision, rounds: int, budget: float, *, tiny: bool) -> None:
        super().__init__(rounds, budget, torch.get_num_threads(), tiny=tiny)
        self.device, self.precision, self.tiny = device, precision, tiny
        self.notes: list[str] = []

    def on(self, how: How) -> How:
        """Return how a side runs in this bench."""
        return replace(how, device=self.device, precision=self.precision)

    def steps(self, case: Case) -> list[list[str]]:
        """Time search steps, with and without CUDA graphs."""
        with products("float32"):
            self.check_engines(case)
        ways = {"plain": (PLAIN, False), "reference": (REFERENCE, False), "fused": (FUSED, False)}
        ways |= {"reference, graphs": (REFERENCE, True), "fused, graphs": (FUSED, True)}
        steps = {n: Step(case, self.on(how), self.notes.append, graphs=graphs) for n, (how, graphs) in ways.items()}
        times = self._timed({name: {"step": step} for name, step in steps.items()}, EAGER + 2)["step"]
        pairs = [("reference", "fused"), ("reference, graphs", "fused, graphs"), ("plain", "fused, graphs")]
        return [row(f"ms, {case.title}, {self.precision}", times, *pair) for pair in pairs]

    def alone(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, done in this process."""
        return work()

    def times(self, makes: Mapping[str, tuple[Make, bool]]) -> dict[str, Times]:
        """Return the milliseconds of every work."""
        return self._timed({name: make() for name, (make, _) in makes.items()}, 1)

    def _timed(self, works: Mapping[str, Mapping[str, Work]], first: int) -> dict[str, Times]:
        """Compare the first results of the sides, `first` of each, and time all sides."""
        proofs = {n: {name: _several(work, first) for name, work in side.items()} for n, side in works.items()}
        check_same(proofs, ROUNDING[self.precision])
        found = {}
        for work in next(iter(works.values())):
            asks = {n: partial(milliseconds, side[work], self.device, self.budget) for n, side in works.items()}
            found[work] = take_turns(asks, self.rounds)
        return found

    def search(self, data: str | None, *, full: bool) -> list[list[str]]:
        """Time whole searches: by the reference engine without CUDA graphs, and with the default settings."""
        images, changes = (TINY_IMAGES, TINY) if self.tiny else (IMAGES, {})
        epochs = 3 if self.tiny else EPOCHS
        with TemporaryDirectory() as folder:
            source = data or noise(Path(folder), images)
            settings = {
                "device": str(self.device),
                "protocol": "nasbench201",
                "images": images,
                "quiet": True,
            } | changes
            plainly = {"engine": "reference", "graphs": False}
            slow = sn.search(source, out=f"{folder}/reference", epochs=2, **settings, **plainly)
            fast = sn.search(source, out=f"{folder}/default", epochs=epochs if full else 2, **settings)
            minutes = {"reference": [whole(slow, epochs) / 60], "default": [whole(fast, epochs) / 60]}
        how = "all measured with the defaults" if full else "extrapolated from two"
        title = f"minutes, Single-DARTS on nasbench201, {images // 2} images, {epochs} epochs, {how}"
        return [row(title, minutes, "reference", "default")]


def _several(work: Work, count: int) -> Any:
    """Return the first results of a work, one after the other."""
    results = [plain(work()) for _ in range(count)]
    return np.stack(results) if count > 1 else results[0]


def whole(run: sn.Run, epochs: int) -> float:
    """Return the seconds of all epochs; epochs that did not run count as long as the last one."""
    seconds = [line["seconds"] for line in run.metrics]
    return sum(seconds) + (epochs - len(seconds)) * seconds[-1]


def noise(folder: Path, count: int) -> str:
    """Write noise in the shape of CIFAR-10's images, and return the file."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    np.savez(folder / "noise.npz", x_train=pixels, y_train=np.arange(count) % 10)
    return str(folder / "noise.npz")


def precisions(device: torch.device) -> list[Precision]:
    """Return the precisions that the device supports."""
    found = []
    for name in get_args(Precision):
        with suppress(sn.UserError):
            found.append(precision_named(name, device))
    return found


def jobs(
    given: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, OnGpu, Callable[[], Iterable[list[str]]]]]:
    """Yield every measurement: its name, the bench, and the function that returns its lines."""
    rounds, budget = (2, 0.01) if given.tiny else (10, 0.2)
    for precision in precisions(device):
        bench = OnGpu(device, precision, rounds, budget, tiny=given.tiny)
        for case in map(bench.fit, DENSE):
            yield f"dense, {case.title}, {precision}", bench, partial(bench.steps, case)
    bench = OnGpu(device, precision_named("auto", device), rounds, budget, tiny=given.tiny)
    for name in ("sparse", "batched", "memory"):
        yield f"{name}, {bench.precision}", bench, getattr(bench, name)
    yield "search", bench, partial(bench.search, given.data, full=given.full)


def measured(given: argparse.Namespace, device: torch.device) -> Iterator[list[str]]:
    """Measure, report each measurement on the screen, and yield the lines of the table."""
    for name, bench, work in jobs(given, device):
        start = time.perf_counter()
        try:
            with products(bench.precision):
                yield from work()
        except torch.OutOfMemoryError:
            print(f"{name}: left out: the GPU has too little memory\n")
        for note in bench.notes:
            print(f"{name}: {note}\n")
        bench.notes.clear()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def check(given: argparse.Namespace, device: torch.device) -> None:
    """Exit with status 2 and a message if the device or the data cannot be used."""
    wrong = None
    if device.type == "cuda" and not torch.cuda.is_available():
        wrong = "this machine has no CUDA GPU; for a trial run without one, use --device cpu --tiny"
    elif given.data is not None:
        try:
            planned(given.data, protocol="nasbench201", images=TINY_IMAGES if given.tiny else IMAGES)
        except sn.UserError as error:
            wrong = str(error)
    if wrong is not None:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="cifar10.npz; noise by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="a trial run with very small nets, whose times mean nothing"
    )
    parser.add_argument("--full", action="store_true", help="run all epochs of the search with the default settings")
    parser.add_argument("--report", type=Path, help="write the table here (.md)")
    given = parser.parse_args()
    device = torch.device(given.device)
    check(given, device)
    begun, rows, text = time.perf_counter(), [], where(device)
    print(text)
    try:
        rows.extend(measured(given, device))
    finally:
        text += "\n" + table(rows)
        print(f"{table(rows)}\n{(time.perf_counter() - begun) / 60:.1f} minutes in total")
    if given.report is not None:
        given.report.write_text(text)


if __name__ == "__main__":
    main()
