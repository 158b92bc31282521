"""Baselines in processes of their own: the commands train what was planned, and what cannot be had is told."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch

import supernet as sn
from conftest import Call
from supernet import cli
from supernet.engine.driving import Driving
from supernet.retraining import train
from supernet.retraining.config import configured
from supernet.searching.baselines import Start, Which, asked, workers
from supernet.searching.baselines.run import Trainings
from supernet.searching.baselines.workers import command
from supernet.searching.compare import worker
from supernet.searching.compare.executor import Share
from supernet.testing import ragged_space

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


@pytest.mark.parametrize(
    "settings",
    [{}, {"mirror": True, "jitter": True, "w": {"nesterov": False, "lr": 1e-5}}, {"mirror": False, "ema": 0.9}],
)
def test_a_command_trains_what_was_planned(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    started: list[Any] = []

    def start(plan: Any, how: Driving) -> None:
        started.append((plan.record, str(how.out), how.force, how.log, how.quiet))
        raise sn.UserError("begun")

    monkeypatch.setattr(train, "start", start)
    config = configured("", data="digits", device="cpu", width=8, epochs=1, **settings)
    given = asked(config, Start.of(CELL, None, ()), CELL, Which("3", by="params"), ["width"])
    found, how = Trainings(tmp_path, given), Driving(force=True, log="csv")
    for rival in (found.rivals[1], found.rivals[-1]):
        plan = found.plan_of(rival, 3)
        call(*command(plan, how, tmp_path / rival.folder))
        assert started.pop() == (plan.record, str(tmp_path / rival.folder), True, "csv", True)


@pytest.mark.parametrize(("device", "seen"), [("cuda:1", []), ("cuda", ["7", "5"])])
def test_a_command_sees_the_gpu_that_it_names(
    device: str, seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(out: Path, share: Share, gpus: list[str], *_: object) -> None:
        raise sn.UserError(f"begun on {gpus}")

    monkeypatch.setattr(workers, "Local", start)
    monkeypatch.setattr(workers, "gpus_for", {"cuda:1": ["5"], "cuda": ["7", "5"]}.get)
    config = configured("", data="digits", device="cpu", width=8, epochs=1)
    given = asked(config, Start.of(CELL, None, ()), CELL, Which("3", by="params"), ["width"])
    found = Trainings(tmp_path, replace(given, plan=replace(given.plan, device=torch.device(device))))
    with pytest.raises(sn.UserError, match=f"^begun on {re.escape(str(seen))}$"):
        workers.at_once(found, [(found.rivals[1], 3)], Driving(), 1, print, lambda *_: None)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8), np.arange(60) % 3
    np.savez("images.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return "images.npz"


def test_workers_reach_what_one_process_does_and_go_on_after_a_failure(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, broken, ran = Lock(), ["resnet-flops-0"], list[str]()

    def run(words: tuple[str, ...], *_: object) -> tuple[int, str]:  # a process, played by a thread
        with here:
            ran.append(Path(words[words.index("--out") + 1]).name)
            if ran[-1] in broken:
                return 2, "supernet: no room\n"
            cli.main(words)
        return 0, ""

    monkeypatch.setattr(worker, "_run", run)
    asked = {"networks": "resnet", "flops": "200k", "seeds": "0-1", "epochs": 1, "device": "cpu"}
    with pytest.raises(sn.UserError, match=r"1 of 2 trainings failed, resnet-flops-0: no room; the same command"):
        sn.baseline(data, workers=2, out="b", **asked)
    assert "<strong>unfinished</strong> 1 of 2 trainings" in Path("b/report.html").read_text()
    broken.clear()
    found = sn.baseline(data, workers=2, out="b", **asked)
    assert sorted(ran) == ["resnet-flops-0", "resnet-flops-0", "resnet-flops-1"]
    assert "(2 of 2)" in capsys.readouterr().out
    alone = sn.baseline(data, out="alone", quiet=True, **asked)
    assert [row.results for row in found.rows] == [row.results for row in alone.rows]
    with pytest.raises(sn.UserError, match="was made with other settings: batch_size"):
        sn.baseline(data, workers=2, out="b", quiet=True, **asked | {"batch_size": 7})
    assert Path("b/resnet-flops-0/summary.json").exists()


def test_what_a_process_of_its_own_cannot_have_is_told(data: str, tmp_path: Path) -> None:
    given = {"flops": "200k", "seeds": "0", "workers": 2, "device": "cpu", "quiet": True}
    arrays = np.zeros((60, 8, 8), np.uint8), np.arange(60) % 3
    with pytest.raises(sn.UserError, match="cannot read the images of 'arrays', which is no path: leave workers out"):
        sn.baseline(arrays, out=tmp_path / "b", **given)
    with pytest.raises(sn.UserError, match="do not have callbacks: leave workers out"):
        sn.baseline(data, out=tmp_path / "c", callbacks=[sn.Callback()], **given)
    with pytest.raises(sn.UserError, match="do not know space 'ragged', which has no name that leads to it"):
        sn.baseline(
            data, like=str(ragged_space().sample(random.Random(0))), space=ragged_space(), out=tmp_path / "d", **given
        )
    with pytest.raises(sn.UserError, match="setting workers must be at least 1, not 0"):
        sn.baseline(data, **given | {"workers": 0})


@pytest.mark.slow
def test_real_processes(data: str) -> None:
    found = sn.baseline(data, flops="200k", seeds="0", epochs=1, device="cpu", workers=2, out="b", quiet=True)
    assert len(found.rows) == 5
    assert not Path("b/.images").exists()
