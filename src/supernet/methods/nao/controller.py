"""Controller: trained on a pool, it leads from its best architectures to new ones that should be better.

With e the states of one of the best, f the predicted accuracy and E the embedding of the whole (see `model`),

    G_t = d f(E) / d e_t,     e'_t = e_t + s G_t, to length 1,     E' = mean_t e'_t, to length 1

and e', E' are decoded; the steps s are 1, 2, 3, ..., each for all of the best, until enough are new.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.engine.seeds import seeded
from supernet.errors import UserError
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.methods.nao.controller_training import Report, train
from supernet.methods.nao.model import EncoderPredictorDecoder
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences, Tokens

_TRIES = 1000  # random architectures per missing one, before it is given up


@dataclass(frozen=True)
class Generated:
    """New architectures, in the order in which they were found."""

    tokens: tuple[Tokens, ...]
    drawn: int  # how many of them, the last ones, were drawn at random, as the controller led to too few
    step: int  # the largest step along the gradient


class Controller:
    """Encodes, predicts and decodes the architectures of `sequences`; the same `seed` gives the same numbers."""

    def __init__(self, sequences: Sequences, settings: ControllerConfig, seed: int) -> None:
        self.sequences, self.settings, self.seed = sequences, settings, seed
        self.trainings = 0
        self.model = self._new_model()

    def _new_model(self) -> EncoderPredictorDecoder:
        with seeded(self._rng("weights").getrandbits(62)):
            return EncoderPredictorDecoder(self.sequences.vocabulary, self.settings).eval()

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed} {purpose} {self.trainings}")

    def fit(self, tokens: Sequence[Tokens], accuracies: Sequence[float]) -> Report:
        """Train on architectures and their accuracies, in any unit; raises UserError without any."""
        if not tokens:
            raise UserError("a controller needs at least one architecture to be trained on")
        if self.settings.start == "fresh":
            self.model = self._new_model()
        rng = self._rng("training")
        self.trainings += 1
        with seeded(rng.getrandbits(62)):
            return train(self.model, self.sequences, self.settings, list(zip(tokens, accuracies, strict=True)), rng)

    @torch.no_grad()
    def predict(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return the accuracies predicted, 0 to 1 from the worst to the best trained on, shape (len(tokens),)."""
        return self.model.predict(self.model.encode(torch.tensor(tokens)))

    @torch.no_grad()
    def reconstruct(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        """Return what the architectures are decoded to without a step."""
        return self.model.decode(self.model.encode(torch.tensor(tokens)), self.sequences)

    def generate(
        self,
        pool: Sequence[Tokens],
        known: Collection[Tokens],
        count: int,
        accept: Callable[[Genotype], bool] | None = None,
    ) -> Generated:
        """Return `count` architectures whose canonical forms are not among `known`, and that `accept` says yes to.

        `pool` has the best first. Where the controller leads to too few, random ones follow; there are fewer than
        `count` only if these, too, are not to be found.
        """
        novel, step = _Novel(self.sequences, set(known), count, accept), 0
        for better in self.improved(pool[: self.settings.top]):
            step += 1
            novel.take(better)
            if not novel.missing:
                break
        led, rng = count - novel.missing, self._rng("random architectures")
        for _ in range(_TRIES * novel.missing):
            if not novel.missing:
                break
            novel.take([self.sequences.encode(self.sequences.space.sample(rng))])
        return Generated(tuple(novel.found), len(novel.found) - led, step)

    def improved(self, pool: Sequence[Tokens]) -> Iterator[list[Tokens]]:
        """Yield what each of `pool` becomes by a step of 1, 2, 3, ... along the gradient of its predicted accuracy."""
        if not pool:
            return
        with torch.no_grad():
            states = self.model.encode(torch.tensor(pool))
        states.requires_grad_()
        (slopes,) = torch.autograd.grad(self.model.predict(states).sum(), states)
        for step in range(1, 1 + self.settings.max_step):
            moved = F.normalize(states.detach() + step * slopes, dim=-1)
            yield self.model.decode(moved, self.sequences)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from."""
        return {"trainings": self.trainings, "model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where the controller was that `state` was taken of, one with the same settings and seed."""
        self.trainings = state["trainings"]
        self.model.load_state_dict(state["model"])


@dataclass
class _Novel:
    """Collects up to `count` architectures that are not `seen`, by their canonical form, and that are accepted."""

    sequences: Sequences
    seen: set[Tokens]
    count: int
    accept: Callable[[Genotype], bool] | None
    found: list[Tokens] = field(default_factory=list)

    @property
    def missing(self) -> int:
        return self.count - len(self.found)

    def take(self, some: Iterable[Tokens]) -> None:
        for tokens in some:
            form = self.sequences.canonical(tokens)
            if not self.missing or form in self.seen:
                continue
            self.seen.add(form)
            if self.accept is None or self.accept(self.sequences.decode(tokens)):
                self.found.append(tokens)
