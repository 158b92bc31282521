"""The predictor of a retraining: what it is loaded from, what it does to pixels, and one line for every mistake."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import Depthwise, ragged_space
from supernet import cli
from supernet.data import load as load_images
from supernet.data import ordered
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.retraining import predictor
from supernet.retraining.plan import RetrainingPlan, plan
from supernet.retraining.predictor import Prediction, load

CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
Called = Callable[..., tuple[int, str, str]]


def saved_images(folder: Path, *, test: int = 0, size: tuple[int, int] = (8, 8), channels: int = 1) -> Path:
    """Write images of three classes into an .npz file, the last `test` of them as test images."""
    draws = np.random.default_rng(0)
    x = draws.integers(0, 200, (30 + test, *size, channels), dtype=np.uint8)
    y = np.arange(len(x)) % 3
    parts = {"x_train": x[:30], "y_train": y[:30]} | ({"x_test": x[30:], "y_test": y[30:]} if test else {})
    np.savez(folder / "noise.npz", **parts)
    return folder / "noise.npz"


def learned(plan: RetrainingPlan, seed: int) -> dict[str, Any]:
    """What a checkpoint has of a network that has seen some noise and does not take all of it for one class."""
    torch.manual_seed(seed)
    network = Network(plan.space, plan.genotype, plan.network_size, auxiliary=plan.recipe.auxiliary > 0)
    x = torch.randn(16, plan.network_size.channels, *plan.network_size.image_size) * torch.linspace(0.1, 2, 16).view(
        -1, 1, 1, 1
    )
    classifier = network.layers[-1][-1]
    with torch.no_grad():
        network(x)  # gives every batch norm its averages
        classifier.weight.mul_(20)
        classifier.bias.sub_(network.eval()(x).mean(dim=0))
    return {"epoch": 1, "task": {"network": network.state_dict(), "best": 0.5}}


def retrained(path: Path, data: Path | str, what: Any = CELL, *, finished: bool = True, **choices: Any) -> Run:
    """Write the folder of a retraining, without the training."""
    made = plan(what, data=data, device="cpu", **{"width": 2, "depth": 1, **choices})
    run = Run(path)
    run.start(made.config, {})
    run.save_checkpoint(learned(made, 1), best=True)
    run.save_checkpoint(learned(made, 2))
    if finished:
        run.write("summary.json", json.dumps({"genotype": made.genotype.to_json()}))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return retrained(tmp_path / "run", saved_images(tmp_path))


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """Run a command line in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.syspath_prepend("")

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            cli.main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return call


def message(call: Callable[..., Any], *arguments: Any, **choices: Any) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **choices)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def noise(count: int, *shape: int) -> Tensor:
    """Images of noise, each brighter than the one before."""
    x = torch.randint(256, (count, *shape), generator=torch.Generator().manual_seed(7))
    return (x * torch.linspace(0.2, 1, count).view(-1, *[1] * len(shape))).byte()


def check_alike(found: list[Prediction]) -> None:
    """Check that the same image was seen; the last bits depend on the place in a batch."""
    for prediction in found:
        assert prediction.label == found[0].label
        assert prediction.probabilities == pytest.approx(found[0].probabilities, abs=1e-6)


# --- loading


def test_a_predictor_has_what_the_run_has(run: Run) -> None:
    found, config = load(run.path), run.config
    assert not found.training
    assert not any(module.training for module in found.modules())
    assert found.classes == ("0", "1", "2")
    assert found.genotype == run.genotype
    assert found.space.name == "nasbench201"
    assert (found.network_size.width, found.network_size.depth, found.size, found.image_size) == (2, 1, (8, 8), (8, 8))
    assert found.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert found.std.flatten().tolist() == pytest.approx(config["std"])
    assert {name for name, _ in found.named_buffers() if "." not in name} == {"mean", "std"}


def test_the_weights_are_the_last_or_the_best_epochs(run: Run) -> None:
    made, x = plan(CELL, data=run.config["source"], device="cpu", width=2, depth=1), noise(4, 1, 8, 8)
    outputs = []
    for weights, seed in (("last", 2), ("best", 1)):
        network = Network(made.space, made.genotype, made.network_size).eval()
        network.load_state_dict(learned(made, seed)["task"]["network"])
        found = load(run, weights=weights)
        torch.testing.assert_close(found(x), network((x / 255 - found.mean) / found.std))
        outputs.append(found(x))
    assert (outputs[0] - outputs[1]).abs().max() > 0.01


def test_the_auxiliary_head_is_left_out(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", saved_images(tmp_path), auxiliary=0.4)
    state = run.load_checkpoint(print)
    assert any(name.startswith("auxiliary.") for name in state["task"]["network"])
    assert load(run).network.auxiliary is None


def test_a_search_stands_for_the_one_retraining_in_it(tmp_path: Path) -> None:
    search = Run(tmp_path / "search")
    search.start({"task": "search", "fingerprint": "0"}, {})
    (search.path / "notes").mkdir()
    assert message(load, search) == f"run '{search.path}' has no retrained network: supernet retrain {search.path}"
    data = saved_images(tmp_path)
    inner = retrained(search.path / "quick-0", data)
    assert load(search.path).genotype == inner.genotype
    assert predictor.retraining(search).path == inner.path
    retrained(search.path / "quick-1", data)
    said = f"run '{search.path}' holds several: give one of {search.path / 'quick-0'}, {search.path / 'quick-1'}"
    assert message(load, search) == said


def test_a_run_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    assert message(load, tmp_path / "nothing").startswith(f"'{tmp_path / 'nothing'}' is no run folder: give that of a ")
    said = message(load, run, weights="lst")
    assert said == "unknown weights 'lst'; did you mean 'last'? known: last, best"
    assert "device 'tpu' cannot be used here" in message(load, run, device="tpu")
    (run.path / "summary.json").unlink()
    assert message(load, run) == f"run '{run.path}' has not finished: start it again with the same command to go on"


def test_a_checkpoint_that_is_not_there_or_damaged(run: Run) -> None:
    folder = run.path / "checkpoints"
    for name in ("last.pt", "best.pt"):
        content = bytearray((folder / name).read_bytes())
        content[100] ^= 1
        (folder / name).write_bytes(content)
    said = f"checkpoint '{folder / 'last.pt'}' is damaged: take the best weights instead"
    assert message(load, run) == said  # and not the one before it, of which the summary does not tell
    assert (folder / "last.pt").exists()
    assert message(load, run, weights="best").startswith(f"checkpoint '{folder / 'best.pt'}' is damaged")
    for file in folder.iterdir():
        file.unlink()
    assert message(load, run) == f"run '{run.path}' has no checkpoint: retrain again, with --force"
    assert message(load, run, weights="best").startswith(f"run '{run.path}' has no best checkpoint")


@pytest.mark.parametrize("other", [{"width": 3}, {"depth": 2}, {"what": CELL.replace("skip_connect", "nor_conv_1x1")}])
def test_a_checkpoint_of_another_network(run: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    stranger = retrained(tmp_path / "other", run.config["source"], **other)
    (stranger.path / "checkpoints" / "last.pt").replace(run.path / "checkpoints" / "last.pt")
    said = f"the checkpoint of run '{run.path}' is of another network than its settings: retrain again, with --force"
    assert message(load, run) == said


def test_a_checkpoint_of_something_else(run: Run) -> None:
    run.save_checkpoint({"task": {"method": {}}})
    assert message(load, run).startswith(f"the checkpoint of run '{run.path}' is of another network than")


def test_a_space_of_ones_own(tmp_path: Path) -> None:
    space = ragged_space()
    genotype = space.choose({kind: [0] * len(cell.edges) for kind, cell in space.cells.items()})
    run = retrained(tmp_path / "run", saved_images(tmp_path), genotype, space=space)
    advice = "give it, too, as --space module:NAME, or space= in Python"
    assert message(load, run) == f"space 'ragged' is one of your own: {advice}"
    found = load(run, space=space)
    assert any(isinstance(module, Depthwise) for module in found.modules())


# --- what is done to pixels


def test_normalisation_is_by_the_training_images_and_by_hand(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", saved_images(tmp_path, channels=3))
    found, x = load(run), noise(5, 3, 8, 8)
    seen: list[Tensor] = []
    found.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    logits = found(x)
    assert logits.shape == (5, 3)
    with np.load(run.config["source"]) as archive:
        train = archive["x_train"] / 255  # (N, H, W, C)
    mean, std = (torch.from_numpy(moment(train, axis=(0, 1, 2))).view(3, 1, 1) for moment in (np.mean, np.std))
    torch.testing.assert_close(seen[0].double(), (x.double() / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_logits_are_those_of_the_batches_of_training(run: Run) -> None:
    images, found = load_images(run.config["source"]), load(run)
    for batch in ordered(images, None, 7):
        torch.testing.assert_close(found(images.x[batch.index]), found.network(batch.x))


# --- predictions


def test_a_prediction_is_the_softmax_by_hand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found, x = load(run), noise(5, 1, 8, 8)
    monkeypatch.setattr(predictor, "_BATCH", 2)
    predictions = found.predict(x)
    assert len(predictions) == 5
    assert len({prediction.label for prediction in predictions}) > 1
    for prediction, row in zip(predictions, found(x).tolist(), strict=True):
        shares = [math.exp(logit) / sum(map(math.exp, row)) for logit in row]
        assert list(prediction.probabilities.values()) == pytest.approx(shares)
        assert list(prediction.probabilities) == ["0", "1", "2"]
        assert (
            prediction.probability
            == prediction.probabilities[prediction.label]
            == max(prediction.probabilities.values())
        )
    assert found.predict([]) == []
    assert not found(x).is_inference()


def test_every_kind_of_image_is_taken_and_is_the_same(run: Run, tmp_path: Path) -> None:
    found, grey = load(run), noise(1, 8, 8)[0]
    Image.fromarray(grey.numpy()).save(tmp_path / "a.png")
    given = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(grey.numpy())]
    given += [grey, grey[None], grey.numpy(), grey[..., None].numpy(), grey.double() / 255]
    predictions = found.predict(given)
    assert len(predictions) == len(given)
    check_alike(predictions)


def test_pictures_of_any_size_become_what_training_images_are(run: Run, tmp_path: Path) -> None:
    found, small = load(run), noise(1, 8, 8)[0]
    large = small.repeat_interleave(3, dim=0).repeat_interleave(3, dim=1)  # each pixel as nine
    wide = torch.nn.functional.pad(large, (5, 5), value=255)  # the middle square is looked at
    coloured = torch.stack([wide] * 3, dim=2)
    Image.fromarray(coloured.numpy()).save(tmp_path / "a.png")
    check_alike(found.predict([small, tmp_path / "a.png", Image.fromarray(wide.numpy())]))


def test_of_a_recipe_with_crops_the_middle_is_looked_at(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", saved_images(tmp_path, size=(11, 11)), crop=8)
    found, x = load(run), noise(1, 1, 11, 11)
    assert (found.size, found.image_size) == ((8, 8), (11, 11))
    Image.fromarray(x[0, 0].numpy()).save(tmp_path / "a.png")
    middle = x[0, :, 1:9, 1:9]
    predictions = found.predict([middle, x[0], tmp_path / "a.png", Image.fromarray(x[0, 0].numpy())])
    check_alike(predictions)
    said = message(found.predict, [noise(1, 10, 10)])
    assert said == "image 0 is 1x10x10 (channels, height, width); the network was trained on 1x11x11"


def test_of_crops_of_images_that_are_no_squares_the_size_is_not_known(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", saved_images(tmp_path, size=(9, 12)), crop=8)
    found, x = load(run), noise(1, 1, 9, 12)
    assert (found.size, found.image_size) == ((8, 8), None)
    check_alike([*found.predict(x), *found.predict(x[:, :, :8, 2:10])])
    assert "is 1x7x12 (channels, height, width); the network was trained on 1x8x8" in message(
        found.predict, [x[0, :, 1:8]]
    )


def test_networks_of_images_that_are_no_squares(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", saved_images(tmp_path, size=(6, 9)))
    found, grey = load(run), noise(1, 6, 9)[0]
    Image.fromarray(grey.numpy()).save(tmp_path / "a.png")
    predictions = found.predict([grey, tmp_path / "a.png", Image.fromarray(grey.numpy())])
    check_alike(predictions)


class Damaged(Image.Image):
    def load(self) -> Any:
        raise OSError("image file is truncated")

    def convert(self, *given: Any, **more: Any) -> Any:
        return self.load()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("nothing.png", "cannot read image 'nothing.png': No such file or directory"),
        (7, "image 1 is of type int; expected a path, a pillow image or an array"),
        (torch.zeros(8, 8, dtype=torch.int64), "image 1 has dtype int64; expected uint8, or floats in [0, 1]"),
        (torch.zeros(8, dtype=torch.uint8), "image 1 has shape (8,); expected (H, W), (H, W, C) or (C, H, W) with C"),
        (noise(3, 8, 8), "image 1 is 3x8x8 (channels, height, width); the network was trained on 1x8x8"),
        (noise(1, 16, 16), "image 1 is 1x16x16 (channels, height, width); the network was trained on 1x8x8"),
        (Image.new("F", (8, 8)), "cannot read image 1: it has floating-point pixels; save it with 8 or 16 bits"),
        (Damaged(), "cannot read image 1: "),
    ],
)
def test_an_image_that_cannot_be_taken(run: Run, image: Any, said: str) -> None:
    assert message(load(run).predict, [noise(1, 8, 8), image]).startswith(said)


@pytest.mark.parametrize("image", ["a.png", Path("a.png"), Image.new("L", (8, 8))])
def test_a_single_image_is_given_as_a_list(run: Run, image: Any) -> None:
    assert message(load(run).predict, image) == "predict takes several images: give a single one as a list of one"


# --- the command


def test_predict_prints_a_line_per_image(run: Run, called: Called, tmp_path: Path) -> None:
    for number, pixels in enumerate(noise(3, 8, 8)):
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{number}.png")
    files = ["0.png", "1.png", "2.png"]
    wanted = load(run, weights="best").predict(files)
    status, out, err = called("predict", "run", *files, "--weights", "best")
    assert (status, err) == (0, "")
    lines = [
        f"{file}  {found.label}  {100 * found.probability:.1f} %" for file, found in zip(files, wanted, strict=True)
    ]
    assert out.splitlines() == lines
    status, out, err = called("predict", "run", *files, "--weights", "best", "--json")
    assert (status, err) == (0, "")
    rows = json.loads(out)
    assert [row["image"] for row in rows] == files
    assert [Prediction(row["label"], row["probability"], row["probabilities"]) for row in rows] == wanted


def test_predict_prints_nothing_if_an_image_cannot_be_read(run: Run, called: Called, tmp_path: Path) -> None:
    Image.fromarray(noise(1, 8, 8)[0].numpy()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    for json_too in ([], ["--json"]):
        said = "supernet: cannot read image 'b.png': not an image\n"
        assert called("predict", "run", "a.png", "b.png", *json_too) == (2, "", said)
    assert called("predict", "run") == (2, "", "supernet: missing IMAGE: picture files (see supernet predict --help)\n")
    assert called("predict", "nothing", "a.png")[2].startswith("supernet: 'nothing' is no run folder")


def test_predict_finds_a_space_in_a_module_of_the_current_folder(called: Called, tmp_path: Path) -> None:
    (tmp_path / "space_for_test_predictor.py").write_text("from conftest import ragged_space\nMINE = ragged_space()\n")
    space = ragged_space()
    genotype = space.choose({kind: [0] * len(cell.edges) for kind, cell in space.cells.items()})
    run = retrained(tmp_path / "run", saved_images(tmp_path), genotype, space=space)
    Image.fromarray(noise(1, 8, 8)[0].numpy()).save(tmp_path / "a.png")
    assert "give it, too, as --space module:NAME" in called("predict", run.path, "a.png")[2]
    status, out, _ = called("predict", run.path, "a.png", "--space", "space_for_test_predictor:MINE")
    assert status == 0
    assert out.startswith("a.png  ")
