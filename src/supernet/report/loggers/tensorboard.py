"""`--log tensorboard`: event files in the run folder; `tensorboard --logdir runs` shows all runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter  # needs tensorboard

from supernet.engine.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TensorBoard:
    """The folder tensorboard/, begun anew by each process: events that are there cannot be taken back."""

    sent = 0

    def __init__(self, run: Run) -> None:
        self.folder, self.last = run.path / "tensorboard", 0
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.writer = SummaryWriter(str(self.folder))  # type: ignore[no-untyped-call]

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in numbers.items():
            self.writer.add_scalar(name.replace(".", "/"), value, epoch)  # type: ignore[no-untyped-call]
        self.writer.flush()  # type: ignore[no-untyped-call]
        self.last = epoch

    def picture(self, name: str, figure: Figure) -> None:
        """Add a picture."""
        self.writer.add_figure(name, figure, self.last)  # type: ignore[no-untyped-call]

    def close(self, *, finished: bool) -> None:
        """Write what is left."""
        self.writer.close()  # type: ignore[no-untyped-call]
