"""The controller policy of ENAS: a recurrent network that draws architectures decision by decision.

Pham et al., ICML 2018, arXiv 1802.03268, with the sizes of NAS-Bench-201's version (Dong & Yang, ICLR 2020): two LSTM
layers of 32 units, whose weights begin uniform in ±0.1, as those of embedding and linear layer. Each decision is drawn
from softmax(2.5 tanh(linear(h) / 5)) over the tokens that may come next. The input is the embedding of the previous
decision, at first a learned vector. A token without an alternative is no decision: state and input stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.methods.nao.model import forbidden
from supernet.spaces.tokens import Sequences, Tokens

_HIDDEN, _LAYERS, _TEMPERATURE, _RANGE, _START = 32, 2, 5.0, 2.5, 0.1


@dataclass(frozen=True)
class DrawnArchitectures:
    """Architectures as tokens; log-probability and entropy (count,) are summed over the decisions of each."""

    tokens: list[tuple[int, ...]]
    log_probability: Tensor
    entropy: Tensor


class ControllerPolicy(nn.Module):
    """Draws architectures of a space as sequences of tokens."""

    def __init__(self, sequences: Sequences) -> None:
        super().__init__()
        self.sequences = sequences
        self.first = nn.Parameter(torch.empty(1, _HIDDEN).uniform_(-_START, _START))
        self.embedding = nn.Embedding(sequences.vocabulary, _HIDDEN)
        self.lstm = nn.LSTM(_HIDDEN, _HIDDEN, _LAYERS)
        self.linear = nn.Linear(_HIDDEN, sequences.vocabulary)
        for name, parameter in self.named_parameters():
            if "weight" in name:
                nn.init.uniform_(parameter, -_START, _START)
        self._masks: dict[Tokens, Tensor] = {}

    def draw(self, count: int, generator: torch.Generator) -> DrawnArchitectures:
        """Draw `count` architectures; where none has a decision, log-probability and entropy are without a gradient."""
        prefixes: list[list[int]] = [[] for _ in range(count)]
        inputs = self.first.expand(count, -1)
        state = [self.first.new_zeros(_LAYERS, count, _HIDDEN) for _ in range(2)]
        log_probability, entropy = self.first.new_zeros(count), self.first.new_zeros(count)
        for _ in range(self.sequences.length):
            allowed = [self.sequences.allowed(prefix) for prefix in prefixes]
            decides = torch.tensor([[len(tokens) > 1] for tokens in allowed])
            next_tokens = [tokens[0] for tokens in allowed]
            if decides.any():
                out, after = self.lstm(inputs[None], tuple(state))
                log_p = self._log_probabilities(out[0], allowed)
                chosen = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
                log_probability = log_probability + log_p.gather(1, chosen)[:, 0]
                entropy = entropy - (log_p.exp() * log_p.clamp(min=-1e4)).sum(1)
                # An architecture's draw must not depend on the others: one without a decision here stays as it is.
                inputs = torch.where(decides, self.embedding(chosen[:, 0]), inputs)
                state = [torch.where(decides, new, old) for new, old in zip(after, state, strict=True)]
                next_tokens = chosen[:, 0].tolist()
            for prefix, token in zip(prefixes, next_tokens, strict=True):
                prefix.append(token)
        return DrawnArchitectures([tuple(prefix) for prefix in prefixes], log_probability, entropy)

    def _log_probabilities(self, hidden: Tensor, allowed: list[tuple[int, ...]]) -> Tensor:
        """Return the log-probabilities (count, vocabulary), minus infinity for tokens that are not allowed."""
        logits = _RANGE * torch.tanh(self.linear(hidden) / _TEMPERATURE)
        mask = forbidden(allowed, self._masks, self.sequences.vocabulary)
        return torch.log_softmax(logits.masked_fill(mask, -torch.inf), 1)
