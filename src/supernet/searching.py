"""Search: a method, a supernet, data, monitors, a selector and the loop put together, in a run folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from supernet import findings, screen, tables
from supernet.data import Augment, Batch, Batches, ordered, split
from supernet.genotype import Genotype
from supernet.graphs import CudaGraph, RecordedStep
from supernet.loop import Watcher, conduct, seed_of
from supernet.methods.base import Budget, Method, Part, accuracy
from supernet.mixing import detached
from supernet.model import Supernet
from supernet.modules import Norm
from supernet.monitors import GradientMonitor, judge
from supernet.plan import Plan, plan
from supernet.run import Run
from supernet.selectors import selector
from supernet.spaces import SearchSpace

EVALUATED = 512  # images at once where nothing is learned


class SearchTask:
    """What the loop drives when it searches: it feeds the method, and after each epoch measures and names a cell."""

    def __init__(self, plan: Plan, watcher: Watcher | None = None) -> None:
        self.plan, protocol = plan, plan.protocol
        self.images = images = plan.images.to(plan.device)
        self.method = _method(plan)
        first, second = split(plan.images.y, protocol.split)
        parts: dict[Part, Tensor] = {"first": first, "second": second, "all": torch.arange(len(plan.images.y))}
        augment = Augment(protocol.pad or 0, bool(protocol.mirror), protocol.cutout)  # a plan has no None left in them
        self.streams: Mapping[str, Batches] = {
            name: Batches(
                images, parts[part], protocol.batch_size, augment, seed_of(plan.seed, name), device=plan.device
            )
            for name, part in self.method.streams.items()
        }
        graph = CudaGraph(plan.device) if plan.execution.graphs else None
        self._learn = RecordedStep(lambda batches: self.method.step(batches), graph, (watcher or Watcher()).say)
        self.monitor = GradientMonitor(self.method) if plan.diagnose else None
        # A stream called alpha does not train the weights; any other one does.
        trained_on = {part for name, part in self.method.streams.items() if name != "alpha"}
        self._held_out = (images, second) if trained_on == {"first"} else None

    def begin_epoch(self, epoch: int) -> None:
        """Let the method prepare."""
        self.method.begin_epoch(epoch)
        self._learn.begin()

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Let the method learn."""
        if self.monitor is None:
            return self._learn(batches)
        self.monitor.before(batches)
        metrics = self._learn(batches)
        self.monitor.after()
        return metrics

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Measure the supernet on the images its weights have not seen, and look up the architecture it would name.

        That is within the limits, but for a latency that must be measured: that is measured in the end only.
        """
        valid = self.valid_accuracy()
        learned = self.method.end_epoch(epoch, math.nan if valid is None else valid)
        genotype = selector("magnitude").select(self.method, self.plan.bounds.unmeasured)
        strength = {kind: value.tolist() for kind, value in self.method.strength().items()}
        row = dict(means) | {"valid_accuracy": valid, "architecture": str(genotype), "weights": strength, **learned}
        if self.monitor is not None:
            row["diagnostics"] = self.monitor.means()
        return row | {"verdict": judge(self.plan.space, genotype).state} | _known_accuracies(self.plan.space, genotype)

    @property
    def held_out(self) -> int:
        """The images that the weights have not seen, which each epoch is measured on."""
        return 0 if self._held_out is None else len(self._held_out[1])

    def valid_accuracy(self, first: int | None = None) -> float | None:
        """Return the accuracy on the images held out, or the `first` of them; None if there are none."""
        if self._held_out is None:
            return None
        images, subset = self._held_out
        supernet, mix = self.method.supernet.eval(), detached(self.method.mix())
        batches = ordered(images, subset[:first], EVALUATED)
        found = accuracy(lambda x: supernet(x, mix), batches)
        supernet.train()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the method and the monitor, and the latencies that have been measured."""
        monitor = self.monitor and self.monitor.state_dict()
        return {"method": self.method.state_dict(), "monitor": monitor, "latencies": self.plan.bounds.measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.plan.bounds.measured.update(state["latencies"])
        self.method.load_state_dict(state["method"])
        if self.monitor is not None:
            self.monitor.load_state_dict(state["monitor"])


def search(
    data: str | os.PathLike[str] | Dataset[Any] = "digits",
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    quiet: bool = False,
    watcher: Watcher | None = None,
    **choices: Any,
) -> Run:
    """Search for an architecture and return the finished run.

    - `data`: "digits" (embedded), an .npz file, a folder of class folders or IDX files, or a torch Dataset of
      (image, label).
    - `space`: a name, "module:NAME" or a SearchSpace. `method`: a published name, or your own Method class.
    - `selector`: how the architecture is read out of what was learned; None is the method's own.
    - `protocol`: a name or a Protocol. `settings`: an instance of the method's Config; None is the method's own.
    - `seed`: of everything drawn. `device`: "auto", "cpu", "cuda", ...
    - `engine`: "fused" or "reference", operation after operation; `precision`: "float32", "tf32" or "bf16"; "auto" is
      fused, and TF32 on a GPU that has it. `checkpointing`: less memory for more time. `graphs`: record steps and
      replay them (CUDA graphs); None does so on a GPU, where the method allows it.
    - `out`: the run folder; None makes a name from the choices, under `runs/`. Called again with the same arguments,
      an unfinished run goes on and a finished one is returned as it is; `force` starts it over.
    - `quiet`: no progress. `watcher`: is told of the progress instead of the screen.
    - `target_width`, `target_depth`: of the network that the search is for; None is the space's own.
    - `max_params`, `max_flops` (numbers, or "1.5M", "300k"), `max_latency_ms`: the most that this network may have.
      `latency` is "measured", on the device and for one image, or a field of the space's table.
    - `diagnose`: also log the gradient diagnostics of Single-DARTS, every 10 steps; see `supernet.monitors`.
    - any field of the protocol or of the method's settings: `epochs=5, activation="softmax", w={"lr": 0.01}`.

    Raises UserError for a choice that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a run that goes on.
    """
    return start(plan(data, **choices), out=out, force=force, watcher=watcher or screen.watcher(quiet=quiet))


def start(plan: Plan, *, watcher: Watcher, out: str | os.PathLike[str] | None = None, force: bool = False) -> Run:
    """Run a planned search, or go on with it, and return the finished run."""
    run = Run(plan.folder if out is None else out)

    def finish(task: SearchTask) -> None:
        findings.write(run, plan, plan.selector.select(task.method, plan.bounds))

    return conduct(run, plan, partial(SearchTask, watcher=watcher), finish, plan.protocol.epochs, watcher, force=force)


def _method(plan: Plan) -> Method:
    """Build the supernet and the method on it, with weights drawn from the current random state."""
    protocol = plan.protocol
    supernet = Supernet(plan.space, plan.frame, Norm(protocol.norm_affine, protocol.norm_track))
    plan.execution.apply(supernet)
    supernet.to(plan.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    budget = Budget(protocol.epochs, protocol.w, seed_of(plan.seed, "method"), plan.bounds.sample)
    return plan.preset.load()(plan.settings, supernet, budget)


def _known_accuracies(space: SearchSpace, genotype: Genotype) -> dict[str, Any]:
    """Return what the table says of an architecture, as part of a row of metrics: index and accuracies (%)."""
    if space.table is None:
        return {}
    table = tables.load(space.table)
    found = table.summary(table.index(genotype))
    known: dict[str, float] = {}
    for standing in found.standings:
        known |= {f"{standing.dataset}_valid": standing.valid, f"{standing.dataset}_test": standing.test}
    return {"index": found.index, "known": known}
