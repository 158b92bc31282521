"""Patience: a search ends once its choice has stayed the same for so many epochs.

A search by gradients often finds its architecture early and leaves it late, when the weights overfit and every
operation with weights lowers the training loss a little (see "The late drift" in docs/measurements.md). DARTS+ (Liang
et al., 2019, arXiv 1909.06035) ends when the ranking of the operations with weights has been the same for 10 epochs;
here it is the derived architecture alone that must stay, and any method that learns alphas for the whole search may
have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, takewhile

from supernet.spaces.genotype import Genotype

Scores = Mapping[str, list[list[float]]]
"""The op scores after an epoch, as `Method.op_score_lists` returns them."""


def unchanged(history: Sequence[Scores], choose: Callable[[Scores], Genotype], most: int) -> int:
    """Return how many epochs in a row, up to the last one and at most `most`, have left the choice as it was.

    `history` are the op scores after each epoch, and `choose` derives an architecture from them. The first epochs do
    not count if they leave the op scores themselves as they were: alpha does not learn yet.
    """
    begun = next((number for number, (one, other) in enumerate(pairwise(history)) if one != other), None)
    if begun is None:
        return 0
    learned = history[begun:]
    choice = choose(learned[-1])
    earlier = reversed(learned[-1 - most : -1])
    return len(list(takewhile(lambda scores: choose(scores) == choice, earlier)))
