"""ENAS: a controller draws one architecture per step and learns from the accuracies by REINFORCE.

Pham et al., ICML 2018, arXiv 1802.03268, as in NAS-Bench-201 (Dong & Yang, ICLR 2020). Every step trains the weights of
an architecture that the controller draws. After each pass over the training images the controller is updated `updates`
times, each time from `samples` architectures:

    R = accuracy on a batch of validation images + entropy_weight * entropy - penalty of targets
    b <- b - (1 - decay) (b - R),   loss = mean of -log pi(a) (R - b)

The penalty, 0 without targets, is of the architecture's own cost (see `supernet.models.cost.targets`). At the end the
supernet evaluates architectures that the controller draws (`best-of-samples`).

Differences from released code. The baseline is the paper's moving average; there each reward has a baseline of its own,
1 % of the way from the one that the epoch began with to the reward, the last of which begins the next epoch; in the
first epoch it is the reward's own accuracy. R is a constant, as in the paper's code; there its entropy has a gradient,
too. All architectures of an update are evaluated on the same batch, with its statistics of batch norm (`norm`); there
the network is in evaluation mode. The controller's batches are not augmented.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cached_property
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import clip_gradient
from supernet.engine.seeds import seeded
from supernet.methods.base import Budget
from supernet.methods.enas_policy import ControllerPolicy
from supernet.methods.single_path import SinglePath
from supernet.models.evaluate import Scorer, Statistics, check_norm
from supernet.models.supernet import Supernet
from supernet.settings import Count, Real, Share, settings
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences


@settings
class ENASConfig:
    """Settings of ENAS."""

    updates: Count = 50
    """updates of the controller after each epoch"""
    samples: Count = 20
    """architectures per update of the controller"""
    controller_lr: Real = 1e-3
    """learning rate of the controller's Adam"""
    entropy_weight: Real = 1e-4
    """weight of the entropy in the reward; the accuracy (0 to 1) has weight 1"""
    decay: Share = 0.99
    """decay of the moving average of rewards"""
    clip: Real = 5.0
    """largest norm of the controller's gradient; 0 does not clip"""
    norm: Statistics = "batch"
    """statistics of batch normalisation when the controller's architectures are evaluated"""


class ENAS(SinglePath):
    """Trains paths that a controller draws, and the controller on their accuracies."""

    Config = ENASConfig
    ranks = False
    aims = True
    between_epochs = "the controller's updates after each epoch"
    config: ENASConfig

    def __init__(self, config: ENASConfig, supernet: Supernet, budget: Budget) -> None:
        self.sequences = Sequences(supernet.space)
        self.generator = torch.Generator().manual_seed(budget.seed)
        with seeded(budget.seed):
            self.policy = ControllerPolicy(self.sequences)
        self.controller = torch.optim.Adam(self.policy.parameters(), config.controller_lr, betas=(0.0, 0.999), eps=1e-3)
        self.baseline = 0.0
        super().__init__(config, supernet, budget)
        check_norm(config.norm, tracked=supernet.norm.track)

    def draw(self, rng: random.Random) -> Genotype:
        """Draw the architecture of a step from the controller."""
        return self.proposals(1, rng)[0]

    @torch.no_grad()
    def proposals(self, count: int, rng: random.Random) -> list[Genotype]:
        """Draw `count` architectures from the controller."""
        generator = torch.Generator().manual_seed(rng.getrandbits(63))
        return [self.sequences.decode(tokens) for tokens in self.policy.draw(count, generator).tokens]

    def op_scores(self) -> dict[str, Tensor]:
        """Return the share of 100 architectures from the controller that have each operation."""
        mixes = [self.supernet.only(g) for g in self.proposals(100, random.Random(f"{self.budget.seed} strength"))]
        return {kind: torch.stack([mix[kind].weights for mix in mixes]).mean(0) for kind in mixes[0]}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Update the controller; report the mean accuracy of its architectures and the baseline."""
        seeds = (f"{self.budget.seed} update {epoch} {update}" for update in range(self.config.updates))
        drawn = [random.Random(seed).randrange(self._count) for seed in seeds]
        kept, accuracies = set(drawn), list[float]()  # only these batches are held: all may take much memory
        batches = {number: batch for number, batch in enumerate(self.budget.validation_batches()) if number in kept}
        for number in drawn:
            accuracies += self.update(batches[number])
        evaluated = (epoch + 1) * self.config.updates * self.config.samples
        passes = {"forward_backward": self.steps, "forward": evaluated}
        return {"reward": fmean(accuracies), "baseline": self.baseline, "passes": passes}

    @cached_property
    def _count(self) -> int:
        """The number of batches of validation images; counted once, since these may have to be read from disk."""
        return sum(1 for _ in self.budget.validation_batches())

    def update(self, batch: Batch) -> list[float]:
        """Take one step of the controller; return the accuracies of its architectures on `batch`."""
        drawn = self.policy.draw(self.config.samples, self.generator)
        mixes = [self.supernet.only(self.sequences.decode(tokens)) for tokens in drawn.tokens]
        accuracies = Scorer(self.supernet, lambda: [batch], self.config.norm)(mixes).accuracy
        penalties = [self.budget.targets.excess(mix) if self.budget.targets else 0.0 for mix in mixes]
        terms = zip(accuracies, drawn.entropy.detach().tolist(), penalties, strict=True)
        rewards = [a + self.config.entropy_weight * entropy - penalty for a, entropy, penalty in terms]
        advantages = torch.tensor([self._advantage(reward) for reward in rewards])
        if drawn.log_probability.requires_grad:  # in a space of one architecture there is nothing to decide
            self._learn(-(drawn.log_probability * advantages).mean())
        return accuracies

    def _learn(self, loss: Tensor) -> None:
        """Take one step of the controller down the loss."""
        self.controller.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradient(self.policy.parameters(), self.config.clip)
        self.controller.step()

    def _advantage(self, reward: float) -> float:
        """Move the baseline towards `reward` and return by how much the reward exceeds it."""
        self.baseline -= (1 - self.config.decay) * (self.baseline - reward)
        return reward - self.baseline

    def state_dict(self) -> dict[str, Any]:
        """Add the controller, its optimizer, the baseline and the random state."""
        return super().state_dict() | {
            "policy": self.policy.state_dict(),
            "controller": self.controller.state_dict(),
            "baseline": self.baseline,
            "draws": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
        self.controller.load_state_dict(state["controller"])
        self.baseline = state["baseline"]
        self.generator.set_state(state["draws"])
