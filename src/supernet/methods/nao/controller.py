"""NAO's controller: trained on a pool of architectures, it moves from the best of them to new, better ones.

With e the encoder states of one of the best architectures, f the predicted accuracy and E the embedding of the whole
architecture (see `model`),

    G_t = d f(E) / d e_t,     e'_t = e_t + s G_t, to length 1,     E' = mean_t e'_t, to length 1

and e', E' are decoded. The step size s is 1, 2, 3, ..., each for all of the best, until enough architectures are new.
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

_TRIES = 1000  # random architectures drawn at most for each missing one, and in a row that are all known


@dataclass(frozen=True)
class Generated:
    """New architectures, in the order in which they were found."""

    tokens: tuple[Tokens, ...]
    drawn_at_random: int  # how many, at the end of `tokens`, were drawn because the controller led to too few
    step: int  # the largest step along the gradient


class Controller:
    """Encodes architectures of `sequences`, predicts their accuracy and generates new ones; `seed` fixes all draws."""

    def __init__(self, sequences: Sequences, config: ControllerConfig, seed: int) -> None:
        self.sequences, self.config, self.seed = sequences, config, seed
        self.trainings = 0
        self.model = self._new_model()

    def _new_model(self) -> EncoderPredictorDecoder:
        with seeded(self._rng("weights").getrandbits(62)):
            return EncoderPredictorDecoder(self.sequences.vocabulary, self.config).eval()

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed} {purpose} {self.trainings}")

    def fit(self, tokens: Sequence[Tokens], accuracies: Sequence[float]) -> Report:
        """Train on architectures and their accuracies, in any unit; raises UserError if there are none."""
        if not tokens:
            raise UserError("a controller needs at least one architecture to be trained on")
        if self.config.start == "fresh":
            self.model = self._new_model()
        rng = self._rng("training")
        self.trainings += 1
        with seeded(rng.getrandbits(62)):
            return train(self.model, self.sequences, self.config, list(zip(tokens, accuracies, strict=True)), rng)

    @torch.no_grad()
    def predict(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return the predicted accuracies (n,), scaled so that the pool trained on spans 0 to 1."""
        return self.model.predict(self.model.encode(torch.tensor(tokens)))

    @torch.no_grad()
    def reconstruct(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        """Encode architectures and return their decodings."""
        return self.model.decode(self.model.encode(torch.tensor(tokens)), self.sequences)

    def generate(
        self,
        pool: Sequence[Tokens],
        exclude: Collection[Tokens],
        count: int,
        accept: Callable[[Genotype], bool] | None = None,
        sample: Callable[[random.Random], Genotype] | None = None,
    ) -> Generated:
        """Return `count` accepted architectures whose canonical forms are not in `exclude`.

        The search starts from the first architectures of `pool`, which is sorted best first. If the controller leads to
        too few, random architectures follow, by default of the whole space, and fewer than `count` are returned only if
        none of these is new either.
        """
        new, step = _NewArchitectures(self.sequences, set(exclude), count, accept), 0
        for architectures in self.improved(pool[: self.config.top]):
            step += 1
            new.add(architectures)
            if not new.missing:
                break
        from_controller, rng, new.known = len(new.tokens), self._rng("random architectures"), 0
        for _ in range(_TRIES * new.missing):
            if not new.missing or new.known == _TRIES:
                break
            new.add([self.sequences.encode((sample or self.sequences.space.sample)(rng))])
        return Generated(tuple(new.tokens), len(new.tokens) - from_controller, step)

    def improved(self, pool: Sequence[Tokens]) -> Iterator[list[Tokens]]:
        """Yield the decodings of all of `pool` after a step of size 1, 2, 3, ... along the predictor's gradient."""
        if not pool:
            return
        with torch.no_grad():
            states = self.model.encode(torch.tensor(pool))
        states.requires_grad_()
        (slopes,) = torch.autograd.grad(self.model.predict(states).sum(), states)
        for step in range(1, 1 + self.config.max_step):
            moved = F.normalize(states.detach() + step * slopes, dim=-1)
            yield self.model.decode(moved, self.sequences)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for `load_state_dict`."""
        return {"trainings": self.trainings, "model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a controller with the same config and seed."""
        self.trainings = state["trainings"]
        self.model.load_state_dict(state["model"])


@dataclass
class _NewArchitectures:
    """Collects up to `count` accepted architectures whose canonical form is not in `seen`."""

    sequences: Sequences
    seen: set[Tokens]
    count: int
    accept: Callable[[Genotype], bool] | None
    tokens: list[Tokens] = field(default_factory=list)
    known: int = 0  # architectures in a row that have been in `seen`

    @property
    def missing(self) -> int:
        return self.count - len(self.tokens)

    def add(self, architectures: Iterable[Tokens]) -> None:
        for tokens in architectures:
            form = self.sequences.canonical(tokens)
            if not self.missing:
                return
            self.known = self.known + 1 if form in self.seen else 0
            if self.known:
                continue
            self.seen.add(form)
            if self.accept is None or self.accept(self.sequences.decode(tokens)):
                self.tokens.append(tokens)
