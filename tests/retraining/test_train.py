"""Retraining: what is chosen, what a step does, what is measured and kept, going on, and the mistakes."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.engine.loop import Loop, Watcher
from supernet.engine.optim import SGDConfig
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.network import Network
from supernet.report import plots
from supernet.report import progress as screen
from supernet.report.console import Console
from supernet.retraining.plan import RetrainingPlan
from supernet.retraining.plan import planned as plan
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.retraining.train import TrainingTask, retrain
from supernet.searching.search import search
from supernet.spaces import NetworkSize, space
from supernet.testing import PairDataset, noise_batch, ragged_space, tiny_images, two_input_space

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"
PAIRS = "('sep_conv_3x3', 0), ('skip_connect', 1)" + ", ('max_pool_3x3', 0), ('dil_conv_3x3', 2)" * 3
DARTS = f"Genotype(normal=[{PAIRS}], normal_concat=range(2, 6), reduce=[{PAIRS}], reduce_concat=range(2, 6))"
TINY = {"epochs": 2, "batch_size": 6, "width": 2, "depth": 1, "device": "cpu", "mirror": False}
EVERYTHING = {"auxiliary": 0.4, "label_smoothing": 0.1, "drop_path": 0.5, "cutout": 3, "w": {"clip": 1.0}}


def planned(what: object = CELL, **changes: object) -> RetrainingPlan:
    return plan(what, **{"data": PairDataset(tiny_images(24))} | TINY | changes)


def task_of(chosen: RetrainingPlan) -> TrainingTask:
    torch.manual_seed(chosen.seed)
    return TrainingTask(chosen)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Training and test images in a file."""
    train, test = tiny_images(24), tiny_images(9)
    arrays = {"x_train": train.x, "y_train": train.y, "x_test": test.x, "y_test": test.y}
    np.savez(tmp_path / "bands.npz", **{name: value.numpy() for name, value in arrays.items()})
    return tmp_path / "bands.npz"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished search on digits."""
    choices = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}
    return search("digits", out=tmp_path_factory.mktemp("search") / "run", **choices)


def message(function: Callable[..., object], *given: object, **named: object) -> str:
    with pytest.raises(UserError) as caught:
        function(*given, **named)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- one step


def loss_by_hand(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    wanted = (1 - smoothing) * F.one_hot(y, logits.shape[1]).to(logits) + smoothing / logits.shape[1]
    return -(wanted * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("auxiliary", [0.0, 0.4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_steps_are_those_written_by_hand(auxiliary, smoothing, clip):
    w = {"clip": clip, "nesterov": True, "lr": 0.3, "weight_decay": 0.01}
    task = task_of(planned(auxiliary=auxiliary, label_smoothing=smoothing, w=w))
    task.network.double()
    reference = copy.deepcopy(task.network)
    weights = list(reference.parameters())
    momentum = [torch.zeros_like(weight) for weight in weights]
    task.begin_epoch(0)
    for seed in (1, 2):
        batch = noise_batch(seed)
        logits, beside = reference.both(batch.x) if auxiliary else (reference(batch.x), None)
        loss = loss_by_hand(logits, batch.y, smoothing)
        if beside is not None:
            loss = loss + auxiliary * loss_by_hand(beside, batch.y, smoothing)
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        scale = min(1.0, clip / (norm.item() + 1e-6)) if clip else 1.0
        assert scale < 1 or not clip
        with torch.no_grad():
            for weight, gradient, speed in zip(weights, gradients, momentum, strict=True):
                push = scale * gradient + 0.01 * weight
                speed.mul_(0.9).add_(push)
                weight -= 0.3 * (push + 0.9 * speed)
        told = task.step({"train": batch})
        assert told["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
        assert told["accuracy"].item() == pytest.approx((logits.argmax(1) == batch.y).double().mean().item())
    for ours, theirs in zip(task.network.parameters(), weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_without_an_auxiliary_loss_there_is_no_auxiliary_head():
    heads = [
        [name for name, _ in task_of(planned(auxiliary=weight)).network.named_parameters() if "auxiliary" in name]
        for weight in (0.0, 0.4)
    ]
    assert heads[0] == []
    assert heads[1]
    assert all(name.startswith("auxiliary.") for name in heads[1])


def test_an_epoch_begins_with_its_learning_rate_and_its_share_of_drop_path():
    task = task_of(planned(epochs=4, drop_path=0.2, w={"lr": 0.1, "schedule": "exponential", "gamma": 0.5}))
    begun = []
    for epoch in range(4):
        task.begin_epoch(epoch)
        begun.append((task.network.drop_path, task.optimizer.param_groups[0]["lr"]))
    assert begun == [pytest.approx(pair) for pair in [(0, 0.1), (0.05, 0.05), (0.1, 0.025), (0.15, 0.0125)]]
    assert task.end_epoch(3, {"loss": 1.0})["lr"] == pytest.approx(0.0125)


def test_paths_are_dropped_in_training_and_not_when_it_is_measured():
    task = task_of(planned(DARTS, drop_path=0.9, epochs=10))
    task.begin_epoch(9)
    batch = noise_batch(0)._replace(x=noise_batch(0).x.float())
    one, two = (task.network(batch.x) for _ in range(2))
    assert not torch.equal(one, two)
    assert task.accuracy(test=False) == task.accuracy(test=False)
    assert task.network.training


# --- what is measured, on what


def test_accuracy_is_of_images_as_they_are_with_batch_norms_averages(archive):
    task = task_of(planned(data=archive))
    for _ in range(8):
        task.step({"train": task.streams["train"].next()})
    images = task.plan.images
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (images.mean, images.std))
    network = copy.deepcopy(task.network).eval()
    logits = network((images.x_test / 255 - mean) / std)
    assert task.accuracy(test=True) == int((logits.argmax(1) == images.y_test).sum()) / 9


def test_with_a_crop_the_middle_is_measured(archive):
    task = task_of(planned(data=archive, crop=6))
    assert task.plan.network_size.image_size == (6, 6)
    assert task.streams["train"].next().x.shape == (6, 1, 6, 6)
    images = task.plan.images
    x = (images.x_test[:, :, 1:7, 1:7] / 255 - images.mean[0]) / images.std[0]
    network = copy.deepcopy(task.network).eval()
    assert task.accuracy(test=True) == int((network(x).argmax(1) == images.y_test).sum()) / 9


@pytest.mark.parametrize(
    ("tested", "share", "held", "measured_on"),
    [
        (True, 0.0, 0, "test"),
        (True, 0.25, 6, "validation"),
        (False, 0.0, 6, "validation"),
        (False, 0.5, 12, "validation"),
    ],
)
def test_what_is_held_out(tested, share, held, measured_on, archive):
    chosen = planned(validation_share=share, **({"data": archive} if tested else {}))
    kept, aside = chosen.parts
    assert len(aside) == held  # a fifth of each class of 8 is 2, rounded
    assert sorted(torch.cat([kept, aside]).tolist()) == list(range(24))
    assert (chosen.measured_on, chosen.record["measured_on"]) == (measured_on, measured_on)
    assert chosen.recipe.hold_out == (share if tested or share else 0.2)
    task = task_of(chosen)
    stream = task.streams["train"]
    assert stream.steps == (24 - held) // 6
    seen = torch.cat([stream.next().index for _ in range(stream.steps)])
    assert set(seen.tolist()) == set(kept.tolist())
    row = task.end_epoch(0, {"loss": 1.0, "accuracy": 0.5})
    name = "test_accuracy" if measured_on == "test" else "valid_accuracy"
    assert set(row) == {"loss", "accuracy", "lr", name, "best"}


def test_the_best_epoch_is_the_first_of_the_highest(monkeypatch):
    task = task_of(planned())
    accuracies = iter([0.0, 0.5, 0.5, 0.4, 0.75])
    monkeypatch.setattr(task, "accuracy", lambda *, test: next(accuracies))
    assert [task.end_epoch(epoch, {})["best"] for epoch in range(5)] == [True, True, False, False, True]
    assert task.best == 0.75


# --- the choices


def test_the_settings_are_those_of_the_recipe_with_nothing_left_open(archive):
    chosen = planned(data=archive, recipe="nasbench201", width=3)
    expected = RECIPES["nasbench201"]
    assert chosen.recipe == Recipe(
        **{**vars(expected), **TINY_FIELDS, "width": 3, "pad": 1, "image_size": 8, "stem": 0, "reductions": 2}
    )
    assert chosen.network_size == NetworkSize(3, 1, (8, 8), 1, 3, 0, 2)
    assert chosen.price == cost(space("nasbench201"), chosen.genotype, NetworkSize(3, 1, (8, 8), 1, 3))


TINY_FIELDS = {name: value for name, value in TINY.items() if name != "device"}


def test_the_config_is_plain_and_whole(archive):
    config = planned(data=str(archive), seed=3, auxiliary=0.4, w={"lr": 0.2}).config
    assert json.loads(json.dumps(config)) == config
    assert list(config) == [
        *("task", "data", "source", "fingerprint", "space", "space_hash", "architecture", "genotype", "recipe"),
        *("protocol", "network_size", "classes", "mean", "std", "mirror", "measured_on", "seed", "device", "precision"),
    ]
    assert (config["task"], config["data"], config["space"]) == ("retrain", str(archive), "nasbench201")
    assert (config["recipe"], config["seed"], config["classes"]) == ("quick", 3, ["0", "1", "2"])
    assert config["architecture"] == CELL
    assert config["network_size"] == {"width": 2, "depth": 1, "size": [8, 8], "channels": 1, "classes": 3} | {
        "stem": 0,
        "reductions": 2,
    }
    assert None not in config.values()
    assert config["w"] == asdict(SGDConfig(lr=0.2, nesterov=True, weight_decay=5e-4, clip=0.0))


def test_width_and_depth_are_the_spaces_own_unless_given():
    chosen = planned(DARTS, recipe=Recipe(), width=None, depth=None)
    assert (chosen.network_size.width, chosen.network_size.depth, chosen.recipe_name) == (36, 6, "own")
    assert planned(DARTS, recipe=Recipe(), width=None, depth=2).network_size.depth == 2


def test_an_architecture_may_be_text_of_either_form_or_a_genotype():
    assert planned(f"  {CELL} ").genotype == space("nasbench201").parse(CELL)
    assert planned(DARTS).space is space("darts")
    assert planned(planned(DARTS).genotype).genotype == planned(DARTS).genotype
    ragged = ragged_space()
    text = "last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|"
    for what in (text, ragged.parse(text)):
        chosen = planned(what, space=ragged)
        assert (chosen.space, chosen.called, str(chosen.genotype)) == (ragged, "ragged", text)


def test_a_space_of_the_users_by_the_name_that_finds_it(monkeypatch):
    monkeypatch.setattr(sys.modules["conftest"], "MINE", ragged_space(), raising=False)
    text = "last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|"
    chosen = planned(text, space="conftest:MINE")
    assert (chosen.record["space"], chosen.space.name) == ("conftest:MINE", "ragged")


def test_where_a_run_goes(found, archive):
    of_search = plan(found.path, seed=2, recipe="nasbench201", device="cpu")
    assert of_search.folder == found.path / "nasbench201-2"
    folders = [planned(what, data=archive).folder for what in (CELL, CELL.replace("none~0", "skip_connect~0"))]
    assert folders[0] != folders[1]
    assert all(str(folder).startswith("runs/bands-nasbench201-quick-0-") for folder in folders)


def test_a_search_brings_its_images_its_space_and_its_architecture(found, archive):
    chosen = plan(found, device="cpu")
    assert (chosen.source, chosen.images.name, len(chosen.images.x)) == ("digits", "digits", 1500)
    assert (chosen.space, chosen.genotype) == (space("nasbench201"), found.genotype)
    assert plan(str(found.path), device="cpu").record == chosen.record
    other = plan(found, data=archive, device="cpu")
    assert (other.images.name, other.genotype) == ("bands", found.genotype)
    assert plan(found, image_size=16, device="cpu").network_size.image_size == (16, 16)


@pytest.mark.parametrize(
    ("what", "changes", "said"),
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
        (CELL, {"w": {"lr": -1}}, "setting w.lr must be at least 0, not -1.0"),
        (CELL, {"seed": -1}, "seed must be between 0 and 2**63 - 1, not -1"),
        (CELL, {"seed": "x"}, "seed cannot be of type str: 'x'"),
        (CELL, {"device": "tpu"}, "device 'tpu' cannot be used here: "),
        (CELL, {"pad": 8}, "setting pad must be less than the 8 pixels of an image's side, not 8"),
        (CELL, {"cutout": 16}, "setting cutout must be less than the 8 pixels of an image's side, not 16"),
        (CELL, {"reductions": 3}, "space 'nasbench201' has 2 reductions, not 3"),
    ],
)
def test_mistakes_before_anything_is_made(what, changes, said):
    assert message(planned, what, **changes).startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop": 4, "pad": 2}, "crop and pad are two ways to crop: give one"),
        ({"crop": 9}, "images of 'PairDataset' are too small for a crop of 9x9"),
    ],
)
def test_mistakes_that_the_task_tells_leave_nothing(changes, said, tmp_path):
    out = tmp_path / "run"
    assert message(retrain, CELL, data=PairDataset(tiny_images(24)), out=out, **TINY | changes).startswith(said)
    assert not out.exists()


def test_a_genotype_of_a_users_space_needs_the_space():
    genotype = ragged_space().parse("last:|none~0| normal:|depthwise~0|+|none~0|nor_conv_1x1~1|")
    said = "space 'ragged' is one of your own: give it, too, as --space module:NAME, or space= in Python"
    assert message(planned, genotype) == said


SMALL_SEARCH = {"images": 24, "epochs": 1, "width": 2, "batch_size": 6, "device": "cpu", "quiet": True}


def test_what_a_search_on_things_of_the_users_needs_again(tmp_path):
    home, images = ragged_space(), PairDataset(tiny_images(24))
    run = search(images, space=home, out=tmp_path / "run", **SMALL_SEARCH)
    own = "space 'ragged' is one of your own: give it, too, as --space module:NAME, or space= in Python"
    assert message(plan, run, data=images) == own
    gone = (
        f"run '{run.path}' was searched on 'PairDataset', which is not here: give the images with --data, or data= in Python"
    )
    assert message(plan, run, space=home) == gone
    chosen = plan(run, space=home, data=images, device="cpu")
    assert (chosen.source, chosen.called) == ("PairDataset", "ragged")


def test_images_with_other_classes_than_the_searchs_are_refused(archive, tmp_path):
    run = search(archive, out=tmp_path / "run", **SMALL_SEARCH)
    config = (run.path / "config.yaml").read_text()
    known = "classes:\n- '0'\n- '1'\n- '2'\n"
    assert known in config
    run.write("config.yaml", config.replace(known, "classes: [a, b, c]\n"))
    assert message(plan, run, device="cpu") == (
        f"'{archive}' has other classes than when run '{run.path}' was searched on it: 0, 1, 2, not a, b, c; "
        "give the images with --data, or data= in Python"
    )
    assert plan(run, data=archive, device="cpu").record["classes"] == ["0", "1", "2"]
    archive.unlink()
    assert message(plan, run).startswith(f"run '{run.path}' was searched on '{archive}', which is not here: ")


def test_an_unfinished_search_and_a_retraining_are_no_search_that_has_ended(tmp_path, archive):
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        search(archive, out=out, watcher=Stopping(1), **{k: v for k, v in SMALL_SEARCH.items() if k != "quiet"})
    assert message(plan, out) == f"run '{out}' has not finished: start it again with the same command to go on"
    again = retrain(CELL, data=archive, out=tmp_path / "again", quiet=True, **TINY)
    assert message(plan, again) == (
        f"run '{again.path}' is a retraining: give the folder of a search, or an architecture in quotes"
    )


# --- a whole run


def test_a_retraining_leaves_a_whole_folder_and_is_not_run_twice(found, capsys):
    state = torch.get_rng_state()
    run = retrain(found, quiet=True, **TINY | {"batch_size": 64})
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are theirs
    assert capsys.readouterr() == ("", "")
    assert run.path == found.path / "quick-0"
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert files == {
        *("config.yaml", "environment.json", "metrics.jsonl", "summary.json", "training.svg"),
        *("checkpoints/last.pt", "checkpoints/previous.pt", "checkpoints/best.pt"),
    }
    assert run.config == plan(found, **TINY | {"batch_size": 64}).record
    assert [set(row) for row in run.metrics] == [
        {"epoch", "loss", "accuracy", "lr", "valid_accuracy", "best", "seconds"}
    ] * 2
    assert set(run.summary) == {
        *("genotype", "architecture", "params", "flops", "measured_on", "accuracy", "test_accuracy", "best_epoch"),
        "seconds",
    }
    assert run.genotype == found.genotype
    assert found.finished  # and its folder is as good as before
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert retrain(found.path, quiet=True, **TINY | {"batch_size": 64}).summary == run.summary
    assert "has finished before: this is what it found; --force starts it over" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    said = message(retrain, found, quiet=True, **TINY)
    assert said.startswith(f"run folder '{run.path}' was made with other settings: protocol.batch_size (64 there, 6 ")


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_summary_tells_the_last_and_the_best_epoch_of_what_was_measured(share, archive, tmp_path):
    choices = TINY | {"epochs": 6, "width": 4, "hold_out": share, "w": {"lr": 0.05}}
    run = retrain(CELL, data=archive, out=tmp_path / "run", quiet=True, **choices)
    name = "valid_accuracy" if share else "test_accuracy"
    measured = [row[name] for row in run.metrics]
    best = measured.index(max(measured))
    assert [row["best"] for row in run.metrics] == [all(measured[i] > m for m in measured[:i]) for i in range(6)]
    summary = run.summary
    assert (summary["best_epoch"], run.load_best()["epoch"]) == (best + 1, best + 1)
    assert summary["accuracy"] == {"last": measured[-1], "best": measured[best]}
    assert summary["measured_on"] == ("validation" if share else "test")
    task = task_of(plan(CELL, data=archive, **choices))
    tested = {}
    for kind in ("last", "best"):
        state = torch.load(run.path / "checkpoints" / f"{kind}.pt", weights_only=True)
        task.load_state_dict(state["task"])
        tested[kind] = task.accuracy(test=True)
        assert task.accuracy(test=not share) == summary["accuracy"][kind]
    assert summary["test_accuracy"] == tested
    price = cost(space("nasbench201"), run.genotype, NetworkSize(4, 1, (8, 8), 1, 3))
    assert (summary["params"], summary["flops"]) == (price.params, price.flops)
    network = Network(space("nasbench201"), run.genotype, NetworkSize(4, 1, (8, 8), 1, 3))
    network.load_state_dict(run.load_best()["task"]["network"])


def test_without_test_images_nothing_is_said_of_them(tmp_path):
    run = retrain(CELL, data=PairDataset(tiny_images(24)), out=tmp_path / "run", quiet=True, **TINY)
    assert run.summary["test_accuracy"] is None
    assert run.summary["measured_on"] == "validation"


@pytest.mark.parametrize("home", ["nasbench201", "two inputs"])
def test_it_learns_images_it_is_not_trained_on(home, tmp_path):
    spaces = {"nasbench201": (space("nasbench201"), CELL), "two inputs": (two_input_space(), two_inputs())}
    where, text = spaces[home]
    choices = TINY | {"epochs": 12, "width": 6, "w": {"lr": 0.1}, "hold_out": 0.25}
    run = retrain(text, space=where, data=PairDataset(tiny_images(96)), out=tmp_path / "run", quiet=True, **choices)
    first, *_, last = run.metrics
    assert last["loss"] < 0.5 * first["loss"]
    assert run.summary["accuracy"]["best"] > 0.8  # 1/3 by chance


def two_inputs() -> str:
    kinds = {"normal": "sep_conv_3x3 0 max_pool_3x3 1 skip_connect 0 sep_conv_3x3 2 sep_conv_3x3 3 skip_connect 1"}
    words = kinds["normal"].split()
    normal = [f"{op}~{source}" for op, source in zip(words[::2], words[1::2], strict=True)]
    nodes = ["|".join(["", *sorted(normal[i : i + 2], key=lambda c: c[-1]), ""]) for i in (0, 2, 4)]
    return f"normal:{'+'.join(nodes)} reduce:|noise~0|skip_connect~1|+|depthwise~2|"


# --- going on


class Stopping(Watcher):
    """Pulls the plug at a step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("power cut")


def trained(folder: Path, watcher: Watcher | None = None, **changes: object) -> Run:
    """Run all kinds of randomness to the end as `start` does, without the picture, saving after every step."""
    chosen = planned(two_inputs(), space=two_input_space(), **EVERYTHING | {"epochs": 3} | changes)
    torch.manual_seed(chosen.seed)
    task, run = TrainingTask(chosen), Run(folder)
    run.start(chosen.config, {})
    Loop(task, run, chosen.recipe.epochs, watcher or Watcher(), save_every=0.0)()
    return run


def left(run: Run) -> dict[str, object]:
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
    files = {name: (run.path / "checkpoints" / name).read_bytes() for name in ("last.pt", "best.pt")}
    return {"rows": rows} | files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return left(trained(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("at", range(1, 10))
def test_a_retraining_cut_off_at_any_step_ends_with_the_same_bits(at, whole, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        trained(tmp_path, Stopping(at))
    assert left(trained(tmp_path)) == whole
    assert len(whole["rows"]) == 3


def test_a_retraining_cut_off_between_its_best_and_its_last_checkpoint(whole, tmp_path, monkeypatch):
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
    assert left(trained(tmp_path)) == whole


def test_a_seed_decides_every_number(whole, tmp_path):
    assert left(trained(tmp_path / "same")) == whole
    assert left(trained(tmp_path / "other", seed=1))["rows"] != whole["rows"]


def test_a_retraining_cut_off_before_its_summary_writes_it_when_it_goes_on(archive, tmp_path, monkeypatch):
    out = tmp_path / "run"
    choices = {"data": archive, "out": out, "quiet": True, "hold_out": 0.25} | TINY
    monkeypatch.setattr(plots, "draw_training", lambda rows: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError, match="power cut"):
        retrain(CELL, **choices)
    monkeypatch.undo()
    assert not Run(out).finished
    cut = retrain(CELL, **choices).summary
    whole = retrain(CELL, **choices, force=True).summary
    assert cut | {"seconds": 0} == whole | {"seconds": 0}


# --- what is shown

ROWS = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.2, "valid_accuracy": 0.25, "best": True, "seconds": 1.0},
    {"epoch": 2, "loss": 1.0, "accuracy": 0.5, "valid_accuracy": 0.75, "best": True, "seconds": 1.0},
    {"epoch": 3, "loss": 0.5, "accuracy": 0.8, "valid_accuracy": 0.5, "best": False, "seconds": 1.0},
]


def test_the_picture_has_loss_and_accuracies_and_a_ring_at_the_best():
    left, right = plots.draw_training(ROWS).axes
    assert list(left.get_lines()[0].get_ydata()) == [2.0, 1.0, 0.5]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in right.get_lines()}
    assert lines == {
        "training images, augmented": ([1, 2, 3], [20, 50, 80]),
        "validation images": ([1, 2, 3], [25, 75, 50]),
        "best: 75.00 %, epoch 2": ([2], [75]),
    }


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


# --- the command line


@pytest.fixture
def call(call):
    """Run a command line of `retrain`."""
    return partial(call, "retrain")


FLAGS = ["--epochs", "2", "--batch-size", "6", "--width", "2", "--device", "cpu"]


def test_what_is_typed_and_what_is_shown(call, archive):
    status, shown, said = call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "0.05", "--validation-share", "0.25")
    assert (status, said) == (0, "")
    running, *lines = shown.splitlines()
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
        f"held out      {percent['last']} after the last epoch, {percent['best']} {best}",
        f"test          {tested['last']} after the last epoch, {tested['best']} {best}",
        f"run folder    {folder} (training.svg, metrics.jsonl; {summary['seconds']:.0f} s)",
    ]
    assert (run.config["w"]["lr"], run.config["hold_out"]) == (0.05, 0.25)
    assert call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "0.05", "--validation-share", "0.25")[0] == 0


def test_a_best_epoch_that_the_test_images_chose_is_called_that(call, archive):
    status, shown, _ = call(CELL, "--data", "bands.npz", *FLAGS, "--recipe", "nasbench201", "--depth", "1", "--quiet")
    assert status == 0
    assert "validation" not in shown
    assert ", which these images chose\n" in shown


def test_help_has_the_recipes_values(call):
    for name, wanted in {"quick": "(default: 10)", "darts-cifar": "(default: 600)"}.items():
        status, shown, _ = call("--help", "--recipe", name)
        assert status == 0
        assert wanted in shown
        assert all(
            flag in shown for flag in ("WHAT", "--drop-path", "--auxiliary", "--w.schedule", "--validation-share")
        )
    assert "--no-jitter" in call("--recipe=darts-imagenet", "--help")[1]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "missing WHAT: folder of a finished search, or an architecture in quotes (see supernet retrain --help)"),
        (["nowhere"], "'nowhere' is no run folder: give that of a finished search, or an architecture in quotes"),
        ([CELL], "an architecture needs images to train on: give them with --data, or data= in Python"),
        ([CELL, "--recipe", "quik"], "unknown recipe 'quik'; did you mean 'quick'? known: quick, nasbench201"),
        ([CELL, "--data", "digits", "--epoch", "3"], "unknown option --epoch; did you mean --epochs?"),
        ([CELL, "--data", "digits", "--epochs", "0"], "setting epochs must be at least 1, not 0"),
        ([CELL, "--data", "digits", "--recipe", "darts-cifar"], "setting cutout must be less than the 8 pixels of an"),
        ([CELL, "--data", "digits", "--space", "nowhere:SPACE"], "cannot import space 'nowhere:SPACE': No module"),
        ([CELL, "--data", "digits", "--w.schedule", "step"], "invalid choice 'step' for argument '--w.schedule'."),
        ([CELL, "--data", "digits", "--crop", "9"], "images of 'digits' are too small for a crop of 9x9"),
    ],
)
def test_mistakes_as_typed(typed, said, call, tmp_path):
    status, shown, told = call(*typed)
    assert (status, shown) == (2, "")
    assert told.startswith(f"supernet: {said}")
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number(call, archive):
    status, _, told = call(CELL, "--data", "bands.npz", *FLAGS, "--w.lr", "1e30", "--quiet")
    assert status == 2
    assert told == "supernet: the loss is no longer a number in epoch 1: try a lower learning rate (--w.lr)\n"
