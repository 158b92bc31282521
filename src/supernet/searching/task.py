"""The search as the loop drives it: a method on a supernet, its streams of images, and its monitor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.data import Augment, Batch, Batches, ordered
from supernet.engine import process_group, processes
from supernet.engine.callbacks import Callback
from supernet.engine.cuda_graphs import CudaGraph, RecordedStep
from supernet.engine.lookups import Lookups, Peeked
from supernet.engine.loop import Task
from supernet.engine.optim import Within
from supernet.engine.seeds import seed_of
from supernet.engine.snapshots import Snapshots
from supernet.methods.base import NOT_TRAINING, Budget, Method, Part, Stream
from supernet.methods.monitors import MONITORS
from supernet.models.cost.count import check_batch_norm
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.targets import Targets
from supernet.models.evaluate import ValidationBatches, accuracy, nearly_equal
from supernet.models.shared_norm import share_norms
from supernet.models.supernet import Supernet
from supernet.searching.collapse import verdict
from supernet.searching.passes import Passes
from supernet.searching.patience import unchanged
from supernet.searching.plan import Plan
from supernet.searching.promises import Promises
from supernet.selectors.magnitude import strongest
from supernet.spaces import NetworkSize, SearchSpace, tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm

EVALUATED = 512  # images per forward pass of an evaluation


class SearchTask(Task):
    """The task of a search: feeds the method, and measures the supernet and derives a genotype after each epoch."""

    def __init__(self, plan: Plan, callback: Callback | None = None) -> None:
        self.plan, config = plan, plan.config
        self.promises = Promises(plan.method)
        self.images = images = plan.images.to(plan.device)
        self.snapshots: Snapshots = Snapshots()
        self.targets = Targets(plan.feasible, config.targets, config.epochs) if config.targets else None
        self.method = _method(plan, self.validation_batches, self.snapshots, self.targets)
        train, validation = plan.parts
        every = torch.cat(plan.parts).sort().values
        parts: dict[Part, Tensor] = {"train": train, "validation": validation, "all": every}
        augment = Augment(config.pad or 0, bool(config.mirror), config.cutout)  # no plan leaves a None in them
        streams = self.promises.streams(self.method)
        self.streams: Mapping[str, Batches] = {
            name: Batches(
                images,
                parts[stream.part],
                (stream.size or config.batch_size) * stream.parts,
                augment,
                seed_of(plan.seed, name),
                device=plan.device,
            )
            for name, stream in streams.items()
        }
        self.whole = [name for name, stream in streams.items() if stream.whole]
        self._validation = validation
        trained_on = {stream.part for name, stream in streams.items() if name not in NOT_TRAINING}
        self._unseen = trained_on == {"train"}  # then the weights have not seen the validation images
        self._check_batches(streams)
        self.graph = CudaGraph(plan.device) if plan.execution.graphs else None
        self.passes = Passes(lambda: self.method.supernets, replayed=self.graph is not None)
        self._say = (callback or Callback()).say
        self._learn = RecordedStep(lambda batches: self.method.step(batches), self.graph, self._say)
        self.monitor = MONITORS[config.monitor](self.method, config.monitor_every) if config.monitor else None
        self.history: list[dict[str, list[list[float]]]] = []  # the op scores after each epoch

    def _check_batches(self, streams: Mapping[str, Stream]) -> None:
        """Raise UserError for batches that the processes cannot share equally, or that are too small for batch norm."""
        sizes = self._evaluated()
        for name, stream in streams.items():
            size = self.streams[name].size // stream.parts
            if not stream.whole:
                processes.check_share(size)
            alone = stream.whole or self.plan.config.norm_shared  # batch norm sees all images
            sizes.append((size if alone else size // process_group.count()) or 1)
        check_batch_norm(self.method.trained_cost, min(sizes))

    @property
    def epochs(self) -> int:
        """The epochs of the search."""
        return self.plan.config.epochs

    @property
    def finished(self) -> str:
        """Why the method, or the patience of the search, ends it; empty while it goes on."""
        return self.promises.finished(self.method.finished) or self._held()

    def _held(self) -> str:
        most = self.plan.config.patience
        if most is None or unchanged(self.history, self.feasible.unmeasured.best, most) < most:
            return ""
        return f"the choice has stayed the same for {most} epoch{'s' if most > 1 else ''}"

    @property
    def may_stop(self) -> bool:
        """Whether the search may end before its last epoch."""
        return self.plan.config.patience is not None or type(self.method).finished is not Method.finished

    def begin_epoch(self, epoch: int) -> None:
        """Let the method prepare; say which stage begins."""
        before = self.method.stage
        self.method.begin_epoch(epoch)
        if self.method.stage and (epoch == 0 or self.method.stage != before):
            self._say(self.method.stage)
        self._set_cutout()
        self._learn.drop()
        self.passes.begin_epoch()

    def begin_step(self, epoch: int, within: Within) -> None:
        """Move the learning rate if it moves with steps."""
        if self.plan.config.w.per_step:
            self.method.set_rates(epoch, within)

    def _set_cutout(self) -> None:
        for stream in self.streams.values():
            stream.cutout_probability = self.method.cutout_probability

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Let the method learn; a batch that the monitor alone has looked up goes back to its stream."""
        if self.monitor is None:
            return self._step(batches)
        peeked, looked_up = Peeked(batches, self.streams), Lookups(batches)
        self.monitor.before(peeked)
        metrics = self._step(looked_up)
        self.monitor.after()
        peeked.put_back(looked_up.names)
        return metrics

    def _step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        with self.promises.first_mix(self.method.supernet):
            metrics = self.promises.metrics(self.passes.step(lambda: self._learn(batches)))
        processes.average_statistics(self.method.supernet)
        return metrics

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Return the epoch's row: accuracy on the validation images, op scores, and the architecture derived from them.

        The architecture is within the limits, except for a measured latency, which is measured at the end only.
        """
        self._learn.drop()  # the memory of a recorded step would lie beside what follows
        valid = self.valid_accuracy()
        measured = math.nan if valid is None else valid
        learned = self.promises.row(self.passes.between(lambda: self.method.end_epoch(epoch, measured)))
        self.history.append(self.promises.op_scores(self.method))
        op_scores = self.plan.space.widened(self.history[-1], self.method.supernet.space)
        processes.check_alike(lambda: [op_scores, *(weight.double().sum().item() for weight in self.method.weights)])
        row = dict(self.promises.means(means)) | {"valid_accuracy": valid, "op_scores": op_scores, **learned}
        row["forward_backward"] = self.passes.count
        if self.monitor is not None:
            row["diagnostics"] = self.monitor.end_epoch(epoch)
        return row | (self._derived(op_scores) if self.method.ranks or self.targets else {})

    @property
    def feasible(self) -> FeasibleSet:
        """The architectures within the limits that the supernet has the candidates for."""
        return self.plan.feasible.within(self.method.supernet.space)

    def _derived(self, op_scores: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any]:
        """Return the architecture derived from the op scores now, its verdict, and its accuracies in the table.

        Targets come with it, whose multipliers follow this architecture; they come alone where op scores do not rank.
        """
        space, genotype = self.plan.space, strongest(self.method, self.feasible.unmeasured)
        derived: dict[str, Any] = {}
        if self.method.ranks:
            derived = {"architecture": str(genotype), "verdict": verdict(space, genotype).state}
        if self.targets is not None:
            scores = {kind: torch.tensor(rows, dtype=torch.float64) for kind, rows in op_scores.items()}
            derived["targets"] = self.targets.follow(scores, genotype)
        return derived | (_table_accuracies(space, genotype) if self.method.ranks else {})

    @property
    def validated(self) -> int:
        """The number of validation images on which each epoch is measured; 0 if the weights have seen them."""
        return len(self._validation) if self._unseen else 0

    def valid_accuracy(self, first: int | None = None) -> float | None:
        """Return the accuracy on the validation images, or on the `first` of them; None if the weights have seen them.

        The supernet is in evaluation mode.
        """
        if not self._unseen:
            return None
        supernet = self.method.supernet.eval()
        batches = ordered(self.images, self._validation[:first], EVALUATED)
        found = accuracy(self.method.predict, batches)
        supernet.train()
        return found

    def _evaluated(self) -> list[int]:
        """Return the sizes of the last batches of evaluations, which are the smallest, that use batch statistics."""
        images, size = len(self._validation), self._validation_size
        after_epochs = [] if self.plan.config.norm_track or not self._unseen else [images % EVALUATED or EVALUATED]
        return [*after_epochs, images % size or size, *self._selected_on(size)]

    def _selected_on(self, size: int) -> list[int]:
        """Return the sizes of the batches that the selector divides a part of the validation images into."""
        count = self.plan.selector.load().scored_on(self.plan.config.select)
        return [] if count is None or count >= len(self._validation) or count % size == 0 else nearly_equal(count, size)

    @property
    def _validation_size(self) -> int:
        """The size of nearly equal batches of all validation images."""
        images = len(self._validation)
        return math.ceil(images / math.ceil(images / self.plan.config.batch_size))

    def validation_batches(self) -> Iterator[Batch]:
        """Yield the validation images once, without augmentation, in batches of nearly equal size.

        Their random order is the same every time, so that each batch has images of many classes, as batch statistics
        need.
        """
        draws = torch.Generator().manual_seed(seed_of(self.plan.seed, "judged"))
        order = torch.randperm(len(self._validation), generator=draws)
        return ordered(self.images, self._validation[order], self._validation_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of method and monitor, the measured latencies, and which snapshots there are."""
        return {
            "method": self.method.state_dict(),
            "monitor": self.monitor and self.monitor.state_dict(),
            "latencies": self.plan.feasible.measured,
            "snapshots": dict(self.snapshots.epochs),
            "passes": self.passes.count,
            "history": list(self.history),
            **({} if self.targets is None else {"targets": self.targets.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.plan.feasible.measured.update(state["latencies"])
        self.snapshots.epochs = dict(state["snapshots"])
        self.passes.count = state["passes"]
        if self.targets is not None:
            self.targets.load_state_dict(state["targets"])
        self.method.load_state_dict(state["method"])
        self._after_loading(state)

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Let the method go back; later latencies, snapshots, multipliers and the count of passes stay."""
        self.method.roll_back(state["method"], epoch)
        self._after_loading(state)

    def _after_loading(self, state: Mapping[str, Any]) -> None:
        self._set_cutout()
        self.history = list(state["history"])
        if self.monitor is not None:
            self.monitor.load_state_dict(state["monitor"])


def _method(plan: Plan, validation_batches: ValidationBatches, snapshots: Snapshots, targets: Targets | None) -> Method:
    """Build the supernet, with weights drawn from the current random state, and the method that learns on it."""
    config, feasible = plan.config, plan.feasible
    method, norm = plan.method.load(), Norm(config.norm_affine, config.norm_track)

    def new_supernet(space: SearchSpace, network_size: NetworkSize) -> Supernet:
        made = method.new_supernet(config.method_config, space, network_size, norm)
        plan.execution.apply(made)
        if config.norm_shared:
            share_norms(made)
        return made.to(plan.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    supernet = new_supernet(plan.space, plan.network_sizes[0])
    budget = Budget(
        config.epochs,
        config.w,
        seed_of(plan.seed, "method"),
        feasible.sample,
        feasible.allows if feasible.limits else None,
        targets,
        plan.execution.workers,
        validation_batches,
        snapshots,
        new_supernet,
        config.norm_shared,
        plan.device,
    )
    return method(config.method_config, supernet, budget)


def _table_accuracies(space: SearchSpace, genotype: Genotype) -> dict[str, Any]:
    """Return the index and the accuracies (%) of an architecture in the space's table, as part of a row of metrics."""
    if space.table is None:
        return {}
    table = tables.load(space.table)
    found = table.summary(table.index(genotype))
    accuracies: dict[str, float] = {}
    for result in found.results:
        accuracies |= {f"{result.dataset}_valid": result.valid, f"{result.dataset}_test": result.test}
    return {"index": found.index, "table": accuracies}
