"""The training of NAO's controller on a pool of architectures with accuracies.

    loss = c MSE(predicted, y) + (1 - c) NLL(tokens),     y = (a - a_min) / (a_max - a_min)

with c the trade-off and the NLL averaged over the tokens. Part of the pool is held out and reported on. Each of the
other architectures is joined by copies in equivalent notations, each rewritten from the original.

Difference from released code: a pair of equal accuracies has no order and counts neither as right nor as wrong.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.engine.optim import clip_gradient
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.methods.nao.model import EncoderPredictorDecoder
from supernet.models.rank_metrics import pairwise
from supernet.spaces.tokens import Sequences, Tokens


@dataclass(frozen=True)
class Report:
    """The result of a training: its last epoch, and the architectures held out, None if these are too few."""

    trained: int  # architectures trained on, copies not counted
    held_out: int
    loss: float
    mse: float
    nll: float
    pairwise: float | None  # share of the pairs of held-out architectures that are predicted in the right order
    hamming: float | None  # share of the tokens of held-out architectures that are reconstructed wrongly


def train(
    model: EncoderPredictorDecoder,
    sequences: Sequences,
    config: ControllerConfig,
    pool: Sequence[tuple[Tokens, float]],
    rng: random.Random,
) -> Report:
    """Train `model` on pairs (tokens, accuracy); dropout draws from torch's global state, the rest from `rng`."""
    tokens, accuracies = zip(*rng.sample(pool, len(pool)), strict=True)
    targets = normalised(accuracies)
    held_out = int(config.held_out * len(pool))
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
    last = torch.zeros(3)
    for batches in _epochs(tokens[held_out:], targets[held_out:], sequences, config, rng):
        last = _mean([_step(model, optimizer, x, y, config) for x, y in batches])
    model.eval()
    loss, mse, nll = last.tolist()
    quality = evaluate(model, sequences, tokens[:held_out], targets[:held_out])
    return Report(len(pool) - held_out, held_out, loss, mse, nll, *quality)


def normalised(accuracies: Sequence[float]) -> Tensor:
    """Return the accuracies scaled to 0 for the lowest and 1 for the highest; 0.5 if all are equal."""
    values = torch.tensor(accuracies, dtype=torch.float64)
    low, high = values.aminmax()
    scaled = (values - low) / (high - low) if high > low else torch.full_like(values, 0.5)
    return scaled.float()


_Batches = list[tuple[Tensor, Tensor]]


def _epochs(
    tokens: Sequence[Tokens], targets: Tensor, sequences: Sequences, config: ControllerConfig, rng: random.Random
) -> Iterator[_Batches]:
    """Yield the shuffled batches (tokens, targets) of every epoch."""
    copies = (config.expand or 1) - 1 if sequences.symmetric else 0
    rows = [*tokens, *(sequences.rewritten(original, rng) for original in tokens for _ in range(copies))]
    x, y = torch.tensor(rows), torch.cat([targets, targets.repeat_interleave(copies)])
    shuffle = torch.Generator().manual_seed(rng.getrandbits(62))
    for _ in range(config.epochs):
        if config.expand is None and sequences.symmetric:
            x = torch.tensor([sequences.rewritten(original, rng) for original in tokens])
        order = torch.split(torch.randperm(len(x), generator=shuffle), config.batch_size)
        yield [(x[indices], y[indices]) for indices in order]


def _step(
    model: EncoderPredictorDecoder, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, config: ControllerConfig
) -> Tensor:
    """Take a step; return loss, MSE and NLL, and the number of architectures that they are averaged over."""
    states = model.encode(x)
    mse = F.mse_loss(model.predict(states), y)
    nll = F.cross_entropy(model.reconstruct(states, x).flatten(0, 1), x.flatten())
    loss = config.trade_off * mse + (1 - config.trade_off) * nll
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    clip_gradient(model.parameters(), config.clip)
    optimizer.step()
    return torch.stack([loss, mse, nll, torch.tensor(float(len(x)))]).detach()


def _mean(steps: Sequence[Tensor]) -> Tensor:
    """Return the means of loss, MSE and NLL over all architectures of the steps."""
    rows = torch.stack(list(steps))
    return (rows[:, :3] * rows[:, 3:]).sum(0) / rows[:, 3].sum()


@torch.no_grad()
def evaluate(
    model: EncoderPredictorDecoder, sequences: Sequences, tokens: Sequence[Tokens], targets: Tensor
) -> tuple[float | None, float | None]:
    """Return the share of pairs in the right order and the share of tokens that are reconstructed wrongly."""
    if not tokens:
        return None, None
    states = model.encode(torch.tensor(tokens))
    wrong = torch.tensor(tokens) != torch.tensor(model.decode(states, sequences))
    ordered = pairwise(model.predict(states).tolist(), targets.tolist())
    return None if math.isnan(ordered) else ordered, float(wrong.float().mean())
