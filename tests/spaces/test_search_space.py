"""Search spaces: candidates, sizes, the order of architectures, derivation, uniform draws, and mistakes."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from supernet import spaces
from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, check_shapes
from supernet.spaces import SPACES, Cell, Chain, Edge, NetworkSize, Position, SearchSpace, Stack, Stages, tables
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.spaces.shapes import CellAt, ConvAt, HeadAt, ReduceAt, StemAt
from supernet.testing import macro_space, ragged_space, two_input_space

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
RAGGED, TWO, MACRO = ragged_space(), two_input_space(), macro_space()
LINE = Cell((Edge(1, 0, ("skip_connect", "nor_conv_3x3")),))
NO_OP = PRIMITIVES["skip_connect"].build


def every(space):
    """Yield all architectures as columns per kind, the last edge of the last kind fastest, without the space's code.

    Where a cell keeps k edges per node, the outer order is that of the edges (by itertools), the inner of operations.
    """

    def of(cell):
        if cell.keep is None:
            yield from itertools.product(*(range(len(edge.ops)) for edge in cell.edges))
            return
        into = {node: [e for e, edge in enumerate(cell.edges) if edge.target == node] for node in range(cell.nodes)}
        ways = [itertools.combinations(edges, min(cell.keep, len(edges))) for edges in into.values() if edges]
        for kept in itertools.product(*ways):
            columns = [[None]] * len(cell.edges)
            for e in itertools.chain(*kept):
                columns[e] = [k for k, op in enumerate(cell.edges[e].ops) if op != "none"]
            yield from itertools.product(*columns)

    for cells in itertools.product(*(list(of(cell)) for cell in space.cells.values())):
        yield dict(zip(space.cells, cells, strict=True))


def kept_space():
    """Return a space of 44 architectures: ragged edges with none and noise, two edges kept of one, two and three."""
    edges = (
        Edge(1, 0, ("noise", "skip_connect")),
        Edge(2, 0, ("none", "skip_connect", "nor_conv_1x1")),
        Edge(2, 1, ("nor_conv_1x1", "none")),
        Edge(3, 0, ("skip_connect", "none", "nor_conv_1x1")),
        Edge(3, 1, ("skip_connect",)),
        Edge(3, 2, ("none", "noise", "skip_connect", "nor_conv_1x1")),
    )
    return SearchSpace("kept", {"a": Cell(edges, keep=2)}, Stages(("a",)))


KEPT = kept_space()  # 2 x (2 x 1) x (2 x 1 + 2 x 3 + 1 x 3) = 44


def test_nasbench201_has_its_edges_operations_and_size():
    cell = NB201.cells["cell"]
    assert [(edge.target, edge.source) for edge in cell.edges] == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert {edge.ops for edge in cell.edges} == {
        ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    }
    assert (NB201.size, cell.nodes, cell.columns) == (15625, 4, 5)


def test_the_size_of_a_ragged_space_is_the_product_of_its_candidates():
    assert RAGGED.size == 2 * 3 * 2 * 3
    assert [cell.columns for cell in RAGGED.cells.values()] == [3, 3]


@pytest.mark.slow
def test_all_of_nasbench201_survive_their_text_and_are_in_the_order_of_the_table():
    texts = []
    for number, columns in enumerate(every(NB201)):
        genotype = NB201.choose(columns)
        texts.append(str(genotype))
        if number % 25 == 0:  # every edge and operation, where the test below has every architecture
            assert NB201.columns(genotype) == columns
    random.Random(88).shuffle(texts)  # as the benchmark does
    assert hashlib.md5("\n".join(texts).encode()).hexdigest() == "1985aacc268bf045d31ddeecaaac0dc0"
    table = tables.load("nasbench201")
    assert [table.index(NB201.parse(text)) for text in texts] == list(range(15625))


@pytest.mark.parametrize("space", [RAGGED, KEPT, MACRO], ids=lambda space: space.name)
def test_columns_and_choose_are_inverses_and_size_is_the_number_of_architectures(space):
    seen = set()
    for columns in every(space):
        genotype = space.choose(columns)
        assert space.check(genotype) is genotype
        assert space.columns(genotype) == columns
        seen.add(genotype)
    assert len(seen) == space.size


def test_the_sizes_of_the_darts_spaces():
    def kept(ops):
        return 1 * 3 * 6 * 10 * ops**8  # 2 of 2, of 3, of 4 and of 5 edges, an operation on each

    assert KEPT.size == 44
    assert DARTS.size == SPACES["darts7"].size == kept(7) ** 2  # without none
    assert SPACES["s1"].size == SPACES["s2"].size == SPACES["s3"].size == SPACES["s4"].size == kept(2) ** 2
    pairs = 3 * 3  # two edges with 3 operations each: 1, 3 and 6 pairs of edges into the nodes of the normal cell
    assert TWO.size == pairs * (3 * pairs) * (6 * pairs) * 2 * 1 * 1


def test_darts_has_its_edges_operations_and_order():
    places = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3), *((5, s) for s in range(5))]
    ops = (
        *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    )
    same = {
        "darts": ops,
        "darts7": ops[1:],
        "s2": ("skip_connect", "sep_conv_3x3"),
        "s3": ("none", "skip_connect", "sep_conv_3x3"),
        "s4": ("noise", "sep_conv_3x3"),
    }
    for name in ("darts", "darts7", "s1", "s2", "s3", "s4"):
        space = SPACES[name]
        assert list(space.cells) == ["normal", "reduce"]
        assert (space.norm_pools, space.target, space.table) == (True, (36, 6), None)
        for cell in space.cells.values():
            assert [(edge.target, edge.source) for edge in cell.edges] == places
            assert (cell.nodes, cell.inputs, cell.output, cell.keep, cell.project) == (6, 2, "concat", 2, True)
            assert (len(cell.edges), cell.columns) == (14, len(same.get(name, "ab")))
            assert name == "s1" or {edge.ops for edge in cell.edges} == {same[name]}


def test_s1_is_the_list_of_its_authors():
    table = """skip, dil3 | max, avg
               skip, dil5 | max, dil3
               skip, dil5 | max, avg
               skip, sep3 | max, avg
               skip, dil3 | skip, dil5
               max, skip | max, avg
               skip, sep3 | max, sep3
               skip, sep3 | skip, dil3
               skip, dil3 | skip, dil5
               skip, sep3 | max, avg
               max, skip | max, avg
               skip, dil3 | skip, dil5
               dil3, dil5 | skip, dil5
               dil3, dil5 | skip, dil5"""
    long = {"max": "max_pool_3x3", "avg": "avg_pool_3x3", "skip": "skip_connect"}
    long |= {"sep3": "sep_conv_3x3", "dil3": "dil_conv_3x3", "dil5": "dil_conv_5x5"}
    for number, kind in enumerate(("normal", "reduce")):
        rows = [row.split("|")[number].split(",") for row in table.splitlines()]
        pairs = [tuple(long[op.strip()] for op in row) for row in rows]
        assert [edge.ops for edge in SPACES["s1"].cells[kind].edges] == pairs


def test_edges_are_ordered_by_target_then_source():
    edges = [Edge(2, 1, ("none",)), Edge(1, 0, ("none",)), Edge(2, 0, ("none",))]
    assert [(e.target, e.source) for e in Cell(tuple(edges)).edges] == [(1, 0), (2, 0), (2, 1)]
    assert Cell(tuple(edges)) == Cell(tuple(reversed(edges)))


def draw_scores(space, rng):
    """Draw op scores from three values, so that ties are common, with larger ones beyond an edge's candidates."""

    def row(edge, width):
        return [rng.randrange(3) for _ in edge.ops] + [9] * (width - len(edge.ops))

    return {kind: [row(edge, cell.columns) for edge in cell.edges] for kind, cell in space.cells.items()}


def test_derive_returns_the_best_architecture_and_the_first_of_equals():
    def total(columns):
        return sum(op_scores[kind][e][c] for kind, row in columns.items() for e, c in enumerate(row))

    rng = random.Random(0)
    for _ in range(60):
        op_scores = draw_scores(RAGGED, rng)
        best = max(every(RAGGED), key=total)  # the first of equals, in the order of the columns
        assert RAGGED.columns(RAGGED.derive(op_scores)) == best


def test_derive_in_nasbench201_returns_the_first_maximum_of_every_row():
    rng = random.Random(0)
    for _ in range(60):
        op_scores = draw_scores(NB201, rng)
        best = tuple(row.index(max(row)) for row in op_scores["cell"])
        assert NB201.columns(NB201.derive(op_scores)) == {"cell": best}


def test_derive_may_choose_none():
    assert NB201.derive({"cell": [[1, 0, 0, 0, 0]] * 6}) == NB201.choose({"cell": (0,) * 6})


@pytest.mark.parametrize("space", [KEPT, TWO], ids=lambda space: space.name)
def test_where_few_edges_are_kept_derive_returns_the_best_architecture(space):
    """The largest sum of scores wins; of equals the first edges, and on each edge the first operation."""

    def total(chosen):
        return sum(row[e][c] for e, c in enumerate(chosen) if c is not None)

    def first(chosen):  # False, an edge that is kept, is smaller than True
        return [c is None for c in chosen], [c or 0 for c in chosen]

    cells = {
        kind: SearchSpace("one", {kind: cell}, Stages((kind,)), space.primitives) for kind, cell in space.cells.items()
    }
    ways = {kind: [columns[kind] for columns in every(one)] for kind, one in cells.items() if one.size < 5000}
    assert ways
    rng = random.Random(0)
    for _ in range(60):
        op_scores = draw_scores(space, rng)
        derived = space.columns(space.derive(op_scores))
        for kind, choices in ways.items():
            row = op_scores[kind]
            best = max(map(total, choices))
            assert derived[kind] == min((chosen for chosen in choices if total(chosen) == best), key=first)


def test_derive_excludes_none_but_not_noise():
    def derived(row):
        genotype = KEPT.derive({"a": [row] * 6})
        return {(c.target, c.source): c.op for c in genotype["a"]}

    assert derived([9, 8, 1, 0]) == {
        (1, 0): "noise",
        (2, 0): "skip_connect",  # none has a larger score
        (2, 1): "nor_conv_1x1",
        (3, 0): "skip_connect",
        (3, 1): "skip_connect",  # 3<-2 has noise with 8, and these have 9
    }
    s4 = SPACES["s4"]
    noise = s4.derive({kind: [[1, 0]] * 14 for kind in s4.cells})
    assert {choice.op for _, choices in noise.cells for choice in choices} == {"noise"}
    for name in ("darts", "s3"):
        space = SPACES[name]
        genotype = space.derive({kind: [[9, *range(1, cell.columns)]] * 14 for kind, cell in space.cells.items()})
        last = space.cells["normal"].edges[0].ops[-1]
        assert {choice.op for _, choices in genotype.cells for choice in choices} == {last}


def test_derive_follows_the_rule_of_darts():
    """The loop of DARTS' released code: per node the two edges whose best operation is strongest."""
    rng = random.Random(0)
    for _ in range(50):
        op_scores = {kind: [[rng.random() for _ in range(8)] for _ in range(14)] for kind in DARTS.cells}
        genotype = DARTS.derive(op_scores)
        for kind, rows in op_scores.items():
            choices, start = [], 0
            for node in range(4):
                into = rows[start : start + 2 + node]
                start += 2 + node
                strongest = sorted(range(2 + node), key=lambda j, into=into: -max(into[j][1:]))[:2]
                for j in sorted(strongest):
                    op = DARTS.cells[kind].edges[0].ops[1 + into[j][1:].index(max(into[j][1:]))]
                    choices.append((2 + node, j, op, 0))
            assert list(genotype[kind]) == choices


def test_samples_are_uniform_with_independent_edges():
    rng = random.Random(0)
    samples = [NB201.columns(NB201.sample(rng))["cell"] for _ in range(2500)]
    for edge in range(6):
        assert chi_square([columns[edge] for columns in samples], 5) < 18.47  # 4 degrees of freedom, p = 0.001
    for first, second in itertools.combinations(range(6), 2):
        pairs = [5 * columns[first] + columns[second] for columns in samples]
        assert chi_square(pairs, 25) < 51.18  # 24 degrees of freedom, p = 0.001


@pytest.mark.parametrize(("space", "bound"), [(RAGGED, 66.62), (KEPT, 77.42), (MACRO, 61.10)])  # p = 0.001
def test_samples_are_uniform_over_all_architectures(space, bound):
    rng = random.Random(1)
    order = {str(space.choose(columns)): i for i, columns in enumerate(every(space))}
    assert len(order) == {"ragged": 36, "kept": 44, "macro": 32}[space.name]  # degrees of freedom: one less
    samples = [order[str(space.sample(rng))] for _ in range(2500)]
    assert chi_square(samples, space.size) < bound


def test_samples_of_darts_keep_every_pair_of_edges_equally_often():
    rng = random.Random(2)
    cells = [DARTS.sample(rng)["reduce"] for _ in range(1500)]
    pairs = list(itertools.combinations(range(5), 2))
    last = [pairs.index(tuple(choice.source for choice in cell if choice.target == 5)) for cell in cells]
    assert chi_square(last, 10) < 27.88  # 9 degrees of freedom, p = 0.001
    ops = DARTS.cells["reduce"].edges[0].ops[1:]
    assert chi_square([ops.index(choice.op) for cell in cells for choice in cell], 7) < 22.46  # 6, p = 0.001


def chi_square(values, kinds):
    expected = len(values) / kinds
    return sum((values.count(kind) - expected) ** 2 / expected for kind in range(kinds))


@pytest.mark.parametrize("rng", [np.random.default_rng(0), random, 0])
def test_a_sample_is_drawn_by_a_generator_of_python(rng):
    with pytest.raises(UserError, match=r"drawn by random\.Random\(seed\), not by"):
        NB201.sample(rng)


def test_a_sample_depends_only_on_its_generator():
    random.seed(5)
    first = [NB201.sample(random.Random(3)) for _ in range(3)]
    assert len(set(first)) == 1
    assert NB201.sample(random.Random(4)) != first[0]


def test_the_plan_of_stages_doubles_channels_between_them():
    assert RAGGED.skeleton.plan(8, 2, 0) == (
        StemAt(8),
        CellAt("normal", 8),
        CellAt("normal", 8),
        ReduceAt(16),
        CellAt("last", 16),
        CellAt("last", 16),
        HeadAt(),
    )
    kinds = [type(layer).__name__ for layer in NB201.skeleton.plan(16, 5, 0)]
    assert kinds == ["StemAt", *["CellAt"] * 5, "ReduceAt", *["CellAt"] * 5, "ReduceAt", *["CellAt"] * 5, "HeadAt"]
    assert NB201.skeleton.plan(16, 5, 0)[-2] == CellAt("cell", 64)


TEXT = "an edge's candidates are names in a list, not the text 'none'"
OWN = Primitive("own", NO_OP)
OBJECT = "an edge's candidates are names in a list, not of type Primitive: a space takes what they name"
EDGES = "a cell's edges are Edges in a list: [Edge(target, source, ops), ...]"
PARTS = {
    "a space's name is a text": [{"name": 3}],
    "a space's cells are Cells by name: {'cell': Cell.dense(4, ops)}": [
        {"cells": cells} for cells in (LINE, [LINE], {"a": ["none"]}, {1: LINE})
    ],
    "a space's skeleton is an object with the method plan, as Stages(['cell'])": [
        {"skeleton": skeleton} for skeleton in (Stages, "a", ["a"])
    ],
    "a space's primitives are Primitives in a list, a single one, too: [own]": [
        {"primitives": primitives} for primitives in (OWN, ["own"])
    ],
    "a space's target is a pair of whole numbers: (width, depth)": [{"target": target} for target in (16, (16,), "16")],
}
UPWARDS = " must run from a lower node to a higher one: a cell has no cycles"
FREE = Cell.dense(3, ("skip_connect", "nor_conv_3x3"), inputs=2)
THREE = Cell.dense(4, ("nor_conv_3x3",), inputs=3, project=True)


class Stemless:
    """A user's skeleton without a stem."""

    def plan(self, width, depth, stem):
        return (CellAt("a", width), HeadAt())


class Headless:
    """A user's skeleton without a head."""

    def plan(self, width, depth, stem):
        return (StemAt(width), CellAt("a", width))


def planning(layers):
    """Return a space whose skeleton plans these layers."""

    class Planned:
        def plan(self, width, depth, stem):
            return layers

    return SearchSpace("x", {"a": LINE}, Planned())


def cell(*edges, **shape):
    return lambda: Cell(tuple(Edge(*edge) for edge in edges), **shape)


def searched(cells, stages=("a",), primitives=()):
    return lambda: SearchSpace("mine", cells, Stages(stages), primitives)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cell((0, 1, ("none",))), "edge 0<-1" + UPWARDS),
        (cell((1, 1, ("none",))), "edge 1<-1" + UPWARDS),
        (cell((1, -1, ("none",))), "edge 1<--1" + UPWARDS),
        (
            cell((1, 0, ("none",)), (1, 0, ("skip_connect",))),
            "a cell has two edges between the same two nodes; give one edge both operations instead",
        ),
        (cell((1, 0, ("none",)), (3, 1, ("none",))), "a cell's node 2 has no edge into it"),
        (cell(), "a cell's node 1 has no edge into it"),
        (cell((1, 0, ())), "edge 1<-0 has no candidate operation"),
        (cell((1, 0, "none")), TEXT),
        (lambda: Cell.dense(2, "none"), TEXT),
        (lambda: Cell.dense(2, [OWN]), OBJECT),
        (lambda: Cell.dense(2, OWN), OBJECT),
        *((lambda edges=edges: Cell(edges), EDGES) for edges in (((1, 0, ("none",)),), Edge(1, 0, ("none",)), Cell)),
        (cell(("1", 0, ("none",))), "an edge's target must be a whole number, not '1'"),
        (cell((1, None, ("none",))), "an edge's source must be a whole number, not None"),
        (cell((1, 0, ("none",), 0.0)), "an edge's branch must be a whole number, not 0.0"),
        (cell((2, 0, ("none",)), inputs="2"), "a cell's inputs must be a whole number, not '2'"),
        (lambda: Cell.dense(3, ["none"], inputs="2"), "a cell's inputs must be a whole number, not '2'"),
        (lambda: Cell.dense("3", ["none"]), "a cell's nodes must be a whole number, not '3'"),
        (lambda: Cell.dense(3, ["none"], branches=0), "a cell has at least 1 branch, not 0"),
        (
            lambda: Cell.dense(2, ["none"], inputs=2),
            "a cell's nodes include its inputs: with 2 give at least 3, not 2",
        ),
        (cell((1, 0, ("none", "none"))), "edge 1<-0 has the same candidate twice: none, none"),
        (
            searched({"a": Cell((Edge(1, 0, ("nor_conv_3x4",)),))}),
            "unknown operation 'nor_conv_3x4'; did you mean 'nor_conv_3x3'? known: "
            "nor_conv_3x3, nor_conv_1x1, sep_conv_3x3, dil_conv_3x3, sep_conv_7x7, sep_conv_5x5, dil_conv_7x7, "
            "dil_conv_5x5, max_pool_3x3, none, skip_connect, avg_pool_3x3, ... (38 in all); "
            "your own are given by primitives=",
        ),
        (searched({"a": LINE}, ("a", "b")), "unknown kind of cell 'b'; known: a"),
        (searched({"normal": LINE}, ("norml",)), "unknown kind of cell 'norml'; did you mean 'normal'? known: normal"),
        # The loss does not depend on the alphas of a cell in no stage
        (searched({"a": LINE, "b": LINE}), "cell 'b' is nowhere in the skeleton, which has a"),
        # Names that the text of a genotype cannot hold
        (
            searched({"a": Cell((Edge(1, 0, ("my op",)),))}, primitives=(Primitive("my op", NO_OP),)),
            "operation 'my op' needs a name without spaces, |, ~ and +",
        ),
        (
            searched(
                {"a": LINE}, primitives=(Primitive("b", NO_OP), Primitive("mine", NO_OP), Primitive("mine", NO_OP))
            ),
            "space 'mine' has two operations 'mine' of your own",
        ),
        (searched({"a:b": LINE}, ("a:b",)), "cell 'a:b' needs a name without spaces and :, and without + in front"),
        (searched({"a b": LINE}, ("a b",)), "cell 'a b' needs a name without spaces and :, and without + in front"),
        (searched({"+a": LINE}, ("+a",)), "cell '+a' needs a name without spaces and :, and without + in front"),
        # Two inputs, few edges kept
        (cell((1, 0, ("none",)), inputs=2), "edge 1<-0 runs into an input: the cell's own nodes are 2 and above"),
        (cell((2, 0, ("none",)), inputs=0), "a cell has at least 1 input and keeps at least 1 edge, not 0 and None"),
        (cell((2, 0, ("none",)), keep=0), "a cell has at least 1 input and keeps at least 1 edge, not 1 and 0"),
        *(
            (
                cell((1, 0, ("skip_connect",)), output="concat", keep=keep),
                f"a cell's keep is a number or (fewest, most) edges of a node, not {keep!r}",
            )
            for keep in ((0, 1, 2), "two")
        ),
        (cell((1, 0, ("none",)), output="first"), "a cell's output is 'last', 'concat' or 'unused', not 'first'"),
        (cell(inputs=2), "a cell's node 2 has no edge into it"),
        (cell((3, 0, ("none",)), inputs=2), "a cell's node 2 has no edge into it"),
        (
            searched({"a": Cell((Edge(1, 0, ("none",)),), keep=1)}),
            "edge 1<-0 has only 'none' to choose, which a cell with keep=1 leaves out",
        ),
        # Parts of another type
        *(
            (
                lambda parts=parts: SearchSpace(
                    **{"name": "x", "cells": {"a": LINE}, "skeleton": Stages(["a"])} | parts
                ),
                told,
            )
            for told, several in PARTS.items()
            for parts in several
        ),
        (
            lambda: SearchSpace.chain("c", [(["none"], 1, 1), (["none"], 1)]),
            "block 02 of a chain is (candidate operations, channels, stride)",
        ),
        # Skeletons
        (lambda: Stages("cell"), "a skeleton's stages are names in a list, not the text 'cell'"),
        (
            lambda: Stages([LINE]),
            "a skeleton's stages are names in a list, not of type Cell: a space takes what they name",
        ),
        (lambda: Stages(()), "a skeleton needs at least one stage"),
        (lambda: Chain(()), "a chain needs at least one position"),
        (lambda: SearchSpace.chain("c", []), "a chain needs at least one position"),
        (lambda: Chain((Position("a", 1),), stem=-1), "setting chain.stem must be at least 0, not -1"),
        (lambda: SearchSpace.chain("c", [(("none",), 1, 3)]), "position '01' has stride 3; it can be 1 or 2"),
        (
            lambda: SearchSpace.chain("c", [(("none",), 0, 1)]),
            "position '01' has 0 times the width in channels; give more than 0",
        ),
        (
            lambda: SearchSpace("x", {"normal": LINE, "down": LINE}, Stack()),
            "unknown kind of cell 'reduce'; known: normal, down",
        ),
        (
            lambda: SearchSpace("x", {"a": LINE, "b": LINE}, Chain((Position("a", 1),))),
            "cell 'b' is nowhere in the skeleton, which has a",
        ),
        (
            lambda: SearchSpace("x", {"a": LINE}, Stemless()),
            "the skeleton of space 'x' begins with a cell; it needs a stem before it",
        ),
        (
            lambda: SearchSpace("x", {"a": LINE}, Headless()),
            "the skeleton of space 'x' must end with a head, which makes logits",
        ),
        (lambda: planning(None), "the skeleton of space 'x' plans None, which is no layer"),
        (
            lambda: planning((StemAt(4), 5)),
            "the skeleton of space 'x' plans 5, which is no layer",
        ),
        (
            lambda: planning((StemAt(4), CellAt("a", 4.0), HeadAt())),
            "the skeleton of space 'x' has CellAt(kind='a', channels=4.0, stride=1): "
            "channels must be a whole number from 1, not 4.0",
        ),
        (
            lambda: planning((StemAt(4), ReduceAt(8, 4), CellAt("a", 8), HeadAt())),
            "the skeleton of space 'x' has ReduceAt(channels=8, stride=4): stride must be 1 or 2, not 4",
        ),
        (
            lambda: planning((StemAt(4), ConvAt(8, 2), CellAt("a", 8), HeadAt())),
            "the skeleton of space 'x' has ConvAt(channels=8, kernel=2, stride=1, activation='relu', pool=False): "
            "kernel must be an odd number, not 2",
        ),
        (
            lambda: planning((StemAt(4), CellAt("a", 4), HeadAt(), HeadAt())),
            "the skeleton of space 'x' must end with a head, which makes logits",
        ),
        (lambda: Stack(multiplier=0), "setting multiplier must be at least 1, not 0"),
        (lambda: Stack(multiplier=1.5), "setting multiplier takes a whole number, not 1.5"),
        # Inputs of different resolutions
        (
            lambda: SearchSpace("x", {"normal": FREE, "reduce": FREE}, Stack()),
            "input 0 of cell 'normal' has 16 channels of 32x32, its nearest input 32 channels of 16x16: "
            "inputs need project=True for that",
        ),
        (
            lambda: SearchSpace("x", {"a": THREE}, Chain((Position("a", 1, 2),) * 3)),
            "input 0 of cell 'a' has 16 channels of 32x32, its nearest input 16 channels of 8x8: "
            "input can have at most twice the resolution",
        ),
    ],
)
def test_wrong_spaces_are_refused_in_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_space_is_looked_up_by_name_or_returned_as_it_is():
    assert all(spaces.space(name) is value and value.name == name for name, value in SPACES.items())
    assert spaces.space(RAGGED) is RAGGED
    with pytest.raises(UserError, match=r"^unknown space 'nasbench-201'; did you mean 'nasbench201'\? known: "):
        spaces.space("nasbench-201")


def test_a_user_primitive_belongs_to_its_space_alone():
    assert RAGGED.primitive("depthwise") is RAGGED.primitives[0]
    assert RAGGED.primitive("none") is PRIMITIVES["none"]
    with pytest.raises(UserError, match=r"^unknown operation 'depthwise'"):
        NB201.primitive("depthwise")


@dataclass
class Builder:
    """A user's builder; as an object of a dataclass that can change it has no hash."""

    inner: str

    def __call__(self, cin, cout, stride, norm):
        return PRIMITIVES[self.inner].build(cin, cout, stride, norm)


def test_a_user_primitive_may_have_a_builder_without_a_hash():
    ours = [Primitive(f"own_{inner}", Builder(inner)) for inner in ("nor_conv_1x1", "nor_conv_3x3")]
    home = SearchSpace("own", {"a": Cell.dense(2, [one.name for one in ours])}, Stages(("a",)), tuple(ours))
    check_shapes(home, NetworkSize(2, 1, (8, 8)))
    costs = OperationCosts(home, NetworkSize(2, 1, (8, 8)))
    assert costs.of("a", 0, "own_nor_conv_1x1").params == 2 * 2 + 4
    assert costs.of("a", 0, "own_nor_conv_3x3").params == 9 * 2 * 2 + 4
    assert ours[0] != ours[1]


def refused(make, *arguments):
    """Return the one-line message of the UserError that `make` raises."""
    with pytest.raises(UserError) as caught:
        make(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_operations_are_checked_at_every_position():
    from torch import nn  # the other tests of this file work without torch

    def check(build, cells=("a",), **shape):
        own = Primitive("own", build)
        space = SearchSpace("x", {"a": Cell((Edge(1, 0, ("own",)),), **shape)}, Stages(cells), (own,))
        return lambda: check_shapes(space, NetworkSize(4, 1, (8, 8), 1, 3))

    def conv(cin, cout, stride):
        return nn.Conv2d(cin, cout, 1, stride)

    check(lambda cin, cout, stride, norm: conv(cin, cout, stride))()
    assert refused(check(lambda cin, cout, stride, norm: conv(cin, 7, stride))) == (
        "edge 1<-0 of cell 'a': operation 'own' gives (1, 7, 8, 8) where (1, 4, 8, 8) is needed: "
        "build(4, 4, 1, norm) must keep to its channels and stride"
    )
    assert refused(check(lambda cin, cout, stride, norm: conv(cin, cout, 2), ("a", "a"))) == (
        "edge 1<-0 of cell 'a': operation 'own' gives (1, 4, 4, 4) where (1, 4, 8, 8) is needed: "
        "build(4, 4, 1, norm) must keep to its channels and stride"
    )
    assert refused(check(lambda cin, cout, stride, norm: conv(3, cout, stride))).startswith(
        "edge 1<-0 of cell 'a': operation 'own' cannot run on 4 channels of 8x8 with 4 channels out and stride 1: "
        "Given groups=1, weight"
    )
    assert refused(check(lambda cin, cout, stride, norm: conv(cin, cout))).startswith(
        "edge 1<-0 of cell 'a': operation 'own' cannot run on 4 channels of 8x8 with 4 channels out and stride 1: "
        "test_operations_are_checked_at_every_position.<locals>.conv() missing 1 required positional argument: 'stride'"
    )
    assert refused(check(lambda cin, cout, stride: conv(cin, cout, stride))).startswith(
        "edge 1<-0 of cell 'a': operation 'own' cannot run on 4 channels of 8x8 with 4 channels out and stride 1: "
    )
    assert "stride 1: division by zero (" in refused(check(lambda cin, cout, stride, norm: 1 / 0))
    assert "stride 1: '' (" in refused(check(lambda cin, cout, stride, norm: {}[""]))
    assert refused(check(lambda cin, cout, stride, norm: None)).endswith(
        "stride 1: build returned a NoneType, no module"
    )
    assert refused(check(lambda cin, cout, stride, norm: nn.LSTM(8, 8))).startswith(
        "edge 1<-0 of cell 'a': operation 'own' cannot run on 4 "
    )

    class Changing(nn.Module):
        def __init__(self, change):
            super().__init__()
            self.change = change

        def forward(self, x):
            return self.change(x)

    assert refused(check(lambda cin, cout, stride, norm: Changing(lambda x: x.double()))) == (
        "edge 1<-0 of cell 'a': operation 'own' does not fit there: it gives float64 where float32 is needed"
    )
    assert refused(check(lambda cin, cout, stride, norm: Changing(lambda x: x.log()))) == (
        "edge 1<-0 of cell 'a': operation 'own' does not fit there: it gives NaN for ordinary numbers"
    )
    check(lambda cin, cout, stride, norm: Changing(lambda x: x / x.norm()))()

    class Adding(nn.Module):
        def forward(self, x):
            x += 1
            return x

    assert refused(check(lambda cin, cout, stride, norm: Adding())) == (
        "edge 1<-0 of cell 'a': operation 'own' does not fit there: "
        "it writes over its input, which other operations read, too"
    )
    check(lambda cin, cout, stride, norm: nn.ReLU(inplace=True))()


def test_an_error_explains_why_a_built_in_operation_does_not_fit():
    def chain(op, channels, stride):
        space = SearchSpace.chain("c", [(("nor_conv_1x1",), 1, 1), ((op,), channels, stride)])
        return lambda: check_shapes(space, NetworkSize(4, 1, (8, 8), 1, 3))

    for op in ("none", "nor_conv_1x1", "nor_conv_3x3", "noise", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"):
        for channels, stride in itertools.product((1, 2), (1, 2)):
            chain(op, channels, stride)()
    for op in ("skip_connect", "avg_pool_3x3", "max_pool_3x3"):
        chain(op, 1, 1)()
        chain(op, 1, 2)()
    chain("skip_connect", 2, 2)()  # a factorised reduction turns any channels into any others
    assert refused(chain("skip_connect", 2, 1)) == (
        "edge 1<-0 of cell '02': operation 'skip_connect' does not fit there: "
        "skip_connect passes its input on: it cannot turn 4 channels into 8 at stride 1"
    )
    for name, stride in itertools.product(("avg_pool_3x3", "max_pool_3x3"), (1, 2)):
        assert refused(chain(name, 3, stride)) == (
            f"edge 1<-0 of cell '02': operation '{name}' does not fit there: "
            f"{name} keeps the number of channels: it cannot turn 4 into 12"
        )


def test_where_an_operation_does_not_fit_is_said_and_what_helps():
    def check(**options):
        cells = {"a": Cell.dense(4, ("skip_connect", "nor_conv_3x3"), output="concat", **options)}
        return lambda: check_shapes(SearchSpace("x", cells, Stages(("a",))), NetworkSize(4, 2, (8, 8), 1, 3))

    assert refused(check()) == (
        "edge 1<-0 of cell 'a': operation 'skip_connect' does not fit there: skip_connect passes its input on: "
        "it cannot turn 12 channels into 4 at stride 1; project=True brings the inputs to the cell's channels"
    )
    check(project=True)()


def test_images_that_are_too_small_for_the_halvings_are_refused():
    def of(*size, **options):
        return NetworkSize(4, 1, size, 1, 3, **options)

    for space in (NB201, RAGGED, TWO, DARTS, MACRO):
        check_shapes(space, of(1, 1))
        check_shapes(space, of(2, 3))
    check_shapes(NB201, of(9, 3, reductions=2))  # 9x3, 5x2, 3x1
    message = "images of 9x2 pixels are too small for 0 halvings in the stem and 2 reductions: at most 1 in all"
    assert refused(NB201.layout, of(9, 2, reductions=2)) == message
    message = "images of 9x5 pixels are too small for 2 halvings in the stem and 2 reductions: at most 3 in all"
    assert refused(NB201.layout, of(9, 5, stem=2, reductions=2)) == message
    NB201.layout(of(9, 5, stem=2, reductions=1))
    NB201.layout(of(9, 5, stem=3))
    message = "images of 9x5 pixels are too small for 4 halvings in the stem and 0 reductions: at most 3 in all"
    assert refused(NB201.layout, of(9, 5, stem=4)) == message
    assert "for 1000000000 halvings in the stem" in refused(NB201.layout, of(8, 8, stem=10**9))
    assert "and 1000000000 reductions: at most 3" in refused(DARTS.layout, of(8, 8, stem=3, reductions=10**9))
    assert refused(NB201.layout, of(32, 32, reductions=3)) == "space 'nasbench201' has 2 reductions, not 3"
    assert refused(RAGGED.layout, of(32, 32, reductions=2)) == "space 'ragged' has 1 reductions, not 2"


@pytest.mark.parametrize(
    ("network_size", "message"),
    [
        (NetworkSize(width=0), "setting width must be at least 1, not 0"),
        (NetworkSize(depth=0), "setting depth must be at least 1, not 0"),
        (NetworkSize(channels=0), "setting channels must be at least 1, not 0"),
        (NetworkSize(classes=-1), "setting classes must be at least 1, not -1"),
        (NetworkSize(image_size=(0, 8)), "setting image_height must be at least 1, not 0"),
        (NetworkSize(image_size=(8, -3)), "setting image_width must be at least 1, not -3"),
        (NetworkSize(stem=-1), "setting stem must be at least 0, not -1"),
        (NetworkSize(reductions=-1), "setting reductions must be at least 0, not -1"),
    ],
)
def test_impossible_network_sizes_are_refused(network_size, message):
    for space in (NB201, DARTS, MACRO):
        assert refused(space.layout, network_size) == message


def test_fingerprints_differ_between_spaces_and_network_sizes():
    network_size = NetworkSize(4, 1, (8, 8), 1, 3)
    fingerprints = {space.fingerprint(network_size) for space in (NB201, RAGGED, TWO, MACRO, KEPT, *SPACES.values())}
    assert len(fingerprints) == len(SPACES) + 4
    assert two_input_space().fingerprint(network_size) == TWO.fingerprint(network_size)
    for changed in (
        NetworkSize(5, 1, (8, 8), 1, 3),
        NetworkSize(4, 2, (8, 8), 1, 3),
        NetworkSize(4, 1, (8, 8), 1, 3, reductions=1),
    ):
        assert TWO.fingerprint(changed) != TWO.fingerprint(network_size)
    assert replace(TWO, norm_pools=False).fingerprint(network_size) != TWO.fingerprint(network_size)


BROKEN = {
    "None.ops": "'NoneType' object has no attribute 'ops'",
    "import no_such_module": "No module named 'no_such_module'",
    "SearchSpace.chain('c', [])": "a chain needs at least one position",
}


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_wrong_in_the_module_of_a_user_space_is_told_with_its_line(line, tmp_path, monkeypatch):
    (tmp_path / "broken_space.py").write_text(f"from supernet import SearchSpace\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    told = f"cannot import space 'broken_space:MINE': {BROKEN[line]} (broken_space.py, line 2)"
    assert refused(spaces.space, "broken_space:MINE") == told
    monkeypatch.chdir("/")
    assert refused(spaces.space, "broken_space:MINE").endswith(f"({tmp_path.relative_to('/')}/broken_space.py, line 2)")


def test_what_is_wrong_in_an_operation_is_told_with_its_line(tmp_path, monkeypatch):
    source = (
        "from supernet import Cell, Primitive, SearchSpace, Stages\ndef build(cin, cout, stride, norm):\n    1 / 0\n"
    )
    parts = "{'cell': Cell.dense(2, ['own'])}, Stages(('cell',)), (Primitive('own', build),)"
    (tmp_path / "broken_operation.py").write_text(f"{source}MINE = SearchSpace('mine', {parts})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    mine = spaces.space("broken_operation:MINE")
    assert refused(check_shapes, mine, NetworkSize(4, 1, (8, 8), 1, 3)).endswith(
        "with 4 channels out and stride 1: division by zero (broken_operation.py, line 3)"
    )


def test_a_user_space_is_imported_from_its_module(tmp_path, monkeypatch):
    source = "from supernet import SearchSpace\nMINE = SearchSpace.chain('c', [(('nor_conv_1x1',), 1, 1)])\nOTHER = 3\n"
    (tmp_path / "mine_for_test_spaces.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert spaces.space("mine_for_test_spaces:MINE").name == "c"
    assert refused(spaces.space, "mine_for_test_spaces:OTHER") == (
        "space 'mine_for_test_spaces:OTHER' is not a supernet.SearchSpace"
    )
    assert refused(spaces.space, "mine_for_test_spaces:MINES").startswith(
        "cannot import space 'mine_for_test_spaces:MINES': module 'mine_for_test_spaces' has no attribute 'MINES'"
    )
    assert refused(spaces.space, "mine_for_test_spces:MINE") == (
        "cannot import space 'mine_for_test_spces:MINE': No module named 'mine_for_test_spces'"
    )
    for target in (":", ":MINE", "mine_for_test_spaces:", "..a:MINE", "a..b:MINE", "a b:MINE", "a:B:C", "a:\nB"):
        message = f"cannot import space '{target}': expected module:NAME"
        assert refused(spaces.space, target) == message.replace("\n", " ")


def test_lists_make_the_cell_that_tuples_make():
    lists = Cell([Edge(1, 0, ["skip_connect", "nor_conv_3x3"])], output="concat", keep=[0, 1])
    tuples = Cell((Edge(1, 0, ("skip_connect", "nor_conv_3x3")),), output="concat", keep=(0, 1))
    assert (lists, hash(lists), repr(lists)) == (tuples, hash(tuples), repr(tuples))
    assert (Stages(["a"]), hash(Stages(["a"]))) == (Stages(("a",)), hash(Stages(("a",))))


def test_an_index_of_the_table_may_be_no_architecture_of_a_narrower_space():
    narrow = NB201.narrowed({"cell": [[NB201.cells["cell"].edges[0].ops.index("nor_conv_3x3")]] * 6})
    only = narrow.sample(random.Random(0))
    assert narrow.parse(str(tables.load("nasbench201").index(only))) == only
    with pytest.raises(UserError, match="unknown operation on edge 1<-0"):
        narrow.parse("0")


def test_a_built_in_operation_cannot_be_replaced() -> None:
    own = Primitive("nor_conv_3x3", NO_OP)
    with pytest.raises(UserError, match="operation 'nor_conv_3x3' is built in"):
        SearchSpace("x", {"cell": Cell.dense(2, ["nor_conv_3x3"])}, Stages(("cell",)), primitives=(own,))


def test_a_space_of_ones_own_has_a_name_of_its_own():
    """A run records the name, by which its retraining finds the space again."""
    mine = replace(NB201, skeleton=Stages(("cell", "cell")))
    with pytest.raises(UserError, match="'nasbench201' is the name of another space: give yours a name of its own"):
        spaces.space(mine)
    assert spaces.space(renamed := replace(mine, name="mine")) is renamed
    assert spaces.space(replace(NB201)) == NB201


def test_a_cell_beside_one_whose_width_depends_on_the_architecture_needs_project():
    free = Cell(
        (Edge(1, 0, ("skip_connect", "nor_conv_1x1")), Edge(2, 1, ("nor_conv_1x1",))), output="unused", project=True
    )
    cells, places = (
        {"first": free, "second": Cell.dense(2, ("skip_connect",))},
        [Position("first", 1), Position("second", 1)],
    )
    with pytest.raises(UserError, match="cell 'second' needs project: it reads the output 'unused' of cell 'first'"):
        SearchSpace("mixed", cells, Chain(tuple(places)))
    assert SearchSpace("apart", cells, Stages(("first", "second"))).size > 1  # a block of one width is between them


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: SearchSpace.chain("x", 5), "the blocks of a chain are a list, not of type int"),
        (lambda: SearchSpace.chain("x", [(("skip_connect",), "2", 1)]), "position '01' has 2 times the width"),
        (lambda: SearchSpace.chain("x", [(("skip_connect",), math.inf, 1)]), "position '01' has inf times"),
        (lambda: SearchSpace.chain("x", [(("skip_connect",), 1, 2.0)]), "position '01' has stride 2.0"),
        (lambda: Chain(["a"]), "the positions of a chain are Positions, in a tuple"),
        (lambda: Chain(5), "the positions of a chain are Positions, in a tuple"),
    ],
)
def test_mistakes_in_a_chain_are_one_line(make, expected):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(expected)


def test_a_chain_of_a_list_is_that_of_a_tuple():
    positions = [Position("a", 1), Position("b", 2, 2)]
    assert {Chain(positions), Chain(tuple(positions))} == {Chain(positions)}


def test_a_skeleton_may_yield_its_layers_and_a_cell_may_have_a_plus_in_its_name():
    class Yielding:
        def plan(self, width, depth, stem):
            yield from (StemAt(4), CellAt("a", 4), HeadAt())

    assert [type(placed.layer) for placed in SearchSpace("x", {"a": LINE}, Yielding()).layout(NetworkSize(4, 1))] == [
        StemAt,
        CellAt,
        HeadAt,
    ]
    sums = searched({"a+b": LINE, "a+": LINE}, ("a+b", "a+"))()
    for seed in range(5):
        genotype = sums.sample(random.Random(seed))
        assert sums.parse(str(genotype)) == genotype


def test_an_operation_of_another_shape_is_refused_before_any_network_is_used():
    from torch import nn

    from supernet.models.network import build

    own = Primitive("own", lambda cin, cout, stride, norm: nn.Conv2d(cin, cout + 1, 1, stride))
    space = SearchSpace("x", {"a": Cell((Edge(1, 0, ("own", "none")),))}, Stages(("a",)), (own,))
    wrong = r"^operation 'own' gives \(1, 5, 8, 8\) where \(1, 4, 8, 8\) is needed: build\(4, 4, 1, norm\) must keep"
    sizes = {"width": 4, "depth": 1, "image_size": (8, 8)}
    with pytest.raises(UserError, match=wrong):
        build("|own~0|", within=space, **sizes)
    build("|none~0|", within=space, **sizes)
