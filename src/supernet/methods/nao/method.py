"""NAO-V2: one-shot neural architecture optimisation with supernets whose ranking can be trusted.

Luo, Qin & Chen, 2019, arXiv 1909.10815; the controller is NAO's (Luo et al., NeurIPS 2018, arXiv 1808.07233), see
`supernet.controller`.

    pool <- random architectures
    in each iteration: train a supernet, every step on one architecture of the pool, drawn in proportion to the
        parameters of its own network; judge all architectures so far by it, one path each; fit the controller to
        their accuracies; pool <- new architectures from the controller
    in the end: train the best few alone for a short time, and take the most accurate

The three factors of its ranking, each a setting: updates per architecture (`pool`, `new` and the epochs), `sampling`,
and supernets that are independent of one another (`reinit`).

Differences from released code, each deliberate. `reinit all` is the paper's; there only the learning rate begins anew
(`lr`). All architectures are judged on all images of the second half; there each on another batch of 500
(`evaluation batch`). Parameters are counted, not built. A swapped twin of a known architecture is not new. In an epoch
the share of paths that are dropped does not rise from step to step; of a network trained alone, it is the same in all
of its cells.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import set_rate
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.nao.accuracy import accuracies
from supernet.methods.nao.config import NAOConfig
from supernet.methods.nao.controller import Controller
from supernet.methods.nao.pool import Pool
from supernet.methods.nao.standalone import StandaloneTraining
from supernet.methods.single_path import SinglePath
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences

_DRAWS = 100  # for every architecture of the first pool, until all are different ones


class NAO(SinglePath):
    """Pools of architectures, a supernet for each, and a controller that makes the next pool."""

    Config = NAOConfig
    between_epochs = "judging, the controller's training, and that the networks trained alone have another size"
    config: NAOConfig

    def __init__(self, config: NAOConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        shared = budget.epochs - config.final * config.final_epochs
        if shared < config.iterations:
            raise UserError(
                f"epochs ({budget.epochs}) must be at least {config.iterations} for the iterations and "
                f"{config.final} x {config.final_epochs} for those that are trained alone in the end: "
                "set epochs, iterations, final or final-epochs"
            )
        self._starts = [shared * number // config.iterations for number in range(config.iterations + 1)]
        space, network_size = supernet.space, supernet.network_size
        self.sequences = Sequences(space)
        self.controller = Controller(self.sequences, config.controller, budget.seed)
        self.pool = Pool(space, network_size, config.sampling)
        self.pool.begin(self._random())
        self.alone = StandaloneTraining(space, network_size, config.alone, budget.weights, budget.seed, self.weights[0])
        self.dropped = 0.0
        self.path = self.pool.trained[0]

    @property
    def longest(self) -> int:
        """The last epoch of a supernet: which networks are trained alone after it is not known before."""
        return self._starts[-1] - 1

    def _random(self) -> list[Genotype]:
        """Draw the first pool: different architectures, fewer where the space has not so many."""
        rng, found = random.Random(f"{self.budget.seed} pool"), dict[Genotype, None]()
        for _ in range(_DRAWS * self.config.pool):
            found[self.sample(rng)] = None
            if len(found) == self.config.pool:
                break
        return list(found)

    def _place(self, epoch: int) -> tuple[int, int, int]:
        """Return the iteration of an epoch, which epoch of it it is, and how many it has."""
        number = max(n for n in range(self.config.iterations) if self._starts[n] <= epoch)
        return number, epoch - self._starts[number], self._starts[number + 1] - self._starts[number]

    def _alone(self, epoch: int) -> bool:
        return epoch >= self._starts[-1]

    def begin_epoch(self, epoch: int) -> None:
        """Begin an iteration, or the training of one of the best few; set the learning rate and the dropped paths."""
        if self._alone(epoch):
            own = (epoch - self._starts[-1]) % self.config.final_epochs
            if own == 0:
                self.alone.begin()
            self.alone.begin_epoch(own, self.config.final_epochs)
            return
        iteration, own, length = self._place(epoch)
        if own == 0 and iteration and self.config.reinit == "all":
            self.restart(random.Random(f"{self.budget.seed} weights {iteration}").getrandbits(32))
        spent, of = (epoch, self._starts[-1]) if self.config.reinit == "none" else (own, length)
        set_rate(self.optimizer, self.budget.weights.rate(spent, of))
        self._drop(self.config.drop_path * (own + 1) / length)

    def _drop(self, probability: float) -> None:
        """Let paths of the last cell be dropped with that probability, of the others in proportion to their depth."""
        self.dropped = probability
        cells = [layer for layer in self.supernet.layers if isinstance(layer, MixedCell)]
        for number, cell in enumerate(cells, 1):
            cell.drop_path = probability * number / len(cells)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Train one architecture of the pool, or the network that is trained alone."""
        return super().step(batches) if self.alone.network is None else self.alone.step(batches["weights"])

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step from the pool."""
        return self.pool.draw(rng)

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Judge and make new architectures at the end of an iteration, or note how good the network alone is."""
        if self._alone(epoch):
            if (epoch + 1 - self._starts[-1]) % self.config.final_epochs == 0:
                self.alone.end(valid_accuracy)
            return {"alone": dict(zip(map(str, self.alone.architectures), self.alone.accuracies, strict=False))}
        iteration, own, length = self._place(epoch)
        return self._end_iteration(iteration) if own + 1 == length else {}

    def _end_iteration(self, iteration: int) -> Mapping[str, Any]:
        trained = len(self.pool.trained)
        self._judge(iteration)
        told: dict[str, Any] = {"iteration": iteration + 1, "known": len(self.pool.known), "trained": trained}
        if iteration + 1 == self.config.iterations:
            best = self.pool.ranked  # where they are fewer, they have their turn again, with other weights
            self.alone.architectures = [best[number % len(best)] for number in range(self.config.final)]
            return {"pool": told}
        return {"pool": told | dict(self._renew())}

    def _judge(self, iteration: int) -> None:
        """Judge all architectures so far by the supernet as it is."""
        config = self.config
        images = (500 if config.evaluation == "batch" else None) if config.eval_images is None else config.eval_images
        seed = f"{self.budget.seed} judging {iteration}" if config.evaluation == "batch" else None
        self.pool.judge(accuracies(self.supernet, list(self.pool.known), self.budget.validation_batches, images, seed))

    def _renew(self) -> Mapping[str, Any]:
        """Fit the controller to what is known, and let it make the next pool."""
        ranked = self.pool.ranked
        tokens = [self.sequences.encode(genotype) for genotype in ranked]
        report = self.controller.fit(tokens, [self.pool.known[genotype] or 0.0 for genotype in ranked])
        known = {self.sequences.canonical(own) for own in tokens}
        made = self.controller.generate(tokens, known, self.config.new, self.budget.allows)
        new = [self.sequences.decode(own) for own in made.tokens]
        self.pool.begin(new or ranked[: self.config.new])  # where all that there are are known, the best of them
        return {"controller": asdict(report) | {"drawn_at_random": made.drawn}}

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits of the architecture that was trained last, or of the network that is trained alone."""
        return super().predict(x) if self.alone.network is None else self.alone.predict(x)

    @property
    def best(self) -> Genotype:
        """The architecture that is best so far: of those trained alone, if there is one, otherwise by the supernet."""
        return self.alone.best or self.pool.best

    def op_scores(self) -> dict[str, Tensor]:
        """Return the best architecture so far, one-hot."""
        return {kind: edges.weights for kind, edges in self.supernet.only(self.best).items()}

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype]:
        """Return random ones of the architectures that this supernet was trained on, and then of the others."""
        trained = rng.sample(self.pool.trained, len(self.pool.trained))
        own = set(trained)
        others = [genotype for genotype in self.pool.known if genotype not in own]
        return [*trained, *rng.sample(others, len(others))][:count]

    def state_dict(self) -> dict[str, Any]:
        """Add the pool, the controller, the networks trained alone, and how many paths are dropped."""
        own: dict[str, Any] = {"pool": self.pool.state_dict(), "controller": self.controller.state_dict()}
        own |= {"alone": self.alone.state_dict(), "dropped": self.dropped}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.pool.load_state_dict(state["pool"])
        self.controller.load_state_dict(state["controller"])
        self.alone.load_state_dict(state["alone"])
        self._drop(state["dropped"])
