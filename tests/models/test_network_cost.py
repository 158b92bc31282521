"""Parameters and FLOPs: the literature's numbers, the whole of the benchmark's table, and a count of built networks."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from supernet.errors import UserError
from supernet.models.cost import count
from supernet.models.cost.count import Cost, OperationCosts, cost
from supernet.models.layers import Reduction
from supernet.models.network import Network, build
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, SearchSpace, space, tables
from supernet.spaces.modules import Norm
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.testing import macro_space, ragged_space, two_input_space

NB201 = space("nasbench201")
RAGGED, TWO, MACRO = ragged_space(), two_input_space(), macro_space()
TABLE = tables.load("nasbench201")


def of(ops):
    return NB201.choose({"cell": [int(op) for op in ops]})


def learnable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(("classes", "millions"), [(10, 1.686106), (100, 1.691956), (120, 1.693256)])
def test_the_supernets_parameters_are_the_benchmarks(classes, millions):
    supernet = Supernet(NB201, NetworkSize(16, 5, (32, 32), 3, classes), Norm(affine=False))
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
    assert cost(NB201, of(ops), NetworkSize(classes=classes)).params == round(millions * 1e6)


@pytest.mark.parametrize(("index", "millions"), [(0, 15.647), (6111, 153.273), (10676, 121.816)])
def test_flops_are_the_benchmarks(index, millions):
    assert cost(NB201, TABLE.genotype(index), NetworkSize()).flops == pytest.approx(millions * 1e6, abs=500)


@cache
def table_genotypes():
    return [TABLE.genotype(i) for i in range(len(TABLE))]


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("dataset", "side", "classes"),
    [("c10", 32, 10), pytest.param("c100", 32, 100, marks=slow), pytest.param("in16", 16, 120, marks=slow)],
)
def test_the_sum_of_prices_is_the_table_for_every_architecture(dataset, side, classes):
    prices = OperationCosts(NB201, NetworkSize(image_size=(side, side), classes=classes))
    costs = [prices.total(genotype) for genotype in table_genotypes()]
    for name in ("params", "flops"):  # the table prints six digits after the point of millions: whole numbers
        found, wanted = [getattr(c, name) for c in costs], TABLE.column(f"{dataset}_{name}_m") * 1e6
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.01, err_msg=name)


def counted(home, genotype, network_size):
    """Count on the network itself; one multiply-add is two of PyTorch's, which leaves out the classifier's bias."""
    network = Network(home, genotype, network_size).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, network_size.channels, *network_size.image_size))
    return Cost(learnable(network), counter.get_total_flops() // 2 + network_size.classes)


FRAMES = [
    NetworkSize(16, 2),
    NetworkSize(16, 1, (16, 16), 3, 120),
    NetworkSize(4, 1, (9, 7), 1, 2),
    NetworkSize(3, 2, (5, 13), 3, 7),
    NetworkSize(8, 1, (4, 4), 1, 3),
    NetworkSize(5, 1, (41, 70), 2, 3, reductions=1),
    NetworkSize(4, 1, (12, 12), 1, 3, stem=3),
    NetworkSize(4, 1, (11, 6), 1, 3, reductions=0),
]
HOMES = [*(space(name) for name in ("nasbench201", "darts", "s1", "s4")), RAGGED, TWO, MACRO]


PAIRS = [
    pytest.param(home, network_size, marks=[slow] * (home.name in ("s1", "s4") and n > 1))  # their cells are of DARTS
    for home in HOMES
    for n, network_size in enumerate(FRAMES)
]
PAIRS += [(space(name), FRAMES[4]) for name in ("darts7", "s2", "s3")]


def named(value):
    size = isinstance(value, NetworkSize)
    return "-".join(map(str, (*value.image_size, value.width, value.depth))) if size else value.name


@pytest.mark.parametrize(("home", "network_size"), PAIRS, ids=named)
def test_a_cost_is_a_count_of_the_built_network(home, network_size):
    rng, prices = random.Random(0), OperationCosts(home, network_size)
    for _ in range(1 if sum(len(cell.edges) for cell in home.cells.values()) > 12 else 4):
        genotype = home.sample(rng)
        found = cost(home, genotype, network_size)
        assert found == counted(home, genotype, network_size)
        assert found == prices.total(genotype)
        sums = [prices.fixed]
        for kind, columns in home.columns(genotype).items():
            edges = zip(home.cells[kind].edges, columns, strict=True)
            sums += [prices.of(kind, e, edge.ops[k]) for e, (edge, k) in enumerate(edges) if k is not None]
        assert found == sum(sums, Cost())


def closed_form(name, cin, cout, pixels, stride):
    """Parameters, and multiply-adds for an output of `pixels`, as one would write them down."""
    kernel = int(name[-1]) if name[-1].isdigit() else 0
    if name.startswith("mb"):
        expand, kernel, gate = int(name[2]), int(name[5]), name.endswith("_se")
        middle, inside = expand * cin, cin // 4
        first, others = cin * middle * (expand > 1), kernel**2 * middle + middle * cout
        params = first + others + 2 * ((1 + (expand > 1)) * middle + cout)
        params += gate * (2 * middle * inside + inside + middle)
        return Cost(params, first * pixels * stride**2 + others * pixels + gate * 2 * middle * inside)
    match name.rsplit("_", 1)[0]:
        case "nor_conv":
            weights = kernel**2 * cin * cout
            return Cost(weights + 2 * cout, weights * pixels)
        case "sep_conv":
            weights = kernel**2 * cin + cin * cin + kernel**2 * cin + cin * cout
            return Cost(weights + 2 * cin + 2 * cout, weights * pixels)
        case "dil_conv":
            weights = kernel**2 * cin + cin * cout
            return Cost(weights + 2 * cout, weights * pixels)
        case "skip" | "identity" if stride == 2:
            return Cost(cin * cout + 2 * cout, cin * cout * pixels)
    return Cost()


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (1, 2), (1.5, 1), (1.5, 2)])
def test_a_built_in_operations_price_is_its_closed_form(name, channels, stride):
    first = ("nor_conv_1x1",)
    home = SearchSpace.chain("c", [(first, 1, 1), ((name,), channels, stride)])
    prices = OperationCosts(home, NetworkSize(4, 1, (6, 10), 1, 3))
    if channels != 1 and ("pool" in name or (name in ("skip_connect", "identity") and stride == 1)):
        with pytest.raises(UserError, match=f"^operation '{name}' does not fit there: "):
            prices.of("02", 0, name)
        return
    pixels = 60 // stride**2
    assert prices.of("02", 0, name) == closed_form(name, 4, round(4 * channels), pixels, stride)
    assert prices.of("01", 0, *first) == closed_form(*first, 4, 4, 60, 1)
    stem = Cost(9 * 4 + 2 * 4, 9 * 4 * 60)
    head = Cost(2 * round(4 * channels) + 3 * round(4 * channels) + 3, 3 * round(4 * channels) + 3)
    assert prices.fixed == stem + head


def test_a_users_operation_is_counted():
    chosen, without = (RAGGED.choose({"normal": (k, 0, 1), "last": (1,)}) for k in (1, 0))
    more, less = (cost(RAGGED, g, NetworkSize(5, 3, (6, 7))) for g in (chosen, without))
    each = 9 * 5 + 5 + 2 * 5  # a depthwise 3x3, a gain and a norm of 5 channels, in 3 cells
    assert more.params - less.params == 3 * each
    assert more.flops - less.flops == 3 * 9 * 5 * 6 * 7


def test_a_users_operation_is_counted_down_to_a_single_pixel():  # batch norm cannot train on it
    genotype = RAGGED.choose({"normal": (1, 0, 0), "last": (0,)})
    assert cost(RAGGED, genotype, NetworkSize(2, 1, (1, 1))).flops > 0


class Attention(torch.nn.Module):
    """Self-attention among pixels, whose products PyTorch runs as one operation."""

    def __init__(self, cin, cout, stride, norm):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(cin, 2, batch_first=True)

    def forward(self, x):
        pixels = x.flatten(2).transpose(1, 2)
        return self.attention(pixels, pixels, pixels, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_attention_is_counted_in_every_mode(mode):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Attention(4, 4, 1, None)(torch.empty(1, 4, 3, 5))
    primitive = Primitive("attention", lambda *shape: Attention(*shape))  # a new one, so that its cost is not known yet
    home = SearchSpace.chain("c", [(("attention",), 1, 1)], (primitive,))
    with mode():
        found = OperationCosts(home, NetworkSize(4, 1, (3, 5), 1, 2)).of("01", 0, "attention")
    products = 15 * 4 * 4 * 4 + 2 * 15 * 15 * 4  # four projections of 15 pixels, and two products of all pairs
    assert found == Cost(4 * 4 * 4 + 4 * 4, products + 4)
    assert products == counter.get_total_flops() // 2


def test_a_fixed_weight_is_no_parameter():
    def still(cin, cout, stride, norm):
        return torch.nn.Conv2d(cin, cout, 1, stride).requires_grad_(False)

    home = SearchSpace.chain("c", [(("still",), 1, 1)], (Primitive("still", still, learned=False),))
    prices = OperationCosts(home, NetworkSize(4, 1, (3, 3), 1, 2))
    assert prices.of("01", 0, "still") == Cost(0, 16 * 9)


def test_counting_neither_draws_random_numbers_nor_keeps_anything():
    state = torch.get_rng_state()
    for home in HOMES:
        cost(home, home.sample(random.Random(0)), NetworkSize(6, 1, (10, 10), 1, 3))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_cost_is_refused_for_an_architecture_of_another_space():
    with pytest.raises(UserError, match=r"^space 'ragged' has cells normal, last; got cell$"):
        cost(RAGGED, of("111111"), NetworkSize())
    with pytest.raises(UserError, match=r"^space 'ragged' has cells normal, last; got cell$"):
        build(of("111111"), within=RAGGED)


def test_a_reduction_halves_rounding_up_and_of_an_even_size_averages_pairs():
    reduction = Reduction(2, 4, 2).double()
    for height, width in ((8, 6), (7, 5), (1, 2)):
        x = torch.randn(2, 2, height, width, dtype=torch.float64)
        assert reduction(x).shape == (2, 4, -(-height // 2), -(-width // 2))
        pooled = reduction.shortcut[0](x)
        for i in range(pooled.shape[2]):  # at an odd side, the last window is what is left of it
            for j in range(pooled.shape[3]):
                window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                torch.testing.assert_close(pooled[:, :, i, j], window.mean((2, 3)))


FEW_EDGES = "normal:|sep_conv_3x3~0|+|+|max_pool_3x3~1|+|skip_connect~2| reduce:|skip_connect~0|+|+|sep_conv_3x3~1|+|"
EXPORTED = [
    (NB201, of("333133")),
    (space("darts"), space("darts").sample(random.Random(0))),
    (space("s1"), space("s1").sample(random.Random(0))),
    (MACRO, MACRO.choose(dict.fromkeys(MACRO.cells, (1,)))),
    (space("darts7-fair"), space("darts7-fair").parse(FEW_EDGES)),
]


@pytest.mark.parametrize(
    ("home", "genotype"),
    [pytest.param(home, some, id=home.name, marks=[slow] * (home.name == "s1")) for home, some in EXPORTED],
)
def test_a_network_trains_and_can_be_exported_without_the_search(home, genotype):
    network = build(genotype, width=4, depth=1, classes=3, channels=1, image_size=(8, 8), within=home)
    logits = network(torch.randn(4, 1, 8, 8))
    assert logits.shape == (4, 3)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    exported = torch.export.export(network.eval(), (torch.randn(4, 1, 8, 8),)).module()
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(exported(x), network(x))


def test_a_network_is_for_the_channels_and_classes_that_it_was_built_for():
    for home in HOMES:
        network = build(
            home.sample(random.Random(0)), width=2, depth=1, classes=7, channels=5, image_size=(8, 8), within=home
        )
        assert network(torch.randn(2, 5, 8, 8)).shape == (2, 7)
        assert (network.space, network.network_size) == (home, NetworkSize(2, 1, (8, 8), 5, 7))


@pytest.mark.parametrize("name", ["nasbench201", "darts", "nao"])
def test_a_cost_that_is_not_known_yet_leaves_the_random_state_as_it_was(name):
    home = space(name)
    genotype = home.sample(random.Random(0))
    for cached in (count._cell, count._operation, count._fixed_layer):
        cached.cache_clear()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    cost(home, genotype, NetworkSize(4, 2, (12, 12)))
    assert torch.equal(torch.get_rng_state(), before)
