"""`--log wandb`: a run of Weights & Biases, where WANDB_PROJECT, WANDB_MODE and the like say."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import wandb
from PIL import Image

from supernet.engine.files import read_json
from supernet.engine.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILE = "wandb.json"  # in the run folder: which run it is there, and the last epoch that was sent


class WeightsAndBiases:
    """One run of Weights & Biases; a resumed one goes on under the same id, offline in a folder of its own."""

    def __init__(self, run: Run) -> None:
        self.run, there = run, run.path / _FILE
        before = read_json(there) if there.exists() else {"id": secrets.token_hex(4), "epoch": 0}
        self.id, self.sent = before["id"], before["epoch"]
        self.log = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "supernet"),
            id=self.id,
            name=run.path.name,
            config=run.config,
            resume="allow",
            reinit="create_new",  # a selection's run is open beside that of its search
            settings=wandb.Settings(silent=True, console="off"),
        )

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self.log.log(dict(numbers), step=epoch, commit=True)
        self.run.write(_FILE, json.dumps({"id": self.id, "epoch": epoch}) + "\n")

    def picture(self, name: str, figure: Figure) -> None:
        """Add a picture."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=200)  # of a figure wandb makes one only where pyplot is imported
        self.log.log({name: wandb.Image(Image.open(drawn))})

    def close(self, *, finished: bool) -> None:
        """Send what is left."""
        self.log.finish(exit_code=0 if finished else 1)
