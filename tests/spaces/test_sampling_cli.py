"""NAO and the other sampling methods from the command line, and one-line errors with exit status 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Call

NUMBERS = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"
TINY = ("digits", "--images", "100", "--width", "2", "--depth", "1", "--quiet")
NAO = ("--method", "nao-v2-small", "--pool", "3", "--new", "2", "--controller.epochs", "1", "--final", "2")


@pytest.mark.parametrize("space", ["nasbench201", "own:BRANCHED"])
def test_a_dry_run_of_nao_trains_its_supernet_for_a_few_steps(call: Call, space: str) -> None:
    Path("own.py").write_text("from supernet.testing import branched_space\n\nBRANCHED = branched_space()\n")
    status, out, err = call("search", *TINY, *NAO, "--space", space, "--epochs", "9", "--dry-run")
    assert (status, err) == (0, "")
    assert "9 epochs" in out


def test_retraining_accepts_the_numbers_of_nao(call: Call) -> None:
    rng = np.random.default_rng(0)
    np.savez("few.npz", x_train=rng.integers(0, 256, (12, 8, 8), dtype=np.uint8), y_train=np.arange(12) % 3)
    small = ("--epochs", "1", "--width", "2", "--depth", "1", "--quiet", "--out", "own")
    status, _, err = call("retrain", NUMBERS, "--space", "nao", "--data", "few.npz", *small)
    assert (status, err) == (0, "")
    architecture = json.loads(Path("own/summary.json").read_text())["architecture"]
    assert architecture.startswith("normal:|sep_conv_5x5~1|sep_conv_5x5~0|+|identity~2|")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("retrain", NUMBERS, "--data", "digits"), "does not say what space it is of"),
        (("retrain", "1 1 0", "--data", "digits", "--space", "nao"), "it has 3 numbers instead of 40"),
        (("retrain", "5", "--data", "digits", "--space", "nao"), "cannot read architecture '5'"),
        (("search", *TINY, "--method", "gdas", "--tau", "inf"), "a finite number"),
        (("tabular", "--with"), "no search is given; known: nao, evolution, random"),
        (("search", *TINY, *NAO, "--epochs", "1"), "epochs (1) must be at least"),
    ],
)
def test_a_mistake_is_one_line(call: Call, command: tuple[str, ...], message: str) -> None:
    status, _, err = call(*command)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_help_names_the_protocols_of_nao(call: Call) -> None:
    status, out, _ = call("search", "--method", "nao-v2", "--help")
    assert status == 0
    assert "nasbench201-paths, nao" in " ".join(out.replace("│", " ").split())
