"""Retraining: one architecture, trained from scratch by a recipe, in a run folder of its own.

The loop is that of a search. Three deliberate differences from the code of the recipes' papers: images are normalised
by the mean and standard deviation of the training images, not by constants of one data set; beside the last epoch the
best one is kept, chosen on the validation images if the recipe has some; and for ImageNet the random resized crops are
drawn from the middle square of a picture, brought to 256 pixels, not from the whole original.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from supernet.data import Augment, Batch, Batches, ordered
from supernet.engine.defaults import plain_torch
from supernet.engine.driving import Driving, agreed, conduct, driving, going_on
from supernet.engine.loop import Task
from supernet.engine.optim import Within, clip_gradient, set_rate
from supernet.engine.precision import autocast
from supernet.engine.process_group import count, joined
from supernet.engine.processes import average_statistics, by_first, check_share
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.models.evaluate import are_unequal, balanced_accuracy, hits_and_labels, measures
from supernet.models.network import Network
from supernet.models.shared_norm import share_norms
from supernet.report import page, progress
from supernet.retraining.average import averaged
from supernet.retraining.config import RetrainCall
from supernet.retraining.loss import class_weights, cross_entropy
from supernet.retraining.plan import RetrainingPlan, planner
from supernet.settings import signature_of


class Outputs(nn.Module):
    """The logits of a network and, with `auxiliary`, those of its second head: what DDP calls in a step."""

    def __init__(self, network: Network, *, auxiliary: bool) -> None:
        super().__init__()
        self.network, self.auxiliary = network, auxiliary

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Return the logits (B, classes), one tensor for each head."""
        return self.network.both(x) if self.auxiliary else [self.network(x)]


class TrainingTask(Task):
    """The task of a retraining: trains one network."""

    def __init__(self, plan: RetrainingPlan) -> None:
        self.plan, self.recipe = plan, plan.config
        self.images = plan.images.to(plan.device)
        self.network = Network(plan.space, plan.genotype, plan.network_size, auxiliary=self.recipe.auxiliary > 0)
        self.network.to(plan.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.dropout = self.recipe.dropout
        if self.recipe.norm_shared:
            share_norms(self.network)
        outputs = Outputs(self.network, auxiliary=self.recipe.auxiliary > 0)
        # static_graph: an architecture may leave weights without a gradient
        self._outputs: nn.Module = outputs if count() == 1 else DistributedDataParallel(outputs, static_graph=True)
        self.optimizer = self.recipe.w.optimizer(self.network.parameters())
        pad, mirror = self.recipe.pad or 0, bool(self.recipe.mirror)  # no plan leaves a None in them
        self._crop = self.recipe.crop or None
        self._average = averaged(self.network, self.recipe.ema) if self.recipe.ema else None
        weighted = self.recipe.balance == "weights"
        labels, classes = plan.images.y[plan.parts[0]], len(plan.images.classes)
        self._class_weights = class_weights(labels, classes).to(plan.device) if weighted else None
        augment = Augment(
            pad=pad,
            mirror=mirror,
            cutout=self.recipe.cutout,
            crop=self._crop,
            jitter=self.recipe.jitter,
            trivial=self.recipe.augment == "trivial",
            mixup=self.recipe.mixup,
            cutmix=self.recipe.cutmix,
        )
        seed, evenly = seed_of(plan.seed, "train"), self.recipe.balance == "sampling"
        train = Batches(self.images, plan.parts[0], self.recipe.batch_size, augment, seed, plan.device, balanced=evenly)
        self.streams: Mapping[str, Batches] = {"train": train}
        check_share(train.size)
        self.measured = "valid_accuracy" if plan.measured_on == "validation" else "test_accuracy"
        self.best = -1.0  # the highest accuracy so far, with a balance of classes the highest balanced one

    @property
    def measured_network(self) -> nn.Module:
        """The network that is measured and used: the average of the weights if there is one."""
        return self.network if self._average is None else self._average.module

    @property
    def epochs(self) -> int:
        """The epochs of the recipe."""
        return self.recipe.epochs

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate and the probability of drop-path."""
        set_rate(self.optimizer, self.recipe.w.rate(epoch, self.recipe.epochs))
        self.network.drop_path = self.recipe.drop_path * epoch / self.recipe.epochs

    def begin_step(self, epoch: int, within: Within) -> None:
        """Move the learning rate if it moves with steps."""
        if self.recipe.w.per_step:
            set_rate(self.optimizer, self.recipe.w.rate(epoch, self.recipe.epochs, within))

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take one step; return the loss, auxiliary loss included, and the accuracy."""
        batch = batches["train"]
        self.optimizer.zero_grad()
        logits, loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        average_statistics(self.network)
        clip_gradient(self.network.parameters(), self.recipe.w.clip)
        self.optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self.network)
        return measures(loss, logits, batch)

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        with autocast(self.plan.device, self.plan.precision):
            outputs = self._outputs(batch.x)
        # Softmax and loss sum small parts, so logits of lower precision become float32
        logits = [found.to(torch.promote_types(found.dtype, torch.float32)) for found in outputs]
        losses = [cross_entropy(found, batch.y, self.recipe.label_smoothing, self._class_weights) for found in logits]
        return logits[0], losses[0] if len(losses) == 1 else losses[0] + self.recipe.auxiliary * losses[1]

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Return the epoch's row with the accuracy on the validation images, or without any on the test images."""
        accuracies = self.accuracies(test=self.measured == "test_accuracy")
        name = "accuracy" if self.recipe.balance == "none" else "balanced_accuracy"
        accuracy = accuracies.get(name, accuracies["accuracy"])
        best = accuracy > self.best
        self.best = max(accuracy, self.best)
        found = {self.measured: accuracies.pop("accuracy")} | accuracies
        return dict(means) | {"lr": self.optimizer.param_groups[0]["lr"]} | found | {"best": best}

    def accuracies(self, *, test: bool) -> dict[str, float]:
        """Return the accuracy (0 to 1) on the test or the validation images, with running statistics.

        With an average of the weights it is that of the average. Where classes have unequally many images, the balanced
        accuracy is there, too.
        """
        self.measured_network.eval()
        subset = None if test else self.plan.parts[1]
        batches = ordered(self.images, subset, self.recipe.batch_size, test=test, crop=self._crop)
        hits, labels = hits_and_labels(self.measured_network, batches)
        self.network.train()
        balanced = {"balanced_accuracy": balanced_accuracy(hits, labels)} if are_unequal(labels) else {}
        return {"accuracy": int(hits.sum()) / len(hits)} | balanced

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the network and the optimizer, and the best accuracy so far.

        With an average of the weights "network" is the average, which all that use the network read, and "trained" the
        network in training.
        """
        return self._averaging() | {
            "network": self.measured_network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "drop_path": self.network.drop_path,
            "best": self.best,
        }

    def _averaging(self) -> dict[str, Any]:
        if self._average is None:
            return {}
        return {"trained": self.network.state_dict(), "averaged": int(self._average.n_averaged)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.measured_network.load_state_dict(state["network"])
        if self._average is not None:
            self.network.load_state_dict(state["trained"])
            self._average.n_averaged.fill_(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.network.drop_path = state["drop_path"]
        self.best = state["best"]


@signature_of(RetrainCall)
@plain_torch()
def retrain(**settings: Any) -> Run:
    """Train one architecture from scratch and return the finished run.

    The arguments are the fields of `RetrainCall`: `retrain(run, epochs=5, drop_path=0.1, w={"lr": 0.01})`. Settings
    that are not given are those of `recipe`. Type checkers take `w=SGDConfig(lr=0.01)`, whose other values are
    SGDConfig's, not the recipe's.

    Each epoch is measured on the validation images if there are some, and on the test images otherwise; the checkpoints
    `last.pt` and `best.pt` are of the last epoch and of the epoch of highest accuracy, the first of equals. With a
    `balance` of classes that is the balanced accuracy, the mean recall of the classes.

    Called again with the same arguments, an unfinished run is resumed and a finished one is returned; `force` starts
    over. Raises UserError for a setting that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a run that
    resumes.
    """

    def make() -> tuple[Driving, RetrainingPlan]:
        how = driving(settings)
        return how, going_on(planner(**settings), how)

    with joined():
        how, plan = agreed(make)
        return start(plan, how)


def start(plan: RetrainingPlan, how: Driving) -> Run:
    """Run a planned retraining, or resume it, and return the finished run."""
    callback = progress.callbacks(how)
    if plan.broken is not None:
        callback.say(plan.broken)
    run = Run(plan.folder if how.out is None else how.out)
    return conduct(run, plan, TrainingTask, partial(_write, run), callback, **how.again)


def _write(run: Run, task: TrainingTask) -> None:
    """Write the picture, the page, and the summary, which marks the run as finished."""
    _picture(run)
    summary = _summary(run, task)
    page.write(run, task.plan.images, summary)
    run.write("summary.json", json.dumps(summary, indent=2) + "\n")


@by_first
def _picture(run: Run) -> None:
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    balanced = run.config["balance"] != "none"
    plots.save(plots.draw_training(run.metrics, balanced=balanced), run.path / "training.svg")


def _summary(run: Run, task: TrainingTask) -> dict[str, Any]:
    plan, rows, best = task.plan, run.metrics, run.load_best()
    chosen = {"last": rows[-1], "best": rows[best["epoch"] - 1]}
    measured = {kind: row | {"accuracy": row[task.measured]} for kind, row in chosen.items()}
    tested = measured if plan.measured_on == "test" else _tested(task, best["task"])
    return {
        "genotype": plan.genotype.to_json(),
        "architecture": str(plan.genotype),
        "params": plan.price.params,
        "flops": plan.price.flops,
        "measured_on": plan.measured_on,
        "accuracy": _each(measured, "accuracy"),
        "balanced_accuracy": _each(measured, "balanced_accuracy"),
        "test_accuracy": _each(tested, "accuracy"),
        "test_balanced_accuracy": _each(tested, "balanced_accuracy"),
        "best_epoch": best["epoch"],
        "labels": plan.images.label_mark,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def _tested(task: TrainingTask, best: Mapping[str, Any]) -> dict[str, dict[str, float]] | None:
    """Return the accuracies of the last and the best epoch on the test images, if any; keep the best weights."""
    if task.images.x_test is None:
        return None
    last = task.accuracies(test=True)
    task.load_state_dict(best)
    return {"last": last, "best": task.accuracies(test=True)}


def _each(found: Mapping[str, Mapping[str, Any]] | None, name: str) -> dict[str, float] | None:
    """Return one accuracy of the last and the best epoch, None where it was not measured."""
    return None if found is None or name not in found["last"] else {kind: row[name] for kind, row in found.items()}
