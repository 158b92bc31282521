"""`supernet.runs`: the runs below a folder, as a list that shows itself as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape

from supernet.engine.files import path_given
from supernet.engine.run import Run
from supernet.errors import UserError, visible

_COLUMNS = ("run", "task", "data", "space", "by", "seed", "epochs", "accuracy", "verdict")


class Runs(list[Run]):
    """A list of runs, whose text is a table with a line per run; a run that cannot be read has the reason instead."""

    def __repr__(self) -> str:
        rows = [_COLUMNS, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        body = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row)}</tr>" for row in self._rows())
        return f"<table><tr>{head}</tr>{body}</table>"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for run in self:
            try:
                found = run.facts
            except UserError as error:
                found = {"verdict": str(error)}
            found |= {"run": str(run.path), "accuracy": found.get("accuracy", "").partition(" on")[0]}
            if run.path.joinpath("summary.json").exists():
                found["verdict"] = found.get("verdict", "").partition(":")[0]
            yield tuple(visible(found.get(name, "")) for name in _COLUMNS)


def runs(folder: str | os.PathLike[str] = "runs") -> Runs:
    """Return all runs in a folder and below it, by their names: searches, selections and retrainings, finished or not.

    Raises UserError if there is no such folder.
    """
    root = path_given(folder, "runs are looked for in the path of a folder")
    if not root.is_dir():
        raise UserError(f"no such folder: '{folder}'")
    return Runs(run for file in sorted(root.rglob("config.yaml")) if _is_run(run := Run(file.parent)))


def _is_run(run: Run) -> bool:
    try:
        return run.task is not None
    except UserError:  # of a run whose settings are damaged, or of another version
        return True
