"""A comparison while it is watched: how far it has come as text, and its page as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from supernet.engine.lock import running
from supernet.report.page import rendered
from supernet.searching.compare.comparison import Comparison, opened
from supernet.searching.compare.config import FILE
from supernet.searching.compare.page import TEMPLATE, sections, standing

_DRAWING = Lock()  # Matplotlib's settings are those of all threads


@dataclass(frozen=True)
class Watching:
    """A look at a comparison, which fulfils `supernet.report.watch.Watched`."""

    comparison: Comparison

    @property
    def goes_on(self) -> bool:
        """Whether a process works on the comparison or on one of its runs."""
        here = running(self.comparison.path) is not None
        return here or any(state.state == "running" for state in self.comparison.states)

    def text(self) -> str:
        """Return how far every run has come, and the table so far."""
        return "\n".join([*self.comparison.status(), "", self.comparison.table().rstrip()])

    def page(self) -> str:
        """Return the page of the comparison as it is now."""
        path, states = self.comparison.path, self.comparison.states
        ended = frozenset(state.job.name for state in states if state.state in ("finished", "failed"))
        with _DRAWING:
            drawn = _sections(path, (path / FILE).stat().st_mtime_ns, ended)
        return rendered(path, TEMPLATE, drawn | standing(states, self.comparison.told(states)[0]) | {"live": True})


def looked(path: str) -> Watching | None:
    """Return a look at the comparison in a folder, None if there is none; raises UserError as `opened` does."""
    found = opened(path)
    return None if found is None else Watching(found)


@lru_cache(maxsize=1)
def _sections(path: Path, written: int, ended: frozenset[str]) -> dict[str, Any]:
    """Return the sections of a page, whose figures take seconds, again only after another run has ended."""
    found = Comparison.read(path)
    return sections(found.record, found.rows, path)
