"""A batch norm that would get a single value per channel is refused before a search or a retraining begins."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import supernet as sn
from supernet.models.cost.count import OperationCosts, auxiliary_cost, check_batch_norm
from supernet.models.cost.module import Cost
from supernet.models.mix import dense
from supernet.models.network import Network
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace, space
from supernet.spaces.modules import Norm
from supernet.spaces.operations import Primitive
from supernet.testing import PairDataset, ragged_space, shortened, tiny_images, two_input_space


def seen(module, run):
    """Return the smallest number of values per channel of one image that a batch norm of a module gets."""
    found = []
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_pre_hook(lambda _, x: found.append(x[0].numel() // x[0].shape[1]))
    with torch.no_grad():
        run(module.eval())
    return min(found)


@pytest.mark.slow
@pytest.mark.parametrize("home", [ragged_space(), two_input_space(), *map(space, ("nasbench201", "darts", "nao"))])
@pytest.mark.parametrize("side", [1, 2, 5, 8])
def test_the_fewest_values_are_those_that_batch_norms_get(home, side):
    home, size = shortened(home), NetworkSize(2, 1, (side, side), stem=0)
    supernet, x = Supernet(home, size, Norm()), torch.randn(1, 3, side, side)
    supernet.engine = "reference"
    mix = dense({kind: torch.ones(len(c.edges), c.columns) for kind, c in home.cells.items()})
    assert OperationCosts(home, size).supernet.values == seen(supernet, lambda module: module(x, mix))
    genotype = home.sample(random.Random(1))
    network = Network(home, genotype, size, auxiliary=True)
    assert auxiliary_cost(home, size, genotype).values == seen(network, lambda module: module.both(x))


def test_an_operation_that_averages_an_image_has_one_value():
    def build(cin, cout, stride, norm):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(cin), nn.Upsample((4, 4)))

    home = SearchSpace.chain("c", [(("own",), 1, 1)], (Primitive("own", build),))
    found = OperationCosts(home, NetworkSize(4, 1, (4, 4))).supernet
    assert found.values == 1
    with pytest.raises(sn.UserError, match="at batch size 1 and features of 1x1 pixels, batch norm has a single value"):
        check_batch_norm(found, 1)
    check_batch_norm(found, 2)
    check_batch_norm(Cost(), 1)


NAO = {"method": "nao-v2", "pool": 2, "iterations": 1, "final": 1, "final_epochs": 1, "epochs": 2}
SMALL = {"epochs": 1, "width": 2, "device": "cpu", "quiet": True}


@pytest.mark.parametrize(
    ("images", "settings"),
    [
        (12, {"stem": 3, "batch_size": 1}),
        (3, {"stem": 3, "method": "darts"}),  # one half has a single image
        (12, {"stem": 3, "method": "zarts-mgs", "inner_batch": 1}),
        (12, {"stem": 3, "selector": "best-of-samples", "select": {"images": 1}}),
        (12, {"stem": 3, "batch_size": 2, "selector": "evolution", "select": {"images": 3}}),  # 2 and 1
        (12, {"batch_size": 1} | NAO),  # its auxiliary classifier
    ],
)
def test_a_search_is_refused_before_anything_is_written(images, settings, tmp_path):
    data, out = PairDataset(tiny_images(images)), tmp_path / "run"
    for call, more in ((sn.search, {"out": out}), (sn.forecast, {})):
        with pytest.raises(sn.UserError, match="batch norm has a single value per channel"):
            call(data, **SMALL | settings | more)
    assert not out.exists()


def test_a_retraining_is_refused_before_anything_is_written(tmp_path):
    home, data, out = space("nasbench201"), PairDataset(tiny_images(12)), tmp_path / "run"
    genotype = home.sample(random.Random(0))
    with pytest.raises(sn.UserError, match="batch norm has a single value per channel"):
        sn.retrain(genotype, data=data, out=out, stem=3, batch_size=1, **SMALL)
    assert not out.exists()


def test_two_images_are_enough(tmp_path):
    run = sn.search(PairDataset(tiny_images(12)), out=tmp_path / "run", stem=3, batch_size=2, **SMALL)
    assert run.finished
