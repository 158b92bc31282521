"""Parameters and FLOPs: the literature's numbers, the whole of the benchmark's table, and a count of built networks."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from conftest import ragged_space
from supernet import tables
from supernet.cost import cost
from supernet.errors import UserError
from supernet.model import Supernet
from supernet.modules import Norm
from supernet.network import build
from supernet.primitives import PRIMITIVES, Cost, Primitive
from supernet.skeleton import Reduction
from supernet.spaces import Cell, Edge, SearchSpace, Skeleton, space

NB201 = space("nasbench201")
RAGGED = ragged_space()
TABLE = tables.load("nasbench201")


def of(ops):
    return NB201.choose({"cell": [int(op) for op in ops]})


def learnable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(("classes", "millions"), [(10, 1.686106), (100, 1.691956), (120, 1.693256)])
def test_the_supernets_parameters_are_the_benchmarks(classes, millions):
    supernet = Supernet(NB201, width=16, depth=5, channels=3, classes=classes, norm=Norm(affine=False))
    assert learnable(supernet) == round(millions * 1e6)


@pytest.mark.parametrize(
    ("index", "ops", "classes", "millions"),
    [
        (9930, "333133", 10, 1.288506),
        (9930, "333133", 100, 1.294356),
        (9930, "333133", 120, 1.295656),
        (1835, "111111", 10, 0.073306),
        (13714, "333123", 10, 1.073466),
        (11472, "303101", 10, 0.559386),
    ],
)
def test_the_evaluation_networks_parameters_are_the_benchmarks(index, ops, classes, millions):
    assert TABLE.genotype(index) == of(ops)
    assert learnable(build(of(ops), classes=classes)) == round(millions * 1e6)
    assert cost(NB201, of(ops), classes=classes).params == round(millions * 1e6)


@pytest.mark.parametrize(("index", "millions"), [(0, 15.647), (6111, 153.273), (10676, 121.816)])
def test_flops_are_the_benchmarks(index, millions):
    assert cost(NB201, TABLE.genotype(index)).flops == pytest.approx(millions * 1e6, abs=500)


@pytest.mark.parametrize(("dataset", "side", "classes"), [("c10", 32, 10), ("c100", 32, 100), ("in16", 16, 120)])
def test_the_closed_form_is_the_table_for_every_architecture(dataset, side, classes):
    costs = [cost(NB201, TABLE.genotype(i), size=(side, side), classes=classes) for i in range(len(TABLE))]
    for name in ("params", "flops"):  # the table prints six digits after the point of millions: whole numbers
        found, wanted = [getattr(c, name) for c in costs], TABLE.column(f"{dataset}_{name}_m") * 1e6
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.01, err_msg=name)


def counted(home, genotype, size, **kwargs):
    """Count on the network itself; one multiply-add is two of the counter's, which leaves out the classifier's bias."""
    with torch.device("meta"):
        network = build(genotype, within=home, **kwargs).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, kwargs["channels"], *size))
    return Cost(learnable(network), counter.get_total_flops() // 2 + kwargs["classes"])


@pytest.mark.parametrize(
    ("size", "width", "depth", "channels", "classes"),
    [
        ((32, 32), 16, 5, 3, 10),
        ((16, 16), 16, 1, 3, 120),
        ((9, 7), 4, 1, 1, 2),
        ((5, 13), 3, 2, 3, 7),
        ((4, 4), 8, 0, 1, 3),
    ],
)
@pytest.mark.parametrize("home", [NB201, RAGGED], ids=lambda home: home.name)
def test_the_closed_form_is_a_count_of_the_built_network(home, size, width, depth, channels, classes):
    rng, shape = random.Random(0), {"width": width, "depth": depth, "channels": channels, "classes": classes}
    for _ in range(4):
        genotype = home.sample(rng)
        assert cost(home, genotype, size=size, **shape) == counted(home, genotype, size, **shape)


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("affine", [True, False])
def test_a_built_in_operations_closed_form_is_a_count_of_its_module(name, affine):
    primitive = PRIMITIVES[name]
    module = primitive.build(6, 1, Norm(affine=affine)).eval()
    with FlopCounterMode(display=False) as counter:
        assert module(torch.randn(1, 6, 5, 4)).shape == (1, 6, 5, 4)
    assert primitive.cost(6, 20, affine) == Cost(learnable(module), counter.get_total_flops() // 2)
    assert primitive.learned == (learnable(primitive.build(6, 1, Norm())) > 0)


def test_a_users_operation_without_a_closed_form_is_counted():
    chosen, without = (RAGGED.choose({"normal": (k, 0, 1), "last": (1,)}) for k in (1, 0))
    more, less = (cost(RAGGED, g, width=5, depth=3, size=(6, 7)) for g in (chosen, without))
    each = 9 * 5 + 5 + 2 * 5  # a depthwise 3x3, a gain and a norm of 5 channels, in 3 cells
    assert more.params - less.params == 3 * each
    assert more.flops - less.flops == 3 * 9 * 5 * 6 * 7


def test_a_users_operation_is_counted_down_to_a_single_pixel():  # batch norm cannot train on it
    genotype = RAGGED.choose({"normal": (1, 0, 0), "last": (0,)})
    assert cost(RAGGED, genotype, width=2, depth=1, size=(1, 1)).flops > 0


def test_a_closed_form_is_believed():
    built = RAGGED.primitive("depthwise").build
    edges = (Edge(1, 0, ("mine",)),)
    mine = Primitive("mine", built, cost=lambda channels, pixels, affine: Cost(channels, 1000 * pixels * affine))
    home = SearchSpace("mine", {"a": Cell(edges)}, Skeleton(("a",)), (mine,))
    genotype = home.choose({"a": (0,)})
    one, none = (cost(home, genotype, width=5, depth=depth, size=(3, 2)) for depth in (1, 0))
    assert (one.params - none.params, one.flops - none.flops) == (5, 6000)


def test_a_cost_is_refused_for_an_architecture_of_another_space():
    with pytest.raises(UserError, match=r"^space 'ragged' has cells normal, last; got cell$"):
        cost(RAGGED, of("111111"))
    with pytest.raises(UserError, match=r"^space 'ragged' has cells normal, last; got cell$"):
        build(of("111111"), within=RAGGED)


def test_a_reduction_halves_rounding_up_and_of_an_even_size_averages_pairs():
    reduction = Reduction(2, 4).double()
    for height, width in ((8, 6), (7, 5), (1, 2)):
        x = torch.randn(2, 2, height, width, dtype=torch.float64)
        assert reduction(x).shape == (2, 4, -(-height // 2), -(-width // 2))
        pooled = reduction.shortcut[0](x)
        for i in range(pooled.shape[2]):  # at an odd side, the last window is what is left of it
            for j in range(pooled.shape[3]):
                window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                torch.testing.assert_close(pooled[:, :, i, j], window.mean((2, 3)))


def test_a_network_trains_and_can_be_exported_without_the_search():
    network = build(of("333133"), width=4, depth=1, classes=3, channels=1)
    logits = network(torch.randn(4, 1, 8, 8))
    assert logits.shape == (4, 3)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    exported = torch.export.export(network.eval(), (torch.randn(4, 1, 8, 8),)).module()
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(exported(x), network(x))
