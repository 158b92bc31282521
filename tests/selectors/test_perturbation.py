"""Selection by perturbation against the same algorithm written out, one mask and one forward pass at a time."""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.errors import UserError
from supernet.methods.base import Budget, NoConfig
from supernet.methods.blank import Blank
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.methods.gdas import GDAS, GDASConfig
from supernet.methods.setn import SETN, SETNConfig
from supernet.methods.single_path import RSPS
from supernet.models.cost.count import cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import latency_fields
from supernet.models.cost.limits import Limits
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import dense, detached
from supernet.models.supernet import Supernet
from supernet.searching.plan import planned as plan
from supernet.selectors.perturbation import Perturbation, PerturbationConfig
from supernet.selectors.projection_schedule import projection_schedule
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, NormalReduceNormal, noise_batch, shortened, two_input_space

NB201, RAGGED, TWO, MACRO, _ = EXAMPLE_SPACES
NB201 = replace(NB201, skeleton=Stages(("cell",)))
OPS = ("none", "skip_connect", "nor_conv_3x3", "max_pool_3x3")
KEEPS = SearchSpace(
    "keeps",
    {
        "normal": Cell.dense(4, OPS[:3], inputs=2, output="concat", keep=2, project=True),
        "reduce": Cell.dense(4, OPS[1:3], inputs=2, output="concat", keep=1, project=True),
    },
    NormalReduceNormal(),
)
WEIGHTS = SGDConfig(lr=0.2, momentum=0.8, weight_decay=0.01, clip=0.5)
SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
VALIDATION = [noise_batch(21, 13)]
DARTS = DifferentiableConfig(
    "different_subset", "softmax", alpha=AlphaOptimizerConfig("adam", lr=0.2, weight_decay=1e-3)
)
SINGLE = DifferentiableConfig(alpha=AlphaOptimizerConfig(lr=0.5))
METHODS = {
    "darts": (Differentiable, DARTS),
    "single": (Differentiable, SINGLE),
    "blank": (Blank, NoConfig()),
    "rsps": (RSPS, NoConfig()),
    "gdas": (GDAS, GDASConfig()),
    "setn": (SETN, SETNConfig()),
}


def method_of(home, name="darts", weights=WEIGHTS, network_size=SIZE):
    torch.manual_seed(0)
    kind, config = METHODS[name]
    method = kind(config, Supernet(home, network_size, Norm(affine=False)).double(), Budget(4, weights, 3))
    for number, alpha in enumerate(getattr(method, "alphas", {}).values()):  # away from the start, where all are equal
        with torch.no_grad():
            alpha += torch.randn(alpha.shape, generator=torch.Generator().manual_seed(number)).double()
    return method


def batches_of(epoch, step):
    return {"weights": noise_batch(100 + 10 * epoch + step), "alpha": noise_batch(500 + 10 * epoch + step)}


def trained(home, name, **changes):
    method = method_of(home, name, **changes)
    for step in range(2):
        method.step(batches_of(9, step))
    return method


def perturbation(method, limits=None, seed=5, images=VALIDATION, network_size=SIZE, **settings):
    feasible = FeasibleSet(method.supernet.space, network_size, limits)
    return Perturbation(PerturbationConfig(**settings), method, feasible, lambda: images, seed)


def driven(selector, steps=2):
    """Drive a selector as the loop does; return the architecture and the rows of metrics."""
    rows = []
    for epoch in range(selector.epochs):
        selector.begin_epoch(epoch)
        for step in range(steps):
            selector.step(batches_of(epoch, step))
        rows.append(selector.end_epoch(epoch))
    return selector.genotype(), rows


class WrittenOut:
    """The algorithm of the paper, and of its released code for nodes, on a method of its own."""

    def __init__(self, method, seed, *, criterion, edges, tune_epochs):
        self.method, self.home = method, method.supernet.space
        self.criterion, self.edges, self.tune_epochs = criterion, edges, tune_epochs
        self.rows, self.outcomes = {}, []
        self.method.supernet.engine, self.method.supernet.fixed_edges = "reference", None
        self.undecided, self.method.mix = self.method.mix, self.mix
        self.method.optimizer.state.clear()
        for group in self.method.optimizer.param_groups:
            group["lr"] = WEIGHTS.lr / 10
        if isinstance(method, Blank):  # its step uses a mix of its own
            self.method.step = lambda batches: self.method.weight_step(batches["weights"], self.mix())
        schedule = projection_schedule(self.home, seed)
        for number, decisions in enumerate(schedule):
            for decision in decisions:
                (self.node if len(decision.edges) > 1 else self.operation)(decision.kind, decision.edges)
            for epoch in range(tune_epochs if number + 1 < len(schedule) else 0):
                self.method.step(batches_of(number * tune_epochs + epoch, 0))

    def mix(self):
        """The method's op weights, with decided rows overwritten."""
        found = {}
        for kind, edges in self.undecided().items():
            rows = list(edges.weights.unbind())
            for e in range(len(rows)):
                if (kind, e) in self.rows:
                    row = torch.zeros_like(rows[e])
                    if self.rows[kind, e] is not None:
                        row[self.rows[kind, e]] = 1
                    rows[e] = row
            found[kind] = torch.stack(rows)
        return dense(found)

    def without(self, kind, masked):
        """Accuracy and minus the loss, or the latter alone, of the supernet with the op weights at `masked` at 0."""
        supernet, weights = self.method.supernet, {k: e.weights.detach().clone() for k, e in self.mix().items()}
        for edge, column in masked:
            weights[kind][edge, column] = 0
        hits = loss = images = 0
        for batch in VALIDATION:
            buffers = {name: value.clone() for name, value in supernet.named_buffers()}  # its own stay as they are
            with torch.no_grad():
                logits = torch.func.functional_call(supernet, buffers, (batch.x, dense(weights)))
            hits += (logits.argmax(1) == batch.y).sum().item()
            loss += F.cross_entropy(logits, batch.y, reduction="sum").item()
            images += len(batch.y)
        return (hits / images, -loss / images) if self.criterion == "accuracy" else (-loss / images,)

    def magnitude(self, kind, edge, column):
        return (-self.undecided()[kind].weights[edge, column].item(),)

    def operation(self, kind, edges):
        (e,), cell = edges, self.home.cells[kind]
        ops, best, scores = cell.edges[e].ops, None, {}
        for k, op in enumerate(ops):
            if cell.keep and op == "none":
                continue
            if self.criterion == "magnitude":
                scores[op] = self.magnitude(kind, e, k)
            else:
                scores[op] = self.without(kind, [(e, k)])
            if best is None or scores[op] < scores[best]:  # strictly: the first of equals
                best = op
        self.rows[kind, e] = ops.index(best)
        self.outcomes.append((kind, e, best, self.reported(scores)))

    def node(self, kind, edges):
        cell, left, gone = self.home.cells[kind], list(edges), []
        every = range(cell.columns)
        chosen = {e: self.rows[kind, e] for e in edges}
        while len(left) > cell.keep:
            highest, scores = (-math.inf,), {}
            for e in left:
                off = [*gone, e] if self.edges == "cumulative" else [e]  # released code: those gone are back again
                if self.criterion == "magnitude":
                    scores[e] = self.magnitude(kind, e, chosen[e])
                else:
                    scores[e] = self.without(kind, itertools.product(off, every))
                if scores[e] >= highest:  # not strictly: the last of equals
                    highest, worst = scores[e], e
            self.outcomes.append((kind, worst, None, self.reported({str(cell.edges[e]): s for e, s in scores.items()})))
            left.remove(worst)
            gone.append(worst)
        self.rows |= {(kind, e): None for e in gone}

    def reported(self, scores):
        sign = 1 if self.criterion == "accuracy" else -1
        return {name: sign * score[0] for name, score in scores.items()} if len(scores) > 1 else {}

    def genotype(self):
        cells = self.home.cells.items()
        return self.home.choose({k: [self.rows[k, e] for e in range(len(cell.edges))] for k, cell in cells})


CASES = [
    (NB201, "darts", {"criterion": "accuracy"}),
    (NB201, "single", {"criterion": "loss"}),
    (NB201, "blank", {"criterion": "accuracy"}),
    (NB201, "darts", {"criterion": "magnitude"}),
    (KEEPS, "darts", {"criterion": "accuracy", "edges": "independent"}),
    (KEEPS, "blank", {"criterion": "accuracy", "edges": "cumulative"}),
    (KEEPS, "single", {"criterion": "loss", "edges": "cumulative"}),
    (KEEPS, "darts", {"criterion": "magnitude"}),
    (RAGGED, "single", {"criterion": "loss"}),
    (MACRO, "blank", {"criterion": "loss"}),
]


@pytest.mark.parametrize(("home", "name", "settings"), CASES, ids=[f"{h.name} {n} {s}" for h, n, s in CASES])
def test_the_whole_sequence_is_that_of_the_algorithm_written_out(home, name, settings):
    method = trained(home, name)
    wanted = WrittenOut(trained(home, name), 5, tune_epochs=1, **{"edges": "independent"} | settings)
    selector = perturbation(method, tune_epochs=1, **settings)
    genotype, _ = driven(selector, steps=1)
    assert genotype == wanted.genotype()
    for found, (kind, edge, chosen, scores) in zip(selector.outcomes, wanted.outcomes, strict=True):
        assert (found.kind, found.edge, found.chosen) == (kind, str(home.cells[kind].edges[edge]), chosen)
        assert list(found.scores) == list(scores)
        assert list(found.scores.values()) == pytest.approx(list(scores.values()), rel=1e-7)
    x = noise_batch(77).x  # weights of operations not chosen differ: they are idle here, and decay where written out
    logits, before = method.supernet(x, method.mix()), trained(home, name).supernet(x, method.supernet.only(genotype))
    torch.testing.assert_close(logits, wanted.method.supernet(x, wanted.mix()), rtol=1e-6, atol=1e-8)
    assert not torch.allclose(logits, before, atol=1e-3)  # it was trained at all


def fake(monkeypatch, logits):
    """Let `logits` stand in for the supernet: a function from a mix and the number of images to logits."""

    def batched(self, x, mixes):
        return torch.stack([logits(mix, len(x)) for mix in mixes])

    monkeypatch.setattr(Supernet, "batched", batched)


def all_alike(mix, count):
    return torch.zeros(count, 3, dtype=torch.float64)


def at_random(mix, count):
    """Logits of their own for each mix."""
    text = str({kind: edges.weights.tolist() for kind, edges in sorted(mix.items())})
    drawn = random.Random(text)
    return torch.tensor([[drawn.gauss(0, 1) for _ in range(3)] for _ in range(count)], dtype=torch.float64)


def surer(mix, count):
    """Logits whose classes are the same for each mix, so that accuracies are, but not the losses."""
    fixed, drawn = random.Random(1), random.Random(str(at_random(mix, 1).tolist()))
    rows = [[fixed.gauss(0, 1) for _ in range(3)] for _ in range(count)]
    return (1 + drawn.random()) * torch.tensor(rows, dtype=torch.float64)


def test_among_equal_accuracies_the_loss_decides(monkeypatch):
    fake(monkeypatch, surer)
    method = method_of(KEEPS, "blank")
    by_loss, _ = driven(perturbation(method, tune_epochs=0, criterion="loss"))
    selector = perturbation(method, tune_epochs=0)
    assert driven(selector)[0] == by_loss
    assert {len(set(outcome.scores.values())) for outcome in selector.outcomes} == {1}  # accuracies
    fake(monkeypatch, all_alike)
    assert driven(perturbation(method, tune_epochs=0))[0] != by_loss


def test_of_equals_the_first_operation_stays_and_the_last_edges_go(monkeypatch):
    fake(monkeypatch, all_alike)
    method = method_of(KEEPS, "blank")
    for criterion in ("accuracy", "loss"):
        for edges in ("independent", "cumulative"):
            selector = perturbation(method, tune_epochs=0, criterion=criterion, edges=edges)
            genotype, _ = driven(selector)
            assert [(c.target, c.source) for c in genotype["normal"]] == [(t, s) for t in (2, 3) for s in (0, 1)]
            assert [(c.target, c.source) for c in genotype["reduce"]] == [(2, 0), (3, 0)]
            assert {c.op for kind in ("normal", "reduce") for c in genotype[kind]} == {"skip_connect"}
            gone = [d.edge for d in selector.outcomes if d.chosen is None and d.kind == "reduce"]
            assert [edge for edge in gone if edge[0] == "3"] == ["3<-2", "3<-1"]


def test_edges_with_a_single_candidate_are_fixed_at_the_start_and_cost_no_epochs(monkeypatch):
    fake(monkeypatch, at_random)
    edges = (Edge(1, 0, OPS[1:2]), Edge(2, 0, OPS), Edge(2, 1, OPS[2:3]), Edge(3, 2, OPS))
    home = SearchSpace("half decided", {"cell": Cell(edges)}, Stages(("cell",)))
    selector = perturbation(method_of(home, "single"), tune_epochs=2)
    assert selector.supernet.fixed_edges.rows == {"cell": ((0,), None, (0,), None)}
    assert selector.epochs == 2
    genotype, rows = driven(selector, steps=1)
    assert home.check(genotype) is genotype
    assert [row["decisions"] for row in rows] == [2, 2]
    assert {(outcome.edge, len(outcome.scores)) for outcome in selector.outcomes} == {("2<-0", 4), ("3<-2", 4)}
    one = SearchSpace("one", {"cell": Cell(edges[::2])}, Stages(("cell",)))
    nothing = perturbation(method_of(one, "single"))
    assert (nothing.epochs, nothing.genotype()) == (0, one.sample(random.Random(0)))


@pytest.mark.parametrize("name", METHODS)
def test_where_the_supernet_runs_one_path_the_user_is_told(name):
    method = method_of(NB201, name)
    said = "the supernet of this search runs one operation on an edge, so perturbation tells nothing of the others"
    told = said + ": select by best-of-samples"
    assert perturbation(method).remark == (told if name in ("rsps", "gdas") else "")
    assert perturbation(method, criterion="magnitude").remark == ""


def test_none_may_be_chosen_where_every_edge_is_kept_and_never_where_few_are(monkeypatch):
    fake(monkeypatch, all_alike)
    genotype, _ = driven(perturbation(method_of(NB201, "blank"), tune_epochs=0))
    assert {choice.op for choice in genotype["cell"]} == {"none"}
    fake(monkeypatch, at_random)
    for home, method in ((home, method_of(home, "blank")) for home in (KEEPS, TWO)):
        for seed in range(4):
            genotype, _ = driven(perturbation(method, tune_epochs=0, seed=seed))
            assert home.check(genotype) is genotype
            assert "none" not in {choice.op for kind in home.cells for choice in genotype[kind]}
            for kind, cell in home.cells.items():
                into = [choice.target for choice in genotype[kind]]
                for node in cell.groups():
                    assert into.count(cell.edges[node[0]].target) == min(cell.keep, len(node))


def test_the_number_of_passes(monkeypatch):
    fake(monkeypatch, at_random)
    selector = perturbation(method_of(NB201, "blank"), tune_epochs=0)
    driven(selector)
    assert selector.scorer.passes == selector.report()["passes"] == 6 * 5
    assert selector.report()["validation_images"] == 13
    cell = Cell.dense(6, ("none", "skip_connect", "max_pool_3x3"), inputs=2, output="concat", keep=2, project=True)
    home = SearchSpace("fourteen edges", {"normal": cell, "reduce": cell}, NormalReduceNormal())
    for edges, wanted in (("independent", 3 + 4 + 5), ("cumulative", 3 + (4 + 3) + (5 + 4 + 3))):
        selector = perturbation(method_of(home, "blank"), tune_epochs=0, edges=edges)
        driven(selector)
        assert selector.scorer.passes == 2 * 14 * 2 + 2 * wanted  # none is no candidate
    selector = perturbation(method_of(KEEPS, "darts"), tune_epochs=0, criterion="magnitude")
    driven(selector)
    assert selector.report()["passes"] == 0


def rates(**settings):
    """The learning rate of each step of the training in between."""
    method = method_of(NB201, weights=SGDConfig(lr=0.025, warmup=2, lr_min=0.001))
    method.begin_epoch(3)  # the epoch that the search has reached
    selector, seen = perturbation(method, criterion="magnitude", **settings), []
    step = method.optimizer.step
    method.optimizer.step = lambda: seen.append(method.optimizer.param_groups[0]["lr"]) or step()
    driven(selector, steps=1)
    return seen


def test_the_learning_rate_is_a_tenth_of_the_searchs_first_one_throughout():
    assert rates(tune_epochs=2) == [pytest.approx(0.0025, rel=1e-12)] * 2 * 5
    assert rates(tune_epochs=1, lr=0.03) == [0.03] * 5
    assert rates(tune_epochs=1, lr=0.0) == [0.0] * 5


def test_a_cosine_falls_to_two_fifths_over_all_passes():
    wanted = [0.001 + 0.0015 * (1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(10)]
    assert rates(tune_epochs=2, lr_schedule="cosine") == pytest.approx(wanted)
    assert rates(tune_epochs=1, lr=0.1, lr_schedule="cosine")[0] == pytest.approx(0.1)


def test_momentum_is_fresh_and_the_alphas_optimizer_goes_on():
    method = trained(NB201, "darts")
    before = copy.deepcopy(method.alphas.optimizer.state_dict())
    assert method.optimizer.state
    selector = perturbation(method, criterion="magnitude", tune_epochs=1)
    assert not method.optimizer.state
    assert str(method.alphas.optimizer.state_dict()) == str(before)
    selector.begin_epoch(0)
    weight = next(w for w in method.weights)
    old = weight.detach().clone()
    selector.step(batches_of(0, 0))
    torch.testing.assert_close(
        method.optimizer.state[weight]["momentum_buffer"], weight.grad + WEIGHTS.weight_decay * old
    )


class NoAlpha(dict):
    """Batches that fail if alpha's batch is drawn."""

    def __getitem__(self, name):
        assert name != "alpha"
        return super().__getitem__(name)


def test_frozen_alpha_stays_while_the_weights_learn():
    method = trained(NB201, "darts")
    alpha, state = method.alphas["cell"].detach().clone(), str(method.alphas.optimizer.state_dict())
    selector = perturbation(method, criterion="loss", tune_epochs=1, alpha="freeze")
    selector.begin_epoch(0)
    by_hand, batch = trained(NB201, "darts").supernet, batches_of(0, 0)
    by_hand.fixed_edges = method.supernet.fixed_edges
    w = [weight.detach().clone() for weight in method.weights]
    moved = 0
    selector.step(NoAlpha(batch))
    assert torch.equal(method.alphas["cell"], alpha)
    assert str(method.alphas.optimizer.state_dict()) == state
    mix = dense({"cell": torch.softmax(alpha, -1)})
    gradient = torch.autograd.grad(
        F.cross_entropy(by_hand(batch["weights"].x, mix), batch["weights"].y),
        list(by_hand.parameters()),
        materialize_grads=True,
    )
    norm = sum(part.square().sum() for part in gradient).sqrt().item()
    for old, g, new in zip(w, gradient, method.weights, strict=True):
        step = g * min(1, WEIGHTS.clip / (norm + 1e-6)) + WEIGHTS.weight_decay * old
        if new.grad is not None:  # idle operations have none
            torch.testing.assert_close(new, old - 0.1 * WEIGHTS.lr * step, rtol=1e-8, atol=1e-12)
            moved += 1
    assert moved > 10


@pytest.mark.parametrize("name", ["rsps", "gdas", "setn"])
def test_with_frozen_alpha_methods_of_single_paths_train_paths_of_their_draw(name, monkeypatch):
    method = trained(NB201, name)
    paths, before = [], copy.deepcopy(dict(getattr(method, "alphas", {})))
    trained_by = method.weight_step
    monkeypatch.setattr(method, "weight_step", lambda batch, mix: paths.append(mix["cell"]) or trained_by(batch, mix))
    selector = perturbation(method, criterion="loss", tune_epochs=1, alpha="freeze")
    selector.begin_epoch(0)
    for step in range(6):
        selector.step(NoAlpha(batches_of(0, step)))
    assert all(len(columns) == 1 for path in paths for columns in path.active)
    assert len({path.active for path in paths}) > 1
    assert all(torch.equal(method.alphas[kind], alpha) for kind, alpha in before.items())


def test_each_step_of_the_schedule_has_its_epochs_and_none_follow_the_last():
    for home, moments in ((NB201, 6), (KEEPS, 5 + 2), (MACRO, 4)):
        method = method_of(home, "blank")
        for tune in (0, 1, 2):
            selector = perturbation(method, criterion="magnitude", tune_epochs=tune)
            assert selector.epochs == tune * (moments - 1)
            _, rows = driven(selector, steps=1)
            assert [row["decided"] for row in rows] == [1 + epoch // tune for epoch in range(selector.epochs)]
            assert {row["decisions"] for row in rows} <= {moments}
            assert selector.done == moments


def test_a_row_reports_the_last_outcomes_including_every_removed_edge():
    selector = perturbation(method_of(KEEPS, "blank"), criterion="magnitude", tune_epochs=1)
    _, rows = driven(selector, steps=1)
    reported = [outcome for row in rows for outcome in row["last"]]
    everything = selector.report()["decisions"]
    assert reported == everything[: len(reported)]
    last = selector.schedule[-1]
    assert len(everything) - len(reported) == sum(len(item.edges) - KEEPS.cells[item.kind].keep for item in last)
    assert len(everything) == 5 + 5 + 1 + 1 + 2
    json.dumps(selector.report())


def test_a_selection_resumes_from_the_middle_with_the_same_bits():
    ours, theirs = (perturbation(trained(KEEPS, "darts"), tune_epochs=1, criterion="loss") for _ in range(2))
    file = io.BytesIO()
    for epoch in range(ours.epochs):
        ours.begin_epoch(epoch)
        for step in range(1 + (epoch == 5)):
            if (epoch, step) == (5, 1):  # one node is decided, and another is not
                torch.save(ours.state_dict(), file)
            ours.step(batches_of(epoch, step))
    theirs.begin_epoch(0)
    theirs.step(batches_of(3, 0))  # in another state altogether
    file.seek(0)
    theirs.load_state_dict(torch.load(file, weights_only=True))
    theirs.step(batches_of(5, 1))
    assert ours.epochs == 6
    assert theirs.genotype() == ours.genotype()
    assert theirs.outcomes == ours.outcomes
    assert theirs.scorer.passes == ours.scorer.passes
    pairs = zip(ours.method.weights, theirs.method.weights, strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)


def test_running_statistics_are_used_if_asked_for():
    method = trained(NB201, "blank")
    scores = []
    for norm in ("batch", "running"):
        selector = perturbation(method, tune_epochs=0, criterion="loss", norm=norm)
        driven(selector)
        scores.append(list(selector.outcomes[0].scores.values()))
    assert scores[0] != pytest.approx(scores[1], rel=1e-4)


# Limits

SMALL = SearchSpace("small", {"cell": Cell.dense(3, NB201.cells["cell"].edges[0].ops)}, NB201.skeleton)
LIMITED = [SMALL, NB201, KEEPS, RAGGED, shortened(two_input_space()), MACRO]


def priced(home):
    """The costs of random architectures."""
    rng = random.Random(0)
    return [cost(home, home.sample(rng), SIZE) for _ in range(40)]


@pytest.mark.parametrize("name", ["rsps", "gdas"])
def test_recalibrated_statistics_of_a_path_are_those_without_the_masked_operation(name):
    selector = perturbation(trained(NB201, name), criterion="loss", norm="recalibrated")
    edges, e = detached(selector.method.mix())["cell"], 5
    ((k,),) = edges.active[e : e + 1]
    without = replace(edges, active=(*edges.active[:e], (), *edges.active[e + 1 :]))  # the last edge does not run
    score = selector.score.of_operations("cell", e, [k], FixedEdges.none(NB201))[k][0]
    assert score == pytest.approx(selector.scorer([{"cell": without}]).loss[0], rel=1e-12)


@pytest.mark.parametrize("home", LIMITED, ids=lambda home: home.name)
def test_an_architecture_is_within_random_limits_whatever_the_order(home, monkeypatch):
    fake(monkeypatch, at_random)
    prices, rng, binding = priced(home), random.Random(1), 0
    method = method_of(home, "blank")
    for seed in range(5):
        free, _ = driven(perturbation(method, tune_epochs=0, seed=seed))
        one = rng.choice(prices)  # at least this architecture is within the limits
        given = rng.choice([{"max_params": one.params}, {"max_flops": one.flops}, None])
        limits = Limits(**({"max_params": one.params, "max_flops": one.flops} if given is None else given))
        edges = rng.choice(["independent", "cumulative"])
        selector = perturbation(method, limits, seed=seed, tune_epochs=0, edges=edges)
        genotype, _ = driven(selector)
        assert home.check(genotype) is genotype
        assert selector.feasible.allows(genotype)
        assert genotype == selector.completion.genotype
        binding += not selector.feasible.allows(free)
    assert binding or home.name == "ragged"  # a limit has made a difference in some case


@pytest.mark.parametrize("home", [NB201, KEEPS], ids=lambda home: home.name)
def test_limits_that_allow_everything_change_nothing(home, monkeypatch):
    fake(monkeypatch, at_random)
    limits = Limits(max_params=10**9, max_flops=10**12)
    ours, theirs = (perturbation(method_of(home, "blank"), own, tune_epochs=0) for own in (limits, None))
    assert driven(ours)[0] == driven(theirs)[0]
    assert ours.outcomes == theirs.outcomes


def test_only_decisions_that_leave_an_architecture_within_the_limits_are_candidates(monkeypatch):
    fake(monkeypatch, at_random)
    cells = {
        "normal": Cell.dense(3, OPS, inputs=2, output="concat", keep=1, project=True),
        "reduce": Cell.dense(4, OPS[1:], inputs=2, output="concat", keep=1, project=True),
    }
    home, rng, every = SearchSpace("listed", cells, NormalReduceNormal()), random.Random(0), set()
    while len(every) < home.size:
        every.add(home.sample(rng))
    columns = [(home.columns(genotype), cost(home, genotype, SIZE).params) for genotype in every]
    limit, fewer = sorted(params for _, params in columns)[40], 0

    def possible(rows):
        return any(
            params <= limit and all(own[k][e] in (None, *row) for (k, e), row in rows.items())
            for own, params in columns
        )

    method = method_of(home, "blank")
    for seed in range(10):
        selector = perturbation(method, Limits(max_params=limit), seed=seed, tune_epochs=0)
        driven(selector)
        rows = {}
        for decision in selector.outcomes:
            kind, edges = decision.kind, home.cells[decision.kind].edges
            e = [str(edge) for edge in edges].index(decision.edge)
            if decision.chosen is None:
                assert possible(rows | {(kind, e): ()})
                rows[kind, e] = ()
                continue
            ops = [op for k, op in enumerate(edges[e].ops) if op != "none" and possible(rows | {(kind, e): (k,)})]
            assert list(decision.scores) == (ops if len(ops) > 1 else [])
            rows[kind, e] = (edges[e].ops.index(decision.chosen),)
            fewer += len(ops) < 3
    assert fewer > 4


def test_a_latency_of_the_table_is_respected(monkeypatch):
    fake(monkeypatch, at_random)
    field = latency_fields(NB201)[0]
    rng = random.Random(3)
    feasible = FeasibleSet(NB201, SIZE, Limits(max_latency_ms=1e9, latency=field))
    for seed in range(3):
        limit = feasible.latency.ms(NB201.sample(rng))
        limits = Limits(max_latency_ms=limit, latency=field)
        genotype, _ = driven(perturbation(method_of(NB201, "blank"), limits, seed=seed, tune_epochs=0))
        assert feasible.latency.ms(genotype) <= limit


@pytest.mark.parametrize("home", [SMALL, KEEPS, MACRO], ids=lambda home: home.name)
def test_a_measured_latency_is_respected_although_the_best_completion_may_be_missed(home, monkeypatch):
    fake(monkeypatch, at_random)
    for seed in range(6):
        rng = random.Random(seed)
        fast = [home.sample(rng) for _ in range(3)]  # only these are fast
        monkeypatch.setattr(FeasibleSet, "best", lambda self, strength, f=fast: random.Random(str(strength)).choice(f))
        limits = Limits(max_latency_ms=1.0)
        selector = perturbation(method_of(home, "blank"), limits, seed=seed, tune_epochs=0)
        assert driven(selector)[0] in fast


def test_limits_that_exclude_every_architecture_are_an_error_before_anything_is_made():
    with pytest.raises(UserError, match="no architecture of space 'nasbench201' "):
        plan("digits", method="blank", max_params=1, images=40, device="cpu")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tune_epochs": -1}, "setting tune_epochs must be at least 0, not -1"),
        ({"lr": -0.1}, "setting lr must be at least 0, not -0.1"),
        ({"lr": math.nan}, "setting lr must be a finite number, not nan"),
    ],
)
def test_settings_are_checked_by_their_constructor(settings, said):
    with pytest.raises(UserError) as caught:
        PerturbationConfig(**settings)
    assert str(caught.value) == said
