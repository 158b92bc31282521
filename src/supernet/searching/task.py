"""The search as the loop drives it: a method, a supernet, data and monitors put together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from supernet.data import Augment, Batch, Batches, hold_out, ordered, split
from supernet.engine.cuda_graphs import CudaGraph, RecordedStep
from supernet.engine.loop import Watcher
from supernet.engine.seeds import seed_of
from supernet.methods.base import Budget, Method, Part, Stream, accuracy
from supernet.methods.gradient_monitor import GradientMonitor
from supernet.models.cost.expected import Expected
from supernet.models.evaluate import ValidationBatches
from supernet.models.supernet import Supernet
from supernet.searching.collapse import judge
from supernet.searching.config import Protocol
from supernet.searching.plan import Plan
from supernet.selectors.magnitude import strongest
from supernet.spaces import SearchSpace, tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm

EVALUATED = 512  # images at once where nothing is learned


class SearchTask:
    """What the loop drives when it searches: it feeds the method, and after each epoch measures and names a cell."""

    def __init__(self, plan: Plan, watcher: Watcher | None = None) -> None:
        self.plan, protocol = plan, plan.protocol
        self.images = images = plan.images.to(plan.device)
        self.method = _method(plan, self.validation_batches)
        first, second = _halves(plan.images.y, protocol)
        parts: dict[Part, Tensor] = {"train": first, "validation": second, "all": torch.arange(len(plan.images.y))}
        augment = Augment(protocol.pad or 0, bool(protocol.mirror), protocol.cutout)  # a plan has no None left in them
        streams = {name: Stream.of(stream) for name, stream in self.method.streams.items()}
        self.streams: Mapping[str, Batches] = {
            name: Batches(
                images,
                parts[stream.part],
                stream.size or protocol.batch_size,
                augment,
                seed_of(plan.seed, name),
                device=plan.device,
            )
            for name, stream in streams.items()
        }
        self.graph = CudaGraph(plan.device) if plan.execution.graphs else None
        self._learn = RecordedStep(lambda batches: self.method.step(batches), self.graph, (watcher or Watcher()).say)
        self.monitor = GradientMonitor(self.method) if plan.diagnose else None
        # Streams called alpha and inner do not train the weights; any other one does.
        trained_on = {stream.part for name, stream in streams.items() if name not in ("alpha", "inner")}
        self._held_out = (images, second) if trained_on == {"train"} else None
        self._second = second

    @property
    def epochs(self) -> int:
        """Those of the protocol."""
        return self.plan.protocol.epochs

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
        op_scores = {kind: value.tolist() for kind, value in self.method.op_scores().items()}
        row = dict(means) | {"valid_accuracy": valid, "op_scores": op_scores, **learned}
        if self.monitor is not None:
            row["diagnostics"] = self.monitor.means()
        return row | (self._named() if self.method.ranks else {})

    def _named(self) -> dict[str, Any]:
        """Return what a row says of the architecture that would be named now."""
        space, genotype = self.plan.space, strongest(self.method, self.plan.feasible.unmeasured)
        named = {"architecture": str(genotype), "verdict": judge(space, genotype).state}
        return named | _table_accuracies(space, genotype)

    @property
    def held_out(self) -> int:
        """The images that the weights have not seen, which each epoch is measured on."""
        return 0 if self._held_out is None else len(self._held_out[1])

    def valid_accuracy(self, first: int | None = None) -> float | None:
        """Return the accuracy on the images held out, or the `first` of them; None if there are none."""
        if self._held_out is None:
            return None
        images, subset = self._held_out
        supernet = self.method.supernet.eval()
        batches = ordered(images, subset[:first], EVALUATED)
        found = accuracy(self.method.predict, batches)
        supernet.train()
        return found

    def validation_batches(self) -> Iterator[Batch]:
        """Yield the second half of the images once, as they are, in batches of nearly equal size.

        They come in a random order that is always the same one, so that each batch has images of many classes: whoever
        judges by the batch's own statistics needs that.
        """
        order = torch.randperm(
            len(self._second), generator=torch.Generator().manual_seed(seed_of(self.plan.seed, "judged"))
        )
        batches = math.ceil(len(order) / self.plan.protocol.batch_size)
        return ordered(self.images, self._second[order], math.ceil(len(order) / batches))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the method and the monitor, and the latencies that have been measured."""
        monitor = self.monitor and self.monitor.state_dict()
        return {"method": self.method.state_dict(), "monitor": monitor, "latencies": self.plan.feasible.measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.plan.feasible.measured.update(state["latencies"])
        self.method.load_state_dict(state["method"])
        if self.monitor is not None:
            self.monitor.load_state_dict(state["monitor"])


def _halves(y: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    return split(y, protocol.split) if protocol.second == 0.5 else hold_out(y, protocol.second)


def _method(plan: Plan, validation_batches: ValidationBatches) -> Method:
    """Build the supernet and the method on it, with weights drawn from the current random state."""
    protocol = plan.protocol
    supernet = Supernet(plan.space, plan.network_size, Norm(protocol.norm_affine, protocol.norm_track))
    plan.execution.apply(supernet)
    supernet.to(plan.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    feasible, workers = plan.feasible, plan.execution.workers
    price = partial(Expected, feasible)
    budget = Budget(
        protocol.epochs,
        protocol.w,
        seed_of(plan.seed, "method"),
        feasible.sample,
        feasible.allows if feasible.limits else None,
        price,
        workers,
        validation_batches,
    )
    return plan.preset.load()(plan.settings, supernet, budget)


def _table_accuracies(space: SearchSpace, genotype: Genotype) -> dict[str, Any]:
    """Return what the table says of an architecture, as part of a row of metrics: index and accuracies (%)."""
    if space.table is None:
        return {}
    table = tables.load(space.table)
    found = table.summary(table.index(genotype))
    accuracies: dict[str, float] = {}
    for result in found.results:
        accuracies |= {f"{result.dataset}_valid": result.valid, f"{result.dataset}_test": result.test}
    return {"index": found.index, "table": accuracies}
