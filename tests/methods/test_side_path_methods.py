"""PC-DARTS and DARTS-: a step by hand, schedules, the derived edges, and settings that cannot be had."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F

from conftest import Call
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.darts_minus import DARTSMinus, DARTSMinusConfig
from supernet.methods.hessian_monitor import HessianMonitor
from supernet.methods.pc_darts import PCDARTS, EdgeAlphas, PCDARTSConfig, edge_weights
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.selectors.magnitude import strongest
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch

SIZE = NetworkSize(4, 1, (8, 8), 1, 3)
SGD = SGDConfig(lr=0.1, momentum=0.9, weight_decay=0.01, clip=0)
COMMON: dict[str, Any] = {
    "regime": "different_subset",
    "activation": "softmax",
    "alpha": AlphaOptimizerConfig("adam", lr=0.02, weight_decay=1e-3),
}
PC = PCDARTSConfig(partial=2, **COMMON)


def made(kind, config, home="s2", epochs=10):
    home = space(home)
    torch.manual_seed(0)
    supernet = kind.new_supernet(config, home, SIZE, Norm(affine=False)).double()
    return kind(config, supernet, Budget(epochs, SGD, 3))


def take_step_by_hand(twin, parameters, logits, batch, other, epoch):
    """Take a step of the architecture's parameters on one batch, and then of the twin's weights on the other."""
    optimizer = torch.optim.Adam(parameters, lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3)
    gradients = torch.autograd.grad(F.cross_entropy(logits(other.x), other.y), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    weights = torch.optim.SGD(twin.supernet.parameters(), lr=SGD.rate(epoch, 10), momentum=0.9, weight_decay=0.01)
    F.cross_entropy(logits(batch.x), batch.y).backward()
    weights.step()


def test_a_step_of_pc_darts_moves_alphas_and_betas_and_then_the_weights():
    method, batch, other = made(PCDARTS, PC), noise_batch(0), noise_batch(1)
    method.begin_epoch(5)
    twin = made(PCDARTS, PC)
    free = {kind: alpha.detach().clone().requires_grad_() for kind, alpha in twin.alphas.items()}
    betas = {kind: beta.detach().clone().requires_grad_() for kind, beta in twin.alphas.betas.items()}

    def logits(x):
        mix = {}
        for kind, edges in twin.mix().items():
            of = [edge.target for edge in twin.supernet.space.cells[kind].edges]
            b = torch.stack([betas[kind][e].exp() / betas[kind][[t == of[e] for t in of]].exp().sum()
                             for e in range(len(of))])  # fmt: skip
            mix[kind] = type(edges)(free[kind].softmax(dim=1), edges=b)
        return twin.supernet(x, mix)

    parameters = [*free.values(), *betas.values()]
    take_step_by_hand(twin, parameters, logits, batch, other, epoch=5)
    method.step({"weights": batch, "alpha": other})
    for ours, wanted in zip(method.alphas.parameters, parameters, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)
    for ours, wanted in zip(method.supernet.parameters(), twin.supernet.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("share", "epochs", "first"), [(0.3, 50, 15), (0.14, 50, 7), (0.28, 25, 7), (0.7, 50, 35)])
def test_alpha_of_pc_darts_waits_for_the_share_of_the_epochs_exactly(share, epochs, first):
    method, waits = made(PCDARTS, replace(PC, warmup=share), epochs=epochs), 0
    for epoch in range(epochs):
        method.begin_epoch(epoch)
        waits += not method.learns
    assert waits == first


def test_alphas_and_betas_wait_for_a_share_of_the_epochs():
    method = made(PCDARTS, PC)
    before = [parameter.clone() for parameter in method.alphas.parameters]
    for epoch in range(4):
        method.begin_epoch(epoch)
        method.step({"weights": noise_batch(epoch), "alpha": noise_batch(9)})
        same = all(torch.equal(old, new) for old, new in zip(before, method.alphas.parameters, strict=True))
        assert same == (epoch < 3)  # 3 of 10


def test_alphas_learn_in_the_last_epoch_at_least():
    method = made(PCDARTS, PC)
    method.budget = replace(method.budget, epochs=1)
    method.begin_epoch(0)
    assert method.learns


def test_the_weights_of_the_edges_into_a_node_add_up_to_one():
    cell = space("darts").cells["normal"]
    found = edge_weights(torch.randn(len(cell.edges)), cell)
    for node in range(cell.inputs, cell.nodes):
        total = sum(found[e] for e, edge in enumerate(cell.edges) if edge.target == node)
        torch.testing.assert_close(total, torch.tensor(1.0))


def test_edges_are_ranked_by_the_product_of_beta_and_alpha():
    method = made(PCDARTS, PC, home="s3")
    with torch.no_grad():
        for number, parameter in enumerate(method.alphas.parameters):
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)).double()
    home = method.supernet.space
    genotype = strongest(method, FeasibleSet(home, SIZE, Limits(), torch.device("cpu")))
    for kind, cell in home.cells.items():
        weights = method.alphas[kind].detach().softmax(dim=1)
        betas = edge_weights(method.alphas.betas[kind].detach(), cell)
        for node in range(cell.inputs, cell.nodes):
            ranked = []
            for e, edge in enumerate(cell.edges):
                scores = {op: float(weights[e, k] * betas[e]) for k, op in enumerate(edge.ops) if op != "none"}
                if edge.target == node:
                    op = max(scores, key=scores.__getitem__)
                    ranked.append((scores[op], edge.source, op))
            wanted = {(source, op) for _, source, op in sorted(ranked)[-2:]}
            assert {(c.source, c.op) for c in genotype[kind] if c.target == node} == wanted


def test_a_step_of_darts_minus_is_that_of_darts_with_a_fading_skip_beside_it():
    config = DARTSMinusConfig(**COMMON)
    method, twin, batch, other = made(DARTSMinus, config), made(DARTSMinus, config), noise_batch(0), noise_batch(1)
    method.begin_epoch(3)
    free = {kind: alpha.detach().clone().requires_grad_() for kind, alpha in twin.alphas.items()}
    beta = torch.tensor(0.7, dtype=torch.double)  # 1 - 3/10

    def logits(x):
        mix = {kind: type(e)(free[kind].softmax(dim=1), auxiliary=beta) for kind, e in twin.mix().items()}
        return twin.supernet(x, mix)

    take_step_by_hand(twin, list(free.values()), logits, batch, other, epoch=3)
    method.step({"weights": batch, "alpha": other})
    for kind, alpha in method.alphas.items():
        torch.testing.assert_close(alpha, free[kind], rtol=1e-9, atol=1e-12)
    for ours, wanted in zip(method.supernet.parameters(), twin.supernet.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("decay", "wanted"), [("linear", 0.75), ("cosine", 0.5 * (1 + math.cos(math.pi / 4)))])
def test_the_auxiliary_skip_fades_by_its_schedule(decay, wanted):
    method = made(DARTSMinus, DARTSMinusConfig(decay=decay, **COMMON), epochs=8)
    for epoch, beta in ((0, 1.0), (2, wanted)):
        method.begin_epoch(epoch)
        assert [float(edges.auxiliary) for edges in method.mix().values()] == pytest.approx([beta, beta])
    assert method.mix()["normal"].auxiliary.requires_grad is False


@pytest.mark.parametrize("given", [["--partial", "3"], ["--width", "6"]])
def test_partial_channels_that_do_not_divide_the_width_are_refused(given: list[str], call: Call) -> None:
    status, _, err = call("search", "digits", "--method", "pc-darts", "--images", "40", *given, "--out", "run")
    assert status == 2
    assert re.fullmatch(r"supernet: setting partial \d must divide the \d channels of a cell: see --width\n", err)


def test_cells_that_change_their_channels_have_no_partial_ones() -> None:
    with pytest.raises(UserError, match="partial channels need a space whose cells have as many channels as their in"):
        PCDARTS.new_supernet(PC, EXAMPLE_SPACES[3], SIZE, Norm())


def test_alphas_and_betas_are_named_groups_in_rows_states_and_the_optimizer():
    method = made(PCDARTS, PC)
    alphas = method.alphas
    assert list(alphas.groups) == ["alpha", "beta"]
    assert alphas.fixed == ["beta"]
    assert [id(p) for p in alphas.parameters] == [id(p) for p in [*alphas.values(), *alphas.betas.values()]]
    row = method.end_epoch(0, 0.5)
    assert row["alphas"] == {kind: alpha.tolist() for kind, alpha in alphas.items()}
    assert row["betas"] == {kind: beta.tolist() for kind, beta in alphas.betas.items()}
    for kind, cell in method.supernet.space.cells.items():
        assert row["edge_weights"][kind] == edge_weights(alphas.betas[kind], cell).tolist()

    other = made(PCDARTS, PC)
    with torch.no_grad():
        for parameter in alphas.parameters:
            parameter += 1
    other.load_state_dict(method.state_dict())
    assert other.end_epoch(0, 0.5) == method.end_epoch(0, 0.5)


def test_a_group_that_a_subclass_names_is_kept_and_reported_without_more_code():
    class Third(EdgeAlphas):
        gammas: ClassVar = {"normal": torch.zeros(3)}

        @property
        def groups(self):
            return {**super().groups, "gamma": self.gammas}

    home = space("s2")
    alphas = Third(home, Budget(2, SGD, 3), torch.zeros(1), PC)
    assert alphas.row()["gammas"] == {"normal": [0.0, 0.0, 0.0]}
    assert alphas.fixed == ["beta", "gamma"]
    assert alphas.optimizer.param_groups[0]["params"][-1] is alphas.gammas["normal"]
    state = {**alphas.state_dict(), "gammas": {"normal": torch.ones(3)}}
    alphas.load_state_dict(state)
    assert alphas.gammas["normal"].tolist() == [1, 1, 1]


def test_the_hessian_says_what_it_leaves_fixed():
    batch = noise_batch(1)
    for kind, config, fixed in ((PCDARTS, PC, ["beta"]), (DARTSMinus, DARTSMinusConfig(**COMMON), ["auxiliary skip"])):
        home = space("nasbench201")
        supernet = kind.new_supernet(config, home, SIZE, Norm(affine=False)).double()
        method = kind(config, supernet, Budget(2, SGD, 3, validation_batches=lambda: iter([batch])))
        assert HessianMonitor(method, 2).end_epoch(1).get("fixed") == fixed
