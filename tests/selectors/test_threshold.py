"""Selection by threshold against the rule of the paper written out, and against every architecture within limits."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
import torch

from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.selectors.threshold import Threshold, ThresholdConfig
from supernet.spaces import SPACES, Cell, NetworkSize, SearchSpace, Stack, Stages
from supernet.testing import EXAMPLE_SPACES

OPS = ("none", "skip_connect", "sep_conv_3x3")
FEWER = SearchSpace(
    "fewer",
    {
        "normal": Cell.dense(4, OPS, inputs=2, output="concat", keep=(0, 2), project=True),
        "reduce": Cell.dense(3, OPS[1:], inputs=2, output="concat", keep=(1, 2), project=True),
    },
    Stack(),
)
SIZE = NetworkSize(3, 1, (8, 8), 1, 3)


def scores_of(home, seed):
    g = torch.Generator().manual_seed(seed)
    return {kind: torch.rand(len(c.edges), c.columns, generator=g) for kind, c in home.cells.items()}


def selector(home, scores, threshold, limits=None, size=SIZE):
    method = SimpleNamespace(op_score_lists=lambda: {kind: part.tolist() for kind, part in scores.items()})
    return Threshold(ThresholdConfig(threshold), method, FeasibleSet(home, size, limits), tuple, 0)


def select(*given):
    return selector(*given).genotype()


def by_hand(home, scores, threshold, fewest):
    """The paper's rule: the two best edges of every node, of which those below the threshold are dropped."""
    cells = {}
    for kind, cell in home.cells.items():
        cells[kind] = set()
        for node in range(cell.inputs, cell.nodes):
            into = [(e, edge) for e, edge in enumerate(cell.edges) if edge.target == node]
            best = []
            for e, edge in into:
                ops = [(scores[kind][e][k].item(), op) for k, op in enumerate(edge.ops) if op != "none"]
                best.append((*max(ops), edge.source))
            ranked = sorted(best, reverse=True)[:2]
            kept = [entry for n, entry in enumerate(ranked) if n < fewest[kind] or entry[0] >= threshold]
            cells[kind] |= {(node, source, op, 0) for _, op, source in kept}
    return cells


@pytest.mark.parametrize(("home", "fewest"), [(FEWER, (0, 1)), (SPACES["darts7-fair"], (0, 0))])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.85])
def test_edges_above_the_threshold_are_kept_two_per_node_at_most(home, fewest, threshold):
    compared, bare = 0, 0
    for seed in range(20):
        scores = scores_of(home, seed)
        wanted = by_hand(home, scores, threshold, dict(zip(home.cells, fewest, strict=True)))
        if all(wanted.values()):
            genotype = select(home, scores, threshold)
            assert {kind: set(genotype[kind]) for kind in home.cells} == wanted
            assert home.parse(str(genotype)) == genotype
            compared, bare = compared + 1, bare + bool(genotype.bare)
    assert compared > 5
    assert bare or threshold < 0.8


@pytest.mark.parametrize("home", [*EXAMPLE_SPACES, SPACES["darts7"]], ids=lambda home: home.name)
def test_where_the_number_of_edges_is_fixed_it_is_the_selection_by_magnitude(home):
    scores = scores_of(home, 1)
    assert select(home, scores, 0.99) == home.derive({kind: value.tolist() for kind, value in scores.items()})


def test_within_limits_it_is_the_largest_sum_above_the_threshold():
    rng, found = random.Random(0), set()
    while len(found) < FEWER.size:
        found.add(FEWER.sample(rng))
    costs = {g: cost(FEWER, g, SIZE).params for g in found}
    scores = scores_of(FEWER, 4)

    def excess(genotype):
        columns = FEWER.columns(genotype).items()
        chosen = ((kind, e, k) for kind, row in columns for e, k in enumerate(row) if k is not None)
        return sum(scores[kind][e][k].item() - 0.3 for kind, e, k in chosen)

    free = select(FEWER, scores, 0.3)
    limits = Limits(max_params=costs[free] - 1)
    selected = select(FEWER, scores, 0.3, limits)
    allowed = [g for g in found if costs[g] <= costs[free] - 1 and g["normal"]]
    assert excess(selected) == pytest.approx(max(map(excess, allowed)))


@pytest.mark.parametrize("spread", [0.5, 0.0])  # of scores; none before any training
def test_a_cell_that_the_threshold_would_empty_is_selected_by_magnitude_and_named(spread):
    scores = {kind: value * spread for kind, value in scores_of(FEWER, 0).items()}
    high = scores | {"reduce": scores["reduce"] + 0.9}
    found = selector(FEWER, high, 0.85)
    genotype = found.genotype()
    assert genotype["normal"] == FEWER.derive({k: (value + 1).tolist() for k, value in scores.items()})["normal"]
    assert [choice.target for choice in genotype["normal"]] == [2, 2, 3, 3]
    assert genotype["reduce"] == select(FEWER, scores | high, 0.0)["reduce"]
    columns = FEWER.candidates(FEWER.cells["normal"])
    most = max(scores["normal"][e][k].item() for e, some in enumerate(columns) for k in some)
    text = f"0.85 leaves no edge of cell 'normal' (largest op score {most:.3g}): selected there by magnitude"
    assert found.report() == {"threshold": text}
    other = selector(FEWER, high, 0.0)
    other.genotype()
    assert other.report() == {}


@pytest.mark.parametrize("limits", [None, Limits(max_params=10**9)])
@pytest.mark.parametrize("threshold", [0.0, 0.85, 1.0])
def test_an_edge_whose_best_op_score_equals_the_threshold_is_kept(threshold, limits):
    scores = {kind: torch.full((len(c.edges), c.columns), -1.0).double() for kind, c in FEWER.cells.items()}
    scores["normal"][1, 2] = threshold
    scores["normal"][0, 2] = math.nextafter(threshold, -1.0)
    selected = select(FEWER, scores, threshold, limits)
    assert [(choice.source, choice.op) for choice in selected["normal"]] == [(1, OPS[2])]


FAIR, WIDER = SPACES["darts7-fair"], NetworkSize(4, 1, (8, 8), 1, 3)
MAGNITUDE = ": selected there by magnitude"


def by_operation(home, **given):
    """Op scores by kind of cell: of convolutions and of all other operations."""
    return {
        kind: torch.tensor([[given[kind]["conv" not in op] for op in edge.ops] for edge in cell.edges]).double()
        for kind, cell in home.cells.items()
    }


def limited(home, scores, params, size=WIDER):
    """Return the selector within so many parameters above those of a network without operations."""
    most = OperationCosts(home, size).fixed.params + params
    return selector(home, scores, 0.85, Limits(max_params=most), size)


@pytest.mark.parametrize("more", [0, 4])
def test_a_cell_that_the_threshold_would_empty_leaves_the_limits_to_the_others(more):
    scores = by_operation(FAIR, normal=(0.97, 0.3), reduce=(0.8, 0.1))
    costs = OperationCosts(FAIR, WIDER)
    found = limited(FAIR, scores, 2 * costs.of("normal", 0, "sep_conv_3x3").params + more)
    genotype = found.genotype()
    cheapest = min(costs.of("normal", 0, op).params for op in FAIR.cells["normal"].edges[0].ops if "conv" in op)
    fit = (2 * costs.of("normal", 0, "sep_conv_3x3").params + more) // cheapest
    assert ["conv" in choice.op for choice in genotype["normal"]] == [True] * min(fit, 8)
    assert found.feasible.allows(genotype)
    assert len(genotype["reduce"]) == 8
    assert found.report() == {"threshold": f"0.85 leaves no edge of cell 'reduce' (largest op score 0.8){MAGNITUDE}"}


@pytest.mark.parametrize("home", [FAIR, FEWER], ids=lambda home: home.name)
@pytest.mark.parametrize("most", [0.97, 0.8])
def test_the_report_tells_what_the_limits_empty_from_what_the_threshold_does(home, most):
    scores = by_operation(home, normal=(most, 0.2), reduce=(0.9, 0.86))
    found = limited(home, scores, reduction_of(home) if home is FEWER else 0)
    genotype, free = found.genotype(), "skip_connect" if home is FEWER else "max_pool_3x3"
    nodes = {edge.target for edge in home.cells["normal"].edges}
    assert [choice.op for choice in genotype["normal"]] == [free] * 2 * len(nodes)
    by_limits = f"the limits leave no edge of cell 'normal' at 0.85 or above{MAGNITUDE}"
    by_threshold = f"0.85 leaves no edge of cell 'normal' (largest op score 0.8){MAGNITUDE}"
    assert found.report() == {"threshold": by_limits if most > 0.85 else by_threshold}


def reduction_of(home):
    """Parameters of the cheapest operation of the one node of the reduction cell, which keeps at least one edge."""
    costs = OperationCosts(home, WIDER)
    return min(costs.of("reduce", e, op).params for e in range(2) for op in home.cells["reduce"].edges[e].ops)


def test_a_cell_of_which_the_limits_leave_nothing_is_named():
    cell = Cell.dense(8, ["sep_conv_3x3"], inputs=2, output="concat", keep=(0, 2), project=True)
    home = SearchSpace("convolutions", {"normal": cell}, Stages(("normal",)))
    for score in (0.97, 0.2):
        found = limited(home, by_operation(home, normal=(score, score)), 0)
        assert found.genotype()["normal"] == ()
        assert found.report() == {"threshold": "the limits leave no edge of cell 'normal'"}


@pytest.mark.parametrize("binding", [False, True])
def test_an_edge_at_the_threshold_is_kept(binding):
    scores = by_operation(FAIR, normal=(0.25, 0.25), reduce=(0.875, 0.125))
    scores["normal"][3][FAIR.cells["normal"].edges[3].ops.index("max_pool_3x3")] = 0.5
    free = select(FAIR, scores, 0.5)
    limits = Limits(max_params=cost(FAIR, free, SIZE).params - 1) if binding else None
    found = selector(FAIR, scores, 0.5, limits)
    genotype = found.genotype()
    assert (genotype == free) != binding
    assert [choice.op for choice in genotype["normal"]] == ["max_pool_3x3"]
    assert found.report() == {}


def test_a_threshold_above_1_is_refused():
    with pytest.raises(UserError, match="threshold must be at most 1"):
        ThresholdConfig(1.5)
