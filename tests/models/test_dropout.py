"""Dropout behind operations: in both engines, in evaluation, and in evaluations of many mixes at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from supernet.engine.seeds import seeded
from supernet.models.mix import dense
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm

SIZE = NetworkSize(4, 1, (8, 8), 1, 3)
OPS = ("none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3")
ONE_EDGE = SearchSpace("one edge", {"cell": Cell.dense(2, OPS)}, Stages(("cell", "cell")))


def made(home, dropout):
    torch.manual_seed(0)
    supernet = Supernet(home, SIZE, Norm(affine=False), CellOptions(dropout=dropout)).double()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0  # running statistics stay the same
    return supernet


def equal(supernet):
    """Return the mix of equal op weights."""
    return dense({k: torch.full((len(c.edges), c.columns), 0.25).double() for k, c in supernet.space.cells.items()})


@pytest.mark.parametrize("home", [ONE_EDGE, space("s3")], ids=lambda home: home.name)
def test_both_engines_drop_the_same_values_of_the_operations_named_alone(home):
    supernet, plain = made(home, ("skip_connect",)), made(home, ())
    x, mix = torch.randn(4, 1, 8, 8).double(), equal(supernet)
    assert len(list(supernet.parameters())) == len(list(plain.parameters()))
    with torch.no_grad():
        torch.testing.assert_close(supernet(x, mix), plain(x, mix), rtol=1e-12, atol=1e-12)  # the rate is 0 at first
        supernet.dropout = 0.5
        assert supernet.dropout == 0.5
        outputs = []
        for engine in ("fused", "reference"):
            supernet.engine = engine
            with seeded(1):
                outputs.append(supernet(x, mix))
        assert not torch.allclose(outputs[1], plain(x, mix))
        if home is ONE_EDGE:  # of several edges, the engines draw in another order
            torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
        supernet.eval(), plain.eval()
        torch.testing.assert_close(supernet(x, mix), plain(x, mix), rtol=1e-10, atol=1e-10)
        many = supernet.batched(x, [mix, mix])
    torch.testing.assert_close(many[1], plain(x, mix), rtol=1e-10, atol=1e-10)


def test_every_dropout_is_of_a_skip_connection_and_a_new_supernet_of_the_kind_has_them():
    supernet = made(space("s3"), ("skip_connect",))
    skips = sum("skip_connect" in edge.ops for cell in supernet.space.cells.values() for edge in cell.edges)
    cells = len(supernet.mixed_cells)
    assert sum(len(cell.dropouts) for cell in supernet.mixed_cells) == cells * skips // len(supernet.space.cells)
    supernet.dropout = 0.5
    assert supernet.another().dropout == 0.0
    assert [len(cell.dropouts) for cell in supernet.another().mixed_cells] == [
        len(cell.dropouts) for cell in supernet.mixed_cells
    ]
