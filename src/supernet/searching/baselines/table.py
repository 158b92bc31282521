"""The table of baselines, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from supernet.engine.device import described
from supernet.engine.files import read_json, write_atomically
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.scaling import UNITS
from supernet.retraining.plan import RetrainingPlan
from supernet.retraining.recipes import OF_IMAGES, Recipe
from supernet.searching.baselines.rivals import NEAR, OF_SPACE
from supernet.searching.baselines.rows import Row, Runs, row_of
from supernet.searching.baselines.rows import rows as rows_of
from supernet.searching.baselines.run import Trainings
from supernet.searching.compare.statistics import FEWEST, Spread
from supernet.searching.compare.table import in_markdown

RESULTS = "results.json"
_IN_TABLE = ("epochs", "width", "depth")  # or beside it


@dataclass(frozen=True)
class Baselines:
    """What `supernet.baseline` returns: a row for each network, the found one first, if there is one.

    - `path`: the folder of all runs, with table.md, results.json and report.html.
    - `notes`: what the numbers are, and what the networks do not keep to, in sentences.
    - `asked`: what was asked for, by name: the data, like, the costs, recipe, epochs, seeds and the settings that
      are not the recipe's.
    - `count`: as many trainings as were asked for, and are there from before.
    """

    path: Path
    rows: tuple[Row, ...]
    notes: str
    asked: Mapping[str, str]
    count: int

    @property
    def training(self) -> Run | None:
        """A training in the folder; None if RUN had all of them."""
        return next((Run(file.parent) for file in sorted(self.path.glob("*/summary.json"))), None)

    def table(self) -> str:
        """Return the table as Markdown."""
        return f"{in_markdown(cells(self.rows))}\n\n{self.notes}\n"


def write(trainings: Trainings, runs: Runs, count: int) -> Baselines:
    """Write table.md and results.json into the folder, and return what they hold; `count` is of all trainings."""
    asked = trainings.asked
    found = Baselines(trainings.path, rows_of(trainings, runs), _notes(trainings, runs), _asked(trainings), count)
    write_atomically(found.path / "table.md", found.table().encode())
    own = {"asked": found.asked, "count": count, "rows": list(map(_plain, found.rows)), "notes": found.notes}
    plain = asked.record | own | {"told": trainings.told}
    write_atomically(found.path / RESULTS, (json.dumps(plain, indent=2) + "\n").encode())
    return found


def read(path: Path) -> Baselines:
    """Return what `write` has written into the folder; raises UserError if there is nothing yet, or it is damaged."""
    file = path / RESULTS
    if not file.exists():
        raise UserError(f"no training of the baselines in '{path}' has finished yet")
    try:
        plain = read_json(file)
        asked = {str(name): str(value) for name, value in plain["asked"].items()}
        rows = tuple(map(row_of, plain["rows"]))
        return Baselines(path, rows, str(plain["notes"]), asked, int(plain["count"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        again = "the same supernet baseline again writes it anew"
        raise UserError(f"'{file}' is damaged, or of another version: {again}") from None


def _asked(trainings: Trainings) -> dict[str, str]:
    """Return what was asked for, by name, as text."""
    asked, plan = trainings.asked, trainings.asked.plan
    like = {} if asked.like is None else {"like": str(asked.like)}
    costs = {UNITS[name]: f"{wanted:,}" for name, wanted in asked.budget.items()}
    how = {"recipe": plan.recipe, "epochs": str(plan.config.epochs), "seeds": ", ".join(map(str, asked.seeds))}
    own = {"settings": ", ".join(others)} if (others := _not_of_recipe(plan)) else {}
    return {"data": plan.images.name} | like | costs | how | own


def _not_of_recipe(plan: RetrainingPlan) -> list[str]:
    """Return the settings of all networks that are not the recipe's, without those that images and sizes decide."""
    names = {entry.name for entry in fields(Recipe)} - {*OF_IMAGES, *_IN_TABLE}
    return [f"{name} {value}" for name, value in plan.own.items() if name.partition(".")[0] in names]


def _plain(row: Row) -> dict[str, Any]:
    means = {"params": row.params, "flops": row.flops}
    words = {} if row.difference is None else {"difference": asdict(row.difference) | {"words": row.difference.words}}
    return asdict(row) | means | words


def cells(rows: tuple[Row, ...]) -> list[list[str]]:
    """Return the lines of the table, its head first, each with its cells."""
    head = ["network", "n", "width", "depth", "M parameters", "M FLOPs", "ms", "accuracy, mean ± std"]
    lines = [[*head, f"against {rows[0].label}"]]
    for row in rows:
        spread = Spread.of(list(row.accuracies.values()))
        sizes = [str(row.width), str(row.depth), f"{row.params / 1e6:.4f}", f"{row.flops / 1e6:.3f}"]
        against = str(row.difference or "")
        lines.append([row.label, str(len(row.results)), *sizes, f"{row.ms:.3g}", str(spread), against])
    return lines


def _notes(trainings: Trainings, runs: Runs) -> str:
    """Return what the numbers are, in sentences."""
    asked, first = trainings.asked, next(run for by_seed in runs.values() for run in by_seed.values())
    config = asked.plan.config
    images = "test" if first.summary["test_accuracy"] is not None else "validation"
    told = [
        f"Accuracy: on the {images} images (%), after the last epoch, {config.epochs}, by recipe "
        f"{asked.plan.recipe}, the same for all. n: seeds. Std: sample standard deviation over the seeds.",
        *_kinds(trainings, runs),
        f"Ms: median time of one image, the mean over the seeds, on {described(asked.plan.device)}.",
        "Against: the mean of the differences by seed, and its 95 % interval by Student's t; "
        f"of fewer than {FEWEST} seeds it only tells noise.",
        *(f"{text[:1].upper()}{text[1:]}." for text in trainings.told),
    ]
    return " ".join(told)


def _kinds(trainings: Trainings, runs: Runs) -> list[str]:
    """Return a sentence on each kind of network in the table that was made to have a cost."""
    there = {rival.folder: rival for rival in trainings.rivals if runs[rival.label]}
    found = list[str]()
    if there.keys() - {"found", *OF_SPACE}:
        found.append(
            "Same: as near as whole channels come, by width and depth together, of a published cell by the width."
        )
    if "random" in there:
        near = "" if there["random"].told else f", of the same cost to {100 * NEAR:g} %"
        found.append(f"Random: an architecture of the space for each seed{near}.")
    return found
