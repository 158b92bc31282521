"""Run folders whose files were damaged, edited or made up: one line, whoever reads them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import supernet as sn
from retrained import message, retrained
from supernet.engine.checkpoints import START_OVER
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.retraining.config import recorded
from supernet.retraining.plan import planned
from supernet.searching import results
from supernet.searching.config import configured, saved
from supernet.searching.resume import plan_of, restored
from supernet.searching.studies.landscape import landscape

SMALL: dict[str, Any] = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished search with a retraining in it."""
    folder = tmp_path_factory.mktemp("original") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_pictures", lambda *arguments: None)
        sn.search("digits", out=folder, **SMALL)
        retrained(folder / "quick-0", None, folder, epochs=1)
        yield folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def again(folder: Path) -> Run:
    return sn.search("digits", out=folder, **SMALL)


def resumed(folder: Path) -> Run:
    (folder / "summary.json").unlink()
    return again(folder)


# What reads the files of a search, and of a retraining
READ_SEARCH: dict[str, Callable[[Path], Any]] = {
    "again": again,
    "select": lambda folder: sn.select(folder, "magnitude", device="cpu", quiet=True),
    "restored": lambda folder: restored(plan_of(Run(folder), device="cpu"), Run(folder)),
    "landscape": lambda folder: landscape(folder, device="cpu"),
    "retrain": lambda folder: planned(folder, width=2, depth=1, device="cpu"),
    "config": lambda folder: configured(**saved(Run(folder))),
}
READ_RETRAINING: dict[str, Callable[[Path], Any]] = {
    "load": sn.load,
    "best": lambda folder: sn.load(folder, weights="best"),
    "search": lambda folder: sn.load(folder.parent),
    "evaluate": sn.evaluate,
    "export": lambda folder: sn.export(folder, "genotype"),
}


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def refuse(folder: Path, readers: dict[str, Callable[[Path], Any]], names: str) -> None:
    for name in names.split():
        assert str(folder) in message(readers[name], folder), name


# --- summary and metrics


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"\xff", b"[" * 200_000, b'{"genotype": 5}'])
def test_a_summary_of_something_else(content: bytes, folder: Path) -> None:
    for inner, readers, names in (
        (folder / "quick-0", READ_RETRAINING, " ".join(READ_RETRAINING)),
        (folder, READ_SEARCH, "again retrain"),
    ):
        (inner / "summary.json").write_bytes(content)
        refuse(inner, readers, names)
        said = message(lambda inner=inner: Run(inner).genotype)
        assert said.endswith("): remove it, and the command that made the run writes it again")
    assert resumed(folder).finished


@pytest.mark.parametrize("content", [b"5\n", b"\xff\n", b"[" * 200_000 + b"\n", None])
def test_metrics_of_something_else(content: bytes | None, folder: Path) -> None:
    file = folder / "metrics.jsonl"
    file.write_bytes(content or file.read_bytes() * 2)
    refuse(folder, READ_SEARCH, "landscape")
    assert message(lambda: Run(folder).metrics).startswith(f"'{file}' is damaged (")
    file.write_bytes(content or file.read_bytes().replace(b'"epoch": 1', b'"epoch": 2'))
    assert START_OVER in message(resumed, folder)
    assert sn.search("digits", out=folder, force=True, **SMALL).finished  # the advice works


def test_a_network_whose_metrics_were_cut_is_evaluated_all_the_same(folder: Path) -> None:
    (folder / "quick-0" / "metrics.jsonl").write_text("")
    assert "it has rows of 0 of " in message(lambda: Run(folder / "quick-0").metrics)
    assert sn.evaluate(folder / "quick-0").count > 0
    assert (folder / "quick-0" / "evaluation.json").exists()


# --- config.yaml


@pytest.mark.parametrize("name", ["task", "data", "classes", "space", "space_hash", "method", "w", "epochs", "images"])
def test_a_search_without_a_setting(name: str, folder: Path) -> None:
    edit(folder, lambda config: config.pop(name))
    refuse(folder, READ_SEARCH, "again select restored landscape config")


@pytest.mark.parametrize("name", ["task", "classes", "space", "network_size", "genotype", "mean", "std", "crop"])
def test_a_retraining_without_a_setting(name: str, folder: Path) -> None:
    edit(folder / "quick-0", lambda config: config.pop(name))
    refuse(folder / "quick-0", READ_RETRAINING, " ".join(READ_RETRAINING))


@pytest.mark.parametrize("change", [{"method": 5}, {"epochs": "x"}, {"w": 5}, {"method_config": [1]}, {"space": "x"}])
def test_a_search_with_another_setting(change: dict[str, Any], folder: Path) -> None:
    edit(folder, lambda config: config.update(change))
    for name in ("again", "select", "restored", "landscape", "config"):
        with contextlib.suppress(UserError):
            READ_SEARCH[name](folder)
            assert name == "config", name  # which may start from any settings that can be had


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(mean=[7.0]),
        lambda config: config["classes"].pop(),
        lambda config: config["classes"].reverse(),
        lambda config: config["network_size"].update(classes=10**8),
        lambda config: config["network_size"].update(image_size=5),
        lambda config: config.update(std=[0.0]),
        lambda config: config["genotype"].update(cells={}),
    ],
)
def test_a_retraining_whose_settings_were_changed(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    edit(folder / "quick-0", change)
    refuse(folder / "quick-0", READ_RETRAINING, " ".join(READ_RETRAINING))


def test_settings_that_are_too_many_to_be_read(folder: Path) -> None:
    with (folder / "config.yaml").open("a") as file:
        file.write("more:\n" + "- x\n" * 2_000_000)
    refuse(folder, READ_SEARCH, " ".join(READ_SEARCH))


# --- checkpoints


def sealed(content: bytes) -> bytes:
    """Return what a checkpoint with this content is, digest included."""
    return content + hashlib.sha256(content).digest()


def saved_bytes(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"garbage", b"", saved_bytes([1]), saved_bytes({}), saved_bytes({"epoch": "x"})])
def test_checkpoints_with_a_right_digest_and_something_else_in_them(content: bytes, folder: Path) -> None:
    for inner in (folder, folder / "quick-0"):
        for file in (inner / "checkpoints").iterdir():
            file.write_bytes(sealed(content))
    refuse(folder, READ_SEARCH, "select restored landscape")
    refuse(folder / "quick-0", READ_RETRAINING, " ".join(READ_RETRAINING))
    message(resumed, folder)


@pytest.mark.parametrize("name", ["epoch", "task", "streams", "sums", "rng"])
def test_a_checkpoint_that_lacks_a_part(name: str, folder: Path) -> None:
    run = Run(folder)
    state = run.read_checkpoint()
    assert state is not None
    del state[name]
    run.save_checkpoint(state)
    assert START_OVER in message(resumed, folder)


# --- anything

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40, derandomize=True)
@given(data=st.data())
def test_readers_raise_nothing_but_user_errors(original: Path, data: st.DataObject) -> None:
    """One value anywhere in a file is replaced by anything, or all of it."""
    for folder, read in ((original, saved), (original / "quick-0", recorded)):
        for name in ("config.yaml", "summary.json", "metrics.jsonl"):
            file = folder / name
            if not file.exists():
                continue
            content = file.read_text()
            value = replaced(yaml.safe_load(content), data)
            file.write_text(json.dumps(value) + "\n")
            run = Run(folder)
            try:
                for look in (read, lambda run: run.metrics, lambda run: run.summary, lambda run: run.genotype):
                    with contextlib.suppress(UserError):
                        look(run)
            finally:
                file.write_text(content)


def replaced(value: Any, data: st.DataObject) -> Any:
    """Return a value with a part of it replaced by anything."""
    if value and isinstance(value, dict | list) and data.draw(st.booleans()):
        place = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        copy = value.copy()
        copy[place] = replaced(value[place], data)
        return copy
    return data.draw(anything)
