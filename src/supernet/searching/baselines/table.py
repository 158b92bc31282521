"""The table of baselines, as Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supernet.engine.device import described
from supernet.engine.files import write_atomically
from supernet.searching.baselines.rivals import NEAR
from supernet.searching.baselines.rows import Row, Runs, rows
from supernet.searching.baselines.run import Trainings
from supernet.searching.compare.statistics import FEWEST, Spread
from supernet.searching.compare.table import in_markdown


@dataclass(frozen=True)
class Baselines:
    """What `supernet.baseline` returns: a row for each network, the found one first, if there is one.

    - `path`: the folder of all runs, with table.md, results.json and report.html.
    - `notes`: what the numbers are, and what the networks do not keep to, in sentences.
    """

    path: Path
    rows: tuple[Row, ...]
    notes: str

    def table(self) -> str:
        """Return the table as Markdown."""
        return f"{in_markdown(cells(self.rows))}\n\n{self.notes}\n"


def write(trainings: Trainings, runs: Runs) -> Baselines:
    """Write table.md and results.json into the folder, and return what they hold."""
    found = Baselines(trainings.path, rows(trainings, runs), _notes(trainings, runs))
    write_atomically(found.path / "table.md", found.table().encode())
    plain = trainings.asked.record | {"rows": list(map(_plain, found.rows)), "told": trainings.told}
    write_atomically(found.path / "results.json", (json.dumps(plain, indent=2) + "\n").encode())
    return found


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
    asked, first = trainings.asked, next(iter(next(iter(runs.values())).values()))
    config = asked.plan.config
    images = "test" if first.summary["test_accuracy"] is not None else "validation"
    told = [
        f"Accuracy: on the {images} images (%), after the last epoch, {config.epochs}, by recipe "
        f"{asked.plan.recipe}, the same for all. n: seeds. Std: sample standard deviation over the seeds.",
        "Same: as near as whole channels come, by width and depth together, of a published cell by the width.",
    ]
    if asked.like is not None:
        told.append(f"Random: an architecture of the space for each seed, of the same cost to {100 * NEAR:g} %.")
    told += [
        f"Ms: median time of one image, on {described(asked.plan.device)}.",
        "Against: the mean of the differences by seed, and its 95 % bootstrap interval; "
        f"of fewer than {FEWEST} seeds it only tells noise.",
        *(f"{text[:1].upper()}{text[1:]}." for text in trainings.told),
    ]
    return " ".join(told)
