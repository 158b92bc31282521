"""P-DARTS: a step by hand, its stages and schedules, what an edge keeps, and searches that are cut between stages."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import supernet as sn
from retrained import message
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.engine.seeds import seeded
from supernet.methods.base import Budget
from supernet.methods.p_darts import PDARTS, PDARTSConfig, _largest
from supernet.models.cost.count import cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.models.cost.targets import Targets
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch
from supernet.testing.runs import PowerCut, run_search, small_data, small_plan, state_of

SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
SGD = SGDConfig(lr=0.1, momentum=0.9, weight_decay=0.01, clip=0)
COMMON: dict[str, Any] = {
    "regime": "different_subset",
    "activation": "softmax",
    "alpha": AlphaOptimizerConfig("adam", lr=0.02, weight_decay=1e-3),
}
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
TWO_EDGES = SearchSpace("two", {"cell": Cell.dense(2, OPS, inputs=1)}, Stages(("cell", "cell")))


def made(home=TWO_EDGES, epochs=6, **config):
    config = PDARTSConfig(**{**COMMON, **config})

    def new_supernet(narrower, size):
        return PDARTS.new_supernet(config, narrower, size, Norm(affine=False)).double()

    torch.manual_seed(0)
    first = PDARTS.network_sizes(config, SIZE)[0]
    return PDARTS(config, new_supernet(home, first), Budget(epochs, SGD, 3, new_supernet=new_supernet))


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_step_moves_alphas_once_they_learn_and_then_the_weights_through_the_dropout(epoch):
    """The reference is a cell of one edge written out, in plain autograd: x -> p_1 dropout(x) + p_2 conv(x) + ..."""
    method, batch, other = (made(epochs=6, dropout=(0.5, 0.4, 0.7)), noise_batch(0), noise_batch(1))
    twin = made(epochs=6, dropout=(0.5, 0.4, 0.7))
    for one in (method, twin):
        one.begin_epoch(epoch)
    assert [method.learns, method.supernet.dropout] == [[False, 0.25], [True, 0.5]][epoch]
    alpha = twin.alphas["cell"].detach().clone().requires_grad_()
    rate = method.supernet.dropout

    def logits(x):
        p = alpha.softmax(dim=1)[0]
        for layer in twin.supernet.layers:
            if not hasattr(layer, "ops"):
                x = layer(x)
                continue
            _, skip, *others = layer.ops[0]
            dropped = F.dropout(skip[0](x), rate, training=True)
            x = p[1] * dropped + sum(weight * op(x) for weight, op in zip(p[2:], others, strict=True))
        return x

    with seeded(7):
        if epoch:
            optimizer = torch.optim.Adam([alpha], lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3)
            (alpha.grad,) = torch.autograd.grad(F.cross_entropy(logits(other.x), other.y), [alpha])
            optimizer.step()
        weights = torch.optim.SGD(twin.supernet.parameters(), lr=SGD.rate(epoch, 2), momentum=0.9, weight_decay=0.01)
        F.cross_entropy(logits(batch.x), batch.y).backward()
        weights.step()
    with seeded(7):
        method.step({"weights": batch, "alpha": other})
    torch.testing.assert_close(method.alphas["cell"], alpha, rtol=1e-10, atol=1e-12)
    for weight, expected in zip(method.weights, twin.weights, strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-9, atol=1e-11)


def test_stages_deepen_narrow_and_begin_anew():
    method = made(epochs=8, deeper=(0, 1, 3))  # of 2, 3 and 3 epochs
    starts, supernets = [], []
    for epoch in range(8):
        method.begin_epoch(epoch)
        if method.supernet not in supernets:
            starts.append(epoch)
            supernets.append(method.supernet)
            assert method.optimizer.param_groups[0]["params"] == list(method.supernet.parameters())
            assert method.alphas.optimizer.param_groups[0]["params"] == method.alphas.parameters
            assert method.optimizer.param_groups[0]["lr"] == SGD.lr  # begins anew
    assert starts == [0, 2, 5]
    assert method.forecast_epochs == [1, 4, 7]
    assert [len(supernet.mixed_cells) for supernet in supernets] == [2, 4, 8]
    assert [len(supernet.space.cells["cell"].edges[0].ops) for supernet in supernets] == [5, 5, 3]
    assert method.stage == "stage 3 of 3: 8 cells, at most 3 candidates on an edge"


def test_the_dropout_falls_linearly_and_then_exponentially_from_another_rate_in_each_stage():
    method, rates = made(epochs=75), []
    for epoch in range(75):
        method.begin_epoch(epoch)
        rates.append(method.supernet.dropout)
        assert method.learns == (epoch % 25 >= 10)
    linear, falling = [(24 - e) / 25 for e in range(10)], [math.exp(-0.2 * (e - 10)) for e in range(10, 25)]
    shape = [*linear, *falling]
    assert rates == pytest.approx([r * first for first in (0.0, 0.4, 0.7) for r in shape])


@pytest.mark.parametrize(("epochs", "learns"), [(3, "111"), (4, "1101"), (6, "010101")])
def test_alphas_learn_in_the_last_epoch_of_a_stage_at_least(epochs, learns):
    method, found = made(epochs=epochs), ""
    for epoch in range(epochs):
        method.begin_epoch(epoch)
        found += str(int(method.learns))
    assert found == learns


def test_alpha_waits_for_the_share_of_a_stage_exactly():
    method = made(epochs=75, warmup=0.28)  # 0.28 * 25 is 7.000000000000001
    for epoch in (6, 7):
        method.begin_epoch(epoch)
        assert method.learns == (epoch == 7)


def test_an_edge_keeps_its_largest_op_weights_and_one_that_an_architecture_may_have():
    assert _largest([0.1, 0.4, 0.2, 0.3], 2, [0, 1, 2, 3]) == [1, 3]
    assert _largest([0.3, 0.3, 0.3, 0.1], 2, [0, 1, 2, 3]) == [0, 1]  # the first of equals
    assert _largest([0.9, 0.1, 0.5, 0.2], 2, [1, 3]) == [0, 3]
    assert _largest([0.9, 0.1], 1, [1]) == [1]
    method = made(space("s3"), epochs=3, candidates=(2, 1))
    for epoch in range(3):
        method.begin_epoch(epoch)
        with torch.no_grad():
            for alpha in method.alphas.values():
                alpha[:, 0] = 5.0  # of `none`
    for columns in method.columns["normal"]:
        assert len(columns) == 1
        assert columns != [0]


def test_the_last_stage_has_another_operation_than_none_where_an_architecture_may_have_none():
    method = made(epochs=3, candidates=(2, 1))
    for epoch in range(3):
        method.begin_epoch(epoch)
        assert all(len(columns) == (5, 2, 1)[epoch] for columns in method.columns["cell"])
        assert all((0 in columns) == (epoch < 2) for columns in method.columns["cell"])
        with torch.no_grad():
            for alpha in method.alphas.values():
                alpha[:, 0] = 5.0  # of `none`


def test_none_is_not_kept_alone_before_the_last_stage_either():
    """With `none` alone, later stages would have nothing else to choose."""
    method = made(epochs=3, candidates=(1, 1))
    for epoch in range(3):
        method.begin_epoch(epoch)
        assert epoch == 0 or all(len(columns) == 1 and 0 not in columns for columns in method.columns["cell"])
        with torch.no_grad():
            for alpha in method.alphas.values():
                alpha[:, 0] = 5.0  # of `none`, as long as it is there


def test_an_edge_with_none_alone_keeps_it_in_every_stage():
    cell = Cell((Edge(1, 0, ("none",)), Edge(2, 0, OPS), Edge(2, 1, OPS)))
    method = made(SearchSpace("an edge of none", {"cell": cell}, Stages(("cell",))), epochs=3, candidates=(2, 1))
    for epoch in range(3):
        method.begin_epoch(epoch)
        assert [len(columns) for columns in method.columns["cell"]] == [1, *[(5, 2, 1)[epoch]] * 2]


def test_op_scores_of_the_search_have_all_its_columns_and_none_is_left_out_at_the_end(tmp_path):
    plan = small_plan(EXAMPLE_SPACES[0], method="p-darts", epochs=3)
    task, run = run_search(plan, tmp_path)
    cell = plan.space.cells["cell"]
    for row in run.metrics:
        assert [len(edge) for edge in row["op_scores"]["cell"]] == [cell.columns] * len(cell.edges)
    for columns, scores, edge in zip(task.method.columns["cell"], row["op_scores"]["cell"], cell.edges, strict=True):
        assert {k for k, score in enumerate(scores) if score} == {k for k in columns if edge.ops[k] != "none"}


def test_targets_see_the_network_of_the_last_stage_without_none():
    method = made(deeper=(0,), candidates=(), dropout=(0.0,))
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha.copy_(torch.tensor([5.0, 0, 0, 3, 0]))  # `none`, then the 3x3 convolution
    feasible = FeasibleSet(TWO_EDGES, SIZE)
    nothing, convolutions = (
        feasible.best({"cell": [[float(k == best) for k in range(5)]] * len(TWO_EDGES.cells["cell"].edges)})
        for best in (0, 3)
    )
    least, most = (cost(TWO_EDGES, genotype, SIZE).params for genotype in (nothing, convolutions))
    method.alphas.targets = Targets(feasible, Limits(max_params=(least + most) // 2), 6)
    method.alphas.step([torch.zeros_like(alpha) for alpha in method.alphas.parameters])
    assert all(alpha.grad[:, 3].gt(0).all() for alpha in method.alphas.parameters)


# Of two steps in each epoch, and one epoch in each stage
@pytest.mark.slow
@pytest.mark.parametrize(("steps", "monitor"), [(3, None), (4, "gradients"), (5, "hessian")])
def test_a_search_that_is_cut_around_a_change_of_stages_ends_with_the_same_bits(tmp_path, steps, monitor):
    settings = {"epochs": 3, "batch_size": 6, "monitor": monitor, "monitor_every": monitor and 1}

    def plan():
        return small_plan(EXAMPLE_SPACES[1], method="p-darts", dropout=(0.3, 0.4, 0.7), **settings)

    whole, _ = run_search(plan(), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run_search(plan(), tmp_path / "cut", PowerCut(steps))
    resumed, run = run_search(plan(), tmp_path / "cut")
    assert state_of(resumed) == state_of(whole)
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3]


@pytest.mark.slow
def test_a_search_says_its_stages_and_reads_lists_back(tmp_path, capsys):
    choices = {"method": "p-darts", "epochs": 2, "batch_size": 6, "width": 2, "device": "cpu"}
    choices |= {"deeper": [0, 1], "candidates": [2], "dropout": [0.1, 0.2], "out": tmp_path}
    run = sn.search(small_data(), **choices)
    said = capsys.readouterr()
    assert "stage 2 of 2: 6 cells, at most 2 candidates on an edge" in said.out + said.err
    assert run.summary["selector"] == "skip-limit"
    assert sn.search(small_data(), **choices, quiet=True).metrics == run.metrics
    assert sn.forecast(small_data(), **{**choices, "out": None}).step_seconds > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"deeper": (0, 1)}, "settings deeper, candidates and dropout are of stages: 2 of deeper need 1 of candidates"),
        ({"deeper": (), "candidates": (), "dropout": ()}, "0 of deeper"),
        ({"candidates": (3, 5)}, "setting candidates cannot grow from stage to stage: [3, 5]"),
        ({"candidates": (0, 0)}, "setting candidates"),
        ({"dropout": (0.1, 0.2, 1.0)}, "setting dropout"),
        ({"epochs": 2}, "p-darts has 3 stages, so it needs as many epochs, not 2"),
    ],
)
def test_settings_that_cannot_be_had_are_one_line(settings, told):
    assert told in message(lambda: sn.search(small_data(), method="p-darts", quiet=True, **settings))
