"""Retraining: the plan, a step, the measurements, the run folder, resuming, and `supernet retrain`."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop
from supernet.engine.optim import SGDConfig
from supernet.engine.run import FORMAT, Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.network import Network
from supernet.report import plots
from supernet.report import progress as screen
from supernet.report.console import Console
from supernet.retraining.evaluate import evaluate
from supernet.retraining.plan import RetrainingPlan, planned
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.retraining.train import TrainingTask, retrain
from supernet.searching.search import search
from supernet.spaces import NetworkSize, space
from supernet.testing import PairDataset, examples, noise_batch, ragged_space, tiny_images, two_input_space

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"
PAIRS = "('sep_conv_3x3', 0), ('skip_connect', 1)" + ", ('max_pool_3x3', 0), ('dil_conv_3x3', 2)" * 3
DARTS = f"Genotype(normal=[{PAIRS}], normal_concat=range(2, 6), reduce=[{PAIRS}], reduce_concat=range(2, 6))"
TINY = {"epochs": 2, "batch_size": 6, "width": 2, "depth": 1, "device": "cpu", "mirror": False}
STRONG = {"augment": "trivial", "mixup": 0.2, "cutmix": 1.0, "ema": 0.9, "balance": "sampling"}
EVERYTHING = {"auxiliary": 0.4, "label_smoothing": 0.1, "drop_path": 0.5, "cutout": 3, "w": {"clip": 1.0}}


def tiny_plan(what: object = CELL, **changes: object) -> RetrainingPlan:
    """Plan a retraining of two epochs of a few steps."""
    return planned(what, **{"data": PairDataset(tiny_images(24))} | TINY | changes)


def task_of(plan: RetrainingPlan) -> TrainingTask:
    torch.manual_seed(plan.seed)
    return TrainingTask(plan)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An .npz file of training and test images."""
    train, test = tiny_images(24), tiny_images(9)
    arrays = {"x_train": train.x, "y_train": train.y, "x_test": test.x, "y_test": test.y}
    np.savez(tmp_path / "bands.npz", **{name: value.numpy() for name, value in arrays.items()})
    return tmp_path / "bands.npz"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search on digits."""
    choices = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}
    return search("digits", out=tmp_path_factory.mktemp("search") / "run", **choices)


def message(function: Callable[..., object], *given: object, **named: object) -> str:
    with pytest.raises(UserError) as caught:
        function(*given, **named)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- one step


def expected_loss(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy with smoothed labels."""
    labels = (1 - smoothing) * F.one_hot(y, logits.shape[1]).to(logits) + smoothing / logits.shape[1]
    return -(labels * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("auxiliary", [0.0, 0.4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_step_is_sgd_on_the_smoothed_and_auxiliary_losses(auxiliary, smoothing, clip):
    w = {"clip": clip, "nesterov": True, "lr": 0.3, "weight_decay": 0.01}
    task = task_of(tiny_plan(auxiliary=auxiliary, label_smoothing=smoothing, w=w))
    task.network.double()
    reference = copy.deepcopy(task.network)
    weights = list(reference.parameters())
    momentum = [torch.zeros_like(weight) for weight in weights]
    task.begin_epoch(0)
    for seed in (1, 2):
        batch = noise_batch(seed)
        logits, beside = reference.both(batch.x) if auxiliary else (reference(batch.x), None)
        loss = expected_loss(logits, batch.y, smoothing)
        if beside is not None:
            loss = loss + auxiliary * expected_loss(beside, batch.y, smoothing)
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        scale = min(1.0, clip / (norm.item() + 1e-6)) if clip else 1.0
        assert scale < 1 or not clip
        with torch.no_grad():
            for weight, gradient, speed in zip(weights, gradients, momentum, strict=True):
                push = scale * gradient + 0.01 * weight
                speed.mul_(0.9).add_(push)
                weight -= 0.3 * (push + 0.9 * speed)
        measured = task.step({"train": batch})
        assert measured["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
        assert measured["accuracy"].item() == pytest.approx((logits.argmax(1) == batch.y).double().mean().item())
    for ours, theirs in zip(task.network.parameters(), weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_without_an_auxiliary_loss_there_is_no_auxiliary_head():
    heads = [
        [name for name, _ in task_of(tiny_plan(auxiliary=weight)).network.named_parameters() if "auxiliary" in name]
        for weight in (0.0, 0.4)
    ]
    assert heads[0] == []
    assert heads[1]
    assert all(name.startswith("auxiliary.") for name in heads[1])


def test_an_epoch_sets_its_learning_rate_and_drop_path():
    task = task_of(tiny_plan(epochs=4, drop_path=0.2, w={"lr": 0.1, "schedule": "exponential", "gamma": 0.5}))
    begun = []
    for epoch in range(4):
        task.begin_epoch(epoch)
        begun.append((task.network.drop_path, task.optimizer.param_groups[0]["lr"]))
    assert begun == [pytest.approx(pair) for pair in [(0, 0.1), (0.05, 0.05), (0.1, 0.025), (0.15, 0.0125)]]
    assert task.end_epoch(3, {"loss": 1.0})["lr"] == pytest.approx(0.0125)


def test_a_learning_rate_that_moves_with_steps_is_that_of_the_place_of_a_step_also_when_resumed(tmp_path):
    w = {"lr": 0.1, "warmup": 1, "per_step": True}
    rates, plan = [], tiny_plan(w=w)
    steps = task_of(plan).streams["train"].steps

    class Noting(Callback):
        def step(self):
            rates.append(task.optimizer.param_groups[0]["lr"])
            if len(rates) == steps + 2:
                raise KeyboardInterrupt

    for _ in range(2):
        task = task_of(plan)
        with contextlib.suppress(KeyboardInterrupt):
            Loop(task, Run(tmp_path), 2, Noting(), save_every=0)()
    del rates[steps + 1]  # the step that was cut off
    cosine = [0.05 * (1 + math.cos(math.pi * k / (2 * steps))) for k in range(2 * steps)]
    assert rates == pytest.approx([rate * min(1, (k + 1) / steps) for k, rate in enumerate(cosine)], rel=1e-12)
    assert Run(tmp_path).metrics[-1]["lr"] == rates[-1]


def test_paths_are_dropped_in_training_only():
    task = task_of(tiny_plan(DARTS, drop_path=0.9, epochs=10))
    task.begin_epoch(9)
    batch = noise_batch(0)._replace(x=noise_batch(0).x.float())
    one, two = (task.network(batch.x) for _ in range(2))
    assert not torch.equal(one, two)
    assert task.accuracies(test=False)["accuracy"] == task.accuracies(test=False)["accuracy"]
    assert task.network.training


def test_the_average_of_the_weights_is_measured_kept_and_gone_on_with(archive, tmp_path):
    plan = tiny_plan(data=archive, ema=0.9, w={"lr": 0.5})
    task = task_of(plan)
    for _ in range(12):
        task.step({"train": task.streams["train"].next()})
    average, trained = task.measured_network, task.network
    assert any(not torch.equal(*pair) for pair in zip(average.parameters(), trained.parameters(), strict=True))
    measured = task.accuracies(test=True)["accuracy"]
    state = copy.deepcopy(task.state_dict())
    plain = task_of(tiny_plan(data=archive))
    plain.load_state_dict(state)  # as those do that know nothing of an average
    assert plain.accuracies(test=True)["accuracy"] == measured
    again = task_of(plan)
    again.load_state_dict(state)
    for each in (task, again):
        each.step({"train": noise_batch(3)._replace(x=noise_batch(3).x.float())})
    for one, other in zip(again.state_dict()["network"].values(), task.state_dict()["network"].values(), strict=True):
        assert torch.equal(one, other)


def test_what_the_recipe_strong_trains_is_measured_as_it_was(archive, tmp_path):
    run = retrain(CELL, data=archive, recipe="strong", out=tmp_path / "run", quiet=True, **TINY | {"epochs": 3})
    assert evaluate(run, device="cpu").accuracy == run.summary["test_accuracy"]["last"]
    assert (run.config["augment"], run.config["ema"], run.config["w"]["warmup"]) == ("trivial", 0.999, 5)


@pytest.mark.parametrize(("balance", "expected"), [("none", [True, True, False]), ("weights", [True, False, True])])
def test_with_balance_the_best_epoch_is_that_of_the_highest_balanced_accuracy(balance, expected, monkeypatch):
    task = task_of(tiny_plan(balance=balance))
    found = iter([(0.5, 0.6), (0.7, 0.5), (0.6, 0.7)])
    monkeypatch.setattr(
        task, "accuracies", lambda *, test: dict(zip(("accuracy", "balanced_accuracy"), next(found), strict=True))
    )
    assert [task.end_epoch(epoch, {})["best"] for epoch in range(3)] == expected


def test_the_weights_of_classes_are_those_of_the_training_images(tmp_path):
    images = tiny_images(24)
    rare = torch.cat(
        [(images.y == 0).nonzero()[:, 0], (images.y == 1).nonzero()[:2, 0], (images.y == 2).nonzero()[:, 0]]
    )
    np.savez(tmp_path / "rare.npz", x_train=images.x[rare].numpy(), y_train=images.y[rare].numpy())
    task = task_of(tiny_plan(data=tmp_path / "rare.npz", balance="weights", validation_share=0.25))
    y = task.plan.images.y[task.plan.parts[0]]
    counts = torch.bincount(y)
    batch = noise_batch(0)
    network = copy.deepcopy(task.network).double()
    each = F.cross_entropy(network(batch.x), batch.y, reduction="none") * (len(y) / (3 * counts))[batch.y]
    task.network.double()
    assert task.step({"train": batch})["loss"].item() == pytest.approx(each.mean().item(), rel=1e-6)


# --- measurements


def test_accuracy_is_without_augmentation_and_with_running_statistics(archive):
    task = task_of(tiny_plan(data=archive))
    for _ in range(8):
        task.step({"train": task.streams["train"].next()})
    images = task.plan.images
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (images.mean, images.std))
    network = copy.deepcopy(task.network).eval()
    logits = network((images.x_test / 255 - mean) / std)
    assert task.accuracies(test=True)["accuracy"] == int((logits.argmax(1) == images.y_test).sum()) / 9


def test_with_crops_accuracy_is_measured_on_the_middle(archive):
    task = task_of(tiny_plan(data=archive, crop=6))
    assert task.plan.network_size.image_size == (6, 6)
    assert task.streams["train"].next().x.shape == (6, 1, 6, 6)
    images = task.plan.images
    x = (images.x_test[:, :, 1:7, 1:7] / 255 - images.mean[0]) / images.std[0]
    network = copy.deepcopy(task.network).eval()
    assert task.accuracies(test=True)["accuracy"] == int((network(x).argmax(1) == images.y_test).sum()) / 9


@pytest.mark.parametrize(
    ("tested", "share", "validated", "measured_on"),
    [
        (True, 0.0, 0, "test"),
        (True, 0.25, 6, "validation"),
        (False, 0.0, 6, "validation"),
        (False, 0.5, 12, "validation"),
    ],
)
def test_the_images_that_train_and_those_that_measure(tested, share, validated, measured_on, archive):
    plan = tiny_plan(validation_share=share, **({"data": archive} if tested else {}))
    train, validation = plan.parts
    assert len(validation) == validated  # a fifth of each class of 8 is 2, rounded
    assert sorted(torch.cat([train, validation]).tolist()) == list(range(24))
    assert (plan.measured_on, plan.record["measured_on"]) == (measured_on, measured_on)
    assert plan.config.validation_share == (share if tested or share else 0.2)
    task = task_of(plan)
    stream = task.streams["train"]
    assert stream.steps == (24 - validated) // 6
    seen = torch.cat([stream.next().index for _ in range(stream.steps)])
    assert set(seen.tolist()) == set(train.tolist())
    row = task.end_epoch(0, {"loss": 1.0, "accuracy": 0.5})
    name = "test_accuracy" if measured_on == "test" else "valid_accuracy"
    assert set(row) == {"loss", "accuracy", "lr", name, "best"}


def test_settings_without_effect_are_told_when_the_training_begins(archive, tmp_path, capsys):
    images = dict(np.load(archive))
    np.savez(tmp_path / "given.npz", **images, x_val=images["x_test"], y_val=images["y_test"])
    gamma = "setting w.gamma 0.9 has no effect with w.schedule cosine"
    given = "setting validation_share 0.25 has no effect: the images for validation are given"
    assert list(tiny_plan(data=archive).idle) == list(tiny_plan(data=tmp_path / "given.npz").idle) == []
    assert list(tiny_plan(data=archive, validation_share=0.25, w={"gamma": 0.9}).idle) == [gamma]
    assert list(tiny_plan(data=archive, w={"gamma": 0.9, "schedule": "exponential"}).idle) == []
    data = {"data": tmp_path / "given.npz", "space": "nasbench201", "out": tmp_path / "run"}
    retrain(CELL, **TINY | data | {"epochs": 1, "validation_share": 0.25}, quiet=True)
    assert capsys.readouterr().err == f"supernet: {given}\n"


def test_the_best_epoch_is_the_first_of_the_highest_accuracy(monkeypatch):
    task = task_of(tiny_plan())
    accuracies = iter([0.0, 0.5, 0.5, 0.4, 0.75])
    monkeypatch.setattr(task, "accuracies", lambda *, test: {"accuracy": next(accuracies)})
    assert [task.end_epoch(epoch, {})["best"] for epoch in range(5)] == [True, True, False, False, True]
    assert task.best == 0.75


# --- the plan


def test_a_plan_has_the_values_of_its_recipe_and_leaves_none_open(archive):
    plan = tiny_plan(data=archive, recipe="nasbench201", width=3)
    resolved = {"width": 3, "pad": 1, "image_size": 8, "stem": 0, "reductions": 2}
    values = {entry.name: getattr(plan.config, entry.name) for entry in fields(Recipe)}
    assert values == vars(RECIPES["nasbench201"]) | {n: v for n, v in TINY.items() if n != "device"} | resolved
    assert plan.network_size == NetworkSize(3, 1, (8, 8), 1, 3, 0, 2)
    assert plan.price == cost(space("nasbench201"), plan.genotype, NetworkSize(3, 1, (8, 8), 1, 3))


def test_the_record_of_a_plan_is_plain_and_complete(archive):
    record = tiny_plan(data=str(archive), seed=3, auxiliary=0.4, w={"lr": 0.2}).record
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {
        *(entry.name for entry in fields(Recipe)),
        *("format", "task", "recipe", "data", "data_name", "fingerprint", "classes", "mean", "std", "space"),
        *("space_hash", "architecture", "genotype", "network_size", "measured_on", "seed", "device", "precision"),
        *("levels", "skip_broken", "stream"),
    }
    assert (record["task"], record["data"], record["space"]) == ("retrain", str(archive), "nasbench201")
    assert (record["recipe"], record["seed"], record["classes"]) == ("quick", 3, ["0", "1", "2"])
    assert (record["format"], record["data_name"], record["precision"]) == (FORMAT, "bands", "float32")
    assert record["architecture"] == CELL
    size = {"width": 2, "depth": 1, "image_size": [8, 8], "channels": 1, "classes": 3, "stem": 0, "reductions": 2}
    assert record["network_size"] == size
    assert [name for name, value in record.items() if value is None] == ["levels"]
    assert record["w"] == asdict(SGDConfig(lr=0.2, nesterov=True, weight_decay=5e-4, clip=0.0))


def test_width_and_depth_default_to_those_of_the_space():
    plan = tiny_plan(DARTS, recipe=Recipe(), width=None, depth=None)
    assert (plan.network_size.width, plan.network_size.depth, plan.recipe) == (36, 6, "own")
    assert tiny_plan(DARTS, recipe=Recipe(), width=None, depth=2).network_size.depth == 2


def test_an_architecture_is_text_of_either_form_or_a_genotype():
    assert tiny_plan(f"  {CELL} ").genotype == space("nasbench201").parse(CELL)
    assert tiny_plan(DARTS).space is space("darts")
    assert tiny_plan(tiny_plan(DARTS).genotype).genotype == tiny_plan(DARTS).genotype
    ragged = ragged_space()
    text = "last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|"
    for what in (text, ragged.parse(text)):
        plan = tiny_plan(what, space=ragged)
        assert (plan.space, plan.space_name, str(plan.genotype)) == (ragged, "ragged", text)


def test_a_user_defined_space_is_found_by_module_and_name(monkeypatch):
    monkeypatch.setattr(examples, "MINE", ragged_space(), raising=False)
    text = "last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|"
    plan = tiny_plan(text, space="supernet.testing.examples:MINE")
    assert (plan.record["space"], plan.space.name) == ("supernet.testing.examples:MINE", "ragged")


def test_the_default_run_folder(searched, archive):
    of_search = planned(searched.path, seed=2, recipe="nasbench201", device="cpu")
    assert of_search.folder == searched.path / "nasbench201-2"
    folders = [tiny_plan(what, data=archive).folder for what in (CELL, CELL.replace("none~0", "skip_connect~0"))]
    assert folders[0] != folders[1]
    assert all(str(folder).startswith("runs/bands-nasbench201-quick-0-") for folder in folders)


def test_images_space_and_architecture_default_to_those_of_the_search(searched, archive):
    plan = planned(searched, device="cpu")
    assert (plan.config.data, plan.images.name, len(plan.images.x)) == ("digits", "digits", 1500)
    assert (plan.space, plan.genotype) == (space("nasbench201"), searched.genotype)
    assert planned(str(searched.path), device="cpu").record == plan.record
    other = planned(searched, data=archive, device="cpu")
    assert (other.images.name, other.genotype) == ("bands", searched.genotype)
    assert planned(searched, image_size=16, device="cpu").network_size.image_size == (16, 16)


@pytest.mark.parametrize(
    ("what", "changes", "expected"),
    [
        (3, {}, "what cannot be of type int: 3"),
        ("nowhere", {}, "'nowhere' is no run folder: give that of a finished search, or an architecture in quotes"),
        (Path("nowhere"), {}, "'nowhere' is no run folder: give that of a finished search, or an architecture"),
        (CELL, {"data": None}, "an architecture needs images to train on: give them with --data, or data= in Python"),
        (CELL, {"data": "digit"}, "unknown data 'digit'; did you mean 'digits'?"),
        (CELL, {"space": "darts"}, "cannot read architecture"),
        (CELL, {"space": "dart"}, "unknown space 'dart'; did you mean 'darts'?"),
        (CELL, {"space": 3}, "space cannot be of type int: 3"),
        (CELL[:-1], {}, "cannot read architecture"),
        (CELL.replace("none", "nothing"), {}, "unknown operation on edge 2<-0 of space 'nasbench201': 'nothing'"),
        ("a:|none~0|", {}, "architecture 'a:|none~0|' does not say what space it is of: give it, too, with --space"),
        ("Genotype(normal=[])", {}, "cannot read architecture"),
        (CELL, {"recipe": "slow"}, "unknown recipe 'slow'; known: quick, nasbench201, darts-cifar"),
        (CELL, {"recipe": 3}, "recipe cannot be of type int: 3"),
        (CELL, {"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
        (CELL, {"w": {"lr": -1.0}}, "setting w.lr must be at least 0, not -1.0"),
        (CELL, {"seed": -1}, "setting seed must be at least 0, not -1"),
        (CELL, {"seed": "x"}, "setting seed takes a whole number, not 'x'"),
        (CELL, {"device": "tpu"}, "device 'tpu' cannot be used here: "),
        (CELL, {"pad": 8}, "setting pad must be less than the 8 pixels of an image's side, not 8"),
        (CELL, {"cutout": 16}, "setting cutout must be less than the 8 pixels of an image's side, not 16"),
        (CELL, {"reductions": 3}, "space 'nasbench201' has 2 reductions, not 3"),
    ],
)
def test_a_mistake_is_one_line(what, changes, expected):
    assert message(tiny_plan, what, **changes).startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"crop": 4, "pad": 2}, "crop and pad are two ways to crop: give one"),
        ({"crop": 9}, "images of 'PairDataset' are too small for a crop of 9x9"),
    ],
)
def test_settings_that_do_not_go_together_leave_no_folder(changes, expected, tmp_path):
    out = tmp_path / "run"
    assert message(retrain, CELL, data=PairDataset(tiny_images(24)), out=out, **TINY | changes).startswith(expected)
    assert not out.exists()


def test_a_genotype_of_a_user_defined_space_needs_the_space():
    genotype = ragged_space().parse("last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|")
    expected = "space 'ragged' is one of your own: give it, too, as --space module:NAME, or space= in Python"
    assert message(tiny_plan, genotype) == expected


SMALL_SEARCH = {"images": 24, "epochs": 1, "width": 2, "batch_size": 6, "device": "cpu", "quiet": True}


def test_a_dataset_and_a_user_defined_space_have_to_be_given_again(tmp_path):
    home, images = ragged_space(), PairDataset(tiny_images(24))
    run = search(images, space=home, out=tmp_path / "run", **SMALL_SEARCH)
    own = "space 'ragged' is one of your own: give it, too, as --space module:NAME, or space= in Python"
    assert message(planned, run, data=images) == own
    gone = (
        f"run '{run.path}' was searched on 'PairDataset', which is not here: "
        "give the images with --data, or data= in Python"
    )
    assert message(planned, run, space=home) == gone
    plan = planned(run, space=home, data=images, device="cpu")
    assert (plan.config.data, plan.space_name) == ("PairDataset", "ragged")


def test_images_of_other_classes_than_those_of_the_search_are_refused(archive, tmp_path):
    run = search(archive, out=tmp_path / "run", **SMALL_SEARCH)
    config = (run.path / "config.yaml").read_text()
    known = "classes:\n- '0'\n- '1'\n- '2'\n"
    assert known in config
    run.write("config.yaml", config.replace(known, "classes: [a, b, c]\n"))
    assert message(planned, run, device="cpu") == (
        f"'{archive}' has other classes than when run '{run.path}' was searched on it: 0, 1, 2, not a, b, c; "
        "give the images with --data, or data= in Python"
    )
    assert planned(run, data=archive, device="cpu").record["classes"] == ["0", "1", "2"]
    archive.unlink()
    assert message(planned, run).startswith(f"run '{run.path}' was searched on '{archive}', which is not here: ")


def test_an_unfinished_search_and_a_retraining_are_refused(tmp_path, archive):
    out = tmp_path / "run"
    with pytest.raises(SystemExit):
        search(archive, out=out, callbacks=[PowerCut(1)], **{k: v for k, v in SMALL_SEARCH.items() if k != "quiet"})
    assert message(planned, out) == f"run '{out}' has not finished: start it again with the same command to go on"
    again = retrain(CELL, data=archive, out=tmp_path / "again", quiet=True, **TINY)
    assert message(planned, again) == (
        f"run '{again.path}' is a retraining: give the folder of a search, or an architecture in quotes"
    )


# --- a run folder


def test_a_retraining_leaves_a_complete_folder_and_is_not_run_twice(searched, capsys):
    state = torch.get_rng_state()
    run = retrain(searched, quiet=True, **TINY | {"batch_size": 64})
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random state is left alone
    assert capsys.readouterr() == ("", "")
    assert run.path == searched.path / "quick-0"
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert files == {
        *("config.yaml", "environment.json", "metrics.jsonl", "summary.json", "training.svg", "report.html"),
        *("checkpoints/last.pt", "checkpoints/previous.pt", "checkpoints/best.pt", ".lock"),
    }
    assert run.config == planned(searched, **TINY | {"batch_size": 64}).record
    assert [set(row) for row in run.metrics] == [
        {"epoch", "loss", "accuracy", "lr", "valid_accuracy", "best", "seconds"}
    ] * 2
    assert set(run.summary) == {
        *("genotype", "architecture", "params", "flops", "measured_on", "accuracy", "test_accuracy", "best_epoch"),
        *("balanced_accuracy", "test_balanced_accuracy", "labels", "seconds"),
    }
    assert run.genotype == searched.genotype
    assert searched.finished
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert retrain(searched.path, quiet=True, **TINY | {"batch_size": 64}).summary == run.summary
    assert "has finished before: these are its results; --force starts it over" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    expected = message(retrain, searched, quiet=True, **TINY)
    assert expected.startswith(f"run folder '{run.path}' was made with other settings: batch_size (64 there, 6 now)")


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_summary_has_the_accuracies_of_the_last_and_the_best_epoch(share, archive, tmp_path):
    choices = TINY | {"epochs": 6, "width": 4, "validation_share": share, "w": {"lr": 0.05}}
    run = retrain(CELL, data=archive, out=tmp_path / "run", quiet=True, **choices)
    name = "valid_accuracy" if share else "test_accuracy"
    measured = [row[name] for row in run.metrics]
    best = measured.index(max(measured))
    assert [row["best"] for row in run.metrics] == [all(measured[i] > m for m in measured[:i]) for i in range(6)]
    summary = run.summary
    assert (summary["best_epoch"], run.load_best()["epoch"]) == (best + 1, best + 1)
    assert summary["accuracy"] == {"last": measured[-1], "best": measured[best]}
    assert summary["measured_on"] == ("validation" if share else "test")
    task = task_of(planned(CELL, data=archive, **choices))
    tested = {}
    for kind in ("last", "best"):
        state = torch.load(run.path / "checkpoints" / f"{kind}.pt", weights_only=True)
        task.load_state_dict(state["task"])
        tested[kind] = task.accuracies(test=True)["accuracy"]
        assert task.accuracies(test=not share)["accuracy"] == summary["accuracy"][kind]
    assert summary["test_accuracy"] == tested
    price = cost(space("nasbench201"), run.genotype, NetworkSize(4, 1, (8, 8), 1, 3))
    assert (summary["params"], summary["flops"]) == (price.params, price.flops)
    network = Network(space("nasbench201"), run.genotype, NetworkSize(4, 1, (8, 8), 1, 3))
    network.load_state_dict(run.load_best()["task"]["network"])


def test_unequal_classes_have_a_balanced_accuracy_too(call, tmp_path):
    train, test = tiny_images(30), tiny_images(30)
    x_test = torch.cat([test.x[test.y == 0][:7], test.x[test.y == 1][:2]])
    y_test = torch.tensor([0] * 7 + [1] * 2)
    arrays = {"x_train": train.x[:28], "y_train": train.y[:28], "x_test": x_test, "y_test": y_test}
    np.savez(tmp_path / "bands.npz", **{name: value.numpy() for name, value in arrays.items()})
    status, shown, _ = call(CELL, "--data", "bands.npz", *FLAGS, "--validation-share", "0", "--out", "run")
    assert status == 0
    summary, rows = Run("run").summary, Run("run").metrics
    assert summary["test_balanced_accuracy"] == summary["balanced_accuracy"]
    for kind, row in (("last", rows[-1]), ("best", rows[summary["best_epoch"] - 1])):
        assert summary["accuracy"][kind] == row["test_accuracy"]
        assert summary["balanced_accuracy"][kind] == row["balanced_accuracy"]
    task = task_of(planned(CELL, data="bands.npz", validation_share=0.0, **TINY))
    task.load_state_dict(torch.load("run/checkpoints/last.pt", weights_only=True)["task"])
    task.network.eval()
    images = task.images
    hits = task.network((images.x_test / 255 - images.mean[0]) / images.std[0]).argmax(1) == y_test
    recalls = [hits[y_test == label].double().mean().item() for label in (0, 1)]
    assert summary["balanced_accuracy"]["last"] == pytest.approx(sum(recalls) / 2)
    assert f" ({100 * rows[0]['balanced_accuracy']:.2f} % balanced) on test images" in shown
    balanced = {kind: f"{100 * value:.2f} %" for kind, value in summary["balanced_accuracy"].items()}
    best = f"{balanced['best']} in the best epoch: the mean recall of the classes"
    assert f"\n  balanced    {balanced['last']} after the last epoch, {best}\n" in shown


def test_without_test_images_the_summary_has_no_test_accuracy(tmp_path):
    run = retrain(CELL, data=PairDataset(tiny_images(24)), out=tmp_path / "run", quiet=True, **TINY)
    assert run.summary["test_accuracy"] is None
    assert run.summary["measured_on"] == "validation"


@pytest.mark.parametrize("home", ["nasbench201", "two inputs"])
def test_a_network_learns_to_classify_validation_images(home, tmp_path):
    spaces = {"nasbench201": (space("nasbench201"), CELL), "two inputs": (two_input_space(), two_inputs())}
    where, text = spaces[home]
    choices = TINY | {"epochs": 12, "width": 6, "w": {"lr": 0.1}, "validation_share": 0.25}
    run = retrain(text, space=where, data=PairDataset(tiny_images(48)), out=tmp_path / "run", quiet=True, **choices)
    first, *_, last = run.metrics
    assert last["loss"] < 0.5 * first["loss"]
    assert run.summary["accuracy"]["best"] > 0.8  # 1/3 by chance


def two_inputs() -> str:
    kinds = {"normal": "sep_conv_3x3 0 max_pool_3x3 1 skip_connect 0 sep_conv_3x3 2 sep_conv_3x3 3 skip_connect 1"}
    words = kinds["normal"].split()
    normal = [f"{op}~{source}" for op, source in zip(words[::2], words[1::2], strict=True)]
    nodes = ["|".join(["", *sorted(normal[i : i + 2], key=lambda c: c[-1]), ""]) for i in (0, 2, 4)]
    return f"normal:{'+'.join(nodes)} reduce:|noise~0|skip_connect~1|+|depthwise~2|"


# --- resuming


class PowerCut(Callback):
    """Ends a run by an error at a step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise SystemExit("power cut")  # a run survives an Exception of a callback


def trained(folder: Path, callback: Callback | None = None, **changes: object) -> Run:
    """Train with every random part of a recipe, as `start` does but without the picture; save after every step."""
    plan = tiny_plan(two_inputs(), space=two_input_space(), **EVERYTHING | {"epochs": 3} | changes)
    torch.manual_seed(plan.seed)
    task, run = TrainingTask(plan), Run(folder)
    run.start(plan.record, {})
    Loop(task, run, plan.config.epochs, callback or Callback(), save_every=0.0)()
    return run


def results_of(run: Run) -> dict[str, object]:
    """Return the metrics of a run without their times, and the bytes of its last and its best checkpoint."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
    files = {name: (run.path / "checkpoints" / name).read_bytes() for name in ("last.pt", "best.pt")}
    return {"rows": rows} | files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return results_of(trained(tmp_path_factory.mktemp("whole")))


def test_a_retraining_interrupted_at_steps_ends_with_the_same_bits(whole, tmp_path):
    for at, epochs in ((1, 0), (2, 0), (3, 1), (6, 2)):  # steps 1, 2, 4 and 9 of 9, counted from the last checkpoint
        with pytest.raises(SystemExit, match="power cut"):
            trained(tmp_path, PowerCut(at))
        assert len(Run(tmp_path).metrics) == epochs
    assert results_of(trained(tmp_path)) == whole
    assert len(whole["rows"]) == 3


def test_a_retraining_by_a_strong_recipe_goes_on_with_the_same_bits(tmp_path):
    whole = results_of(trained(tmp_path / "whole", **STRONG))
    for at in (2, 3):
        with pytest.raises(SystemExit, match="power cut"):
            trained(tmp_path / "cut", PowerCut(at), **STRONG)
    assert results_of(trained(tmp_path / "cut", **STRONG)) == whole


def test_a_retraining_interrupted_between_its_best_and_its_last_checkpoint(whole, tmp_path, monkeypatch):
    def replace(file, target, real=Path.replace):
        moved = real(file, target)
        if Path(target).name == "best.pt":
            raise RuntimeError("power cut")
        return moved

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(RuntimeError, match="power cut"):
        trained(tmp_path)
    monkeypatch.undo()
    assert Run(tmp_path).load_best()["epoch"] == 1
    assert results_of(trained(tmp_path)) == whole


def test_a_seed_decides_every_number(whole, tmp_path):
    assert results_of(trained(tmp_path / "same")) == whole
    assert results_of(trained(tmp_path / "other", seed=1))["rows"] != whole["rows"]


def test_a_retraining_interrupted_before_its_summary_writes_it_when_resumed(archive, tmp_path, monkeypatch):
    out = tmp_path / "run"
    choices = {"data": archive, "out": out, "quiet": True, "validation_share": 0.25} | TINY
    monkeypatch.setattr(plots, "draw_training", lambda rows, balanced: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError, match="power cut"):
        retrain(CELL, **choices)
    monkeypatch.undo()
    assert not Run(out).finished
    cut = retrain(CELL, **choices).summary
    whole = retrain(CELL, **choices, force=True).summary
    assert cut | {"seconds": 0} == whole | {"seconds": 0}


# --- progress and pictures

ROWS = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.2, "valid_accuracy": 0.25, "best": True, "seconds": 1.0},
    {"epoch": 2, "loss": 1.0, "accuracy": 0.5, "valid_accuracy": 0.75, "best": True, "seconds": 1.0},
    {"epoch": 3, "loss": 0.5, "accuracy": 0.8, "valid_accuracy": 0.5, "best": False, "seconds": 1.0},
]


def test_the_picture_shows_loss_accuracies_and_the_best_epoch():
    left, right = plots.draw_training(ROWS).axes
    assert list(left.get_lines()[0].get_ydata()) == [2.0, 1.0, 0.5]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in right.get_lines()}
    assert lines == {
        "training images, augmented": ([1, 2, 3], [20, 50, 80]),
        "validation images": ([1, 2, 3], [25, 75, 50]),
        "best: 75.00 %, epoch 2": ([2], [75]),
    }


@pytest.mark.parametrize(("balanced", "ring"), [(False, (75, "valid")), (True, (45, "balanced"))])
def test_the_ring_is_on_the_curve_of_the_accuracy_that_chose_the_best_epoch(balanced, ring):
    rows = [row | {"balanced_accuracy": value} for row, value in zip(ROWS, (0.3, 0.45, 0.4), strict=True)]
    _, right = plots.draw_training(rows, balanced=balanced).axes
    lines = {line.get_label(): line for line in right.get_lines()}
    assert list(lines["validation images, balanced"].get_ydata()) == pytest.approx([30, 45, 40])
    (label,) = [label for label in lines if label.startswith("best: ")]
    assert lines[label].get_ydata() == pytest.approx([ring[0]])
    curve = lines["validation images, balanced" if ring[1] == "balanced" else "validation images"]
    assert lines[label].get_color() == curve.get_color()


@pytest.mark.parametrize("rows", [[], ROWS[:1]])
def test_few_rows_make_a_picture(rows, tmp_path):
    plots.save(plots.draw_training(rows), tmp_path / "training.svg")


def test_a_line_per_epoch_shows_the_accuracy(capsys):
    lines = screen.Lines(Console(width=80))
    lines.start(3, 10, 0)
    for row in (*ROWS[1:], {"test_accuracy": 0.5} | {k: v for k, v in ROWS[2].items() if k != "valid_accuracy"}):
        lines.epoch(row)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 2/3  loss 1.000  1.0 s  75.00 % on validation images, the best so far",
        "epoch 3/3  loss 0.500  1.0 s  50.00 % on validation images",
        "epoch 3/3  loss 0.500  1.0 s  50.00 % on test images",
    ]


def test_the_bar_shows_the_accuracy():
    file = io.StringIO()
    bar = screen.Bar(Console(file=file, force_terminal=True, width=80, color_system=None, legacy_windows=False))
    bar.start(3, 10, 0)
    bar.epoch(ROWS[1])
    bar.stop()
    assert "75.00 % on validation images, the best so far" in file.getvalue()


# --- the command


@pytest.fixture
def call(call):
    """Run a command line of `retrain`."""
    return partial(call, "retrain")


FLAGS = ["--epochs", "2", "--batch-size", "6", "--width", "2", "--device", "cpu"]


def test_the_command_prints_epochs_and_accuracies(call, archive):
    status, shown, warned = call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "0.05", "--validation-share", "0.25")
    assert (status, warned) == (0, "")
    read, running, *lines = shown.splitlines()
    held_out = "6 of them held out for validation"
    assert read == f"read 24 images of 3 classes (0, 1, 2), 8x8 grey; {held_out}; 9 test images"
    assert running.startswith("running float32, on cpu with ")
    (folder,) = Path("runs").iterdir()
    run = Run(folder)
    summary = run.summary
    percent = {kind: f"{100 * summary['accuracy'][kind]:.2f} %" for kind in ("last", "best")}
    tested = {kind: f"{100 * summary['test_accuracy'][kind]:.2f} %" for kind in ("last", "best")}
    best = f"in the best epoch, {summary['best_epoch']}"
    size = f"{summary['params'] / 1e6:.3f} M parameters, {summary['flops'] / 1e6:.1f} M FLOPs"
    assert [line[:9] for line in lines[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[2:] == [
        f"architecture  {CELL}",
        f"size          {size} (2 channels, depth 1)",
        f"validation    {percent['last']} after the last epoch, {percent['best']} {best}",
        f"test          {tested['last']} after the last epoch, {tested['best']} {best}",
        f"run folder    {folder} (report.html, training.svg, metrics.jsonl; {summary['seconds']:.0f} s)",
        f"next          supernet evaluate {folder}",
    ]
    assert (run.config["w"]["lr"], run.config["validation_share"]) == (0.05, 0.25)
    assert call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "0.05", "--validation-share", "0.25")[0] == 0


def test_a_best_epoch_chosen_on_the_test_images_is_marked(call, archive):
    status, shown, _ = call(CELL, "--data", "bands.npz", *FLAGS, "--recipe", "nasbench201", "--depth", "1", "--quiet")
    assert status == 0
    assert "validation" not in shown
    assert ", which these images chose\n" in shown


def test_help_shows_the_values_of_the_recipe(call):
    for name, wanted in {"quick": "(default: 10)", "darts-cifar": "(default: 600)"}.items():
        status, shown, _ = call("--help-all", "--recipe", name)
        assert status == 0
        assert wanted in shown
        assert all(
            flag in shown for flag in ("WHAT", "--drop-path", "--auxiliary", "--w.schedule", "--validation-share")
        )
    assert "--no-jitter" in call("--recipe=darts-imagenet", "--help-all")[1]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            [],
            "missing WHAT: folder of a finished search, or an architecture: its text in quotes, a file, an index or a "
            "name (see supernet retrain --help)",
        ),
        (["nowhere"], "'nowhere' is no run folder: give that of a finished search, or an architecture in quotes"),
        ([CELL], "an architecture needs images to train on: give them with --data, or data= in Python"),
        ([CELL, "--recipe", "quik"], "unknown recipe 'quik'; did you mean 'quick'? known: quick, nasbench201"),
        ([CELL, "--data", "digits", "--epoch", "3"], "unknown option --epoch; did you mean --epochs?"),
        ([CELL, "--data", "digits", "--epochs", "0"], "setting epochs must be at least 1, not 0"),
        ([CELL, "--data", "digits", "--recipe", "darts-cifar"], "setting cutout must be less than the 8 pixels of an"),
        ([CELL, "--data", "digits", "--space", "nowhere:SPACE"], "cannot import space 'nowhere:SPACE': No module"),
        (
            [CELL, "--data", "digits", "--w.schedule", "step"],
            "--w.schedule takes cosine, linear or exponential, not 'step' ",
        ),
        ([CELL, "--data", "digits", "--crop", "9"], "images of 'digits' are too small for a crop of 9x9"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(typed, expected, call, tmp_path):
    status, shown, errors = call(*typed)
    assert (status, shown) == (2, "")
    assert errors.startswith(f"supernet: {expected}")
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_is_one_line(call, archive):
    status, _, errors = call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "1e30", "--quiet")
    assert status == 2
    assert errors == "supernet: the loss is no longer a number in epoch 1: try a lower learning rate (--w.lr)\n"
