"""The space `mobile`: its blocks written out, its skeleton, and MobileNetV2 as one of its architectures."""

from __future__ import annotations

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.models.cost.count import OperationCosts, cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.models.cost.options import OptionGroups
from supernet.models.layers import with_drop_path
from supernet.models.mix import dense
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.selectors.ageing import mutated
from supernet.spaces import SPACES, NetworkSize
from supernet.spaces.modules import Norm
from supernet.spaces.operations import PRIMITIVES
from supernet.spaces.residual import inverted_residual
from supernet.spaces.shapes import CellAt
from supernet.spaces.skeleton import MobileStages, Position
from supernet.spaces.tokens import Sequences
from supernet.testing import noise_batch, shortened

MOBILE = SPACES["mobile"]
SMALL = shortened(MOBILE)
TINY = NetworkSize(2, 1, (8, 8), 1, 3)
V2 = (1, 2, 3, 4, 3, 3, 1)  # blocks of MobileNetV2 in each stage
BLOCKS = [name for name in PRIMITIVES if name.startswith("mb")]


def of(first, other, blocks):
    """Return the architecture with operation `first` in stage 1, `other` in all others, and so many blocks."""
    ops = [
        ["skip_connect" if e >= count else other if n else first for e in range(4)] for n, count in enumerate(blocks)
    ]
    cells = zip(MOBILE.cells.items(), ops, strict=True)
    return MOBILE.choose({k: [e.ops.index(op) for e, op in zip(c.edges, row, strict=False)] for (k, c), row in cells})


def counted(network: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """Return parameters and FLOPs, counted by hooks: the weights behind each output, and a classifier's biases."""
    flops = 0

    def see(module, inputs, output):
        nonlocal flops
        if isinstance(module, nn.Conv2d):
            flops += output.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
        elif isinstance(module, nn.Linear):
            flops += module.weight.numel() + module.out_features

    hooks = [module.register_forward_hook(see) for module in network.modules()]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in network.parameters()), flops


def test_mobilenet_v2_is_an_architecture_with_its_published_cost():
    size = NetworkSize(16, 1, (224, 224), 3, 1000)
    found = cost(MOBILE, of("mb1_k3", "mb6_k3", V2), size)
    assert (found.params, found.flops) == (3_504_872, 300_774_272 + 1000)
    shapes = [(p.output.channels, p.output.height) for p in MOBILE.layout(size)]
    stages = [(16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7)]
    assert shapes == [(32, 112), *stages, (1280, 7), (1000, 1)]


def test_every_block_has_a_row_of_alpha_and_the_first_of_a_stage_is_never_left_out():
    rows = [[edge.ops for edge in cell.edges] for cell in MOBILE.cells.values()]
    assert [len(stage) for stage in rows] == [1, 4, 4, 4, 4, 4, 1]
    assert [len(stage[0]) for stage in rows] == [6, *[12] * 6]
    assert all(ops == ("skip_connect", *stage[0]) for stage in rows for ops in stage[1:])
    assert MOBILE.size == 6 * (12 * 13**3) ** 5 * 12
    kinds = [p.layer.kind for p in MOBILE.layout(NetworkSize(4, 1)) if isinstance(p.layer, CellAt)]
    assert kinds == list(MOBILE.cells)


@pytest.mark.parametrize(
    ("side", "resolutions"),
    [
        (8, [8, 8, 8, 8, 4, 4, 2, 2]),
        (28, [28, 28, 28, 28, 14, 14, 7, 7]),
        (32, [32, 32, 32, 32, 16, 16, 8, 8]),
        (64, [32, 32, 32, 32, 16, 16, 8, 8]),
        (96, [48, 48, 24, 24, 12, 12, 6, 6]),
        (224, [112, 112, 56, 28, 14, 14, 7, 7]),
        (320, [80, 80, 40, 20, 10, 10, 5, 5]),  # the fourth halving is the stem's, too
    ],
)
def test_the_image_decides_the_resolutions_of_the_stages(side, resolutions):
    layout = MOBILE.layout(NetworkSize(16, 2, (side, side)))
    heights = [p.output.height for p in layout]
    assert heights[:1] + heights[1:-2:2] == heights[:1] + heights[2:-2:2] == resolutions


@pytest.mark.parametrize(("side", "width", "depth"), [(8, 3, 2), (32, 8, 1), (96, 5, 1), (224, 16, 1)])
def test_costs_are_those_of_the_network(side, width, depth):
    size = NetworkSize(width, depth, (side, side), 3, 10)
    genotype = MOBILE.sample(random.Random(side))
    found = cost(MOBILE, genotype, size)
    assert (found.params, found.flops) == counted(Network(MOBILE, genotype, size), torch.zeros(1, 3, side, side))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("cin", "cout", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2)])
def test_blocks_are_their_equations(name, cin, cout, stride):
    torch.manual_seed(0)
    expand, kernel, gate = int(name[2]), int(name[5]), name.endswith("_se")
    block = PRIMITIVES[name].module(cin, cout, stride, Norm()).double()
    x = torch.randn(3, cin, 7, 7, dtype=torch.float64)
    weights = iter(block.parameters())

    def normed(y):
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = (next(weights).view(1, -1, 1, 1) for _ in range(2))
        return (y - mean) / (variance + 1e-5).sqrt() * scale + shift

    y = x if expand == 1 else F.relu(normed(F.conv2d(x, next(weights))))
    y = F.relu(normed(F.conv2d(y, next(weights), stride=stride, padding=kernel // 2, groups=expand * cin)))
    if gate:
        down, bias, up, other = (next(weights) for _ in range(4))
        assert len(down) == 1  # a quarter of the input's channels
        inside = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), down, bias))
        y = y * torch.sigmoid(F.conv2d(inside, up, other))
    y = normed(F.conv2d(y, next(weights)))
    torch.testing.assert_close(block(x), x + y if (cin, stride) == (cout, 1) else y)


@pytest.mark.parametrize("norm", [Norm(), Norm(affine=False, track=False)])
def test_the_fused_engine_is_exact(norm):
    torch.manual_seed(0)
    supernet, batch = Supernet(SMALL, TINY, norm).double(), noise_batch(1)
    alphas = {kind: torch.rand(len(c.edges), c.columns, dtype=torch.float64) for kind, c in SMALL.cells.items()}
    found = {}
    for engine in ("reference", "fused"):
        supernet.engine = engine
        weights = {kind: value.clone().requires_grad_() for kind, value in alphas.items()}
        logits = supernet(batch.x, dense(weights))
        sources = [*weights.values(), *supernet.parameters()]
        found[engine] = logits, *torch.autograd.grad(logits.square().sum(), sources, allow_unused=True)
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_drop_path_drops_what_a_block_adds_and_never_the_way_through_a_stage():
    torch.manual_seed(0)
    x = torch.randn(64, 4, 5, 5, dtype=torch.float64)
    whole, entry = (inverted_residual(4, cout, kernel=3, expand=3).double() for cout in (4, 6))
    assert with_drop_path(entry, x, (part := entry(x)), 0.5) is part
    added = whole(x) - x
    dropped = with_drop_path(whole, x, whole(x), 0.5) - x
    gone = (dropped == 0).flatten(1).all(1)
    assert 16 < gone.sum() < 48
    torch.testing.assert_close(dropped[~gone], 2 * added[~gone])


def test_a_network_with_drop_path_keeps_every_image_apart():
    network = Network(MOBILE, of("mb1_k3", "mb3_k3", V2), NetworkSize(4, 1, (8, 8), 1, 3))
    network.drop_path = 0.9
    torch.manual_seed(0)
    assert len({tuple(row) for row in network(torch.randn(8, 1, 8, 8)).tolist()}) == 8


def test_limits_are_met_by_the_best_architecture_block_by_block():
    assert len(OptionGroups(MOBILE).groups) == 22  # not a group per stage, of 26 364 options each
    costs, draws = OperationCosts(SMALL, TINY), random.Random(0)
    scores = {kind: [[draws.random() for _ in edge.ops] for edge in c.edges] for kind, c in SMALL.cells.items()}
    architectures = [
        SMALL.choose({"stage1": [a], "stage2": [b, c]}) for a in range(6) for b in range(12) for c in range(13)
    ]
    limit = costs.total(SMALL.derive(scores)).flops - 1
    allowed = [genotype for genotype in architectures if costs.total(genotype).flops <= limit]
    assert 0 < len(allowed) < len(architectures) == SMALL.size

    def score(genotype):
        return sum(scores[kind][e][k] for kind, row in SMALL.columns(genotype).items() for e, k in enumerate(row))

    assert FeasibleSet(SMALL, TINY, Limits(max_flops=limit)).best(scores) == max(allowed, key=score)


def test_a_mutation_changes_one_block():
    sequences, draws = Sequences(MOBILE), random.Random(0)
    assert (sequences.length, len(sequences.ops)) == (44, 19)
    parent = MOBILE.sample(draws)
    for _ in range(20):
        child = sequences.decode(mutated(sequences, sequences.encode(parent), draws))
        pairs = zip(MOBILE.columns(parent).values(), MOBILE.columns(child).values(), strict=True)
        assert sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True)) == 1


def test_the_text_of_an_architecture_is_read_back():
    genotype = MOBILE.sample(random.Random(0))
    assert str(genotype).startswith("stage1:|mb1_k")
    assert MOBILE.parse(str(genotype)) == genotype


@pytest.mark.parametrize(("last", "strides"), [(0, [1, 1, 1]), (1, [1, 1, 2]), (2, [1, 2, 2]), (9, [2, 2, 2])])
def test_so_many_of_the_last_positions_halve_without_a_halving_in_the_stem(last, strides):
    skeleton = MobileStages((Position("a", 1, 2),) * 3, last=last)
    assert [layer.stride for layer in skeleton.plan(4, 1, 0) if isinstance(layer, CellAt)] == strides
