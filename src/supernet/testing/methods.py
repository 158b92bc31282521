"""The conformance suite of a method."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from supernet.methods import METHODS
from supernet.methods.base import Method
from supernet.searching.plan import Plan
from supernet.searching.search import search
from supernet.selectors import SELECTORS
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.testing import checks, runs
from supernet.testing.combinations import Conformance, in_turn
from supernet.testing.examples import EXAMPLE_SPACES

QUICK_SELECTORS: Mapping[str, Mapping[str, Any]] = {
    "best-of-samples": {"samples": 3},
    "evolution": {"samples": 4, "population": 2},
    "perturbation": {"tune_epochs": 1},
    "perturbation-magnitude": {"tune_epochs": 0},
    "threshold": {"threshold": 0.0},  # a short search leaves op scores near their start
}
"""Settings of the published selectors with which they select from a short search, and quickly."""


class MethodStateConformance(Conformance):
    """A method's mix fits every space, a seed decides every number, and a saved state goes on with the same bits.

    - `method`: the class, or a name.
    - `settings`: any settings of `supernet.search`, such as those that make a step of the method quick.
    - `spaces`: the spaces to search.
    - `steps_before_saving`: the steps of a search before its state is saved.
    """

    method: ClassVar[str | type[Method]]
    settings: ClassVar[Mapping[str, Any]] = {}
    spaces: ClassVar[Sequence[SearchSpace]] = EXAMPLE_SPACES
    steps_before_saving: ClassVar[int] = 3

    def factors(self) -> dict[str, Sequence[Any]]:
        """Return the spaces."""
        return {"space": self.spaces}

    def plan(self, space: SearchSpace, **changes: Any) -> Plan:
        """Plan a small search by the method."""
        return runs.small_plan(space, self.method, **{**self.settings, **changes})

    def test_parameters_are_the_supernets_and_the_mix_fits_the_space(self, space: SearchSpace) -> None:
        """The method trains the supernet's parameters alone, and its mix has a row per edge."""
        checks.check_mix(self.plan(space))

    @in_turn(0)
    def test_a_seed_decides_every_number(self, space: SearchSpace, tmp_path: Path) -> None:
        """Two searches of one seed are equal, and one of another seed is not."""
        checks.check_repeatable(lambda seed: self.plan(space, seed=seed), tmp_path)

    @in_turn(1)
    def test_a_saved_state_goes_on_with_the_same_bits(self, space: SearchSpace) -> None:
        """Whatever a step changes is in the state."""
        checks.check_saved_state(self.plan(space), self.steps_before_saving)


class MethodConformance(MethodStateConformance):
    """What a method promises: see the tests.

    - `learning`: the settings of a search that is long enough for the loss to fall, and `learning_spaces` its spaces;
      None is `spaces`. A method that trains another architecture in each step learns in few of them.
    - `selectors`: the selectors that read an architecture out of its searches, with their settings.
    - `validates`: False for a method that trains weights on the validation images, which then measure nothing.
    """

    learning: ClassVar[Mapping[str, Any]] = {}
    learning_spaces: ClassVar[Sequence[SearchSpace] | None] = None
    selectors: ClassVar[Mapping[str, Mapping[str, Any]]] = {name: QUICK_SELECTORS.get(name, {}) for name in SELECTORS}
    validates: ClassVar[bool] = True

    def factors(self) -> dict[str, Sequence[Any]]:
        """Return the selectors, the spaces, and those in which the loss is to fall."""
        return {
            "selector": list(self.selectors),
            "space": self.spaces,
            "learning_space": self.learning_spaces or self.spaces,
        }

    @in_turn(2)
    def test_an_interrupted_search_ends_with_the_same_bits(self, space: SearchSpace, tmp_path: Path) -> None:
        """A search that is interrupted and resumed ends like one that is not."""
        checks.check_resumed(lambda: self.plan(space), tmp_path)

    @in_turn(3)
    def test_the_loss_falls_and_validation_images_are_classified(
        self, learning_space: SearchSpace, tmp_path: Path
    ) -> None:
        """The loss falls below 60 %, and the accuracy on validation images rises above 60 %: chance is a third."""
        learning = {"images": 48, "epochs": 8, "width": 4, "w": {"lr": 0.1}, **self.learning}
        _, run = runs.run_search(self.plan(learning_space, **learning), tmp_path)
        first, *_, last = run.metrics
        assert last["loss"] < 0.6 * first["loss"]
        assert not self.validates or last["valid_accuracy"] > 0.6

    @in_turn(4)
    def test_a_search_leaves_a_complete_folder(self, space: SearchSpace, tmp_path: Path) -> None:
        """`supernet.search` writes every file, and returns the same run when it is called again."""
        choices: dict[str, Any] = {"space": space, "method": self.method, "out": tmp_path / "run", "quiet": True}
        choices |= {**runs.SMALL, **self.settings}
        random_state = torch.get_rng_state()
        run = search(runs.small_data(), **choices)
        assert torch.equal(torch.get_rng_state(), random_state)  # the caller's random numbers are left alone
        files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
        assert files >= {
            *("config.yaml", "environment.json", "metrics.jsonl", "genotype.json", "summary.json"),
            *("cell.svg", "search.svg", "checkpoints/last.pt", "checkpoints/previous.pt"),
        }
        assert not [name for name in files if ".tmp" in name]
        assert run.finished
        assert checks.is_of(space, run.genotype)
        assert Genotype.from_json(json.loads((run.path / "genotype.json").read_text())) == run.genotype
        last = run.summary.get("stopped", {"epoch": choices["epochs"]})["epoch"]
        assert [row["epoch"] for row in run.metrics] == list(range(1, last + 1))
        for row in run.metrics:
            self.check_row(space, row)
        assert search(runs.small_data(), **choices).metrics == run.metrics  # returned, not run again

    def check_row(self, space: SearchSpace, row: Mapping[str, Any]) -> None:
        """Check the metrics of an epoch: finite, op scores for every edge, an architecture if the method ranks any."""
        ranks = METHODS.named(self.method).load().ranks
        assert ("architecture" in row) == ranks
        assert not ranks or checks.is_of(space, space.parse(row["architecture"]))
        assert ("table" in row) == (ranks and space.table is not None)
        assert math.isfinite(row["loss"])
        assert (row["valid_accuracy"] is not None) == self.validates
        assert not self.validates or 0 <= row["valid_accuracy"] <= 1
        assert {kind: [len(e) for e in edges] for kind, edges in row["op_scores"].items()} == {
            kind: [cell.columns] * len(cell.edges) for kind, cell in space.cells.items()
        }

    @in_turn(5)
    def test_a_selector_reads_an_architecture_out_of_the_search(
        self, selector: str, space: SearchSpace, tmp_path: Path
    ) -> None:
        """Every selector finds an architecture, and an interrupted selection ends with the same bits."""
        plan = self.plan(space, images=12 if self.validates else 6)  # one step to an epoch
        task, run = runs.run_search(plan, tmp_path / "search")
        settings = self.selectors[selector]
        genotype, _, _, state = checks.check_selection((plan, run), selector, settings, tmp_path)
        if selector == "magnitude":
            scores = task.method.op_score_lists()
            checks.check_strongest(space, space.widened(scores, task.method.supernet.space), genotype)
            assert state[0] == runs.plain(task.method.state_dict())
