"""Checkpoints of a run folder, each with a digest of its content and of the settings that it belongs to."""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from supernet.engine.files import write_atomically
from supernet.engine.memory import is_shortage
from supernet.engine.processes import by_first
from supernet.errors import UserError, reason_of

START_OVER = "remove the folder, and the command that made the run starts it over"

_SETTINGS = "settings"  # the entry of a state with the digest of config.yaml
_DIGEST = 32  # bytes of the sha256 at the end of a file; torch.load ignores them


class Checkpoints:
    """The checkpoints in the folder `path`: the last one, the one before, the best one, and the named snapshots."""

    path: Path
    _settings: str | None = None  # the digest of config.yaml, once a checkpoint was written

    def _config(self) -> dict[str, Any]:
        raise NotImplementedError

    @by_first
    def save_checkpoint(self, state: Mapping[str, Any], *, best: bool = False) -> None:
        """Write the last checkpoint, and keep the one before; with `best`, write the best one as well.

        The best one is written first. A run that is killed in between resumes before this state and writes both again.
        """
        content, folder = self._content(state), self._checkpoints()
        if best:
            write_atomically(folder / "best.pt", content)
        write_atomically(folder / "last.pt", content, keep=folder / "previous.pt")

    @by_first
    def save_snapshot(self, name: str, epoch: int, state: Mapping[str, Any]) -> None:
        """Write the snapshot `name` of a state after `epoch` epochs, before the checkpoint that mentions it."""
        write_atomically(self._checkpoints() / _snapshot(name, epoch), self._content(state))

    @by_first
    def load_snapshot(self, name: str, epoch: int) -> dict[str, Any]:
        """Return a snapshot; raises UserError if it is missing or damaged, and if the settings have changed."""
        file = self.path / "checkpoints" / _snapshot(name, epoch)
        state = _read(file)
        if state is None:
            raise UserError(f"snapshot '{file}' is missing or damaged: {START_OVER}")
        return self._own(state)

    @by_first
    def keep_snapshots(self, *kept: Mapping[str, int]) -> None:
        """Remove all snapshots but those `kept`, the epochs by name."""
        names = {_snapshot(name, epoch) for epochs in kept for name, epoch in epochs.items()}
        for file in (self.path / "checkpoints").glob(_snapshot("*", "*")):
            if file.name not in names:
                file.unlink(missing_ok=True)

    def _checkpoints(self) -> Path:
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder

    def _content(self, state: Mapping[str, Any]) -> bytes:
        for place, value in _leaves(state):
            if not _comes_back(value):
                raise UserError(
                    f"a state has a {type(value).__name__} {place}, which a checkpoint would not give back: "
                    "state_dict() returns tensors, numbers, strings, lists and dicts"
                )
        self._settings = self._settings or self._digest()
        buffer = io.BytesIO()
        torch.save({**state, _SETTINGS: self._settings}, buffer)
        data = buffer.getvalue()
        return data + hashlib.sha256(data).digest()

    @by_first
    def load_checkpoint(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the last undamaged checkpoint for a run that goes on, None if there never was one.

        `say` gets a line if the last one is damaged, and then the file is removed. Raises UserError if all are, and if
        the settings of the run have changed.
        """
        file, state = self._newest()
        last = self.path / "checkpoints" / "last.pt"
        if file is not None and file != last and last.exists():
            say(f"checkpoint '{last}' is damaged; going on from the one before it")
            last.unlink()  # otherwise the next checkpoint would replace the good one
        return state

    @by_first
    def read_checkpoint(self) -> dict[str, Any] | None:
        """Return the last undamaged checkpoint as `load_checkpoint` does, and leave the folder as it is."""
        return self._newest()[1]

    @by_first
    def load_best(self) -> dict[str, Any]:
        """Return the best checkpoint; raises UserError if there is none, if it is damaged, or of other settings."""
        file = self.path / "checkpoints" / "best.pt"
        if not file.exists():
            raise UserError(f"run '{self.path}' has no best checkpoint: a retraining has one after its first epoch")
        state = _read(file)
        if state is None:
            raise UserError(f"checkpoint '{file}' is damaged: {START_OVER}")
        return self._own(state)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Turn what goes wrong where a state is taken over into one line, a UserError."""
        try:
            yield
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
            if is_shortage(error):
                raise
            raise UserError(
                f"checkpoint or metrics of run '{self.path}' are of something else than its settings: {START_OVER}"
            ) from error

    def _newest(self) -> tuple[Path | None, dict[str, Any] | None]:
        """Return the newest undamaged file and its state; raises UserError if all are damaged."""
        folder = self.path / "checkpoints"
        files = [file for file in (folder / "last.pt", folder / "previous.pt") if file.exists()]
        for file in files:
            state = _read(file)
            if state is not None:
                return file, self._own(state)
        if files:
            raise UserError(f"every checkpoint in '{folder}' is damaged: {START_OVER}")
        return None, None

    def _own(self, state: dict[str, Any]) -> dict[str, Any]:
        if state.pop(_SETTINGS, None) != self._digest():
            raise UserError(
                f"'{self.path / 'config.yaml'}' has other settings than its checkpoints were made with: "
                f"undo the change; otherwise {START_OVER}"
            )
        return state

    def _digest(self) -> str:
        """Return the digest of the settings, but for those that may change: the path of the images, and the epochs."""
        settings = {name: value for name, value in self._config().items() if name not in ("data", "epochs")}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


_PLAIN = (Tensor, Parameter, str, bytes, int, float, bool, type(None))


def _leaves(state: Any, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values and keys in a state, each with where it is, as "at task.method.rng[2]"."""
    if type(state) in (dict, OrderedDict):
        for name, value in state.items():
            yield f"as a key of {place}", name
            yield from _leaves(value, f"{place}.{name}" if place else str(name))
    elif type(state) in (list, tuple):
        for number, value in enumerate(state):
            yield from _leaves(value, f"{place}[{number}]")
    else:
        yield f"at {place}", state


def _comes_back(value: object) -> bool:
    """Return whether a checkpoint gives a value back, which is read without running any code that it names."""
    if type(value) in _PLAIN:
        return True
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        torch.load(io.BytesIO(buffer.getvalue()), map_location="cpu", weights_only=True)
    except Exception as error:
        if is_shortage(error):
            raise
        return False
    return True


def _snapshot(name: str, epoch: object) -> str:
    """Return the name of a snapshot's file: another one in each epoch, as a killed epoch may end a second time."""
    return f"snapshot-{name}-{epoch}.pt"


def _read(file: Path) -> dict[str, Any] | None:
    """Return the state in a checkpoint, None if it is damaged."""
    try:
        content = file.read_bytes()
        data, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            return None
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except FileNotFoundError:  # a run that goes on has just moved it
        return None
    except OSError as error:
        raise UserError(f"cannot read '{file}': {reason_of(error)}") from None
    except Exception as error:  # of any kind: whoever wrote the content may have made its digest, too
        if is_shortage(error):
            raise
        return None
    return state if isinstance(state, dict) else None
