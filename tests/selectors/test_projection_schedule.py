"""The projection schedule: its decisions, their order, and those taken in one step."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from supernet.selectors.projection_schedule import Decision, projection_schedule
from supernet.spaces import Cell, Edge, SearchSpace, Stack, Stages, space
from supernet.testing import macro_space, ragged_space, two_input_space

SPACES = [space("nasbench201"), space("darts7"), space("s3"), ragged_space(), two_input_space(), macro_space()]
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)


def operations(schedule):
    return [step for step in schedule if not any(decision.of_node for decision in step)]


def nodes(schedule):
    return schedule[len(operations(schedule)) :]


@each_space
def test_every_edge_and_every_node_that_keeps_few_is_decided_once_and_nodes_come_last(home):
    for seed in range(5):
        schedule = projection_schedule(home, seed)
        decisions = Counter(itertools.chain(*schedule))
        wanted = [
            Decision(kind, (edge,))
            for kind, cell in home.cells.items()
            for edge, columns in enumerate(home.candidates(cell))
            if len(columns) > 1
        ]
        for kind, cell in home.cells.items():
            into = [[e for e, edge in enumerate(cell.edges) if edge.target == n] for n in range(cell.nodes)]
            wanted += [Decision(kind, tuple(node)) for node in into if cell.keep and len(node) > cell.keep]
        assert decisions == Counter(wanted)
        assert all(decision.of_node for step in nodes(schedule) for decision in step)
        assert all(schedule)


def test_nasbench201_is_six_edges_one_after_the_other():
    schedule = projection_schedule(SPACES[0], 0)
    assert [len(step) for step in schedule] == [1] * 6
    assert {step[0].kind for step in schedule} == {"cell"}


@pytest.mark.parametrize("home", SPACES[1:3], ids=lambda home: home.name)
def test_the_cells_of_darts_are_decided_side_by_side_and_then_the_three_nodes_of_more_than_two_edges(home):
    schedule = projection_schedule(home, 0)
    assert len(schedule) == 14 + 3
    assert all([decision.kind for decision in step] == ["normal", "reduce"] for step in schedule)
    for kind in (0, 1):
        numbers = [step[kind].edges for step in nodes(schedule)]
        assert sorted(numbers) == [(2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12, 13)]


def test_a_macro_space_is_decided_position_after_position():
    schedule = projection_schedule(SPACES[-1], 3)
    assert [len(step) for step in schedule] == [1] * 4
    assert {step[0].kind for step in schedule} == {"01", "02", "03", "04"}


def test_cells_of_different_size_go_side_by_side_as_long_as_there_are_edges_of_both():
    schedule = projection_schedule(two_input_space(), 0)
    kinds = [[decision.kind for decision in step] for step in schedule]
    # "reduce" has one edge with a choice; the last two steps are of nodes
    assert kinds == [["normal", "reduce"]] + [["normal"]] * 8 + [["normal"]] * 2
    chosen = [projection_schedule(ragged_space(), seed) for seed in range(3)]
    assert all([len(step) for step in schedule] == [2, 1, 1] for schedule in chosen)  # "last" has a single edge


@each_space
def test_a_seed_decides_the_order_and_another_one_another(home):
    assert projection_schedule(home, 7) == projection_schedule(home, 7)
    orders = {tuple(projection_schedule(home, seed)) for seed in range(12)}
    assert len(orders) > 5 or home.name == "ragged"
    assert len(orders) > 2
    cell = next(iter(home.cells.values()))
    assert len({schedule[0][0] for schedule in orders}) > min(3, len(cell.edges)) - 1


def test_cells_are_not_shuffled_alike():
    schedule = operations(projection_schedule(SPACES[1], 0))
    assert [step[0].edges for step in schedule] != [step[1].edges for step in schedule]


def test_every_order_of_three_edges_is_as_likely():
    home = SearchSpace(
        "three",
        {"cell": Cell(tuple(Edge(2 + n, n, ("skip_connect", "none")) for n in range(3)), inputs=2, output="concat")},
        SPACES[0].skeleton.__class__(("cell",)),
    )
    counts = Counter(tuple(step[0].edges[0] for step in projection_schedule(home, seed)) for seed in range(1200))
    assert len(counts) == 6
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 20.5  # chi-square, 5 degrees: p < 0.001


def test_nodes_that_keep_all_their_edges_are_no_decision():
    keep = Cell.dense(5, ("skip_connect", "sep_conv_3x3"), inputs=2, output="concat", keep=3, project=True)
    home = SearchSpace("keeps", {"normal": keep, "reduce": keep}, Stack())
    assert [decision.edges for step in nodes(projection_schedule(home, 0)) for decision in step] == [(5, 6, 7, 8)] * 2


def test_an_edge_with_a_single_candidate_is_no_decision():
    edges = (Edge(1, 0, ("skip_connect",)), Edge(2, 0, ("none", "skip_connect")), Edge(2, 1, ("nor_conv_1x1",)))
    every = SearchSpace("every", {"cell": Cell(edges)}, Stages(("cell",)))
    assert projection_schedule(every, 0) == [(Decision("cell", (1,)),)]
    few = SearchSpace("few", {"cell": Cell(edges, keep=1, output="concat")}, Stages(("cell",)))
    assert projection_schedule(few, 0) == [(Decision("cell", (1, 2)),)]  # none is no candidate
    one = SearchSpace("one", {"cell": Cell(edges[::2])}, Stages(("cell",)))
    assert projection_schedule(one, 0) == []


def test_the_blocks_of_all_stages_are_decided_one_after_another():
    schedule = projection_schedule(space("mobile"), 0)
    assert [len(step) for step in schedule] == [1] * 22
    assert [step[0].kind for step in schedule] != sorted(step[0].kind for step in schedule)
