"""Run: a folder that holds everything a later command needs, written so that it survives being killed anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from supernet.errors import UserError
from supernet.spaces.genotype import Genotype

FORMAT = 2
"""The version of what a run folder holds; a folder of another version is refused."""

# Bytes of the sha256 at the end of a checkpoint; torch.load ignores them, so the file stays an ordinary one.
_DIGEST = 32
# What a run writes beside its settings. Cleared in this order, a folder is never taken for a finished run.
_FILES = (
    *("summary.json", "evaluation.json", "genotype.json"),
    *("cell.svg", "search.svg", "diagnostics.svg", "training.svg", "confusion.svg"),
    *(f"{study}.{kind}" for study in ("landscape", "strength", "rank") for kind in ("json", "svg")),
    *("model.onnx", "model.pt2", "environment.json"),
)


# Written in C where PyYAML has been built so; neither runs anything that a file says.
_LOADER, _DUMPER = (getattr(yaml, f"CSafe{kind}", getattr(yaml, f"Safe{kind}")) for kind in ("Loader", "Dumper"))


class Run:
    """A run folder: `config.yaml`, `environment.json`, `metrics.jsonl`, `checkpoints/`, and, once finished,
    `genotype.json`, `summary.json` and pictures.

    `Run("runs/x")` opens one; nothing is written until something is saved.
    """  # noqa: D205

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def of(cls, run: Run | str | os.PathLike[str]) -> Run:
        """Return a run as it is, and open one that is given by its folder; raises UserError for anything else."""
        if not isinstance(run, Run | str | os.PathLike):
            raise UserError(f"run cannot be of type {type(run).__name__}: {run!r}")
        return run if isinstance(run, Run) else cls(run)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration the run was started with; empty for a new folder.

        Raises UserError if the file is damaged, or was written by another version.
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
        """One row per finished epoch; a last line that a crash has torn is none. Raises UserError if damaged."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        try:
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError as error:
            raise UserError(f"'{file}' is damaged ({error}); --force starts the run over") from None

    @property
    def summary(self) -> dict[str, Any]:
        """What the finished run found: of a search the architecture, the verdict and what is known of it.

        Of a retraining, the architecture and its accuracies.

        Raises UserError before that, and if the file is damaged.
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
        """Whether the run came to its end; raises UserError if what it found is damaged."""
        return (self.path / "summary.json").exists() and bool(self.summary)

    @property
    def genotype(self) -> Genotype:
        """The architecture that was found; raises UserError before the run has finished."""
        return Genotype.from_json(self.summary["genotype"])

    @property
    def verdict(self) -> str:
        """The verdict on the architecture, in words; raises UserError before the search has finished."""
        if "verdict" not in self.summary:
            raise UserError(f"run '{self.path}' is a retraining, which has no verdict: ask the search")
        return str(self.summary["verdict"])

    def start(self, config: Mapping[str, Any], environment: Mapping[str, Any], *, force: bool = False) -> None:
        """Make the folder for `config`, or enter it again if it holds the same run.

        `force` removes what a run has left there first, and nothing else. Raises UserError if the folder cannot be
        written, or holds another run, naming the fields that differ, or files that are no run.
        """
        try:
            known = self._config() if force else self.config
            ours = "fingerprint" in known  # of the data: no other program's config.yaml has it
            if not ours:
                self._check_empty()
            elif force:
                self._clear()
            else:
                _check_same(self.path, known, config)
            self.path.mkdir(parents=True, exist_ok=True)
            if force or not ours:  # before anything else: it makes the folder a run's
                self.write("config.yaml", yaml.dump(dict(config), Dumper=_DUMPER, sort_keys=False, allow_unicode=True))
            if not (self.path / "environment.json").exists():
                self.write("environment.json", json.dumps(environment, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"cannot write '{self.path}': {error.strerror}; give another place with --out") from None

    def _clear(self) -> None:
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in ("selections", "checkpoints"):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
        (self.path / "metrics.jsonl").unlink(missing_ok=True)  # after the checkpoints, which count its rows

    def _check_empty(self) -> None:
        left = {".config.yaml.tmp"}  # by a start that was killed
        if self.path.exists() and (not self.path.is_dir() or {file.name for file in self.path.iterdir()} - left):
            raise UserError(f"'{self.path}' exists and is not a run folder; give another place with --out")

    def write(self, name: str, text: str) -> None:
        """Write a text file into the folder, whole or not at all."""
        atomically(self.path / name, text.encode())

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one epoch's row to the metrics."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())  # so that no checkpoint counts a row that a power cut has taken

    def rewind(self, epochs: int) -> None:
        """Drop the rows after the first `epochs`, which a resumed run will write again.

        Raises UserError if the rows before are not whole: better now than at the end.
        """
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        if len(lines) > epochs:
            atomically(file, "".join(lines[:epochs]).encode())
        if len(self.metrics) != epochs:
            raise UserError(f"'{file}' lacks rows of the {epochs} epochs that are done; --force starts the run over")

    def save_checkpoint(self, state: Mapping[str, Any], *, best: bool = False) -> None:
        """Write the newest checkpoint and keep the one before it; if it is the `best` so far, write it as that, too.

        As the best first: a crash between the two goes on from before it, and so writes both again.
        """
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        data = buffer.getvalue()
        content = data + hashlib.sha256(data).digest()
        if best:
            atomically(folder / "best.pt", content)
        atomically(folder / "last.pt", content, keep=folder / "previous.pt")

    def load_checkpoint(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest undamaged checkpoint, None if there never was one.

        `say` is told if that is the one before the last. Raises UserError if all are damaged.
        """
        last, previous = (self.path / "checkpoints" / name for name in ("last.pt", "previous.pt"))
        files = [file for file in (last, previous) if file.exists()]
        for file in files:
            state = _read_checkpoint(file)
            if state is not None:
                if file != files[0]:
                    say(f"checkpoint '{last}' is damaged; going on from the one before it")
                    last.unlink()  # or the next checkpoint would push the good one out
                return state
        if files:
            raise UserError(f"every checkpoint in '{last.parent}' is damaged; --force starts the run over")
        return None

    def load_best(self) -> dict[str, Any]:
        """Return the checkpoint of the best epoch; raises UserError if there is none, or if it is damaged."""
        file = self.path / "checkpoints" / "best.pt"
        if not file.exists():
            raise UserError(f"run '{self.path}' has no best checkpoint: a retraining has one after its first epoch")
        state = _read_checkpoint(file)
        if state is None:
            raise UserError(f"checkpoint '{file}' is damaged; --force starts the run over")
        return state


def _check_same(path: Path, known: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    here, wanted = flat(known), flat(config)
    names = [name for name in here | wanted if name != "data"]  # the same images may be reached by another path
    fields = [name for name in names if here.get(name) != wanted.get(name)]
    if fields:
        told = ", ".join(f"{name} ({here.get(name)} there, {wanted.get(name)} now)" for name in fields)
        raise UserError(
            f"run folder '{path}' was made with other settings: {told}; "
            "give another place with --out, or --force to start over"
        )


def _read_checkpoint(file: Path) -> dict[str, Any] | None:
    content = file.read_bytes()
    data, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def atomically(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one and nothing between.

    With `keep`, the old content is moved there; a crash may then leave it there alone.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if keep is not None and path.exists():
        path.replace(keep)
    temporary.replace(path)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level: {"w": {"lr": 1}} -> {"w.lr": 1}."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def environment() -> dict[str, Any]:
    """Return what the numbers of a run depend on beside its settings."""
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
