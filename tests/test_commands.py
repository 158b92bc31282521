"""Every command of the README and the docs is understood, and those that this machine can do run, made small."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from PIL import Image

import pages
import supernet as sn
from conftest import Call
from pages import PAGES, ROOT, Command
from supernet import cli
from supernet.methods import METHODS
from supernet.retraining.recipes import RECIPES
from supernet.selectors import SELECTORS

pytestmark = pytest.mark.slow

COMMANDS = [
    pytest.param(found, id=f"{pages.name(page)}: {found.line}") for page in PAGES for found in pages.commands(page)
]

# What these commands do first with arguments that they have understood and checked, and with GPUs and processes.
WORK = {
    "search": ["searching.plan.plan"],
    "retrain": ["retraining.plan.plan"],
    "select": ["searching.select.selection_plan"],
    "compare": ["searching.compare.comparing.planned", "searching.compare.comparison.Comparison.read"],
}

# What makes a command small that has this word.
SIZE = ["--epochs", "1", "--width", "2", "--depth", "1", "--device", "cpu"]
SMALL = {
    "search": [*SIZE, "--images", "60", "--batch-size", "10"],
    "retrain": SIZE,
    "baseline": [*SIZE, "--seeds", "0"],
    "front": ["--points", "2"],
    "landscape": ["--points", "3", "--steps", "1"],
    "strength": ["--steps", "1"],
    "rank": ["--count", "4"],
    "tabular": ["--queries", "20", "--seeds", "1"],
    "blank": ["--select.tune-epochs", "1"],
    "darts-pt": ["--select.tune-epochs", "1"],
}

# What these words ask for is not made here: several processes, a server, an extra, a schedule of more epochs than one,
# a latency that this machine may not have, other data, runs of the benchmarks.
ELSEWHERE = re.compile(
    r"torchrun|compare|--processes|--gpus|--serve|tensorboard|nao-v2|--max-latency|GPU|imagenet|mnist|batches|shards/|parquet|\.\.\.|small-"
)


class Begun(Exception):  # noqa: N818  no mistake
    """A command has understood its arguments."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages speak of: images, runs/x, modules of one's own, a file of a comparison."""
    folder, draws = tmp_path_factory.mktemp("place"), np.random.default_rng(0)
    x, y = draws.integers(0, 256, (90, 12, 12, 3), dtype=np.uint8), np.arange(90) % 10
    for name in ("cifar10", "images"):
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    for number, pixels in enumerate(x[:60]):
        (folder / "photos" / f"c{number % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / f"c{number % 3}" / f"{number}.png")
    for name in ("image", "digit-0", "digit-7"):
        Image.fromarray(x[0]).save(folder / f"{name}.png")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("*.py"))
    (folder / "comparison.yaml").write_text(*pages.blocks(ROOT / "docs/compare.md", "yaml"))
    code = "\n".join(pages.blocks(ROOT / "docs/add-a-method.md", "python")).splitlines()
    (folder / "mymodule.py").write_text("\n".join(line for line in code if not line.startswith(("run =", "print("))))
    sn.search("digits", method="darts", epochs=1, images=60, width=2, depth=1, out=folder / "runs/x")
    return folder


@pytest.fixture
def shell(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> Call:
    """Run a command line in a copy of that folder."""
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "here"))
    monkeypatch.syspath_prepend(Path.cwd())
    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: Command, shell: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    name, read = command.words[0], tyro.cli
    if not command.in_block and len(command.words) == 1:  # the mention of a command
        assert name in {*cli.COMMANDS, "--help"}
        return

    def begin(*_: Any, **__: Any) -> None:
        raise Begun

    def understand(*arguments: Any, **more: Any) -> Any:
        understood = read(*arguments, **more)
        return understood if name in WORK else begin()

    monkeypatch.setattr(tyro, "cli", understand)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    for work in ("cli.launch._run", *WORK.get(name, [])):
        monkeypatch.setattr(f"supernet.{work}", begin)
    with contextlib.suppress(Begun):
        status, _, error = shell(*({"RUN": "runs/x", "FOLDER": "runs/x"}.get(word, word) for word in command.words))
        assert not status or (not command.in_block and error.startswith("supernet: missing")), error


def small(command: Command) -> list[str]:
    """Return the words of a command that is over in seconds."""
    chosen = command.words[0] == "retrain" and "--flops" in command.words  # the cost chooses the width
    sizes = SMALL | ({"retrain": [word for word in SIZE if word not in ("--width", "2")]} if chosen else {})
    return [*command.words, *(more for word in command.words for more in sizes.get(word, []))]


def runnable(page: Path) -> Iterator[Command]:
    """Yield the commands in the blocks of a page that can run here."""
    return (command for command in pages.commands(page) if command.in_block and not ELSEWHERE.search(command.line))


def test_commands_of_most_pages_run() -> None:
    counts = [len([*runnable(page)]) for page in PAGES]
    assert sum(counts) >= 95  # ELSEWHERE leaves out about 40
    assert sum(count > 0 for count in counts) >= 15


@pytest.mark.parametrize("page", [page for page in PAGES if any(runnable(page))], ids=pages.name)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, shell: Call) -> None:
    for command in runnable(page):
        status, _, error = shell(*small(command))
        assert status == (2 if command.refused else 0), f"{command.line}: {error}"


def test_options_in_sentences_are_options(call: Call) -> None:
    asked = [
        *([name] for name in cli.COMMANDS),
        *(["search", "--method", name] for name in METHODS),
        *(["select", "--with", name] for name in SELECTORS),
        *(["search", "--selector", name] for name in SELECTORS),
        *(["retrain", "--recipe", name] for name in RECIPES),
    ]
    options = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")
    known = {option for words in asked for option in options.findall(call(*words, "--help-all")[1])}
    for page in PAGES:
        codes = [code for code in pages.CODE.findall(pages.sentences(page)) if code.startswith("--")]
        assert known.issuperset(options.findall(" ".join(codes))), pages.name(page)
