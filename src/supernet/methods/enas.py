"""ENAS: a controller draws the architectures that share weights, and learns from their accuracy by REINFORCE.

Pham et al., ICML 2018, arXiv 1802.03268, as in NAS-Bench-201 (Dong & Yang, ICLR 2020). Every step trains the weights on
an architecture that the controller draws. After the pass over the images the controller is updated `updates` times,
each time from `samples` architectures:

    R = accuracy on a batch of the second half + entropy_weight * entropy
    b <- b - (1 - decay) (b - R),   loss = mean of -log pi(a) (R - b)

In the end architectures drawn by the controller are judged by the supernet (`best-of-samples`).

Differences from released code. The baseline is the moving average of the paper; there it is the epoch before's average.
R is a number, as in the paper's code; there its entropy has a gradient, too. The architectures of one update are judged
on the same batch. The controller's batches are not augmented.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import clip_gradient
from supernet.engine.seeds import seeded
from supernet.errors import UserError, at_least
from supernet.methods.base import Budget
from supernet.methods.enas_policy import Policy
from supernet.methods.single_path import SinglePath
from supernet.models.evaluate import Scorer, Statistics, check_norm
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences


@dataclass(frozen=True)
class ENASConfig:
    """Settings of ENAS."""

    updates: int = 50
    """updates of the controller after each epoch"""
    samples: int = 20
    """architectures that an update averages over"""
    controller_lr: float = 1e-3
    """learning rate of the controller's Adam"""
    entropy_weight: float = 1e-4
    """what entropy is worth beside accuracy (0 to 1)"""
    decay: float = 0.99
    """of the moving average that rewards are compared with"""
    clip: float = 5.0
    """largest norm of the controller's gradient; 0 does not clip"""
    norm: Statistics = "batch"
    """batch norm takes the statistics of the batch when an architecture is judged, or its running ones"""

    def __post_init__(self) -> None:
        at_least(1, updates=self.updates, samples=self.samples)
        at_least(0, controller_lr=self.controller_lr, entropy_weight=self.entropy_weight, clip=self.clip)
        if not 0 <= self.decay < 1:
            raise UserError(f"setting decay must be at least 0 and less than 1, not {self.decay}")


class ENAS(SinglePath):
    """Paths drawn by a controller that is rewarded for their accuracy."""

    Config = ENASConfig
    ranks = False
    between_epochs = "the controller's updates after each epoch"
    config: ENASConfig

    def __init__(self, config: ENASConfig, supernet: Supernet, budget: Budget) -> None:
        self.sequences = Sequences(supernet.space)
        self.generator = torch.Generator().manual_seed(budget.seed)
        with seeded(budget.seed):
            self.policy = Policy(self.sequences)
        self.controller = torch.optim.Adam(self.policy.parameters(), config.controller_lr, betas=(0.0, 0.999), eps=1e-3)
        self.baseline = 0.0
        super().__init__(config, supernet, budget)
        check_norm(config.norm, tracked=supernet.norm.track)

    def draw(self, rng: random.Random) -> Genotype:
        """Let the controller draw the architecture of a step."""
        return self._drawn(1, rng)[0]

    @torch.no_grad()
    def _drawn(self, count: int, rng: random.Random) -> list[Genotype]:
        generator = torch.Generator().manual_seed(rng.getrandbits(63))
        return [self.sequences.decode(tokens) for tokens in self.policy.draw(count, generator).tokens]

    def proposals(self, count: int, rng: random.Random) -> Sequence[Genotype]:
        """Return architectures that the controller draws."""
        return self._drawn(count, rng)

    def op_scores(self) -> dict[str, Tensor]:
        """Return how often the controller draws each operation, of 100 architectures."""
        mixes = [self.supernet.only(g) for g in self._drawn(100, random.Random(f"{self.budget.seed} strength"))]
        return {kind: torch.stack([mix[kind].weights for mix in mixes]).mean(0) for kind in mixes[0]}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Update the controller; return the mean accuracy that it was rewarded for, and the baseline."""
        batches, rewards = list(self.budget.validation_batches()), list[float]()
        for update in range(self.config.updates):
            chosen = random.Random(f"{self.budget.seed} update {epoch} {update}").choice(batches)
            rewards += self.update(chosen)
        tried = (epoch + 1) * self.config.updates * self.config.samples
        passes = {"forward_backward": self.steps, "forward": tried}
        return {"reward": fmean(rewards), "baseline": self.baseline, "passes": passes}

    def update(self, batch: Batch) -> list[float]:
        """Take one step of the controller; return the accuracies of the architectures that it is rewarded for."""
        drawn = self.policy.draw(self.config.samples, self.generator)
        mixes: list[Mix] = [self.supernet.only(self.sequences.decode(tokens)) for tokens in drawn.tokens]
        scorer = Scorer(self.supernet, lambda: [batch], running=self.config.norm == "running", timed=False)
        found = scorer(mixes).accuracy
        entropies = drawn.entropy.detach().tolist()
        rewards = [a + self.config.entropy_weight * h for a, h in zip(found, entropies, strict=True)]
        loss = -(drawn.log_probability * torch.tensor([self._advantage(reward) for reward in rewards])).mean()
        self.controller.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradient(self.policy.parameters(), self.config.clip)
        self.controller.step()
        return found

    def _advantage(self, reward: float) -> float:
        """Return by how much a reward is above the baseline, which it moves first."""
        self.baseline -= (1 - self.config.decay) * (self.baseline - reward)
        return reward - self.baseline

    def state_dict(self) -> dict[str, Any]:
        """Add the controller with its optimizer, the baseline, and the state of what is drawn."""
        own = {"policy": self.policy.state_dict(), "controller": self.controller.state_dict()}
        return super().state_dict() | own | {"baseline": self.baseline, "draws": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
        self.controller.load_state_dict(state["controller"])
        self.baseline = state["baseline"]
        self.generator.set_state(state["draws"])
