"""Run: a folder with everything that a later command needs; a process killed at any time leaves it usable."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]

from supernet.engine.checkpoints import Checkpoints, write_atomically
from supernet.errors import UserError
from supernet.spaces.genotype import Genotype

FORMAT = 2
"""The version of the files in a run folder; folders of other versions are refused."""

_LONGEST = 150  # bytes of the name of a default run folder; file systems allow 255

# The files of a run beside its settings, as patterns. Removed in this order, they never look like a finished run.
_FILES = (
    *("summary.json", "evaluation*.json", "genotype.json"),
    *("cell.svg", "search.svg", "diagnostics.svg", "training.svg", "confusion*.svg"),
    *(f"{study}.{kind}" for study in ("landscape", "strength", "rank") for kind in ("json", "svg")),
    *("model*.onnx", "model*.pt2", "environment.json"),
)

# The C versions where PyYAML has them; none of them runs code from a file.
_LOADER, _DUMPER = (getattr(yaml, f"CSafe{kind}", getattr(yaml, f"Safe{kind}")) for kind in ("Loader", "Dumper"))


class Run(Checkpoints):
    """A run folder, as `Run("runs/x")`; opening one writes nothing.

    It has `config.yaml`, `environment.json`, `metrics.jsonl` and `checkpoints/`, and once the run has finished,
    `genotype.json`, `summary.json` and pictures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path) or "\0" in os.fspath(path):
            raise UserError(f"a run needs the path of a folder, not {path!r}")
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
        """The settings that the run was started with; empty for a new folder.

        Raises UserError if the file is damaged or of another version.
        """
        config = self._config()
        if "fingerprint" in config and config.get("format") != FORMAT:
            raise UserError(
                f"run '{self.path}' was made by another version of supernet (format {config.get('format', 1)}, "
                f"this version has {FORMAT}): start over with --force, or use that version"
            )
        return config

    def _config(self) -> dict[str, Any]:
        file = self.path / "config.yaml"
        if not file.exists():
            return {}
        try:
            loaded = yaml.load(file.read_text(), _LOADER)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            loaded = None
        if not isinstance(loaded, dict):
            raise UserError(f"'{file}' cannot be read as the settings of a run: remove the folder, or name another")
        return {str(name): value for name, value in loaded.items()}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, without a last line that a crash cut off; raises UserError if damaged."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        try:
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError as error:
            raise UserError(f"'{file}' is damaged ({error}); --force starts the run over") from None

    @property
    def summary(self) -> dict[str, Any]:
        """The results of the finished run.

        They are the architecture, its verdict and its entry in the table for a search, and the architecture and its
        accuracies for a retraining. Raises UserError before the run has finished, and if the file is damaged.
        """
        file = self.path / "summary.json"
        if not file.exists():
            raise UserError(f"run '{self.path}' has not finished: start it again with the same command to go on")
        try:
            loaded: dict[str, Any] = json.loads(file.read_text())
        except ValueError:
            raise UserError(f"'{file}' is damaged: remove it, and the same command writes it again") from None
        return loaded

    @property
    def finished(self) -> bool:
        """Whether the run has finished; raises UserError if its summary is damaged."""
        return (self.path / "summary.json").exists() and bool(self.summary)

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

    def start(self, config: Mapping[str, Any], environment: Mapping[str, Any], *, force: bool = False) -> None:
        """Make the folder for a run with `config`, or check that it already holds this run.

        With `force`, the files of any run there are removed first, and no others. Raises UserError if the folder cannot
        be written, holds files of no run, or holds a run with other settings, which the message names.
        """
        try:
            existing = self._config() if force else self.config
            is_run = "fingerprint" in existing  # of the data; no other program's config.yaml has one
            if not is_run:
                self._check_empty()
            elif force:
                self._clear()
            else:
                _check_same(self.path, existing, config)
            self.path.mkdir(parents=True, exist_ok=True)
            if force or not is_run:  # the first file, which makes the folder that of a run
                self.write("config.yaml", yaml.dump(dict(config), Dumper=_DUMPER, sort_keys=False, allow_unicode=True))
            if not (self.path / "environment.json").exists():
                self.write("environment.json", json.dumps(environment, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"cannot write '{self.path}': {error.strerror}; give another place with --out") from None

    def _clear(self) -> None:
        for file in [file for pattern in _FILES for file in self.path.glob(pattern)]:
            file.unlink()
        for name in ("selections", "checkpoints"):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
        (self.path / "metrics.jsonl").unlink(missing_ok=True)  # last, as a checkpoint needs its rows

    def _check_empty(self) -> None:
        left = {".config.yaml.tmp"}  # by a run that was killed at its start
        if self.path.exists() and (not self.path.is_dir() or {file.name for file in self.path.iterdir()} - left):
            raise UserError(f"'{self.path}' exists and is not a run folder; give another place with --out")

    def write(self, name: str, text: str) -> None:
        """Write a text file into the folder, atomically."""
        write_atomically(self.path / name, text.encode())

    def log(self, row: Mapping[str, Any]) -> None:
        """Append the row of an epoch to the metrics."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint of the epoch, which needs the row

    def rewind(self, epochs: int) -> None:
        """Remove the rows after the first `epochs`, which a resumed run writes again.

        Raises UserError if one of the first `epochs` rows is missing.
        """
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        if len(lines) > epochs:
            write_atomically(file, "".join(lines[:epochs]).encode())
        if len(self.metrics) != epochs:
            raise UserError(f"'{file}' lacks rows of the {epochs} epochs that are done; --force starts the run over")


def _check_same(path: Path, existing: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    there, now = flat(existing), flat(config)
    names = [name for name in there | now if name != "data"]  # the same images may have another path
    changes = [f"{n} ({there.get(n)} there, {now.get(n)} now)" for n in names if there.get(n) != now.get(n)]
    if changes:
        raise UserError(
            f"run folder '{path}' was made with other settings: {', '.join(changes)}; "
            "give another place with --out, or --force to start over"
        )


def default_folder(*names: str) -> Path:
    """Return the run folder under runs/ that is called by these names, whatever letters they have and however long.

    Names that no file could have are told apart by a checksum.
    """
    plain = "-".join(names).lower().replace(":", ".")  # of a module:Class
    name = re.sub(r"[^\w .+-]", "_", plain).lstrip(".").encode()[:_LONGEST].decode(errors="ignore")
    mark = f"-{sha256(plain.encode(errors='backslashreplace')).hexdigest()[:8]}" if name != plain else ""
    return Path("runs") / f"{name}{mark}"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, {"w": {"lr": 1}} as {"w.lr": 1}."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def environment() -> dict[str, Any]:
    """Return the versions and the hardware on which the numbers of a run depend."""
    return {
        "supernet": version("supernet"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": sys.argv,
    }
