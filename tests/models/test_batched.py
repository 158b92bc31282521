"""Several mixes on one batch have the same logits as each mix alone, and share tensors that are equal."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.models.batched import BatchedEvaluation
from supernet.models.mix import EdgeMix, dense
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import Supernet, traceless
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Noise, Norm
from supernet.spaces.operations import Primitive
from supernet.testing import branched_space, macro_space, noise_batch, ragged_space, shortened, two_input_space

USERS = [ragged_space(), two_input_space(), macro_space(), branched_space()]
SPACES = [shortened(home) for home in (space("nasbench201"), space("s2"), *USERS)]
each_mode = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


@pytest.fixture(autouse=True)
def same_noise(monkeypatch):
    """The operation `noise` has the same noise for every image, so that images may lie in one batch or in several."""

    def forward(self, x):
        shape = (self.cout, -(-x.shape[2] // self.stride), -(-x.shape[3] // self.stride))
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return drawn.to(x.dtype).repeat(len(x), 1, 1, 1)

    monkeypatch.setattr(Noise, "forward", forward)


def make(home, norm=Norm(affine=True)):  # noqa: B008
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), norm).double()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight += 0.1 * torch.randn_like(weight)
        supernet(noise_batch(0).x, dense(weights(home, 0)))
    return supernet


def weights(home, seed):
    g = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    return {kind: torch.rand(shape, generator=g, dtype=torch.float64) for kind, shape in shapes.items()}


@pytest.mark.parametrize("engine", ["fused", "reference"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
@pytest.mark.parametrize("norm", [Norm(), Norm(track=False)], ids=["running", "batch"])
@pytest.mark.parametrize("home", SPACES[:2], ids=lambda home: home.name)
def test_no_images_have_no_logits(home, norm, layout, engine, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    supernet = make(home, norm).eval().to(memory_format=layout)
    supernet.engine = engine
    x, mix = torch.empty(0, 1, 8, 8, dtype=torch.float64).contiguous(memory_format=layout), dense(weights(home, 0))
    with torch.no_grad():
        assert supernet(x, mix).shape == (0, 3)
    assert supernet.batched(x, [mix, dense(weights(home, 1))]).shape == (2, 0, 3)


def masked(mix, seed):
    """The op weights without one operation."""
    rng, masked = random.Random(seed), {kind: value.clone() for kind, value in mix.items()}
    value = masked[rng.choice(list(masked))]
    value[rng.randrange(len(value)), rng.randrange(value.shape[1])] = 0
    return masked


def mixes_of(supernet):
    home, rng = supernet.space, random.Random(1)
    full = weights(home, 1)
    partly = {kind: EdgeMix(full[kind], tuple((0,) for _ in cell.edges)) for kind, cell in home.cells.items()}
    return [
        *(supernet.only(home.sample(rng)) for _ in range(3)),
        *(dense(masked(full, seed)) for seed in range(2)),
        *(dense(full), dense(weights(home, 2)), partly),
    ]


@cache
def alone(number, train, track):
    """A supernet of the space with that number, and the logits of each mix alone by the reference engine."""
    supernet = make(SPACES[number], Norm(affine=True, track=track)).train(train)
    supernet.engine = "reference"
    logits = torch.stack([traceless(supernet, noise_batch(1).x, mix).detach() for mix in mixes_of(supernet)])
    supernet.engine = "fused"
    return supernet, logits


@pytest.mark.parametrize("number", range(len(SPACES)), ids=lambda number: SPACES[number].name)
@each_mode
@pytest.mark.parametrize("track", [True, False], ids=["tracking", "not tracking"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
def test_batched_logits_are_those_of_each_mix_alone(number, train, track, layout):
    supernet, logits = alone(number, train, track)
    supernet, x = supernet.to(memory_format=layout), noise_batch(1).x.contiguous(memory_format=layout)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = supernet.batched(x, mixes_of(supernet))
    assert not found.requires_grad
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    torch.testing.assert_close(found, logits, rtol=1e-10, atol=1e-10)
    assert len({tuple(logits.flatten().tolist()) for logits in found}) > 5  # they are not all the same


def test_the_weight_of_an_edge_multiplies_those_of_its_candidates():
    home, x = SPACES[0], noise_batch(1).x
    supernet, op_weights = make(home), weights(home, 1)
    mix = {kind: EdgeMix(rows, edges=torch.rand(len(rows)).double()) for kind, rows in op_weights.items()}
    products = {kind: edges.products for kind, edges in mix.items()}
    found, wanted = supernet.batched(x, [mix, dense(products)])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(found, traceless(supernet, x, mix).detach())


def test_an_operation_on_the_input_runs_once_for_all_and_so_does_a_common_prefix_of_two_architectures(monkeypatch):
    home = SPACES[0]
    supernet, x = make(home).eval(), noise_batch(1).x
    a, b = (
        home.parse(f"|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|{op}~0|none~1|none~2|")
        for op in ("nor_conv_3x3", "skip_connect")
    )
    images = []
    convolution = F.conv2d

    def count(x, weight, *rest):
        images.append(len(x) * len(weight) / 4)  # an operation of the first cell has 4 filters
        return convolution(x, weight, *rest)

    monkeypatch.setattr("supernet.models.fused.convolutions.F.conv2d", count)
    once = _first_cell(supernet, x, [supernet.only(a)], images)
    assert _first_cell(supernet, x, [supernet.only(a)] * 5, images) == once
    assert _first_cell(supernet, x, [supernet.only(a), supernet.only(b)], images) == once


def _first_cell(supernet, x, mixes, images):
    images.clear()
    tensors = BatchedEvaluation(x, len(mixes), 1)
    with torch.no_grad():
        tensors.fixed(supernet.layers[0])
        images.clear()
        cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell))
        tensors.cell(cell, [mix["cell"] for mix in mixes])
    return sum(images)


class Doubled(nn.Module):
    """A batch norm inside a module of the user's."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return 2 * self.norm(x)


@each_mode
def test_a_batch_norm_inside_a_users_module_has_statistics_of_each_architecture_alone(train):
    doubled = Primitive("doubled", lambda cin, cout, stride, norm: Doubled(cin))
    cell = Cell.dense(4, ("skip_connect", "doubled"))
    home = SearchSpace("own", {"cell": cell}, Stages(("cell",)), primitives=(doubled,))
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), Norm(affine=False)).double().train(train)
    rng, x = random.Random(0), noise_batch(1).x
    mixes = [supernet.only(home.sample(rng)) for _ in range(6)]
    found = supernet.batched(x, mixes)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    for logits, mix in zip(found, mixes, strict=True):
        supernet.load_state_dict(before)
        torch.testing.assert_close(logits, supernet(x, mix).detach(), rtol=1e-10, atol=1e-10)


def test_in_float32_the_logits_are_close():
    supernet, x = make(SPACES[0]).float().eval(), noise_batch(1).x.float()
    supernet, x = supernet.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    mixes = mixes_of(supernet)
    found = supernet.batched(x, mixes)
    for logits, mix in zip(found, mixes, strict=True):
        torch.testing.assert_close(logits, supernet(x, mix).detach(), rtol=1e-4, atol=1e-4)
