"""What the studies have in common: steps of the weights from where a search has left them."""

from __future__ import annotations

from supernet.data import Batch
from supernet.engine.optim import set_rate
from supernet.searching.task import SearchTask


def lookahead_batches(task: SearchTask, count: int, lr: float | None) -> list[Batch]:
    """Return the batches of so many steps of a search's weights, and set their learning rate.

    None is a tenth of the search's first one: by its last one the weights would hardly move.
    """
    set_rate(task.method.optimizer, task.plan.protocol.w.lr / 10 if lr is None else lr)
    stream = next(iter(task.streams.values()))
    return [stream.next() for _ in range(count)]
