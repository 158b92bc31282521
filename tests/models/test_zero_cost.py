"""Zero-cost scores against their definitions written out, and against the truth of the table."""

from __future__ import annotations

import random
from typing import get_args

import pytest
import torch
from torch import nn

from supernet.errors import UserError
from supernet.models.network import Network
from supernet.models.rank_metrics import combined
from supernet.models.zero_cost import Score, jacob_cov, naswot, scored_images, synflow, zero_cost
from supernet.spaces import Cell, NetworkSize, SearchSpace, space
from supernet.spaces.operations import Primitive
from supernet.spaces.shapes import CellAt, HeadAt, StemAt
from supernet.testing import EXAMPLE_SPACES, noise_batch

SIZE = NetworkSize(2, 1, (8, 8), 1, 3)
X = noise_batch(0).x.float()


class Small(nn.Module):
    """A convolution, batch norm, ReLU and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.relu, self.linear = nn.ReLU(), nn.Linear(2 * 64, 3)

    def forward(self, x):
        return self.linear(self.relu(self.norm(self.conv(x))).flatten(1))


def test_the_flow_is_that_of_absolute_weights_without_batch_norm():
    network = Small().double()
    conv, linear = network.conv.weight.detach().abs(), network.linear.weight.detach().abs()
    ones = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    inner = nn.functional.conv2d(ones, conv, padding=1).flatten(1)  # above 0, so that ReLU changes nothing
    through = (inner @ linear.T).sum()  # of the logits' sum without bias; each of both layers has it as its sum w dR/dw
    assert synflow(Small(), X) == pytest.approx(float((2 * through).log()), rel=1e-12)


def test_the_covariance_is_of_the_gradients_of_every_image():
    network = Small().eval()  # in training mode batch norm lets every image act on the others
    rows = []
    for image in X[:5]:
        image = image[None].clone().requires_grad_()
        rows.append(torch.autograd.grad(network(image).sum(), image)[0].flatten().double())
    rows = torch.stack(rows) - torch.stack(rows).mean(1, keepdim=True)
    values = torch.linalg.eigvalsh(nn.functional.normalize(rows) @ nn.functional.normalize(rows).T) + 1e-5
    assert jacob_cov(network, X[:5]) == pytest.approx(-float((values.log() + 1 / values).sum()), rel=1e-4)


def test_the_kernel_counts_units_on_which_two_images_agree():
    network = Small()
    with torch.no_grad():
        on = network.norm(network.conv(X[:4])).flatten(1) > 0
    kernel = torch.tensor([[float((one == other).sum()) for other in on] for one in on], dtype=torch.float64)
    wanted = pytest.approx(float(kernel.det().log()), rel=1e-12)
    assert naswot(network, X[:4]) == wanted
    functions = (torch.relu, nn.functional.relu6, lambda x: x.relu(), lambda x: x.relu_())
    for unit in (nn.ReLU6().forward, nn.LeakyReLU().forward, *functions):
        network.relu.forward = unit
        assert naswot(network, X[:4]) == wanted


class Plain:
    """A skeleton of a stem, a cell and a head, the first and the last without units."""

    def plan(self, width, depth, stem):
        return StemAt(width), CellAt("cell", width), HeadAt(norm=False)


def test_networks_without_relu_units_are_refused_where_all_are_such():
    linear, relu = (
        Primitive(name, lambda cin, cout, stride, norm, unit=unit: nn.Sequential(nn.Conv2d(cin, cout, 1), unit()))
        for name, unit in (("linear", nn.SiLU), ("relu", nn.ReLU))
    )
    home = SearchSpace("plain", {"cell": Cell.dense(2, ["linear", "relu"])}, Plain(), (linear, relu))
    without, with_units = (home.choose({"cell": [column]}) for column in (0, 1))
    said = "^naswot looks at ReLU units, and networks of space 'plain' have none: take synflow$"
    found = zero_cost("naswot", home, [without, with_units], SIZE, X, 0)
    assert found[0] == -1e30 < found[1]
    with pytest.raises(UserError, match=said):
        zero_cost("naswot", home, [without], SIZE, X, 0)


@pytest.mark.parametrize("home", [*EXAMPLE_SPACES, space("nao")], ids=lambda home: home.name)
@pytest.mark.parametrize("name", get_args(Score))
def test_scores_exist_in_every_space_and_follow_from_the_seed(home, name):
    genotypes = [home.sample(random.Random(number)) for number in range(3)]
    found = zero_cost(name, home, genotypes, SIZE, X, 1)
    assert len(found) == 3
    assert found == zero_cost(name, home, genotypes, SIZE, X, 1)
    assert max(found) > -1e30
    if name in ("synflow", "naswot"):
        assert found != zero_cost(name, home, genotypes, SIZE, X, 2)


def test_scores_look_at_64_images_whatever_the_batches():
    for size in (5, 30, 64, 100):
        batches = [noise_batch(number, size) for number in range(128 // size + 1)]
        found = scored_images(batches)
        assert torch.equal(found, torch.cat([batch.x for batch in batches])[:64])
    assert len(scored_images([noise_batch(0, 7)])) == 7


def test_scores_exist_for_one_image_and_for_features_of_one_pixel():
    home = EXAMPLE_SPACES[0]
    genotypes = [home.sample(random.Random(0))]
    pixel = NetworkSize(2, 1, (8, 8), 1, 3, stem=2, reductions=1)
    assert zero_cost("synflow", home, genotypes, pixel, X, 1)[0] > 0
    assert zero_cost("jacob_cov", home, genotypes, SIZE, X[:1], 1) == pytest.approx([-1], abs=1e-4)


def test_a_network_without_a_path_has_the_least_score():
    home = EXAMPLE_SPACES[0]
    none = home.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    whole = home.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|none~1|nor_conv_3x3~2|")
    for name in ("synflow", "jacob_cov"):
        least, other = zero_cost(name, home, [none, whole], SIZE, X, 0)
        assert least == -1e30
        assert other > least


def test_a_codes_context_leaves_the_network_as_it_was():
    home = EXAMPLE_SPACES[0]
    network = Network(home, home.sample(random.Random(0)), SIZE)
    before = {name: value.clone() for name, value in network.named_parameters()}
    naswot(network, X)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_two_rows_are_combined_by_their_ranks():
    assert combined([0.1, 0.2, 0.3], [5.0, 5.0, -1.0], 0.5) == [-0.5, 0.5, 0.0]
    assert combined([0.1, 0.2, 0.3], [5.0, 5.0, -1.0], 0.0) == [-2.0, 0.0, 2.0]


@pytest.mark.parametrize("score", ["jacob_cov", "naswot"])
def test_one_image_of_one_pixel_is_refused(score: Score) -> None:
    home = space("nasbench201")
    genotypes = [home.sample(random.Random(0))]
    size = NetworkSize(4, 1, (2, 2), 1, 3, stem=1)
    with pytest.raises(UserError, match="at batch size 1 and features of 1x1 pixels"):
        zero_cost(score, home, genotypes, size, torch.randn(1, 1, 2, 2), 0)
    zero_cost("synflow", home, genotypes, size, torch.randn(1, 1, 2, 2), 0)
