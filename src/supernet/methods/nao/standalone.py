"""Architectures trained alone, one after the other, each as a plain network from newly drawn weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import SGDConfig, clip_gradient, set_rate
from supernet.engine.seeds import seeded
from supernet.methods.base import measures
from supernet.methods.nao.config import StandaloneConfig
from supernet.models.network import Network
from supernet.spaces.genotype import Genotype
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize


class StandaloneTraining:
    """A network of one of the `architectures` at a time, and the accuracies of those that are done.

    The network of number n has the weights of `seed` and n, whenever it is made.
    """

    def __init__(
        self,
        space: SearchSpace,
        network_size: NetworkSize,
        config: StandaloneConfig,
        weights: SGDConfig,
        seed: int,
        like: Tensor,
    ) -> None:
        self.space, self.network_size, self.config, self.how, self.seed, self.like = (
            space,
            network_size,
            config,
            weights,
            seed,
            like,
        )
        self.architectures: list[Genotype] = []
        self.accuracies: list[float] = []
        self.network: Network | None = None

    def begin(self) -> None:
        """Make the network of the architecture whose turn it is, and its optimizer."""
        number = len(self.accuracies)
        with seeded(self.seed + number, self.like.device):
            made = Network(
                self.space, self.architectures[number], self.network_size, auxiliary=bool(self.config.auxiliary)
            )
        made.to(self.like.device, self.like.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        made.dropout = self.config.dropout
        self.network, self.optimizer = made, self.how.optimizer(made.parameters())

    def end(self, accuracy: float) -> None:
        """Note how good the network has become, and let go of it."""
        self.accuracies.append(accuracy)
        self.network = None

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Set the learning rate, and how many paths are dropped, of an epoch of the network's own."""
        assert self.network is not None
        set_rate(self.optimizer, self.how.rate(epoch, epochs))
        self.network.drop_path = self.config.drop_path * (epoch + 1) / epochs

    def step(self, batch: Batch) -> Mapping[str, Tensor]:
        """Train the network on a batch."""
        network = self.network
        assert network is not None
        logits, extra = network.both(batch.x) if self.config.auxiliary else (network(batch.x), None)
        own = F.cross_entropy(logits, batch.y)
        loss = own if extra is None else own + self.config.auxiliary * F.cross_entropy(extra, batch.y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_gradient(network.parameters(), self.how.clip)
        self.optimizer.step()
        return measures(own, logits, batch)

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits of the network, with its running statistics."""
        assert self.network is not None
        logits: Tensor = self.network.eval()(x)
        self.network.train()
        return logits

    @property
    def best(self) -> Genotype | None:
        """The most accurate of those that are done; None before there is one."""
        done = range(len(self.accuracies))
        return self.architectures[max(done, key=self.accuracies.__getitem__)] if done else None

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on exactly."""
        state: dict[str, Any] = {"architectures": list(map(str, self.architectures)), "accuracies": self.accuracies}
        if self.network is not None:
            state |= {
                "drop_path": self.network.drop_path,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.architectures = [self.space.parse(text) for text in state["architectures"]]
        self.accuracies = list(state["accuracies"])
        self.network = None
        if "network" in state:
            self.begin()
            assert self.network is not None
            self.network.drop_path = state["drop_path"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
