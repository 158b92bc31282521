"""The verdict on collapse: known architectures, and paths against an enumeration of all of them."""

from __future__ import annotations

import itertools
import random

import pytest

from conftest import ragged_space
from supernet import tables
from supernet.monitors import judge
from supernet.monitors.collapse import working
from supernet.spaces import Cell, Edge, SearchSpace, Skeleton, space

NB201 = space("nasbench201")
RAGGED = ragged_space()
FIVE = SearchSpace("five", {"a": Cell.dense(5, ("none", "skip_connect", "nor_conv_1x1"))}, Skeleton(("a",)))


def of(ops):
    return NB201.choose({"cell": [int(op) for op in ops]})


@pytest.mark.parametrize(
    ("ops", "state", "told"),
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
def test_known_architectures(ops, state, told):
    verdict = judge(NB201, of(ops))
    assert verdict.state == state
    assert told is None or told in verdict.reason
    assert str(verdict) == f"{state}: {verdict.reason}"
    assert len(str(verdict).splitlines()) == 1


def paths(home, kind, genotype):
    """Every way from node 0 to the last node over operations that output something, as sets of choices."""
    choices = [choice for choice in genotype[kind] if not home.primitive(choice.op).zero]
    last = home.cells[kind].nodes - 1

    def ways(node):
        if node == last:
            yield ()
        for choice in choices:
            if choice.source == node:
                yield from ((choice, *rest) for rest in ways(choice.target))

    return list(ways(0))


@pytest.mark.parametrize("home", [NB201, FIVE, RAGGED], ids=lambda home: home.name)
def test_what_works_lies_on_a_path_from_input_to_output(home):
    rng = random.Random(0)
    empty = 0
    for _ in range(300):
        genotype = home.sample(rng)
        for kind in home.cells:
            on_a_path = set(itertools.chain.from_iterable(paths(home, kind, genotype)))
            found = working(home, genotype[kind])
            assert found == [choice for choice in genotype[kind] if choice in on_a_path]
            empty += not found
    assert empty > 0  # some were cut off altogether


def test_the_worst_cell_gives_the_verdict():
    good, bad = RAGGED.choose({"normal": (1, 1, 0), "last": (0,)}), RAGGED.choose({"normal": (1, 1, 0), "last": (1,)})
    assert judge(RAGGED, good).state == "healthy"
    assert judge(RAGGED, bad).state == "collapsed"
    assert "'last'" in judge(RAGGED, bad).reason


def test_verdicts_follow_the_measured_accuracies():
    table = tables.load("nasbench201")
    accuracy = table.column("c10_test")
    found = {"healthy": [], "thin": [], "collapsed": []}
    for index in range(0, len(table), 5):
        found[judge(NB201, table.genotype(index)).state].append(accuracy[index])
    means = {state: sum(values) / len(values) for state, values in found.items()}
    assert means["healthy"] > means["thin"] + 1 > means["collapsed"] + 2
    assert min(found["healthy"]) > 85


def test_a_cell_of_learned_operations_that_mostly_lead_nowhere():
    edges = [Edge(node, 0, ("nor_conv_1x1",)) for node in range(1, 9)] + [Edge(9, 8, ("nor_conv_1x1",))]
    home = SearchSpace("x", {"cell": Cell(tuple(edges))}, Skeleton(("cell",)))
    verdict = judge(home, home.choose({"cell": [0] * 9}))
    told = "only 2 of the 9 edges of 'cell' compute with learned weights; the others lead nowhere"
    assert (verdict.state, verdict.reason) == ("collapsed", told)
