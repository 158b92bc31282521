"""Settings without effect: each is told beside the other that takes its effect, and no default is."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Call
from supernet.methods import METHODS
from supernet.searching.config import PROTOCOLS, config_of, configured
from supernet.searching.idle import idle, idle_in_selection
from supernet.selectors import SELECTORS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_published_has_no_idle_setting(protocol: str) -> None:
    for validation in (0, 9):
        assert not [line for method in METHODS for line in idle(configured(protocol, method=method), validation)]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"method": "darts", "activation": "softmax", "sigmoid_init": "zero"},
            ["setting sigmoid_init zero has no effect with activation softmax"],
        ),
        ({"method": "darts", "activation": "sigmoid", "sigmoid_init": "zero"}, []),
        ({"method": "fairdarts", "alpha": {"optimizer": "sgd"}}, []),  # its beta1 is its own
        ({"alpha": {"beta1": 0.9}}, ["setting alpha.beta1 0.9 has no effect with alpha.optimizer sgd"]),
        ({"w": {"gamma": 0.9}}, ["setting w.gamma 0.9 has no effect with w.schedule cosine"]),
        ({"w": {"gamma": 0.9, "schedule": "exponential"}}, []),
        ({"method": "rsps", "select": {"prior_share": 0.3}}, ["setting select.prior_share 0.3 has no effect with "]),
        ({"method": "zarts-gld", "samples": 9}, ["setting samples 9 has no effect with estimator gld"]),
        ({"method": "zarts-rs", "samples": 9, "tau": 0.1}, ["setting tau 0.1 has no effect with estimator rs"]),
        ({"method": "zarts-mgs", "base_loss": "with_inner"}, ["setting base_loss with_inner has no effect with "]),
        ({"method": "zarts-gld", "base_loss": "with_inner"}, []),
        (
            {"method": "zarts-mgs", "importance": "gradient", "sigma": 0.1, "tau": 1.0},
            ["setting sigma 0.1 has no effect with importance gradient", "setting tau 1.0 has no effect with "],
        ),
        ({"method": "zarts-mgs", "importance": "uniform", "sigma": 0.1}, []),
        (
            {"method": "zarts-rs", "importance": "gradient", "samples": 9},
            ["setting importance gradient has no effect with estimator rs"],
        ),
        ({"method": "zarts-rs", "inner_opt": "released", "inner_batch": 4}, ["setting inner_batch 4 has no effect "]),
        ({"method": "darts-plus", "criterion": "skips", "stable": 3, "skips": 3}, ["setting stable 3 has no effect "]),
        ({"method": "darts-plus", "criterion": "ranking", "skips": 3}, ["setting skips 3 has no effect with "]),
        ({"method": "nao-v2", "final": 0, "final_epochs": 3}, ["setting final_epochs 3 has no effect with final 0"]),
        ({"method": "fairdarts", "zero_one_weight": 0.0, "zero_one": "l1"}, ["setting zero_one l1 has no effect "]),
        ({"method": "r-darts-dp", "cutout_probability": 0.5}, ["setting cutout_probability 0.5 has no effect with "]),
        ({"epochs": 3, "patience": 4}, ["setting patience 4 has no effect with epochs 3"]),
        ({"epochs": 3, "patience": 3}, ["setting patience 3 has no effect with epochs 3"]),  # which have 2 steps
        ({"epochs": 3, "patience": 2}, []),
    ],
)
def test_a_setting_is_told_beside_the_one_that_takes_its_effect(settings: dict[str, Any], told: list[str]) -> None:
    found = list(idle(configured(**settings), 0))
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"validation_share": 0.2}, 1), ({"split": "index"}, 1), ({"training_share": 0.5}, 0), ({}, 0)],
)
def test_a_split_is_told_beside_validation_images_of_the_source(settings: dict[str, Any], told: int) -> None:
    found = list(idle(configured(**settings), 9))
    assert len(found) == told
    assert all("has no effect: the images for validation are given" in line for line in found)


def test_a_selector_s_setting_is_told_in_a_selection_too() -> None:
    preset = SELECTORS.named("best-of-samples")
    assert not list(idle_in_selection(preset, config_of(preset)))
    told = list(idle_in_selection(preset, config_of(preset, {"prior_share": 0.3})))
    assert told == ["setting prior_share 0.3 has no effect with prior none"]


def test_a_search_and_its_forecast_tell_it(call: Call) -> None:
    tiny = ["digits", "--images", "60", "--epochs", "1", "--width", "2", "--device", "cpu", "--patience", "2"]
    said = "setting patience 2 has no effect with epochs 1\n"
    status, _, err = call("search", *tiny, "--quiet", "--out", "x")
    assert (status, err) == (0, f"supernet: {said}")
    status, out, _ = call("search", *tiny, "--dry-run")
    assert (status, said in out) == (0, True)
