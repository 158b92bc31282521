"""The mean of op scores over the last epochs: in closed form, and after a stage with fewer candidates."""

from __future__ import annotations

import pytest
import torch

import supernet as sn
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.selectors.average import Average, AverageConfig
from supernet.spaces import NetworkSize

SPACE = sn.space("nasbench201")
FEASIBLE = FeasibleSet(SPACE, NetworkSize(2, 1, (8, 8), 1, 3), Limits())


class Scored:
    """Stands for a method: has op scores."""

    def __init__(self, epoch):
        self.epoch = epoch

    def op_score_lists(self):
        return self.epoch


def selected(history, last, now=None):
    selector = Average(AverageConfig(last=last), Scored(now or history[-1]), FEASIBLE, list, 0)
    selector.history = history
    return selector.genotype()


def epochs(count, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return [{"cell": torch.rand(6, 5, generator=draws).tolist()} for _ in range(count)]


@pytest.mark.parametrize(("last", "averaged"), [(0.0, 1), (0.01, 1), (1 / 3, 3), (0.5, 5), (1.0, 9)])
def test_it_is_the_magnitude_of_the_mean_over_the_last_epochs(last, averaged):
    history = epochs(9)
    mean = torch.tensor([epoch["cell"] for epoch in history[-averaged:]]).mean(0)
    assert selected(history, last) == SPACE.derive({"cell": mean.tolist()})


def test_a_fall_in_the_last_epoch_counts_little():
    stayed, fallen = ({"cell": torch.eye(5)[[column] * 6].tolist()} for column in (3, 1))
    history = [stayed] * 8 + [fallen]
    assert selected(history, 1 / 3) == SPACE.derive(stayed) != SPACE.derive(fallen)
    assert selected(history, 0.0) == SPACE.derive(fallen)


def test_epochs_with_other_candidates_are_left_out():
    (now,) = epochs(1)
    assert selected([{"cell": [[9.0] * 7] * 6}, now], 1.0) == SPACE.derive(now)


def test_before_the_first_epoch_it_is_the_magnitude():
    (now,) = epochs(1)
    assert selected([], 1 / 3, now) == SPACE.derive(now)
