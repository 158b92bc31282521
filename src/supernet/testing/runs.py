"""Small searches and selections that are driven step by step, without pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from supernet.engine.callbacks import Callback
from supernet.engine.driving import conduct
from supernet.engine.run import Run
from supernet.methods.base import Method
from supernet.searching.config import config_of
from supernet.searching.plan import Plan, planned
from supernet.searching.select import SelectionPlan, SelectionTask
from supernet.searching.task import SearchTask
from supernet.selectors import SELECTORS
from supernet.selectors.base import Selector
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.testing.examples import PairDataset, state_bytes, tiny_images

SMALL: Mapping[str, Any] = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "mirror": False}


def small_data(images: int = 24, side: int = 8) -> PairDataset:
    """Return that many tiny images as a torch Dataset."""
    return PairDataset(tiny_images(images, side))


def small_plan(
    space: SearchSpace, method: str | type[Method], *, images: int = 24, side: int = 8, **given: Any
) -> Plan:
    """Plan a search of two epochs of a few steps; any setting of `supernet.search` may be given."""
    return planned(small_data(images, side), space=space, method=method, **{**SMALL, **given})


def run_search(plan: Plan, folder: Path, callback: Callback | None = None) -> tuple[SearchTask, Run]:
    """Drive a planned search to its end, or resume it; select no architecture and draw no pictures."""
    tasks: list[SearchTask] = []
    run = conduct(Run(folder), plan, SearchTask, tasks.append, callback or Callback())
    return tasks[0], run


def rows_of(run: Run) -> list[dict[str, Any]]:
    """Return the metrics of a run without the time that they took."""
    return [timeless(row) for row in run.metrics]


def timeless(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values whose names do not end in "seconds"."""
    return {name: value for name, value in values.items() if not name.endswith("seconds")}


def state_of(task: SearchTask) -> bytes:
    """Return the state of a search and of its streams of batches, as bytes."""
    streams = {name: stream.state_dict() for name, stream in task.streams.items()}
    return state_bytes({"task": task.state_dict(), "streams": streams})


def restore(task: SearchTask, state: bytes) -> None:
    """Load what `state_of` returned."""
    loaded = torch.load(io.BytesIO(state), weights_only=True)
    task.load_state_dict(loaded["task"])
    for name, stream in task.streams.items():
        stream.load_state_dict(loaded["streams"][name])


def take_steps(task: SearchTask, count: int) -> None:
    """Take `count` steps of a search on the next batches of its streams."""
    for _ in range(count):
        task.step({name: stream.next() for name, stream in task.streams.items()})


class PowerCut(Callback):
    """Ends a run by an error after `steps` steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def step(self) -> None:
        """Count a step."""
        self.steps -= 1
        if self.steps == 0:
            raise RuntimeError("power cut")


def plain(value: Any) -> Any:
    """Return nested containers of tensors as lists and numbers, so that == compares every bit."""
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


Selection = tuple[Genotype, list[dict[str, Any]], Any, Any]


def run_selection(
    search: tuple[Plan, Run],
    selector: str | type[Selector],
    settings: Mapping[str, Any],
    folder: Path,
    callback: Callback | None = None,
) -> Selection:
    """Drive a selection from a search to its end, or resume it.

    Return the architecture, the metrics, the selector's report, and the states of method and streams as plain data.
    """
    ended: list[tuple[SelectionTask, Genotype]] = []
    preset = SELECTORS.named(selector)
    plan = SelectionPlan(*search, search[0].config.epochs, 0, preset, config_of(preset, settings), search[0].seed)

    def finish(task: SelectionTask) -> None:
        ended.append((task, task.selector.genotype()))

    run = conduct(Run(folder), plan, SelectionTask, finish, callback or Callback())
    task, genotype = ended[0]
    streams = {name: stream.state_dict() for name, stream in task.streams.items()}
    report = plain(timeless(task.selector.report()))
    return genotype, rows_of(run), report, plain([task.search.method.state_dict(), streams])
