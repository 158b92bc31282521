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
from omegaconf import OmegaConf

from supernet.errors import UserError
from supernet.genotype import Genotype

_DIGEST = (
    32  # bytes of the sha256 at the end of a checkpoint; torch.load ignores them, so the file stays an ordinary one
)


class Run:
    """A run folder: `config.yaml`, `environment.json`, `metrics.jsonl`, `checkpoints/`, and, once finished,
    `genotype.json`, `summary.json` and pictures.

    `Run("runs/x")` opens one; nothing is written until something is saved.
    """  # noqa: D205

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings the run was started with; empty for a new folder."""
        file = self.path / "config.yaml"
        if not file.exists():
            return {}
        loaded: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(file))  # type: ignore[assignment]
        return loaded

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch."""
        file = self.path / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def summary(self) -> dict[str, Any]:
        """What the finished search found: architecture, verdict, what is known of it; raises UserError before that."""
        file = self.path / "summary.json"
        if not file.exists():
            raise UserError(f"run '{self.path}' has not finished: start it again with the same command to go on")
        loaded: dict[str, Any] = json.loads(file.read_text())
        return loaded

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "summary.json").exists()

    @property
    def genotype(self) -> Genotype:
        """The architecture that was found; raises UserError before the run has finished."""
        return Genotype.from_json(self.summary["genotype"])

    @property
    def verdict(self) -> str:
        """The verdict on the architecture, in words; raises UserError before the run has finished."""
        return str(self.summary["verdict"])

    def start(self, config: Mapping[str, Any], environment: Mapping[str, Any], *, force: bool = False) -> None:
        """Make the folder for `config`, or enter it again if it holds the same run.

        `force` clears it first. Raises UserError if the folder holds another run, naming the fields that differ, or
        files that are no run.
        """
        if force and self.config:
            shutil.rmtree(self.path)
        if self.config:
            self._same(config)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(f"'{self.path}' exists and is not a run folder; give another place with --out")
        self.path.mkdir(parents=True, exist_ok=True)
        self.write("environment.json", json.dumps(environment, indent=2) + "\n")
        self.write("config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def _same(self, config: Mapping[str, Any]) -> None:
        here, wanted = flat(self.config), flat(config)
        names = [name for name in here | wanted if name != "source"]  # the same data may be reached by another path
        fields = [name for name in names if here.get(name) != wanted.get(name)]
        if fields:
            told = ", ".join(f"{name} ({here.get(name)} there, {wanted.get(name)} now)" for name in fields)
            raise UserError(
                f"run folder '{self.path}' was made with other settings: {told}; "
                "give another place with --out, or --force to start over"
            )

    def write(self, name: str, text: str) -> None:
        """Write a text file into the folder, whole or not at all."""
        atomically(self.path / name, text.encode())

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one epoch's row to the metrics."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, epochs: int) -> None:
        """Drop the rows after the first `epochs`: those a resumed run will write again."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        if len(lines) > epochs:
            atomically(file, "".join(lines[:epochs]).encode())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write the newest checkpoint and keep the one before it."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        data = buffer.getvalue()
        last = folder / "last.pt"
        if last.exists():
            last.replace(folder / "previous.pt")
        atomically(last, data + hashlib.sha256(data).digest())

    def load_checkpoint(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the newest undamaged checkpoint, None if there never was one.

        `say` is told of each damaged one. Raises UserError if all are damaged.
        """
        files = [self.path / "checkpoints" / name for name in ("last.pt", "previous.pt")]
        files = [file for file in files if file.exists()]
        for file in files:
            state = _read_checkpoint(file)
            if state is not None:
                return state
            say(f"warning: checkpoint '{file}' is damaged and was passed over")
        if files:
            raise UserError(f"every checkpoint in '{files[0].parent}' is damaged; --force starts the run over")
        return None


def _read_checkpoint(file: Path) -> dict[str, Any] | None:
    content = file.read_bytes()
    data, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
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
