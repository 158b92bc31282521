"""Checkpoints of a run folder, each with a digest of its content, and files that are written atomically."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from supernet.errors import UserError

_DIGEST = 32  # bytes of the sha256 at the end of a file; torch.load ignores them


class Checkpoints:
    """The checkpoints in the folder `path`: the last one, the one before, and the best one."""

    path: Path

    def save_checkpoint(self, state: Mapping[str, Any], *, best: bool = False) -> None:
        """Write the last checkpoint, and keep the one before; with `best`, write the best one as well.

        The best one is written first. A run that is killed in between resumes before this state and writes both again.
        """
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        data = buffer.getvalue()
        content = data + hashlib.sha256(data).digest()
        if best:
            write_atomically(folder / "best.pt", content)
        write_atomically(folder / "last.pt", content, keep=folder / "previous.pt")

    def load_checkpoint(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the last undamaged checkpoint, None if there never was one.

        `say` gets a line if the last one is damaged. Raises UserError if all are.
        """
        last, previous = (self.path / "checkpoints" / name for name in ("last.pt", "previous.pt"))
        files = [file for file in (last, previous) if file.exists()]
        for file in files:
            state = _read(file)
            if state is not None:
                if file != files[0]:
                    say(f"checkpoint '{last}' is damaged; going on from the one before it")
                    last.unlink()  # otherwise the next checkpoint would replace the good one
                return state
        if files:
            raise UserError(f"every checkpoint in '{last.parent}' is damaged; --force starts the run over")
        return None

    def load_best(self) -> dict[str, Any]:
        """Return the best checkpoint; raises UserError if there is none, or if it is damaged."""
        file = self.path / "checkpoints" / "best.pt"
        if not file.exists():
            raise UserError(f"run '{self.path}' has no best checkpoint: a retraining has one after its first epoch")
        state = _read(file)
        if state is None:
            raise UserError(f"checkpoint '{file}' is damaged; --force starts the run over")
        return state


def _read(file: Path) -> dict[str, Any] | None:
    content = file.read_bytes()
    data, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def write_atomically(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Write a file so that readers, also after a crash, find either the old content or the new one.

    With `keep`, the old content is moved there first, so after a crash it may only be found there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if keep is not None and path.exists():
        path.replace(keep)
    temporary.replace(path)
