"""Convolutions whose stride is above their kernel, which PyTorch cannot train in channels-last memory on a CPU."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from supernet.models.mix import dense
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.modules import Norm, without_gaps
from supernet.spaces.operations import Primitive

few = st.integers(1, 3)
pairs = st.tuples(few, few)


class Standardised(nn.Conv2d):
    """A convolution that computes its weight in a forward pass of its own."""

    def forward(self, x):
        weight = self.weight - self.weight.mean()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@settings(derandomize=True, database=None, max_examples=80)
@given(
    pairs,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pairs,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    st.sampled_from([1, 2]),
)
def test_every_convolution_gives_the_same_numbers_and_gradients(kernel, stride, padding, dilation, size, mode, groups):
    assume(mode == "zeros" or all(p < s for p, s in zip(padding, size, strict=True)))
    kind = nn.Conv2d if mode != "zeros" or sum(size) % 2 else Standardised
    torch.manual_seed(0)
    plain = kind(2, 4, kernel, stride, padding, dilation, groups, padding_mode=mode).double()
    ours = without_gaps(copy.deepcopy(plain))
    apart = [s > k for s, k in zip(stride, kernel, strict=True)]
    if kind is nn.Conv2d or all(k == 1 for k, gap in zip(kernel, apart, strict=True) if gap):
        assert all(s <= k for s, k in zip(ours.stride, kernel, strict=True))
    assert list(ours.state_dict()) == list(plain.state_dict())
    x, again = (torch.randn(2, 2, *size, dtype=torch.float64).requires_grad_() for _ in range(2))
    again.data.copy_(x)
    reach = [s + 2 * p - d * (k - 1) for s, p, d, k in zip(size, padding, dilation, kernel, strict=True)]
    if min(reach) < 1:
        for module in (plain, ours):
            with pytest.raises(RuntimeError):
                module(x)
        return
    wanted, found = plain(x), ours(again)
    assert torch.equal(wanted, found)
    upstream = torch.randn_like(wanted)
    for module, image, out in ((plain, x, wanted), (ours, again, found)):
        out.backward(upstream)
        module.gradients = [image.grad, *(weight.grad for weight in module.parameters())]
    for ours_, theirs in zip(ours.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-12, atol=1e-12)


def strided(kernel, stride, *, depthwise=False):
    """Return a space whose halvings skip pixels; the stride beyond 2 is within one operation."""

    def build(cin, cout, halving, norm):
        s = stride if halving == 2 else 1
        conv = nn.Conv2d(cin, cout, kernel, s, kernel // 2, groups=cin if depthwise else 1, bias=False)
        fill = nn.Upsample(scale_factor=stride / 2) if s > 2 else nn.Identity()
        return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(cout), fill)

    ops = ("own", "max_pool_3x3")
    return SearchSpace.chain("strided", [(ops, 1, 2), (ops, 1, 1)], (Primitive("own", build),))


def check_training(kernel, stride, channels, side, *, depthwise):
    """Compare training steps in channels-last memory with the same in contiguous memory."""
    home, size = strided(kernel, stride, depthwise=depthwise), NetworkSize(channels, 1, (side, side), stem=0)
    genotype = home.choose(dict.fromkeys(home.cells, (0,)))
    mix = dense({kind: torch.tensor([[0.6, 0.4]]) for kind in home.cells})
    x, y = torch.randn(4, 3, side, side), torch.arange(4)
    for engine in ("fused", "reference", "standalone"):
        module = Network(home, genotype, size) if engine == "standalone" else Supernet(home, size, Norm())
        if isinstance(module, Supernet):
            module.engine = engine
        twin = copy.deepcopy(module).to(memory_format=torch.channels_last)
        losses = []
        for some, images in ((module, x), (twin, x.contiguous(memory_format=torch.channels_last))):
            for _ in range(2):
                some.zero_grad()
                logits = some(images, mix) if isinstance(some, Supernet) else some(images)
                losses.append(F.cross_entropy(logits, y))
                losses[-1].backward()
        torch.testing.assert_close(losses[:2], losses[2:])
        for one, other in zip(module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-2, atol=2e-3)


def check_all():
    """Check channels, kernels and sizes; the process that does so may not survive."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for channels in range(1, 9):
        check_training(1, 2, channels, 56, depthwise=False)
        for (kernel, stride), depthwise in itertools.product(((1, 2), (3, 4)), (False, True)):
            check_training(kernel, stride, channels, 8, depthwise=depthwise)


@pytest.mark.slow
def test_the_process_survives_training_in_channels_last_memory():
    code = "from test_strided_convolutions import check_all; check_all()"
    folder, command = Path(__file__).parent, [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_network_with_such_a_convolution_can_be_exported():
    home = strided(3, 4)
    network = Network(home, home.choose({"01": (0,), "02": (0,)}), NetworkSize(4, 1, (16, 16))).eval()
    x = torch.randn(2, 3, 16, 16)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    again = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(program.module()(again), network(again))
