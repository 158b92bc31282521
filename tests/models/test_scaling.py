"""Networks scaled to a cost: by the width, or by width and depth together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.scaling import nearest_width, scaled
from supernet.spaces import RIVALS, NetworkSize, space
from supernet.spaces.rivals import only_architecture

NB201 = space("nasbench201")
SMALL = NetworkSize(4, 1, (8, 8), 1)


@given(wanted=st.integers(1_000, 80_000))
@settings(max_examples=5)
def test_no_other_width_is_nearer(wanted: int) -> None:
    cell = NB201.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|")

    def error(width: int) -> int:
        return abs(cost(NB201, cell, NetworkSize(width, 1, (8, 8), 1)).params - wanted)

    found = nearest_width(NB201, cell, SMALL, "params", wanted)
    assert error(found.width) == min(error(width) for width in range(1, 40))


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize(("field", "wanted"), [("flops", 300_000), ("params", 20_000)])
def test_a_rival_is_scaled_to_a_cost(name: str, field: str, wanted: int) -> None:
    rival = RIVALS[name]
    genotype = only_architecture(rival)
    size = scaled(rival, genotype, SMALL, field, wanted)
    assert getattr(cost(rival, genotype, size), field) == pytest.approx(wanted, rel=0.1)
    near = [replace(size, width=size.width + step) for step in (0, -1, 1)]
    errors = [abs(getattr(cost(rival, genotype, each), field) - wanted) for each in near]
    assert min(errors) == errors[0]
    assert (size.image_size, size.channels, size.classes) == ((8, 8), 1, 10)


def test_a_rival_has_its_own_size_at_its_own_cost() -> None:
    rival = RIVALS["resnet"]
    genotype = rival.choose({"block": (0,)})
    own = NetworkSize(*rival.target, (8, 8), 1)
    assert scaled(rival, genotype, SMALL, "params", cost(rival, genotype, own).params) == own


@pytest.mark.parametrize(("times", "depth"), [(1 / 16, 1), (1 / 8, 1), (1 / 2, 2), (4, 6), (16, 12)])
def test_depth_and_width_are_scaled_together(times: float, depth: int) -> None:
    """At k times the FLOPs of ResNet-20 the depth is its three blocks times k ** 0.489, rounded."""
    rival = RIVALS["resnet-cifar"]
    genotype = rival.choose({"block": (0,)})
    own = NetworkSize(*rival.target, (32, 32), 3)
    wanted = round(times * cost(rival, genotype, own).flops)
    size = scaled(rival, genotype, own, "flops", wanted)
    assert size.depth == depth == max(1, round(3 * times**0.489))
    assert size.width / own.width == pytest.approx((times * 3 / depth) ** 0.5, rel=0.05)


def test_a_cost_below_the_smallest_network_is_refused() -> None:
    rival = RIVALS["efficientnet"]
    genotype = only_architecture(rival)
    with pytest.raises(UserError, match=r"efficientnet cannot have 500 FLOPs: on these images it has at least [\d,]+$"):
        scaled(rival, genotype, SMALL, "flops", 500)


def test_a_network_that_no_memory_holds_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.models.cost.memory.free_memory", lambda device: 2**26)
    with pytest.raises(
        UserError, match=r"^nasbench201 cannot have 1,000,000,000,000 parameters: width \d+ and depth 1 need"
    ):
        nearest_width(NB201, NB201.choose({"cell": (3,) * 6}), SMALL, "params", 10**12)
