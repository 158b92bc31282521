"""Standalone training: architectures are trained one after another, each as a plain network from new weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import clip_gradient
from supernet.engine.processes import average_gradients, average_statistics
from supernet.engine.seeds import seeded
from supernet.methods.base import Budget
from supernet.methods.nao.config import StandaloneConfig
from supernet.models.evaluate import LossOf, measures
from supernet.models.network import Network
from supernet.models.shared_norm import share_norms
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize


class StandaloneTraining:
    """Trains the networks of `architectures`, one at a time, and keeps the accuracies of those that are finished.

    The initial weights of network n are drawn from the budget's seed + n. `network` is None between two architectures.
    """

    def __init__(
        self,
        space: SearchSpace,
        network_size: NetworkSize,
        config: StandaloneConfig,
        budget: Budget,
        loss_of: LossOf,
        like: Tensor,
    ) -> None:
        self.space, self.network_size, self.config = space, network_size, config
        self.budget, self.loss_of, self.like = budget, loss_of, like
        self.architectures: list[Genotype] = []
        self.accuracies: list[float] = []
        self.network: Network | None = None

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Begin epoch `epoch` of a network's `epochs`: build the network if it is the first; set its drop-path."""
        if epoch == 0:
            self._build()
        assert self.network is not None
        self.network.drop_path = self.config.drop_path * (epoch + 1) / epochs

    def _build(self) -> None:
        """Build the network of the next architecture and its optimizer."""
        number = len(self.accuracies)
        genotype, auxiliary = self.architectures[number], bool(self.config.auxiliary)
        with seeded(self.budget.seed + number, self.like.device):
            network = Network(self.space, genotype, self.network_size, auxiliary=auxiliary)
        network.to(self.like.device, self.like.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.dropout = self.config.dropout
        if self.budget.norm_shared:
            share_norms(network)
        self.network, self.optimizer = network, self.budget.weights.optimizer(network.parameters())

    def end(self, accuracy: float) -> None:
        """Keep the accuracy of the finished network and release the network."""
        self.accuracies.append(accuracy)
        self.network = None

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Train the network on a batch."""
        network = self.network
        assert network is not None
        logits, auxiliary = network.both(batch.x) if self.config.auxiliary else (network(batch.x), None)
        loss = self.loss_of(logits, batch.y)
        total = loss if auxiliary is None else loss + self.config.auxiliary * self.loss_of(auxiliary, batch.y)
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        average_gradients(network.parameters)
        average_statistics(network)
        clip_gradient(network.parameters(), self.budget.weights.clip)
        self.optimizer.step()
        return measures(loss, logits, batch)

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of the network in evaluation mode."""
        assert self.network is not None
        logits: Tensor = self.network.eval()(x)
        self.network.train()
        return logits

    @property
    def best(self) -> Genotype | None:
        """The most accurate finished architecture; None before the first."""
        finished = range(len(self.accuracies))
        return self.architectures[max(finished, key=self.accuracies.__getitem__)] if finished else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a run resumes exactly."""
        state: dict[str, Any] = {"architectures": list(map(str, self.architectures)), "accuracies": self.accuracies}
        if self.network is not None:
            state |= {
                "drop_path": self.network.drop_path,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        self.architectures = [self.space.parse(text) for text in state["architectures"]]
        self.accuracies = list(state["accuracies"])
        self.network = None
        if "network" in state:
            self._build()
            assert self.network is not None
            self.network.drop_path = state["drop_path"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
