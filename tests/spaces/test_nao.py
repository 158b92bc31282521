"""NAO's space: branches, outputs of unused nodes, inputs that are calibrated; as data, supernet and plain network."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from conftest import branched_space, noise_batch
from supernet.errors import UserError
from supernet.models.cost.best import FeasibleSet
from supernet.models.cost.count import Cost, Prices, cost
from supernet.models.cost.expected import Expected
from supernet.models.cost.limits import Limits
from supernet.models.cost.sums import Sums
from supernet.models.mix import EdgeMix, dense
from supernet.models.mixed_cell import MixedCell
from supernet.models.network import FixedCell, Network, build
from supernet.models.supernet import Supernet
from supernet.selectors.projection_schedule import projection_schedule
from supernet.spaces import SPACES, Cell, Edge, NetworkSize, SearchSpace, Stack, space
from supernet.spaces.genotype import Genotype
from supernet.spaces.modules import Norm
from supernet.spaces.paths import is_wasteful, live_choices
from supernet.spaces.shapes import CellAt, Shape

NAO, MIDDLE, SMALL = space("nao"), space("nao-middle"), branched_space()
V2 = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0   0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
each_space = pytest.mark.parametrize("home", [NAO, MIDDLE, SMALL], ids=lambda home: home.name)
each_mode = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
each_engine = pytest.mark.parametrize("engine", ["fused", "reference"])


def learnable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def samples(home, count, seed=0):
    rng = random.Random(seed)
    return [home.sample(rng) for _ in range(count)]


def unused(cell, choices):
    """The nodes that no choice reads, whatever its operation."""
    return [node for node in range(cell.nodes) if all(choice.source != node for choice in choices)]


# --- as data


def test_nao_is_what_the_paper_searches():
    small = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")
    middle = (
        *("none", "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5"),
        *("dil_conv_7x7", "avg_pool_3x3", "max_pool_3x3"),
    )
    for home, ops in ((NAO, small), (MIDDLE, middle)):
        assert list(home.cells) == ["normal", "reduce"]
        assert (home.norm_pools, home.target, home.skeleton) == (False, (36, 6), Stack(multiplier=3))
        for cell in home.cells.values():
            assert (cell.nodes, cell.inputs, cell.branches, cell.output, cell.keep) == (7, 2, 2, "unused", None)
            places = [(e.target, e.branch, e.source) for e in cell.edges]
            assert places == [(t, b, s) for t in range(2, 7) for b in range(2) for s in range(t)]
            assert {edge.ops for edge in cell.edges} == {ops}
    assert NAO.size == (5**5 * 720) ** 4  # per cell the product over nodes i of (5 (i + 2))^2
    assert MIDDLE.size == (10**5 * 720) ** 4


def test_the_published_architecture_is_read_from_its_numbers():
    found = NAO.parse(V2)
    assert str(found) == (
        "normal:|sep_conv_5x5~1|sep_conv_5x5~0|+|identity~2|sep_conv_3x3~0|+|sep_conv_3x3~0|sep_conv_5x5~2|"
        "+|sep_conv_3x3~0|avg_pool_3x3~0|+|max_pool_3x3~0|sep_conv_3x3~0| "
        "reduce:|avg_pool_3x3~0|avg_pool_3x3~0|+|avg_pool_3x3~2|sep_conv_3x3~1|+|sep_conv_3x3~0|sep_conv_5x5~0|"
        "+|sep_conv_3x3~0|max_pool_3x3~0|+|sep_conv_3x3~0|sep_conv_5x5~0|"
    )
    assert NAO.parse(str(found)) == found
    order = [(op, NAO.cells["normal"].edges[0].ops.index(op)) for _, _, op, _ in (*found["normal"], *found["reduce"])]
    written = [int(number) for number in V2.split()]
    assert [number for _, number in order] == written[1::2]
    assert [choice.source for kind in ("normal", "reduce") for choice in found[kind]] == written[::2]
    assert unused(NAO.cells["normal"], found["normal"]) == [3, 4, 5, 6]


@each_space
def test_an_architecture_survives_its_columns_its_text_and_its_data(home):
    for genotype in samples(home, 50):
        assert home.check(genotype) is genotype
        assert home.choose(home.columns(genotype)) == genotype
        assert home.parse(str(genotype)) == genotype
        data = genotype.to_json()
        assert Genotype.from_json(json.loads(json.dumps(data))) == genotype
        assert {len(c) - 3 - (c[3:] != []) * 1 for cell in data["cells"].values() for c in cell} == {0}
        for kind, cell in home.cells.items():
            assert [c.branch for c in genotype[kind]] == [0, 1] * (cell.nodes - 2)
            chosen = [e for e, k in enumerate(home.columns(genotype)[kind]) if k is not None]
            assert [sum(e in chosen for e in group) for group in cell.groups()] == [1] * 2 * (cell.nodes - 2)


def test_the_order_of_branches_makes_another_architecture():
    one = Genotype.of("x", {"a": [(2, 0, "p", 0), (2, 1, "q", 1)]})
    assert one == Genotype.of("x", {"a": [(2, 1, "q", 1), (2, 0, "p", 0)]})
    assert one != Genotype.of("x", {"a": [(2, 1, "q", 0), (2, 0, "p", 1)]})
    assert one.to_json()["cells"] == {"a": [[2, 0, "p"], [2, 1, "q", 1]]}
    assert str(Genotype.of("x", {"a": [(2, 1, "q", 0), (2, 0, "p", 1)]})) == "|q~1|p~0|"


def every(home):
    """All architectures, counted without the space's code: one edge and operation for each target and branch."""

    def of(cell):
        groups = sorted({(edge.target, edge.branch) for edge in cell.edges})
        ways = [[(e, op) for e in cell.edges if (e.target, e.branch) == g for op in e.ops] for g in groups]
        for chosen in itertools.product(*ways):
            yield [(e.target, e.source, op, e.branch) for e, op in chosen]

    for cells in itertools.product(*(list(of(cell)) for cell in home.cells.values())):
        yield Genotype.of(home.name, dict(zip(home.cells, cells, strict=True)))


def tiny_space():
    edges = [Edge(1, 0, ("none", "identity"), b) for b in (0, 1)]
    edges += [Edge(2, 0, ("identity",), 0), Edge(2, 1, ("avg_pool_3x3", "none"), 0), Edge(2, 1, ("identity",), 1)]
    return SearchSpace("tiny", {"normal": Cell(tuple(edges), output="unused", project=True)}, Stack(reduce="normal"))


def test_draws_are_uniform_and_size_is_the_number_of_architectures():
    home = tiny_space()
    whole = list(every(home))
    assert len(whole) == len(set(whole)) == home.size == 2 * 2 * 3 * 1
    assert SMALL.size == (6 * 6 * 9 * 9) * (4 * 4 * 4 * 4)
    rng = random.Random(0)
    seen = Counter(home.sample(rng) for _ in range(1200))
    assert set(seen) == set(whole)
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 31.3  # chi-square, 11 degrees: 1 in 1000


def test_the_strongest_edge_of_each_branch_is_derived():
    home, rng = tiny_space(), random.Random(0)
    for _ in range(100):
        strength = {"normal": [[rng.random() for _ in range(2)] for _ in home.cells["normal"].edges]}

        def total(genotype, strength=strength):
            columns = home.columns(genotype)["normal"]
            return sum(strength["normal"][e][k] for e, k in enumerate(columns) if k is not None)

        assert home.derive(strength) == max(every(home), key=total)
    drawn = {kind: [[rng.random() for _ in edge.ops] for edge in cell.edges] for kind, cell in SMALL.cells.items()}
    sums = Sums(SMALL)
    assert sums.optimum(sums.whole(drawn), []) == SMALL.derive(drawn)


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
def test_numbers_that_are_no_architecture_are_told_so(text, message):
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
def test_what_is_no_architecture_is_told_so(change, message):
    cells = [(kind, list(choices)) for kind, choices in NAO.parse(V2).cells]
    change(cells)
    with pytest.raises(UserError) as caught:
        NAO.check(Genotype.of("nao", dict(cells)))
    assert message in str(caught.value)


def test_texts_of_other_spaces_are_not_nao_s():
    darts = "Genotype(normal=[('identity', 0), ('identity', 1)], normal_concat=[2], reduce=[], reduce_concat=[])"
    for text in (darts, "", "|identity~0|", "normal:|identity~0|identity~1| reduce:|identity~0|identity~1|"):
        with pytest.raises(UserError):
            NAO.parse(text)
    with pytest.raises(UserError, match=r"^cannot read architecture '1 1 0 1'"):
        space("nasbench201").parse("1 1 0 1")
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
def test_what_is_no_cell_is_told_so(edges, options, message):
    with pytest.raises(UserError) as caught:
        Cell(tuple(Edge(t, s, ("identity",), b) for t, s, b in edges), **options)
    assert str(caught.value) == message


def test_a_cells_groups_and_what_they_keep():
    cell = Cell.dense(4, ("identity",), inputs=2, branches=2)
    assert cell.groups() == [[0, 1], [2, 3], [4, 5, 6], [7, 8, 9]]
    assert [cell.kept(group) for group in cell.groups()] == [1, 1, 1, 1]
    for keep, kept in ((None, [2, 3]), (2, [2, 2]), (1, [1, 1])):
        cell = Cell.dense(4, ("identity",), inputs=2, keep=keep)
        assert (cell.branches, cell.groups(), [cell.kept(g) for g in cell.groups()]) == (1, [[0, 1], [2, 3, 4]], kept)


def test_the_fingerprints_of_spaces_without_branches_are_what_they_were():
    known = {
        "nasbench201": "1f760263078aaad6",
        "darts": "ba7bed7625331b44",
        "s1": "51682cb5be2f86b4",
        "s4": "bd9faea1a9089875",
    }
    assert {name: SPACES[name].fingerprint(NetworkSize(16, 2)) for name in known} == known
    one, two = (
        Cell((Edge(1, 0, ("identity",)), Edge(1, 0, ("identity",), 1)) if n else (Edge(1, 0, ("identity",)),))
        for n in (0, 1)
    )
    assert (
        len(
            {SearchSpace("x", {"normal": c}, Stack(reduce="normal")).fingerprint(NetworkSize(4, 1)) for c in (one, two)}
        )
        == 2
    )


def test_an_operation_works_if_it_lies_on_a_path_to_an_unused_node():
    cell, some = MIDDLE.cells["normal"], samples(MIDDLE, 200)
    cut = 0
    for genotype in some:
        choices = genotype["normal"]
        carrying = [c for c in choices if c.op != "none"]
        ends = unused(cell, choices)

        def ways(node, carrying=carrying, ends=ends):
            if node in ends:
                yield ()
            for c in carrying:
                if c.source == node:
                    yield from ((c, *rest) for rest in ways(c.target))

        on_paths = {c for node in (0, 1) for way in ways(node) for c in way}
        assert live_choices(MIDDLE, cell, choices) == [c for c in choices if c in on_paths]
        idle = [c for c in choices if c not in on_paths and MIDDLE.primitive(c.op).learned]
        assert is_wasteful(MIDDLE, cell, choices) == (not on_paths or bool(idle))
        cut += len(on_paths) < len(carrying)
    assert cut > 0


def test_the_agenda_decides_every_edge_and_then_every_branch():
    for home in (NAO, SMALL):
        items = [item for moment in projection_schedule(home, 0) for item in moment]
        for kind, cell in home.cells.items():
            own = [item.edges for item in items if item.kind == kind]
            assert sorted(edges for edges in own if len(edges) == 1) == [(e,) for e in range(len(cell.edges))]
            assert sorted(edges for edges in own if len(edges) > 1) == sorted(map(tuple, cell.groups()))


# --- plain networks


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


def counted(home, genotype, network_size):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Network(home, genotype, network_size).eval()
        network(torch.empty(1, network_size.channels, *network_size.image_size))
    return Cost(learnable(network), counter.get_total_flops() // 2 + network_size.classes)


@each_space
@pytest.mark.parametrize(
    "network_size", [NetworkSize(6, 1, (9, 7), 1, 3), NetworkSize(4, 1, (2, 2))], ids=["9x7", "2x2"]
)
def test_a_cost_is_a_count_of_the_built_network(home, network_size):
    prices = Prices(home, network_size)
    found = set()
    for genotype in [*samples(home, 4), *samples(home, 1)]:
        assert prices.total(genotype) == counted(home, genotype, network_size)
        found.add(prices.total(genotype))
    assert len(found) > 3


def test_a_networks_layout_is_as_wide_as_its_unused_nodes():
    network_size = NetworkSize(6, 2)
    for genotype in samples(NAO, 20):
        counts = {kind: len(unused(NAO.cells[kind], genotype[kind])) for kind in NAO.cells}
        for plain, shared in zip(NAO.layout(network_size, genotype), NAO.layout(network_size), strict=True):
            if isinstance(shared.layer, CellAt):
                assert plain.layer == shared.layer
                assert shared.output.channels == shared.layer.channels
                assert plain.output == Shape(
                    counts[shared.layer.kind] * shared.layer.channels, shared.output.height, shared.output.width
                )


def plain(network, x):
    """The logits of a network in evaluation, written down from the paper: every node sums its two branches."""
    outputs = []
    for layer in network.layers:
        if not isinstance(layer, FixedCell):
            outputs.append(layer(outputs[-1] if outputs else x))
            continue
        kind = "reduce" if layer.stride == 2 else "normal"
        choices = network.genotype[kind]
        ops = iter(layer.ops)
        nodes = [layer.inputs[0](outputs[max(0, len(outputs) - 2)]), layer.inputs[1](outputs[-1])]
        reduced = [reduce(nodes[int(number)]) for number, reduce in layer.shortened.items()]
        while len(nodes) < layer.cell.nodes:
            own = [c for c in choices if c.target == len(nodes)]
            nodes.append(sum(next(ops)(nodes[c.source]) if c.op != "none" else 0 for c in own))
        ends = unused(layer.cell, choices)
        plain_ends = [node for node in ends if layer.stride == 1 or node > 1]
        outputs.append(torch.cat([*(reduced if layer.stride == 2 else ()), *(nodes[end] for end in plain_ends)], 1))
    return outputs[-1]


def test_a_network_sums_two_branches_and_joins_what_nothing_reads():
    x = noise_batch(0, channels=3).x
    left = [{node for node in unused(NAO.cells["reduce"], g["reduce"]) if node < 2} for g in samples(NAO, 300)]
    some = [samples(NAO, 300)[left.index({node})] for node in (0, 1)]  # an input is reduced on its way to the output
    for genotype in [NAO.parse(V2), *some, *samples(NAO, 3)]:
        network = build(genotype, width=4, depth=1, image_size=(8, 8), classes=3).double()
        network(x)  # statistics that are no longer the initial ones
        torch.testing.assert_close(network.eval()(x), plain(network, x), rtol=1e-12, atol=1e-12)


def test_an_input_is_calibrated_only_where_it_differs():
    genotype = NAO.parse(V2)
    assert [len(unused(NAO.cells[kind], genotype[kind])) for kind in NAO.cells] == [4, 4]
    for layers in (build(genotype, width=4, depth=2).layers, Supernet(NAO, NetworkSize(4, 2), Norm()).layers):
        cells = [layer for layer in layers if isinstance(layer, FixedCell | MixedCell)]
        found = [[type(project).__name__ for project in cell.inputs] for cell in cells]
        near = "Identity" if isinstance(cells[0], MixedCell) else "ReLUConvBN"
        wide = "ReLUConvBN"  # from the stem, or into a reduction cell
        assert found == [
            *([wide, wide], [wide, near], [wide, wide]),
            *(["FactorizedReduce", near], [near, near], [wide, wide]),
            *(["FactorizedReduce", near], [near, near]),
        ]


def test_identity_with_a_stride_is_a_factorised_reduction_without_relu():
    op = NAO.primitive("identity").build(3, 4, 2, Norm())
    assert [type(part).__name__ for part in op] == ["TwoHalvings", "BatchNorm2d"]
    assert type(NAO.primitive("identity").build(4, 4, 1, Norm())) is nn.Identity
    op.eval()
    x = torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(op(-x), -op(x))  # linear, which ReLU is not


def swapped(genotype, node):
    """The same with the two branches of a node exchanged in every kind of cell."""
    cells = {
        kind: [(t, s, op, 1 - b if t == node else b) for t, s, op, b in choices] for kind, choices in genotype.cells
    }
    return Genotype.of(genotype.space, cells)


def test_exchanging_the_branches_of_a_node_changes_no_function():
    x = noise_batch(1, channels=3).x
    for number, genotype in enumerate(samples(NAO, 5)):
        node = 2 + number
        other = swapped(genotype, node)
        assert other != genotype
        one, two = (build(g, width=4, depth=1, image_size=(8, 8), classes=3).double() for g in (genotype, other))
        assert learnable(one) == learnable(two)
        at = 2 * (node - 2)
        names = {str(at): str(at + 1), str(at + 1): str(at)}
        state = {}
        for name, value in one.state_dict().items():
            parts = name.split(".")
            if parts[2] == "ops":
                parts[3] = names.get(parts[3], parts[3])
            state[".".join(parts)] = value
        two.load_state_dict(state)
        torch.testing.assert_close(one(x), two(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.eval()(x), two.eval()(x), rtol=1e-12, atol=1e-12)


# --- the supernet


def supernet_of(home, norm=Norm(), seed=0):  # noqa: B008
    torch.manual_seed(seed)
    supernet = Supernet(home, NetworkSize(4, 1, (8, 8), 1, 3), norm).double()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight += 0.1 * torch.randn_like(weight)
        for genotype in samples(home, 2):
            supernet(noise_batch(seed).x, supernet.only(genotype))
    return supernet


def weights(home, seed):
    g = torch.Generator().manual_seed(seed)
    shapes = {kind: (len(cell.edges), cell.columns) for kind, cell in home.cells.items()}
    return {kind: torch.rand(shape, generator=g, dtype=torch.float64) for kind, shape in shapes.items()}


def partly(home, seed):
    """A mix in which some edges run several operations and some none at all."""
    rng = random.Random(seed)
    active = {
        kind: tuple(tuple(k for k in range(len(edge.ops)) if rng.random() < 0.3) for edge in cell.edges)
        for kind, cell in home.cells.items()
    }
    return {kind: EdgeMix(value, active[kind]) for kind, value in weights(home, seed).items()}


def mixes_of(supernet):
    home = supernet.space
    paths = [supernet.only(genotype) for genotype in samples(home, 4, seed=1)]
    return [*paths, dense(weights(home, 1)), partly(home, 2), partly(home, 3)]


def by_hand(supernet, x, mix, passes=1.0):
    """The logits by the equations; where paths are dropped, what all but the plain identity give times `passes`."""
    outputs = []
    for layer, kind in zip(supernet.layers, supernet.kinds, strict=True):
        if kind is None:
            outputs.append(layer(outputs[-1] if outputs else x))
            continue
        edges, own = layer.cell.edges, mix[kind]
        run = own.active or tuple(tuple(range(len(edge.ops))) for edge in edges)
        nodes = [layer.inputs[0](outputs[max(0, len(outputs) - 2)]), layer.inputs[1](outputs[-1])]
        nodes += [torch.zeros_like(layer.inputs[1](outputs[-1])[..., :: layer.stride, :: layer.stride])] * (
            layer.cell.nodes - 2
        )
        for e, edge in enumerate(edges):
            for k in run[e]:
                if edge.ops[k] != "none":
                    op = layer.ops[e][k]
                    part = op(nodes[edge.source])
                    part = part * passes if layer.drop_path and not isinstance(op, nn.Identity) else part
                    nodes[edge.target] = nodes[edge.target] + own.weights[e, k] * part
        read = {edge.source for edge, columns in zip(edges, run, strict=True) if columns}
        ends = [node for node in range(layer.cell.nodes) if node not in read]
        total = 0
        for end in ends:  # a convolution of things side by side is the sum of theirs
            own_value = layer.shortened[str(end)](nodes[end]) if layer.stride == 2 and end < 2 else nodes[end]
            total = total + F.conv2d(F.relu(own_value), layer.join.blocks[end].weight)
        outputs.append(layer.join.norm(total))
    return outputs[-1]


@each_mode
@each_engine
def test_a_supernets_output_is_its_equations(train, engine):
    supernet, x = supernet_of(SMALL).train(train), noise_batch(1).x
    supernet.engine = engine
    for mix in mixes_of(supernet):
        torch.testing.assert_close(supernet(x, mix), by_hand(supernet, x, mix), rtol=1e-10, atol=1e-10)


@each_engine
def test_gradients_are_those_of_the_equations(engine):
    supernet, batch = supernet_of(SMALL), noise_batch(1)
    supernet.engine = engine
    for mix in [supernet.only(samples(SMALL, 1)[0]), dense(weights(SMALL, 1)), partly(SMALL, 2)]:
        gates = [own.weights.double().requires_grad_() for own in mix.values()]
        mix = {k: EdgeMix(g, own.active, own.ones) for (k, own), g in zip(mix.items(), gates, strict=True)}
        wanted_of = [*supernet.parameters()] + ([] if next(iter(mix.values())).ones else gates)
        found, wanted = (
            torch.autograd.grad(F.cross_entropy(run(batch.x, mix), batch.y), wanted_of, allow_unused=True)
            for run in (supernet, lambda x, mix: by_hand(supernet, x, mix))
        )
        assert sum(gradient is not None for gradient in found) > 20
        for a, b in zip(found, wanted, strict=True):
            missing = torch.zeros(())
            torch.testing.assert_close(
                missing if a is None else a,
                torch.zeros_like(a) if b is None and a is not None else missing if b is None else b,
                rtol=1e-9,
                atol=1e-11,
            )


@pytest.mark.parametrize("home", [NAO, SMALL], ids=lambda home: home.name)
@each_mode
def test_many_at_once_are_one_by_one(home, train):
    supernet, x = supernet_of(home).train(train), noise_batch(1).x
    mixes = mixes_of(supernet)
    found = supernet.batched(x, mixes if home is SMALL else mixes[:4])
    wanted = torch.stack([by_hand(supernet, x, mix) for mix in mixes[: len(found)]])
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-10, atol=1e-10)
    assert len({tuple(logits.flatten().tolist()) for logits in found}) == len(found)


def test_an_output_has_the_cells_channels_whatever_is_unused():
    supernet, x = supernet_of(NAO), torch.randn(2, 12, 8, 8, dtype=torch.float64)
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
    reading = NAO.cells["normal"].edges
    assert cells[0].ends(tuple((0,) if edge.source != 3 else () for edge in reading)) == (3, 6)
    assert cells[0]([x, x], mix["normal"]).shape == (2, 4, 8, 8)


def test_an_active_none_reads_its_node():
    supernet, x = supernet_of(SMALL), noise_batch(1).x
    kinds = {kind: next(n for n, k in enumerate(supernet.kinds) if k == kind) for kind in SMALL.cells}
    cell = supernet.layers[kinds["reduce"]]
    edges = SMALL.cells["reduce"].edges
    only_none = tuple((edge.ops.index("none"),) if "none" in edge.ops and edge.source == 1 else () for edge in edges)
    assert cell.ends(only_none) == (0, 2, 3)
    assert cell.ends(tuple(() for _ in edges)) == (0, 1, 2, 3)
    assert torch.isfinite(supernet(x, partly(SMALL, 4))).all()


# --- drop-path


@each_engine
def test_paths_are_dropped_for_every_operation_but_the_identity(engine, monkeypatch):
    seen = []

    def halve(x, probability):
        seen.append(probability)
        return x / 2

    monkeypatch.setattr("supernet.models.mixed_cell.drop_path", halve)
    supernet, x = supernet_of(SMALL), noise_batch(1).x
    supernet.engine = engine
    cells = [layer for layer in supernet.layers if isinstance(layer, MixedCell)]
    assert {cell.drop_path for cell in cells} == {0.0}
    for number, cell in enumerate(cells):
        cell.drop_path = number / 8  # 0 in the first, which therefore drops nothing
    for mix in mixes_of(supernet):
        torch.testing.assert_close(supernet(x, mix), by_hand(supernet, x, mix, passes=0.5), rtol=1e-10, atol=1e-10)
    assert set(seen) == {1 / 8, 2 / 8, 3 / 8, 4 / 8}
    seen.clear()
    supernet.eval()(x, mix)
    supernet.train().batched(x, [mix])
    assert not seen


def test_an_image_is_dropped_as_often_as_asked():
    home = SearchSpace("one", {"normal": Cell.dense(2, ("avg_pool_3x3",), project=True)}, Stack(reduce="normal"))
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm())
    cell = next(layer for layer in supernet.layers if isinstance(layer, MixedCell))
    cell.inputs, cell.drop_path, x = nn.ModuleList([nn.Identity()]), 0.3, torch.ones(4000, 2, 2, 2)
    torch.manual_seed(0)
    out = cell([x], supernet.only(home.sample(random.Random(0)))["normal"])
    assert set(out.unique().tolist()) == {0.0, (1 / torch.tensor(0.7)).item()}
    assert (out.amax((1, 2, 3)) == out.amin((1, 2, 3))).all()  # whole images
    assert (out[:, 0, 0, 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)


# --- limits


def test_limits_are_refused_where_a_cost_is_no_sum():
    assert not NAO.has_additive_cost
    assert space("darts").has_additive_cost
    FeasibleSet(NAO, NetworkSize(4, 1)).check()
    for limits in (Limits(max_params=10**6), Limits(max_flops=10**9), Limits(max_latency_ms=5)):
        with pytest.raises(UserError, match=r"^space 'nao' cannot be searched within limits \(at most "):
            FeasibleSet(NAO, NetworkSize(4, 1), limits).check()
    for name in ("params", "flops"):
        with pytest.raises(UserError, match=f"^the {name} expected in space 'nao' are not known"):
            Expected(FeasibleSet(NAO, NetworkSize(4, 1)), name)
