"""Loggers: callbacks that also write a run's epochs where other programs look; each place is one small class.

Each epoch is sent once, also by a run that is resumed, and the picture of the cell at the end.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from PIL import Image

from supernet.engine.callbacks import Callback
from supernet.engine.files import read_json
from supernet.engine.folder import flat
from supernet.engine.run import Run
from supernet.errors import UserError, unknown
from supernet.spaces import recorded_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST, _LONGEST = 100, 500  # parameters that MLflow takes at a time, and characters of each


class Place:
    """A place that the epochs of one run are written to; `sent` is the last epoch that is there."""

    sent = 0

    def __init__(self, run: Run) -> None:
        self.run = run

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of an epoch, counted from 1."""

    def picture(self, name: str, figure: Figure) -> None:
        """Add a picture, where the run folder is not the place."""

    def close(self, *, finished: bool) -> None:
        """Write what is left; the run is `finished`, or interrupted."""


class CsvFile(Place):
    """The file metrics.csv, written whole after each epoch, since a later epoch may have further columns."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.rows: list[Mapping[str, float]] = []

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:  # noqa: D102
        self.rows.append(numbers)
        text = io.StringIO()
        writer = csv.DictWriter(text, dict.fromkeys(name for row in self.rows for name in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        self.run.write("metrics.csv", text.getvalue())


class TensorBoard(Place):
    """The folder tensorboard/, begun anew by each process: events that are there cannot be taken back."""

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(run)
        if (folder := run.path / "tensorboard").exists():
            shutil.rmtree(folder)
        self.writer: Any = SummaryWriter(str(folder))  # type: ignore[no-untyped-call, unused-ignore]

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:  # noqa: D102
        for name, value in numbers.items():
            self.writer.add_scalar(name.replace(".", "/"), value, epoch)
        self.writer.flush()

    def picture(self, name: str, figure: Figure) -> None:  # noqa: D102
        self.writer.add_figure(name, figure, self.sent)

    def close(self, *, finished: bool) -> None:  # noqa: D102
        self.writer.close()


class MLflow(Place):
    """A run of the experiment "supernet", where MLFLOW_TRACKING_URI says; mlflow.json in the run folder has its id."""

    def __init__(self, run: Run) -> None:
        from mlflow.tracking import MlflowClient  # type: ignore[import-not-found, unused-ignore]

        super().__init__(run)
        self.client: Any = MlflowClient()
        there = run.path / "mlflow.json"
        self.id: str = read_json(there)["id"] if there.exists() else self._new(run)
        self.client.update_run(self.id, status="RUNNING")
        self.sent = max((int(point.value) for point in self.client.get_metric_history(self.id, "epoch")), default=0)

    def _new(self, run: Run) -> str:
        from mlflow.entities import Param  # type: ignore[import-not-found, unused-ignore]

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "supernet")
        there = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if there is None else there.experiment_id
        made: str = self.client.create_run(experiment, run_name=run.path.name).info.run_id
        run.write("mlflow.json", json.dumps({"id": made}) + "\n")
        settings = [Param(key, str(value)[:_LONGEST]) for key, value in flat(run.config).items()]
        for first in range(0, len(settings), _MOST):
            self.client.log_batch(made, params=settings[first : first + _MOST])
        return made

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:  # noqa: D102
        from mlflow.entities import Metric

        self.client.log_batch(self.id, [Metric(name, value, 0, epoch) for name, value in numbers.items()])

    def picture(self, name: str, figure: Figure) -> None:  # noqa: D102
        self.client.log_figure(self.id, figure, f"{name}.png")

    def close(self, *, finished: bool) -> None:  # noqa: D102
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


class WeightsAndBiases(Place):
    """A run of Weights & Biases, where WANDB_PROJECT, WANDB_MODE and the like say.

    The file wandb.json in the run folder has its id and the last epoch that was sent.
    """

    def __init__(self, run: Run) -> None:
        import wandb  # type: ignore[import-not-found, unused-ignore]

        super().__init__(run)
        there = run.path / "wandb.json"
        before: dict[str, Any] = read_json(there) if there.exists() else {"id": secrets.token_hex(4), "epoch": 0}
        self.id, self.sent = before["id"], before["epoch"]
        self.log: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "supernet"),
            id=self.id,
            name=run.path.name,
            config=run.config,
            resume="allow",
            reinit="create_new",  # a selection's run is open beside that of its search
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.log.define_metric("*", step_metric="epoch")  # steps are W&B's own: a picture takes one, too

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:  # noqa: D102
        self.log.log({**numbers, "epoch": epoch})
        self.run.write("wandb.json", json.dumps({"id": self.id, "epoch": epoch}) + "\n")

    def picture(self, name: str, figure: Figure) -> None:  # noqa: D102
        import wandb

        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=200)  # of a figure wandb makes one only where pyplot is imported
        self.log.log({name: wandb.Image(Image.open(drawn))})

    def close(self, *, finished: bool) -> None:  # noqa: D102
        self.log.finish(exit_code=0 if finished else 1)


LOGGERS: dict[str, type[Place]] = {
    "csv": CsvFile,
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}
"""The loggers by their names, which are also those of the packages that all but csv need."""


class Logger(Callback):
    """Writes the epochs of runs to places of one kind; a selection of a search has a place of its own."""

    def __init__(self, name: str, kind: type[Place]) -> None:
        self.name, self.kind = name, kind
        self.open: list[Place] = []  # of a search, and then of its selection

    def begin(self, run: Run) -> None:  # noqa: D102
        self.open.append(self.kind(run))

    def start(self, epochs: int, steps: int, done: int) -> None:  # noqa: D102
        self._catch_up()

    def epoch(self, row: Mapping[str, Any]) -> None:  # noqa: D102
        place = self.open[-1]
        if row["epoch"] > place.sent:
            place.epoch(row["epoch"], {name: n for name, n in flat(row).items() if isinstance(n, int | float)})
            place.sent = row["epoch"]

    def end(self, run: Run) -> None:  # noqa: D102
        finished = run.finished
        try:
            if finished:
                self._catch_up()
                self.open[-1].picture("cell", _cell(run))
        finally:
            self.open.pop().close(finished=finished)

    def _catch_up(self) -> None:
        """Send the epochs that an earlier process has done and not sent."""
        for row in self.open[-1].run.metrics:
            self.epoch(row)


def loggers(names: str) -> list[Logger]:
    """Return the loggers with these names, which have commas between them; none for an empty text.

    Raises UserError for an unknown name, and for a logger whose package is not installed.
    """
    wanted = dict.fromkeys(name.strip() for name in names.split(",")) if names.strip() else {}
    for name in wanted:
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS)
        if name != "csv" and getattr(find_spec(name), "origin", None) is None:  # a folder of the name has none
            raise UserError(f"--log {name} needs the extra: pip install 'supernet[{name}]'")
    return [Logger(name, LOGGERS[name]) for name in wanted]


def _cell(run: Run) -> Figure:
    """Draw the architecture of a finished run, in a space of the user's own by its genotype alone.

    All operations of such a space look as if they learned, and the output of its cells is not drawn.
    """
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    genotype = run.genotype
    try:
        space = recorded_space(run.config["space"])
    except UserError:
        return plots.draw_cell(genotype, {choice.op for _, choices in genotype.cells for choice in choices})
    return plots.draw_architecture(space, genotype)
