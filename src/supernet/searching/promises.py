"""What a method or a selector of one's own promises to a search: it is checked where the search relies on it.

A promise that is not kept is told in one line, which names the class and its member, in place of an error in the code
of the package.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

from torch import Tensor

from supernet.engine.records import Added, Reported, flaw
from supernet.errors import UserError, shown
from supernet.methods import Preset
from supernet.methods.base import Method, Part, Stream
from supernet.methods.relaxation import candidate_mask
from supernet.models.mix import EdgeMix
from supernet.models.supernet import Supernet
from supernet.selectors import Preset as Selecting
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

OF_THE_SEARCH = (
    *("epoch", "valid_accuracy", "op_scores", "forward_backward", "diagnostics", "architecture", "verdict", "targets"),
    *("index", "table", "back_to", "best", "seconds"),
)
"""The names in an epoch's row of metrics that `step` and `end_epoch` leave to the search."""

OF_THE_SUMMARY = (
    *("genotype", "architecture", "params", "flops", "target", "limits", "latency", "table_entry", "forward_backward"),
    *("seconds", "margins", "verdict", "targets", "selector", "stopped", "curvature", "measured", "front"),
)
"""The names in a summary that `report` leaves to the search."""


class Promises:
    """The promises of a method or a selector, which messages call `name`; each check returns what it was given."""

    def __init__(self, preset: Preset | Selecting) -> None:
        self.name = f"{preset.kind} '{preset.name}'"
        self._to_check = ":" in preset.name  # the mix of a method of one's own, in its first step

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
        """Return what a step has returned; raises UserError unless these are scalar tensors under names of its own."""
        must = "return scalar tensors by name, as {'loss': loss}"
        if not isinstance(metrics, Mapping):
            raise self._broken("step", must, _quoted(metrics))
        for name, value in metrics.items():
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise self._broken("step", must, f"{_quoted(value)} as '{name}'")
            self._check_own("step", name, OF_THE_SEARCH)
        return metrics

    def means(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Return the means of a step's metrics; raises UserError for one that is not what the run has by its name."""
        for name, value in means.items():
            self._check_shown("step", name, value, Added)
        return means

    @contextmanager
    def first_mix(self, supernet: Supernet) -> Iterator[None]:
        """Check what the supernet gets as its mix in the first step alone; raises UserError for one it cannot run."""
        if not self._to_check:
            yield
            return
        self._to_check = False
        hook = supernet.register_forward_pre_hook(lambda supernet, given: self._check_mix(supernet.space, *given[1:2]))
        try:
            yield
        finally:
            hook.remove()

    def _check_mix(self, space: SearchSpace, mix: Any = None) -> None:
        must = "return an EdgeMix with op weights (edges, columns) for each kind of cell"
        if not isinstance(mix, Mapping) or not set(space.cells) <= set(mix):
            raise self._broken("mix", f"{must} ({', '.join(space.cells)})", _quoted(mix))
        for kind, cell in space.cells.items():
            weights, shape = getattr(mix[kind], "weights", mix[kind]), (len(cell.edges), cell.columns)
            if not isinstance(mix[kind], EdgeMix) or not isinstance(weights, Tensor):
                raise self._broken("mix", must, f"{_quoted(weights)} for '{kind}'")
            if weights.shape != shape:
                raise self._broken("mix", f"{must}, {shape} for '{kind}'", f"of {tuple(weights.shape)}")
            if weights.isnan().cpu().logical_and(candidate_mask(cell)).any():
                raise self._broken("mix", must, f"NaN for '{kind}'")

    def row(self, row: Any) -> Mapping[str, Any]:
        """Return what `end_epoch` adds to a row; raises UserError unless it is plain data under names of its own."""
        return self._plain("end_epoch", row, OF_THE_SEARCH, Added)

    def report(self, report: Any) -> Mapping[str, Any]:
        """Return what a selector adds to its summary; raises UserError unless it is plain data under its own names."""
        return self._plain("report", report, OF_THE_SUMMARY, Reported)

    def _plain(self, member: str, data: Any, taken: Collection[str], kind: Any) -> Mapping[str, Any]:
        """Return plain data under names that are not `taken`, and with the fields of `kind`, as the run is read."""
        if not isinstance(data, Mapping):
            raise self._broken(member, "return a dict of plain data", _quoted(data))
        for name, value in data.items():
            self._check_own(member, name, taken)
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                must = "return plain data: numbers, strings, lists and dicts"
                raise self._broken(member, must, f"{_quoted(value)} as '{name}'") from None
            self._check_shown(member, name, value, kind)
        return data

    def _check_shown(self, member: str, name: str, value: object, kind: Any) -> None:
        if reason := flaw(kind, {name: value}):
            must = f"return under '{name}' what the pictures and the summary of a run show"
            raise self._broken(member, must, f"{_quoted(value)} ({reason})")

    def _check_own(self, member: str, name: object, taken: Collection[str]) -> None:
        if name in taken:
            raise self._broken(member, "return names that the search does not write itself", f"'{name}'")

    def genotype(self, space: SearchSpace, genotype: Any) -> Genotype:
        """Return the architecture that a selector has chosen; raises UserError unless it is one of the space."""
        try:
            return space.check(genotype)
        except UserError as error:
            raise UserError(f"genotype of {self.name}: {error}") from None

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
        return UserError(f"{member} of {self.name} must {must}, not {found}")


def _quoted(value: object) -> str:
    return shown(repr(value))
