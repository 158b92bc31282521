"""What a method of one's own promises to a search: it is checked where the search relies on it.

A promise that is not kept is told in one line, which names the method and its member, in place of an error in the code
of the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from supernet.errors import UserError, shown
from supernet.methods.base import Method, Part, Stream
from supernet.methods.relaxation import candidate_mask

OF_THE_SEARCH = (
    *("epoch", "valid_accuracy", "op_scores", "forward_backward", "diagnostics", "architecture", "verdict", "targets"),
    *("index", "table", "back_to", "best", "seconds"),
)
"""The names in an epoch's row of metrics that `end_epoch` leaves to the search."""


class Promises:
    """The promises of a method, which messages call `name`; each check returns what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def streams(self, method: Method) -> dict[str, Stream]:
        """Return the streams that the method declares; raises UserError if there are none, and for other images."""
        declared = method.streams
        if not isinstance(declared, Mapping) or not declared:
            raise self._broken("streams", "have a name and the images of each batch of a step", _quoted(declared))
        streams = {name: Stream.of(stream) for name, stream in declared.items()}
        for name, stream in streams.items():
            if stream.part not in get_args(Part):
                kinds = ", ".join(f"'{part}'" for part in get_args(Part))
                raise self._broken("streams", f"have {kinds} or a Stream for '{name}'", _quoted(stream.part))
        return streams

    def metrics(self, metrics: Any) -> Mapping[str, Tensor]:
        """Return what a step has returned; raises UserError unless these are scalar tensors by name."""
        must = "return scalar tensors by name, as {'loss': loss}"
        if not isinstance(metrics, Mapping):
            raise self._broken("step", must, _quoted(metrics))
        for name, value in metrics.items():
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise self._broken("step", must, f"{_quoted(value)} as '{name}'")
        return metrics

    def row(self, row: Any) -> Mapping[str, Any]:
        """Return what `end_epoch` adds to a row; raises UserError unless it is plain data under names of its own."""
        if not isinstance(row, Mapping):
            raise self._broken("end_epoch", "return a dict of plain data", _quoted(row))
        if taken := [name for name in row if name in OF_THE_SEARCH]:
            raise self._broken("end_epoch", "return names that no row has of itself", f"'{taken[0]}'")
        for name, value in row.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                must = "return plain data: numbers, strings, lists and dicts"
                raise self._broken("end_epoch", must, f"{_quoted(value)} as '{name}'") from None
        return row

    def op_scores(self, method: Method) -> dict[str, list[list[float]]]:
        """Return the op scores as lists; raises UserError unless they are numbers for every candidate of every cell."""
        cells, scores = method.supernet.space.cells, method.op_scores()
        must = "return a tensor (edges, columns) of numbers for each kind of cell"
        if not isinstance(scores, Mapping) or set(scores) != set(cells):
            raise self._broken("op_scores", f"{must} ({', '.join(cells)})", _quoted(scores))
        for kind, cell in cells.items():
            found, (edges, columns) = scores[kind], (len(cell.edges), cell.columns)
            if not isinstance(found, Tensor) or found.shape != (edges, columns):
                what = f"one of {tuple(found.shape)}" if isinstance(found, Tensor) else _quoted(found)
                raise self._broken("op_scores", f"{must}, ({edges}, {columns}) for '{kind}'", what)
            if found.isnan().cpu().logical_and(candidate_mask(cell)).any():
                raise self._broken("op_scores", must, f"NaN for '{kind}'")
        return {kind: scores[kind].tolist() for kind in scores}

    def finished(self, finished: Any) -> str:
        """Return why the method has finished; raises UserError unless it is text."""
        if not isinstance(finished, str):
            raise self._broken("finished", "be a clause that says why, or '' to go on", _quoted(finished))
        return finished

    def _broken(self, member: str, must: str, found: str) -> UserError:
        return UserError(f"{member} of method '{self.name}' must {must}, not {found}")


def _quoted(value: object) -> str:
    return shown(repr(value))
