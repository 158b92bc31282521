"""CUDA graphs of a whole training step: recorded once per epoch, then replayed with one launch.

A step of a supernet consists of many small kernels, and on a GPU most of the time is spent launching them. A recorded
step needs one launch from the host for everything: forward and backward passes, clipping and both optimizers.

A recording has limitations, which are met as follows:

- Numbers on the host are constants of the recording, such as the learning rate, so every epoch is recorded anew.
- Tensors keep their addresses. Each batch is copied into the recorded one, and the metrics are always the same tensors,
  to be read before the next step.
- A recorded step must not create state that later steps use, such as momentum and what libraries allocate once. The
  first steps of an epoch are therefore run without recording; they are ordinary steps of the training.
- The GPU's random generator advances in each replay, but random draws on the host would be constants. A method whose
  step makes such draws is not `capturable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from supernet.data import Batch
from supernet.engine.lookups import Lookups

EAGER = 3  # steps of each epoch that are run before one is recorded

T = TypeVar("T")
Metrics = Mapping[str, Tensor]
Batched = Mapping[str, Batch]


class Graph(Protocol):
    """Records work and replays it."""

    def warm(self, work: Callable[[], T]) -> T:
        """Run `work` under the conditions of a recording, without recording it."""

    def capture(self, work: Callable[[], T]) -> T:
        """Record `work` without running it, in place of any earlier recording; its tensors get values in a replay."""

    def replay(self) -> None:
        """Run the recorded work."""

    def drop(self) -> None:
        """Delete the recording and free its memory."""


class RecordedStep:
    """A step, `batches -> metrics`, that is recorded after the first steps of each epoch and then replayed.

    A recorded step has the batches that the steps before it have looked up. Without a `graph` nothing is recorded, nor
    after a recording has failed, of which `say` gets a line. The next replay overwrites the metrics.
    """

    def __init__(self, step: Callable[[Batched], Metrics], graph: Graph | None, say: Callable[[str], None]) -> None:
        self._step, self._graph, self._say = step, graph, say
        self._recorded: tuple[Batched, Metrics] | None = None
        self._eager = EAGER
        self._names: list[str] = []  # of the batches that a step looks up

    def drop(self) -> None:
        """Drop the recording, if there is one, and run the next steps: another epoch has another learning rate."""
        if self._graph is not None and self._recorded is not None:
            self._graph.drop()
        self._recorded, self._eager = None, EAGER

    def __call__(self, batches: Batched) -> Metrics:
        """Run or replay a step on the batches."""
        if self._graph is None:
            return self._step(batches)
        if self._eager:
            self._eager -= 1
            looked_up = Lookups(batches)
            metrics = self._graph.warm(lambda: self._step(looked_up))
            self._names = looked_up.names
            return metrics
        if self._recorded is None:
            return self._record(self._graph, batches)
        recorded, metrics = self._recorded
        for name, copies in recorded.items():
            for target, part in zip(copies, batches[name], strict=True):
                target.copy_(part)
        self._graph.replay()
        return metrics

    def _record(self, graph: Graph, batches: Batched) -> Metrics:
        chosen = [(name, batches[name]) for name in self._names]
        copies = {name: Batch(*(part.clone() for part in batch)) for name, batch in chosen}
        try:
            metrics = graph.capture(lambda: self._step(copies))
        except Exception as error:  # an error of the step itself is raised again when the step is run below
            self._graph = None
            self._say(f"CUDA graphs cannot record this step, so no step is recorded: {_root_message(error)}")
            return self._step(batches)
        self._recorded = copies, metrics
        graph.replay()
        return metrics


def _root_message(error: BaseException) -> str:
    """Return the first line of the first error's message; ending a failed recording raises another error."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error) or type(error).__name__).splitlines()[0]


class CudaGraph:
    """A CUDA graph on a GPU; the work and the steps before it run on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None

    def warm(self, work: Callable[[], T]) -> T:
        """Run `work` on the graph's stream, after all earlier and before all later work of the current stream."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], T]) -> T:
        """Record `work`."""
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the images of a stream goes on meanwhile, which no other mode allows. The outer context
        # restores the current stream even if the recording fails.
        recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
        with torch.cuda.stream(self._stream), recording:
            result = work()
        self._graph = graph
        return result

    def replay(self) -> None:
        """Launch the recorded work on the current stream."""
        assert self._graph is not None
        self._graph.replay()

    def drop(self) -> None:
        """Delete the recording."""
        self._graph = None
