"""Sizes, durations and architectures as short texts."""

from __future__ import annotations

import random

import pytest

from supernet.report.text import duration, number, short_architecture, size
from supernet.spaces import SPACES, SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.testing import macro_space, ragged_space

DARTS = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 1)], "
    "normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2)], reduce_concat=range(2, 4))"
)


def test_one_is_counted_without_an_s() -> None:
    assert [number(count, "epoch") for count in (0, 1, 40)] == ["0 epochs", "1 epoch", "40 epochs"]


def test_durations_and_sizes() -> None:
    seconds = (0.0123, 0.9996, 4.25, 59.96, 61.4, 3599.7, 3600, 12_345, 400_000)
    wanted = ["12 ms", "1.0 s", "4.2 s", "1 min 00 s", "1 min 01 s", "1 h 00 min", "1 h 00 min", "3 h 25 min"]
    assert [duration(each) for each in seconds] == [*wanted, "111 h 06 min"]
    sizes = (0, 999, 1000, 1_550_000, 2 * 10**9, 3 * 10**12)
    assert [size(each) for each in sizes] == ["0 bytes", "999 bytes", "1.0 kB", "1.6 MB", "2.0 GB", "3.0 TB"]


def test_a_long_architecture_becomes_counts_of_operations_the_most_frequent_first() -> None:
    assert short_architecture(DARTS) == "3 sep_conv_3x3, 3 skip_connect, 2 max_pool_3x3"
    assert short_architecture(DARTS.replace("'", '"')) == short_architecture(DARTS)


def test_operations_of_macro_spaces_and_dense_cells_are_counted() -> None:
    cells = {f"{i:02}": [(1, 0, "mobile3_3x3" if i % 3 else "skip_connect")] for i in range(1, 21)}
    assert short_architecture(str(Genotype.of("macro", cells))) == "14 mobile3_3x3, 6 skip_connect"
    dense = [(target, source, "a:b" if source else "none") for target in range(1, 8) for source in range(target)]
    assert short_architecture(str(Genotype.of("x", {"cell": dense}))) == "21 a:b, 7 none"


@pytest.mark.parametrize("space", [SPACES["nasbench201"], macro_space(), ragged_space()], ids=lambda space: space.name)
def test_a_short_architecture_is_not_changed(space: SearchSpace) -> None:
    text = str(space.sample(random.Random(0)))
    assert len(text) <= 110
    assert short_architecture(text) == text


@pytest.mark.parametrize("name", ["darts", "darts7", "s1", "s2", "s3", "s4"])
def test_architectures_with_two_inputs_are_shortened(name: str) -> None:
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


def test_other_texts_are_not_changed() -> None:
    assert short_architecture("x" * 200) == "x" * 200
