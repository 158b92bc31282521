"""Time of an update of zarts-mgs, for three ways to run its lookahead: 4 candidates, 10 steps of the weights each.

    python benchmarks/trials.py
    python benchmarks/trials.py --device cuda --width 16 --depth 5 --size 32

- loop: one candidate after the other, in this process.
- workers: the same candidates spread over two processes, on a CPU each with half of the threads.
- stacked: all candidates at once by torch.func.vmap over stacked weights, on the reference engine, since vmap cannot
  trace the fused one. The package does not include this way; it is measured here to show what it would bring.

Before anything is timed, the losses of the candidates are compared; all ways must agree to a hundredth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

import supernet as sn
from sides import check_same, milliseconds, plain, table, take_turns, where
from supernet.data import Batch
from supernet.engine.memory import keep_freed_memory
from supernet.engine.optim import SGDConfig
from supernet.models.lookahead import Lookahead
from supernet.models.mix import Mix, dense
from supernet.models.supernet import traceless
from supernet.spaces.modules import Norm

STEPS, CANDIDATES, SETTINGS = 10, 4, SGDConfig()
INNER, JUDGED = 48, 64  # images in a batch
HEAD = ("lookahead", "median", "10 to 90 %", "times the loop", "n")
Stacked = Mapping[str, Tensor]


class Update:
    """The computations of an update of MGS: the gradient of alpha, and the losses of the candidates."""

    def __init__(self, given: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(given.device)
        space, network_size = sn.space(given.space), sn.NetworkSize(given.width, given.depth, (given.size, given.size))
        supernet = sn.Supernet(space, network_size, Norm(affine=False)).to(self.device)
        self.supernet = supernet.to(memory_format=torch.channels_last)
        self.optimizer = SETTINGS.optimizer(self.supernet.parameters())
        self.valid, *self.inner = (self._batch(count, network_size) for count in (JUDGED, *[INNER] * STEPS))
        cells = space.cells.items()
        self.mixes = [
            dense({k: torch.rand(len(c.edges), c.columns, device=self.device).softmax(1) for k, c in cells})
            for _ in range(CANDIDATES)
        ]

    def _batch(self, count: int, network_size: sn.NetworkSize) -> Batch:
        x = torch.randn(count, network_size.channels, *network_size.image_size).to(memory_format=torch.channels_last)
        y = torch.randint(network_size.classes, (count,))
        return Batch(x.to(self.device), y.to(self.device), torch.arange(count))

    def gradient(self) -> None:
        """Compute the gradient of alpha, here of the op weights."""
        weights = {kind: edges.weights.clone().requires_grad_() for kind, edges in self.mixes[0].items()}
        logits = traceless(self.supernet, self.valid.x, dense(weights))
        torch.autograd.grad(F.cross_entropy(logits, self.valid.y), list(weights.values()))

    def whole(self, losses: Callable[[], Tensor]) -> Tensor:
        """Run a whole update in which `losses` computes the losses of the candidates."""
        self.gradient()
        return losses()

    def tried(self, trials: Lookahead) -> Tensor:
        """Return the losses of the candidates, computed by the package's lookahead."""
        return trials.losses(self.optimizer, self.mixes, self.inner, self.valid, seed=0)

    def stacked(self) -> Tensor:
        """Return the losses of the candidates, all computed at once."""
        self.supernet.engine = "reference"
        weights, buffers = (_repeated(dict(found)) for found in (self.supernet.named_parameters(), self._buffers()))
        mixes = {kind: torch.stack([mix[kind].weights for mix in self.mixes]) for kind in self.mixes[0]}
        momenta = {name: torch.zeros_like(value) for name, value in weights.items()}
        slopes = vmap(grad(self._loss), in_dims=(0, 0, 0, None, None))
        with torch.no_grad():
            for batch in self.inner:
                found = slopes(weights, buffers, mixes, batch.x, batch.y)
                _step(weights, momenta, found)
            losses: Tensor = vmap(self._loss, in_dims=(0, 0, 0, None, None))(
                weights, buffers, mixes, self.valid.x, self.valid.y
            )
        self.supernet.engine = "fused"
        return losses

    def _buffers(self) -> Sequence[tuple[str, Tensor]]:
        return list(self.supernet.named_buffers())

    def _loss(self, weights: Stacked, buffers: Stacked, mix: Stacked, x: Tensor, y: Tensor) -> Tensor:
        given: Mix = dense(mix)
        with patch("supernet.models.mixed_cell.zeros", _zeros):
            return F.cross_entropy(functional_call(self.supernet, {**weights, **buffers}, (x, given)), y)


def _zeros(x: Tensor, channels: int, stride: int) -> Tensor:
    """Return zeros without a look at the memory format, which the package's own function needs and vmap hides."""
    return torch.zeros(x.shape[0], channels, -(-x.shape[2] // stride), -(-x.shape[3] // stride), device=x.device)


def _repeated(values: Stacked) -> dict[str, Tensor]:
    return {name: torch.stack([value.detach()] * CANDIDATES) for name, value in values.items()}


def _step(weights: Stacked, momenta: Stacked, slopes: Stacked) -> None:
    """Take an SGD step for each candidate, with the gradient clipped by the candidate's own norm."""
    squares = sum(slope.flatten(1).square().sum(1) for slope in slopes.values())
    assert isinstance(squares, Tensor)
    shares = (SETTINGS.clip / (squares.sqrt() + 1e-6)).clamp(max=1)
    for name, weight in weights.items():
        share = shares.view(-1, *[1] * (weight.dim() - 1))
        momenta[name].mul_(SETTINGS.momentum).add_(slopes[name] * share + SETTINGS.weight_decay * weight)
        weight.sub_(SETTINGS.lr * momenta[name])


def line(name: str, times: Sequence[float], loop: Sequence[float]) -> list[str]:
    low, middle, high = np.percentile(times, [10, 50, 90])
    ratio = np.median(np.array(times) / np.array(loop))
    return [name, f"{middle:.0f} ms", f"{low:.0f} to {high:.0f}", f"{ratio:.2f}", str(len(times))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    given = parser.parse_args()
    keep_freed_memory()
    update = Update(given)
    print(where(update.device))
    ways: dict[str, Callable[[], Tensor]] = {
        "loop": partial(update.tried, Lookahead(update.supernet, SETTINGS)),
        "2 workers": partial(update.tried, Lookahead(update.supernet, SETTINGS, workers=2)),
        "stacked": update.stacked,
    }
    check_same({name: {"losses": plain(losses())} for name, losses in ways.items()}, tolerance=1e-2)
    asks = {name: partial(milliseconds, partial(update.whole, way), update.device, 0.0) for name, way in ways.items()}
    times = take_turns(asks, 3 if given.quick else given.rounds)
    print(table([line(name, own, times["loop"]) for name, own in times.items()], HEAD))


if __name__ == "__main__":
    main()
