"""The rivals have the parameters and FLOPs of the published networks, and fit images of every size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from supernet.models.cost.count import cost
from supernet.models.network import Network
from supernet.spaces import RIVALS, SPACES, NetworkSize, SearchSpace, recorded_space
from supernet.spaces.rivals import only_architecture
from supernet.spaces.shapes import CellAt

# Parameters as torchvision's models have them. FLOPs by hand from the layers' shapes, as torchvision states them in
# millions, and one per bias of the classifier.
STANDARD = {
    "resnet": ("resnet18", 11_689_512, 1814),
    "mobilenet-v2": ("mobilenet_v2", 3_504_872, 301),
    "efficientnet": ("efficientnet_b0", 5_288_548, 386),
}


def standard(space: SearchSpace, **sizes: Any) -> NetworkSize:
    return NetworkSize(*space.target, **{"image_size": (224, 224), "classes": 1000} | sizes)


@pytest.mark.parametrize("name", STANDARD)
def test_a_rival_of_the_papers_size_costs_as_much_as_torchvisions(name: str) -> None:
    space = RIVALS[name]
    found = cost(space, only_architecture(space), standard(space))
    _, params, flops = STANDARD[name]
    assert found.params == params
    assert round(found.flops / 1e6) == flops


@pytest.mark.parametrize("name", STANDARD)
def test_a_rival_computes_what_torchvisions_network_computes(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = getattr(models, STANDARD[name][0])().eval()
    ours = Network(RIVALS[name], only_architecture(RIVALS[name]), standard(RIVALS[name])).eval()
    assert sum(p.numel() for p in theirs.parameters()) == STANDARD[name][1]
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_the_resnet_of_cifar_is_resnet_20_with_two_projections() -> None:
    space = RIVALS["resnet-cifar"]
    size = NetworkSize(*space.target)
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # with batch norm
    assert cost(space, only_architecture(space), size).params == 269_722 + projections  # 0.27 M in the paper's table 6
    sides = [placed.output.height for placed in space.layout(size) if isinstance(placed.layer, CellAt)]
    assert sides == [32] * 3 + [16] * 3 + [8] * 3


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize(("image", "side"), [(8, 2), (28, 4), (32, 4), (64, 4), (96, 3), (224, 7)])
def test_the_stem_and_the_halvings_suit_the_images(name: str, image: int, side: int) -> None:
    layout = RIVALS[name].layout(standard(RIVALS[name], image_size=(image, image)))
    cells = [placed.output.height for placed in layout if isinstance(placed.layer, CellAt)]
    assert cells[-1] == side
    assert cells[0] == (min(image, 32) if image <= 64 else -(-image // (4 if name == "resnet" else 2)))


def test_blocks_are_counted_by_the_depth() -> None:
    space = RIVALS["mobilenet-v2"]
    layout = space.layout(NetworkSize(1280, 1))
    assert sum(isinstance(placed.layer, CellAt) for placed in layout) == 7
    assert sum(isinstance(placed.layer, CellAt) for placed in space.layout(NetworkSize(1280, 8))) == 2 * 17


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_a_space_of_one_architecture_that_a_run_leads_back_to(name: str) -> None:
    assert RIVALS[name].size == 1
    assert name not in SPACES
    assert recorded_space(name) is RIVALS[name]


@pytest.mark.parametrize("name", RIVALS)
def test_drop_path_keeps_the_shortcuts(name: str) -> None:
    space = RIVALS[name]
    network = Network(space, only_architecture(space), NetworkSize(space.target[0] // 8, 1, (8, 8)))
    network.drop_path = 1 - 1e-9  # all bodies with a shortcut beside them
    network.train()
    assert network(torch.randn(4, 3, 8, 8)).isfinite().all()
    network.eval()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x), network(x))
