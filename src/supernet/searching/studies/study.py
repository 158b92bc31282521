"""The frame of every study: a search opened as its last checkpoint has it, and one result as JSON and picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from supernet.data import Batch
from supernet.engine.callbacks import Callback
from supernet.engine.driving import Driving, as_planned
from supernet.engine.optim import set_rate
from supernet.engine.run import Run
from supernet.models.lookahead import Lookahead
from supernet.searching.resume import plan_of, restored
from supernet.searching.task import SearchTask
from supernet.settings import given_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


@contextmanager
def studied(
    run: Run | str | os.PathLike[str], callbacks: Sequence[Callback], **given: Any
) -> Iterator[tuple[Run, SearchTask]]:
    """Open the search in a run folder, finished or not; random draws within come from its seed.

    `callbacks` are told which images are read; `given` are arguments of `plan_of`: data, space, method, device. Raises
    UserError.
    """
    searched = Run.of(run)
    plan = plan_of(searched, **given)
    for callback in Driving(callbacks=callbacks).callbacks:
        callback.note(plan.reading)
    with as_planned(plan):
        yield searched, restored(plan, searched)


def config_given(kind: type[T], given: object) -> T:
    """Return the config of a study, which may be given as a mapping of changes to its defaults; raises UserError."""
    return given_config(kind(), given, f"config takes a {kind.__name__} or a mapping of its fields")


def write(run: Run, name: str, result: Any, figure: Figure) -> None:
    """Write a study's result, a dataclass, to NAME.json and its picture to NAME.svg in the run folder."""
    from supernet.report import plots

    run.write(f"{name}.json", json.dumps(asdict(result)) + "\n")
    plots.save(figure, run.path / f"{name}.svg")


def lookahead_of(task: SearchTask, workers: int) -> Lookahead:
    """Return lookahead by steps with the weight decay that those of the search have at its end.

    Losses are cross-entropies, also where the method has one of its own, and nothing is dropped out.
    """
    method, decay = task.method, task.method.optimizer.param_groups[0]["weight_decay"]
    method.supernet.dropout = 0.0
    for cell in method.supernet.mixed_cells:
        cell.drop_path = cell.drop_edges = 0.0
    weights = replace(method.budget.weights, weight_decay=decay)
    return Lookahead(method.supernet, weights, workers, device=task.plan.device)


def lookahead_batches(task: SearchTask, count: int, lr: float | None) -> list[Batch]:
    """Return the batches of `count` steps of a search's weights, and set the learning rate of these steps.

    None is a tenth of the search's first learning rate: at its last one the weights would hardly move.
    """
    set_rate(task.method.optimizer, task.plan.config.w.lr / 10 if lr is None else lr)
    stream = next(iter(task.streams.values()))
    return [stream.next() for _ in range(count)]
