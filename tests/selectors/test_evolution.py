"""Selection by evolution: against the evolution on a table with the same fitness, its budget, limits and choice."""

from __future__ import annotations

import random
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.methods.base import Budget, NoConfig
from supernet.methods.single_path import RSPS
from supernet.models.cost.feasible import FeasibleSet, NoDrawError
from supernet.models.cost.limits import Limits
from supernet.models.evaluate import Scorer, Scores
from supernet.models.supernet import Supernet
from supernet.searching.tabular.evolution import EvolutionConfig as TabularConfig
from supernet.searching.tabular.evolution import evolution as on_table
from supernet.searching.tabular.queries import Queries
from supernet.selectors import ageing
from supernet.selectors.evolution import Evolution, EvolutionConfig
from supernet.spaces import NetworkSize, space, tables
from supernet.spaces.modules import Norm
from supernet.spaces.tokens import Sequences
from supernet.testing import EXAMPLE_SPACES, noise_batch

NB201, SIZE = space("nasbench201"), NetworkSize(2, 1, (8, 8), 1, 3)


def with_fitness(accuracy, config, feasible, loss=lambda genotype: 0.0, seed=1, targets=None):
    """Return a selector whose supernet would give each architecture this accuracy and loss, and what it evaluates."""
    evaluated = []

    def score(genotypes):
        evaluated.extend(genotypes)
        return Scores([accuracy(genotype) for genotype in genotypes], [loss(genotype) for genotype in genotypes])

    supernet = SimpleNamespace(only=lambda genotype: genotype, space=NB201)
    method = SimpleNamespace(supernet=supernet, budget=Budget(2, SGDConfig(), 0, targets=targets))
    selector = Evolution(config, method, feasible, lambda: [noise_batch(0)], seed)
    selector.scorer = score
    return selector, evaluated


@pytest.mark.parametrize(("population", "tournament", "seed"), [(10, 3, 1), (4, 2, 2), (1, 1, 3), (100, 5, 4)])
def test_it_takes_the_path_of_the_evolution_on_a_table(population, tournament, seed):
    table = tables.load("nasbench201")
    fitness = table.column("c10_valid_12")
    queries = Queries(Sequences(NB201), table, "c10_valid_12", 80)
    on_table(queries, TabularConfig(population, tournament), random.Random(seed))
    config = EvolutionConfig(population=population, tournament=tournament, samples=80)
    accuracy = {table.genotype(index): fitness[index] for index in queries.indices}  # no other one is asked for
    selector, evaluated = with_fitness(accuracy.__getitem__, config, FeasibleSet(NB201, SIZE), seed=seed)
    assert selector.genotype() == table.genotype(queries.incumbents()[-1])
    assert evaluated == [table.genotype(index) for index in dict.fromkeys(queries.indices)]


def test_equals_are_told_by_the_loss_and_criterion_loss_knows_nothing_else():
    losses = {}

    def loss(genotype):
        return losses.setdefault(genotype, random.Random(str(genotype)).random())

    def accuracy(genotype):
        return loss(genotype) > 0.5  # of the worse half

    for criterion, wanted in (("accuracy", lambda found: min(x for x in found if x > 0.5)), ("loss", min)):
        config = EvolutionConfig(samples=40, criterion=criterion)
        selector, evaluated = with_fitness(accuracy, config, FeasibleSet(NB201, SIZE), loss)
        assert losses[selector.genotype()] == wanted([losses[genotype] for genotype in evaluated])


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_targets_of_the_search_lower_the_fitness(criterion):
    def convolutions(genotype):
        return str(genotype).count("conv")

    targets = SimpleNamespace(within=lambda space: targets, excess=lambda genotype: 2 * convolutions(genotype))
    config, feasible = EvolutionConfig(samples=20, criterion=criterion), FeasibleSet(NB201, SIZE)
    given = convolutions, config, feasible, lambda genotype: -convolutions(genotype), 1
    for some, wanted in ((None, max), (targets, min)):
        selector, evaluated = with_fitness(*given, some)
        assert convolutions(selector.genotype()) == wanted(map(convolutions, evaluated))


@pytest.mark.usefixtures("still_noise")
@pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)
def test_the_most_accurate_in_the_supernet_is_selected_in_spaces_without_a_table(home):
    torch.manual_seed(0)
    method = RSPS(NoConfig(), Supernet(home, SIZE, Norm(False, False)).double(), Budget(2, SGDConfig(), 0))
    config, given = EvolutionConfig(samples=12, population=4), lambda: (noise_batch(seed, 8) for seed in range(3))
    selector = Evolution(config, method, FeasibleSet(home, SIZE), given, 1)
    found = selector.genotype()
    each = {genotype: Scorer(method.supernet, given)([method.supernet.only(genotype)]) for genotype in selector.scores}
    accuracies = {str(genotype): scores.accuracy[0] for genotype, scores in each.items()}
    report = selector.report()
    assert report["accuracies"] == pytest.approx(accuracies)
    assert accuracies[str(found)] == report["supernet_accuracy"] == max(accuracies.values())
    assert report["passes"] == len(each) <= 12


def test_only_architectures_within_the_limits_are_evaluated():
    feasible = FeasibleSet(NB201, SIZE, Limits(max_params=1500))
    selector, evaluated = with_fitness(lambda genotype: str(genotype).count("3x3"), EvolutionConfig(), feasible)
    assert feasible.allows(selector.genotype())
    assert all(map(feasible.allows, evaluated))
    assert len(evaluated) > 20


def test_without_a_child_within_the_limits_a_random_architecture_takes_its_place(monkeypatch):
    asked, drawn = [], random.Random(3)
    feasible = SimpleNamespace(space=NB201, sample=NB201.sample, allows=lambda genotype: False)
    monkeypatch.setattr(ageing, "mutated", lambda sequences, tokens, rng: tokens)
    monkeypatch.setattr(ageing.random.Random, "choices", lambda self, alive, k: [alive[0]])
    config, sample = EvolutionConfig(2), partial(NB201.sample, drawn)
    ageing.evolution(feasible, lambda some: [asked.append(one) or 0 for one in some], config, 5, drawn, sample)
    expected = random.Random(3)
    assert asked == [NB201.sample(expected) for _ in range(5)]


def only_draws(monkeypatch, feasible, count):
    """Let all random draws but the first `count` find nothing."""
    left = [feasible.space.sample(random.Random(n)) for n in range(count)]

    def sample(rng):
        if not left:
            raise NoDrawError("none")
        return left.pop(0)

    monkeypatch.setattr(feasible, "sample", sample)
    return list(left)


def test_without_a_random_draw_within_the_limits_the_evolution_begins_with_the_best_op_scores(monkeypatch):
    scores = [[0.3, 0.1, 0.2, 0.9, 0.0]] * 6
    feasible = FeasibleSet(NB201, SIZE, Limits(max_params=1500))
    only_draws(monkeypatch, feasible, 0)
    selector, evaluated = with_fitness(lambda genotype: str(genotype).count("3x3"), EvolutionConfig(), feasible)
    selector.method.op_score_lists = lambda: {"cell": scores}
    assert feasible.allows(selector.genotype())
    assert evaluated[0] == feasible.best({"cell": scores})
    assert len(evaluated) > 5


@pytest.mark.parametrize("count", [3, 6])  # of the first 4 architectures, and of those that take the place of children
def test_what_was_scored_before_a_draw_in_vain_is_selected_from(count, monkeypatch):
    feasible = FeasibleSet(NB201, SIZE)
    drawn = only_draws(monkeypatch, feasible, count)
    monkeypatch.setattr(feasible, "allows", lambda genotype: False)
    config = EvolutionConfig(population=4)
    selector, evaluated = with_fitness(lambda genotype: str(genotype).count("3x3"), config, feasible)
    assert selector.genotype() == max(drawn, key=lambda genotype: str(genotype).count("3x3"))
    assert evaluated == drawn


def test_another_source_is_as_likely_as_another_operation():
    sequences, rng = Sequences(space("darts")), random.Random(0)
    pairs, sources, operations = [slice(n, n + 2) for n in range(0, sequences.length, 2)], 0, 0
    for _ in range(600):
        tokens = sequences.encode(sequences.space.sample(rng))
        child = ageing.mutated(sequences, tokens, rng)
        (number,) = [number for number, pair in enumerate(pairs) if tokens[pair] != child[pair]]
        if len(sequences.slots[number].edges) > 1:
            moved = tokens[2 * number] != child[2 * number]
            sources, operations = sources + moved, operations + (not moved)
    assert sources + operations > 400
    assert abs(sources / (sources + operations) - 0.5) < 0.1  # 4 sigma


def test_where_a_node_may_keep_no_edge_a_child_may_have_bare_nodes():
    asked, home = [], space("darts7-fair")

    def edges_left_out(genotypes):
        asked.extend(genotypes)
        return [-sum(len(genotype[kind]) for kind in home.cells) for genotype in genotypes]

    rng = random.Random(0)
    ageing.evolution(FeasibleSet(home, SIZE), edges_left_out, EvolutionConfig(), 150, rng, partial(home.sample, rng))
    assert all(home.check(one) for one in asked)
    changes = [len({one[kind] for one in asked}) for kind in home.cells]
    assert min(changes) > 10
    assert asked[-1].bare


@pytest.mark.parametrize("name", ["population", "tournament", "samples", "images"])
def test_invalid_settings_are_refused(name):
    with pytest.raises(UserError, match=f"^setting {name} must be at least 1, not 0$"):
        EvolutionConfig(**{name: 0})
