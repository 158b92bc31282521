"""The verdict on collapse: of known architectures, and of paths against an enumeration of all of them."""

from __future__ import annotations

import itertools
import random

import pytest

from supernet.searching import collapse
from supernet.spaces import Cell, Chain, Edge, Position, SearchSpace, Stages, space, tables
from supernet.spaces.genotype import Genotype
from supernet.spaces.paths import live_choices
from supernet.testing import macro_space, ragged_space, two_input_space

NB201 = space("nasbench201")
RAGGED = ragged_space()
TWO, MACRO, DARTS = two_input_space(), macro_space(), space("darts")
FIVE = SearchSpace("five", {"a": Cell.dense(5, ("none", "skip_connect", "nor_conv_1x1"))}, Stages(("a",)))


def of(ops):
    return NB201.choose({"cell": [int(op) for op in ops]})


@pytest.mark.parametrize(
    ("ops", "state", "reason"),
    [
        ("111111", "collapsed", "none of the 6 edges of 'cell' compute with learned weights; the others are skip"),
        ("113111", "collapsed", "only 1 of the 6 edges"),  # Single-DARTS, table 5: 80.57 % on CIFAR-10
        ("000000", "collapsed", "no path leads from the input to the output of 'cell'"),
        ("333000", "collapsed", "no path leads from the input to the output of 'cell'"),  # nothing reaches node 3
        ("000333", "collapsed", "only 1 of the 6 edges"),  # 3<-1 and 3<-2 start from nodes that nothing reaches
        ("300330", "thin", "3 of the 6 edges"),
        ("333300", "collapsed", "only 1 of the 6 edges"),  # the others lead nowhere
        ("333133", "healthy", "5 of the 6 edges"),  # 9930
        ("333113", "healthy", "4 of the 6 edges"),
        ("313113", "thin", "3 of the 6 edges"),
        ("303101", "thin", "2 of the 6 edges"),  # the "ResNet"
        ("444444", "collapsed", "avg_pool_3x3"),
    ],
)
def test_the_verdict_on_known_architectures(ops, state, reason):
    verdict = collapse.verdict(NB201, of(ops))
    assert verdict.state == state
    assert reason is None or reason in verdict.reason
    assert str(verdict) == f"{state}: {verdict.reason}"
    assert len(str(verdict).splitlines()) == 1


def paths(searched, kind, genotype):
    """Return every path from an input to the output over operations that do not output zeros."""
    choices = [choice for choice in genotype[kind] if not searched.primitive(choice.op).zero]
    cell = searched.cells[kind]
    ends = range(cell.inputs, cell.nodes) if cell.output == "concat" else [cell.nodes - 1]

    def ways(node):
        if node in ends:
            yield ()
        for choice in choices:
            if choice.source == node:
                yield from ((choice, *rest) for rest in ways(choice.target))

    return [way for node in range(cell.inputs) for way in ways(node)]


LATE = Cell.dense(5, ("none", "skip_connect"), inputs=2, output="last", project=True)  # two inputs, one output
SPACES = [NB201, FIVE, RAGGED, TWO, MACRO, DARTS, SearchSpace("late", {"a": LATE}, Stages(("a",)))]


@pytest.mark.parametrize("searched", SPACES, ids=lambda searched: searched.name)
def test_live_choices_lie_on_a_path_from_input_to_output(searched):
    rng = random.Random(0)
    partly = empty = 0
    for _ in range(300):
        genotype = searched.sample(rng)
        for kind, cell in searched.cells.items():
            on_a_path = set(itertools.chain.from_iterable(paths(searched, kind, genotype)))
            found = live_choices(searched, cell, genotype[kind])
            assert found == [choice for choice in genotype[kind] if choice in on_a_path]
            empty += not found
            partly += len(found) < len(genotype[kind])
    assert (empty > 0) == (searched not in (TWO, DARTS))  # some were cut off altogether, where `none` may be chosen
    assert (partly > 0) == (searched not in (TWO, DARTS))  # the output of a DARTS cell is all of its nodes


def test_the_worst_cell_gives_the_verdict():
    good, bad = RAGGED.choose({"normal": (1, 1, 0), "last": (0,)}), RAGGED.choose({"normal": (1, 1, 0), "last": (1,)})
    assert collapse.verdict(RAGGED, good).state == "healthy"
    assert collapse.verdict(RAGGED, bad).state == "collapsed"
    assert "'last'" in collapse.verdict(RAGGED, bad).reason


def test_verdicts_follow_the_measured_accuracies():
    table = tables.load("nasbench201")
    accuracy = table.column("c10_test")
    found = {"healthy": [], "thin": [], "collapsed": []}
    for index in range(0, len(table), 5):
        found[collapse.verdict(NB201, table.genotype(index)).state].append(accuracy[index])
    means = {state: sum(values) / len(values) for state, values in found.items()}
    assert means["healthy"] > means["thin"] + 1 > means["collapsed"] + 2
    assert min(found["healthy"]) > 85


def test_learned_operations_that_lead_nowhere_do_not_count():
    edges = [Edge(node, 0, ("nor_conv_1x1",)) for node in range(1, 9)] + [Edge(9, 8, ("nor_conv_1x1",))]
    searched = SearchSpace("x", {"cell": Cell(tuple(edges))}, Stages(("cell",)))
    verdict = collapse.verdict(searched, searched.choose({"cell": [0] * 9}))
    reason = "only 2 of the 9 edges of 'cell' compute with learned weights; the others lead nowhere"
    assert (verdict.state, verdict.reason) == ("collapsed", reason)


V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


@pytest.mark.parametrize(("text", "learned"), [(V1, 5), (V2, 6)])
def test_a_reduction_cell_does_not_count(text, learned):
    verdict = collapse.verdict(DARTS, DARTS.parse(text))
    reason = f"{learned} of the 8 edges of 'normal' compute with learned weights on a path from input to output"
    assert (verdict.state, verdict.reason) == ("healthy", reason)


@pytest.mark.parametrize(
    ("skips", "state", "reason"),
    [
        (8, "collapsed", "none of the 8 edges of 'normal' compute with learned weights; the others are skip_connect"),
        (6, "collapsed", "only 2 of the 8 edges of 'normal' compute with learned weights; the others are skip_connect"),
        (5, "thin", "3 of the 8 edges of 'normal'"),
        (4, "thin", "4 of the 8 edges of 'normal'"),
        (3, "healthy", "5 of the 8 edges of 'normal'"),
    ],
)
def test_a_normal_cell_of_skips_has_collapsed_whatever_the_reduction_cell(skips, state, reason):
    convolutions = [(2 + n // 2, n % 2, "sep_conv_3x3") for n in range(8)]
    normal = [
        (target, source, "skip_connect" if n < skips else op) for n, (target, source, op) in enumerate(convolutions)
    ]
    genotype = DARTS.check(Genotype.of("darts", {"normal": normal, "reduce": convolutions}))
    verdict = collapse.verdict(DARTS, genotype)
    assert verdict.state == state
    assert verdict.reason.startswith(reason)
    noise = Genotype.of("s4", {"normal": [(t, s, op.replace("skip_connect", "noise")) for t, s, op in normal],
                               "reduce": convolutions})  # fmt: skip
    assert collapse.verdict(space("s4"), space("s4").check(noise)).state == state


def test_the_positions_of_a_chain_count_together():
    searched = SearchSpace.chain("c", [(("skip_connect", "nor_conv_3x3", "none"), 1, 1)] * 6)

    def of(ops):
        return searched.choose({kind: (int(op),) for kind, op in zip(searched.cells, ops, strict=True)})

    for ops, state, reason in [
        ("111111", "healthy", "6 of the 6 positions compute with learned weights on a path from input to output"),
        ("001111", "healthy", "4 of the 6 positions"),  # although some positions have no learned operation
        ("000111", "thin", "3 of the 6 positions"),
        ("000001", "collapsed", "only 1 of the 6 positions compute with learned weights; the others are skip_connect"),
        ("000000", "collapsed", "none of the 6 positions compute with learned weights"),
        ("112111", "collapsed", "no path leads from the input to the output of '03'"),
    ]:
        verdict = collapse.verdict(searched, of(ops))
        assert (verdict.state, verdict.reason[: len(reason)]) == (state, reason)


def test_reductions_count_in_a_space_without_normal_cells():
    skips = {"a": Cell.dense(3, ("skip_connect", "nor_conv_3x3"))}
    searched = SearchSpace("down", skips, Chain((Position("a", 1, 2), Position("a", 2, 2))))
    assert collapse.verdict(searched, searched.choose({"a": (1, 1, 1)})).state == "healthy"
    assert collapse.verdict(searched, searched.choose({"a": (0, 0, 0)})).state == "collapsed"


def test_the_blocks_of_all_stages_count_together():
    mobile = space("mobile")
    columns = {kind: [0] * len(cell.edges) for kind, cell in mobile.cells.items()}  # the first block of each stage
    found = collapse.verdict(mobile, mobile.choose(columns))
    assert (found.state, found.reason.split(" compute")[0]) == ("thin", "7 of the 22 positions")
