"""The conformance suite of a selector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from supernet.engine.run import Run
from supernet.methods.base import Method
from supernet.searching.plan import Plan
from supernet.searching.search import search
from supernet.selectors.base import Selector
from supernet.spaces import SearchSpace
from supernet.testing import checks, runs
from supernet.testing.combinations import Conformance, in_turn
from supernet.testing.examples import EXAMPLE_SPACES


class SelectorConformance(Conformance):
    """What a selector promises: see the tests.

    - `selector`: the class, or a name. `settings`: fields of its Config, such as those that make it quick.
    - `methods`: the methods whose searches it reads. `spaces`: the spaces of these searches.
    """

    selector: ClassVar[str | type[Selector]]
    settings: ClassVar[Mapping[str, Any]] = {}
    methods: ClassVar[Sequence[str | type[Method]]] = ("single-darts", "random", "rsps", "darts", "blank")
    spaces: ClassVar[Sequence[SearchSpace]] = EXAMPLE_SPACES

    def factors(self) -> dict[str, Sequence[Any]]:
        """Return the spaces and the methods."""
        return {"space": self.spaces, "method": self.methods}

    def searched(self, space: SearchSpace, method: str | type[Method], folder: Path) -> tuple[Plan, Run]:
        """Run a search of one step to an epoch."""
        plan = runs.small_plan(space, method, images=12)
        return plan, runs.run_search(plan, folder / "search")[1]

    @in_turn(0)
    def test_it_reads_an_architecture_and_leaves_the_search_alone(
        self, space: SearchSpace, method: str | type[Method], tmp_path: Path
    ) -> None:
        """The architecture is one of the space, and an interrupted selection ends with the same bits."""
        checks.check_selection(self.searched(space, method, tmp_path), self.selector, self.settings, tmp_path)

    @in_turn(1)
    def test_a_seed_decides_the_selection(self, space: SearchSpace, tmp_path: Path) -> None:
        """Two selections from one search are equal."""
        run = self.searched(space, self.methods[0], tmp_path)
        one, two = (runs.run_selection(run, self.selector, self.settings, tmp_path / name) for name in ("1", "2"))
        assert one == two

    @in_turn(2)
    def test_a_search_ends_with_it(self, space: SearchSpace, tmp_path: Path) -> None:
        """`supernet.search` takes the selector, and its summary has the architecture."""
        settings = {**runs.SMALL, "method": self.methods[0], "selector": self.selector, "select": self.settings}
        run = search(runs.small_data(12), space=space, out=tmp_path / "run", quiet=True, **settings)
        assert run.finished
        assert checks.is_of(space, run.genotype)
