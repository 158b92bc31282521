"""Searches that query a table, against counts by hand; their comparison, its command and its picture."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import supernet as sn
from conftest import Call
from supernet.errors import UserError
from supernet.methods.nao.controller_config import ControllerConfig
from supernet.report.plots import draw_tabular
from supernet.searching.tabular import EvolutionConfig, TabularNAOConfig
from supernet.searching.tabular.evolution import evolution
from supernet.searching.tabular.nao import nao
from supernet.searching.tabular.queries import Queries, at_random
from supernet.selectors.ageing import mutated
from supernet.spaces import Cell, SearchSpace, Stages, space, tables
from supernet.spaces.tables import Table
from supernet.spaces.tables.table import Field
from supernet.spaces.tokens import Sequences
from supernet.testing import ragged_space, two_input_space

OPS = ("none", "skip_connect", "nor_conv_1x1")
TOY = SearchSpace("toy", {"cell": Cell.dense(3, OPS)}, Stages(("cell",)), table="toy")  # 27 architectures
BETTER = {"valid": 1, "test": 1, "size": -1, "seeds": 0, "gaps": 1}
FAST = ControllerConfig(embedding=4, hidden=8, epochs=3, lr=1e-2, max_step=3)


class ToyTable(Table):
    """A table without a file: fields are numbers of the architecture's index."""

    def __init__(self) -> None:
        self.name, self._length = "toy", TOY.size
        ops = itertools.product(OPS, repeat=3)
        places = [(1, 0), (2, 0), (2, 1)]
        self.all = [sn.Genotype.of("toy", {"cell": [(*p, o) for p, o in zip(places, row, strict=True)]}) for row in ops]
        numbers = np.arange(len(self.all), dtype=np.float64)
        gaps = np.where(numbers == 3, np.nan, numbers)
        valid = 100 * np.abs(np.sin(5 * numbers))  # unrelated to the values of neighbours
        columns = {"valid": valid, "test": numbers, "size": numbers, "seeds": numbers, "gaps": gaps}
        self._columns = columns
        self._fields = {name: Field(name, 1, 1, better, hardware=False) for name, better in BETTER.items()}
        self.fields = dict.fromkeys(BETTER, "for tests")

    def index(self, genotype):
        return self.all.index(genotype)

    def genotype(self, index):
        return self.all[index]

    def summary(self, index):
        raise NotImplementedError


TABLE = ToyTable()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    monkeypatch.setitem(tables.TABLES, "toy", lambda: TABLE)
    tables._loaded.cache_clear()
    yield TOY
    tables._loaded.cache_clear()


def queries(space=TOY, budget=20, table=TABLE, fitness="valid"):
    return Queries(Sequences(space), table, fitness, budget)


def nb201(budget):
    return queries(space("nasbench201"), budget, tables.load("nasbench201"), "c10_valid_12")


# --- queries and random search


def test_the_incumbent_is_the_running_maximum_and_the_first_among_equals():
    queried = queries(budget=40)
    at_random(queried, random.Random(0))
    fitness = TABLE.column("valid")
    assert len(queried.indices) == 40
    assert queried.left == 0
    for count, best in enumerate(queried.incumbents(), 1):
        seen = queried.indices[:count]
        assert best == max(seen, key=lambda index: fitness[index])  # max returns the first
    assert len(set(queried.indices)) < 40  # a repeated query counts again


def test_random_search_is_uniform():
    queried = queries(budget=2700)
    at_random(queried, random.Random(1))
    counts = Counter(queried.indices)
    assert len(counts) == 27
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 55  # chi-square, 26 degrees: 1 in 1000


def test_a_search_that_ends_early_keeps_its_last_incumbent():
    queried = queries(budget=5)
    for genotype in TABLE.all[:2]:
        queried.ask(queried.sequences.encode(genotype))
    assert queried.left == 3
    assert queried.incumbents() == [0, 1, 1, 1, 1]


# --- evolution


def edges(queried, number):
    return [choice.op for _, cell in TABLE.all[queried.indices[number]].cells for choice in cell]


@pytest.mark.parametrize("population", [1, 4, 10])
def test_a_child_is_a_neighbour_of_a_member_of_the_population(population):
    queried = queries(budget=200)
    evolution(queried, EvolutionConfig(population, tournament=2), random.Random(0))
    for number in range(population, 200):
        alive = [edges(queried, n) for n in range(number - population, number)]
        child = edges(queried, number)
        assert 1 in [sum(a != b for a, b in zip(child, parent, strict=True)) for parent in alive]


def test_the_parent_is_the_fittest_of_its_tournament_and_the_oldest_member_dies():
    fitness = TABLE.column("valid")
    queried = queries(budget=300)
    evolution(queried, EvolutionConfig(population=5, tournament=200), random.Random(1))
    lost = False
    for number in range(5, 300):
        alive = queried.indices[number - 5 : number]
        parent = max(alive, key=lambda index: fitness[index])
        genes = edges(queried, queried.indices.index(parent))
        assert sum(a != b for a, b in zip(genes, edges(queried, number), strict=True)) == 1
        lost |= fitness[parent] < fitness[queried.indices[:number]].max()
    assert lost


@pytest.mark.slow
def test_the_probability_of_the_fittest_is_that_of_a_tournament_with_replacement(monkeypatch):
    """The fittest of ten is the parent with 1 - 0.9^3, the next with 0.9^3 - 0.8^3, ..."""
    parents = Counter()
    fitness = TABLE.column("valid")

    def child(sequences, tokens, rng):
        parents[TABLE.index(sequences.decode(tokens))] += 1
        return tokens

    monkeypatch.setattr("supernet.selectors.ageing.mutated", child)
    for seed in range(1500):
        queried = queries(budget=11)
        evolution(queried, EvolutionConfig(), random.Random(seed))
        first = sorted(set(queried.indices[:10]), key=lambda index: -fitness[index])
        parents["first"] += queried.indices[10] == first[0] and Counter(queried.indices[:10])[first[0]] == 1
        parents["rounds"] += Counter(queried.indices[:10])[first[0]] == 1
    share = parents["first"] / parents["rounds"]
    assert abs(share - 0.271) < 4 * (0.271 * 0.729 / parents["rounds"]) ** 0.5


def test_a_mutation_is_uniform_over_nodes_then_edges_then_operations():
    """NAS-Bench-201: edges with probability 1/3, 1/6, 1/6, 1/9, 1/9, 1/9, and four other operations alike."""
    searched, rng = space("nasbench201"), random.Random(0)
    sequences = Sequences(searched)
    tokens = sequences.encode(searched.sample(rng))
    counts = Counter()
    for _ in range(7200):
        (place,) = [n for n, token in enumerate(mutated(sequences, tokens, rng)) if token != tokens[n]]
        counts[place] += 1
    expected = dict(zip((1, 3, 5, 7, 9, 11), (2400, 1200, 1200, 800, 800, 800), strict=True))
    assert set(counts) == set(expected)
    assert sum((counts[place] - count) ** 2 / count for place, count in expected.items()) < 20.5  # 5 degrees
    found = Counter(mutated(sequences, tokens, rng)[1] for _ in range(3000))
    others = [count for op, count in found.items() if op != tokens[1]]
    assert len(others) == 4
    assert sum((count - 250) ** 2 / 250 for count in others) < 16.3  # 3 degrees


@pytest.mark.parametrize(
    "searched", [space("nasbench201"), space("darts"), space("s1"), space("nao"), ragged_space(), two_input_space()],
    ids=lambda searched: searched.name,
)  # fmt: skip
def test_a_mutation_changes_one_edge_in_any_space(searched):
    sequences, rng = Sequences(searched), random.Random(0)
    changed = Counter()
    for _ in range(200):
        tokens = sequences.encode(searched.sample(rng))
        child = mutated(sequences, tokens, rng)
        sequences.check(child)
        places = [n for n in range(len(tokens)) if child[n] != tokens[n]]
        assert len({place // 2 for place in places}) == 1
        changed["source" if places[0] % 2 == 0 else "op"] += 1
        if len(places) == 2:  # the new source's edge has not the operation
            assert tokens[places[1]] not in sequences.slots[places[0] // 2].ops[child[places[0]]]
    free = any(len(slot.edges) > 1 for slot in sequences.slots)
    assert bool(changed["source"]) == free
    assert changed["op"]


def test_a_source_is_as_likely_to_change_as_an_operation():
    sequences, rng = Sequences(space("nao")), random.Random(0)
    tokens = sequences.encode(space("nao").sample(rng))
    sources = sum(mutated(sequences, tokens, rng)[::2] != tokens[::2] for _ in range(2000))
    assert abs(sources - 1000) < 100  # four and a half standard deviations


def test_the_only_architecture_of_a_space_has_no_mutation():
    searched = SearchSpace("one", {"cell": Cell.dense(3, ("skip_connect",))}, Stages(("cell",)))
    sequences = Sequences(searched)
    tokens = sequences.encode(searched.sample(random.Random(0)))
    assert mutated(sequences, tokens, random.Random(0)) == tokens


def test_evolution_beats_random_search_on_nasbench201():
    means = {}
    for name, search in (
        ("evolution", lambda queried, rng: evolution(queried, EvolutionConfig(), rng)),
        ("random", at_random),
    ):
        fitness, found = tables.load("nasbench201").column("c10_valid_12"), []
        for seed in range(10):
            queried = nb201(100)
            search(queried, random.Random(seed))
            found.append(fitness[queried.indices[50:]].mean())
        means[name] = np.mean(found)
    assert means["evolution"] > means["random"] + 5


# --- NAO


def test_nao_queries_random_architectures_and_then_new_ones():
    queried = nb201(30)
    nao(queried, TabularNAOConfig(pool=12, new=7, controller=FAST), random.Random(0))
    assert len(queried.indices) == 30 == len(set(queried.indices))
    alone = nb201(12)
    nao(alone, TabularNAOConfig(pool=50, new=7, controller=FAST), random.Random(0))
    assert alone.indices == queried.indices[:12]


def test_nao_ends_when_no_architecture_is_new():
    queried = queries(budget=40)
    nao(queried, TabularNAOConfig(pool=5, new=10, controller=FAST), random.Random(0))
    assert sorted(queried.indices) == list(range(27))
    assert len(queried.incumbents()) == 40


def test_nao_improves_on_its_random_architectures():
    queried = nb201(150)
    controller = ControllerConfig(epochs=60, lr=1e-2, start="continue", top=20)
    nao(queried, TabularNAOConfig(pool=50, new=50, controller=controller), random.Random(0))
    fitness = tables.load("nasbench201").column("c10_valid_12")
    assert fitness[queried.indices[50:]].mean() > fitness[queried.indices[:50]].mean() + 3


# --- comparisons

SMALL = {"queries": 12, "fitness": "valid", "report": "test", "nao": {"pool": 5, "new": 4, "controller": FAST}}


def test_the_best_there_is_is_that_of_the_space(toy):
    narrow = toy.narrowed({"cell": [[0, 1]] * 3})
    assert sn.tabular(narrow, "random", seeds=1, **SMALL | {"queries": 8}).best == 13  # "111" in base 3; 26 is "222"


def test_a_comparison_reports_the_incumbents(toy, tmp_path):
    calls = []
    found = sn.tabular(toy, seeds=3, out=tmp_path, watcher=lambda *one: calls.append(one), **SMALL)
    assert [(method, trace.seed) for method, trace in calls] == [
        (method, seed) for seed in range(3) for method in ("nao", "evolution", "random")
    ]
    assert (found.space, found.best) == ("toy", 26.0)
    for traces in found.methods.values():
        for trace in traces:
            assert trace.accuracies == [float(index) for index in trace.indices]
            assert len(trace.indices) == 12
    queried = queries(budget=12)
    at_random(queried, random.Random("2 random"))
    assert found.methods["random"][2].indices == queried.incumbents()
    written = json.loads((tmp_path / "tabular.json").read_text())
    assert written["methods"]["nao"][1]["indices"] == found.methods["nao"][1].indices
    assert (tmp_path / "tabular.svg").stat().st_size > 1000


def test_a_comparison_resumes_from_its_folder(toy, tmp_path):
    first = sn.tabular(toy, ["random"], seeds=2, out=tmp_path, **SMALL)
    calls = []
    more = sn.tabular(
        toy, ["random", "evolution"], seeds=3, out=tmp_path, watcher=lambda *one: calls.append(one[0]), **SMALL
    )
    assert Counter(calls) == {"random": 1, "evolution": 3}
    assert more.methods["random"][:2] == first.methods["random"]
    again = sn.tabular(toy, ["random", "evolution"], seeds=3, **SMALL)
    for method, traces in more.methods.items():
        assert [trace.indices for trace in traces] == [trace.indices for trace in again.methods[method]]
    with pytest.raises(UserError, match=r"has another comparison: remove it, or choose another folder"):
        sn.tabular(toy, ["random"], seeds=2, out=tmp_path, **SMALL | {"queries": 13})
    (tmp_path / "tabular.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as a comparison"):
        sn.tabular(toy, ["random"], seeds=2, out=tmp_path, **SMALL)


def test_a_comparison_is_not_written_into_the_folder_of_something_else(toy, tmp_path):
    (tmp_path / "config.yaml").write_text("method: darts\n")
    with pytest.raises(UserError, match="exists and holds no comparison on a table: give another place with --out"):
        sn.tabular(toy, ["random"], seeds=1, out=tmp_path, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "damage",
    [{"indices": None}, {"accuracies": []}, {"accuracies": ["x"] * 12}, {"accuracies": [float("nan")] * 12}],
    ids=str,
)
def test_a_damaged_trace_is_no_result(toy, tmp_path, damage):
    sn.tabular(toy, ["random"], seeds=1, out=tmp_path, **SMALL)
    saved = json.loads((tmp_path / "tabular.json").read_text())
    saved["methods"]["random"][0] |= damage
    (tmp_path / "tabular.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="cannot be read as a comparison: remove it, or choose another folder"):
        sn.tabular(toy, ["random"], seeds=1, out=tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "darts"}, "space 'darts' has no table of accuracies, as nasbench201 has"),
        ({"methods": ["nap"]}, "unknown search of a table 'nap'; did you mean 'nao'"),
        ({"queries": 28}, "setting queries must be at most 27, all of 'toy', not 28"),
        ({"queries": 0}, "setting queries must be at least 1, not 0"),
        ({"seeds": 0}, "setting seeds must be at least 1, not 0"),
        ({"seeds": 2.0}, "setting seeds takes a whole number, not 2.0"),
        ({"seeds": "2"}, "setting seeds takes a whole number, not '2'"),
        ({"methods": "nao,nap"}, "unknown search of a table 'nap'; did you mean 'nao'"),
        ({"out": ""}, "out takes the path of a folder, not ''"),
        ({"out": 3}, "out takes the path of a folder, not 3"),
        ({"out": __file__}, f"'{__file__}' exists and holds no comparison on a table: give another place with --out"),
        ({"fitness": "val"}, "unknown toy field 'val'"),
        ({"report": "size"}, "'size' is not an accuracy of every architecture: for tests"),
        ({"fitness": "gaps"}, "'gaps' is not an accuracy of every architecture: for tests"),
        ({"fitness": "seeds"}, "'seeds' has no better and worse: for tests"),
        ({"evolution": {"population": 0}}, "setting evolution.population must be at least 1, not 0"),
        ({"nao": {"pol": 3}}, "unknown setting 'nao.pol'; did you mean 'nao.pool'"),
    ],
)
def test_a_mistake_is_one_line(toy, changes, message):
    with pytest.raises(UserError, match=message):
        sn.tabular(**{"space": toy, "methods": ["random"], "seeds": 1} | SMALL | changes)


def test_the_command_prints_a_table_and_writes_a_picture(call: Call) -> None:
    command = [
        "tabular",
        "nasbench201",
        "--with",
        "evolution",
        "random",
        "--queries",
        "60",
        "--seeds",
        "2",
        "--out",
        "x",
    ]
    status, out, err = call(*command)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["queries", "50", "60", "n", "s"]
    found = sn.tabular(methods=["evolution", "random"], queries=60, seeds=2)
    for line, method in zip(lines[2:], ("evolution", "random"), strict=False):
        last = [trace.accuracies[-1] for trace in found.methods[method]]
        mean, spread = np.mean(last), np.std(last, ddof=1)
        assert line.split()[0] == method
        assert f"{mean:.2f} ± {spread:.2f}" in line
    assert "c10_test (%) of the fittest so far by c10_valid_12: mean ± standard deviation over n searches" in out
    assert "best there is 94.37" in out
    assert max(map(len, lines[:4])) <= 80
    assert err.count("seed") == 4
    assert lines[-1].startswith("next          supernet search ")
    assert call(*command, "--quiet")[1:] == ("\n".join([*lines[:-1], ""]), "")


def test_a_mistake_in_the_command_is_one_line(call: Call) -> None:
    assert call("tabular", "s1") == (2, "", "supernet: space 's1' has no table of accuracies, as nasbench201 has\n")
    status, _, err = call("tabular", "--with", "evolutio")
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean 'evolution'?" in err


# --- the picture


def test_the_picture_shows_means_and_leaves_out_the_first_queries():
    rng = np.random.default_rng(0)
    curves = {name: np.maximum.accumulate(80 + 14 * rng.random((4, 100)) ** 0.3, 1).tolist() for name in ("a", "b")}
    for some in curves.values():
        some[0][0] = 10.0
    (axes,) = (figure := draw_tabular(curves, {"best": 94.4}, "c10_test (%)")).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["a", "b", "best", "lower, not shown: 4"]  # no seed by itself
    assert len(axes.collections) == 2  # a band for each
    for name, some in curves.items():
        np.testing.assert_allclose(lines[name].get_ydata(), np.mean(some, 0))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("queries", "c10_test (%)")
    low, high = axes.get_ylim()
    assert low > np.mean(curves["a"], 0)[0]
    assert high > 94.4
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("curves", [{}, {"a": []}, {"a": [[90.0]]}, {"a": [[90.0, 90.0], [90.0, 90.0]]}])
def test_few_curves_are_drawn(curves):
    FigureCanvasAgg(draw_tabular(curves)).draw()
