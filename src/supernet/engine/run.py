"""Run: a folder with everything that a later command needs; a process killed at any time leaves it usable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from supernet.engine.checkpoints import START_OVER
from supernet.engine.files import path_given, read_json_lines, read_yaml, write_atomically
from supernet.engine.folder import Folder, flat
from supernet.engine.glance import facts, in_html, planned_epochs
from supernet.engine.processes import by_first
from supernet.engine.records import Record, RetrainingSummary, Row, SearchSummary, check, damaged, read_checked
from supernet.errors import UserError
from supernet.spaces.genotype import Genotype

FORMAT = 7
"""The version of the files in a run folder; folders of other versions are refused."""

_NAMED = 3  # run folders inside a folder that is none


class Run(Folder):
    """A run folder, as `Run("runs/x")`; opening one writes nothing and waits for nobody.

    It has `config.yaml`, `environment.json`, `metrics.jsonl` and `checkpoints/`, and once the run has finished,
    `genotype.json`, `summary.json` and pictures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_given(path, "a run needs the path of a folder")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def of(cls, run: Run | str | os.PathLike[str]) -> Run:
        """Return a run, given as a run or as the path of its folder; raises UserError for anything else."""
        if not isinstance(run, Run | str | os.PathLike):
            raise UserError(f"run cannot be of type {type(run).__name__}: {run!r}")
        return run if isinstance(run, Run) else cls(run)

    @property
    def config(self) -> dict[str, Any]:
        """The settings that the run was started with.

        Raises UserError if the folder is none of a run, and if the file is damaged or of another version.
        """
        config = self._config()
        self._check_is_run(self._task_in(config))
        return config

    def _check_is_run(self, task: str | None) -> None:
        if task is None:
            raise self.is_none()

    @property
    def inside(self) -> list[Run]:
        """The runs whose folders are in this one, as the retrainings of a search are, in the order of their names."""
        return [Run(file.parent) for file in sorted(self.path.glob("*/config.yaml"))]

    def is_none(self, of: str = "", right: str = "") -> UserError:
        """Build the error for a folder that is none of a run, or none `of` some task; `right` says what would be right.

        It names run folders inside, as those of baselines, a comparison or `runs/`: one of them may be meant.
        """
        inside = [run.path.name for run in self.inside]
        more = f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else ""
        holds = f", but holds {', '.join(inside[:_NAMED])}{more}" if inside else ""
        return UserError(f"'{self.path}' is no run folder{of and f' of {of}'}{holds}{right and f': {right}'}")

    @property
    def task(self) -> str | None:
        """The task of the run: search, select or retrain; None if the folder is none of a run.

        Raises UserError if its config.yaml is damaged or of another version.
        """
        return self._task_in(self._config())

    def _task_in(self, config: dict[str, Any]) -> str | None:
        if "fingerprint" not in config:  # of the images; no other program's config.yaml has one
            return None
        self._check_format(config)
        checked: Record = check(Record, config, self.path / "config.yaml", START_OVER)
        return checked["task"]

    @property
    def streamed(self) -> bool | None:
        """Whether the images of the run stay on the disk, None if the folder is none of a run; raises UserError."""
        return None if self.task is None else bool(self.config.get("stream"))

    def config_as(self, kind: type[Any]) -> Any:
        """Return the settings if they have the fields of `kind`, a TypedDict; raises UserError if they have not."""
        return check(kind, self.config, self.path / "config.yaml", START_OVER)

    def _check_format(self, config: Mapping[str, Any]) -> None:
        if config.get("format") != FORMAT:
            raise UserError(
                f"run '{self.path}' was made by another version of supernet (format {config.get('format', 1)}, "
                f"this version has {FORMAT}): start over with --force, or use that version"
            )

    def _config(self) -> dict[str, Any]:
        """Return what config.yaml holds, nothing for a new folder."""
        file = self.path / "config.yaml"
        if not file.exists():
            return {}
        try:
            loaded = read_yaml(file)
        except ValueError:
            loaded = None
        if not isinstance(loaded, dict):
            raise UserError(f"'{file}' cannot be read as the settings of a run: remove the folder, or name another")
        return loaded

    @property
    @by_first
    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, without a last line that a crash cut off.

        Raises UserError if the folder is none of a run, and if a row is damaged, missing, or there twice; a finished
        run has a row for each of its epochs.
        """
        if not (self.path / "metrics.jsonl").exists():
            self._check_is_run(self.task)
        done = self._done()  # before the rows are read, as the run may finish meanwhile
        rows = self._rows()
        if done is not None and len(rows) < done and done == self._done():
            raise damaged(self.path / "metrics.jsonl", f"it has rows of {len(rows)} of {done} epochs", START_OVER)
        return rows

    def _done(self) -> int | None:
        """Return how many epochs the run had when it finished; None before that, and where the files do not tell."""
        if not self.finished:
            return None
        stopped = self.summary.get("stopped")
        epochs = stopped["epoch"] if stopped else planned_epochs(self.config)
        return epochs if isinstance(epochs, int) else None

    def _rows(self) -> list[dict[str, Any]]:
        file = self.path / "metrics.jsonl"
        try:
            rows = read_json_lines(file) if file.exists() else []
        except ValueError as error:
            raise damaged(file, error, START_OVER) from None
        for number, row in enumerate(check(list[Row], rows, file, START_OVER), 1):
            if row["epoch"] != number:
                raise damaged(file, f"row {number} is of epoch {row['epoch']}", START_OVER)
        return rows

    @property
    @by_first
    def summary(self) -> dict[str, Any]:
        """The results of the finished run.

        They are the architecture, its verdict and its entry in the table for a search, and the architecture and its
        accuracies for a retraining. Raises UserError before the run has finished, and if the file is damaged.
        """
        task = self.task
        self._check_is_run(task)
        file, kind = self.path / "summary.json", RetrainingSummary if task == "retrain" else SearchSummary
        if not file.exists():
            raise UserError(f"run '{self.path}' has not finished: start it again with the same command to go on")
        advice = "remove it, and the command that made the run writes it again"
        summary: dict[str, Any] = read_checked(kind, file, advice)
        return summary

    @property
    @by_first
    def finished(self) -> bool:
        """Whether the run has finished; raises UserError if its summary is damaged."""
        return (self.path / "summary.json").exists() and bool(self.summary)

    def check_finished(self) -> None:
        """Raise UserError if the run has not finished, or if its summary is damaged."""
        _ = self.summary

    @property
    def genotype(self) -> Genotype:
        """The resulting architecture; raises UserError before the run has finished."""
        return Genotype.from_json(self.summary["genotype"])

    @property
    def verdict(self) -> str:
        """The verdict on the architecture, as text; raises UserError before the search has finished."""
        if "verdict" not in self.summary:
            raise UserError(f"run '{self.path}' is a retraining, which has no verdict: ask the search")
        return str(self.summary["verdict"])

    @property
    def facts(self) -> dict[str, str]:
        """The most important facts on the run, finished or not, as texts; raises UserError if its files are damaged."""
        return facts(self.config, self.metrics, self.summary if self.finished else None)

    def frame(self) -> Any:
        """Return the metrics as a pandas DataFrame with a row per epoch; a nested number's column is "table.c10_test".

        Raises UserError as `metrics` does, and if pandas is not installed.
        """
        try:
            import pandas as pd  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise UserError("a frame needs pandas, which is not installed: pip install pandas") from None
        rows = [flat(row) for row in self.metrics]
        epochs = pd.Index([row.pop("epoch") for row in rows], name="epoch")
        return pd.DataFrame(rows, index=epochs)

    def _repr_html_(self) -> str:
        """Return what a notebook shows of the run; one that cannot be read is shown as the reason."""
        try:
            rows = self.facts
        except UserError as error:
            rows = {"damaged": str(error)}
        return in_html(str(self.path), rows, self.path / "cell.svg")

    @by_first
    def rewind(self, epochs: int) -> None:
        """Remove the rows after the first `epochs`, which a resumed run writes again.

        Raises UserError if one of the first `epochs` rows is missing or damaged.
        """
        file = self.path / "metrics.jsonl"
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        if len(lines) > epochs:
            write_atomically(file, b"".join(lines[:epochs]))
        if len(self._rows()) != epochs:
            raise damaged(file, f"it lacks rows of the {epochs} epochs that are done", START_OVER)
