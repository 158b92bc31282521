"""`--log mlflow`: a run of the experiment "supernet", where MLFLOW_TRACKING_URI and the like say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from supernet.engine.files import read_json
from supernet.engine.folder import flat
from supernet.engine.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILE = "mlflow.json"  # in the run folder: which run of MLflow's it is
_MOST, _LONGEST = 100, 500  # parameters that MLflow takes at a time, and characters of each


class MLflow:
    """One run of MLflow's; a resumed one goes on in the same."""

    def __init__(self, run: Run) -> None:
        self.client = MlflowClient()
        if (run.path / _FILE).exists():
            self.id = read_json(run.path / _FILE)["id"]
            self.client.update_run(self.id, status="RUNNING")
        else:
            self.id = self._new(run)
        self.sent = max((int(point.value) for point in self.client.get_metric_history(self.id, "epoch")), default=0)

    def _new(self, run: Run) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "supernet")
        there = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if there is None else there.experiment_id
        made: str = self.client.create_run(experiment, run_name=run.path.name).info.run_id
        run.write(_FILE, json.dumps({"id": made}) + "\n")
        settings = [Param(key, str(value)[:_LONGEST]) for key, value in flat(run.config).items()]
        for first in range(0, len(settings), _MOST):
            self.client.log_batch(made, params=settings[first : first + _MOST])
        return made

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Add a point to each curve; `epoch` among them, as that says what was sent, comes in the same batch."""
        self.client.log_batch(self.id, [Metric(name, value, 0, epoch) for name, value in numbers.items()])

    def picture(self, name: str, figure: Figure) -> None:
        """Add a picture as an artifact."""
        self.client.log_figure(self.id, figure, f"{name}.png")

    def close(self, *, finished: bool) -> None:
        """Mark the run as finished or interrupted."""
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")
