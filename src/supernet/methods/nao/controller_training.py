"""The training of NAO's controller on a pool of architectures with accuracies.

    loss = c MSE(predicted, y) + (1 - c) NLL(tokens),     y = (a - a_min) / (a_max - a_min)

with c the trade-off, and the NLL a mean over the tokens. Some of the pool is held out and reported on. Every other
architecture comes with copies of itself that are written otherwise and mean the same, each made from the original.

Difference from released code: pairs that are equal in accuracy have no order and are not counted as right or wrong.
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
    """How a training went: its last epoch, and the architectures held out; None where these are too few."""

    trained: int  # architectures trained on, copies not counted
    held_out: int
    loss: float
    mse: float
    nll: float
    pairwise: float | None  # share of the pairs held out that are predicted in the right order
    hamming: float | None  # share of the tokens held out that are reconstructed as others


def train(
    model: EncoderPredictorDecoder,
    sequences: Sequences,
    settings: ControllerConfig,
    pool: Sequence[tuple[Tokens, float]],
    rng: random.Random,
) -> Report:
    """Train `model` on (tokens, accuracy); dropout is drawn from torch's global state, all else from `rng`."""
    tokens, accuracies = zip(*rng.sample(pool, len(pool)), strict=True)
    targets = normalised(accuracies)
    held = int(settings.held_out * len(pool))
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    last = torch.zeros(3)
    for batches in _epochs(tokens[held:], targets[held:], sequences, settings, rng):
        last = _mean([_step(model, optimizer, x, y, settings) for x, y in batches])
    model.eval()
    loss, mse, nll = last.tolist()
    judged = judge(model, sequences, tokens[:held], targets[:held])
    return Report(len(pool) - held, held, loss, mse, nll, *judged)


def normalised(accuracies: Sequence[float]) -> Tensor:
    """Return the accuracies as 0 to 1 from the lowest to the highest; 0.5 if all are equal."""
    found = torch.tensor(accuracies, dtype=torch.float64)
    low, high = found.aminmax()
    scaled = (found - low) / (high - low) if high > low else torch.full_like(found, 0.5)
    return scaled.float()


_Batches = list[tuple[Tensor, Tensor]]


def _epochs(
    tokens: Sequence[Tokens], targets: Tensor, sequences: Sequences, settings: ControllerConfig, rng: random.Random
) -> Iterator[_Batches]:
    """Yield the batches of every epoch, shuffled."""
    copies = (settings.expand or 1) - 1 if sequences.symmetric else 0
    rows = [*tokens, *(sequences.rewritten(one, rng) for one in tokens for _ in range(copies))]
    x, y = torch.tensor(rows), torch.cat([targets, targets.repeat_interleave(copies)])
    shuffle = torch.Generator().manual_seed(rng.getrandbits(62))
    for _ in range(settings.epochs):
        if settings.expand is None and sequences.symmetric:
            x = torch.tensor([sequences.rewritten(one, rng) for one in tokens])
        order = torch.split(torch.randperm(len(x), generator=shuffle), settings.batch_size)
        yield [(x[some], y[some]) for some in order]


def _step(
    model: EncoderPredictorDecoder, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, settings: ControllerConfig
) -> Tensor:
    """Take a step; return the loss and its two parts, and how many architectures they are the means of."""
    states = model.encode(x)
    mse = F.mse_loss(model.predict(states), y)
    nll = F.cross_entropy(model.reconstruct(states, x).flatten(0, 1), x.flatten())
    loss = settings.trade_off * mse + (1 - settings.trade_off) * nll
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    clip_gradient(model.parameters(), settings.clip)
    optimizer.step()
    return torch.stack([loss, mse, nll, torch.tensor(float(len(x)))]).detach()


def _mean(steps: Sequence[Tensor]) -> Tensor:
    found = torch.stack(list(steps))
    return (found[:, :3] * found[:, 3:]).sum(0) / found[:, 3].sum()


@torch.no_grad()
def judge(
    model: EncoderPredictorDecoder, sequences: Sequences, tokens: Sequence[Tokens], targets: Tensor
) -> tuple[float | None, float | None]:
    """Return the share of pairs in the right order, and the share of tokens reconstructed as others."""
    if not tokens:
        return None, None
    states = model.encode(torch.tensor(tokens))
    wrong = torch.tensor(tokens) != torch.tensor(model.decode(states, sequences))
    ordered = pairwise(model.predict(states).tolist(), targets.tolist())
    return None if math.isnan(ordered) else ordered, float(wrong.float().mean())
