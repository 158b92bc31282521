"""What all loggers share: each epoch is sent once, also by a run that is resumed, and the cell at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from supernet.engine.callbacks import Callback
from supernet.engine.folder import flat
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.spaces import recorded_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Place(Protocol):
    """A place that the epochs of one run are written to."""

    sent: int
    """the epochs that are there from an earlier process"""

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of an epoch, counted from 1."""

    def picture(self, name: str, figure: Figure) -> None:
        """Add a picture."""

    def close(self, *, finished: bool) -> None:
        """Write what is left; the run is `finished`, or interrupted."""


class Logger(Callback):
    """Writes the epochs of runs to places of one kind; a selection of a search has a place of its own."""

    def __init__(self, name: str, kind: Callable[[Run], Place]) -> None:
        self.name, self.kind = name, kind
        self.open: list[tuple[Run, Place]] = []  # a search, and then its selection

    def begin(self, run: Run) -> None:  # noqa: D102
        self.open.append((run, self.kind(run)))

    def start(self, epochs: int, steps: int, done: int) -> None:  # noqa: D102
        self._catch_up()

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        _, place = self.open[-1]
        if row["epoch"] > place.sent:
            place.epoch(row["epoch"], numbers(row))
            place.sent = row["epoch"]

    def end(self, run: Run) -> None:  # noqa: D102
        finished, (_, place) = run.finished, self.open[-1]
        try:
            if finished:
                self._catch_up()
                place.picture("cell", cell(run))
        finally:
            self.open.pop()
            place.close(finished=finished)

    def _catch_up(self) -> None:
        """Send the epochs that an earlier process has done and not sent."""
        for row in self.open[-1][0].metrics:
            self.epoch(row)


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in a row of metrics, nested ones as "table.c10_test"; op scores and texts are left out."""
    return {name: value for name, value in flat(row).items() if isinstance(value, int | float)}


def cell(run: Run) -> Figure:
    """Draw the architecture of a finished run; in a space of the user's own all operations look as if they learned."""
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    genotype = run.genotype
    ops = {choice.op for _, choices in genotype.cells for choice in choices}
    try:
        space = recorded_space(run.config["space"])
        ops = {op for op in ops if space.primitive(op).learned}
    except UserError:
        pass
    return plots.draw_cell(genotype, ops)
