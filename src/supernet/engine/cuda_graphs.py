"""CUDA graphs over a whole training step: recorded once per epoch, then started with one call instead of thousands.

A step of a supernet is many small kernels, and on a GPU the time goes into starting them. A recorded step costs the
host one launch, whatever is in it: forward and backward passes, clipping, both optimizers.

What a recording holds fixed, and how that is met:

- Numbers of the host's are baked in, the learning rate among them: each epoch is recorded anew.
- Tensors stay where they are: each batch is copied to where the recorded one was, and the metrics are always the same
  tensors, to be read before the next step.
- Nothing may be made in the first step that later steps find (momentum, what libraries choose and keep): the first
  steps of an epoch are run one by one. They are steps like all others.
- Random draws of the GPU's own generator are drawn anew in each replay; draws of the host's would not be, so a method
  that makes some in its step says that it is not `capturable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from supernet.data import Batch

EAGER = 3  # steps of each epoch that are run one by one before one is recorded

T = TypeVar("T")
Metrics = Mapping[str, Tensor]
Batched = Mapping[str, Batch]


class Graph(Protocol):
    """What records work and replays it."""

    def warm(self, work: Callable[[], T]) -> T:
        """Run `work` as it will be recorded, without recording it."""

    def capture(self, work: Callable[[], T]) -> T:
        """Record `work` without running it, in place of what was recorded; its tensors have values after a replay."""

    def replay(self) -> None:
        """Run what was recorded."""

    def drop(self) -> None:
        """Give back what was recorded, and its memory."""


class RecordedStep:
    """A step, `batches -> metrics`, that is recorded after the first steps of each epoch and replayed from then on.

    Without a `graph` every step is run as it is; so are all that are left after one could not be recorded, which is
    told `say` in one line. The metrics of a replayed step are overwritten by the next one.
    """

    def __init__(self, step: Callable[[Batched], Metrics], graph: Graph | None, say: Callable[[str], None]) -> None:
        self._step, self._graph, self._say = step, graph, say
        self._recorded: tuple[Batched, Metrics] | None = None
        self._eager = EAGER

    def begin(self) -> None:
        """Forget the recording: an epoch begins, with another learning rate."""
        self._recorded, self._eager = None, EAGER
        if self._graph is not None:
            self._graph.drop()

    def __call__(self, batches: Batched) -> Metrics:
        """Take the step."""
        if self._graph is None:
            return self._step(batches)
        if self._eager:
            self._eager -= 1
            return self._graph.warm(lambda: self._step(batches))
        if self._recorded is None:
            return self._record(self._graph, batches)
        kept, metrics = self._recorded
        for name, batch in batches.items():
            for place, part in zip(kept[name], batch, strict=True):
                place.copy_(part)
        self._graph.replay()
        return metrics

    def _record(self, graph: Graph, batches: Batched) -> Metrics:
        kept = {name: Batch(*(part.clone() for part in batch)) for name, batch in batches.items()}
        try:
            metrics = graph.capture(lambda: self._step(kept))
        except Exception as error:  # of any kind: what is wrong with the step itself is raised when it is run
            self._graph = None
            self._say(f"CUDA graphs cannot record a step here, so each is run one by one: {_first(error)}")
            return self._step(batches)
        self._recorded = kept, metrics
        graph.replay()
        return metrics


def _first(error: BaseException) -> str:
    """Say in one line what failed first: the end of a failed recording raises an error of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error) or type(error).__name__).splitlines()[0]


class CudaGraph:
    """A CUDA graph on a GPU; all that it records, and the steps before, run on one stream that is not the usual one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None

    def warm(self, work: Callable[[], T]) -> T:
        """Run `work` on the stream, after what was started before and before what is started next."""
        usual = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            done = work()
        usual.wait_stream(self._stream)
        return done

    def capture(self, work: Callable[[], T]) -> T:
        """Record `work`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream), torch.cuda.graph(graph, stream=self._stream):  # the former is left always
            made = work()
        self._graph = graph
        return made

    def replay(self) -> None:
        """Start what was recorded, on the usual stream."""
        assert self._graph is not None
        self._graph.replay()

    def drop(self) -> None:
        """Give back what was recorded."""
        self._graph = None
