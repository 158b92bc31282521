"""Recipes: the published values, and one line for what is no recipe."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from supernet.errors import UserError
from supernet.retraining.recipes import RECIPES, Recipe, recipe
from supernet.settings import amend

# The papers' tables. What is not named here is off, or left to the data.
IMAGENET = {
    "epochs": 250,
    "width": 48,
    "depth": 4,
    "w.weight_decay": 3e-5,
    "w.clip": 5.0,
    "pad": 0,
    "image_size": 256,
    "crop": 224,
    "jitter": True,
    "auxiliary": 0.4,
    "label_smoothing": 0.1,
}
PUBLISHED = {
    "nasbench201": {
        "epochs": 200,
        "batch_size": 256,
        "width": 16,
        "depth": 5,
        "w.lr": 0.1,
        "w.nesterov": True,
        "w.weight_decay": 5e-4,
        "w.clip": 0.0,
    },
    "darts-cifar": {
        "epochs": 600,
        "batch_size": 96,
        "width": 36,
        "depth": 6,
        "w.lr": 0.025,
        "w.weight_decay": 3e-4,
        "w.clip": 5.0,
        "pad": 4,
        "cutout": 16,
        "drop_path": 0.2,
        "auxiliary": 0.4,
    },
    "darts-imagenet": IMAGENET | {"batch_size": 128, "w.lr": 0.1, "w.schedule": "exponential", "w.gamma": 0.97},
    "pdarts-imagenet": IMAGENET | {"batch_size": 1024, "w.lr": 0.5, "w.schedule": "linear", "w.warmup": 5},
    "nao-cifar": {
        "epochs": 600,
        "batch_size": 128,
        "width": 36,
        "depth": 6,
        "w.lr": 0.025,
        "w.weight_decay": 5e-4,
        "w.clip": 5.0,
        "pad": 4,
        "cutout": 16,
        "drop_path": 0.2,
        "dropout": 0.4,
        "auxiliary": 0.4,
    },
    "nao-imagenet": IMAGENET
    | {"batch_size": 128, "width": 52, "w.lr": 0.1, "w.schedule": "exponential", "w.gamma": 0.97},
}
OFF = {
    "w.lr_min": 0.0,
    "w.momentum": 0.9,
    "w.nesterov": False,
    "w.schedule": "cosine",
    "w.gamma": 0.97,
    "w.warmup": 0,
    "pad": None,
    "mirror": None,
    "cutout": 0,
    "image_size": None,
    "crop": 0,
    "jitter": False,
    "drop_path": 0.0,
    "dropout": 0.0,
    "auxiliary": 0.0,
    "label_smoothing": 0.0,
    "hold_out": 0.0,
    "stem": None,
    "reductions": None,
}


def values(chosen: Recipe) -> dict[str, object]:
    own = asdict(chosen)
    weights = own.pop("w")
    return own | {f"w.{name}": value for name, value in weights.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_has_the_papers_values(name):
    assert values(recipe(name)) == OFF | PUBLISHED[name]


def test_every_recipe_becomes_any_other_by_its_fields_alone():
    for one in RECIPES.values():
        for other in RECIPES.values():
            assert amend(one, asdict(other)) == other


def test_quick_is_small_and_chooses_its_best_epoch_on_held_out_images():
    quick = recipe("quick")
    assert (quick.width, quick.depth) == (16, 1)
    assert 0 < quick.hold_out < 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 0}, "setting epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "setting batch_size must be at least 1, not 0"),
        ({"batch_size": 1, "auxiliary": 0.4}, "setting batch_size must be at least 2, not 1"),
        ({"width": 0}, "setting width must be at least 1, not 0"),
        ({"depth": 0}, "setting depth must be at least 1, not 0"),
        ({"pad": -1}, "setting pad must be at least 0, not -1"),
        ({"cutout": -1}, "setting cutout must be at least 0, not -1"),
        ({"crop": -1}, "setting crop must be at least 0, not -1"),
        ({"stem": -1}, "setting stem must be at least 0, not -1"),
        ({"reductions": -1}, "setting reductions must be at least 0, not -1"),
        ({"auxiliary": -0.1}, "setting auxiliary must be at least 0, not -0.1"),
        ({"drop_path": 1.0}, "setting drop_path must be at least 0 and less than 1, not 1.0"),
        ({"drop_path": float("nan")}, "setting drop_path must be at least 0 and less than 1, not nan"),
        ({"label_smoothing": -0.1}, "setting label_smoothing must be at least 0 and less than 1, not -0.1"),
        ({"hold_out": 1.0}, "setting hold_out must be at least 0 and less than 1, not 1.0"),
        ({"jitter": "much"}, "setting jitter: "),
        ({"w": {"rate": 1}}, "unknown setting 'w.rate'; did you mean 'w.lr'?"),
        ({"cut_out": 3}, "unknown setting 'cut_out'; did you mean 'cutout'? known: epochs, batch_size, "),
    ],
)
def test_mistakes(changes, said):
    with pytest.raises(UserError) as caught:
        amend(Recipe(), changes)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_recipe():
    with pytest.raises(UserError) as caught:
        recipe("darts")
    assert str(caught.value).startswith("unknown recipe 'darts'; did you mean 'darts-cifar'? known: quick, nasbench201")
