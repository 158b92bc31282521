"""The accuracy that a search ends with: of the supernet, or of the architecture where that is evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import supernet as sn
from supernet.report.text import accuracy
from supernet.searching import results

SMALL: dict[str, Any] = {"images": 60, "width": 2, "depth": 1, "device": "cpu", "quiet": True}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


def ended(run: sn.Run) -> tuple[str, int, float]:
    found = run.summary["measured"]
    assert found["images"] == "validation"
    return found["of"], found["count"], found["accuracy"]


def test_that_of_the_supernet_where_all_operations_learn(tmp_path) -> None:
    run = sn.search("digits", epochs=2, out=tmp_path / "run", **SMALL)
    assert ended(run) == ("supernet", 30, run.metrics[-1]["valid_accuracy"])
    assert accuracy(run.summary["measured"]).endswith(" % of the supernet, on 30 validation images")


def test_that_of_the_chosen_path_where_a_selector_evaluates_it(tmp_path) -> None:
    select = {"samples": 4, "images": 20}
    run = sn.search("digits", method="rsps", epochs=2, select=select, out=tmp_path / "run", **SMALL)
    selection = sn.Run(run.path / "selections" / "best-of-samples")
    assert ended(run) == ended(selection) == ("path", 20, max(selection.summary["accuracies"].values()))
    assert accuracy(run.summary["measured"]).endswith(" % of the architecture in the supernet, on 20 validation images")


def test_guessing_is_that_of_all_validation_images_where_some_are_evaluated(tmp_path) -> None:
    """The first of images that are sorted by class are of one class."""
    x = np.random.default_rng(0).integers(0, 255, (80, 8, 8), np.uint8)
    select, small = {"samples": 2, "images": 10}, SMALL | {"images": None}
    run = sn.search((x, np.arange(80) // 20), method="rsps", epochs=1, select=select, out=tmp_path / "run", **small)
    assert run.verdict.split("; ")[0].endswith(" on 10 images, may be luck: the most frequent class has 25.00 %")


def test_that_of_the_best_candidate_of_random_search_which_need_not_be_the_last(tmp_path) -> None:
    """The last epoch trains a candidate that is cut off."""
    run = sn.search("digits", method="random", epochs=5, out=tmp_path / "run", **SMALL)
    own = [run.metrics[epoch]["valid_accuracy"] for epoch in (1, 3)]
    assert ended(run) == ("alone", 30, max(own))
    assert accuracy(run.summary["measured"]).endswith(" % of the architecture, trained alone, on 30 validation images")


def test_none_of_an_architecture_that_was_not_trained_where_others_were_alone(tmp_path) -> None:
    run = sn.search("digits", method="random", epochs=2, out=tmp_path / "run", **SMALL)
    found = sn.select(run, "perturbation", tune_epochs=0, device="cpu", quiet=True)
    assert found.summary["architecture"] != run.summary["architecture"]
    assert found.summary["measured"] is None


def test_that_of_the_best_network_that_nao_trained_alone(tmp_path) -> None:
    short = {"iterations": 1, "pool": 4, "new": 2, "final": 3, "final_epochs": 1, "controller": {"epochs": 1}}
    run = sn.search("digits", method="nao-v2-small", epochs=4, out=tmp_path / "run", **short, **SMALL)
    assert len(run.metrics[-1]["standalone"]) == 3
    assert ended(run)[::2] == ("alone", max(run.metrics[-1]["standalone"].values()))
