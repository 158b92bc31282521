from __future__ import annotations

import io
import random

import pytest

from supernet.report.console import Console, listing, short_architecture
from supernet.spaces import SPACES, SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.testing import macro_space, ragged_space

DARTS = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 1)], "
    "normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2)], reduce_concat=range(2, 4))"
)


# --- short_architecture


def test_a_long_architecture_is_counted_the_commonest_operation_first() -> None:
    assert short_architecture(DARTS) == "3 sep_conv_3x3, 3 skip_connect, 2 max_pool_3x3"
    assert short_architecture(DARTS.replace("'", '"')) == short_architecture(DARTS)


def test_the_text_of_nodes_and_of_kinds_is_counted_too() -> None:
    cells = {f"{i:02}": [(1, 0, "mobile3_3x3" if i % 3 else "skip_connect")] for i in range(1, 21)}
    assert short_architecture(str(Genotype.of("macro", cells))) == "14 mobile3_3x3, 6 skip_connect"
    dense = [(target, source, "a:b" if source else "none") for target in range(1, 8) for source in range(target)]
    assert short_architecture(str(Genotype.of("x", {"cell": dense}))) == "21 a:b, 7 none"


@pytest.mark.parametrize("home", [SPACES["nasbench201"], macro_space(), ragged_space()], ids=lambda home: home.name)
def test_a_short_architecture_stays_as_it_is(home: SearchSpace) -> None:
    text = str(home.sample(random.Random(0)))
    assert len(text) <= 110
    assert short_architecture(text) == text


@pytest.mark.parametrize("name", ["darts", "darts7", "s1", "s2", "s3", "s4"])
def test_every_architecture_of_two_inputs_gets_short(name: str) -> None:
    rng = random.Random(0)
    for _ in range(100):
        genotype = SPACES[name].sample(rng)
        text = short_architecture(str(genotype))
        assert len(text) <= 100
        assert sum(int(part.split()[0]) for part in text.split(", ")) == 16


def test_the_rarest_operations_are_counted_together_where_they_do_not_fit() -> None:
    names = [f"an_operation_with_a_long_name_{i}" for i in range(5)]
    text = str(Genotype.of("x", {f"{i:02}": [(1, 0, names[min(i, 4)])] for i in range(9)}))
    assert short_architecture(text) == f"5 {names[4]}, 1 {names[0]}, 3 others"
    assert short_architecture("|" + "x" * 120 + "~0|") == "1 operations"


def test_what_is_no_architecture_stays_as_it_is() -> None:
    assert short_architecture("x" * 200) == "x" * 200


# --- listing

ROWS = [("a", "the first of two, with a longer line about it", "Somebody, 2019"), ("second", "short", "Else, 2020")]


def listed(width: int, *, terminal: bool, rows: list[tuple[str, str, str]] = ROWS) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    listing(console, rows)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "terminal"), [(20, False), (69, True), (160, True)])
def test_a_list_has_a_line_each_where_there_is_room_or_no_terminal(width: int, terminal: bool) -> None:
    assert listed(width, terminal=terminal) == [
        "a       the first of two, with a longer line about it  Somebody, 2019",
        "second  short                                          Else, 2020",
    ]


def test_a_narrow_terminal_gets_the_columns_one_below_the_other() -> None:
    assert listed(68, terminal=True) == [
        "a       the first of two, with a longer line about it",
        "        Somebody, 2019",
        "second  short",
        "        Else, 2020",
    ]
    assert listed(40, terminal=True)[:3] == [
        "a       the first of two, with a longer",
        "        line about it",
        "        Somebody, 2019",
    ]


def test_a_list_without_the_last_column_needs_no_room_for_it() -> None:
    rows = [(name, summary, "") for name, summary, _ in ROWS]
    assert listed(53, terminal=True, rows=rows) == [f"{n:<6}  {s}" for n, s, _ in rows]
    assert len(listed(52, terminal=True, rows=rows)) == 3
