"""The text forms in which other projects, logs and files hold an architecture."""

from __future__ import annotations

import json
import random

import pytest

import supernet as sn
from supernet.errors import UserError, shown, unknown
from supernet.spaces import SPACES, architecture
from supernet.spaces.genotype import Genotype
from supernet.testing import two_input_space

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
OPS = {"skip_connect": 0, "none": 1, "nor_conv_3x3": 2, "nor_conv_1x1": 3, "avg_pool_3x3": 4}  # as NASLib numbers them
RNG = random.Random(0)
GENOTYPES = [NB201.sample(RNG) for _ in range(20)]
CELLS = [DARTS.sample(RNG) for _ in range(20)]


def nodes(genotype):
    """Return AutoDL-Projects' tuple of nodes."""
    groups = str(genotype).split("+")
    return tuple(tuple((op, int(s)) for op, s in (i.split("~") for i in g.strip("|").split("|"))) for g in groups)


def naslib(genotype):
    """Return NASLib's operations: those on the edges (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)."""
    ops = {(choice.source + 1, choice.target + 1): OPS[choice.op] for choice in genotype["cell"]}
    return tuple(ops[edge] for edge in ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)))


def fields(genotype):
    """Return the fields of DARTS' call with a list of pairs for each node, as pt.darts and AutoDL-Projects do."""
    found = {}
    for kind in ("normal", "reduce"):
        pairs = [(choice.op, choice.source) for choice in genotype[kind]]
        found |= {kind: [pairs[n : n + 2] for n in range(0, 8, 2)], f"{kind}_concat": [2, 3, 4, 5]}
    return found


def call(genotype):
    return "Genotype(" + ", ".join(f"{name}={value!r}" for name, value in fields(genotype).items()) + ")"


SINGLE = {
    "spaces": lambda g: str(g).replace("+", " +\n "),
    "structure": lambda g: f"Structure(4 nodes with {g})",
    "log": lambda g: f"[2024-01-01 12:00:00] INFO epoch 3: arch={g} loss 0.3 (best)",
    "quoted": lambda g: f"  '{g}'\n",
    "nodes": lambda g: repr(nodes(g)),
    "lists": lambda g: json.dumps(nodes(g)),
    "named": lambda g: f"genotype = {nodes(g)}",
    "naslib": lambda g: repr(naslib(g)),
    "naslib list": lambda g: f"op_indices: {list(naslib(g))}",
    "json": lambda g: json.dumps(g.to_json(), indent=2),
    "index": lambda g: f" {sn.table('nasbench201').index(g)}\n",
}
PAIR = {
    "named": lambda g: f"DARTS_V3 = {g}",
    "log": lambda g: f"2024-01-01 12:00:00,123 INFO genotype = {g} (loss 0.3)",
    "per node": call,
    "per node in a log": lambda g: f"03/01 09:00:00 AM | {call(g)}",
    "dict": lambda g: repr(fields(g)),
    "named dict": lambda g: f"best: {fields(g)}",
    "json": lambda g: json.dumps(g.to_json()),
}
CASES = [(make, g) for make in SINGLE.values() for g in GENOTYPES[:6]]
CASES += [(make, g) for make in PAIR.values() for g in CELLS[:6]]


@pytest.mark.parametrize(("make", "genotype"), CASES)
def test_every_form_is_read_and_says_its_space(make, genotype):
    text = make(genotype)
    home, found = architecture(text)
    assert (home.name, found) == (genotype.space, genotype)
    assert SPACES[genotype.space].parse(text) == genotype


def test_naslibs_order_of_edges_is_not_that_of_the_string():
    text = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    assert naslib(NB201.parse(text)) == (2, 3, 1, 0, 4, 2)
    assert str(NB201.parse("(2, 3, 1, 0, 4, 2)")) == text


def test_files_are_read(tmp_path):
    genotype = GENOTYPES[0]
    for name, text in (("genotype.json", json.dumps(genotype.to_json())), ("best.txt", f"{genotype}\n")):
        (tmp_path / name).write_text(text)
        assert architecture(tmp_path / name)[1] == architecture(str(tmp_path / name))[1] == genotype
        assert sn.build(tmp_path / name, width=2, depth=1).genotype == genotype


def test_a_file_of_an_editor_on_windows_is_read_and_one_in_utf16_is_refused(tmp_path):
    genotype = GENOTYPES[0]
    for name, text in (("genotype.json", json.dumps(genotype.to_json())), ("best.txt", f"{genotype}\r\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert architecture(tmp_path / name)[1] == genotype
        (tmp_path / name).write_text(text, encoding="utf-16")
        with pytest.raises(UserError, match=f"cannot read an architecture from '.*{name}': its text is not in UTF-8"):
            architecture(tmp_path / name)


def test_texts_are_built():
    assert sn.build(str(GENOTYPES[1]), width=2, depth=1).genotype == GENOTYPES[1]
    assert sn.build(str(GENOTYPES[1]), width=2, depth=1, within=NB201).genotype == GENOTYPES[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "best",
            "expected |op~0|+|op~0|op~1|+..., Genotype(...), a tuple of nodes or operations, NAO's numbers, ",
        ),
        ("x" * 400_000, "expected |op~0|"),
        ("|" * 400_000, "expected groups like"),
        ("Genotype(" + "(" * 300_000, "it has more than 200000 characters"),
        ("(" * 100_000, "too many nested parentheses"),
        ("[" * 150 + "]" * 150, "expected a tuple of nodes"),
        ('{"cells": ' * 50_000, ""),
        ("(1, 2)", "2 operations, and only NAS-Bench-201's cell is written so, with 6"),
        ("(0, 0, 0, 0, 0, 5)", "operations are numbered 0 to 4: skip_connect, none"),
        ("(__import__('os'),) * 6", "something in it is neither"),
        ("((('none', 0),), 5)", "'int' object is not iterable"),
        ("{'normal': []}", "it needs the fields normal, normal_concat, reduce, reduce_concat, each once"),
        ("15625", "nasbench201 has no architecture 15625: expected 0..15624"),
        ("9" * 5000, "nasbench201 has no architecture 999999999"),
        ("normal:|a~0| reduce:|a~0|", "does not say what space it is of"),
        ('{"cells": {"cell": [[1, 2]]}, "space": "nasbench201"}', "this is not a genotype"),
        ('{"cells": {}, "space": "mine"}', "space 'mine' is one of your own"),
    ],
    ids=lambda text: text[:20],
)
def test_other_texts_are_refused_in_one_short_line(text, message):
    with pytest.raises(UserError) as caught:
        architecture(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600
    assert len(str(caught.value).splitlines()) == 1


def test_six_operations_are_no_architecture_of_other_cells():
    with pytest.raises(UserError, match="it has a single cell; expected one cell for each of normal, reduce"):
        DARTS.parse("(4, 0, 3, 1, 4, 3)")
    with pytest.raises(UserError, match="cannot read architecture '9930'"):
        two_input_space().parse("9930")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Genotype(3, 4),
        lambda: Genotype("x", ((1, 2),)),
        lambda: Genotype("x", (("cell", ((1, 0, "none"),)),)),
        lambda: Genotype.of("x", 3),
        lambda: Genotype.of("x", {"cell": [(1,)]}),
        lambda: Genotype.of("x", {"cell": [("a", 0, "none")]}),
        lambda: Genotype.of("x", {1: [], "a": []}),
        lambda: NB201.check("none"),
        lambda: NB201.parse(9930),
        lambda: sn.build("|x|"),
        lambda: sn.build(None),
        lambda: sn.build(GENOTYPES[0], classes="a"),
        lambda: sn.build(GENOTYPES[0], width=2.5),
        lambda: sn.build(GENOTYPES[0], depth=None),
        lambda: sn.build(GENOTYPES[0], image_size=32),
        lambda: sn.space(None),
        lambda: sn.space([]),
        lambda: sn.table(5),
        lambda: sn.table([]),
    ],
)
def test_arguments_of_other_types_are_refused(make):
    with pytest.raises(UserError) as caught:
        make()
    assert len(str(caught.value).splitlines()) == 1


def test_long_texts_are_quoted_without_their_middle():
    assert shown("a\n b") == "a b"
    assert shown("x" * 120) == "x" * 120
    assert len(shown("x" * 121)) == 120
    assert len(str(UserError("x" * 5000))) == 999
    found = str(unknown("name", "bogus", [f"field{number}" for number in range(30)], "supernet query --fields"))
    assert "field0, " in found
    assert found.endswith("(30 in all: see supernet query --fields)")
