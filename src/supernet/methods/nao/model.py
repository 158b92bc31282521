"""The network of NAO's controller: encoder, predictor and decoder (arXiv 1808.07233, section 3.2).

With x the tokens, read in pairs (input, operation), and f the predictor:

    e_t = h_t / |h_t|,  h = LSTM(pairs of x)           E = mean_t e_t, to length 1           accuracy = sigmoid f(E)
    s_t = LSTM(0, x_1 ... x_{n-1}), from (E, E)        a = softmax_j(W_q s_t . e_j)
    logits_t = linear(tanh(W_o [sum_j a_j e_j ; s_t]))
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.methods.nao.controller_config import ControllerConfig
from supernet.spaces.tokens import Sequences, Tokens

_State = tuple[Tensor, Tensor]


class EncoderPredictorDecoder(nn.Module):
    """Maps tokens (n, length) to states (n, length / 2, hidden), and states to accuracies (n,) and back to tokens."""

    def __init__(self, vocabulary: int, config: ControllerConfig) -> None:
        super().__init__()
        embedding, hidden = config.embedding, config.hidden
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.encoder = nn.LSTM(2 * embedding, hidden, batch_first=True)
        self.predictor = _predictor(config)
        self.decoder_embedding = nn.Embedding(vocabulary, hidden)
        self.decoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.attended = nn.Linear(2 * hidden, hidden, bias=False)
        self.logits = nn.Linear(hidden, vocabulary)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the states e of the tokens, each normalised to length 1."""
        pairs = self.embedding(tokens).view(len(tokens), tokens.shape[1] // 2, -1)
        states: Tensor = F.normalize(self.encoder(pairs)[0], dim=-1)
        return states

    def predict(self, states: Tensor) -> Tensor:
        """Return the predicted accuracies (n,), scaled so that the pool spans 0 to 1."""
        accuracy: Tensor = self.predictor(embedding_of(states)).squeeze(-1).sigmoid()
        return accuracy

    def reconstruct(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return the logits (n, length, vocabulary) of every token, given the tokens before it."""
        previous = F.pad(tokens[:, :-1], (1, 0))
        return self._next(states, previous, _initial(states))[0]

    def _next(self, states: Tensor, tokens: Tensor, state: _State) -> tuple[Tensor, _State]:
        s, state = self.decoder(self.decoder_embedding(tokens), state)
        attention = (self.query(s) @ states.mT).softmax(-1)
        mixed = torch.cat([attention @ states, s], dim=-1)
        return self.logits(self.attended(mixed).tanh()), state

    @torch.no_grad()
    def decode(self, states: Tensor, sequences: Sequences) -> list[Tokens]:
        """Return an architecture for each of n states: token by token the most probable one that `sequences` allows."""
        prefixes: list[list[int]] = [[] for _ in states]
        masks: dict[Tokens, Tensor] = {}
        last, state = torch.zeros(len(states), 1, dtype=torch.long), _initial(states)
        for _ in range(sequences.length):
            logits, state = self._next(states, last, state)
            mask = forbidden(map(sequences.allowed, prefixes), masks, sequences.vocabulary)
            last = logits[:, 0].masked_fill(mask, -torch.inf).argmax(-1, keepdim=True)
            for tokens, token in zip(prefixes, last[:, 0].tolist(), strict=True):
                tokens.append(token)
        return [tuple(tokens) for tokens in prefixes]


def embedding_of(states: Tensor) -> Tensor:
    """Return E, the embedding (n, hidden) of whole architectures: the mean of their states, normalised to length 1."""
    return F.normalize(states.mean(1), dim=-1)


def _initial(states: Tensor) -> _State:
    embedding = embedding_of(states)[None].contiguous()
    return embedding, embedding


def _predictor(config: ControllerConfig) -> nn.Sequential:
    layers, width = list[nn.Module](), config.hidden
    for _ in range(config.predictor_layers):
        layers += [nn.Linear(width, config.predictor_width), nn.ReLU(), nn.Dropout(config.predictor_dropout)]
        width = config.predictor_width
    return nn.Sequential(*layers, nn.Linear(width, 1))


def forbidden(allowed: Iterable[Tokens], masks: dict[Tokens, Tensor], vocabulary: int) -> Tensor:
    """Return a mask (n, vocabulary), True for tokens that are not among the n `allowed`; `masks` caches its rows."""
    rows = []
    for tokens in allowed:
        if tokens not in masks:
            masks[tokens] = torch.ones(vocabulary, dtype=torch.bool).index_fill(0, torch.tensor(tokens), False)
        rows.append(masks[tokens])
    return torch.stack(rows)
