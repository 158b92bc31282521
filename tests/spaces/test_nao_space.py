"""NAO's spaces as data, supernets and standalone networks: branches, unused nodes as outputs, calibrated inputs."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from supernet.errors import UserError
from supernet.models.cost.count import Cost, OperationCosts, cost
from supernet.models.cost.expected import Expected
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.limits import Limits
from supernet.models.cost.options import OptionGroups
from supernet.models.mix import EdgeMix, dense
from supernet.models.mixed_cell import MixedCell
from supernet.models.network import FixedCell, Network, build
from supernet.models.supernet import Supernet
from supernet.selectors.projection_schedule import projection_schedule
from supernet.spaces import SPACES, Cell, Chain, Edge, NetworkSize, Position, SearchSpace, Stack
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm
from supernet.spaces.paths import is_wasteful, live_choices
from supernet.spaces.shapes import CellAt
from supernet.testing import branched_space, noise_batch

NAO, MIDDLE, SMALL = SPACES["nao"], SPACES["nao-middle"], branched_space()
V2 = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0   0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
SHORT = Chain((Position("normal", 1), Position("reduce", 2, 2), Position("normal", 2)), stem=2)  # every kind of input
SHORT_NAO, SHORT_MIDDLE = replace(NAO, skeleton=SHORT), replace(MIDDLE, skeleton=SHORT)
ENGINES = ("fused", "reference")


def learnable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def samples(space, count, seed=0):
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(count)]


def unused(cell, choices):
    """Return the nodes that no choice reads, with any operation."""
    return [node for node in range(cell.nodes) if all(choice.source != node for choice in choices)]


# --- the space as data


def test_the_spaces_are_those_of_the_paper():
    small = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")
    middle = (
        *("none", "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"),
        *("dil_conv_7x7", "avg_pool_3x3", "max_pool_3x3"),
    )
    for space, ops in ((NAO, small), (MIDDLE, middle)):
        assert list(space.cells) == ["normal", "reduce"]
        assert (space.norm_pools, space.target, space.skeleton) == (False, (36, 6), Stack(multiplier=3))
        for cell in space.cells.values():
            assert (cell.nodes, cell.inputs, cell.branches, cell.output, cell.keep) == (7, 2, 2, "unused", None)
            places = [(e.target, e.branch, e.source) for e in cell.edges]
            assert places == [(t, b, s) for t in range(2, 7) for b in range(2) for s in range(t)]
            assert {edge.ops for edge in cell.edges} == {ops}
    assert NAO.size == (5**5 * 720) ** 4  # per cell the product over nodes i of (5 (i + 2))^2
    assert MIDDLE.size == (10**5 * 720) ** 4


def test_the_published_architecture_is_read_from_its_numbers():
    genotype = NAO.parse(V2)
    assert str(genotype) == (
        "normal:|sep_conv_5x5~1|sep_conv_5x5~0|+|identity~2|sep_conv_3x3~0|+|sep_conv_3x3~0|sep_conv_5x5~2|"
        "+|sep_conv_3x3~0|avg_pool_3x3~0|+|max_pool_3x3~0|sep_conv_3x3~0| "
        "reduce:|avg_pool_3x3~0|avg_pool_3x3~0|+|avg_pool_3x3~2|sep_conv_3x3~1|+|sep_conv_3x3~0|sep_conv_5x5~0|"
        "+|sep_conv_3x3~0|max_pool_3x3~0|+|sep_conv_3x3~0|sep_conv_5x5~0|"
    )
    assert NAO.parse(str(genotype)) == genotype
    choices = [choice for kind in ("normal", "reduce") for choice in genotype[kind]]
    numbers = [int(number) for number in V2.split()]
    assert [NAO.cells["normal"].edges[0].ops.index(choice.op) for choice in choices] == numbers[1::2]
    assert [choice.source for choice in choices] == numbers[::2]
    assert unused(NAO.cells["normal"], genotype["normal"]) == [3, 4, 5, 6]


@pytest.mark.parametrize("space", [NAO, MIDDLE, SMALL], ids=lambda space: space.name)
def test_an_architecture_survives_columns_text_and_json(space):
    for genotype in samples(space, 25):
        assert space.check(genotype) is genotype
        assert space.choose(space.columns(genotype)) == genotype
        assert space.parse(str(genotype)) == genotype
        data = genotype.to_json()
        assert Genotype.from_json(json.loads(json.dumps(data))) == genotype
        assert {len(c) - 3 - (c[3:] != []) * 1 for cell in data["cells"].values() for c in cell} == {0}
        for kind, cell in space.cells.items():
            assert [c.branch for c in genotype[kind]] == [0, 1] * (cell.nodes - 2)
            chosen = [e for e, k in enumerate(space.columns(genotype)[kind]) if k is not None]
            assert [sum(e in chosen for e in group) for group in cell.groups()] == [1] * 2 * (cell.nodes - 2)


def test_exchanged_branches_are_another_architecture():
    one = Genotype.of("x", {"a": [(2, 0, "p", 0), (2, 1, "q", 1)]})
    assert one == Genotype.of("x", {"a": [(2, 1, "q", 1), (2, 0, "p", 0)]})
    assert one != Genotype.of("x", {"a": [(2, 1, "q", 0), (2, 0, "p", 1)]})
    assert one.to_json()["cells"] == {"a": [[2, 0, "p"], [2, 1, "q", 1]]}
    assert str(Genotype.of("x", {"a": [(2, 1, "q", 0), (2, 0, "p", 1)]})) == "|q~1|p~0|"


def every(space):
    """Yield all architectures, without the space's code: one edge and operation for each target and branch."""

    def of(cell):
        groups = sorted({(edge.target, edge.branch) for edge in cell.edges})
        ways = [[(e, op) for e in cell.edges if (e.target, e.branch) == g for op in e.ops] for g in groups]
        for chosen in itertools.product(*ways):
            yield [(e.target, e.source, op, e.branch) for e, op in chosen]

    for cells in itertools.product(*(list(of(cell)) for cell in space.cells.values())):
        yield Genotype.of(space.name, dict(zip(space.cells, cells, strict=True)))


def tiny_space():
    edges = [Edge(1, 0, ("none", "identity"), b) for b in (0, 1)]
    edges += [Edge(2, 0, ("identity",), 0), Edge(2, 1, ("avg_pool_3x3", "none"), 0), Edge(2, 1, ("identity",), 1)]
    return SearchSpace("tiny", {"normal": Cell(tuple(edges), output="unused", project=True)}, Stack(reduce="normal"))


def test_draws_are_uniform_and_size_is_the_number_of_architectures():
    space = tiny_space()
    whole = list(every(space))
    assert len(whole) == len(set(whole)) == space.size == 2 * 2 * 3 * 1
    assert SMALL.size == (6 * 6 * 9 * 9) * (4 * 4 * 4 * 4)
    rng = random.Random(0)
    seen = Counter(space.sample(rng) for _ in range(1200))
    assert set(seen) == set(whole)
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 31.3  # chi-square, 11 degrees: 1 in 1000


def test_derive_keeps_the_strongest_edge_of_each_branch():
    space, rng = tiny_space(), random.Random(0)
    for _ in range(100):
        op_scores = {"normal": [[rng.random() for _ in range(2)] for _ in space.cells["normal"].edges]}

        def total(genotype, op_scores=op_scores):
            columns = space.columns(genotype)["normal"]
            return sum(op_scores["normal"][e][k] for e, k in enumerate(columns) if k is not None)

        assert space.derive(op_scores) == max(every(space), key=total)
    scores = {kind: [[rng.random() for _ in edge.ops] for edge in cell.edges] for kind, cell in SMALL.cells.items()}
    groups = OptionGroups(SMALL)
    assert groups.best(groups.integers(scores)) == SMALL.derive(scores)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1", "it has 2 numbers instead of 40"),
        (V2.replace("1 1", "2 1", 1), "node 2 of 'normal' reads no node 2"),
        (V2.replace("1 1 0 1", "1 1 01 1", 1), "node 2 of 'normal' reads no node 01"),
        (V2.replace("1 1 0 1", "1 1 0 5", 1), "edge 2.1<-0 of 'normal' has no operation 5"),
        (V2 + " 0", "it has 41 numbers instead of 40"),
    ],
)
def test_wrong_numbers_are_refused(text, message):
    with pytest.raises(UserError) as caught:
        NAO.parse(text)
    assert str(caught.value) == f"cannot read architecture '{' '.join(text.split())}': {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda cells: cells[0][1].pop(),
            ", of which each branch of a node keeps 1; this architecture has 2<-1 2.1<-0 ",
        ),
        (lambda cells: cells[0][1].append((2, 1, "identity", 1)), "this architecture has 2<-1 2.1<-0 2.1<-1 "),
        (lambda cells: cells[0][1].append((2, 1, "identity", 2)), "this architecture has 2<-1 2.1<-0 2.2<-1 "),
        (
            lambda cells: cells[0][1].__setitem__(1, (2, 0, "none", 1)),
            "unknown operation on edge 2.1<-0 of space 'nao': 'none'; known: sep_conv_3x3, ",
        ),
    ],
)
def test_wrong_choices_are_refused(change, message):
    cells = [(kind, list(choices)) for kind, choices in NAO.parse(V2).cells]
    change(cells)
    with pytest.raises(UserError) as caught:
        NAO.check(Genotype.of("nao", dict(cells)))
    assert message in str(caught.value)


def test_texts_of_other_spaces_are_refused():
    darts = "Genotype(normal=[('identity', 0), ('identity', 1)], normal_concat=[2], reduce=[], reduce_concat=[])"
    for text in (darts, "", "|identity~0|", "normal:|identity~0|identity~1| reduce:|identity~0|identity~1|"):
        with pytest.raises(UserError):
            NAO.parse(text)
    with pytest.raises(UserError, match=r"^cannot read architecture '1 1 0 1'"):
        SPACES["nasbench201"].parse("1 1 0 1")
    with pytest.raises(UserError, match=r"^this is not a genotype: "):
        Genotype.from_json({"space": "nao", "cells": {"normal": [[2, 0, "identity", "1"]]}})


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ([(1, 0, 0), (1, 0, 2)], {}, "a cell's node 1 has branches 0, 2; they are numbered from 0 without a gap"),
        ([(1, 0, 1)], {}, "a cell's node 1 has branches 1; they are numbered from 0 without a gap"),
        ([(1, 0, -1)], {}, "edge 1.-1<-0 needs a branch that is 0 or above"),
        ([(1, 0, 0), (1, 0, 1)], {"keep": 1}, "a cell with branches keeps one edge of each: leave out keep=1"),
        (
            [(1, 0, 1), (1, 0, 1)],
            {},
            "a cell has two edges between the same two nodes; give one edge both operations instead",
        ),
        (
            [(1, 0, 0)],
            {"output": "unused"},
            "a cell whose output is 'unused' needs project='calibrate' or True: its inputs can be part of the output",
        ),
        ([(1, 0, 0)], {"project": "yes"}, "a cell's project is True, False or 'calibrate', not 'yes'"),
    ],
)
def test_wrong_cells_are_refused(edges, options, message):
    with pytest.raises(UserError) as caught:
        Cell(tuple(Edge(t, s, ("identity",), b) for t, s, b in edges), **options)
    assert str(caught.value) == message


def test_the_groups_of_a_cell_and_the_number_of_edges_that_they_keep():
    cell = Cell.dense(4, ("identity",), inputs=2, branches=2)
    assert cell.groups() == [[0, 1], [2, 3], [4, 5, 6], [7, 8, 9]]
    assert [cell.kept(group) for group in cell.groups()] == [1, 1, 1, 1]
    for keep, kept in ((None, [2, 3]), (2, [2, 2]), (1, [1, 1])):
        cell = Cell.dense(4, ("identity",), inputs=2, keep=keep)
        assert (cell.branches, cell.groups(), [cell.kept(g) for g in cell.groups()]) == (1, [[0, 1], [2, 3, 4]], kept)


def test_fingerprints_are_those_of_earlier_runs():
    recorded = {
        "nasbench201": "d19ca13f024167e4",
        "darts": "6005a429c1aee3bf",
        "s1": "f063e64ca3758938",
        "s4": "bb4062fa30e8b222",
    }
    assert {name: SPACES[name].fingerprint(NetworkSize(16, 2)) for name in recorded} == recorded
    one = Cell((Edge(1, 0, ("identity",)),))
    two = Cell((Edge(1, 0, ("identity",)), Edge(1, 0, ("identity",), 1)))
    spaces = [SearchSpace("x", {"normal": cell}, Stack(reduce="normal")) for cell in (one, two)]
    assert len({space.fingerprint(NetworkSize(4, 1)) for space in spaces}) == 2


def test_an_operation_is_live_if_it_lies_on_a_path_to_an_unused_node():
    cell, cut = MIDDLE.cells["normal"], 0
    for genotype in samples(MIDDLE, 200):
        choices = genotype["normal"]
        nonzero = [c for c in choices if c.op != "none"]
        ends = unused(cell, choices)

        def paths(node, nonzero=nonzero, ends=ends):
            if node in ends:
                yield ()
            for c in nonzero:
                if c.source == node:
                    yield from ((c, *rest) for rest in paths(c.target))

        on_paths = {c for node in (0, 1) for path in paths(node) for c in path}
        assert live_choices(MIDDLE, cell, choices) == [c for c in choices if c in on_paths]
        idle = [c for c in choices if c not in on_paths and MIDDLE.primitive(c.op).learned]
        assert is_wasteful(MIDDLE, cell, choices) == (not on_paths or bool(idle))
        cut += len(on_paths) < len(nonzero)
    assert cut > 0


def test_the_projection_schedule_has_every_edge_and_every_branch():
    for space in (NAO, SMALL):
        items = [item for moment in projection_schedule(space, 0) for item in moment]
        for kind, cell in space.cells.items():
            of_kind = [item.edges for item in items if item.kind == kind]
            assert sorted(edges for edges in of_kind if len(edges) == 1) == [(e,) for e in range(len(cell.edges))]
            assert sorted(edges for edges in of_kind if len(edges) > 1) == sorted(map(tuple, cell.groups()))


# --- standalone networks


@pytest.mark.parametrize(("width", "depth", "millions"), [(36, 6, 4.388), (20, 3, 0.801)])
def test_the_published_networks_have_their_parameters(width, depth, millions):
    genotype = NAO.parse(V2)
    network = build(genotype, width=width, depth=depth)
    assert sum(isinstance(layer, FixedCell) for layer in network.layers) == 3 * depth + 2
    assert round(learnable(network) / 1e6, 3) == millions
    assert cost(NAO, genotype, NetworkSize(width, depth)).params == learnable(network)


def test_the_supernet_has_the_papers_parameters():
    supernet = Supernet(NAO, NetworkSize(20, 3), Norm(affine=True))
    assert round(learnable(supernet) / 1e6, 3) == 7.387


def counted(space, genotype, network_size):
    network = Network(space, genotype, network_size).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, network_size.channels, *network_size.image_size))
    return Cost(learnable(network), counter.get_total_flops() // 2 + network_size.classes)


@pytest.mark.parametrize(
    ("space", "image_size"), [(SHORT_MIDDLE, (9, 7)), (SMALL, (9, 7)), (SMALL, (2, 2))], ids=["middle", "small", "2x2"]
)  # the operations of MIDDLE include NAO's; images of 2x2 are never reduced
def test_the_cost_is_that_of_the_built_network(space, image_size):
    size = NetworkSize(6, 1, image_size, 1, 3)
    operation_costs, genotypes = OperationCosts(space, size), samples(space, 4)
    costs = [counted(space, genotype, size) for genotype in genotypes]
    for _ in range(2):  # computed, then cached
        assert [operation_costs.total(genotype) for genotype in genotypes] == costs
    assert len(set(costs)) == 4


def test_the_output_of_a_network_cell_has_the_channels_of_its_unused_nodes():
    network_size = NetworkSize(6, 2)
    for genotype in samples(NAO, 20):
        counts = {kind: len(unused(NAO.cells[kind], genotype[kind])) for kind in NAO.cells}
        for single, shared in zip(NAO.layout(network_size, genotype), NAO.layout(network_size), strict=True):
            if isinstance(shared.layer, CellAt):
                channels = shared.layer.channels
                assert single.layer == shared.layer
                assert shared.output.channels == channels
                assert single.output == replace(shared.output, channels=counts[shared.layer.kind] * channels)


def network_by_hand(network, x):
    """Return the logits of a network in evaluation by the paper: every node sums its two branches."""
    outputs = []
    for layer in network.layers:
        if not isinstance(layer, FixedCell):
            outputs.append(layer(outputs[-1] if outputs else x))
            continue
        choices = network.genotype["reduce" if layer.stride == 2 else "normal"]
        ops = iter(layer.ops)
        nodes = [layer.inputs[0](outputs[max(0, len(outputs) - 2)]), layer.inputs[1](outputs[-1])]
        reduced = [reduce(nodes[int(number)]) for number, reduce in layer.shortened.items()]
        while len(nodes) < layer.cell.nodes:
            branches = [c for c in choices if c.target == len(nodes)]
            nodes.append(sum(next(ops)(nodes[c.source]) if c.op != "none" else 0 for c in branches))
        ends = [node for node in unused(layer.cell, choices) if layer.stride == 1 or node > 1]
        outputs.append(torch.cat([*(reduced if layer.stride == 2 else ()), *(nodes[end] for end in ends)], 1))
    return outputs[-1]


def short_network(genotype):
    return Network(SHORT_NAO, genotype, NetworkSize(4, 1, (8, 8), 3, 3)).double()


def test_a_network_sums_two_branches_and_joins_unused_nodes():
    x, many = noise_batch(0, channels=3).x, samples(NAO, 300)
    inputs = [{node for node in unused(NAO.cells["reduce"], g["reduce"]) if node < 2} for g in many]
    with_input = [many[inputs.index({node})] for node in (0, 1)]  # the output of the reduction has this input
    for genotype in [NAO.parse(V2), *with_input, *many[:2]]:
        network = short_network(genotype)
        network(x)  # changes the running statistics
        torch.testing.assert_close(network.eval()(x), network_by_hand(network, x), rtol=1e-12, atol=1e-12)


def test_an_input_is_calibrated_only_where_it_differs():
    genotype, size = NAO.parse(V2), NetworkSize(4, 1)
    assert [len(unused(NAO.cells[kind], genotype[kind])) for kind in NAO.cells] == [4, 4]
    first, second = Position("normal", 1), Position("normal", 2)
    space = replace(NAO, skeleton=Chain((first, first, Position("reduce", 2, 2), second, second), stem=3))
    for model in (Network(space, genotype, size), Supernet(space, size, Norm())):
        cells = [layer for layer in model.layers if isinstance(layer, FixedCell | MixedCell)]
        near = "Identity" if isinstance(cells[0], MixedCell) else "ReLUConvBN"
        wide = "ReLUConvBN"  # from the stem, or into a reduction cell
        assert [[type(project).__name__ for project in cell.inputs] for cell in cells] == [
            *([wide, wide], [wide, near], [wide, wide]),
            *(["FactorizedReduce", near], [near, near]),
        ]


def test_identity_with_a_stride_is_a_factorised_reduction_without_relu():
    op = NAO.primitive("identity").build(3, 4, 2, Norm())
    assert [type(part).__name__ for part in op] == ["TwoHalvings", "BatchNorm2d"]
    assert type(NAO.primitive("identity").build(4, 4, 1, Norm())) is nn.Identity
    op.eval()
    x = torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(op(-x), -op(x))  # linear: without ReLU


def swapped(genotype, node):
    """Return the genotype with the two branches of a node exchanged in every kind of cell."""
    cells = {
        kind: [(t, s, op, 1 - b if t == node else b) for t, s, op, b in choices] for kind, choices in genotype.cells
    }
    return Genotype.of(genotype.space, cells)


def test_exchanging_the_branches_of_a_node_changes_no_function():
    x = noise_batch(1, channels=3).x
    for node, genotype in enumerate(samples(NAO, 5), 2):
        other = swapped(genotype, node)
        assert other != genotype
        one, two = short_network(genotype), short_network(other)
        assert learnable(one) == learnable(two)
        first = 2 * (node - 2)
        renumbered = {str(first): str(first + 1), str(first + 1): str(first)}
        state = {}
        for name, value in one.state_dict().items():
            parts = name.split(".")
            if parts[2] == "ops":
                parts[3] = renumbered.get(parts[3], parts[3])
            state[".".join(parts)] = value
        two.load_state_dict(state)
        torch.testing.assert_close(one(x), two(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.eval()(x), two.eval()(x), rtol=1e-12, atol=1e-12)


# --- the supernet


def supernet_of(space, norm=Norm(), seed=0):  # noqa: B008
    torch.manual_seed(seed)
    supernet = Supernet(space, NetworkSize(4, 1, (8, 8), 1, 3), norm).double()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight += 0.1 * torch.randn_like(weight)
        for genotype in samples(space, 2):
            supernet(noise_batch(seed).x, supernet.only(genotype))
    return supernet


def weights(space, seed):
    g = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in space.cells.items()}
    return {kind: torch.rand(shape, generator=g, dtype=torch.float64) for kind, shape in shapes.items()}


def partly(space, seed):
    """Return a mix in which some edges run several operations and some run none."""
    rng = random.Random(seed)
    active = {
        kind: tuple(tuple(k for k in range(len(edge.ops)) if rng.random() < 0.3) for edge in cell.edges)
        for kind, cell in space.cells.items()
    }
    return {kind: EdgeMix(value, active[kind]) for kind, value in weights(space, seed).items()}


def mixes_of(supernet):
    space = supernet.space
    paths = [supernet.only(genotype) for genotype in samples(space, 4, seed=1)]
    return [*paths, dense(weights(space, 1)), partly(space, 2), partly(space, 3)]


def by_hand(supernet, x, mix, passes=1.0):
    """Return the logits by the equations; with drop-path, operations but the identity are multiplied by `passes`."""
    outputs = []
    for layer, kind in zip(supernet.layers, supernet.kinds, strict=True):
        if kind is None:
            outputs.append(layer(outputs[-1] if outputs else x))
            continue
        edges, edge_mix = layer.cell.edges, mix[kind]
        active = edge_mix.active or tuple(tuple(range(len(edge.ops))) for edge in edges)
        nodes = [layer.inputs[0](outputs[max(0, len(outputs) - 2)]), layer.inputs[1](outputs[-1])]
        nodes += [torch.zeros_like(layer.inputs[1](outputs[-1])[..., :: layer.stride, :: layer.stride])] * (
            layer.cell.nodes - 2
        )
        for e, edge in enumerate(edges):
            for k in active[e]:
                if edge.ops[k] != "none":
                    op = layer.ops[e][k]
                    part = op(nodes[edge.source])
                    part = part * passes if layer.drop_path and not isinstance(op, nn.Identity) else part
                    nodes[edge.target] = nodes[edge.target] + edge_mix.weights[e, k] * part
        read = {edge.source for edge, columns in zip(edges, active, strict=True) if columns}
        ends = [node for node in range(layer.cell.nodes) if node not in read]
        total = 0
        for end in ends:  # the convolution of a concatenation is the sum of convolutions
            value = layer.shortened[str(end)](nodes[end]) if layer.stride == 2 and end < 2 else nodes[end]
            total = total + F.conv2d(F.relu(value), layer.join.blocks[end].weight)
        outputs.append(layer.join.norm(total))
    return outputs[-1]


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_a_supernets_output_is_its_equations(train):
    supernet, x = supernet_of(SMALL).train(train), noise_batch(1).x
    for mix in mixes_of(supernet):
        expected = by_hand(supernet, x, mix)
        for supernet.engine in ENGINES:
            torch.testing.assert_close(supernet(x, mix), expected, rtol=1e-10, atol=1e-10)


def test_gradients_are_those_of_the_equations():
    supernet, batch = supernet_of(SMALL), noise_batch(1)

    def gradients_of(run, mix, inputs):
        return torch.autograd.grad(F.cross_entropy(run(batch.x, mix), batch.y), inputs, allow_unused=True)

    for mix in [supernet.only(samples(SMALL, 1)[0]), dense(weights(SMALL, 1)), partly(SMALL, 2)]:
        gates = [edge_mix.weights.double().requires_grad_() for edge_mix in mix.values()]
        mix = {k: EdgeMix(g, m.active, m.ones) for (k, m), g in zip(mix.items(), gates, strict=True)}
        inputs = [*supernet.parameters()] + ([] if next(iter(mix.values())).ones else gates)
        expected = gradients_of(lambda x, mix: by_hand(supernet, x, mix), mix, inputs)
        for supernet.engine in ENGINES:
            gradients = gradients_of(supernet, mix, inputs)
            assert sum(gradient is not None for gradient in gradients) > 20
            for a, b in zip(gradients, expected, strict=True):
                missing = torch.zeros(())
                torch.testing.assert_close(
                    missing if a is None else a,
                    torch.zeros_like(a) if b is None and a is not None else missing if b is None else b,
                    rtol=1e-9,
                    atol=1e-11,
                )


@pytest.mark.parametrize("space", [SHORT_NAO, SMALL], ids=lambda space: space.name)
def test_batched_mixes_give_the_logits_of_single_ones(space):
    supernet, x = supernet_of(space), noise_batch(1).x
    mixes = mixes_of(supernet)[: 4 if space is SHORT_NAO else None]
    for train in (True, False):
        logits = supernet.train(train).batched(x, mixes)
        expected = torch.stack([by_hand(supernet, x, mix) for mix in mixes])
        torch.testing.assert_close(logits, expected.detach(), rtol=1e-10, atol=1e-10)
        assert len({tuple(one.flatten().tolist()) for one in logits}) == len(mixes)


def test_the_output_has_the_channels_of_the_cell_for_any_unused_nodes():
    supernet, x = supernet_of(SHORT_NAO), torch.randn(2, 8, 8, 8, dtype=torch.float64)
    cells = [layer for layer in supernet.layers if isinstance(layer, MixedCell)]
    numbers = set()
    for genotype in samples(NAO, 8):
        mix = supernet.only(genotype)
        for cell, kind in ((cells[0], "normal"), (cells[1], "reduce")):
            ends = cell.ends(mix[kind].active)
            numbers.add(len(ends))
            assert list(ends) == unused(cell.cell, genotype[kind])
    assert len(numbers) > 2
    assert cells[0].ends(None) == (6,)
    edges = NAO.cells["normal"].edges
    assert cells[0].ends(tuple((0,) if edge.source != 3 else () for edge in edges)) == (3, 6)
    assert cells[0]([x, x], mix["normal"]).shape == (2, 4, 8, 8)


def test_an_active_none_reads_its_node():
    supernet, x = supernet_of(SMALL), noise_batch(1).x
    cell = supernet.layers[supernet.kinds.index("reduce")]
    edges = SMALL.cells["reduce"].edges
    only_none = tuple((edge.ops.index("none"),) if "none" in edge.ops and edge.source == 1 else () for edge in edges)
    assert cell.ends(only_none) == (0, 2, 3)
    assert cell.ends(tuple(() for _ in edges)) == (0, 1, 2, 3)
    assert torch.isfinite(supernet(x, partly(SMALL, 4))).all()


# --- drop-path


def test_drop_path_applies_to_every_operation_but_the_identity(monkeypatch):
    seen = []

    def halve(x, probability):
        seen.append(probability)
        return x / 2

    monkeypatch.setattr("supernet.models.layers.drop_path", halve)
    supernet, x = supernet_of(SMALL), noise_batch(1).x
    cells = [layer for layer in supernet.layers if isinstance(layer, MixedCell)]
    assert {cell.drop_path for cell in cells} == {0.0}
    for number, cell in enumerate(cells):
        cell.drop_path = number / 8  # 0 in the first, which therefore drops nothing
    mixes = mixes_of(supernet)
    expected = [by_hand(supernet, x, mix, passes=0.5) for mix in mixes]
    for supernet.engine in ENGINES:
        for mix, logits in zip(mixes, expected, strict=True):
            torch.testing.assert_close(supernet(x, mix), logits, rtol=1e-10, atol=1e-10)
        assert set(seen) == {1 / 8, 2 / 8, 3 / 8, 4 / 8}
        seen.clear()
        supernet.eval()(x, mix)
        supernet.train().batched(x, [mix])
        assert not seen


def test_drop_path_drops_images_with_the_given_probability():
    space = SearchSpace("one", {"normal": Cell.dense(2, ("avg_pool_3x3",), project=True)}, Stack(reduce="normal"))
    supernet = Supernet(space, NetworkSize(2, 1, (8, 8), 1, 3), Norm())
    cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell))
    cell.inputs, cell.drop_path, x = nn.ModuleList([nn.Identity()]), 0.3, torch.ones(4000, 2, 2, 2)
    torch.manual_seed(0)
    out = cell([x], supernet.only(space.sample(random.Random(0)))["normal"])
    assert set(out.unique().tolist()) == {0.0, (1 / torch.tensor(0.7)).item()}
    assert (out.amax((1, 2, 3)) == out.amin((1, 2, 3))).all()  # whole images
    assert (out[:, 0, 0, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)


# --- limits


def test_limits_are_refused_in_a_space_without_additive_cost():
    assert not NAO.has_additive_cost
    assert SPACES["darts"].has_additive_cost
    FeasibleSet(NAO, NetworkSize(4, 1)).check()
    for limits in (Limits(max_params=10**6), Limits(max_flops=10**9), Limits(max_latency_ms=5)):
        with pytest.raises(UserError, match=r"^space 'nao' cannot be searched within limits \(at most "):
            FeasibleSet(NAO, NetworkSize(4, 1), limits).check()
    for name in ("params", "flops"):
        with pytest.raises(UserError, match=f"^the {name} expected in space 'nao' are not known"):
            Expected(FeasibleSet(NAO, NetworkSize(4, 1)), name)
