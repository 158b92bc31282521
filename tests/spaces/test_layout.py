"""The layout: stems and reductions for any image, the inputs of every layer, and shapes in networks that run."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
import torch.nn.functional as F

from supernet.errors import UserError
from supernet.models.cost.count import check_shapes
from supernet.models.layers import Reduction
from supernet.models.mix import dense
from supernet.models.mixed_cell import MixedCell
from supernet.models.network import FixedCell, Network
from supernet.models.supernet import Supernet
from supernet.spaces import SPACES, Cell, Chain, Edge, NetworkSize, Position, SearchSpace, Stages
from supernet.spaces.modules import FactorizedReduce, Noise, Norm, ReLUConvBN, Zero
from supernet.spaces.operations import PRIMITIVES
from supernet.spaces.shapes import CellAt, HeadAt, ReduceAt, Shape, StemAt, last
from supernet.testing import macro_space, ragged_space, two_input_space

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
TWO, RAGGED, MACRO = two_input_space(), ragged_space(), macro_space()
each_space = pytest.mark.parametrize("space", [NB201, DARTS, TWO, RAGGED, MACRO], ids=lambda space: space.name)


def cells_of(space, network_size):
    return [placed for placed in space.layout(network_size) if isinstance(placed.layer, CellAt)]


# --- DARTS' skeleton


@pytest.mark.parametrize("depth", range(1, 7))
def test_reductions_are_at_one_and_two_thirds(depth):
    length = 3 * depth + 2
    cells = cells_of(DARTS, NetworkSize(16, depth))
    assert len(cells) == length
    reductions = [number for number, placed in enumerate(cells) if placed.layer.kind == "reduce"]
    assert reductions == [length // 3, 2 * length // 3]
    for number, placed in enumerate(cells):
        stage = sum(number >= reduction for reduction in reductions)
        stride = 2 if number in reductions else 1
        assert placed.layer == CellAt("reduce" if number in reductions else "normal", 16 << stage, stride)
        assert placed.output == Shape(4 * 16 << stage, 32 >> stage, 32 >> stage)


def test_the_depths_of_the_paper():
    for depth, length, reductions in ((2, 8, [2, 5]), (4, 14, [4, 9]), (6, 20, [6, 13])):
        cells = cells_of(DARTS, NetworkSize(36, depth))
        assert (len(cells), [n for n, p in enumerate(cells) if p.layer.kind == "reduce"]) == (length, reductions)


def test_a_cell_reads_the_two_preceding_layers_and_the_first_cell_reads_the_stem_twice():
    stem, *cells, head = DARTS.layout(NetworkSize(16, 1))
    assert (stem.layer, stem.output) == (StemAt(48), Shape(48, 32, 32))  # three times the width
    outputs = [stem.output, *(placed.output for placed in cells)]
    assert cells[0].inputs == (stem.output, stem.output)
    assert [placed.inputs for placed in cells[1:]] == list(itertools.pairwise(outputs[:-1]))
    assert (head.layer, head.inputs, head.output) == (HeadAt(norm=False), (cells[-1].output,), Shape(10, 1, 1))


def test_the_first_cell_reads_both_parts_of_the_imagenet_stem():
    layout = DARTS.layout(NetworkSize(48, 4, (224, 224), classes=1000))
    assert [placed.layer for placed in layout[:2]] == [StemAt(48, 2), StemAt(48, 1, first=False)]
    first, second = cells_of(DARTS, NetworkSize(48, 4, (224, 224)))[:2]
    assert first.inputs == (Shape(48, 56, 56), Shape(48, 28, 28))
    assert second.inputs == (Shape(48, 28, 28), Shape(192, 28, 28))
    assert cells_of(DARTS, NetworkSize(48, 4, (224, 224)))[-1].output == Shape(4 * 192, 7, 7)
    network = Network(DARTS, DARTS.sample(random.Random(0)), NetworkSize(48, 4, (224, 224), classes=1000))
    shapes = [
        [tuple(module.weight.shape) for module in layer if isinstance(module, torch.nn.Conv2d)]
        for layer in network.layers[:2]
    ]
    assert shapes == [[(24, 3, 3, 3), (48, 24, 3, 3)], [(48, 48, 3, 3)]]
    norms = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    assert [type(module).__name__ for module in network.layers[0]] == norms
    assert [type(module).__name__ for module in network.layers[1]] == ["ReLU", "Conv2d", "BatchNorm2d"]
    assert [type(module) for module in network.layers[2].inputs] == [FactorizedReduce, ReLUConvBN]
    assert [type(module) for module in network.layers[3].inputs] == [ReLUConvBN, ReLUConvBN]


def test_the_far_input_behind_a_reduction_is_projected_by_a_factorised_reduction():
    network = Network(DARTS, DARTS.sample(random.Random(0)), NetworkSize(4, 2))
    types = [[type(module) for module in layer.inputs] for layer in network.layers if isinstance(layer, FixedCell)]
    assert [number for number, (far, _) in enumerate(types) if far is FactorizedReduce] == [3, 6]  # reductions: 2, 5
    assert {near for _, near in types} == {ReLUConvBN}


def test_the_first_output_fills_up_the_last_outputs():
    assert last("a", 2) == ("a", "a")
    assert last("ab", 2) == ("a", "b")
    assert last("abc", 2) == ("b", "c")
    assert last("ab", 4) == ("a", "a", "a", "b")
    assert last("abc", 1) == ("c",)


# --- stems and reductions


def test_the_stem_halves_until_at_most_32_pixels_are_left():
    for side in range(1, 513):
        for size in ((side, side), (side, side + 200), (side + 200, side)):
            network_size = NetworkSize(4, 1, size)
            shape = cells_of(NB201, network_size)[0].inputs[-1]
            shorter = min(shape.height, shape.width)
            assert shorter <= 32
            assert shorter == side if network_size.halvings == 0 else shorter > 16
            assert (shape.height, shape.width) == tuple(-(-pixels // 2**network_size.halvings) for pixels in size)


@pytest.mark.parametrize(
    ("side", "halvings", "stages"),
    [
        (1, 0, (1, 1, 1)),
        (2, 0, (2, 2, 2)),
        (3, 0, (3, 2, 2)),
        (4, 0, (4, 2, 2)),
        (5, 0, (5, 3, 2)),
        (8, 0, (8, 4, 2)),
        (16, 0, (16, 8, 4)),
        (28, 0, (28, 14, 7)),
        (29, 0, (29, 15, 8)),
        (32, 0, (32, 16, 8)),
        (33, 1, (17, 9, 5)),
        (64, 1, (32, 16, 8)),
        (65, 2, (17, 9, 5)),
        (96, 2, (24, 12, 6)),
        (128, 2, (32, 16, 8)),
        (224, 3, (28, 14, 7)),
        (256, 3, (32, 16, 8)),
        (512, 4, (32, 16, 8)),
    ],
)
def test_the_resolution_of_every_stage(side, halvings, stages):
    network_size = NetworkSize(4, 1, (side, side))
    assert network_size.halvings == halvings
    for space in (NB201, DARTS):
        heights = [p.output.height for p in cells_of(space, network_size) if p.layer.kind in ("cell", "normal")]
        assert tuple(heights) == stages
        channels = [p.layer.channels for p in cells_of(space, network_size) if p.layer.kind in ("cell", "normal")]
        assert channels == [4, 8, 16]  # with and without halving


def test_the_stem_can_be_chosen():
    for space, stem, side in itertools.product((NB201, DARTS, MACRO), range(6), (32, 45)):
        network_size = NetworkSize(4, 1, (side, 64), stem=stem)
        layout = space.layout(network_size)
        stems = [placed.layer for placed in layout if isinstance(placed.layer, StemAt)]
        assert [layer.halvings for layer in stems] == {0: [0], 1: [1]}.get(stem, [2, *[1] * (stem - 2)])
        assert [layer.first for layer in stems] == [True, *[False] * (len(stems) - 1)]
        output = layout[len(stems) - 1].output
        assert (output.height, output.width) == (-(-side // 2**stem), 64 // 2**stem)
        assert output.channels == (12 if space is DARTS and stem == 0 else 4)


def test_the_number_of_reductions_can_be_chosen():
    def heights(space, **options):
        layout = space.layout(NetworkSize(4, 1, (32, 40), **options))
        return [placed.output.height for placed in layout if isinstance(placed.layer, CellAt | ReduceAt)]

    assert [heights(NB201, reductions=n) for n in (0, 1, 2)] == [[32] * 5, [32, *[16] * 4], [32, 16, 16, 8, 8]]
    assert [heights(DARTS, reductions=n) for n in (0, 1, 2)] == [[32] * 5, [32, *[16] * 4], [32, 16, 16, 8, 8]]
    assert [heights(MACRO, reductions=n) for n in (0, 1, 2)] == [[32] * 4, [32, 16, 16, 16], [32, 16, 16, 8]]
    assert heights(DARTS, reductions=2, stem=3) == [4, 2, 2, 1, 1]  # down to a single pixel
    assert heights(DARTS, stem=3) == [4, 2, 2, 2, 2]
    for space in (NB201, DARTS, MACRO):
        with pytest.raises(UserError, match=rf"^space '{space.name}' has 2 reductions, not 3$"):
            space.layout(NetworkSize(reductions=3))


def test_every_reduction_that_leaves_two_pixels_halves_the_resolution():
    for space, height, width in itertools.product((NB201, DARTS, MACRO), range(1, 12), range(1, 12)):
        layout = space.layout(NetworkSize(4, 1, (height, width)))
        side, possible = min(height, width), 0
        while side > 2 and possible < 2:
            side, possible = -(-side // 2), possible + 1
        assert sum(getattr(placed.layer, "stride", 1) == 2 for placed in layout) == possible
        if min(height, width) > 1:
            assert side >= 2


# --- networks that run

SIZES = [
    (9, 14),
    (33, 33),
    (8, 8),
    (29, 29),
    (31, 31),
    (1, 1),
    (2, 5),
    (3, 3),
    (40, 70),
]  # odd, even


def shapes_of(module, x, *arguments):
    """Return the output shape of each layer of a supernet or network, by its number."""
    shapes = {}

    def record(number):
        return lambda _, inputs, output: shapes.update({number: tuple(output.shape)})

    hooks = [layer.register_forward_hook(record(number)) for number, layer in enumerate(module.layers)]
    module(x, *arguments)
    for hook in hooks:
        hook.remove()
    return shapes


@each_space
def test_every_output_has_the_shape_of_the_layout(space):
    mix = dense({kind: torch.ones(len(cell.edges), cell.columns) for kind, cell in space.cells.items()})
    built = {}  # by their layers, which many sizes share
    for size in SIZES[:2] if space is DARTS else SIZES:  # DARTS' cells are those of TWO with more operations
        network_size = NetworkSize(2, 1, size, 2, 3)
        x, layout = torch.randn(2, 2, *size), space.layout(network_size)
        expected = {n: (2, p.output.channels, p.output.height, p.output.width) for n, p in enumerate(layout)}
        expected[len(layout) - 1] = (2, 3)
        layers = tuple(placed.layer for placed in layout)
        if layers not in built:
            network = Network(space, space.sample(random.Random(0)), network_size)
            built[layers] = Supernet(space, network_size, Norm()), network
        supernet, network = built[layers]
        assert shapes_of(supernet, x, mix) == shapes_of(network, x) == expected, size
        for layer, mixed, fixed in zip(layers, supernet.layers, network.layers, strict=True):
            assert isinstance(layer, CellAt) == isinstance(mixed, MixedCell) == isinstance(fixed, FixedCell)
        if size == (9, 14):
            check_shapes(space, network_size)
    assert len(built) == {"darts": 2, "ragged": 3}.get(space.name, 4)  # 0, 1 and 2 reductions, and a stem that halves


OPTIONS = [{"stem": 1}, {"stem": 2}, {"stem": 3}, {"reductions": 0}, {"reductions": 1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("space", [NB201, TWO, RAGGED], ids=lambda space: space.name)
def test_networks_with_a_chosen_stem_or_number_of_reductions_run(space, options):
    network_size = NetworkSize(2, 1, (13, 18), 1, 3, **options)
    check_shapes(space, network_size)
    layout = space.layout(network_size)
    network = Network(space, space.sample(random.Random(1)), network_size)
    shapes = shapes_of(network, torch.randn(2, 1, 13, 18))
    assert [shapes[n][1:] for n in range(len(layout) - 1)] == [
        (p.output.channels, p.output.height, p.output.width) for p in layout[:-1]
    ]


# --- operations and fixed layers


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_built_in_operation_has_the_given_channels_and_stride(name, stride):
    for side, cout in itertools.product((1, 2, 5, 8), (3, 6)):
        try:
            module = PRIMITIVES[name].build(3, cout, stride, Norm())
        except UserError:
            assert cout == 6
            assert "pool" in name or (name in ("skip_connect", "identity") and stride == 1)
            continue
        out = module.eval()(torch.randn(2, 3, side, side + 3))
        assert out.shape == (2, cout, -(-side // stride), -(-(side + 3) // stride))
    has_weights = any(p.requires_grad for p in PRIMITIVES[name].build(3, 3, 1, Norm()).parameters())
    assert PRIMITIVES[name].learned == has_weights  # at stride 1: a skip with stride 2 has weights
    assert PRIMITIVES[name].zero == (name == "none")


@pytest.mark.parametrize("stride", [1, 2])
def test_none_is_zeros_and_noise_has_the_type_of_its_input(stride):
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    assert torch.equal(Zero(6, stride)(x), torch.zeros(2, 6, -(-5 // stride), 4 // stride, dtype=torch.float64))
    assert Noise(6, stride)(x).dtype == torch.float64


def convolved(x, weight):
    """Return the 1x1 convolution of `x` (B, C, H, W) as a product of matrices."""
    return torch.tensordot(weight[:, :, 0, 0], x, dims=([1], [1])).movedim(0, 1)


@pytest.mark.parametrize("cout", [1, 2, 5])
def test_a_factorised_reduction_is_that_of_the_paper_and_accepts_odd_sides(cout):
    reduce = FactorizedReduce(3, cout).double().eval()
    assert sum(p.numel() for p in reduce.parameters()) == 3 * cout + 2 * cout
    for height, width in itertools.product((1, 2, 4, 5, 7, 8), repeat=2):
        x = torch.randn(2, 3, height, width, dtype=torch.float64)
        positive = F.relu(x)
        padded = F.pad(positive, (0, 1, 0, 1))  # zeros that are not read change nothing
        shifted = padded[:, :, 1::2, 1::2][:, :, : -(-height // 2), : -(-width // 2)]
        parts = [convolved(shifted, reduce[1].beyond.weight)]
        if cout > 1:
            parts.insert(0, convolved(positive[:, :, ::2, ::2], reduce[1].here.weight))
        assert [part.shape[1] for part in parts] == ([cout // 2, cout - cout // 2] if cout > 1 else [1])
        expected = torch.cat(parts, 1) / (1 + 1e-5) ** 0.5  # a new batch norm
        torch.testing.assert_close(reduce(x), expected)
        if height % 2 == width % 2 == 0:
            released = F.conv2d(positive[:, :, 1:, 1:], reduce[1].beyond.weight, stride=2) / (1 + 1e-5) ** 0.5
            torch.testing.assert_close(reduce(x)[:, cout // 2 :], released)


def test_a_reduction_without_a_stride_keeps_the_resolution():
    body = Reduction(2, 4, stride=1)
    assert body(torch.randn(2, 2, 5, 3)).shape == (2, 4, 5, 3)
    assert len(body.shortcut) == 1


def test_the_channels_of_a_chain_are_rounded_multiples_of_the_width():
    space = SearchSpace.chain("c", [(("nor_conv_1x1",), 1.5, 1), (("nor_conv_1x1",), 0.1, 2)], stem=2)
    for width, channels in ((4, [8, 6, 1]), (5, [10, 8, 1]), (16, [32, 24, 2])):
        stem, first, second, head = space.layout(NetworkSize(width, 7))  # the depth is ignored
        assert [stem.output.channels, first.output.channels, second.output.channels] == channels
        assert (first.inputs, second.inputs) == ((stem.output,), (first.output,))
        assert head.layer == HeadAt()
    assert list(space.cells) == ["01", "02"]


def test_positions_may_share_a_kind_and_have_cells_of_several_nodes():
    cell = Cell((Edge(1, 0, ("nor_conv_1x1",)), Edge(2, 0, ("nor_conv_3x3",)), Edge(2, 1, ("skip_connect",))))
    space = SearchSpace("c", {"a": cell}, Chain((Position("a", 2, 2), Position("a", 3, 1), Position("a", 3, 2))))
    network_size = NetworkSize(2, 1, (9, 6), 1, 3)
    check_shapes(space, network_size)
    network = Network(space, space.choose({"a": (0, 0, 0)}), network_size)
    assert shapes_of(network, torch.randn(2, 1, 9, 6)) == {
        0: (2, 2, 9, 6),
        1: (2, 4, 5, 3),
        2: (2, 6, 5, 3),
        3: (2, 6, 3, 2),
        4: (2, 3),
    }


def test_a_cell_of_three_inputs_and_one_output():
    space = SearchSpace("three", {"a": Cell.dense(5, ("nor_conv_1x1", "none"), inputs=3)}, Stages(("a",)))
    network_size = NetworkSize(2, 3, (4, 4), 1, 3)
    stem, *cells, _ = space.layout(network_size)
    assert [placed.inputs for placed in cells] == [(stem.output,) * 3] * 3
    assert {placed.output for placed in cells} == {Shape(2, 4, 4)}
    network = Network(space, space.sample(random.Random(0)), network_size)
    assert network(torch.randn(2, 1, 4, 4)).shape == (2, 3)


def test_an_unknown_activation_is_refused():
    from supernet.spaces.modules import conv_bn

    with pytest.raises(UserError, match=r"^unknown activation 'gelu'; did you mean 'relu'\? known: relu, relu6, silu$"):
        conv_bn(4, 4, 3, activation="gelu")
