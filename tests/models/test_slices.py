"""In the supernet of a sliced space, the blocks of an edge are slices of one block."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from supernet.models.mix import sparse
from supernet.models.slices import SlicedConv2d, share_slices
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace, space
from supernet.spaces.modules import Norm
from supernet.spaces.residual import InvertedResidual, inverted_residual

OPS = ("mb1_k3", "mb3_k5_se", "mb4_k7", "mb6_k3", "mb6_k7_se", "skip_connect")
NORM = Norm(affine=False)


def blocks(cin: int, cout: int, stride: int) -> dict[str, InvertedResidual]:
    sizes = [(op, int(op[2]), int(op[5]), op.endswith("_se")) for op in OPS[:-1]]
    return {
        op: inverted_residual(cin, cout, stride, NORM, kernel=kernel, expand=expand, squeeze=squeeze)
        for op, expand, kernel, squeeze in sizes
    }


def chain(*, sliced: bool) -> SearchSpace:
    return SearchSpace.chain("chain", [(OPS[:-1], 1, 2), (OPS, 1, 1)], sliced=sliced)


@pytest.mark.parametrize(("cin", "cout", "stride"), [(4, 4, 1), (5, 7, 2), (1, 2, 1)])
def test_a_block_computes_what_one_of_its_own_with_the_slice_of_the_weights_does(
    cin: int, cout: int, stride: int
) -> None:
    torch.manual_seed(0)
    shared, own = blocks(cin, cout, stride), blocks(cin, cout, stride)
    share_slices(shared.values())
    whole = {name: conv.weight for name, conv in shared["mb6_k7_se"].convolutions.items()}
    x = torch.randn(6, cin, 9, 9)
    for op, block in own.items():
        with torch.no_grad():
            for name, conv in block.convolutions.items():
                weight, bias = whole[name], shared["mb6_k7_se"].convolutions[name].bias
                out, inside, kernel, _ = conv.weight.shape
                edge = (weight.shape[-1] - kernel) // 2
                middle = slice(edge, edge + kernel)
                conv.weight.copy_(weight[:out, :inside, middle, middle])
                if bias is not None and conv.bias is not None:
                    conv.bias.copy_(bias[:out])
        torch.testing.assert_close(shared[op](x), block(x))


def test_a_step_of_one_block_reaches_its_slice_alone() -> None:
    torch.manual_seed(0)
    shared = blocks(4, 4, 1)
    share_slices(shared.values())
    shared["mb3_k5_se"](torch.randn(8, 4, 9, 9)).square().sum().backward()
    grads = {name: conv.weight.grad for name, conv in shared["mb6_k7_se"].convolutions.items()}
    moved = {name: grad != 0 for name, grad in grads.items() if grad is not None}
    assert moved["expand"][:12].any()
    assert not moved["expand"][12:].any()
    assert moved["depthwise"][:12, :, 1:6, 1:6].all()
    assert int(moved["depthwise"].sum()) == 12 * 25
    assert not moved["project"][:, 12:].any()


def test_the_supernet_has_the_weights_of_the_largest_block_only() -> None:
    torch.manual_seed(0)
    size = NetworkSize(4, 1, (8, 8), 3, 5)
    weights = {sliced: Supernet(chain(sliced=sliced), size, NORM) for sliced in (False, True)}
    counted = {sliced: sum(p.numel() for p in net.parameters()) for sliced, net in weights.items()}
    of_blocks = [sum(p.numel() for p in block.parameters()) for block in blocks(4, 4, 1).values()]
    assert counted[False] - counted[True] == 2 * (sum(of_blocks) - max(of_blocks))
    assert any(isinstance(part, SlicedConv2d) for part in weights[True].modules())
    assert not any(isinstance(part, SlicedConv2d) for part in weights[False].modules())


def test_copies_and_loaded_weights_stay_shared() -> None:
    torch.manual_seed(0)
    size, home = NetworkSize(4, 1, (8, 8), 3, 5), chain(sliced=True)
    first, other = Supernet(home, size, NORM), Supernet(home, size, NORM)
    other.load_state_dict(first.state_dict())
    x, counts = torch.randn(4, 3, 8, 8), {kind: cell.columns for kind, cell in home.cells.items()}
    for network in (deepcopy(first), other):
        assert len(list(network.parameters())) == len(list(first.parameters()))
        for columns in ({"01": [1], "02": [3]}, {"01": [4], "02": [5]}):
            mix = sparse(columns, counts)
            torch.testing.assert_close(network(x, mix), first(x, mix), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mobile", "darts"])
def test_which_spaces_are_sliced(name: str) -> None:
    home: Any = space(name)
    assert home.sliced == (name == "mobile")
    assert home.narrowed({kind: [[0, 1]] * len(cell.edges) for kind, cell in home.cells.items()}).sliced == home.sliced


def test_operations_that_are_no_such_blocks_keep_their_weights() -> None:
    others = [nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 1))]
    before = [p for other in others for p in other.parameters()]
    share_slices(others)
    assert all(a is b for a, b in zip(before, [p for o in others for p in o.parameters()], strict=True))
