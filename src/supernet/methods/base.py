"""Method: the base class of every way to learn the weights and the architecture of a supernet together."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import BEGUN, SGDConfig, Within, clip_gradient, set_rate
from supernet.engine.processes import average_gradients
from supernet.engine.seeds import seeded
from supernet.engine.snapshots import Snapshots
from supernet.models.cost.count import OperationCosts
from supernet.models.cost.module import Cost
from supernet.models.cost.targets import Targets
from supernet.models.evaluate import LossOf, ValidationBatches, measures
from supernet.models.mix import Mix, detached, sources
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm

Part = Literal["train", "validation", "all"]
"""Which of the training images a stream draws: those that train weights, those for validation, or both."""


NOT_TRAINING = ("alpha", "inner", "evaluation", "order")
"""The names of streams that alpha learns from, or that only measure."""


@dataclass(frozen=True)
class NoConfig:
    """No settings."""


@dataclass(frozen=True)
class Stream:
    """An endless stream of batches of images from `part`: `size` images, or None for the batch size of the search.

    With several `parts` a batch has so many times `size` images, and a step runs each part by itself. Where several
    processes search together, each gets its share of a batch, or with `whole` all of it.
    """

    part: Part
    size: int | None = None
    parts: int = 1
    whole: bool = False

    @classmethod
    def of(cls, stream: Part | Stream) -> Stream:
        """Return the stream that a method has declared, in full or by the name of its part alone."""
        return stream if isinstance(stream, Stream) else cls(stream)


Streams = Mapping[str, Part | Stream]
"""The streams of a method by name."""


@dataclass(frozen=True)
class Budget:
    """What a search gives to its method.

    - `epochs`: passes over the training images.
    - `weights`: the optimizer of the weights, with its learning rate schedule.
    - `seed`: the seed of every random number that the method draws.
    - `sample`: draws an architecture within the limits of the search; None draws from the whole space.
    - `allows`: tells whether an architecture is within the limits; None allows every architecture.
    - `targets`: the penalty that brings costs down to their targets, to be added to the loss of alpha or taken off a
      reward (see `supernet.models.cost.targets`); None without targets.
    - `workers`: processes that lookahead may be spread over.
    - `validation_batches`: returns the validation images in batches, the same ones at every call.
    - `snapshots`: named states of the search; `end_epoch` keeps, drops and restores them (see `Method.roll_back`).
    - `new_supernet`: makes a supernet of a space and a size as the search made its own (see `Method.enter`).
    - `norm_shared`: whether a network that the method makes otherwise is to go through `share_norms`, as supernets do.
    - `device`: the device that the search was given, where workers take all GPUs if it has no number; None is that of
      the supernet.
    """

    epochs: int
    weights: SGDConfig
    seed: int
    sample: Callable[[random.Random], Genotype] | None = None
    allows: Callable[[Genotype], bool] | None = None
    targets: Targets | None = None
    workers: int = 1
    validation_batches: ValidationBatches = tuple
    snapshots: Snapshots = field(default_factory=Snapshots)
    new_supernet: Callable[[SearchSpace, NetworkSize], Supernet] | None = None
    norm_shared: bool = False
    device: torch.device | None = None


class Method(ABC):
    """Learns the weights of a supernet and, with them, its architecture.

    A search constructs its method once and then calls, in this order:

        for epoch in range(budget.epochs):
            method.begin_epoch(epoch)
            while the epoch lasts:
                method.step(batches)                # one batch for every name in `method.streams`
            method.end_epoch(epoch, accuracy)       # accuracy of `method.predict` on the validation images
            method.roll_back(state, done)           # if `end_epoch` asked for it: the state after `done` epochs
            if method.finished: break

    The search may save `state_dict()` after any step, and its selector reads `op_scores()` at the end. A subclass must
    define `streams`, `step` and `mix`; everything else has a default. A method draws random numbers from `budget.seed`
    alone, and never touches files, the console or the training loop. Where several processes search together, `loss`
    is the mean over the images of a batch, `weight_step` averages gradients over the processes, and a method that
    takes other gradients passes them through `supernet.engine.processes.averaged`.

    An instance has `config` (of the class `Config`), `supernet`, `budget`, `weights` (the list of the supernet's
    parameters), `device` and `optimizer` (SGD on `weights`, as `budget.weights` says).

    `begin_epoch` may set `cutout_probability`, with which a training image is cut out if the search has cutout.

    - `Config`: a frozen dataclass with a default for every field. Each field becomes a flag of the command line and a
      keyword of `search`, and the string below the field becomes the flag's help.
    - `capturable`: True promises that all steps of an epoch start the same operations on the device, with no decision
      by Python code (a random draw, another path). A GPU may then record one step and replay it. A promise that is not
      kept gives wrong results without an error, so a subclass does not inherit it.
    - `ranks`: whether larger op scores mean better operations. If not, no architecture is reported after an epoch.
    - `aims`: whether alpha or a controller learns from `budget.targets`; a search with targets refuses other methods.
    - `patient`: whether op scores lead to one choice over the whole search, which may end once that has stayed the same
      (setting `patience`).
    - `spreads`: whether the method can spread lookahead over `budget.workers` processes.
    - `between_epochs`: names long work between epochs; a forecast reports that this work is left out.
    - `fixed_epochs`: why a search cannot go on for more epochs than it was begun with, as a clause; empty if it can.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Let every class promise for itself that its steps can be recorded: no promise is inherited."""
        super().__init_subclass__(**arguments)
        cls.capturable = cls.__dict__.get("capturable", False)

    Config: ClassVar[type] = NoConfig
    capturable: ClassVar[bool] = False
    ranks: ClassVar[bool] = True
    aims: ClassVar[bool] = False
    patient: ClassVar[bool] = False
    spreads: ClassVar[bool] = False
    between_epochs: ClassVar[str] = ""
    fixed_epochs: ClassVar[str] = ""
    cutout_probability: float = 1.0

    @classmethod
    def new_supernet(cls, config: Any, space: SearchSpace, network_size: NetworkSize, norm: Norm) -> Supernet:
        """Return the supernet that the method learns on, with weights drawn from the current random state.

        By default it is the plain one; a method may add side paths (see `supernet.models.side_paths`), or return a
        subclass of Supernet with the same arguments.
        """
        return Supernet(space, network_size, norm)

    @classmethod
    def network_sizes(cls, config: Any, network_size: NetworkSize) -> Sequence[NetworkSize]:
        """Return the sizes of the supernets of a search, the first one's first: by default `network_size` alone."""
        return (network_size,)

    @classmethod
    def holds_out(cls, config: Any) -> bool:
        """Return whether the weights never learn from validation images, as a search says before it begins.

        A method one of whose `streams` of all or of validation images trains the weights returns False.
        """
        return True

    def __init__(self, config: Any, supernet: Supernet, budget: Budget) -> None:
        self.config = config
        self.budget = budget
        self._take(supernet)

    def _take(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.weights = list(supernet.parameters())
        self.device = self.weights[0].device
        self.optimizer = self.budget.weights.optimizer(self.weights)

    def enter(self, space: SearchSpace, network_size: NetworkSize) -> None:
        """Enter a stage: go on with a new supernet of this space and size, with new weights and their optimizer.

        A method calls it in `begin_epoch`, and in `load_state_dict` where the state is of another stage than its own,
        before the state is loaded. The space is the search's own or has fewer candidates (`SearchSpace.narrowed`), in
        whose columns `op_scores` and `mix` are from then on. `network_sizes` names every size.
        """
        assert self.budget.new_supernet is not None
        self._take(self.budget.new_supernet(space, network_size))

    @property
    @abstractmethod
    def streams(self) -> Streams:
        """The batches that `step` draws: a name for each, and the images that the batch comes from.

        One pass over the images of the first stream is an epoch. The weights are taken to learn from all streams except
        those whose names are in `NOT_TRAINING`.
        """

    @property
    def supernets(self) -> Sequence[Supernet]:
        """The supernets whose passes count as the cost of the search."""
        return (self.supernet,)

    @property
    def trained_cost(self) -> Cost:
        """The cost of the networks that are trained: of the supernet, by default; its `values` alone count."""
        return OperationCosts(self.supernet.space, self.supernet.network_size).supernet

    @property
    def period(self) -> int:
        """The number of steps after which the method's schedule repeats; a forecast times that many steps."""
        return 1

    @property
    def forecast_epochs(self) -> Sequence[int]:
        """The epochs whose steps a forecast times, each for an equal share of the search.

        By default the last, because a method may skip work in its first epochs.
        """
        return (self.budget.epochs - 1,)

    @property
    def warms_up(self) -> bool:
        """Whether the first epochs, of the search or of its parts, do less than those of `forecast_epochs`.

        A forecast is then the most that the search takes.
        """
        return False

    @property
    def stage(self) -> str:
        """The stage of the search, as a clause for the user; empty, the default, for a method without stages."""
        return ""

    @abstractmethod
    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Learn from one batch of every stream; return scalar tensors, which are averaged over the epoch.

        A batch is drawn when its name is looked up, so a stream that a step does not look up does not advance.
        """

    @abstractmethod
    def mix(self) -> Mix:
        """Return the op weights that the supernet runs with now."""

    def op_scores(self) -> dict[str, Tensor]:
        """Return scores (edges, columns) of the operations, larger for better ones, for each kind of cell."""
        return {kind: edges.weights.detach() for kind, edges in self.mix().items()}

    def op_score_lists(self) -> dict[str, list[list[float]]]:
        """Return the op scores as nested lists, as spaces and their tables take them."""
        return {kind: scores.tolist() for kind, scores in self.op_scores().items()}

    def predict(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) to measure the epoch by; the supernet is in evaluation mode."""
        logits: Tensor = self.supernet(x, detached(self.mix()))
        return logits

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch number `epoch`, counted from 0: set the learning rate of the weights."""
        self.set_rates(epoch)

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:
        """Set the learning rate of the weights in `epoch`; before every step of it if the schedule moves with steps.

        A method with another schedule overrides this and not `begin_epoch`.
        """
        self.set_rate(self.budget.weights.rate(epoch, self.budget.epochs, within))

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the weights; a method with further networks sets theirs as well."""
        set_rate(self.optimizer, rate)

    def begin_tuning(self) -> None:
        """Get ready for a selector that goes on with `step` or `train_weights`: with fresh momentum.

        A method whose steps differ by epoch takes those that train the supernet, since no `begin_epoch` follows.
        """
        self.optimizer.state.clear()

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Return additions to the epoch's row of metrics, as plain data.

        A method that trains architectures alone adds `best_accuracy`, of the one that its op scores stand for, below 0
        before there is any; a search then ends with this accuracy, not with that of `predict`.

        `valid_accuracy` is the accuracy of `predict` on the validation images, NaN if the weights learn from these.
        """
        return {}

    @property
    def finished(self) -> str:
        """Why the search ends after this epoch, as a clause for the user; empty, the default, while it goes on.

        It must follow from the state, so that a search that is resumed has finished, too.
        """
        return ""

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back to the `state` after `epoch` epochs, a snapshot that `end_epoch` restored by `budget.snapshots`.

        By default everything is as it was then: weights, alphas, optimizers, and what else is in the state. The streams
        of batches and the global random state go back as well, so without a change the search would repeat itself. The
        epochs go on counting: the next one begins with `begin_epoch` of the next number and thus, by default, the
        learning rate of that epoch. A subclass that changes a setting, or keeps what it has learned since, does so here
        around the call of this method; one that goes back in its schedule as well notes the distance for
        `begin_epoch` and `set_rates`.
        """
        self.load_state_dict(state)

    def sample(self, rng: random.Random) -> Genotype:
        """Draw an architecture uniformly within the limits of the search; raises UserError if none is found."""
        return (self.budget.sample or self.supernet.space.sample)(rng)

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype] | None:
        """Return up to `count` architectures that the method favours, in or out of limits; None favours none."""
        return None

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss that weights, and alphas if there are any, are trained by: cross-entropy, by default."""
        return F.cross_entropy(logits, y)

    @property
    def own_loss(self) -> LossOf | None:
        """The `loss` of a class that has one of its own, and None for cross-entropy."""
        return None if type(self).loss is Method.loss else self.loss

    def weight_step(self, batch: Batch, mix: Mix) -> Mapping[str, Tensor]:
        """Take one step of the weights on `batch`; the backward pass also reaches the tensors that `mix` depends on."""
        self.optimizer.zero_grad()
        logits = self.supernet(batch.x, mix)
        loss = self.loss(logits, batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(lambda: [*self.weights, *sources(mix)])
        clip_gradient(self.weights, self.budget.weights.clip)
        self.optimizer.step()
        return measures(loss, logits, batch)

    def train_weights(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take a step of the weights alone, as `step` would, with the architecture parameters as they are.

        By default the batch is that of the first stream, and the supernet runs `mix`.
        """
        return self.weight_step(batches[next(iter(self.streams))], detached(self.mix()))

    def restart(self, seed: int) -> None:
        """Draw all weights anew from `seed`, in place, and clear their momentum."""
        self.optimizer.state.clear()
        with seeded(seed, self.device):
            self.supernet.redraw()  # not reset_parameters(), which modules of a user's space need not have

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a run resumes exactly, as tensors, numbers, strings, lists and dicts."""
        return {"supernet": self.supernet.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])
