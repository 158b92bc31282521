"""Sampling methods from the command line: what they take, and mistakes, each one line and exit status 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Call

NUMBERS = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
TINY = ("digits", "--images", "100", "--width", "2", "--quiet")
NAO = ("--method", "nao-v2-small", "--pool", "3", "--new", "2", "--controller.epochs", "1", "--final", "2")


@pytest.mark.parametrize("space", ["nasbench201", "nao"])
def test_a_dry_run_of_nao_takes_steps_of_its_supernet(call: Call, space: str) -> None:
    status, out, err = call("search", *TINY, *NAO, "--space", space, "--epochs", "9", "--dry-run")
    assert (status, err) == (0, "")
    assert "9 epochs" in out


def test_a_retraining_takes_the_numbers_that_nao_writes(call: Call, tmp_path: Path) -> None:
    small = ("--epochs", "1", "--width", "2", "--depth", "1", "--quiet", "--out", "own")
    status, _, err = call("retrain", NUMBERS, "--space", "nao", "--data", "digits", *small)
    assert (status, err) == (0, "")
    found = json.loads(Path("own/summary.json").read_text())["architecture"]
    assert found.startswith("normal:|sep_conv_5x5~1|sep_conv_5x5~0|+|identity~2|")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("retrain", NUMBERS, "--data", "digits"), "does not say what space it is of"),
        (("retrain", "1 1 0", "--data", "digits", "--space", "nao"), "it has 3 numbers instead of 40"),
        (("retrain", "5", "--data", "digits", "--space", "nao"), "'5' is no run folder"),
        (("search", *TINY, "--method", "gdas", "--tau", "inf"), "a finite number"),
        (("tabular", "--with"), "no search is given; known: nao, evolution, random"),
        (("search", *TINY, *NAO, "--epochs", "1"), "epochs (1) must be at least"),
    ],
)
def test_a_mistake_is_one_line(call: Call, command: tuple[str, ...], said: str) -> None:
    status, _, err = call(*command)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_help_names_every_protocol(call: Call) -> None:
    status, out, _ = call("search", "--method", "nao-v2", "--help")
    assert status == 0
    assert "nasbench201-paths, nao" in " ".join(out.replace("│", " ").split())
