"""The DARTS space against the paper's code, rewritten from its description, and against the literature's numbers."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.models.cost.count import cost
from supernet.models.layers import AuxiliaryHead
from supernet.models.mix import dense
from supernet.models.network import Network, build
from supernet.models.supernet import Supernet
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import PLAIN, EverySecond, Noise, Norm, drop_path
from supernet.spaces.shapes import Shape
from supernet.testing import shortened

DARTS = space("darts")
ROBUST = ("s1", "s2", "s3", "s4")
V1 = DARTS.parse(
    """Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
    ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5],
    reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0),
    ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"""
)
V2 = DARTS.parse(
    """Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),
    ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5],
    reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),
    ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"""
)
IMAGENET = {"width": 48, "depth": 4, "classes": 1000, "image_size": (224, 224)}
each_mode = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


def learnable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


# --- the literature's numbers


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("darts", 10, 1.930618),
        ("darts", 100, 1.953748),
        ("darts7", 10, 1.930618),  # none has no weights
        ("s1", 10, 0.405146),
        ("s2", 10, 0.665466),
        ("s3", 10, 0.665466),
        ("s4", 10, 0.624506),
    ],
)
def test_the_supernets_parameters_are_the_literatures(name, classes, millions):
    with torch.device("meta"):
        supernet = Supernet(space(name), NetworkSize(16, 2, (32, 32), 3, classes), Norm(affine=False))
    assert learnable(supernet) == round(millions * 1e6)


@pytest.mark.parametrize(
    ("genotype", "plain", "auxiliary", "printed"),
    [(V1, 3_169_414, 3_645_840, ("3.169", "3.646")), (V2, 3_349_342, 3_825_768, ("3.349", "3.826"))],
    ids=["V1", "V2"],
)
def test_the_cifar_networks_parameters_are_the_literatures(genotype, plain, auxiliary, printed):
    with torch.device("meta"):
        found = [learnable(build(genotype, width=36, depth=6, auxiliary=with_it)) for with_it in (False, True)]
    assert found == [plain, auxiliary]
    assert [f"{count / 1e6:.3f}" for count in found] == list(printed)
    assert cost(DARTS, genotype, NetworkSize(36, 6)).params == plain


@pytest.mark.parametrize(("genotype", "printed"), [(V1, "4.510"), (V2, "4.719")], ids=["V1", "V2"])
def test_the_imagenet_networks_parameters_are_the_literatures(genotype, printed):
    with torch.device("meta"):
        network = build(genotype, **IMAGENET)
    assert f"{learnable(network) / 1e6:.3f}" == printed
    assert cost(DARTS, genotype, NetworkSize(**IMAGENET)).params == learnable(network)


def test_the_multiply_adds_of_darts_v2_on_imagenet():
    """529.9 M of convolutions and the classifier, 544.59 M as a well-known tool counts them.

    The 574 M of the paper come from code that was not published. In quark0/darts#46 the released network is counted by
    others: 523 M, and 544.59 M by flops-counter.pytorch of January 2019. That tool adds to convolutions and linear
    layers two for each element of an affine batch norm, one for each of a ReLU's output and of a pool's input. By the
    same rules, ours has 544.589 M.
    """
    counts = dict.fromkeys(("products", "bias", "norm", "relu", "pool"), 0)

    def count(module, inputs, output):
        match module:
            case nn.Conv2d():
                per_output = math.prod(module.kernel_size) * module.in_channels // module.groups
                counts["products"] += output.numel() * per_output
                assert module.bias is None
            case nn.Linear():
                counts["products"] += module.in_features * module.out_features
                counts["bias"] += module.out_features
            case nn.BatchNorm2d():
                assert module.affine
                counts["norm"] += 2 * inputs[0].numel()
            case nn.ReLU():
                counts["relu"] += output.numel()
            case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                counts["pool"] += inputs[0].numel()
            case _:
                assert list(module.children()) or isinstance(module, nn.Identity | nn.Flatten | EverySecond), module

    with torch.device("meta"):
        network = build(V2, **IMAGENET).eval()
        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(1, 3, 224, 224))
    assert counts["products"] + counts["bias"] == cost(DARTS, V2, NetworkSize(**IMAGENET)).flops
    assert f"{counts['products'] / 1e6:.1f}" == "529.9"
    assert f"{sum(counts.values()) / 1e6:.2f}" == "544.59"
    assert cost(DARTS, V1, NetworkSize(**IMAGENET)).flops < 600e6  # the mobile setting


# --- the network, rewritten


def norm(weights, x, train):
    mean, var = (None, None) if train else (weights["running_mean"], weights["running_var"])
    return F.batch_norm(x, mean, var, weights.get("weight"), weights.get("bias"), train, eps=1e-5)


def below(weights, name):
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def reduced(weights, x, train):
    """FactorizedReduce of the paper's code."""
    x = F.relu(x)
    here = F.conv2d(x, weights["1.here.weight"], stride=2)
    beyond = F.conv2d(x[:, :, 1:, 1:], weights["1.beyond.weight"], stride=2)
    return norm(below(weights, "2"), torch.cat([here, beyond], 1), train)


def projected(weights, x, train):
    if "1.here.weight" in weights:
        return reduced(weights, x, train)
    return norm(below(weights, "2"), F.conv2d(F.relu(x), weights["1.weight"]), train)


def separable(weights, x, stride, dilation, train, first=0):
    kernel = weights[f"{first + 1}.weight"]
    padding = dilation * (kernel.shape[-1] - 1) // 2
    x = F.conv2d(F.relu(x), kernel, None, stride, padding, dilation, groups=x.shape[1])
    return norm(below(weights, f"{first + 3}"), F.conv2d(x, weights[f"{first + 2}.weight"]), train)


def operation(name, weights, x, stride, train, search):
    kind, _, size = name.rpartition("_")
    match kind:
        case "":  # none
            return 0 * x[:, :, ::stride, ::stride]
        case "max_pool":
            x = F.max_pool2d(x, 3, stride, 1)
            return norm(below(weights, "1"), x, train) if search else x
        case "avg_pool":
            x = F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
            return norm(below(weights, "1"), x, train) if search else x
        case "sep_conv":
            assert weights["1.weight"].shape[2:] == tuple(map(int, size.split("x")))
            return separable(weights, separable(weights, x, stride, 1, train), 1, 1, train, first=4)
        case "dil_conv":
            assert weights["1.weight"].shape[2:] == tuple(map(int, size.split("x")))
            return separable(weights, x, stride, 2, train)
    assert name == "skip_connect"
    return x if stride == 1 else reduced(weights, x, train)


def layout(depth):
    """The kinds of the paper's 3 depth + 2 cells."""
    length = 3 * depth + 2
    return ["reduce" if number in (length // 3, 2 * length // 3) else "normal" for number in range(length)]


def by_hand(weights, x, kinds, cell, train):
    """Run `cell(weights, states, kind, stride)` for each of the `kinds`, between stem and head."""
    s0 = s1 = norm(below(weights, "layers.0.1"), F.conv2d(x, weights["layers.0.0.weight"], padding=1), train)
    for number, kind in enumerate(kinds, 1):
        own = below(weights, f"layers.{number}")
        inputs = [projected(below(own, f"inputs.{i}"), s, train) for i, s in enumerate((s0, s1))]
        s0, s1 = s1, cell(own, inputs, kind, 2 if kind == "reduce" else 1)
    head = below(weights, f"layers.{len(kinds) + 1}.2")
    return s1.mean((2, 3)) @ head["weight"].T + head["bias"]


def stirred(module):
    """The module in float64 with all weights and statistics away from where they start."""
    g = torch.Generator().manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                change = 0.2 * torch.randn(value.shape, generator=g, dtype=value.dtype)
                value.copy_(change.exp() if name.endswith("running_var") else value + change)
    return module


@each_mode
@pytest.mark.parametrize(("depth", "width", "side"), [(1, 4, 8), (2, 3, 12)])
def test_the_network_is_the_papers(depth, width, side, train):
    rng, x = random.Random(depth), torch.randn(3, 2, side, side, dtype=torch.float64)
    ops = set()
    for genotype in (V1, V2, *(DARTS.sample(rng) for _ in range(3 if depth == 1 else 0))):
        network = stirred(Network(DARTS, genotype, NetworkSize(width, depth, (side, side), 2, 3))).train(train)
        weights = {name: value.clone() for name, value in network.state_dict().items()}

        def cell(own, states, kind, stride, genotype=genotype):
            pairs = [(choice.op, choice.source) for choice in genotype[kind]]
            for node in range(4):
                out = 0
                for number in (2 * node, 2 * node + 1):
                    op, source = pairs[number]
                    step = stride if source < 2 else 1
                    out = out + operation(op, below(own, f"ops.{number}"), states[source], step, train, search=False)
                states.append(out)
            return torch.cat(states[2:], 1)

        torch.testing.assert_close(network(x), by_hand(weights, x, layout(depth), cell, train), rtol=1e-10, atol=1e-10)
        ops |= {choice.op for _, choices in genotype.cells for choice in choices}
    assert depth > 1 or ops == set(DARTS.cells["normal"].edges[0].ops[1:])


@cache
def searched(name):
    return stirred(Supernet(shortened(space(name)), NetworkSize(2, 1, (8, 8), 2, 3), Norm(affine=False)))


@each_mode
@pytest.mark.parametrize("name", ["darts", "s1", "s3"])
def test_the_supernet_is_the_papers_and_so_is_the_gradient_of_its_mix(name, train):
    supernet, g = searched(name).train(train), torch.Generator().manual_seed(1)
    home = supernet.space
    weights = {key: value.clone() for key, value in supernet.state_dict().items()}
    x = torch.randn(3, 2, 8, 8, generator=g, dtype=torch.float64)
    shapes = {kind: (14, cell.columns) for kind, cell in home.cells.items()}
    mix = {k: torch.randn(s, generator=g, dtype=torch.float64, requires_grad=True) for k, s in shapes.items()}

    def cell(own, states, kind, stride):
        edge = 0
        for node in range(4):
            out = 0
            for source in range(2 + node):
                step, names = stride if source < 2 else 1, home.cells[kind].edges[edge].ops
                for k, op in enumerate(names):
                    part = operation(op, below(own, f"ops.{edge}.{k}"), states[source], step, train, search=True)
                    out = out + mix[kind][edge, k] * part
                edge += 1
            states.append(out)
        return torch.cat(states[2:], 1)

    found, wanted = supernet(x, dense(mix)), by_hand(weights, x, supernet.kinds[1:-1], cell, train)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    labels, values = torch.tensor([0, 1, 2]), list(mix.values())
    slopes, right = (torch.autograd.grad(F.cross_entropy(logits, labels), values) for logits in (found, wanted))
    for kind, slope, reference in zip(mix, slopes, right, strict=True):
        assert slope.abs().max() > 1e-3
        torch.testing.assert_close(slope, reference, rtol=1e-10, atol=1e-10)
        for e, edge in enumerate(home.cells[kind].edges):
            if "none" in edge.ops:  # adds nothing
                assert slope[e, edge.ops.index("none")] == 0


@cache
def supernet_of(name):
    home = replace(shortened(space(name)), norm_pools=False)  # a network has no norm behind a pool
    supernet = stirred(Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), PLAIN))
    supernet.engine = "reference"  # noise is drawn edge by edge, as in the network
    return supernet


@each_mode
@pytest.mark.parametrize("name", ["darts", "darts7", *ROBUST])
def test_one_operation_per_edge_of_the_supernet_is_the_network(name, train):
    supernet, rng = supernet_of(name).train(train), random.Random(train)
    home, weights = supernet.space, supernet.state_dict()
    x, drawn = torch.randn(3, 1, 8, 8, dtype=torch.float64), 0
    for _ in range(2):
        genotype = home.sample(rng)
        network = Network(home, genotype, supernet.network_size).double().train(train)
        columns, own = home.columns(genotype), {}
        for number, kind in enumerate(supernet.kinds):
            part = below(weights, f"layers.{number}")
            if kind is not None:
                kept = [(e, k) for e, k in enumerate(columns[kind]) if k is not None]
                ops = {f"ops.{place}": below(part, f"ops.{e}.{k}") for place, (e, k) in enumerate(kept)}
                part = {f"inputs.{key}": value for key, value in below(part, "inputs").items()}
                part |= {f"{op}.{key}": value for op, values in ops.items() for key, value in values.items()}
            own |= {f"layers.{number}.{key}": value for key, value in part.items()}
        network.load_state_dict({key: value.clone() for key, value in own.items()})  # every one of them
        torch.manual_seed(7)
        found = supernet(x, supernet.only(genotype))
        torch.manual_seed(7)
        torch.testing.assert_close(found, network(x), rtol=1e-12, atol=1e-12)
        drawn += not torch.equal(supernet(x, supernet.only(genotype)), found) and not train
    assert (drawn > 0) == (name == "s4" and not train)  # where there is noise, another draw is another output


@pytest.mark.parametrize("stride", [1, 2])
def test_noise_is_drawn_anew_in_training_and_in_evaluation(stride):
    noise, x = Noise(3, stride), torch.ones(200, 2, 7, 5)
    for mode in (True, False):
        noise.train(mode)
        first, second = noise(x), noise(x)
        assert first.shape == (200, 3, -(-7 // stride), -(-5 // stride))
        assert not torch.equal(first, second)
        assert abs(first.mean()) < 0.05
        assert abs(first.std() - 1) < 0.05


# --- the auxiliary head and the drop of paths


def test_the_auxiliary_head_is_behind_the_second_reduction():
    for depth, side in ((1, 32), (2, 32), (1, 224)):
        with torch.device("meta"):
            network = build(V2, width=4, depth=depth, image_size=(side, side), auxiliary=True)
        layout = DARTS.layout(network.network_size)
        cells = [p for p in layout if hasattr(p.layer, "kind")]
        wanted = cells[2 * (3 * depth + 2) // 3]
        assert (wanted.layer.kind, wanted.output) == ("reduce", Shape(64, 7 if side == 224 else 8, wanted.output.width))
        assert network.auxiliary.features[2].in_channels == 64
        x = torch.empty(2, 3, side, side, device="meta")
        logits, second = network.both(x)
        assert logits.shape == second.shape == (2, 10)
        assert network(x).shape == (2, 10)


def test_the_auxiliary_head_is_the_papers_and_takes_any_size():
    c, weights = 5, 5 * 128 + 2 * 128 + 128 * 768 * 4 + 768 * 10 + 10
    assert learnable(AuxiliaryHead(Shape(c, 8, 8), 10)) == weights + 2 * 768
    assert learnable(AuxiliaryHead(Shape(c, 7, 7), 10)) == weights  # its second batch norm is left out in that code
    for side, stride in ((8, 3), (7, 2)):
        head, x = stirred(AuxiliaryHead(Shape(c, side, side), 10)).eval(), torch.randn(2, c, side, side).double()
        f = head.features
        out = F.conv2d(F.avg_pool2d(F.relu(x), 5, stride), f[2].weight)
        out = F.conv2d(F.relu(norm(f[3].state_dict(), out, False)), f[5].weight)
        out = F.relu(norm(f[6].state_dict(), out, False) if side == 8 else out).flatten(1)
        torch.testing.assert_close(head(x), out @ head.classifier.weight.T + head.classifier.bias)
    for height, width in itertools.product((1, 2, 4, 5, 9), (1, 3, 16)):
        head = AuxiliaryHead(Shape(c, height, width), 10)
        assert learnable(head) == weights + 2 * 768
        assert head(torch.randn(2, c, height, width)).shape == (2, 10)


def test_paths_are_dropped_for_whole_images_and_the_others_scaled_up():
    torch.manual_seed(0)
    x = torch.rand(2000, 2, 3, 3) + 1
    out = drop_path(x, 0.3)
    kept = out[:, 0, 0, 0] != 0
    torch.testing.assert_close(out[kept], x[kept] / 0.7)
    assert (out[~kept] == 0).all()
    assert abs(kept.float().mean() - 0.7) < 0.04
    assert torch.equal(drop_path(x, 0.0), x)


def test_a_network_drops_paths_while_it_trains_and_never_a_plain_skip():
    skips = DARTS.derive(
        {kind: [[float(op == "skip_connect") for op in e.ops] for e in c.edges] for kind, c in DARTS.cells.items()}
    )
    network_size, x = NetworkSize(4, 1, (8, 8), 1, 3), torch.randn(4, 1, 8, 8)
    for genotype, of_skips in ((skips, True), (V1, False)):
        network = Network(DARTS, genotype, network_size)
        plain = network(x)
        network.drop_path = 0.9
        torch.manual_seed(0)
        dropped = network(x)
        assert not torch.equal(dropped, plain)  # the skips of a reduction have weights and are dropped
        normal, *_ = (layer for layer in network.layers if hasattr(layer, "links"))
        inputs = [torch.randn(4, 12, 8, 8)] * 2
        assert torch.equal(normal(inputs, 0.9), normal(inputs, 0.0)) == of_skips
        network.eval()
        network.drop_path = 0.0
        calm = network(x)
        network.drop_path = 0.9
        assert torch.equal(network(x), calm)
