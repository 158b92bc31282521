"""Search spaces: the number of architectures, their order, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import random

import pytest

from conftest import ragged_space
from supernet import tables
from supernet.errors import UserError
from supernet.model import check_image
from supernet.primitives import PRIMITIVES, Primitive
from supernet.spaces import SPACES, Cell, Edge, SearchSpace, Skeleton, space
from supernet.spaces.base import CellAt, HeadAt, ReduceAt, StemAt

NB201 = space("nasbench201")
RAGGED = ragged_space()
LINE = Cell((Edge(1, 0, ("skip_connect", "nor_conv_3x3")),))
NO_OP = PRIMITIVES["skip_connect"].build


def every(home):
    """All architectures as columns per kind, the last edge of the last kind fastest."""
    sizes = [len(edge.ops) for cell in home.cells.values() for edge in cell.edges]
    for columns in itertools.product(*map(range, sizes)):
        rest = iter(columns)
        yield {kind: tuple(itertools.islice(rest, len(cell.edges))) for kind, cell in home.cells.items()}


def test_nasbench201_has_its_edges_operations_and_size():
    cell = NB201.cells["cell"]
    assert [(edge.target, edge.source) for edge in cell.edges] == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert {edge.ops for edge in cell.edges} == {
        ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    }
    assert (NB201.size, cell.nodes, cell.columns) == (15625, 4, 5)


def test_a_ragged_space_multiplies_its_candidates():
    assert RAGGED.size == 2 * 3 * 2 * 3
    assert [cell.columns for cell in RAGGED.cells.values()] == [3, 3]


def test_the_products_order_shuffled_by_the_benchmark_is_the_tables_order():
    texts = [str(NB201.choose(columns)) for columns in every(NB201)]
    random.Random(88).shuffle(texts)
    assert hashlib.md5("\n".join(texts).encode()).hexdigest() == "1985aacc268bf045d31ddeecaaac0dc0"
    table = tables.load("nasbench201")
    assert [table.index(NB201.parse(text)) for text in texts] == list(range(15625))


@pytest.mark.parametrize("home", [NB201, RAGGED], ids=lambda home: home.name)
def test_columns_and_choose_are_inverses(home):
    for columns in every(home):
        assert home.columns(home.choose(columns)) == columns


def test_edges_are_ordered_by_target_then_source():
    edges = [Edge(2, 1, ("none",)), Edge(1, 0, ("none",)), Edge(2, 0, ("none",))]
    assert [(e.target, e.source) for e in Cell(tuple(edges)).edges] == [(1, 0), (2, 0), (2, 1)]
    assert Cell(tuple(edges)) == Cell(tuple(reversed(edges)))


def drawn_strength(home, rng):
    """Few values, so that ties are common; beyond an edge's candidates the largest of all."""

    def row(edge, width):
        own = [rng.randrange(3) for _ in edge.ops]
        return own + [9] * (width - len(own))

    return {kind: [row(edge, cell.columns) for edge in cell.edges] for kind, cell in home.cells.items()}


def test_derive_is_the_best_of_all_architectures_and_the_first_among_equals():
    def total(columns):
        return sum(strength[kind][e][c] for kind, row in columns.items() for e, c in enumerate(row))

    rng = random.Random(0)
    for _ in range(60):
        strength = drawn_strength(RAGGED, rng)
        wanted = max(every(RAGGED), key=total)  # the first of the best, and they come in the columns' order
        assert RAGGED.columns(RAGGED.derive(strength)) == wanted


def test_derive_in_nasbench201_is_the_first_largest_of_every_row():
    rng = random.Random(0)
    for _ in range(60):
        strength = drawn_strength(NB201, rng)
        wanted = tuple(row.index(max(row)) for row in strength["cell"])
        assert NB201.columns(NB201.derive(strength)) == {"cell": wanted}


def test_derive_may_choose_none():
    assert NB201.derive({"cell": [[1, 0, 0, 0, 0]] * 6}) == NB201.choose({"cell": (0,) * 6})


def test_sample_is_uniform_and_its_edges_are_independent():
    rng, n = random.Random(0), 5000
    drawn = [NB201.columns(NB201.sample(rng))["cell"] for _ in range(n)]
    for edge in range(6):
        assert chi_square([columns[edge] for columns in drawn], 5) < 18.47  # 4 degrees of freedom, p = 0.001
    for first, second in itertools.combinations(range(6), 2):
        pairs = [5 * columns[first] + columns[second] for columns in drawn]
        assert chi_square(pairs, 25) < 51.18  # 24 degrees of freedom, p = 0.001


def test_sample_is_uniform_over_a_ragged_space():
    rng = random.Random(1)
    order = {str(RAGGED.choose(columns)): i for i, columns in enumerate(every(RAGGED))}
    drawn = [order[str(RAGGED.sample(rng))] for _ in range(5000)]
    assert chi_square(drawn, 36) < 66.62  # 35 degrees of freedom, p = 0.001


def chi_square(values, kinds):
    expected = len(values) / kinds
    return sum((values.count(kind) - expected) ** 2 / expected for kind in range(kinds))


def test_sample_follows_its_generator_alone():
    random.seed(5)
    first = [NB201.sample(random.Random(3)) for _ in range(3)]
    assert len(set(first)) == 1
    assert NB201.sample(random.Random(4)) != first[0]


def test_the_plan_doubles_channels_between_stages():
    assert RAGGED.skeleton.plan(8, 2) == (
        StemAt(8),
        CellAt("normal", 8),
        CellAt("normal", 8),
        ReduceAt(8, 16),
        CellAt("last", 16),
        CellAt("last", 16),
        HeadAt(16),
    )
    kinds = [type(layer).__name__ for layer in NB201.skeleton.plan(16, 5)]
    assert kinds == ["StemAt", *["CellAt"] * 5, "ReduceAt", *["CellAt"] * 5, "ReduceAt", *["CellAt"] * 5, "HeadAt"]
    assert NB201.skeleton.plan(16, 5)[-1] == HeadAt(64)


def cell(*edges):
    return lambda: Cell(tuple(Edge(*edge) for edge in edges))


def searched(cells, stages=("a",), primitives=()):
    return lambda: SearchSpace("mine", cells, Skeleton(stages), primitives)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cell((0, 1, ("none",))), "edge 0<-1 must run from a lower node to a higher one"),
        (cell((1, 1, ("none",))), "edge 1<-1 must run from a lower node to a higher one"),
        (cell((1, -1, ("none",))), "edge 1<--1 must run from a lower node to a higher one"),
        (
            cell((1, 0, ("none",)), (1, 0, ("skip_connect",))),
            "a cell has two edges between the same two nodes; give one edge both operations instead",
        ),
        (cell((1, 0, ("none",)), (3, 1, ("none",))), "a cell's node 2 has no edge into it"),
        (cell(), "a cell's node 1 has no edge into it"),
        (cell((1, 0, ())), "edge 1<-0 has no candidate operation"),
        (cell((1, 0, ("none", "none"))), "edge 1<-0 has the same candidate twice: none, none"),
        (
            searched({"a": Cell((Edge(1, 0, ("nor_conv_3x4",)),))}),
            "unknown operation 'nor_conv_3x4'; did you mean 'nor_conv_3x3'? known: "
            "none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3",
        ),
        (searched({"a": LINE}, ("a", "b")), "unknown kind of cell 'b'; known: a"),
        (searched({"normal": LINE}, ("norml",)), "unknown kind of cell 'norml'; did you mean 'normal'? known: normal"),
        # A cell in no stage has alphas that nothing depends on: the bi-level gradient would not exist
        (searched({"a": LINE, "b": LINE}), "cell 'b' is in no stage of the skeleton: a"),
        # Names that a genotype's text could not be read back with
        (
            searched({"a": Cell((Edge(1, 0, ("my op",)),))}, primitives=(Primitive("my op", NO_OP),)),
            "operation 'my op' needs a name without spaces, |, ~ and +",
        ),
        (searched({"a:b": LINE}, ("a:b",)), "cell 'a:b' needs a name without spaces and :"),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_spaces_are_found_by_name_or_are_themselves():
    assert all(space(name) is value and value.name == name for name, value in SPACES.items())
    assert space(RAGGED) is RAGGED
    with pytest.raises(UserError, match=r"^unknown space 'nasbench-201'; did you mean 'nasbench201'\? known: "):
        space("nasbench-201")


def test_a_users_primitive_is_known_in_its_space_alone():
    assert RAGGED.primitive("depthwise") is RAGGED.primitives[0]
    assert RAGGED.primitive("none") is PRIMITIVES["none"]
    with pytest.raises(UserError, match=r"^unknown operation 'depthwise'"):
        NB201.primitive("depthwise")


def test_images_must_survive_the_reductions():
    check_image(NB201, (4, 9))
    check_image(RAGGED, (2, 2))
    with pytest.raises(UserError, match=r"^images of 9x3 pixels are too small for the 2 reductions of .* least 4x4$"):
        check_image(NB201, (9, 3))


def test_a_space_needs_a_stage() -> None:
    with pytest.raises(UserError, match="the skeleton of space 'x' has no stage"):
        SearchSpace("x", {}, Skeleton(()))


def test_a_built_in_operation_cannot_be_replaced_unawares() -> None:
    own = Primitive("nor_conv_3x3", NO_OP)
    with pytest.raises(UserError, match="operation 'nor_conv_3x3' is built in"):
        SearchSpace("x", {"cell": Cell.dense(2, ["nor_conv_3x3"])}, Skeleton(("cell",)), primitives=(own,))
