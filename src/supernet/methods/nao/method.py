"""NAO-V2: one-shot neural architecture optimisation with a supernet whose ranking can be trusted.

Luo, Qin & Chen, 2019, arXiv 1909.10815; the controller is that of NAO (Luo et al., NeurIPS 2018, arXiv 1808.07233), see
`controller.py`.

    pool <- random architectures
    in each iteration: train a supernet, every step on one architecture of the pool, drawn with probability
        proportional to its number of parameters; evaluate all architectures so far, each as one path of the supernet;
        fit the controller to their accuracies; pool <- new architectures from the controller
    at the end: train the best few architectures alone for a short time, and take the most accurate

Three factors decide how well the supernet ranks, and each is a setting: the number of updates per architecture (`pool`,
`new` and the epochs), `sampling`, and the independence of the supernets (`reinit`).

Deliberate differences from released code. `reinit` "all" is the paper's; there only the learning rate is reset ("lr").
All architectures are evaluated on all validation images; there each on another batch of 500 (`evaluation` "batch").
Parameters are counted analytically. An architecture equivalent to a known one is not new. The drop-path probability
rises from epoch to epoch, not from step to step; in standalone training all cells have the same probability.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import BEGUN, Within, set_rate
from supernet.engine.processes import by_first, check_alike
from supernet.methods.base import Budget
from supernet.methods.nao.accuracy import accuracies
from supernet.methods.nao.config import NAOConfig
from supernet.methods.nao.controller import Controller
from supernet.methods.nao.controller_training import Report
from supernet.methods.nao.pool import Pool
from supernet.methods.nao.schedule import Schedule
from supernet.methods.nao.standalone import StandaloneTraining
from supernet.methods.single_path import SinglePath
from supernet.models.cost.count import auxiliary_cost
from supernet.models.cost.module import Cost
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences, Tokens

_DRAWS = 100  # at most so many per architecture of the first pool, to make all of them different


class NAO(SinglePath):
    """Trains a supernet on a pool of architectures, evaluates them, and lets a controller make the next pool."""

    Config = NAOConfig
    fixed_epochs = "its iterations are shares of all epochs, and standalone training has ended them"
    between_epochs = "evaluation, the controller's training, and the different size of networks in standalone training"
    config: NAOConfig

    def __init__(self, config: NAOConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.schedule = Schedule(config, budget.epochs)
        space, network_size = supernet.space, supernet.network_size
        self.sequences = Sequences(space)
        self.controller = Controller(self.sequences, config.controller, budget.seed)
        self.pool = Pool(space, network_size, config.sampling)
        self.pool.begin(self._random_pool())
        self.standalone = StandaloneTraining(space, network_size, config.standalone, budget, self.loss, self.weights[0])
        self.drop_path = 0.0
        self.path = self.pool.trained[0]

    @property
    def trained_cost(self) -> Cost:
        """The cost of the supernet, and of the auxiliary head of the standalone training if there is one."""
        auxiliary = self.config.final and self.config.standalone.auxiliary
        return super().trained_cost + (
            auxiliary_cost(self.supernet.space, self.supernet.network_size) if auxiliary else Cost()
        )

    @property
    def forecast_epochs(self) -> Sequence[int]:
        """The last epoch of a supernet, because the networks of standalone training are not known in advance."""
        return (self.schedule.starts[-1] - 1,)

    def _random_pool(self) -> list[Genotype]:
        """Draw the first pool: different architectures, fewer than asked for only in a small space."""
        rng, pool = random.Random(f"{self.budget.seed} pool"), dict[Genotype, None]()
        for _ in range(_DRAWS * self.config.pool):
            pool[self.sample(rng)] = None
            if len(pool) == self.config.pool:
                break
        return list(pool)

    def begin_epoch(self, epoch: int) -> None:
        """Begin an iteration or a standalone training if due; set learning rate and drop-path probability."""
        if self.schedule.is_standalone(epoch):
            self.standalone.begin_epoch(self.schedule.standalone_epoch(epoch), self.config.final_epochs)
            self.set_rates(epoch)
            return
        iteration, own_epoch, length = self.schedule.position(epoch)
        if own_epoch == 0 and iteration and self.config.reinit == "all":
            self.restart(random.Random(f"{self.budget.seed} weights {iteration}").getrandbits(32))
        self.set_rates(epoch)
        self._set_drop_path(self.config.drop_path * (own_epoch + 1) / length)

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:
        """Set the learning rate of the iteration, or that of the network of the standalone training."""
        rate = self.budget.weights.rate
        if self.schedule.is_standalone(epoch):
            own_epoch, length = self.schedule.standalone_epoch(epoch), self.config.final_epochs
            set_rate(self.standalone.optimizer, rate(own_epoch, length, within))
            return
        _, *own = self.schedule.position(epoch)
        own_epoch, length = (epoch, self.schedule.starts[-1]) if self.config.reinit == "none" else own
        set_rate(self.optimizer, rate(own_epoch, length, within))

    def begin_tuning(self) -> None:
        """Let the steps train the supernet, also after a search that was cut within a standalone training."""
        super().begin_tuning()
        self.standalone.network = None

    def _set_drop_path(self, probability: float) -> None:
        """Set the drop-path probability of the last cell, and of the other cells in proportion to their depth."""
        self.drop_path = probability
        cells = self.supernet.mixed_cells
        for number, cell in enumerate(cells, 1):
            cell.drop_path = probability * number / len(cells)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train one architecture of the pool, or the network of the standalone training."""
        return super().step(batches) if self.standalone.network is None else self.standalone.step(batches["weights"])

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step from the pool."""
        return self.pool.draw(rng)

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """End the iteration or the standalone training of a network if due, and report it."""
        if self.schedule.is_standalone(epoch):
            if self.schedule.standalone_epoch(epoch + 1) == 0:
                self.standalone.end(valid_accuracy)
            names, found = map(str, self.standalone.architectures), self.standalone.accuracies
            return {"standalone": dict(zip(names, found, strict=False)), "best_accuracy": max(found, default=-1.0)}
        iteration, own_epoch, length = self.schedule.position(epoch)
        return self._end_iteration(iteration) if own_epoch + 1 == length else {}

    def _end_iteration(self, iteration: int) -> Mapping[str, Any]:
        trained = len(self.pool.trained)
        self._evaluate_pool(iteration)
        row = {"iteration": iteration + 1, "evaluated": len(self.pool.accuracies), "trained": trained}
        if iteration + 1 == self.config.iterations:
            best = self.pool.ranked  # if there are too few, they are trained again from other weights
            self.standalone.architectures = [best[number % len(best)] for number in range(self.config.final)]
            return {"pool": row}
        return {"pool": row | self._begin_pool()}

    def _evaluate_pool(self, iteration: int) -> None:
        """Evaluate all architectures so far with the current weights of the supernet."""
        images, seed, genotypes = self.config.eval_images, None, list(self.pool.accuracies)
        if self.config.evaluation == "batch":
            images, seed = 500 if images is None else images, f"{self.budget.seed} judging {iteration}"
        self.pool.record(accuracies(self.supernet, genotypes, self.budget.validation_batches, images, seed))

    def _begin_pool(self) -> dict[str, Any]:
        """Fit the controller to all accuracies, and begin the next pool with the architectures that it generates."""
        ranked = self.pool.ranked
        tokens = [self.sequences.encode(genotype) for genotype in ranked]
        report = self._fit(tokens, [self.pool.accuracies[genotype] or 0.0 for genotype in ranked])
        known = {self.sequences.canonical(architecture) for architecture in tokens}
        within = self.budget
        generated = self.controller.generate(tokens, known, self.config.new, within.allows, within.sample)
        new = [self.sequences.decode(architecture) for architecture in generated.tokens]
        self.pool.begin(new or ranked[: self.config.new])  # the best again if every architecture is known
        check_alike(lambda: [str(genotype) for genotype in self.pool.trained])
        return {"controller": asdict(report) | {"drawn_at_random": generated.drawn_at_random}}

    def _fit(self, tokens: Sequence[Tokens], accuracies: Sequence[float]) -> Report:
        """Let the first of several processes train the controller, and each take its state."""
        report, state = by_first(lambda: (self.controller.fit(tokens, accuracies), self.controller.state_dict()))()
        self.controller.load_state_dict(state)
        return report

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits of the path of the last step, or of the network of the standalone training."""
        return super().predict(x) if self.standalone.network is None else self.standalone.predict(x)

    @property
    def best(self) -> Genotype:
        """The best architecture so far: by standalone training if any is finished, otherwise by the supernet."""
        return self.standalone.best or self.pool.best

    def op_scores(self) -> dict[str, Tensor]:
        """Return the best architecture so far as one-hot rows."""
        return {kind: edges.weights for kind, edges in self.supernet.only(self.best).items()}

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype]:
        """Return the architectures of this iteration in random order, and then the earlier ones in random order."""
        trained = rng.sample(self.pool.trained, len(self.pool.trained))
        current = set(trained)
        earlier = [genotype for genotype in self.pool.accuracies if genotype not in current]
        return [*trained, *rng.sample(earlier, len(earlier))][:count]

    def state_dict(self) -> dict[str, Any]:
        """Add the pool, the controller, the standalone training and the drop-path probability."""
        return super().state_dict() | {
            "pool": self.pool.state_dict(),
            "controller": self.controller.state_dict(),
            "standalone": self.standalone.state_dict(),
            "drop_path": self.drop_path,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.pool.load_state_dict(state["pool"])
        self.controller.load_state_dict(state["controller"])
        self.standalone.load_state_dict(state["standalone"])
        self._set_drop_path(state["drop_path"])
