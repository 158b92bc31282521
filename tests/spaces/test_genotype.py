"""Genotypes: round trips through text and JSON, and one-line errors for everything else."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.spaces import SPACES, Cell, SearchSpace, Stack, architecture
from supernet.spaces.genotype import Choice, Genotype
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.testing import macro_space, ragged_space, two_input_space

NB201 = SPACES["nasbench201"]
DARTS = SPACES["darts"]
RAGGED, TWO, MACRO = ragged_space(), two_input_space(), macro_space()
INDEX_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
V1 = (  # as the paper's code prints it
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
V1_OURS = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('avg_pool_3x3', 0), ('skip_connect', 2)], reduce_concat=range(2, 6))"
)
TWO_CELLS = "last:|none~0| normal:|skip_connect~0|+|avg_pool_3x3~0|nor_conv_1x1~1|"
MACRO_TEXT = "01:|nor_conv_3x3~0| 02:|depthwise~0| 03:|none~0| 04:|depthwise~0|"
examples = settings(derandomize=True, database=None, max_examples=200)
few_examples = settings(examples, max_examples=80)


def through_text(genotype, space):
    return space.parse(str(genotype))


def through_json(genotype):
    return Genotype.from_json(json.loads(json.dumps(genotype.to_json())))


def test_every_architecture_with_two_kinds_of_cell_survives_text_and_json():
    seen = set()
    for columns in itertools.product(range(2), range(3), range(2), range(3)):
        genotype = RAGGED.choose({"normal": columns[:3], "last": columns[3:]})
        assert through_text(genotype, RAGGED) == through_json(genotype) == genotype
        seen.add(str(genotype))
    assert len(seen) == RAGGED.size == 36


def test_the_text_is_that_of_nasbench201():
    genotype = NB201.choose({"cell": (4, 2, 1, 2, 1, 1)})
    assert str(genotype) == INDEX_0
    assert [choice[:3] for choice in genotype["cell"]] == [
        (1, 0, "avg_pool_3x3"),
        (2, 0, "nor_conv_1x1"),
        (2, 1, "skip_connect"),
        (3, 0, "nor_conv_1x1"),
        (3, 1, "skip_connect"),
        (3, 2, "skip_connect"),
    ]


def test_the_text_names_each_of_several_kinds_in_any_order():
    genotype = RAGGED.choose({"normal": (0, 2, 1), "last": (2,)})
    assert str(genotype) == TWO_CELLS
    last, normal = TWO_CELLS.split()
    assert RAGGED.parse(f"  {normal}\n {last} ") == genotype


def test_genotypes_are_equal_in_any_order_of_their_choices():
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


def test_a_genotype_of_choices_or_cells_out_of_order_is_refused():
    whole, ragged = NB201.parse(INDEX_0), RAGGED.parse(TWO_CELLS)
    for space, cells, *bare in (
        (whole.space, (("cell", whole["cell"][::-1]),)),
        (ragged.space, ragged.cells[::-1]),
        (whole.space, (("cell", 3),)),
        (whole.space, (("cell", list(whole["cell"])),)),
        (whole.space, whole.cells * 2),
        (whole.space, (("cell", (Choice(1, 0, None), Choice(1, 0, "none"))),)),
        (whole.space, whole.cells, (("b", (3, 2)),)),
        (whole.space, whole.cells, (("b", (2,)), ("a", (2,)))),
    ):
        with pytest.raises(UserError, match=r"^a Genotype is built by Genotype\.of\("):
            Genotype(space, cells, *bare)


def test_a_genotype_cannot_be_changed():
    genotype = NB201.parse(INDEX_0)
    with pytest.raises(AttributeError):
        genotype.space = "another"
    with pytest.raises(TypeError):
        genotype["cell"][0] = (1, 0, "none")


# --- DARTS' text


def test_the_papers_text_is_read_in_any_order_of_a_nodes_pairs():
    genotype = DARTS.parse(V1)
    assert str(genotype) == V1_OURS
    assert DARTS.parse(V1_OURS) == genotype
    assert [choice[:3] for choice in genotype["reduce"]] == [
        (2, 0, "max_pool_3x3"),
        (2, 1, "max_pool_3x3"),
        (3, 0, "max_pool_3x3"),
        (3, 2, "skip_connect"),
        (4, 0, "max_pool_3x3"),
        (4, 2, "skip_connect"),
        (5, 0, "avg_pool_3x3"),
        (5, 2, "skip_connect"),
    ]
    for again in (
        V1.replace("[2, 3, 4, 5]", "range(2, 6)"),
        V1.replace("[2, 3, 4, 5]", "(5, 3, 2, 4)"),
        V1.replace("[2, 3, 4, 5]", "range(2,6)", 1),
        V1.replace("(", "[").replace(")", "]").replace("Genotype[", "Genotype(")[:-1] + ")",
        V1.replace("'", '"'),
        "\n  " + V1.replace(", ", ",\n\t") + "\n",
        # By position, in the order of the paper's namedtuple
        V1.replace("normal=", "").replace("normal_concat=", "").replace("reduce=", "").replace("reduce_concat=", ""),
        "Genotype(reduce=" + V1.split("reduce=")[1][:-1] + ", " + V1.split("reduce=")[0][len("Genotype(") : -2] + ")",
    ):
        assert DARTS.parse(again) == genotype, again


@pytest.mark.parametrize("name", ["darts", "darts7", "s1", "s2", "s3", "s4"])
def test_architectures_of_darts_survive_text_and_json(name):
    space, rng = SPACES[name], random.Random(0)
    for _ in range(30):
        genotype = space.sample(rng)
        text = str(genotype)
        assert text.startswith("Genotype(normal=[('")
        assert through_text(genotype, space) == through_json(genotype) == genotype
        shuffled = eval(text, {"Genotype": lambda **fields: fields})  # as Python reads the text
        for kind in ("normal", "reduce"):
            pairs = [shuffled[kind][i : i + 2] for i in range(0, 8, 2)]
            shuffled[kind] = [pair for node in pairs for pair in rng.sample(node, 2)]
        assert space.parse(f"Genotype({', '.join(f'{k}={v}' for k, v in shuffled.items())})") == genotype


@pytest.mark.parametrize("space", [TWO, MACRO], ids=lambda space: space.name)
def test_architectures_of_user_spaces_survive_text_and_json(space):
    rng = random.Random(0)
    for _ in range(60):
        genotype = space.sample(rng)
        assert not str(genotype).startswith("Genotype(")  # not two edges into every node of a normal and a reduce cell
        assert through_text(genotype, space) == through_json(genotype) == genotype


def test_the_darts_space_also_reads_the_text_of_nasbench201():
    genotype = DARTS.parse(V1)
    other = Genotype.of("x", {"a": genotype["normal"], "b": genotype["reduce"]})
    text = str(other).replace("a:", "normal:").replace("b:", "reduce:")
    assert text.startswith("normal:|sep_conv_3x3~0|sep_conv_3x3~1|+|skip_connect~0|sep_conv_3x3~1|+")
    assert DARTS.parse(text) == genotype


@pytest.mark.parametrize("name", ["it's", '"', "back\\slash", "a,b", "),('x", "#", "{x}", "über"])
def test_operations_with_special_characters_survive_both_texts(name):
    own = Primitive(name, PRIMITIVES["nor_conv_1x1"].build)
    cell = Cell.dense(5, (name, "nor_conv_1x1"), inputs=2, keep=2, output="concat", project=True)
    space = SearchSpace("x", {"normal": cell, "reduce": cell}, Stack(), (own,))
    genotype = space.derive({kind: [[1, 0]] * 9 for kind in space.cells})
    assert str(genotype).startswith("Genotype(")
    assert {choice.op for choice in space.parse(str(genotype))["normal"]} == {name}
    assert space.parse(str(genotype)) == genotype


NORMAL, REDUCE = (V1.split(f"{kind}=")[1].split(f", {kind}_concat")[0] for kind in ("normal", "reduce"))


def darts_text(normal=NORMAL, normal_concat="range(2, 6)", reduce=REDUCE, reduce_concat="range(2, 6)"):
    return f"Genotype(normal={normal}, normal_concat={normal_concat}, reduce={reduce}, reduce_concat={reduce_concat})"


FORM = "expected Genotype(normal=[(op, source), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)"
NEITHER = "something in it is neither a list of (op, source) nor of nodes; " + FORM
FIELDS = "it needs the fields normal, normal_concat, reduce, reduce_concat, each once; " + FORM


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Code
        ("Genotype(normal=__import__('os'))", FIELDS),
        (darts_text(normal="__import__('os').system('touch hacked')"), NEITHER),
        (darts_text(normal="[(__import__('os').system('touch hacked'), 0)]"), NEITHER),
        (darts_text(normal_concat="open('hacked', 'w')"), NEITHER),
        (darts_text(normal="[('a', 0) for _ in range(8)]"), NEITHER),
        (darts_text(normal="[('a', 0)] * 4"), NEITHER),
        (darts_text(normal="(lambda: [])()"), NEITHER),
        (darts_text(normal="f'{open}'"), NEITHER),
        (darts_text(normal="x"), NEITHER),
        (darts_text(normal="[*('a', 0)]"), NEITHER),
        (darts_text(normal_concat="[2, 3, 4, -5 + 10]"), NEITHER),
        ("Genotype(**{})", FIELDS),
        ("Genotype(*[])", FIELDS),
        ("Genotype(" + V1[9:-1] + ")(open('hacked', 'w'))", "it is no Genotype(...)"),
        ("Genotype(1).x", "it is no Genotype(...)"),
        (V1 + "; open('hacked', 'w')", "invalid syntax"),
        # Too much of it
        (darts_text(normal_concat="range(10**9)"), NEITHER),
        (darts_text(normal_concat="range(2, 1000000000)"), NEITHER),
        (darts_text(normal_concat="range(-1000000000, 6)"), NEITHER),
        (darts_text(normal_concat="range(2, 6, 1)"), NEITHER),
        (darts_text(normal_concat="range()"), NEITHER),
        (darts_text(normal_concat="range(stop=6)"), NEITHER),
        (darts_text(normal="-" * 3000 + "1"), FORM),
        (darts_text(normal="-" * 100000 + "1"), "it is nested too deep; " + FORM),
        (darts_text(normal="[" * 150 + "]" * 150), FORM),
        (darts_text(normal="(" * 5000), FORM),
        (darts_text(normal="1+" * 5000 + "1"), FORM),
        (darts_text(normal="9" * 5000), FORM),
        (darts_text(normal=NORMAL.replace("0)", "0x" + "f" * 5000 + ")")), "a node has a number that no node has"),
        # Other things in place of a field
        ("Genotype(", "'(' was never closed"),
        ("Genotype()", FIELDS),
        (darts_text().replace(", reduce_concat=range(2, 6)", ""), FIELDS),
        (darts_text().replace("normal_concat", "normal_concats"), FIELDS),
        (darts_text().replace("reduce_concat", "normal"), ""),
        (darts_text()[:-1] + ", more=3)", FIELDS),
        ("Genotype([], " + darts_text()[9:], FIELDS),
        (darts_text(normal="None"), "'NoneType' object is not iterable"),
        (darts_text(normal="3"), "'int' object is not iterable"),
        (darts_text(normal="{'a': 0}"), FORM),
        (darts_text(normal="[['a']]"), "not enough values to unpack"),
        (darts_text(normal="[('a', 0, 1)]"), "too many values to unpack"),
        (darts_text(normal="[('a', 'b')]"), "'str' object cannot be interpreted as an integer"),
        (darts_text(normal="[('a', 1.0)]"), "'float' object cannot be interpreted as an integer"),
        (darts_text(normal="[('a', None)]"), "'NoneType' object cannot be interpreted as an integer"),
        (darts_text(normal="[('a', -1)]"), "a node has a number that no node has"),
        (darts_text(normal_concat="3"), "'int' object is not iterable"),
        (darts_text(normal_concat="[2, 3, 4, '5']"), "'str' object cannot be interpreted as an integer"),
        # The right kind of thing, and no cell
        (darts_text(normal=NORMAL[:-1] + ", ('skip_connect', 0)]"), "normal has 9 operations, two for each of nodes "),
        (darts_text(normal=NORMAL[:-1] + ", ('skip_connect', 0)]"), "must be these nodes, not [2, 3, 4, 5]"),
        (darts_text(reduce="[]"), "reduce has 0 operations, two for each of nodes [], and its output must be these"),
        (darts_text(reduce_concat="[2, 3, 4]"), "[2, 3, 4, 5], and its output must be these nodes, not [2, 3, 4]"),
        (darts_text(reduce_concat="[2, 2, 3, 4, 5]"), "must be these nodes, not [2, 2, 3, 4, 5]"),
        (darts_text(normal_concat="range(1, 6)"), "must be these nodes, not [1, 2, 3, 4, 5]"),
        # A cell, but not of the space
        (darts_text("[('none', 0), ('none', 1)]", "[2]"), "space 'darts' has edges 2<-0 2<-1 3<-0"),
        (darts_text(NORMAL.replace("sep_conv_3x3', 1", "sep_conv_3x3', 0", 1)), "this architecture has 2<-0 2<-0"),
        (darts_text(NORMAL.replace("skip_connect', 2", "skip_connect', 5", 1)), "5<-0 5<-5"),
        (
            darts_text(NORMAL.replace("sep_conv_3x3", "none", 1)),
            "unknown operation on edge 2<-1 of space 'darts': 'none'",
        ),
        (
            darts_text(NORMAL.replace("sep_conv", "sep_con", 1)),
            "'sep_con_3x3'; did you mean 'sep_conv_3x3'? known: max_",
        ),
        (darts_text(NORMAL.replace("sep_conv_3x3", "a\\nb", 1)), "'a b'; known: max_pool_3x3"),
        (darts_text(NORMAL.replace("'sep_conv_3x3'", "3", 1)), "'3'; known: max_pool_3x3"),
    ],
)
def test_other_darts_texts_are_refused_in_one_line_and_never_executed(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        DARTS.parse(text)
    assert message in one_line(str(caught.value))
    assert "0x7" not in str(caught.value)  # no addresses of objects
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [INDEX_0, "", "genotype(normal=[])", "Genotype", "normal:|none~0|", "|none~0|"])
def test_a_text_that_does_not_begin_as_darts_text_is_read_as_nasbench201s(text):
    with pytest.raises(UserError, match=r"^cannot read architecture "):
        DARTS.parse(text)


def test_darts_text_is_refused_in_a_space_with_other_cells():
    with pytest.raises(UserError, match=r"^space 'nasbench201' has cells cell; got normal, reduce$"):
        NB201.parse(V1)
    with pytest.raises(
        UserError, match=r"^space 'two inputs' has edges 2<-0 2<-1 3<-0 .*, of which each node keeps 2; "
    ):
        TWO.parse(V1)


@examples
@given(st.text(alphabet="Genotype(normal=[('a', 0)], reduc_concat:range26\n\\{}*+-;\"#lambdxs", max_size=80))
def test_any_text_that_begins_as_darts_text_is_an_architecture_or_a_one_line_error(text):
    parses_or_explains("Genotype(" + text)


@few_examples
@given(st.data())
def test_any_architecture_of_a_space_survives_its_text(data):
    spaces = [NB201, RAGGED, DARTS, SPACES["s1"], SPACES["s4"], TWO, MACRO, SPACES["nao-middle"]]
    space = data.draw(st.sampled_from(spaces))
    columns = {}
    for kind, cell in space.cells.items():
        chosen = [None] * len(cell.edges)
        for group in cell.groups():
            edges = data.draw(st.permutations(group))[: 1 if cell.branches > 1 else cell.keep]
            for e in edges:
                allowed = [k for k, op in enumerate(cell.edges[e].ops) if cell.keep is None or op != "none"]
                chosen[e] = data.draw(st.sampled_from(allowed))
        columns[kind] = tuple(chosen)
    genotype = space.choose(columns)
    assert space.check(genotype) is genotype
    assert space.columns(genotype) == columns
    assert through_text(genotype, space) == through_json(genotype) == genotype
    assert len(str(genotype).splitlines()) == 1


# --- mistakes


def one_line(text):
    assert text.splitlines() == [text]
    return text


def read(reader, data):
    """Return the result of `reader`, or the message of its UserError; any other exception is a bug."""
    try:
        return reader(data)
    except UserError as error:
        return str(error)


def parses_or_explains(text):
    for space in (NB201, RAGGED, DARTS, TWO, MACRO):
        result = read(space.parse, text)
        if isinstance(result, Genotype):
            assert through_text(result, space) == result
        else:
            one_line(result)


@examples
@given(st.text())
def test_any_text_is_an_architecture_or_a_one_line_error(text):
    parses_or_explains(text)


@examples
@given(st.text(alphabet="|~+: 01٣\n\u2028nonelastrm"))
def test_any_text_of_the_right_characters_is_an_architecture_or_a_one_line_error(text):
    parses_or_explains(text)


@examples
@given(
    st.sampled_from([INDEX_0, TWO_CELLS, V1, MACRO_TEXT]), st.integers(0, 500), st.integers(0, 4), st.text(max_size=3)
)
def test_damaged_text_is_an_architecture_or_a_one_line_error(text, start, length, inserted):
    parses_or_explains(text[:start] + inserted + text[start + length :])


@pytest.mark.parametrize("number", ["9" * 5000, "\u0660", "-1", "0x0", "1e0", ""])
def test_a_source_is_a_plain_number(number):  # int() accepts some of these, and raises its own error for the first
    with pytest.raises(UserError, match="expected groups like"):
        NB201.parse(INDEX_0.replace("avg_pool_3x3~0", f"avg_pool_3x3~{number}"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@few_examples
@given(json_values, json_values)
def test_any_json_is_a_genotype_or_a_one_line_error(first, second):
    for data in (first, {"space": "x", "cells": first}, {"space": "x", "cells": {"cell": [[first, second, "none"]]}}):
        result = read(Genotype.from_json, data)
        if isinstance(result, Genotype):
            assert Genotype.from_json(result.to_json()) == result
        else:
            one_line(result)


@pytest.mark.parametrize("number", [1.7, float("inf"), "1", None])
def test_json_nodes_are_whole_numbers(number):
    with pytest.raises(UserError, match="this is not a genotype"):
        Genotype.from_json({"space": "x", "cells": {"cell": [[number, 0, "none"]]}})


def test_a_name_with_line_breaks_is_quoted_in_one_line():
    cells = {
        "cell": [(1, 0, "a\nb\u2028c"), (2, 0, "none"), (2, 1, "none"), (3, 0, "none"), (3, 1, "none"), (3, 2, "none")]
    }
    message = read(NB201.check, Genotype.from_json({"space": "x", "cells": cells}))
    assert one_line(message).startswith("unknown operation on edge 1<-0 of space 'nasbench201': 'a b c'; ")


@pytest.mark.parametrize(
    ("space", "text", "parts"),
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
def test_an_error_names_the_mismatch_and_the_right_form(space, text, parts):
    with pytest.raises(UserError) as caught:
        space.parse(text)
    for part in parts:
        assert part in one_line(str(caught.value))


def test_a_genotype_with_other_cells_does_not_fit():
    with pytest.raises(UserError) as caught:
        NB201.check(RAGGED.parse(TWO_CELLS))
    assert one_line(str(caught.value)) == "space 'nasbench201' has cells cell; got last, normal"


def test_an_architecture_is_of_the_space_asked_for_whatever_it_was_read_in():
    drawn = SPACES["s2"].sample(random.Random(0))
    for what in (drawn, str(drawn), json.dumps(drawn.to_json())):
        home, found = architecture(what, "darts")
        assert (home.name, found) == ("darts", SPACES["darts"].parse(str(drawn)))
    assert architecture(drawn)[1] == drawn


def test_a_genotypes_text_in_python_makes_it_again():
    branched = Genotype.of("nao", {"normal": [(2, 0, "a", 0), (2, 1, "b", 1)]}, {"normal": [3]})
    for genotype in (DARTS.parse("DARTS_V2"), NB201.parse("9930"), branched):
        assert eval(repr(genotype)) == genotype
    assert repr(branched) == "Genotype.of('nao', {'normal': [(2, 0, 'a'), (2, 1, 'b', 1)]}, {'normal': (3,)})"
