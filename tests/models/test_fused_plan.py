"""The fused engine against the reference engine, which runs one operation after the other, in float64."""

from __future__ import annotations

import copy
import itertools
import random
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.errors import UserError
from supernet.models import mixed_cell
from supernet.models.fused import eager, native
from supernet.models.mix import EdgeMix, dense, detached
from supernet.models.mixed_cell import MixedCell
from supernet.models.supernet import Supernet, traceless
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stages, space
from supernet.spaces.modules import Norm
from supernet.spaces.operations import PRIMITIVES, Primitive
from supernet.spaces.shapes import CellAt, HeadAt, StemAt
from supernet.testing import macro_space, ragged_space, shortened, two_input_space

SMALL = [shortened(space("nasbench201")), ragged_space(), shortened(two_input_space()), macro_space()]
LARGE = [shortened(space(name)) for name in ("darts", "darts7", "s1", "s2", "s3", "s4")]
SPACES = {home.name: home for home in SMALL + LARGE}
NORMS = [Norm(affine, track) for affine in (True, False) for track in (True, False)]
MIXES, KERNELS = ("dense", "one", "several"), ("native", "eager")
CASES = list(itertools.product(MIXES, (True, False), NORMS, KERNELS))
each_small_space = pytest.mark.parametrize("home", SMALL, ids=lambda home: home.name)
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_engine = pytest.mark.parametrize("engine", ["reference", "fused"])
examples = settings(derandomize=True, database=None, max_examples=200)

pytestmark = pytest.mark.usefixtures("still_noise")


@pytest.fixture(autouse=True)
def ran(monkeypatch):
    """The names of the kernels that ran; checks that the native kernels get no tensor that they read out of bounds."""
    names = set()

    def noted(module, name, terms, values, weights, sums, **kwargs):
        names.add(name)
        if name == "native":
            _readable(terms, values, sums)
        return module(terms, values, weights, sums, **kwargs)

    for module, name in ((native, "native"), (eager, "eager")):
        monkeypatch.setattr(module, "forward", partial(noted, module.forward, name))
    return names


def _readable(terms, values, sums):
    parts = [part for term, value in zip(terms, values, strict=True) for part in term.parts(value)]
    assert len({part.shape for part in parts} | {total.shape for total in sums if total is not None}) == 1
    for tensor in [*values, *[total for total in sums if total is not None]]:
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    for row in [row for term in terms if term.normalisation for row in term.normalisation.learned]:
        assert row.is_contiguous()
        assert row.dtype == values[0].dtype


def make(home, norm=NORMS[0], kernel="native", size=(8, 8), width=4, seed=0):
    """A supernet in float64 with random scales, shifts and running statistics, and a batch of images and labels."""
    torch.manual_seed(seed)
    supernet = Supernet(home, NetworkSize(width, 1, size, 3, 3), norm).double()
    shake(supernet)
    layout = torch.channels_last if kernel == "native" else torch.contiguous_format
    x = torch.randn(5, 3, *size, dtype=torch.float64).contiguous(memory_format=layout)
    return supernet.to(memory_format=layout), x, torch.tensor([0, 1, 2, 2, 0])


@cache
def made(name, *settings):
    return make(SPACES[name], *settings)


def shared(home, norm=NORMS[0], kernel="native", size=(8, 8)):
    """The result of `make`, made once, for tests that leave the weights unchanged; in training mode."""
    supernet, x, y = made(home.name, norm, kernel, size)
    return supernet.train(), x, y


def shake(supernet):
    with torch.no_grad():
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps *= 1000  # otherwise a channel of constants would be rounding errors scaled up
                for value in (module.weight, module.bias, module.running_mean):
                    if value is not None:
                        value += 0.5 * torch.randn_like(value)
                if module.running_var is not None:
                    module.running_var.uniform_(0.5, 2)


def weights(home, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    signs = {kind: torch.randint(2, shape, generator=g) * 2 - 1 for kind, shape in shapes.items()}
    return {kind: sign * (0.5 + torch.rand(sign.shape, generator=g).double()) for kind, sign in signs.items()}


def mixed(home, how, seed=0):
    """A mix of all candidates, of one per edge, or of several on some edges and none on others."""
    rng, op_weights = random.Random(seed), weights(home, seed)
    if how == "dense":
        return dense(op_weights)
    if how == "one":
        chosen = {
            kind: [() if column is None else (column,) for column in columns]
            for kind, columns in home.columns(home.sample(rng)).items()
        }
    else:
        chosen = {
            kind: [
                () if rng.random() < 0.25 else rng.sample(range(len(edge.ops)), rng.randint(1, len(edge.ops)))
                for edge in cell.edges
            ]
            for kind, cell in home.cells.items()
        }
    return {kind: EdgeMix(op_weights[kind], tuple(map(tuple, columns))) for kind, columns in chosen.items()}


def logits(supernet, x, mix):
    return supernet(x, mix)


def outcome(supernet, engine, x, y, mix, run=logits):
    """All results of a pass: logits, gradients of the mix and of the weights, buffers. The supernet stays unchanged."""
    before, buffers = supernet.engine, {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    supernet.engine = engine
    mix = {
        kind: replace(edges, weights=edges.weights.clone().requires_grad_(not edges.ones))
        for kind, edges in mix.items()
    }
    try:
        out = run(supernet, x, mix)
        F.cross_entropy(3 * out, y).backward()
        return {
            "logits": out.detach(),
            **{f"gradient of the mix of {kind}": edges.weights.grad for kind, edges in mix.items()},
            **{f"gradient of {name}": weight.grad for name, weight in supernet.named_parameters()},
            **{name: buffer.clone() for name, buffer in supernet.named_buffers()},
        }
    finally:
        supernet.engine = before
        supernet.zero_grad()
        for name, buffer in supernet.named_buffers():
            buffer.copy_(buffers[name])


def assert_same(found, wanted, tolerance=1e-10):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if value is None:  # a weight that leads to no output may have a gradient of zeros instead
            assert found[name] is None or not found[name].any(), name
            continue
        assert found[name].shape == value.shape, name
        assert found[name].dtype == value.dtype, name
        gap = (found[name].double() - value.double()).abs().max().item()
        assert gap <= tolerance * max(1, value.abs().max().item()), f"{name} is off by {gap}"


def assert_equal_engines(supernet, x, y, mix, run=logits, tolerance=1e-10):
    wanted = outcome(supernet, "reference", x, y, mix, run)
    assert_same(outcome(supernet, "fused", x, y, mix, run), wanted, tolerance)
    return wanted


def name_of(case):
    how, train, norm, kernel = case
    return f"{how}-{'train' if train else 'eval'}-{'affine' if norm.affine else 'plain'}-{norm.track}-{kernel}"


def small_cases():
    """Every case; those of a few operations by the kernels that are not compiled are slow."""
    for how, train, norm, kernel in CASES:
        marks = [pytest.mark.slow] * (kernel == "eager" and how != "dense")
        yield pytest.param((how, train, norm, kernel), id=name_of((how, train, norm, kernel)), marks=marks)


@each_small_space
@pytest.mark.parametrize("case", list(small_cases()))
def test_the_fused_engine_is_the_reference(home, case, ran):
    how, train, norm, kernel = case
    size = (8, 8) if norm.affine == train else (9, 7)
    supernet, x, y = shared(home, norm, kernel, size)
    wanted = assert_equal_engines(supernet.train(train), x, y, mixed(home, how, seed=CASES.index(case)))
    assert how != "dense" or all(value.any() for name, value in wanted.items() if "mix" in name)
    assert "native" in ran or kernel == "eager" or native.library() is None
    assert "native" not in ran or kernel == "native"


def large_cases():
    """Every space of DARTS' kind in both modes, with both kinds of kernels, and with all norms and mixes in turn."""
    for n, home in enumerate(LARGE):
        for m, (train, kernel) in enumerate(itertools.product((True, False), KERNELS)):
            case = MIXES[(n + m) % 3], train, NORMS[(n + m + m // 2) % 4], kernel
            marks = [pytest.mark.slow] * (kernel == "eager" and n > 0)
            yield pytest.param(home, case, id=f"{home.name}-{name_of(case)}", marks=marks)


@pytest.mark.parametrize(("home", "case"), list(large_cases()))
def test_the_fused_engine_is_the_reference_in_the_spaces_of_darts(home, case):
    how, train, norm, kernel = case
    supernet, x, y = make(home, norm, kernel, (8, 8) if norm.track else (7, 9), width=2)
    assert_equal_engines(supernet.train(train), x[:3], y[:3], mixed(home, how, seed=CASES.index(case)))


@each_small_space
@each_kernel
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_one_architecture_is_the_reference(home, kernel, train):
    supernet, x, y = shared(home, kernel=kernel)
    rng = random.Random(1)
    for _ in range(4):
        assert_equal_engines(supernet.train(train), x, y, supernet.only(home.sample(rng)))


@pytest.mark.parametrize("merged", [1, 2, 3])
def test_any_number_of_grouped_convolutions_may_be_merged(merged, monkeypatch):
    home = SMALL[2]
    supernet, x, y = shared(home)
    features = 5 * 4 * 64 * 8  # bytes of a node in the first cells
    monkeypatch.setattr(mixed_cell, "_CACHE", merged * features)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@each_kernel
def test_an_edge_without_a_source_and_a_cell_of_nothing_are_zeros(kernel):
    home = SMALL[0]
    supernet, x, y = shared(home, kernel=kernel)
    own = weights(home)["cell"]
    for active in (((),) * 6, ((), (), (3,), (), (2, 3), (1,)), ((2,), (), (), (), (), ())):
        assert_equal_engines(supernet, x, y, {"cell": EdgeMix(own, active)})


@each_engine
def test_what_does_not_run_or_leads_nowhere_has_no_gradient(engine):
    home = SMALL[0]
    supernet, x, y = shared(home)
    # Node 1 has two incoming operations and no outgoing one; one edge reads node 2
    mix = {"cell": EdgeMix(weights(home)["cell"], ((2, 3), (3,), (), (), (), (2,)))}
    found = outcome(supernet, engine, x, y, mix)
    for e, k, runs in ((1, 3, True), (5, 2, True), (0, 2, False), (0, 3, False), (1, 2, False), (3, 3, False)):
        for name in ("1.weight", "2.weight", "2.bias"):
            assert (found[f"gradient of layers.1.ops.{e}.{k}.{name}"] is not None) == runs
    for e, k in ((0, 2), (0, 3)):  # they ran
        assert found[f"layers.1.ops.{e}.{k}.2.num_batches_tracked"] == 1


def test_the_fused_engine_is_the_default_and_its_weights_are_the_references():
    for home in SMALL:
        torch.manual_seed(0)
        supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 3, 3), Norm())
        assert supernet.engine == "fused"
        fused = dict(supernet.state_dict())
        supernet.engine = "reference"
        assert supernet.engine == "reference"
        plain = supernet.state_dict()
        assert list(plain) == list(fused)
        assert all(plain[name].data_ptr() == value.data_ptr() for name, value in fused.items())
        assert all(cell.engine == "reference" for cell in supernet.layers if isinstance(cell, MixedCell))


def train(supernet, x, y, home, engines):
    own = {kind: value.requires_grad_() for kind, value in weights(home).items()}
    optimizer = torch.optim.SGD([*supernet.parameters(), *own.values()], lr=0.05, momentum=0.9)
    for engine in engines:
        supernet.engine = engine
        optimizer.zero_grad()
        F.cross_entropy(supernet(x, dense(own)), y).backward()
        optimizer.step()
    return {**supernet.state_dict(), **own}


@each_small_space
def test_training_goes_on_equally_when_the_engine_is_switched(home):
    supernet, x, y = make(home)
    wanted = train(copy.deepcopy(supernet), x, y, home, ["reference"] * 4)
    found = train(copy.deepcopy(supernet), x, y, home, ["fused", "reference", "fused", "fused"])
    with torch.no_grad():
        assert_same(found, wanted)
        state = {name: value for name, value in found.items() if name not in home.cells}
        again = make(home, seed=1)[0]  # the other engine loads the weights
        again.engine = "reference"
        again.load_state_dict(state)
        supernet.load_state_dict(state)
        assert_same({"logits": supernet(x, dense(weights(home)))}, {"logits": again(x, dense(weights(home)))})


@each_small_space
@each_kernel
def test_weights_alone_have_a_gradient(home, kernel):
    supernet, x, y = shared(home, kernel=kernel)
    wanted = assert_equal_engines(supernet, x, y, mixed(home, "dense"), lambda s, x, mix: s(x, detached(mix)))
    assert all(value is None for name, value in wanted.items() if "mix" in name)


@each_small_space
@each_kernel
def test_the_mix_alone_has_a_gradient(home, kernel):
    supernet, x, y = make(home, kernel=kernel)
    wanted = assert_equal_engines(supernet.requires_grad_(False), x, y, mixed(home, "dense"))
    assert all(value is None for name, value in wanted.items() if "gradient" in name and "mix" not in name)
    assert all(value.any() for name, value in wanted.items() if "mix" in name)


@each_kernel
def test_some_weights_have_a_gradient(kernel):
    home = two_input_space()
    supernet, x, y = make(home, kernel=kernel)
    for number, weight in enumerate(supernet.parameters()):
        weight.requires_grad_(number % 3 > 0)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@each_small_space
@each_kernel
def test_without_gradients_the_same_comes_out(home, kernel):
    supernet, x, _ = make(home, kernel=kernel)
    before, found = copy.deepcopy(dict(supernet.named_buffers())), {}
    for engine in ("reference", "fused"):
        supernet.load_state_dict(before, strict=False)
        supernet.engine = engine
        with torch.no_grad():
            found[engine] = {
                "logits": supernet(x, mixed(home, "dense")),
                **copy.deepcopy(dict(supernet.named_buffers())),
            }
    assert_same(found["fused"], found["reference"])


@each_kernel
@pytest.mark.parametrize("home", [SMALL[0], LARGE[2]], ids=lambda home: home.name)
def test_a_supernet_that_ran_in_inference_mode_can_be_trained(home, kernel):
    supernet, x, y = make(home, kernel=kernel)

    def run(supernet, x, mix):
        with torch.inference_mode():
            supernet(x, mix)
        return supernet(x, mix)

    assert_equal_engines(supernet, x, y, mixed(home, "dense"), run)


@each_small_space
@each_kernel
def test_other_weights_can_be_used(home, kernel):
    supernet, x, y = shared(home, kernel=kernel)

    def run(supernet, x, mix, function):
        moved = {name: 1.1 * weight + 0.1 for name, weight in supernet.named_parameters()}
        return function(supernet, x, mix, moved)

    def call(supernet, x, mix, moved):
        return functional_call(supernet, moved, (x, mix))

    mix = mixed(home, "dense")
    own = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    wanted = assert_equal_engines(supernet, x, y, mix, partial(run, function=call))
    assert not torch.equal(wanted["layers.0.1.running_mean"], own["layers.0.1.running_mean"])
    wanted = assert_equal_engines(supernet, x, y, mix, partial(run, function=traceless))
    assert all(torch.equal(wanted[name], value) for name, value in own.items())
    plain = outcome(supernet, "fused", x, y, mix)
    assert not torch.allclose(plain["logits"], wanted["logits"])


@each_kernel
def test_other_weights_need_not_be_contiguous(kernel):
    """PyTorch's batch norm (2.13, channels-last) has wrong gradients then: the reference gets contiguous weights."""
    supernet, x, y = shared(SMALL[0], kernel=kernel)

    def run(supernet, x, mix, apart):
        weights = {
            name: torch.stack([weight, -weight], -1)[..., 0] if apart and ".ops." in name else 1 * weight
            for name, weight in supernet.named_parameters()
        }
        assert weights["layers.1.ops.0.2.2.weight"].is_contiguous() != apart
        return functional_call(supernet, weights, (x, mix))

    mix = mixed(SMALL[0], "dense")
    wanted = outcome(supernet, "reference", x, y, mix, partial(run, apart=False))
    assert_same(outcome(supernet, "fused", x, y, mix, partial(run, apart=True)), wanted)


@each_small_space
def test_a_copy_of_a_supernet_that_has_run_is_independent(home):
    supernet, x, y = make(home)
    mix = mixed(home, "dense")
    supernet(x, mix)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    twin = copy.deepcopy(supernet)
    with torch.no_grad():
        for weight in twin.parameters():
            weight += 0.1 * torch.randn_like(weight)
    fresh = make(home)[0]
    fresh.load_state_dict(twin.state_dict())
    wanted = outcome(fresh, "reference", x, y, mix)
    F.cross_entropy(3 * twin(x, mix), y).backward()
    found = {f"gradient of {name}": weight.grad for name, weight in twin.named_parameters()}
    found |= dict(twin.named_buffers())
    assert_same(found, {name: wanted[name] for name in found})
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert all(weight.grad is None for weight in supernet.parameters())


@each_small_space
@each_engine
def test_checkpointing_changes_nothing_and_counts_each_batch_once(home, engine):
    supernet, x, y = make(home)
    mix = mixed(home, "dense")
    wanted = outcome(supernet, "reference", x, y, mix)
    supernet.checkpointing = True
    found = outcome(supernet, engine, x, y, mix)
    assert_same(found, wanted)
    counts = [value for name, value in found.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)


class Lifted(TorchDispatchMode):
    """Counts the tensors that are made of Python's numbers: to a GPU each is copied while all else waits."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.lift_fresh.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("home", [SMALL[0], LARGE[0]], ids=lambda home: home.name)
def test_a_step_can_be_recorded_as_it_copies_no_numbers_of_pythons(home, training, monkeypatch):
    monkeypatch.setattr(native, "usable", lambda *_: False)
    supernet, x, y = make(home, kernel="eager")
    supernet.train(training)
    mix = {kind: EdgeMix(edges.weights.requires_grad_()) for kind, edges in mixed(home, "dense").items()}
    F.cross_entropy(supernet(x, mix), y).backward()  # which makes the plans
    with Lifted() as lifted:
        F.cross_entropy(supernet(x, mix), y).backward()
    assert lifted.count == 0
    with lifted:
        torch.ones(2)[[1, 0]]
    assert lifted.count == 1


@each_engine
def test_checkpointing_allows_a_second_pass_backward(engine):
    home = SMALL[0]
    supernet, x, y = make(home)
    supernet.engine, supernet.checkpointing = engine, True
    loss = F.cross_entropy(supernet(x, mixed(home, "dense")), y)
    after = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    weights = [weight for weight in supernet.parameters() if weight.requires_grad]
    first, second = (torch.autograd.grad(loss, weights, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert all(torch.equal(buffer, after[name]) for name, buffer in supernet.named_buffers())


@each_small_space
@each_kernel
def test_in_float32_the_engines_are_close(home, kernel):
    supernet, x, y = make(home, kernel=kernel)
    mix = {kind: EdgeMix(edges.weights.float()) for kind, edges in mixed(home, "dense").items()}
    assert_equal_engines(supernet.float(), x.float(), y, mix, tolerance=1e-4)


@each_kernel
def test_second_derivatives_are_refused_and_the_reference_has_them(kernel):
    home = SMALL[0]
    supernet, x, y = make(home, kernel=kernel)
    own = weights(home)["cell"].requires_grad_()
    supernet.engine = "reference"
    loss = F.cross_entropy(supernet(x, dense({"cell": own})), y)
    (slope,) = torch.autograd.grad(loss, own, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), own)
    assert curve.abs().max() > 1e-6
    supernet.engine = "fused"
    for out in (F.cross_entropy(supernet(x, dense({"cell": own})), y), supernet(x, dense({"cell": own})).sum()):
        with pytest.raises(UserError, match="second derivatives"):
            torch.autograd.grad(out, own, create_graph=True)


# Operations of the user's


def of(*makers, edges=None, kind="mine"):
    """A space whose candidates are built by these functions of (input channels, output channels, stride)."""
    names = tuple(f"op{number}" for number in range(len(makers)))
    primitives = tuple(
        Primitive(name, lambda cin, cout, stride, norm, maker=maker: maker(cin, cout, stride))
        for name, maker in zip(names, makers, strict=True)
    )
    cell = Cell.dense(3, names) if edges is None else Cell(edges)
    return SearchSpace(kind, {"cell": cell}, Stages(("cell",)), primitives)


def conv(cin, cout, stride):
    return nn.Conv2d(cin, cout, 3, stride, 1, bias=False)


def conv_norm(cin, cout, stride, **settings):
    return nn.Sequential(conv(cin, cout, stride), nn.BatchNorm2d(cout, **settings))


def pool(kind, **settings):
    return lambda cin, cout, stride: kind(3, stride, 1, **settings)


class Apart(nn.Module):
    """An operation with a channels-first output, whatever the memory format of its input."""

    def forward(self, x):
        return torch.tanh(x).contiguous()


@each_kernel
@pytest.mark.parametrize(
    "variants",
    [
        [{"count_include_pad": True}, {"count_include_pad": False}],
        [{"divisor_override": 4}, {}],
    ],
    ids=["padding", "divisor"],
)
def test_poolings_that_only_look_alike_are_not_one(variants, kernel):
    home = of(*(pool(nn.AvgPool2d, **settings) for settings in variants))
    supernet, x, y = make(home, kernel=kernel)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


def settings_of_a_leaf():
    yield "stride", nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(5, 1, 2)
    yield "dilation", nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(2, 1, 1, dilation=2)
    yield "kernel", nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 5, 1, 2)
    yield "groups", nn.Conv2d(4, 4, 3, 1, 1, groups=2), nn.Conv2d(4, 4, 3, 1, 1, groups=4)
    yield "bias", nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1, bias=False)
    yield "padding", nn.Conv2d(4, 4, 3, 1, 1, padding_mode="reflect"), nn.Conv2d(4, 4, 3, 1, "same")
    yield "eps", nn.BatchNorm2d(4), nn.BatchNorm2d(4, eps=0.1)
    yield "momentum", nn.BatchNorm2d(4, momentum=0.5), nn.BatchNorm2d(4)
    yield "cumulative", nn.BatchNorm2d(4, momentum=None), nn.BatchNorm2d(4)
    yield "affine", nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
    yield "shift", nn.BatchNorm2d(4), nn.BatchNorm2d(4, bias=False)
    yield "track", nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)


@pytest.mark.parametrize(("first", "second"), [pytest.param(a, b, id=name) for name, a, b in settings_of_a_leaf()])
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind a convolution"])
def test_leaves_with_other_settings_are_run_as_they_are(first, second, behind):
    def maker(leaf, *after):
        before = [nn.Conv2d(4, 4, 1)] if behind else []
        return lambda *_: nn.Sequential(*copy.deepcopy(before), copy.deepcopy(leaf), *after)

    home = of(maker(first), maker(second), maker(first), maker(second, nn.Sigmoid()))
    supernet, x, y = make(home)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@each_kernel
@pytest.mark.parametrize(
    "makers",
    [
        (
            pool(nn.MaxPool2d),
            lambda cin, cout, stride: nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.ReLU(inplace=True)),
        ),
        (
            lambda *shape: nn.Sequential(conv(*shape), nn.ReLU(inplace=True)),
            lambda *shape: nn.Sequential(conv(*shape), nn.Sigmoid()),
        ),
        (
            lambda *shape: nn.Sequential(*conv_norm(*shape), nn.ReLU(inplace=True)),
            lambda *shape: nn.Sequential(*conv_norm(*shape), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1)),
        ),
        (
            lambda *shape: nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.SiLU(inplace=True)),
            lambda *shape: nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Sigmoid()),
        ),
    ],
    ids=["shared pool", "side by side", "norms", "not ours"],
)
def test_what_changes_its_input_in_place_changes_no_other_operations(makers, kernel):
    home = of(*makers)
    supernet, x, y = make(home, kernel=kernel)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@pytest.mark.parametrize(
    ("first", "second"),
    [(("op0",), ("op1",)), (("op1",), ("op0",)), (("op0", "op1"), ("op1",)), (("op1",), ("op1", "op0"))],
)
def test_outputs_may_lie_in_memory_in_different_ways(first, second):
    edges = (Edge(1, 0, ("op1",)), Edge(2, 0, first), Edge(2, 1, second))
    home = of(lambda *_: Apart(), conv_norm, edges=edges)
    supernet, x, y = make(home)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@each_engine
@pytest.mark.parametrize(
    "wrong",
    [lambda cin, cout, stride: conv(cin, 2 * cout, stride), lambda cin, cout, stride: nn.AvgPool2d(1, 1, 1)],
    ids=["channels", "pixels"],
)
def test_an_output_of_another_shape_is_an_error(wrong, engine):
    supernet, x, _ = make(of(conv_norm, wrong))
    supernet.engine = engine
    with pytest.raises(RuntimeError, match=r"size|shape"):
        supernet(x, mixed(supernet.space, "dense"))


@each_kernel
def test_an_output_that_is_the_same_for_all_pixels_is_spread(kernel):
    home = of(conv_norm, lambda *_: nn.AdaptiveAvgPool2d(1))
    supernet, x, y = make(home, kernel=kernel)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@each_engine
@pytest.mark.parametrize(("train", "track"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("after", [[], [nn.Sigmoid()]], ids=["at the end", "in the middle"])
def test_a_single_value_per_channel_cannot_be_normalised(engine, train, track, after):
    home = of(lambda c, *_: nn.Sequential(nn.Conv2d(c, c, 1), nn.BatchNorm2d(c, track_running_stats=track), *after))
    supernet, _, _ = make(home, size=(1, 1))
    supernet.engine = engine
    cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell)).train(train)
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        cell([x], mixed(home, "dense")["cell"])


@each_kernel
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_norm_that_is_kept_still_is_still(kernel, ran_before):
    home = of(conv_norm)
    supernet, x, y = make(home, kernel=kernel)
    mix = mixed(home, "dense")
    if ran_before:
        supernet(x, mix)
    supernet.layers[1].ops[0][0][1].eval()
    assert_equal_engines(supernet, x, y, mix)


@each_kernel
@pytest.mark.parametrize("momentum", [None, 0.4, 0.0])
def test_a_norms_momentum_can_be_changed(kernel, momentum):
    home = of(conv_norm, lambda *shape: nn.Sequential(*conv_norm(*shape), nn.Sigmoid()))

    def run(supernet, x, mix):
        supernet(x, mix)
        norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
        for number, norm in enumerate(norms):
            if momentum is None or number % 2:
                norm.momentum = momentum  # None, for all: what torch.optim.swa_utils.update_bn does
        out = supernet(x + 1, mix)
        for norm in norms:
            norm.momentum = 0.1
        return out

    supernet, x, y = make(home, kernel=kernel)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"), run)


@each_kernel
@pytest.mark.parametrize("every", [1, 2], ids=["all", "some"])
def test_a_norm_that_stops_tracking_leaves_its_statistics_as_they_are(kernel, every):
    home = of(conv_norm, lambda *shape: nn.Sequential(*conv_norm(*shape), nn.Sigmoid()))
    supernet, x, y = make(home, kernel=kernel)
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    norms = [module for cell in supernet.mixed_cells for module in cell.modules() if isinstance(module, nn.BatchNorm2d)]

    def run(supernet, x, mix):
        supernet(x, mix)
        for norm in norms[::every]:
            norm.track_running_stats = False
        out = supernet(x + 1, mix)
        out = out + supernet.eval()(x + 2, mix)
        for norm in norms:
            norm.track_running_stats = True
        supernet.train()
        return out

    wanted = assert_equal_engines(supernet, x, y, mixed(home, "dense"), run)
    counts = {int(value - before[name]) for name, value in wanted.items() if name.endswith("tracked")}
    assert counts == {1, 2}  # those of stem and head, and some in the cells, go on


@pytest.mark.parametrize("ran", ["fused", "batched"])
def test_a_candidate_that_is_replaced_after_a_pass_runs(ran):
    home = of(conv_norm, lambda *shape: nn.Sequential(nn.ReLU(), *conv_norm(*shape)))
    supernet, x, y = make(home)
    mix, cell = mixed(home, "dense"), supernet.mixed_cells[0]
    supernet(x, mix) if ran == "fused" else supernet.batched(x, [mix])
    cell.ops[1][0] = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, momentum=0.5)).double()
    assert torch.allclose(supernet.batched(x, [mix])[0], traceless(supernet, x, mix))
    wanted = assert_equal_engines(supernet, x, y, mix)
    cell.ops[2][1] = cell.ops[1][0]
    shared = assert_equal_engines(supernet, x, y, mix)
    assert not torch.equal(shared["logits"], wanted["logits"])


def test_hooks_are_called():
    home = of(lambda *shape: nn.Sequential(nn.utils.spectral_norm(conv(*shape)), nn.BatchNorm2d(4)), conv_norm)
    supernet, x, y = make(home)
    for module in supernet.modules():
        if isinstance(module, nn.Conv2d) and hasattr(module, "weight_u"):
            module.weight = module.weight.double()  # `.double()` does not convert the weight that the hook sets
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))

    supernet, x, y = make(SMALL[0])
    for number, module in enumerate(supernet.layers[1].modules()):
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU) and number % 3 == 0:
            module.register_forward_hook(lambda module, given, made: 1.5 * made)
    supernet.layers[1].ops[2][3].register_forward_hook(lambda module, given, made: 2 * made)
    assert_equal_engines(supernet, x, y, mixed(SMALL[0], "dense"))


def test_weights_may_be_parametrized():
    def maker(*shape):
        return nn.Sequential(nn.utils.parametrizations.weight_norm(conv(*shape)), nn.BatchNorm2d(4))

    home = of(maker, conv_norm)
    supernet, x, y = make(home)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


@pytest.mark.parametrize("after", [[], [nn.Sigmoid()]], ids=["at the end", "in the middle"])
@pytest.mark.parametrize("shared", [nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, 1, 1)], ids=["norm", "convolution"])
def test_operations_may_share_a_module(shared, after):
    own = copy.deepcopy(shared)
    home = of(lambda *_: nn.Sequential(nn.ReLU(), own, *after), lambda *_: nn.Sequential(own))
    supernet, x, y = make(home)
    assert_equal_engines(supernet, x, y, mixed(home, "dense"))


class Gain(nn.Module):
    """A module of the user's with a weight."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.randn(channels, 1, 1))

    def forward(self, x):
        return torch.tanh(x) * self.gain


class Twice(nn.Module):
    """A convolution that is applied twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.silu(self.conv(x)))


class Backwards(nn.Sequential):
    """An nn.Sequential with a forward pass of its own."""

    def forward(self, x):
        for module in reversed(self):
            x = module(x)
        return x


KEEPING = {
    "relu": lambda c: nn.ReLU(),
    "in place behind a pool": lambda c: nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.ReLU(inplace=True)),
    "in place behind a convolution": lambda c: nn.Sequential(nn.Conv2d(c, c, 1), nn.ReLU(inplace=True)),
    "in place behind a norm": lambda c: nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True)),
    "sigmoid": lambda c: nn.Sigmoid(),
    "norm": lambda c: nn.BatchNorm2d(c),
    "plain norm": lambda c: nn.BatchNorm2d(c, affine=False),
    "slow norm": lambda c: nn.BatchNorm2d(c, eps=1e-3, momentum=0.01),
    "cumulative norm": lambda c: nn.BatchNorm2d(c, momentum=None),
    "untracked norm": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "average": lambda c: nn.AvgPool2d(3, 1, 1),
    "average inside": lambda c: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "most": lambda c: nn.MaxPool2d(3, 1, 1),
    "1x1": lambda c: nn.Conv2d(c, c, 1, bias=False),
    "3x3 with bias": lambda c: nn.Conv2d(c, c, 3, padding=1),
    "depthwise": lambda c: nn.Conv2d(c, c, 5, padding=2, groups=c, bias=False),
    "depthwise with bias": lambda c: nn.Conv2d(c, c, 3, padding=2, dilation=2, groups=c),
    "reflected": lambda c: nn.Conv2d(c, c, 3, padding=1, padding_mode="reflect"),
    "same": lambda c: nn.Conv2d(c, c, 3, padding="same"),
    "nothing": lambda c: nn.Identity(),
    "gain": Gain,
    "twice": Twice,
    "nested": lambda c: nn.Sequential(nn.ReLU(), nn.Sequential(), nn.Sequential(nn.Conv2d(c, c, 1, bias=False))),
    "backwards": lambda c: Backwards(nn.BatchNorm2d(c), nn.ReLU()),
}
CHANGING = {
    "conv": lambda cin, cout, stride: nn.Conv2d(cin, cout, 3, stride, 1, bias=False),
    "conv with bias": lambda cin, cout, stride: nn.Conv2d(cin, cout, 3, stride, 1),
    "wide": lambda cin, cout, stride: nn.Conv2d(cin, cout, 5, stride, 4, dilation=2, bias=False),
    "in groups": lambda cin, cout, stride: nn.Conv2d(cin, cout, 3, stride, 1, groups=2, bias=False),
    "separable": lambda cin, cout, stride: nn.Sequential(
        nn.Conv2d(cin, cin, 3, stride, 2, dilation=2, groups=cin, bias=False), nn.Conv2d(cin, cout, 1, bias=False)
    ),
}


@dataclass(frozen=True)
class ChainOf:
    """An operation of the user's: leaves by name, of which `change` changes the shape."""

    before: tuple[str, ...]
    change: str
    after: tuple[str, ...]

    def __call__(self, cin, cout, stride, norm):
        if (cin, stride) == (cout, 1) and self.change == "none":
            change = []
        else:
            change = [CHANGING.get(self.change, CHANGING["conv"])(cin, cout, stride)]
        return nn.Sequential(
            *(KEEPING[name](cin) for name in self.before), *change, *(KEEPING[name](cout) for name in self.after)
        )


@dataclass(frozen=True)
class Row:
    """A skeleton of cells with the given strides."""

    strides: tuple[int, ...]

    def plan(self, width, depth, stem):
        cells = [CellAt("cell", width, stride) for stride in self.strides]
        return (StemAt(width), *cells, HeadAt(norm=False))  # a norm would remove a bias


NAMES = st.lists(st.sampled_from(sorted(KEEPING)), max_size=2).map(tuple)


@st.composite
def chains(draw):
    """One to three operations, which often begin with the same leaves and are merged in part."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        if found and draw(st.booleans()):
            found.append(replace(found[0], after=draw(NAMES)))
            continue
        before, change = draw(NAMES), draw(st.sampled_from(["none", *CHANGING]))
        found.append(ChainOf(("norm",) if change == "none" and before == () else before, change, draw(NAMES)))
    return found


@st.composite
def user_spaces(draw):
    inputs = draw(st.integers(1, 2))
    project = draw(st.booleans())
    output = draw(st.sampled_from(["last", "concat"]))
    nodes = inputs + draw(st.integers(1, 3))
    strides = tuple(draw(st.lists(st.sampled_from([1, 2]), min_size=1, max_size=2)))
    if not project and inputs == 2:
        strides = (1, *strides[1:])
    users = tuple(Primitive(f"user{number}", chain) for number, chain in enumerate(draw(chains())))
    built_in = [name for name in PRIMITIVES if name != "noise"]
    if not project and output == "concat":  # the next cell's edges change the number of channels
        built_in = [name for name in built_in if "conv_" in name]
    names = [primitive.name for primitive in users]
    ops = st.one_of(st.sampled_from(built_in), st.sampled_from(names))
    edges = []
    for target in range(inputs, nodes):
        for source in sorted(draw(st.sets(st.integers(0, target - 1), min_size=1))):
            some = draw(st.lists(ops, min_size=1, max_size=4, unique=True))
            edges.append(Edge(target, source, tuple(some) if some != ["none"] else ("none", names[0])))
    cell = Cell(tuple(edges), inputs, output, draw(st.sampled_from([None, 1, 2])), project)
    return SearchSpace("random", {"cell": cell}, Row(strides), users, norm_pools=draw(st.booleans()))


@given(
    home=user_spaces(),
    how=st.sampled_from(["dense", "dense", "one", "several"]),
    train=st.booleans(),
    norm=st.sampled_from(NORMS),
    kernel=st.sampled_from(KERNELS),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    batch=st.integers(2, 5),
    cache=st.sampled_from([1, 2000, 2**21]),
)
@examples
@pytest.mark.slow
def test_any_space_of_a_users_is_fused_exactly(home, how, train, norm, kernel, size, batch, cache):
    supernet, x, y = make(home, norm, kernel, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixed_cell, "_CACHE", cache)
        assert_equal_engines(supernet.train(train), x[:batch], y[:batch], mixed(home, how, seed=batch))
