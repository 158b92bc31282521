"""Cells whose nodes keep more or fewer edges: what an architecture is, its text, its network and its picture."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.report.plots.cell import draw_cell
from supernet.searching.collapse import verdict
from supernet.spaces import SPACES, Cell, NetworkSize, SearchSpace, Stages, architecture
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm

OPS = ("none", "skip_connect", "nor_conv_1x1")
FAIR = SPACES["darts7-fair"]
SIZE = NetworkSize(4, 1, (8, 8), 1, 3)


def small(keep, inputs=2, nodes=4, output="concat"):
    cell = Cell.dense(nodes, OPS, inputs=inputs, output=output, keep=keep, project=True)
    return SearchSpace("small", {"cell": cell}, Stages(("cell",)))


def every(space, fewest, most):
    """All architectures of a space of one cell, written out."""
    cell = space.cells["cell"]
    nodes = []
    for node in range(cell.inputs, cell.nodes):
        sources = [s for s in range(node) if any((e.target, e.source) == (node, s) for e in cell.edges)]
        numbers = range(min(fewest, len(sources)), min(most, len(sources)) + 1)
        kept = [k for n in numbers for k in itertools.combinations(sources, n)]
        ways = [[(node, s, op) for s, op in zip(k, ops, strict=True)] for k in kept for ops in _ops(len(k))]
        nodes.append(ways)
    return [tuple(itertools.chain(*parts)) for parts in itertools.product(*nodes)]


def _ops(count):
    return itertools.product(OPS[1:], repeat=count)


@pytest.mark.parametrize(
    ("keep", "inputs"), [((0, 2), 2), ((1, 2), 2), ((0, 1), 1), ((0, 2), 1), ((2, 2), 2), ((1, 3), 3)]
)
def test_the_architectures_are_those_with_that_many_edges_per_node(keep, inputs):
    space, wanted = small(keep, inputs, 2 + inputs), set()
    for edges in every(space, *keep):
        bare = {"cell": set(range(inputs, 2 + inputs)) - {target for target, *_ in edges}}
        genotype = Genotype.of("small", {"cell": edges}, bare)
        assert space.parse(str(space.check(genotype))) == genotype
        assert Genotype.from_json(genotype.to_json()) == genotype
        assert space.choose(space.columns(genotype)) == genotype
        wanted.add(genotype)
    assert space.size == len(wanted)
    rng = random.Random(0)
    assert {space.sample(rng) for _ in range(8 * space.size)} <= wanted


@given(st.data())
@settings(max_examples=50)
def test_derive_has_the_largest_sum_of_op_scores(data):
    space = small((0, 2))
    score = st.integers(-3, 3)
    rows = data.draw(st.lists(st.tuples(score, score, score), min_size=5, max_size=5))
    pairs = zip(space.cells["cell"].edges, rows, strict=True)
    table = {(e.target, e.source): dict(zip(OPS, row, strict=True)) for e, row in pairs}

    def total(edges):
        return sum(table[target, source][op] for target, source, op, *_ in edges)

    assert total(space.derive({"cell": rows})["cell"]) == max(map(total, every(space, 0, 2)))


def test_fairs_space_has_the_architectures_of_darts7_and_those_with_fewer_edges():
    sizes = [sum(_choose(n, k) * 7**k for k in range(3)) for n in (2, 3, 4, 5)]
    assert FAIR.size == (sizes[0] * sizes[1] * sizes[2] * sizes[3]) ** 2
    full = SPACES["darts7"].sample(random.Random(0))
    assert str(FAIR.parse(str(full))) == str(full)
    assert architecture(str(full))[0].name == "darts"


def _choose(n, k):
    return len(list(itertools.combinations(range(n), k)))


TEXT = "normal:|sep_conv_3x3~0|skip_connect~1|+|+|max_pool_3x3~2|+| reduce:|+|+|+|skip_connect~0|"


def test_a_node_without_edges_has_an_empty_group():
    genotype = FAIR.parse(TEXT)
    assert str(genotype) == TEXT
    assert genotype.bare == (("normal", (3, 5)), ("reduce", (2, 3, 4)))
    assert FAIR.parse("normal:|+|+|+| reduce:|+|+|+|")["normal"] == ()
    two_nodes = "normal:|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|+|+| reduce:|+|+|+|"
    assert str(FAIR.parse(two_nodes)) == two_nodes  # not DARTS' form, whose output would be nodes 2 and 3 alone


PAIRS = "[('skip_connect', 0), ('skip_connect', 1)]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal:|skip_connect~0|+| reduce:|+|+|+|", "a cell with 2 groups instead of 4; the group of a node without"),
        ("normal:|+|+|+|+| reduce:|+|+|+|", "a cell with 5 groups instead of 4"),
        (TEXT.replace("|+|+|m", "|+|skip_connect~0|skip_connect~1|skip_connect~2|+|m"), "each node keeps 0 to 2"),
        (TEXT.replace("max_pool_3x3", "none"), "unknown operation on edge 4<-2"),
        (
            f"Genotype(normal={PAIRS}, normal_concat=[2], reduce={PAIRS}, reduce_concat=[2])",
            r"normal ends at node 2; nodes without edges are written as \|",
        ),
        (
            "Genotype(normal=[], normal_concat=[], reduce=[], reduce_concat=[])",
            r"normal ends at node 1; nodes without edges are written as \|",
        ),
    ],
)
def test_a_text_that_is_no_architecture_is_refused_in_a_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        FAIR.parse(text)
    assert "\n" not in str(error.value)


EDGES = [(2, 0, "skip_connect")]


@pytest.mark.parametrize(
    ("cells", "bare", "got"),
    [
        ({"normal": EDGES}, {"normal": [3, 4, 5], "reduce": [2, 3, 4, 5]}, "normal"),
        ({"normal": EDGES, "reduce": EDGES}, {"normal": [3, 4, 5], "last": [2]}, "normal, reduce, last"),
    ],
)
def test_a_cell_of_bare_nodes_alone_is_refused_in_a_line(cells, bare, got):
    with pytest.raises(UserError) as error:
        FAIR.check(Genotype.of("darts7-fair", cells, bare))
    assert str(error.value) == f"space 'darts7-fair' has cells normal, reduce; got {got}"


def test_other_spaces_take_no_empty_group():
    with pytest.raises(UserError, match=r"at '\|': expected groups like"):
        SPACES["darts7"].parse(TEXT)
    with pytest.raises(UserError, match=r"at '\|': expected groups like"):
        SPACES["nasbench201"].parse("|skip_connect~0|+|+|none~0|none~1|none~2|")


def test_a_genotype_without_its_bare_nodes_is_refused():
    cells = {"normal": [(2, 0, "skip_connect")], "reduce": [(2, 0, "skip_connect")]}
    with pytest.raises(UserError, match=r"nodes \[3, 4, 5\] of cell 'normal' have no edge: give bare="):
        FAIR.check(Genotype.of("darts7-fair", cells))
    nodes = [3, 4, 5]
    FAIR.check(Genotype.of("darts7-fair", cells, {"normal": nodes, "reduce": nodes}))
    with pytest.raises(UserError, match=r"nodes \[\] of cell 'normal' have"):
        FAIR.check(Genotype.of("darts7-fair", dict(SPACES["darts7"].sample(random.Random(0)).cells), {"normal": [3]}))


@pytest.mark.parametrize(
    ("keep", "output", "message"),
    [
        ((3, 2), "concat", r"a cell's keep is a number or \(fewest, most\) edges of a node, not \(3, 2\)"),
        ((-1, 2), "concat", r"a cell's keep is a number or \(fewest, most\)"),
        ((0, 0), "concat", r"keeps at least 1 edge, not 2 and \(0, 0\)"),
        ((0, 2), "last", r"may have bare nodes: its output has to be 'concat'"),
    ],
)
def test_a_cell_that_keeps_an_impossible_number_is_refused(keep, output, message):
    with pytest.raises(UserError, match=message):
        small(keep, output=output)


def test_a_bare_node_adds_zeros_to_the_output_of_network_and_supernet():
    genotype = FAIR.parse(TEXT)
    torch.manual_seed(0)
    network = Network(FAIR, genotype, SIZE)
    assert sum(w.numel() for w in network.parameters()) == cost(FAIR, genotype, SIZE).params
    outputs = []
    network.layers[1].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    x = torch.randn(2, 1, 8, 8)
    assert network(x).shape == (2, 3)
    parts = outputs[0].split(4, dim=1)
    assert [bool(part.any()) for part in parts] == [True, False, True, False]
    assert FAIR.layout(SIZE) == FAIR.layout(SIZE, genotype)

    supernet = Supernet(FAIR, SIZE, Norm(affine=False))
    found = []
    cell = supernet.layers[1]
    cell.register_forward_hook(lambda module, inputs, output: found.append(output))
    assert supernet(x, supernet.only(genotype)).shape == (2, 3)
    assert [bool(part.any()) for part in found[0].split(4, dim=1)] == [True, False, True, False]


def test_a_cell_without_edges_has_collapsed():
    found = verdict(FAIR, FAIR.parse("normal:|+|+|+| reduce:|skip_connect~0|+|+|+|"))
    assert str(found) == "collapsed: no path leads from the input to the output of 'normal'"


def test_the_picture_shows_nodes_without_edges_and_inputs_that_nothing_reads():
    figure = draw_cell(FAIR.parse(TEXT), {"sep_conv_3x3"}, list(FAIR.cells))
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} >= set("012345")
        low, high = axes.get_ylim()
        assert all(low < circle.get_center()[1] < high for circle in axes.patches if hasattr(circle, "get_center"))
        assert all(circle.get_center()[0] < axes.get_xlim()[1] for circle in axes.patches if hasattr(circle, "radius"))
