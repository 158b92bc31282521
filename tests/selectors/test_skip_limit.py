"""The limit on skip connections: against all architectures of small cells, and where it cannot be kept."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import Limits
from supernet.models.cost.options import OptionGroups
from supernet.selectors.skip_limit import SkipLimit, SkipLimitConfig
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.operations import SKIPS
from supernet.spaces.paths import is_wasteful

OPS = ("none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3")
SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
KEPT = Cell.dense(4, OPS, inputs=2, output="concat", keep=2, project=True)
DENSE = Cell.dense(3, OPS)


class Scored:
    """Stands for a method: has op scores."""

    def __init__(self, scores):
        self.scores = scores

    def op_score_lists(self):
        return {kind: edges.tolist() for kind, edges in self.scores.items()}


def architectures(space):
    """Yield every architecture of a space, as columns."""
    ways = []
    for kind, cell in space.cells.items():
        columns = space.candidates(cell)
        kept = itertools.product(*(list(cell.ways(group)) for group in cell.groups()))
        chosen = []
        for groups in kept:
            edges = [e for group in groups for e in group]
            for picked in itertools.product(*(columns[e] for e in edges)):
                found = dict(zip(edges, picked, strict=True))
                chosen.append((kind, tuple(found.get(e) for e in range(len(cell.edges)))))
        ways.append(chosen)
    yield from (space.choose(dict(picked)) for picked in itertools.product(*ways))


def value(space, genotype, scores):
    columns = space.columns(genotype).items()
    return sum(scores[kind][e][k].item() for kind, row in columns for e, k in enumerate(row) if k is not None)


@pytest.mark.parametrize("skips", [0, 1, pytest.param(2, marks=pytest.mark.slow), 9])
@pytest.mark.parametrize(
    "home",
    [
        SearchSpace("kept", {"normal": KEPT}, Stages(("normal",) * 2)),
        SearchSpace("both", {"normal": DENSE, "last": DENSE}, Stages(("normal", "last"))),
        SearchSpace("other", {"first": DENSE, "last": DENSE}, Stages(("first", "last"))),
    ],
    ids=lambda home: home.name,
)
def test_the_architecture_is_the_best_of_all_with_few_skip_connections(home, skips):
    for seed in range(3):
        draws = torch.Generator().manual_seed(seed)
        scores = {kind: torch.rand(len(cell.edges), cell.columns, generator=draws) for kind, cell in home.cells.items()}
        for edges in scores.values():
            edges[:, 1] += 0.5  # skip connections lead
        found = SkipLimit(SkipLimitConfig(skips), Scored(scores), FeasibleSet(home, SIZE), tuple, 0).genotype()
        counted = ["normal"] if "normal" in home.cells else list(home.cells)

        def number(genotype, kinds=counted):
            return sum(choice.op in SKIPS for kind in kinds for choice in genotype[kind])

        assert number(found) <= skips
        derived = home.derive({kind: edges.tolist() for kind, edges in scores.items()})
        some = [derived] if number(derived) <= skips else filter(partial(wastes_nothing, home), architectures(home))
        best = max(value(home, genotype, scores) for genotype in some if number(genotype) <= skips)
        assert value(home, found, scores) == pytest.approx(best)


def wastes_nothing(space, genotype):
    return not any(is_wasteful(space, cell, genotype[kind]) for kind, cell in space.cells.items())


def test_where_skip_connections_cannot_be_few_the_architecture_has_the_fewest():
    forced = Cell((Edge(1, 0, ("skip_connect",)), Edge(2, 0, ("skip_connect",)), Edge(2, 1, OPS)))
    home = SearchSpace("forced", {"cell": forced}, Stages(("cell",)))
    scores = {"cell": torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0.1, 0.6, 0.2, 0.1]])}
    found = SkipLimit(SkipLimitConfig(0), Scored(scores), FeasibleSet(home, SIZE), tuple, 0).genotype()
    assert [choice.op for choice in found["cell"]] == ["skip_connect", "skip_connect", "nor_conv_1x1"]


@pytest.mark.parametrize(("ms", "fewest"), [(3.5, 1), (2.5, 2), (1.5, 3)])
def test_where_a_latency_demands_more_skip_connections_the_architecture_has_the_fewest(monkeypatch, ms, fewest):
    def measured(_, genotype):  # skip connections alone are fast
        return sum(0.1 if choice.op in SKIPS else 1.0 for choice in genotype["normal"])

    monkeypatch.setattr(MeasuredLatency, "ms", measured)
    monkeypatch.setattr(
        MeasuredLatency, "_operation", lambda _, primitive, *__: 100_000 if primitive.name in SKIPS else 1_000_000
    )
    home = SearchSpace("kept", {"normal": KEPT}, Stages(("normal",) * 2))
    scores = {"normal": torch.tensor([[0.0, 1.0, 2.0, 0.5]] * 5)}
    feasible = FeasibleSet(home, SIZE, Limits(max_latency_ms=ms))
    found = SkipLimit(SkipLimitConfig(1), Scored(scores), feasible, tuple, 0).genotype()
    assert feasible.allows(found)
    assert sum(choice.op in SKIPS for choice in found["normal"]) == fewest
    never = SkipLimit(SkipLimitConfig(1), Scored(scores), FeasibleSet(home, SIZE, Limits(max_latency_ms=0.3)), tuple, 0)
    with pytest.raises(UserError, match=r"within the limits: at most 0.3 ms \(measured\); the fastest takes 0.4 ms"):
        never.genotype()


def test_the_limits_of_the_search_hold_as_well():
    home = SearchSpace("kept", {"normal": KEPT}, Stages(("normal",) * 2))
    scores = {"normal": torch.tensor([[0.0, 1.0, 2.0, 0.5]] * 5)}
    free = SkipLimit(SkipLimitConfig(1), Scored(scores), FeasibleSet(home, SIZE), tuple, 0).genotype()
    limits = Limits(max_params=cost(home, free, SIZE).params - 1)
    found = SkipLimit(SkipLimitConfig(1), Scored(scores), FeasibleSet(home, SIZE, limits), tuple, 0).genotype()
    assert FeasibleSet(home, SIZE, limits).allows(found)
    assert sum(choice.op in SKIPS for choice in found["normal"]) <= 1


def test_the_options_of_a_space_are_listed_once(monkeypatch):
    listed = []
    monkeypatch.setattr(
        "supernet.models.cost.feasible.OptionGroups", lambda space: listed.append(space) or OptionGroups(space)
    )
    home = SearchSpace("both", {"normal": DENSE, "last": DENSE}, Stages(("normal", "last")))
    skips = {kind: torch.tensor([[0.0, 1.0, 0.5, 0.2]] * 3) for kind in home.cells}
    found = SkipLimit(SkipLimitConfig(1), Scored(skips), FeasibleSet(home, SIZE), tuple, 0).genotype()
    assert sum(choice.op in SKIPS for choice in found["normal"]) == 1
    assert listed == [home]
