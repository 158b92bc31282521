"""A run that goes on for more epochs than it was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import supernet as sn
from retrained import message
from supernet.engine.callbacks import Callback
from supernet.searching import results

SMALL: dict[str, Any] = {"images": 60, "width": 2, "device": "cpu"}


class Hearing(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)


def test_a_search_and_its_retraining_go_on(tmp_path: Path) -> None:
    out, heard = tmp_path / "run", Hearing()
    selector = {"selector": "perturbation", "select": {"tune_epochs": 1}}
    call: dict[str, Any] = SMALL | selector | {"out": out, "callbacks": [heard]}
    first = sn.search("digits", epochs=1, **call).metrics
    run = sn.search("digits", epochs=3, **call)
    assert heard.lines == [
        "going on after epoch 1 with the schedule of 3 epochs, not 1: the learning rate was 0.025 and is 0.019 now; "
        "a run begun with 3 epochs ends otherwise"
    ]
    assert (run.metrics[:1], len(run.metrics), run.config["epochs"], run.finished) == (first, 3, 3, True)
    assert {file.name for file in (out / "selections").iterdir()} == {"perturbation-epoch1", "perturbation"}
    assert sn.Run(out / "selections" / "perturbation-epoch1").finished
    assert "epochs (3 there, 2 now); give another" in message(sn.search, "digits", epochs=2, **call)
    small: dict[str, Any] = {"width": 2, "depth": 1, "device": "cpu", "quiet": True}
    assert len(sn.retrain(run, epochs=1, **small).metrics) == 1
    retraining = sn.retrain(run, epochs=2, **small)
    assert (len(retraining.metrics), retraining.finished) == (2, True)
    assert sn.load(retraining).classes == tuple("0123456789")


ENDED = {
    "gdas": "its temperature has fallen to that of the last epoch",
    "pc-darts": "alpha has waited for a share of the epochs that it was begun with",
    "darts-minus": "its auxiliary skip has faded to that of the last epoch",
    "sdarts-rs": "its perturbation has grown to that of the last epoch",
}


@pytest.mark.parametrize("method", ENDED)
def test_a_method_whose_schedule_has_ended_says_why_it_does_not(method: str, tmp_path: Path) -> None:
    call = SMALL | {"out": tmp_path / "run", "method": method, "quiet": True, "width": 4}
    sn.search("digits", epochs=1, **call)
    reason = f"it cannot go on for more epochs, as {ENDED[method]}; give another"
    assert f"epochs (1 there, 2 now), and {reason}" in message(sn.search, "digits", epochs=2, **call)
