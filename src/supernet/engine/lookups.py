"""Which batches of a step are looked up: a batch is drawn from its stream when its name is looked up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from supernet.data import Batch, Batches


class Lookups(Mapping[str, Batch]):
    """The batches of a step, and the `names` of those that were looked up."""

    def __init__(self, batches: Mapping[str, Batch]) -> None:
        self._batches = batches
        self.names: list[str] = []

    def __getitem__(self, name: str) -> Batch:
        batch = self._batches[name]
        if name not in self.names:
            self.names.append(name)
        return batch

    def __iter__(self) -> Iterator[str]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class Peeked(Lookups):
    """The batches of a step for one who only looks at them: the `streams` can have them back."""

    def __init__(self, batches: Mapping[str, Batch], streams: Mapping[str, Batches]) -> None:
        super().__init__(batches)
        self._streams = streams
        self._before: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> Batch:
        if name in self._streams and name not in self._before:
            self._before[name] = self._streams[name].state_dict()
        return super().__getitem__(name)

    def put_back(self, taken: Collection[str]) -> None:
        """Let every stream give again what was only looked at; the step has taken the batches whose names are given."""
        for name, state in self._before.items():
            if name not in taken:
                self._streams[name].load_state_dict(state)
