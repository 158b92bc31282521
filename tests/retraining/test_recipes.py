"""Recipes: the published values, and one line for a wrong value."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.retraining.plan import planned
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.settings import amend

# The papers' tables; a field that is not named is OFF.
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
    "w.restart": 0,
    "w.per_step": False,
    "pad": None,
    "mirror": None,
    "cutout": 0,
    "image_size": None,
    "crop": 0,
    "jitter": False,
    "augment": "none",
    "mixup": 0.0,
    "cutmix": 0.0,
    "drop_path": 0.0,
    "dropout": 0.0,
    "auxiliary": 0.0,
    "norm_shared": False,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "balance": "none",
    "validation_share": 0.0,
    "stem": None,
    "reductions": None,
}


def flat(recipe: Recipe) -> dict[str, object]:
    """Return the fields of a recipe, those of `w` as "w.lr" and so on."""
    values = asdict(recipe)
    weights = values.pop("w")
    return values | {f"w.{name}": value for name, value in weights.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_has_the_papers_values(name):
    assert flat(RECIPES[name]) == OFF | PUBLISHED[name]


def test_the_fields_of_a_recipe_turn_any_other_into_it():
    for one in RECIPES.values():
        for other in RECIPES.values():
            assert amend(one, asdict(other)) == other


def test_quick_is_small_and_chooses_its_best_epoch_on_validation_images():
    quick = RECIPES["quick"]
    assert (quick.width, quick.depth) == (16, 1)
    assert 0 < quick.validation_share < 0.5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 0}, "setting epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "setting batch_size must be at least 1, not 0"),
        ({"batch_size": 1, "auxiliary": 0.4}, "setting batch_size must be at least 2 with an auxiliary head, not 1"),
        ({"width": 0}, "setting width must be at least 1, not 0"),
        ({"depth": 0}, "setting depth must be at least 1, not 0"),
        ({"pad": -1}, "setting pad must be at least 0, not -1"),
        ({"cutout": -1}, "setting cutout must be at least 0, not -1"),
        ({"crop": -1}, "setting crop must be at least 0, not -1"),
        ({"stem": -1}, "setting stem must be at least 0, not -1"),
        ({"reductions": -1}, "setting reductions must be at least 0, not -1"),
        ({"auxiliary": -0.1}, "setting auxiliary must be at least 0, not -0.1"),
        ({"drop_path": 1.0}, "setting drop_path must be below 1, not 1.0"),
        ({"drop_path": float("nan")}, "setting drop_path must be a finite number, not nan"),
        ({"label_smoothing": -0.1}, "setting label_smoothing must be at least 0, not -0.1"),
        ({"validation_share": 1.0}, "setting validation_share must be below 1, not 1.0"),
        ({"jitter": "much"}, "setting jitter takes true or false, not 'much'"),
        ({"mixup": -0.2}, "setting mixup must be at least 0, not -0.2"),
        ({"cutmix": float("inf")}, "setting cutmix must be a finite number, not inf"),
        ({"ema": 1.0}, "setting ema must be below 1, not 1.0"),
        ({"augment": "strong"}, "setting augment takes 'none' or 'trivial', not 'strong'"),
        ({"balance": True}, "setting balance takes 'none', 'weights' or 'sampling', not True"),
        ({"w": {"lrr": 1}}, "unknown setting 'w.lrr'; did you mean 'w.lr'?"),
        ({"cut_out": 3}, "unknown setting 'cut_out'; did you mean 'cutout'? known: cutout, cutmix, "),
    ],
)
def test_a_wrong_value_is_one_line(changes, expected):
    with pytest.raises(UserError) as caught:
        amend(Recipe(), changes)
    assert str(caught.value).startswith(expected)
    assert len(str(caught.value).splitlines()) == 1


def test_a_mapping_stands_for_settings_within_settings_where_they_are_made():
    assert Recipe(w={"lr": 0.1}) == amend(Recipe(), {"w": {"lr": 0.1}})
    assert Recipe(w={"lr": 0.1}).w == SGDConfig(lr=0.1)
    for wrong, expected in [({"lr": -1}, "setting w.lr must be at least 0"), (5, "setting w takes a mapping of its")]:
        with pytest.raises(UserError, match=expected):
            Recipe(w=wrong)


def test_an_unknown_recipe_is_one_line():
    with pytest.raises(UserError) as caught:
        planned("|nor_conv_1x1~0|", "darts")
    assert str(caught.value).startswith("unknown recipe 'darts'; did you mean 'darts-cifar'? known: quick, nasbench201")
