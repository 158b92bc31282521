"""The predictor: which run and which weights it loads, its preprocessing, its predictions, and `supernet predict`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import Call
from retrained import CELL, message, network_state, noise, record, retrained, save_images, save_pictures
from supernet.cli import predict as command
from supernet.data import load as load_images
from supernet.data import ordered
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.retraining import predictor
from supernet.retraining.load import load, retraining
from supernet.retraining.plan import RetrainingPlan, planned
from supernet.retraining.predictor import Prediction
from supernet.testing import Depthwise, ragged_space


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return retrained(tmp_path / "run", save_images(tmp_path))


def check_same_predictions(predictions: list[Prediction]) -> None:
    """Check that all are predictions for one image; the last bits depend on its place in a batch."""
    for prediction in predictions:
        assert prediction.label == predictions[0].label
        assert prediction.probabilities == pytest.approx(predictions[0].probabilities, abs=1e-6)


# --- loading


def test_a_predictor_has_the_architecture_classes_and_moments_of_its_run(run: Run) -> None:
    loaded, config = load(run.path), run.config
    assert not loaded.training
    assert not any(module.training for module in loaded.modules())
    assert loaded.classes == ("0", "1", "2")
    assert loaded.genotype == run.genotype
    assert loaded.space.name == "nasbench201"
    assert (loaded.network_size.width, loaded.network_size.depth) == (2, 1)
    assert loaded.size == loaded.image_size == (8, 8)
    assert loaded.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert loaded.std.flatten().tolist() == pytest.approx(config["std"])
    assert {name for name, _ in loaded.named_buffers() if "." not in name} == {"mean", "std"}


def test_the_weights_of_the_last_or_the_best_epoch_are_loaded(run: Run) -> None:
    plan, x = planned(CELL, data=run.config["data"], device="cpu", width=2, depth=1), noise(4, 1, 8, 8)
    outputs = []
    for weights, seed in (("last", 2), ("best", 1)):
        network = Network(plan.space, plan.genotype, plan.network_size).eval()
        network.load_state_dict(network_state(plan, seed)["task"]["network"])
        loaded = load(run, weights=weights)
        torch.testing.assert_close(loaded(x), network((x / 255 - loaded.mean) / loaded.std))
        outputs.append(loaded(x))
    assert (outputs[0] - outputs[1]).abs().max() > 0.01


def test_a_network_is_loaded_without_a_draw(run: Run) -> None:
    state = torch.get_rng_state()
    load(run)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_auxiliary_head_is_not_loaded(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path), auxiliary=0.4)
    state = run.load_checkpoint(print)
    assert any(name.startswith("auxiliary.") for name in state["task"]["network"])
    assert load(run).network.auxiliary is None


def test_a_search_loads_its_only_retraining(tmp_path: Path) -> None:
    search = Run(tmp_path / "search")
    search.start(record("search"), {})
    (search.path / "notes").mkdir()
    assert message(load, search) == f"run '{search.path}' has no retrained network: supernet retrain {search.path}"
    data = save_images(tmp_path)
    inner = retrained(search.path / "quick-0", data)
    assert load(search.path).genotype == inner.genotype
    assert retraining(search).path == inner.path
    retrained(search.path / "quick-1", data)
    both = f"{search.path / 'quick-0'}, {search.path / 'quick-1'}"
    expected = f"run '{search.path}' holds several retrainings: give one of {both}"
    assert message(load, search) == expected


def test_an_unusable_run_is_one_line(run: Run, tmp_path: Path) -> None:
    assert message(load, tmp_path / "nothing").startswith(f"'{tmp_path / 'nothing'}' is no run folder: give that of a ")
    expected = message(load, run, weights="lst")
    assert expected == "unknown weights 'lst'; did you mean 'last'? known: last, best"
    assert "device 'tpu' cannot be used here" in message(load, run, device="tpu")
    assert "device 'None' cannot be used here: expected auto, cpu, cuda" in message(load, run, device=None)
    (run.path / "summary.json").unlink()
    assert message(load, run) == f"run '{run.path}' has not finished: start it again with the same command to go on"


def test_a_missing_or_damaged_checkpoint_is_one_line(run: Run) -> None:
    folder = run.path / "checkpoints"
    for name in ("last.pt", "best.pt"):
        content = bytearray((folder / name).read_bytes())
        content[100] ^= 1
        (folder / name).write_bytes(content)
    expected = f"checkpoint '{folder / 'last.pt'}' is damaged: take the best weights instead"
    assert message(load, run) == expected  # the summary is not of the checkpoint before it
    assert (folder / "last.pt").exists()
    assert message(load, run, weights="best").startswith(f"checkpoint '{folder / 'best.pt'}' is damaged")
    for file in folder.iterdir():
        file.unlink()
    assert message(load, run) == f"run '{run.path}' has no checkpoint: retrain again, with --force"
    assert message(load, run, weights="best").startswith(f"run '{run.path}' has no best checkpoint")


@pytest.mark.parametrize("other", [{"width": 3}, {"depth": 2}, {"what": CELL.replace("skip_connect", "nor_conv_1x1")}])
def test_a_checkpoint_of_another_network_is_one_line(run: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    stranger = retrained(tmp_path / "other", run.config["data"], **other)
    (stranger.path / "checkpoints" / "last.pt").replace(run.path / "checkpoints" / "last.pt")
    assert "has other settings than its checkpoints were made with" in message(load, run)


def test_a_checkpoint_of_a_search_is_one_line(run: Run) -> None:
    run.save_checkpoint({"task": {"method": {}}})
    assert message(load, run).startswith(f"checkpoint or metrics of run '{run.path}' are of something else than")


def test_a_user_defined_space_has_to_be_given(tmp_path: Path) -> None:
    space = ragged_space()
    genotype = space.choose({kind: [0] * len(cell.edges) for kind, cell in space.cells.items()})
    run = retrained(tmp_path / "run", save_images(tmp_path), genotype, space=space)
    advice = "give it, too, as --space module:NAME, or space= in Python"
    assert message(load, run) == f"space 'ragged' is one of your own: {advice}"
    loaded = load(run, space=space)
    assert any(isinstance(module, Depthwise) for module in loaded.modules())


# --- preprocessing


def test_images_are_normalised_by_the_moments_of_the_training_images(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, channels=3))
    loaded, x = load(run), noise(5, 3, 8, 8)
    seen: list[Tensor] = []
    loaded.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    logits = loaded(x)
    assert logits.shape == (5, 3)
    with np.load(run.config["data"]) as archive:
        train = archive["x_train"] / 255  # (N, H, W, C)
    mean, std = (torch.from_numpy(moment(train, axis=(0, 1, 2))).view(3, 1, 1) for moment in (np.mean, np.std))
    torch.testing.assert_close(seen[0].double(), (x.double() / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_pixels_give_the_logits_of_normalised_batches(run: Run) -> None:
    images, loaded = load_images(run.config["data"]), load(run)
    for batch in ordered(images, None, 7):
        torch.testing.assert_close(loaded(images.x[batch.index]), loaded.network(batch.x))


def test_floats_are_not_divided_twice(run: Run) -> None:
    loaded = load(run)
    with pytest.raises(UserError, match="takes pixels as uint8: `predict` also takes floats"):
        loaded(noise(2, 1, *loaded.size).float() / 255)


# --- predictions


def test_probabilities_are_the_softmax_of_the_logits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, x = load(run), noise(5, 1, 8, 8)
    monkeypatch.setattr(predictor, "BATCH", 2)
    predictions = loaded.predict(x)
    assert len(predictions) == 5
    assert len({prediction.label for prediction in predictions}) > 1
    for prediction, row in zip(predictions, loaded(x).tolist(), strict=True):
        shares = [math.exp(logit) / sum(map(math.exp, row)) for logit in row]
        assert list(prediction.probabilities.values()) == pytest.approx(shares)
        assert list(prediction.probabilities) == ["0", "1", "2"]
        assert (
            prediction.probability
            == prediction.probabilities[prediction.label]
            == max(prediction.probabilities.values())
        )
    assert loaded.predict([]) == []
    assert not loaded(x).is_inference()


def test_every_type_of_image_gives_the_same_prediction(run: Run, tmp_path: Path) -> None:
    loaded, grey = load(run), noise(1, 8, 8)[0]
    Image.fromarray(grey.numpy()).save(tmp_path / "a.png")
    given = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(grey.numpy())]
    given += [grey, grey[None], grey.numpy(), grey[..., None].numpy(), grey.double() / 255]
    predictions = loaded.predict(given)
    assert len(predictions) == len(given)
    check_same_predictions(predictions)


def test_tensors_of_a_type_that_numpy_has_not_are_taken(run: Run) -> None:
    network = load(run)
    (image,) = noise(1, *network.size).float() / 255
    taken, same = image.bfloat16(), image.bfloat16().float()
    assert network.predict([taken]) == network.predict([same])
    assert network.predict([torch._neg_view(-same)]) == network.predict([same])


def test_pictures_are_resized_and_cropped_to_the_training_size(run: Run, tmp_path: Path) -> None:
    loaded, small = load(run), noise(1, 8, 8)[0]
    large = small.repeat_interleave(3, dim=0).repeat_interleave(3, dim=1)  # each pixel as nine
    wide = torch.nn.functional.pad(large, (5, 5), value=255)  # the middle square is looked at
    coloured = torch.stack([wide] * 3, dim=2)
    Image.fromarray(coloured.numpy()).save(tmp_path / "a.png")
    check_same_predictions(loaded.predict([small, tmp_path / "a.png", Image.fromarray(wide.numpy())]))


def test_a_recipe_with_crops_predicts_from_the_middle(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, size=(11, 11)), crop=8)
    loaded, x = load(run), noise(1, 1, 11, 11)
    assert (loaded.size, loaded.image_size) == ((8, 8), (11, 11))
    Image.fromarray(x[0, 0].numpy()).save(tmp_path / "a.png")
    middle = x[0, :, 1:9, 1:9]
    predictions = loaded.predict([middle, x[0], tmp_path / "a.png", Image.fromarray(x[0, 0].numpy())])
    check_same_predictions(predictions)
    expected = message(loaded.predict, [noise(1, 10, 10)])
    assert expected == "image 0 is 1x10x10 (channels, height, width); the network was trained on 1x11x11"


def test_crops_of_images_that_are_not_square_are_of_pictures_of_their_size(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, size=(9, 12)), crop=8)
    loaded, x = load(run), noise(1, 1, 9, 12)
    assert (loaded.size, loaded.image_size) == ((8, 8), (9, 12))
    Image.fromarray(x[0, 0].numpy()).save(tmp_path / "a.png")
    check_same_predictions(loaded.predict([x[0], x[0, :, :8, 2:10], tmp_path / "a.png"]))
    assert "is 1x7x12 (channels, height, width); the network was trained on 1x9x12" in message(
        loaded.predict, [x[0, :, 1:8]]
    )


def test_crops_of_runs_that_have_not_recorded_the_size_of_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetrainingPlan, "_image_sides", {})
    run = retrained(tmp_path / "run", save_images(tmp_path, size=(9, 12)), crop=8)
    loaded, x = load(run), noise(1, 1, 9, 12)
    assert loaded.image_size is None
    check_same_predictions(loaded.predict([x[0], x[0, :, :8, 2:10]]))


def test_images_that_are_not_square(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, size=(6, 9)))
    loaded, grey = load(run), noise(1, 6, 9)[0]
    Image.fromarray(grey.numpy()).save(tmp_path / "a.png")
    predictions = loaded.predict([grey, tmp_path / "a.png", Image.fromarray(grey.numpy())])
    check_same_predictions(predictions)


def test_a_grey_array_is_one_of_three_equal_channels(tmp_path: Path) -> None:
    loaded, grey = load(retrained(tmp_path / "run", save_images(tmp_path, channels=3))), noise(1, 8, 8)[0]
    check_same_predictions(loaded.predict([grey, grey.expand(3, 8, 8), Image.fromarray(grey.numpy())]))


class Damaged(Image.Image):
    def load(self) -> Any:
        raise OSError("image file is truncated")

    def convert(self, *given: Any, **more: Any) -> Any:
        return self.load()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nothing.png", "cannot read image 'nothing.png': No such file or directory"),
        (7, "image 1 is of type int; expected a path, a pillow image or an array"),
        (torch.full((8, 8), 256), "image 1 holds integers from 256 to 256; expected 0 to 255"),
        (np.ma.masked_equal(np.zeros((8, 8)), 0), "image 1 has a mask, and no value may be missing"),
        (torch.zeros(8, dtype=torch.uint8), "image 1 has shape (8,); expected (H, W), (H, W, C) or (C, H, W) with C"),
        (noise(3, 8, 8), "image 1 is 3x8x8 (channels, height, width); the network was trained on 1x8x8"),
        (noise(1, 16, 16), "image 1 is 1x16x16 (channels, height, width); the network was trained on 1x8x8"),
        (Image.new("F", (8, 8)), "cannot read image 1: it has floating-point pixels; save it with 8 or 16 bits"),
        (Damaged(), "cannot read image 1: "),
        (torch.eye(8).to_sparse(), "a tensor of float32 and sparse_coo on device cpu cannot be read: give a dense one"),
        (torch.zeros(8, 8, device="meta"), "a tensor of float32 and strided on device meta cannot be read"),
        (torch.zeros(8, 8).to(torch.float8_e4m3fn), "a tensor of float8_e4m3fn and strided on device cpu cannot"),
    ],
)
def test_an_unusable_image_is_one_line(run: Run, image: Any, expected: str) -> None:
    assert message(load(run).predict, [noise(1, 8, 8), image]).startswith(expected)


@pytest.mark.parametrize("image", ["a.png", Path("a.png"), Image.new("L", (8, 8)), None, 7])
def test_a_single_image_outside_a_list_is_refused(run: Run, image: Any) -> None:
    assert message(load(run).predict, image) == "predict takes several images: give a single one as a list of one"


# --- the command


def test_predict_prints_a_line_per_image(run: Run, call: Call, tmp_path: Path) -> None:
    for number, pixels in enumerate(noise(3, 8, 8)):
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{number}.png")
    files = ["0.png", "1.png", "2.png"]
    wanted = load(run, weights="best").predict(files)
    status, out, err = call("predict", "run", *files, "--weights", "best")
    assert (status, err) == (0, "")
    lines = [
        f"{file}  {prediction.label}  {100 * prediction.probability:.1f} %"
        for file, prediction in zip(files, wanted, strict=True)
    ]
    assert out.splitlines() == lines
    status, out, err = call("predict", "run", *files, "--weights", "best", "--json")
    assert (status, err) == (0, "")
    rows = json.loads(out)
    assert [row["image"] for row in rows] == files
    assert [Prediction(row["label"], row["probability"], row["probabilities"]) for row in rows] == wanted


def test_predict_prints_nothing_if_an_image_cannot_be_read(run: Run, call: Call, tmp_path: Path) -> None:
    Image.fromarray(noise(1, 8, 8)[0].numpy()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    for json_too in ([], ["--json"]):
        expected = "supernet: cannot read image 'b.png': not an image\n"
        assert call("predict", "run", "a.png", "b.png", *json_too) == (2, "", expected)
    assert call("predict", "run") == (2, "", "supernet: missing IMAGE: picture files (see supernet predict --help)\n")
    assert call("predict", "nothing", "a.png")[2].startswith("supernet: 'nothing' is no run folder")


def test_predict_takes_folders_and_patterns(run: Run, call: Call, tmp_path: Path) -> None:
    save_pictures(tmp_path, "photos/b/2.png", "photos/a.PNG", "photos/.hidden.png", "more/[1].png", "more/x.gif")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    (tmp_path / "photos" / "b" / "loop").symlink_to(tmp_path / "photos")
    status, out, err = call("predict", "run", "photos/", "more/[1].png", "more/*")
    assert status == 0
    files = ["photos/a.PNG", "photos/b/2.png", "more/[1].png", "more/[1].png", "more/x.gif"]
    assert [line.split()[0] for line in out.splitlines()] == files
    assert err == "supernet: left out: 2 files without a picture\n"
    (tmp_path / "more" / "notes.txt").write_text("no picture")
    assert call("predict", "run", "more")[2] == "supernet: left out: 1 file without a picture\n"
    _, out, err = call("predict", "run", "**/*.png")
    assert [line.split()[0] for line in out.splitlines()] == ["more/[1].png", "photos/b/2.png"]
    _, out, _ = call("predict", "run", "photos/**")
    assert [line.split()[0] for line in out.splitlines()] == ["photos/a.PNG", "photos/b/2.png"]  # each once
    assert call("predict", "run", "a*.png", "photos") == (2, "", "supernet: no file matches 'a*.png'\n")
    (tmp_path / "empty").mkdir()
    assert call("predict", "run", "empty") == (2, "", "supernet: no picture that can be read in empty\n")


@pytest.mark.parametrize(("name", "expected"), [("x.png", "cannot read image"), ("*.png", "no file matches")])
def test_the_home_of_nobody_is_a_missing_path(run: Run, call: Call, name: str, expected: str) -> None:
    path = f"~nobody-of-this-name/{name}"
    status, out, err = call("predict", "run", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"supernet: {expected} '{path}'")
    said = call("predict", "run", "run", "--csv", "~nobody-of-this-name/a.csv")[2]
    assert said.startswith("supernet: cannot write '~nobody-of-this-name/a.csv': No such file")


def test_predictions_are_written_as_csv(run: Run, call: Call, tmp_path: Path) -> None:
    save_pictures(tmp_path, "a.png", "=1+1.png", 'b,"c".png')
    wanted = load(run).predict(["=1+1.png", "a.png", 'b,"c".png'])
    status, out, err = call("predict", "run", "*.png", "--csv", "-", "--top", "2")
    assert (status, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["image", "label", "probability", "label_2", "probability_2"]
    assert [row["image"] for row in rows] == ["./=1+1.png", "a.png", 'b,"c".png']  # none is a formula
    for row, prediction in zip(rows, wanted, strict=True):
        second = sorted(prediction.probabilities, key=lambda label: -prediction.probabilities[label])[1]
        assert (row["label"], row["label_2"]) == (prediction.label, second)
        assert float(row["probability_2"]) == pytest.approx(prediction.probabilities[second], rel=1e-5)
    assert call("predict", "run", "*.png", "--csv", "out.csv", "--top", "9") == (0, "out.csv (3 images)\n", "")
    assert call("predict", "run", "a.png", "--csv", "one.csv") == (0, "one.csv (1 image)\n", "")
    assert (tmp_path / "out.csv").read_text().splitlines()[0].endswith(",label_3,probability_3")
    (tmp_path / "d.png").write_text("no picture")
    before = (tmp_path / "out.csv").read_text()
    assert call("predict", "run", "*.png", "--csv", "out.csv")[0] == 2
    assert (tmp_path / "out.csv").read_text() == before
    assert not list(tmp_path.glob(".*"))
    assert call("predict", "run", "a.png", "--csv", "no/out.csv")[2].startswith("supernet: cannot write 'no/out.csv': ")
    assert call("predict", "run", "a.png", "--csv", "/dev/null")[0] == 0
    assert not Path("/dev/null").is_file()
    assert "give one" in call("predict", "run", "a.png", "--csv", "-", "--json")[2]
    assert call("predict", "run", "a.png", "--top", "0")[2] == "supernet: setting top must be at least 1, not 0\n"


@pytest.mark.parametrize(("label", "written"), [("=A1", "'=A1"), ("-1", "-1"), ("@x", "'@x"), ("cat", "cat")])
def test_no_label_is_a_formula(label: str, written: str) -> None:
    assert command._no_formula(label) == written


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_name_in_a_table_steers_a_terminal() -> None:
    rows = [("\x1b[2J.png", Prediction("\x1b[1m", 1.0, {"\x1b[1m": 1.0}))]
    screen, file = Terminal(), io.StringIO()
    command._print_csv(iter(rows), 1, screen)
    command._print_csv(iter(rows), 1, file)
    assert screen.getvalue() == "image,label,probability\n\\x1b[2J.png,\\x1b[1m,1\n"
    assert file.getvalue() == "image,label,probability\n\x1b[2J.png,\x1b[1m,1\n"


def test_the_most_probable_classes_are_printed(run: Run, call: Call, tmp_path: Path) -> None:
    save_pictures(tmp_path, "a.png")
    (found,) = load(run).predict(["a.png"])
    (best, p), (second, q), _ = sorted(found.probabilities.items(), key=lambda pair: -pair[1])
    expected = f"a.png  {best}  {100 * p:.1f} %, {second} {100 * q:.1f} %\n"
    assert call("predict", "run", "a.png", "--top", "2") == (0, expected, "")
    rows = json.loads(call("predict", "run", "a.png", "--top", "2", "--json")[1])
    assert rows == [{"image": "a.png", "label": best, "probability": p, "probabilities": {best: p, second: q}}]


def test_all_broken_pictures_are_named_or_skipped(
    run: Run, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pictures(tmp_path, "a.png", "d.png", "e.png")
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    reasons = [f"cannot read image '{name}': not an image" for name in ("b.png", "c.png")]
    expected = "".join(f"supernet: {reason}\n" for reason in reasons)
    expected += "supernet: 2 images cannot be used; --skip-broken goes on without\n"
    assert call("predict", "run", "*.png") == (2, "", expected)
    whole = call("predict", "run", "a.png", "d.png", "e.png")[1]
    skipped = "".join(f"supernet: left out: {reason}\n" for reason in reasons)
    assert call("predict", "run", "*.png", "--skip-broken") == (0, whole, skipped)
    monkeypatch.setattr(predictor, "BATCH", 1)
    monkeypatch.setattr(command, "_LINES", 1)
    assert call("predict", "run", "*.png", "--skip-broken")[1] == whole
    assert call("predict", "run", "*.png")[1] == whole.splitlines(keepends=True)[0]  # printed before one was broken


def test_images_are_predicted_while_they_are_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, x, taken = load(run), noise(5, 1, 8, 8), []
    monkeypatch.setattr(predictor, "BATCH", 2)

    def images() -> Iterator[Any]:
        for number, image in enumerate([*x[:3], "nothing.png", *x[3:]]):
            taken.append(number)
            yield image

    found = loaded.each(images())
    first = next(found)
    assert taken == [0, 1]
    rest = list(found)
    assert str(rest.pop(2)) == "cannot read image 'nothing.png': No such file or directory"
    check_equal = zip([first, *rest], loaded.predict(x), strict=True)
    assert all(one.probabilities == pytest.approx(two.probabilities, abs=1e-6) for one, two in check_equal)


def test_predict_finds_a_space_in_a_module_of_the_current_folder(call: Call, tmp_path: Path) -> None:
    code = "from supernet.testing import ragged_space\nMINE = ragged_space()\n"
    (tmp_path / "space_for_test_predictor.py").write_text(code)
    space = ragged_space()
    genotype = space.choose({kind: [0] * len(cell.edges) for kind, cell in space.cells.items()})
    run = retrained(tmp_path / "run", save_images(tmp_path), genotype, space=space)
    Image.fromarray(noise(1, 8, 8)[0].numpy()).save(tmp_path / "a.png")
    assert "give it, too, as --space module:NAME" in call("predict", str(run.path), "a.png")[2]
    status, out, _ = call("predict", str(run.path), "a.png", "--space", "space_for_test_predictor:MINE")
    assert status == 0
    assert out.startswith("a.png  ")
