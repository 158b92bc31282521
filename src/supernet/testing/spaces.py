"""The conformance suite of a search space."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from supernet.models.network import Network
from supernet.searching.plan import Plan
from supernet.searching.search import search
from supernet.spaces import SearchSpace
from supernet.testing import checks, runs
from supernet.testing.combinations import Conformance, in_turn
from supernet.testing.methods import MethodConformance

QUICK_METHODS: Mapping[str, Mapping[str, Any]] = {
    "single-darts": {},
    "darts-2nd": {},
    "zarts-mgs": {"samples": 2, "steps": 1, "every": 4, "inner_batch": 3},
    "gdas": {},
    "rsps": {},
    "random": {},
}
"""A method of each kind, with settings that keep a search short."""


class SpaceConformance(Conformance):
    """What a search space promises: see the tests.

    - `space`: the SearchSpace. `settings`: any settings of `supernet.search`, such as the width of the supernet.
    - `side`: pixels per side of the images.
    - `methods`, `selectors`: those that search in the space, with their settings.
    """

    space: ClassVar[SearchSpace]
    settings: ClassVar[Mapping[str, Any]] = {}
    side: ClassVar[int] = 8
    methods: ClassVar[Mapping[str, Mapping[str, Any]]] = QUICK_METHODS
    selectors: ClassVar[Mapping[str, Mapping[str, Any]]] = MethodConformance.selectors

    def factors(self) -> dict[str, Sequence[Any]]:
        """Return the selectors and the methods."""
        return {"selector": list(self.selectors), "method": list(self.methods)}

    def plan(self, method: str, **changes: Any) -> Plan:
        """Plan a small search in the space."""
        settings = {**self.settings, **self.methods[method], **changes}
        return runs.small_plan(self.space, method, side=self.side, **settings)

    def test_an_architecture_is_read_as_it_is_written_and_built(self) -> None:
        """Random architectures keep their text and their columns, and are networks."""
        size = self.plan(next(iter(self.methods))).network_size
        for seed in range(5):
            genotype = self.space.sample(random.Random(seed))
            assert checks.is_of(self.space, genotype)
            assert self.space.choose(self.space.columns(genotype)) == genotype
            network = Network(self.space, genotype, size).eval()
            assert network(torch.zeros(2, 1, self.side, self.side)).shape == (2, 3)

    def test_every_method_has_a_mix_that_fits(self, method: str) -> None:
        """The mix of a method has a row per edge."""
        checks.check_mix(self.plan(method))

    @in_turn(0)
    def test_a_seed_decides_every_number(self, method: str, tmp_path: Path) -> None:
        """Two searches of one seed are equal, and one of another seed is not."""
        checks.check_repeatable(lambda seed: self.plan(method, seed=seed), tmp_path)

    @in_turn(1)
    def test_a_saved_state_goes_on_with_the_same_bits(self, method: str) -> None:
        """Whatever a step changes is in the state."""
        checks.check_saved_state(self.plan(method), 3)

    @in_turn(2)
    def test_an_interrupted_search_ends_with_the_same_bits(self, method: str, tmp_path: Path) -> None:
        """A search that is interrupted and resumed ends like one that is not."""
        checks.check_resumed(lambda: self.plan(method), tmp_path)

    @in_turn(3)
    def test_a_search_ends_with_an_architecture(self, method: str, tmp_path: Path) -> None:
        """`supernet.search` finishes, pictures included."""
        settings = {**runs.SMALL, **self.settings, **self.methods[method], "method": method}
        data = runs.small_data(side=self.side)
        run = search(data, space=self.space, out=tmp_path / "run", quiet=True, **settings)
        assert run.finished
        assert checks.is_of(self.space, run.genotype)

    @in_turn(4)
    def test_every_selector_reads_an_architecture(self, selector: str, method: str, tmp_path: Path) -> None:
        """Every selector finds an architecture, and an interrupted selection ends with the same bits."""
        plan = self.plan(method, images=12)
        _, run = runs.run_search(plan, tmp_path / "search")
        checks.check_selection((plan, run), selector, self.selectors[selector], tmp_path)
