"""The folder of a run as it is entered: made, locked, recognised, cleared, and written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from supernet.engine.checkpoints import Checkpoints
from supernet.engine.files import append, is_temporary, remove_temporaries, to_yaml, write_atomically, writing
from supernet.engine.lock import HOLDER, LOCK, locked
from supernet.engine.process_group import number
from supernet.engine.processes import by_first
from supernet.errors import UserError

_LONGEST = 150  # bytes of the name of a default run folder; file systems allow 255

# The files of a run beside its settings and its state, as patterns. Removed in this order, and the metrics last of all,
# as a checkpoint needs its rows, they never look like a finished run.
_RESULTS = (
    *("summary.json", "report.html", "evaluation*.json", "genotype.json"),
    *("cell.svg", "search.svg", "diagnostics.svg", "training.svg", "confusion*.svg", "front.svg", "front.png"),
    *(f"{study}.{kind}" for study in ("landscape", "strength", "rank") for kind in ("json", "svg")),
    *("model*.onnx", "model*.pt2"),
)
# Of loggers: a run that goes on for more epochs goes on in them, too.
_LOGS = ("metrics.csv", "tensorboard", "mlflow.json", "wandb.json")


class Folder(Checkpoints):
    """The folder `path`, in which one process at a time runs."""

    def _check_format(self, config: Mapping[str, Any]) -> None:
        raise NotImplementedError

    @by_first
    def holds(self, config: Mapping[str, Any], fixed_epochs: str = "") -> dict[str, Any]:
        """Return the settings of the run in the folder, which are those of `config`; nothing if the folder is empty.

        A run may have fewer epochs than `config`, unless `fixed_epochs` says why not. Raises UserError if the folder
        holds files of no run, or a run with other settings, which the message names.
        """
        with writing(self.path):
            existing = self._check_is_run_or_empty()
        if existing:
            self._check_format(existing)
            _check_same(self.path, existing, config, fixed_epochs)
        return existing

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if there is none.

        Raises UserError if one is in it, if it cannot be written, and if it holds files of no run. Of several processes
        that run together, the first one holds it for all.
        """
        if number():
            yield
            return
        with ExitStack() as stack:
            with writing(self.path):
                self._check_is_run_or_empty()
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path))
            yield

    @by_first
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
        with writing(self.path):
            existing = {} if force else self.holds(config)
            if force and self._check_is_run_or_empty():
                self._clear()
            longer = bool(existing) and existing.get("epochs") != config.get("epochs")
            if longer:
                self._reopen(existing["epochs"])
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.path / "checkpoints"):
                remove_temporaries(folder)
            if longer or not existing:  # the first file, which makes the folder that of a run
                self.write("config.yaml", to_yaml(dict(config)))
                self._settings = None
            begun = (self.path / "environment.json").exists() and any((self.path / "checkpoints").glob("*.pt"))
            if resume_anyway or not begun:  # without a checkpoint a run begins here, wherever it was tried before
                self.write("environment.json", json.dumps(environment, indent=2) + "\n")

    def _check_is_run_or_empty(self) -> dict[str, Any]:
        """Return the settings of the run in the folder, nothing for an empty one; raises UserError for any other."""
        existing = self._config()
        if "fingerprint" in existing:
            return existing
        check_free(self.path, "is not a run folder")
        return {}

    def _clear(self) -> None:
        self._check_no_selection_runs()
        for path in self._files(*_RESULTS, *_LOGS, "environment.json", "selections", "checkpoints", "metrics.jsonl"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _reopen(self, epochs: int) -> None:
        """Remove what a run that goes on for more epochs writes again, and keep the selections after `epochs`."""
        self._check_no_selection_runs()
        for file in self._files(*_RESULTS):
            file.unlink()
        for folder in self.path.glob("selections/*"):
            if "-epoch" not in folder.name:
                folder.rename(folder.with_name(f"{folder.name}-epoch{epochs}"))

    def _check_no_selection_runs(self) -> None:
        """Raise UserError if a selection runs, whose folder is about to be removed or renamed."""
        for lock in self.path.glob(f"selections/*/{LOCK}"):
            with locked(lock.parent):
                pass

    def _files(self, *patterns: str) -> list[Path]:
        return [file for pattern in patterns for file in self.path.glob(pattern)]

    @by_first
    def write(self, name: str, text: str) -> None:
        """Write a text file into the folder, atomically."""
        write_atomically(self.path / name, text.encode())

    @by_first
    def log(self, row: Mapping[str, Any]) -> None:
        """Append the row of an epoch to the metrics, before the checkpoint of the epoch, which needs the row."""
        append(self.path / "metrics.jsonl", json.dumps(row) + "\n")


def check_free(path: Path, what: str, left: str = "") -> None:
    """Raise UserError, "exists and `what`", unless a folder is empty or not there.

    What was killed at its start may have left files in it: temporary ones, those of a lock, and, with those, `left`.
    """
    if not path.exists():
        return
    names = {file.name for file in path.iterdir() if not is_temporary(file)} if path.is_dir() else {"."}
    if names - {LOCK, HOLDER} - ({left} if LOCK in names else set()):
        raise UserError(f"'{path}' exists and {what}: give another place with --out")


def _check_same(path: Path, existing: Mapping[str, Any], config: Mapping[str, Any], fixed_epochs: str) -> None:
    there, now = flat(existing), flat(config)
    names = [name for name in there | now if name != "data"]  # the same images may have another path
    changed = [name for name in names if there.get(name) != now.get(name)]
    longer = changed == ["epochs"] and isinstance(there.get("epochs"), int) and there["epochs"] < now["epochs"]
    if changed and (fixed_epochs or not longer):
        told = [name for name in changed if name != "space_hash"] or changed  # it follows from the width, say
        changes = ", ".join(f"{name} ({there.get(name)} there, {now.get(name)} now)" for name in told)
        reason = f", and it cannot go on for more epochs, as {fixed_epochs}" if longer else ""
        raise UserError(
            f"run folder '{path}' was made with other settings: {changes}{reason}; "
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
