"""`--log csv`: metrics.csv in the run folder, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from supernet.engine.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CsvFile:
    """The file metrics.csv, written whole after each epoch, since a later epoch may have further columns."""

    sent = 0

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rows: list[Mapping[str, float]] = []

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Add a row."""
        self.rows.append(numbers)
        text = io.StringIO()
        writer = csv.DictWriter(text, dict.fromkeys(name for row in self.rows for name in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.run.write("metrics.csv", text.getvalue())

    def picture(self, name: str, figure: Figure) -> None:
        """Add nothing: the run folder has its pictures."""

    def close(self, *, finished: bool) -> None:
        """Leave the file as it is."""
