"""Run: a folder with everything that a later command needs; a process killed at any time leaves it usable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from supernet.engine.checkpoints import START_OVER, Checkpoints
from supernet.engine.files import (
    append,
    is_temporary,
    read_json,
    read_json_lines,
    read_yaml,
    remove_temporaries,
    to_yaml,
    write_atomically,
)
from supernet.engine.lock import HOLDER, LOCK, locked
from supernet.engine.records import Record, RetrainingSummary, Row, SearchSummary, check, damaged
from supernet.errors import UserError, reason_of
from supernet.spaces.genotype import Genotype

FORMAT = 3
"""The version of the files in a run folder; folders of other versions are refused."""

# The files of a run beside its settings. Removed in this order, they never look like a finished run.
_FILES = (
    *("summary.json", "evaluation.json", "genotype.json"),
    *("cell.svg", "search.svg", "diagnostics.svg", "training.svg", "confusion.svg"),
    *(f"{study}.{kind}" for study in ("landscape", "strength", "rank") for kind in ("json", "svg")),
    *("model.onnx", "model.pt2", "environment.json"),
)


class Run(Checkpoints):
    """A run folder, as `Run("runs/x")`; opening one writes nothing and waits for nobody.

    It has `config.yaml`, `environment.json`, `metrics.jsonl` and `checkpoints/`, and once the run has finished,
    `genotype.json`, `summary.json` and pictures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

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
        self._check_is_run()
        return self._config()

    def _check_is_run(self) -> None:
        if self.task is None:
            raise UserError(f"'{self.path}' is no run folder")

    @property
    def task(self) -> str | None:
        """The task of the run: search, select or retrain; None if the folder is none of a run.

        Raises UserError if its config.yaml is damaged or of another version.
        """
        config = self._config()
        if "fingerprint" not in config:  # of the images; no other program's config.yaml has one
            return None
        self._check_format(config)
        checked: Record = check(Record, config, self.path / "config.yaml", START_OVER)
        return checked["task"]

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
    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, without a last line that a crash cut off.

        Raises UserError if the folder is none of a run, and if a row is damaged, missing, or there twice.
        """
        if not (self.path / "metrics.jsonl").exists():
            self._check_is_run()
        return self._rows()

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
    def summary(self) -> dict[str, Any]:
        """The results of the finished run.

        They are the architecture, its verdict and its entry in the table for a search, and the architecture and its
        accuracies for a retraining. Raises UserError before the run has finished, and if the file is damaged.
        """
        self._check_is_run()
        file, kind = self.path / "summary.json", RetrainingSummary if self.task == "retrain" else SearchSummary
        if not file.exists():
            raise UserError(f"run '{self.path}' has not finished: start it again with the same command to go on")
        advice = "remove it, and the command that made the run writes it again"
        try:
            summary: dict[str, Any] = check(kind, read_json(file), file, advice)
        except ValueError as error:
            raise damaged(file, error, advice) from None
        return summary

    @property
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

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Return whether the folder already holds the run with `config`, False if there is nothing in it.

        Raises UserError if it holds files of no run, or a run with other settings, which the message names.
        """
        with self._writing():
            existing = self._check_is_run_or_empty()
        if existing:
            self._check_format(existing)
            _check_same(self.path, existing, config)
        return bool(existing)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if there is none.

        Raises UserError if one is in it, if it cannot be written, and if it holds files of no run.
        """
        with ExitStack() as stack:
            with self._writing():
                self._check_is_run_or_empty()
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path))
            yield

    def start(
        self,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        *,
        force: bool = False,
        resume_anyway: bool = False,
    ) -> None:
        """Make the folder for a run with `config`, or check that it already holds this run.

        With `force`, the files of any run there are removed first, and no others; with `resume_anyway`, a new
        `environment` replaces that of the run. Raises UserError if the folder cannot be written, holds files of no run,
        or holds a run with other settings, which the message names.
        """
        with self._writing():
            new = force or not self.holds(config)
            if force and self._check_is_run_or_empty():
                self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.path / "checkpoints"):
                remove_temporaries(folder)
            if new:  # the first file, which makes the folder that of a run
                self.write("config.yaml", to_yaml(dict(config)))
                self._settings = None
            if resume_anyway or not (self.path / "environment.json").exists():
                self.write("environment.json", json.dumps(environment, indent=2) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write '{self.path}': {reason_of(error)}; give another place with --out") from None

    def _check_is_run_or_empty(self) -> dict[str, Any]:
        """Return the settings of the run in the folder, nothing for an empty one; raises UserError for any other."""
        existing = self._config()
        if "fingerprint" in existing:
            return existing
        if self.path.exists() and not (self.path.is_dir() and all(map(_is_left, self.path.iterdir()))):
            raise UserError(f"'{self.path}' exists and is not a run folder; give another place with --out")
        return {}

    def _clear(self) -> None:
        for lock in self.path.glob(f"selections/*/{LOCK}"):
            with locked(lock.parent):  # raises UserError if a selection runs in it
                pass
        for name in (*_FILES, "selections", "checkpoints", "metrics.jsonl"):  # the last, as a checkpoint needs its rows
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a text file into the folder, atomically."""
        write_atomically(self.path / name, text.encode())

    def log(self, row: Mapping[str, Any]) -> None:
        """Append the row of an epoch to the metrics, before the checkpoint of the epoch, which needs the row."""
        append(self.path / "metrics.jsonl", json.dumps(row) + "\n")

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


def _is_left(file: Path) -> bool:
    """Return whether a run that was killed at its start may have left a file in its folder."""
    return is_temporary(file) or file.name in (LOCK, HOLDER)


def _check_same(path: Path, existing: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    there, now = flat(existing), flat(config)
    names = [name for name in there | now if name != "data"]  # the same images may have another path
    changes = [f"{n} ({there.get(n)} there, {now.get(n)} now)" for n in names if there.get(n) != now.get(n)]
    if changes:
        raise UserError(
            f"run folder '{path}' was made with other settings: {', '.join(changes)}; "
            "give another place with --out, or --force to start over"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, {"w": {"lr": 1}} as {"w.lr": 1}."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves
