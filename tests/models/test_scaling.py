"""Networks scaled to a cost: by the width, by the depth if need be, and within 2 % or told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.scaling import TOLERANCE, nearest_width, scaled
from supernet.spaces import RIVALS, NetworkSize, space

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
    genotype = rival.choose(dict.fromkeys(rival.cells, (0,)))
    size = scaled(rival, genotype, SMALL, field, wanted)
    assert abs(getattr(cost(rival, genotype, size), field) / wanted - 1) <= TOLERANCE
    assert (size.image_size, size.channels, size.classes) == ((8, 8), 1, 10)


def test_the_own_depth_is_kept_where_the_width_suits() -> None:
    rival = RIVALS["resnet"]
    genotype = rival.choose({"block": (0,)})
    own = NetworkSize(*rival.target, (8, 8), 1)
    assert scaled(rival, genotype, SMALL, "params", cost(rival, genotype, own).params) == own
    few = scaled(rival, genotype, SMALL, "params", 100_000)  # the own depth would need a width below a quarter
    assert few.depth < own.depth


def test_a_cost_below_the_smallest_network_is_refused() -> None:
    rival = RIVALS["efficientnet"]
    genotype = rival.choose(dict.fromkeys(rival.cells, (0,)))
    with pytest.raises(UserError, match=r"efficientnet cannot have 500 FLOPs: on these images it has at least [\d,]+$"):
        scaled(rival, genotype, SMALL, "flops", 500)
