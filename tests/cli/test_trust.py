"""The code that a command runs: the package's, and what the user typed; never what lies in a folder or a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import supernet as sn
from conftest import Call
from supernet import cli

# Modules that the package or its libraries import, some of them when they are first used, and in worker processes.
PLANTED = ("matplotlib", "onnx", "sympy", "secrets", "random", "pickle", "socket", "numpy", "PIL", "yaml", "rich")
EVIL = "from pathlib import Path\nPath({marker!r}).touch()\nraise SystemExit('planted module {name} was run')\n"
TINY = ["--images", "40", "--epochs", "1", "--width", "2", "--device", "cpu", "--quiet"]
SMALL = ["--images", "40", "--width", "2", "--device", "cpu", "--quiet"]
PICTURE = "3.png"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a search in run/ and its retraining in run/net/, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    small = {"images": 40, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}
    run = sn.search("digits", out=folder / "run", **small)
    sn.retrain(run, out=folder / "run" / "net", epochs=1, width=2, device="cpu", quiet=True)
    Image.new("L", (8, 8)).save(folder / PICTURE)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Copy the runs into the current folder of a test."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def plant(folder: Path, *names: str) -> Path:
    """Write modules that leave a mark when they are run, and return the place of the mark."""
    marker = folder / "marker"
    for name in names:
        (folder / f"{name}.py").write_text(EVIL.format(marker=str(marker), name=name))
    return marker


# Every command that works on files, with what it needs, in an order in which each finds its input.
COMMANDS = [
    ["data", "digits"],
    ["search", "digits", *TINY, "--out", "other"],
    ["watch", "run"],
    ["compare", "digits", "--methods", "random", "--seeds", "0", "--epochs", "2", *SMALL, "--out", "all"],
    ["select", "run", "--with", "magnitude", "--device", "cpu", "--quiet"],
    ["front", "run", "--points", "2", "--device", "cpu", "--quiet"],
    ["retrain", "run", "--epochs", "1", "--width", "2", "--device", "cpu", "--quiet", "--out", "again"],
    [
        "baseline",
        "digits",
        "--like",
        "run/net",
        "--by",
        "flops",
        "--seeds",
        "0",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--quiet",
    ],
    ["evaluate", "run/net", "--device", "cpu"],
    ["predict", "run/net", PICTURE],
    ["export", "run/net", "--format", "torch"],
    ["export", "run/net", "--format", "onnx"],
    ["report", "run", "run/net"],
    ["landscape", "run", "--points", "2", "--steps", "0", "--images", "8", "--device", "cpu"],
    ["strength", "run", "--steps", "0", "--device", "cpu"],
    ["rank", "run", "--count", "4", "--images", "8", "--device", "cpu", "--norm", "batch"],
    ["tabular", "--with", "random", "--seeds", "1", "--queries", "2", "--out", "table", "--quiet"],
]
SCRIPT = """
import json, sys
from supernet.cli import main

if __name__ == "__main__":
    for command in json.loads(sys.argv[1]):
        main(command)
"""


def test_every_command_that_works_on_files_is_tried() -> None:
    lists = {"query", "architectures", "spaces", "methods", "selectors", "completion"}
    assert {command for command, *_ in COMMANDS} == set(cli.COMMANDS) - lists


@pytest.mark.slow
def test_no_module_of_the_current_folder_is_run_unasked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    marker, script = plant(folder, *PLANTED), tmp_path_factory.mktemp("bin") / "supernet"
    (folder / "matplotlibrc").write_text("backend: module://secrets\ntext.usetex: True\n")
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), json.dumps(COMMANDS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not marker.exists()


OWN = """
import supernet as sn
CELL = sn.Cell.dense(3, ["wide", "none"])
SPACE = sn.SearchSpace("own", {"cell": CELL}, sn.Stages(("cell",)), (sn.Primitive("wide", BUILD),))
"""
BLOCKS = """
from torch import nn
import supernet as sn

def wide(cin, cout, stride, norm):
    return nn.Sequential(nn.Conv2d(cin, cout, 5, stride, 2, bias=False), sn.batch_norm(cout, norm))
"""


@pytest.mark.slow
def test_only_a_typed_module_of_the_current_folder_is_run_also_in_workers(tmp_path: Path) -> None:
    marker = plant(tmp_path, *PLANTED)
    (tmp_path / "blocks.py").write_text(BLOCKS)
    (tmp_path / "own.py").write_text(f"from blocks import wide as BUILD\n{OWN}")
    own = ["--space", "own:SPACE", "--method", "zarts-rs", "--workers", "2"]
    command = [sys.executable, "-m", "supernet", "search", "digits", *TINY, *own, "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sn.Run(tmp_path / "run").finished
    assert not marker.exists()


def test_a_typed_module_is_not_taken_for_one_that_is_installed(call: Call, tmp_path: Path) -> None:
    marker, before = plant(tmp_path, "colorsys"), list(sys.path)
    status, _, err = call("search", "digits", "--space", "colorsys:SPACE")
    assert (status, err) == (
        2,
        "supernet: cannot import space 'colorsys:SPACE': module 'colorsys' has no attribute 'SPACE'\n",
    )
    assert sys.path == before
    assert not marker.exists()


HOSTILE = [
    *((["search", "--config", "run"], kind) for kind in ("space", "method", "selector")),
    *(
        ([command, "run"], kind)
        for command in ("select", "landscape", "strength", "rank")
        for kind in ("space", "method")
    ),
    (["retrain", "run"], "space"),
    *((command, "space") for command in COMMANDS if command[0] in ("evaluate", "predict", "export")),
]


@pytest.mark.parametrize(("command", "kind"), HOSTILE, ids=[f"{' '.join(command)} {kind}" for command, kind in HOSTILE])
def test_a_run_folder_does_not_choose_the_code(
    command: list[str], kind: str, call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = plant(folder, "evil_of_test_trust")
    monkeypatch.syspath_prepend(str(folder))  # as if it lay beside a script, or were installed
    name = "evil_of_test_trust:NAME"
    for file in folder.rglob("config.yaml"):
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {kind: name}))
    expected = f"supernet: {kind} '{name}' is one of your own: give it, too, as --{kind} {name}, or {kind}= in Python\n"
    assert call(*command) == (2, "", expected)
    assert not marker.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "all"],
        ["compare", "all", "--status"],
        ["compare", "digits", "--methods", "darts", "--out", "all"],
        ["compare", "study.yaml", "--methods", "darts", "--out", "other"],
        ["report", "all"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("method", {"methods": ["evil_of_test_trust:NAME"]}),
        ("selector", {"methods": ["darts+evil_of_test_trust:NAME"]}),
        ("space", {"methods": ["darts"], "settings": {"space": "evil_of_test_trust:NAME"}}),
        ("space", {"methods": ["darts"], "axes": {"space": ["s2", "evil_of_test_trust:NAME"]}}),
    ],
)
def test_a_comparison_does_not_choose_the_code(
    command: list[str],
    kind: str,
    config: dict[str, object],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marker = plant(tmp_path, "evil_of_test_trust")
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("all").mkdir()
    Path("all", "comparison.json").write_text(json.dumps({"config": {"data": "digits"} | config}))
    Path("study.yaml").write_text(yaml.safe_dump(config))
    status, out, err = call(*command)
    assert (status, out) == (2, "")
    assert err.startswith(f"supernet: {kind} 'evil_of_test_trust:NAME' is one of your own: give it, too, as --")
    assert not marker.exists()


def test_a_config_reads_no_environment(call: Call, folder: Path) -> None:
    file = folder / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text()) | {"data": "${oc.env:HOME}", "space": "${oc.env:HOME}"}
    file.write_text(yaml.safe_dump(config))
    for command in (["select", "run"], ["retrain", "run"], ["search", "--config", "run"]):
        status, out, err = call(*command)
        assert (status, out) == (2, "")
        assert "${oc.env:HOME}" in err
        assert os.environ["HOME"] not in err.replace(str(folder), "")
