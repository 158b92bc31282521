"""Conformance suites for methods, selectors and spaces of your own, and the example spaces and images that they use.

    from supernet.testing import MethodConformance

    class TestMine(MethodConformance):
        method = MyMethod

pytest collects the inherited tests. The module needs pytest, which `supernet[dev]` installs.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError:
    raise ModuleNotFoundError("supernet.testing needs pytest: pip install 'supernet[dev]'", name="pytest") from None

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("checks", "methods", "selectors", "spaces")))

from supernet.testing.examples import (  # noqa: E402  pytest rewrites only the assertions of modules imported later
    EXAMPLE_SPACES,
    Depthwise,
    NormalReduceNormal,
    PairDataset,
    branched_space,
    macro_space,
    noise_batch,
    ragged_space,
    shortened,
    state_bytes,
    tiny_images,
    two_input_space,
)
from supernet.testing.methods import MethodConformance, MethodStateConformance  # noqa: E402
from supernet.testing.selectors import SelectorConformance  # noqa: E402
from supernet.testing.spaces import SpaceConformance  # noqa: E402

__all__ = [
    "EXAMPLE_SPACES",
    "Depthwise",
    "MethodConformance",
    "MethodStateConformance",
    "NormalReduceNormal",
    "PairDataset",
    "SelectorConformance",
    "SpaceConformance",
    "branched_space",
    "macro_space",
    "noise_batch",
    "ragged_space",
    "shortened",
    "state_bytes",
    "tiny_images",
    "two_input_space",
]
