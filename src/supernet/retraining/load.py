"""The network of a finished retraining, read from its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from torch import Tensor

from supernet.engine.defaults import plain_torch
from supernet.engine.device import device_named
from supernet.engine.run import Run
from supernet.engine.seeds import random_state_kept
from supernet.errors import UserError, unknown
from supernet.models.network import Network
from supernet.retraining.config import RetrainRecord, recorded
from supernet.retraining.predictor import Predictor
from supernet.spaces import NetworkSize, SearchSpace, recorded_space
from supernet.spaces import space as space_named
from supernet.spaces.genotype import Genotype

Checkpoint = Literal["last", "best"]


@plain_torch()
def load(
    run: Run | str | os.PathLike[str],
    *,
    weights: Checkpoint = "last",
    space: str | SearchSpace | None = None,
    device: str = "cpu",
) -> Predictor:
    """Return the network of a finished retraining, ready to predict.

    - `run`: the retraining or its folder, or a search whose folder holds exactly one.
    - `weights`: those after the "last" epoch, or after the "best" one.
    - `space`: the architecture's, if it is one of your own.
    - `device`: "auto", "cpu", "cuda", ...

    Raises UserError if there is no such retraining, or if its network does not fit what it has learned.
    """
    found = retraining(run)
    config = recorded(found)
    home, state = _space(found, space), _state(found, weights)
    network_size = NetworkSize.from_json(config["network_size"])
    with random_state_kept():  # a new network draws weights
        network = Network(home, home.check(Genotype.from_json(config["genotype"])), network_size)
    _restore(network, found, state)
    size = _image_size(config, network_size)
    levels = (config["levels"][0], config["levels"][1]) if config["levels"] else None
    predictor = Predictor(network, config["classes"], config["mean"], config["std"], size, levels)
    return predictor.eval().to(device_named(device))


def retraining(run: Run | str | os.PathLike[str]) -> Run:
    """Return the run itself if it is a retraining, or the one retraining in its folder. Raises UserError."""
    found = Run.of(run)
    if found.task is None:
        raise found.is_none(right="give that of a retraining, or of the search it is of")
    if found.task == "retrain":
        return found
    runs = [inner for inner in found.inside if inner.task == "retrain"]
    if not runs:
        raise UserError(f"run '{found.path}' has no retrained network: supernet retrain {found.path}")
    if len(runs) > 1:
        several = ", ".join(str(inner.path) for inner in runs)
        raise UserError(f"run '{found.path}' holds several retrainings: give one of {several}")
    return runs[0]


def _image_size(config: RetrainRecord, network_size: NetworkSize) -> tuple[int, int] | None:
    """Return the height and width of the training images, of which a recipe may take crops."""
    if not config["crop"]:
        return network_size.image_size
    side = config["image_size"]
    height, width = config.get("image_sides", (side, side))
    return None if height is None or width is None else (height, width)


def _space(run: Run, given: str | SearchSpace | None) -> SearchSpace:
    return space_named(given) if given else recorded_space(run.config.get("space"))


def _state(run: Run, weights: str) -> Mapping[str, Any]:
    if weights not in get_args(Checkpoint):
        raise unknown("weights", weights, get_args(Checkpoint))
    run.check_finished()
    if weights == "best":
        return run.load_best()

    def refuse(message: str) -> None:  # the checkpoint before it is of another epoch than the summary
        raise UserError(
            f"checkpoint '{run.path / 'checkpoints' / 'last.pt'}' is damaged: take the best weights instead"
        )

    state = run.load_checkpoint(refuse)
    if state is None:
        raise UserError(f"run '{run.path}' has no checkpoint: retrain again, with --force")
    return state


def _restore(network: Network, run: Run, state: Mapping[str, Any]) -> None:
    """Load the learned weights into the network, but for those of the auxiliary head, which only training needs."""
    with run.restoring():
        learned = cast(Mapping[str, Tensor], state["task"]["network"])
        network.load_state_dict({name: value for name, value in learned.items() if not name.startswith("auxiliary.")})
