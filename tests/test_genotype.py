"""Genotypes: their text and JSON are the architecture, and nothing else is."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ragged_space
from supernet.errors import UserError
from supernet.genotype import Genotype
from supernet.spaces import space

NB201 = space("nasbench201")
RAGGED = ragged_space()
INDEX_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
TWO_CELLS = "last:|none~0| normal:|skip_connect~0|+|avg_pool_3x3~0|nor_conv_1x1~1|"
examples = settings(deadline=None, derandomize=True, database=None, max_examples=300)


def test_all_15625_architectures_survive_text_and_json():
    seen = set()
    for columns in itertools.product(range(5), repeat=6):
        genotype = NB201.choose({"cell": columns})
        assert NB201.parse(str(genotype)) == genotype
        assert Genotype.from_json(json.loads(json.dumps(genotype.to_json()))) == genotype
        seen.add(genotype)
    assert len(seen) == 15625


def test_every_architecture_with_two_kinds_of_cell_survives_text_and_json():
    seen = set()
    for columns in itertools.product(range(2), range(3), range(2), range(3)):
        genotype = RAGGED.choose({"normal": columns[:3], "last": columns[3:]})
        assert RAGGED.parse(str(genotype)) == genotype
        assert Genotype.from_json(json.loads(json.dumps(genotype.to_json()))) == genotype
        seen.add(str(genotype))
    assert len(seen) == RAGGED.size == 36


def test_text_is_the_benchmarks():
    genotype = NB201.choose({"cell": (4, 2, 1, 2, 1, 1)})
    assert str(genotype) == INDEX_0
    assert [tuple(choice) for choice in genotype["cell"]] == [
        (1, 0, "avg_pool_3x3"),
        (2, 0, "nor_conv_1x1"),
        (2, 1, "skip_connect"),
        (3, 0, "nor_conv_1x1"),
        (3, 1, "skip_connect"),
        (3, 2, "skip_connect"),
    ]


def test_text_of_several_kinds_prefixes_each_and_their_order_means_nothing():
    genotype = RAGGED.choose({"normal": (0, 2, 1), "last": (2,)})
    assert str(genotype) == TWO_CELLS
    last, normal = TWO_CELLS.split()
    assert RAGGED.parse(f"  {normal}\n {last} ") == genotype


def test_equal_by_meaning_however_it_was_written():
    triples = [tuple(choice) for choice in NB201.parse(INDEX_0)["cell"]]
    for seed in range(5):
        random.Random(seed).shuffle(triples)
        again = Genotype.of("nasbench201", {"cell": iter(triples)})
        assert again == NB201.parse(INDEX_0)
        assert hash(again) == hash(NB201.parse(INDEX_0))
        assert str(again) == INDEX_0
    other = Genotype.of("nasbench201", {"cell": [(*triples[0][:2], "none"), *triples[1:]]})
    assert other != again
    assert Genotype.of("another", {"cell": triples}) != again


def test_a_genotype_cannot_be_changed():
    genotype = NB201.parse(INDEX_0)
    with pytest.raises(AttributeError):
        genotype.space = "another"
    with pytest.raises(TypeError):
        genotype["cell"][0] = (1, 0, "none")


def one_line(text):
    assert text.splitlines() == [text]
    return text


def read(reader, given):
    """Return what `reader` makes of `given`, or the message of its UserError; anything else that it raises is a bug."""
    try:
        return reader(given)
    except UserError as error:
        return str(error)


def parses_or_says_why(text):
    for home in (NB201, RAGGED):
        found = read(home.parse, text)
        if isinstance(found, Genotype):
            assert home.parse(str(found)) == found
        else:
            one_line(found)


@examples
@given(st.text())
def test_any_text_is_an_architecture_or_one_line(text):
    parses_or_says_why(text)


@examples
@given(st.text(alphabet="|~+: 01٣\n\u2028nonelastrm"))
def test_any_text_of_the_right_characters_is_an_architecture_or_one_line(text):
    parses_or_says_why(text)


@examples
@given(st.sampled_from([INDEX_0, TWO_CELLS]), st.integers(0, 60), st.integers(0, 4), st.text(max_size=3))
def test_damaged_text_is_an_architecture_or_one_line(text, start, length, put):
    parses_or_says_why(text[:start] + put + text[start + length :])


@pytest.mark.parametrize("number", ["9" * 5000, "\u0660", "-1", "0x0", "1e0", ""])
def test_an_edge_is_a_plain_number(number):  # int() would take some of these, and raise its own error on the first
    with pytest.raises(UserError, match="expected groups like"):
        NB201.parse(INDEX_0.replace("avg_pool_3x3~0", f"avg_pool_3x3~{number}"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@examples
@given(json_values, json_values)
def test_any_json_is_a_genotype_or_one_line(first, second):
    for data in (first, {"space": "x", "cells": first}, {"space": "x", "cells": {"cell": [[first, second, "none"]]}}):
        found = read(Genotype.from_json, data)
        if isinstance(found, Genotype):
            assert Genotype.from_json(found.to_json()) == found
        else:
            one_line(found)


@pytest.mark.parametrize("number", [1.7, float("inf"), "1", None])
def test_json_nodes_are_whole_numbers(number):
    with pytest.raises(UserError, match="this is not a genotype"):
        Genotype.from_json({"space": "x", "cells": {"cell": [[number, 0, "none"]]}})


@pytest.mark.parametrize(
    ("home", "text", "told"),
    [
        (NB201, "|none~0|", ["edges 1<-0 2<-0 2<-1 3<-0 3<-1 3<-2", "this architecture has 1<-0"]),
        (NB201, INDEX_0.replace("nor_conv_1x1~0", "nor_conv_1x1~1", 1), ["2<-0 2<-1", "has 1<-0 2<-1 2<-1"]),
        (NB201, INDEX_0.replace("avg_pool_3x3", "avg_pool"), ["edge 1<-0", "did you mean 'avg_pool_3x3'", "none"]),
        (NB201, TWO_CELLS, ["cannot read", "groups like |op~0|op~1|"]),
        (RAGGED, INDEX_0, ["cannot read"]),
        (RAGGED, TWO_CELLS.split()[0], ["one cell for each of last, normal"]),
        (RAGGED, TWO_CELLS + " last:|none~0|", ["one cell for each of last, normal"]),
        (RAGGED, TWO_CELLS.replace("last", "lost"), ["one cell for each of last, normal"]),
        (RAGGED, TWO_CELLS.replace("skip_connect", "none"), ["edge 1<-0 of space 'ragged'", "skip_connect, depthwise"]),
    ],
)
def test_what_does_not_fit_a_space_is_told_with_what_would(home, text, told):
    with pytest.raises(UserError) as caught:
        home.parse(text)
    for part in told:
        assert part in one_line(str(caught.value))


def test_a_genotype_with_other_cells_does_not_fit():
    with pytest.raises(UserError) as caught:
        NB201.check(RAGGED.parse(TWO_CELLS))
    assert one_line(str(caught.value)) == "space 'nasbench201' has cells cell; got last, normal"
