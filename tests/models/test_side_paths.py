"""Side paths of a supernet's cells: partial channels and auxiliary skips, written out, by every engine."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.models.fixed_edges import FixedEdges
from supernet.models.lookahead import Lookahead
from supernet.models.mix import EdgeMix
from supernet.models.mixed_cell import MixedCell
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import FactorizedReduce, Norm
from supernet.testing import EXAMPLE_SPACES, noise_batch, shortened

NB201, TWO = EXAMPLE_SPACES[0], space("s2")  # without noise, which would be drawn anew in every pass
PARTIAL, SKIP, BOTH = CellOptions(partial=2), CellOptions(auxiliary_skip=True), CellOptions(2, auxiliary_skip=True)


def made(home=TWO, options=PARTIAL, width=4, seed=0, side=8):
    torch.manual_seed(seed)
    supernet = Supernet(home, NetworkSize(width, 1, (side, side), 1, 3), Norm(affine=False), options).double()
    return supernet.to(memory_format=torch.channels_last)


def drawn(home, seed=0):
    """Return a mix with random op weights, edge weights and auxiliary weight, all with gradient."""
    draws = torch.Generator().manual_seed(seed)
    mix = {}
    for kind, cell in home.cells.items():
        weights = torch.rand(len(cell.edges), cell.columns, generator=draws, dtype=torch.double).requires_grad_()
        edges = torch.rand(len(cell.edges), generator=draws, dtype=torch.double).requires_grad_()
        auxiliary = torch.rand((), generator=draws, dtype=torch.double).requires_grad_()
        mix[kind] = EdgeMix(weights, edges=edges, auxiliary=auxiliary)
    return mix


def by_hand(cell: MixedCell, inputs, mix: EdgeMix, options: CellOptions):
    """Return a cell's output from the equations of the papers, one edge and one channel group after the other."""
    k, nodes = options.partial, [project(x) for project, x in zip(cell.inputs, inputs, strict=True)]
    first = cell.channels // k
    for node in range(cell.cell.inputs, cell.cell.nodes):
        total = 0
        for e, edge in enumerate(cell.cell.edges):
            if edge.target != node:
                continue
            x = nodes[edge.source]
            halves = cell.stride == 2 and edge.source < cell.cell.inputs
            mixed = sum(
                mix.weights[e, c] * cell.ops[e][c](x[:, :first])
                for c, op in enumerate(edge.ops)
                if op != "none" and c < len(edge.ops)
            )
            if isinstance(mixed, int):
                mixed = torch.zeros_like(x[:, :first, ::2, ::2] if halves else x[:, :first])
            mixed = mixed * mix.edges[e]
            if options.auxiliary_skip:
                mixed = mixed + mix.auxiliary * cell.paths.skips[e](x[:, :first])
            whole = mixed
            if k > 1:
                rest = F.max_pool2d(x[:, first:], 2, ceil_mode=True) if halves else x[:, first:]
                whole = torch.cat([mixed, mix.edges[e] * rest], dim=1)
            batch, channels, height, width = whole.shape
            total = total + whole.view(batch, k, channels // k, height, width).transpose(1, 2).reshape(whole.shape)
        nodes.append(total)
    return torch.cat([nodes[end] for end in cell.ends(None)], dim=1)


def gradients(supernet, mix, batch):
    loss = F.cross_entropy(supernet(batch.x, mix), batch.y)
    tensors = [x for edges in mix.values() for x in (edges.weights, edges.edges, edges.auxiliary) if x is not None]
    return loss.detach(), torch.autograd.grad(
        loss, [*tensors, *supernet.parameters()], allow_unused=True, materialize_grads=True
    )


@pytest.mark.parametrize("options", [PARTIAL, SKIP, BOTH], ids=["partial", "skip", "both"])
@pytest.mark.parametrize("home", [NB201, TWO], ids=lambda home: home.name)
@pytest.mark.parametrize("side", [8, 7])
def test_a_cell_is_what_the_papers_write(side, home, options):
    supernet = made(home, options, side=side)
    supernet.engine = "reference"
    seen = []

    def keep(module, arguments, output):
        seen.append((module, *arguments, output))

    for layer in supernet.layers:
        if isinstance(layer, MixedCell):
            layer.register_forward_hook(keep)
    supernet(noise_batch(0, side=side).x, drawn(home))
    assert seen
    for layer, inputs, mix, output in seen:
        torch.testing.assert_close(by_hand(layer, inputs, mix, options), output, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", [PARTIAL, SKIP, BOTH], ids=["partial", "skip", "both"])
@pytest.mark.parametrize("home", [NB201, TWO], ids=lambda home: home.name)
def test_both_engines_agree(home, options):
    one, other = made(home, options), made(home, options)
    other.engine = "reference"
    batch = noise_batch(0)
    (loss, found), (wanted_loss, wanted) = (gradients(each, drawn(home), batch) for each in (one, other))
    torch.testing.assert_close(loss, wanted_loss)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("options", [PARTIAL, SKIP, BOTH], ids=["partial", "skip", "both"])
def test_both_engines_agree_where_only_a_side_path_leads_on_from_a_node(options):
    cell = NB201.cells["cell"]
    fixed = FixedEdges.none(NB201)
    for number, edge in enumerate(cell.edges):
        fixed = fixed.fix("cell", number, [edge.ops.index("none")]) if edge.source == 2 else fixed
    found = []
    for engine in ("fused", "reference"):
        supernet = made(NB201, options)
        supernet.engine, supernet.fixed_edges = engine, fixed
        found.append(gradients(supernet, drawn(NB201), noise_batch(0)))
    (loss, ours), (wanted, theirs) = found
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_without_an_auxiliary_weight_there_is_no_skip():
    supernet, plain = made(options=SKIP), made(options=CellOptions())
    names = plain.state_dict().keys()
    plain.load_state_dict({name: supernet.state_dict()[name] for name in names})
    mix = {kind: EdgeMix(edges.weights) for kind, edges in drawn(TWO).items()}
    torch.testing.assert_close(supernet(noise_batch(0).x, mix), plain(noise_batch(0).x, mix))


def test_an_auxiliary_skip_is_on_every_edge_with_weights_of_its_own():
    supernet = made(space("s4"), SKIP)
    cells = [layer for layer in supernet.layers if isinstance(layer, MixedCell)]
    for cell in cells:
        halving = [cell.stride == 2 and edge.source < cell.cell.inputs for edge in cell.cell.edges]
        assert [isinstance(skip, FactorizedReduce) for skip in cell.paths.skips] == halving
    own = {id(p) for cell in cells for p in cell.paths.parameters()}
    assert not own & {id(p) for cell in cells for p in cell.ops.parameters()}
    assert own


def test_architectures_run_alone_and_in_batches():
    supernet = made(TWO, BOTH).eval()
    mixes = [supernet.only(TWO.sample(random.Random(seed))) for seed in range(3)]
    x = noise_batch(0).x
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    found = supernet.batched(x, mixes)
    torch.testing.assert_close(found, torch.stack([supernet(x, mix) for mix in mixes]).detach())
    assert all(torch.equal(before[name], value) for name, value in supernet.named_buffers())


def test_an_edge_that_is_left_out_passes_nothing():
    supernet = made(NB201, PARTIAL).eval()
    left_out = FixedEdges.none(NB201)
    for e in range(len(NB201.cells["cell"].edges)):
        left_out = left_out.fix("cell", e, [])
    x = noise_batch(0).x
    with torch.no_grad():
        found = supernet(x, left_out.apply(drawn(NB201)))
        torch.testing.assert_close(found, supernet(0 * x, left_out.apply(drawn(NB201))))


def test_a_supernet_with_side_paths_is_drawn_anew_and_looked_ahead_with_as_it_is():
    supernet = made(NB201, BOTH)
    torch.manual_seed(5)
    supernet.redraw()
    fresh = made(NB201, BOTH, seed=5).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in supernet.state_dict().items())
    lookahead, batch = Lookahead(supernet, SGDConfig(lr=0.1)), noise_batch(0)
    optimizer = SGDConfig(lr=0.1).optimizer(supernet.parameters())
    mix = {kind: EdgeMix(e.weights.detach(), edges=e.edges.detach(), auxiliary=e.auxiliary.detach())
           for kind, e in drawn(NB201).items()}  # fmt: skip
    found = lookahead.losses(optimizer, [mix], [], batch, seed=0)
    with torch.no_grad():
        wanted = F.cross_entropy(supernet(batch.x, mix), batch.y)
    torch.testing.assert_close(found[0].to(wanted), wanted)


@pytest.mark.parametrize("width", [6, 7])
def test_channels_that_cannot_be_divided_are_refused(width):
    with pytest.raises(UserError, match=f"setting partial 4 must divide the {width} channels of a cell: see --width"):
        made(NB201, CellOptions(partial=4), width)


def test_an_auxiliary_skip_that_changes_only_the_channels_is_a_convolution():
    home = shortened(space("mobile"))
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(), SKIP).double()
    x, mix = noise_batch(1).x, drawn(home)
    mix = {kind: EdgeMix(torch.zeros_like(m.weights), auxiliary=torch.ones(())) for kind, m in mix.items()}
    cell = supernet.mixed_cells[0]
    features = supernet.layers[0](x)
    torch.testing.assert_close(cell([features], mix["stage1"]), cell.paths.skips[0](features))
    assert [type(module).__name__ for module in cell.paths.skips[0]] == ["ReLU", "Conv2d", "BatchNorm2d"]
