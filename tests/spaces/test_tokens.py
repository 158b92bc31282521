"""Sequences of tokens: round trips, the allowed tokens against an enumeration, and equivalent orders of pairs."""

from __future__ import annotations

import itertools
import random

import pytest

from supernet.errors import UserError
from supernet.spaces import SPACES, Cell, Edge, SearchSpace, Stack, Stages
from supernet.spaces.genotype import Genotype
from supernet.spaces.tokens import Sequences
from supernet.testing import macro_space, ragged_space, two_input_space

OPS = ("none", "skip_connect", "nor_conv_1x1")


def small(name, cell):
    return SearchSpace(name, {"cell": cell}, Stages(("cell",)))


BRANCHED = small("branched", Cell(tuple(Edge(t, s, OPS[1:], b) for t in (1, 2) for s in range(t) for b in (0, 1))))
UNLIKE = small("unlike", Cell((Edge(1, 0, OPS[:2], 0), Edge(1, 0, OPS[1:], 1), Edge(2, 1, OPS), Edge(2, 0, OPS))))
KEEPS = small("keeps", Cell.dense(4, OPS, keep=2))
THREE = small("three", Cell.dense(5, OPS[1:], keep=3))
LISTED = {space.name: space for space in (BRANCHED, UNLIKE, KEEPS)}
OWN = (ragged_space(), two_input_space(), macro_space(), THREE)
each_space = pytest.mark.parametrize(
    "space",
    [s for s in (*SPACES.values(), *LISTED.values(), *OWN) if s.name != "darts7-fair"],
    ids=lambda space: space.name,
)
each_listed = pytest.mark.parametrize("space", LISTED.values(), ids=LISTED)


def walk(sequences, rng):
    tokens = []
    while allowed := sequences.allowed(tokens):
        tokens.append(rng.choice(allowed))
    return tuple(tokens)


def everything(space):
    """Return every sequence that `allowed` leads to."""
    sequences = Sequences(space)
    prefixes = [()]
    for _ in range(sequences.length):
        prefixes = [(*prefix, token) for prefix in prefixes for token in sequences.allowed(prefix)]
    return prefixes


def test_a_space_whose_nodes_keep_more_or_fewer_edges_has_no_sequences():
    with pytest.raises(UserError, match=r"architectures of space 'darts7-fair' are not sequences of one length"):
        Sequences(SPACES["darts7-fair"])


def test_the_tokens_of_nao_are_the_published_numbers():
    sequences = Sequences(SPACES["nao"])
    assert (sequences.vocabulary, sequences.length) == (12, 40)
    numbers = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0   0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
    genotype = SPACES["nao"].parse(numbers)
    expected = tuple(int(n) + 7 if at % 2 else int(n) + 1 for at, n in enumerate(numbers.split()))
    assert sequences.encode(genotype) == expected
    assert [len(sequences.slots[n].edges) for n in range(0, 20, 2)] == [2, 3, 4, 5, 6] * 2


def test_other_spaces_number_their_own_inputs_and_operations():
    assert (Sequences(SPACES["nao-middle"]).vocabulary, Sequences(SPACES["nao-middle"]).length) == (17, 40)
    assert (Sequences(SPACES["nasbench201"]).vocabulary, Sequences(SPACES["nasbench201"]).length) == (9, 12)
    assert (Sequences(SPACES["darts"]).vocabulary, Sequences(SPACES["darts"]).length) == (1 + 5 + 8, 32)
    cell = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    tokens = Sequences(SPACES["nasbench201"]).encode(SPACES["nasbench201"].parse(cell))
    assert tokens == (1, 5, 1, 4, 2, 7, 1, 8, 2, 4, 3, 6)


@each_space
def test_decode_inverts_encode(space):
    sequences, rng = Sequences(space), random.Random(0)
    for _ in range(40):
        genotype = space.sample(rng)
        tokens = sequences.encode(genotype)
        assert len(tokens) == sequences.length
        assert all(1 <= token < sequences.vocabulary for token in tokens)
        assert sequences.decode(tokens) == genotype


@each_space
def test_allowed_tokens_make_an_architecture(space):
    sequences, rng = Sequences(space), random.Random(1)
    for _ in range(40):
        tokens = walk(sequences, rng)
        genotype = space.check(sequences.decode(tokens))
        again = sequences.encode(genotype)
        assert sequences.canonical(again) == sequences.canonical(tokens)


@each_listed
def test_allowed_tokens_make_every_architecture_once(space):
    sequences, every = Sequences(space), everything(space)
    assert len(set(every)) == len(every)
    assert len({sequences.decode(tokens) for tokens in every}) == space.size
    prefixes = {tokens[:n] for tokens in every for n in range(5)}
    for first in itertools.product(range(sequences.vocabulary), repeat=4):
        parts = [first[:n] for n in range(4)]
        valid = all(
            part in prefixes and token in sequences.allowed(part) for part, token in zip(parts, first, strict=True)
        )
        assert valid == (first in prefixes)


def meaning(sequences, tokens):
    """Return the pairs of every node in sorted order."""
    pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
    return tuple(tuple(sorted(pairs[n] for n in node)) for node in sequences.nodes())


@pytest.mark.parametrize("space", [BRANCHED, KEEPS], ids=lambda space: space.name)
def test_equivalent_sequences_have_the_same_canonical_form(space):
    sequences = Sequences(space)
    forms = {}
    for tokens in everything(space):
        canonical = sequences.canonical(tokens)
        assert sequences.canonical(canonical) == canonical
        assert forms.setdefault(canonical, meaning(sequences, tokens)) == meaning(sequences, tokens)
    assert len(set(forms.values())) == len(forms)


def test_swapped_branches_have_one_canonical_form_but_are_two_architectures():
    sequences = Sequences(BRANCHED)
    tokens, twin = (1, 3, 1, 4, 1, 3, 2, 4), (1, 4, 1, 3, 1, 3, 2, 4)
    assert sequences.decode(tokens) != sequences.decode(twin)
    assert sequences.canonical(tokens) == sequences.canonical(twin) == tokens


def test_branches_with_different_candidates_are_not_interchangeable():
    sequences = Sequences(UNLIKE)
    assert not sequences.symmetric
    for tokens in everything(UNLIKE)[::7]:
        assert sequences.canonical(tokens) == tokens == sequences.rewritten(tokens, random.Random(0))


@each_space
def test_rewriting_keeps_the_canonical_form(space):
    sequences, rng = Sequences(space), random.Random(2)
    changed = 0
    for _ in range(40):
        tokens = sequences.encode(space.sample(rng))
        other = sequences.rewritten(tokens, rng)
        sequences.check(other)
        assert sequences.canonical(other) == sequences.canonical(tokens)
        changed += other != tokens
    assert bool(changed) == sequences.symmetric


def test_rewriting_swaps_one_uniformly_drawn_node_per_cell():
    sequences, rng = Sequences(SPACES["nao"]), random.Random(3)
    tokens = tuple(t for n in range(20) for t in ((1, 7) if n % 2 else (2, 8)))  # the pairs of every node differ
    swapped = [0] * 10
    for _ in range(2000):
        other = sequences.rewritten(tokens, rng)
        nodes = [n for n in range(10) if other[4 * n : 4 * n + 4] != tokens[4 * n : 4 * n + 4]]
        assert len(nodes) == 2
        assert nodes[0] < 5 <= nodes[1]
        for node in nodes:
            assert other[4 * node : 4 * node + 4] == (1, 7, 2, 8)
            swapped[node] += 1
    assert all(abs(count - 400) < 80 for count in swapped)  # four and a half standard deviations


def test_sources_are_encoded_in_ascending_order_and_decoded_in_any():
    space = two_input_space()
    sequences = Sequences(space)
    genotype = space.sample(random.Random(4))
    tokens = sequences.encode(genotype)
    last = tokens[8:12]  # node 4 of the normal cell: two of four
    assert last[0] < last[2]
    swapped = (*tokens[:8], *last[2:], *last[:2], *tokens[12:])
    assert sequences.decode(swapped) == genotype
    assert sequences.encode(genotype) == sequences.canonical(swapped)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((1, 4), "an architecture of space 'nasbench201' has 12 tokens, not 2"),
        ((1, 4, 1, 4, 2, 4, 1, 4, 2, 4, 3, 9), "token 11 of an architecture of 'nasbench201' is 9, not one of 4, 5, 6"),
        ((1, 4, 2, 4, 1, 4, 1, 4, 2, 4, 3, 4), "token 2 of an architecture of 'nasbench201' is 2, not one of 1"),
        ((0,) * 12, "token 0 of an architecture of 'nasbench201' is 0, not one of 1"),
    ],
)
def test_wrong_tokens_are_refused(tokens, message):
    with pytest.raises(UserError, match=message):
        Sequences(SPACES["nasbench201"]).decode(tokens)


def test_a_source_is_allowed_once_where_few_edges_are_kept():
    sequences = Sequences(KEEPS)
    assert sequences.allowed((1, 5, 1, 5, 2, 5)) == (1, 2, 3)
    assert sequences.allowed((1, 5, 1, 5, 2, 5, 2, 5)) == (1, 3)
    assert sequences.allowed((1, 5, 1, 5, 2, 5, 2, 5, 3, 5)) == ()


def test_an_architecture_of_another_space_is_refused():
    with pytest.raises(UserError):
        Sequences(SPACES["darts"]).encode(SPACES["nasbench201"].sample(random.Random(0)))
    assert isinstance(Sequences(SPACES["darts"]).decode(walk(Sequences(SPACES["darts"]), random.Random(0))), Genotype)


def test_the_kinds_of_cell_are_in_the_order_of_the_space():
    cells = {
        "reduce": Cell.dense(3, OPS, inputs=2, keep=1, project=True),
        "normal": Cell.dense(4, OPS, inputs=2, keep=1, project=True),
    }
    space = SearchSpace("order", cells, Stack())
    assert [slot.kind for slot in Sequences(space).slots] == ["reduce", "normal", "normal"]
