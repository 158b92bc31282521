"""Evaluation: its numbers against a computation by hand, its images, its files, and `supernet evaluate`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from conftest import Call
from pairs import Pairs
from retrained import CELL, message, noise, retrained, save_images, save_pictures
from supernet.data import Images, hold_out
from supernet.data import load as load_images
from supernet.engine.measure import Latency
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.retraining import evaluate as evaluating
from supernet.retraining.accuracy import class_scores, topk_accuracy
from supernet.retraining.evaluate import evaluate
from supernet.retraining.evaluation import ClassScore, Evaluation, Pass, files_of
from supernet.retraining.load import load
from supernet.retraining.predictor import Predictor
from supernet.testing import PairDataset, tiny_images


@pytest.fixture(autouse=True)
def fixed_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace measured latencies by fixed numbers."""
    monkeypatch.setattr(evaluating, "latency", lambda module, x: Latency(len(x), 2.0, 1.5, 2.75, 50, 1))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return retrained(tmp_path / "run", save_images(tmp_path, test=12))


def let_it_predict(predicted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network predict these classes, one per image."""
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), 3).float()
    monkeypatch.setattr(evaluating, "_logits", lambda predictor, x: logits)


# --- numbers


def test_confusion_and_scores_per_class(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # of class      0  1  2  0  1  2  0  1  2  0  1  2
    let_it_predict([0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1], monkeypatch)
    found = evaluate(run, device="cpu")
    assert found.confusion == ((3, 1, 0), (1, 3, 0), (2, 2, 0))
    assert found.accuracy == 6 / 12
    assert found.top5 is None
    first, second, third = found.classes
    assert first == ClassScore("0", precision=3 / 6, recall=3 / 4, f1=2 * 3 / (6 + 4), support=4)
    assert second == ClassScore("1", precision=3 / 6, recall=3 / 4, f1=pytest.approx(0.6), support=4)
    assert third == ClassScore("2", precision=None, recall=0.0, f1=0.0, support=4)  # no image was taken for it


def test_a_class_without_images_has_no_recall() -> None:
    seen, unseen, nowhere = class_scores(((1, 1, 0), (0, 0, 0), (0, 0, 0)), ("a", "b", "c"))
    assert seen == ClassScore("a", 1.0, 0.5, pytest.approx(2 / 3), 2)
    assert unseen == ClassScore("b", 0.0, None, 0.0, 0)
    assert nowhere == ClassScore("c", None, None, None, 0)


def test_top_5_accuracy() -> None:
    logits = torch.arange(12.0).repeat(4, 1)  # class 11 first, then 10, ...
    assert topk_accuracy(logits, torch.tensor([11, 7, 6, 0]), 5) == 2 / 4
    assert topk_accuracy(logits, torch.tensor([11, 7, 6, 0]), 1) == 1 / 4


def test_top_5_accuracy_is_measured_for_more_than_ten_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.zeros((22, 8, 8), np.uint8), np.arange(22) % 11
    np.savez(tmp_path / "many.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    run = retrained(tmp_path / "run", tmp_path / "many.npz")
    logits = torch.arange(11.0).repeat(2, 1)
    logits[0, 0] = 8.5  # the class of the first image comes third; that of the second image far behind
    monkeypatch.setattr(evaluating, "_logits", lambda predictor, x: logits)
    found = evaluate(run, device="cpu")
    assert (found.accuracy, found.top5) == (0.0, 0.5)


def confusion_of(loaded: Predictor, x: Tensor, y: Tensor) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix, predicting image by image."""
    counts = [[0] * len(loaded.classes) for _ in loaded.classes]
    for image, label in zip(x, y.tolist(), strict=True):
        counts[label][int(loaded(image[None]).argmax())] += 1
    return tuple(map(tuple, counts))


@pytest.mark.parametrize("weights", ["last", "best"])
def test_the_network_of_the_chosen_weights_predicts_the_test_images(
    run: Run, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evaluate(run.path, weights=weights, device="cpu")
    images = load_images(run.config["data"])
    assert found.confusion == confusion_of(load(run, weights=weights), images.x_test, images.y_test)
    assert len({sum(column) for column in zip(*found.confusion, strict=True)}) > 1
    assert (found.weights, found.images, found.count) == (weights, "test", 12)


def test_parameters_flops_memory_and_environment(run: Run) -> None:
    found, loaded = evaluate(run, device="cpu"), load(run)
    price = cost(loaded.space, loaded.genotype, loaded.network_size)
    assert (found.params, found.flops) == (price.params, price.flops)
    assert found.params == sum(p.numel() for p in loaded.parameters())
    assert [each.latency.batch for each in found.passes] == [1, 32]
    one, many = (each.memory for each in found.passes)
    assert 8 * 8 * (1 + 4 * 2) < one < many == 32 * one  # at least the image and the stem's output
    assert found.device == "cpu"
    assert found.environment["torch"] == torch.__version__


# --- images


def test_without_test_images_the_validation_images_are_evaluated(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path))
    images, found = load_images(run.config["data"]), evaluate(run, device="cpu")
    validation = hold_out(images.y, run.config["validation_share"])[1]
    assert (found.images, found.count) == ("validation", len(validation)) == ("validation", 3)
    assert found.confusion == confusion_of(load(run), images.x[validation], images.y[validation])


def test_of_other_data_the_test_images_or_all_images_are_evaluated(run: Run, tmp_path: Path) -> None:
    draws = np.random.default_rng(5)
    other = {"x_train": draws.integers(0, 99, (9, 8, 8), dtype=np.uint8), "y_train": np.arange(9) % 3}
    np.savez(tmp_path / "all.npz", **other)
    found = evaluate(run, data=tmp_path / "all.npz", device="cpu")
    assert (found.data, found.images, found.count) == ("all", "all", 9)
    x = torch.from_numpy(other["x_train"])[:, None]
    assert found.confusion == confusion_of(load(run), x, torch.from_numpy(other["y_train"]))
    np.savez(tmp_path / "both.npz", **other, x_test=other["x_train"][:4], y_test=other["y_train"][:4])
    found = evaluate(run, data=tmp_path / "both.npz", device="cpu")
    assert (found.data, found.images, found.count) == ("both", "test", 4)
    assert found.fingerprint != run.config["fingerprint"]


def test_a_dataset_has_to_be_given_again(tmp_path: Path) -> None:
    pairs = PairDataset(tiny_images())
    run = retrained(tmp_path / "run", pairs)  # type: ignore[arg-type]
    expected = (
        f"run '{run.path}' was trained on 'PairDataset', which is not here: give images with --data, or data= in Python"
    )
    assert message(evaluate, run) == expected
    found = evaluate(run, data=pairs, device="cpu")
    assert (found.images, found.count) == ("validation", 6)  # a tenth of each class of 16: the same data
    assert [score.name for score in found.classes] == ["top", "middle", "bottom"]


def test_a_recipe_with_crops_is_evaluated_on_the_middle(tmp_path: Path) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, test=6, size=(11, 11)), crop=8)
    images: Images = load_images(run.config["data"])
    found = evaluate(run, device="cpu")
    assert found.confusion == confusion_of(load(run), images.x_test[:, :, 1:9, 1:9], images.y_test)


def test_data_may_lack_classes_of_the_network(tmp_path: Path, call: Call) -> None:
    def folder(name: str, images: dict[str, int]) -> Path:
        for label, count in images.items():
            save_pictures(tmp_path / name / label, *(f"{number}.png" for number in range(count)))
        return tmp_path / name

    run = retrained(tmp_path / "run", folder("photos", {"cat": 5, "dog": 5, "owl": 5}))
    found = evaluate(run, data=folder("two", {"cat": 1, "owl": 3}), device="cpu")
    assert [(score.name, score.support) for score in found.classes] == [("cat", 1), ("dog", 0), ("owl", 3)]
    cat, dog, owl = found.classes
    assert dog.recall is None
    assert (found.accuracy, found.balanced_accuracy) == (
        (cat.recall + 3 * owl.recall) / 4,
        (cat.recall + owl.recall) / 2,
    )
    alone = evaluate(run, data=folder("one", {"owl": 2}), device="cpu")
    assert alone.accuracy == alone.balanced_accuracy == alone.classes[2].recall
    status, out, err = call("evaluate", "run", "--data", "two", "--device", "cpu")
    assert (status, err) == (0, "")
    assert f"balanced      {100 * found.balanced_accuracy:.2f} %, the mean recall of the classes\n" in out
    assert re.search(r"^dog +\S+ +- +\S+ +0$", out, re.MULTILINE)
    assert out.splitlines()[-2] == "run folder    run (evaluation-two.json, confusion-two.svg)"


def test_broken_pictures_are_skipped_as_in_the_training(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        save_pictures(tmp_path / "photos" / label, *(f"{number}.png" for number in range(5)))
    (tmp_path / "photos" / "cat" / "x.png").write_text("no picture")
    run = retrained(tmp_path / "run", tmp_path / "photos", skip_broken=True)
    own = evaluate(run, device="cpu")  # read as in the training
    assert own.fingerprint == run.config["fingerprint"]
    assert own.read.endswith("1 broken, left out")
    (tmp_path / "photos").rename(tmp_path / "other")
    assert "x.png" in message(evaluate, run, data=tmp_path / "other")
    assert evaluate(run, data=tmp_path / "other", skip_broken=True, device="cpu").read == own.read


def picture_set(folder: Path, *size: int) -> Path:
    """Write pictures of noise, 10 of each of three classes, smaller with every one."""
    for number, pixels in enumerate(noise(30, *size)):
        place = folder / str(number % 3)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()[number % 4 :]).save(place / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("crop", [0, 6])
@pytest.mark.parametrize("stream", [False, True])
def test_pictures_for_a_network_of_images_that_are_not_square_are_evaluated_as_in_predictions(
    tmp_path: Path, crop: int, *, stream: bool
) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path, size=(8, 12)), crop=crop)
    photos = picture_set(tmp_path / "photos", 21, 24)
    files = sorted(photos.rglob("*.png"))
    labels = [prediction.label for prediction in load(run).predict(files)]
    right = sum(file.parent.name == label for file, label in zip(files, labels, strict=True))
    found = evaluate(run, data=photos, device="cpu", stream=stream)
    assert found.accuracy == right / len(files)
    assert [sum(column) for column in zip(*found.confusion, strict=True)] == [labels.count(n) for n in "012"]
    assert "8x12 grey" in found.read
    pictures = [Image.open(file) for file in files]
    pairs = Pairs(pictures, [int(file.parent.name) for file in files], None)
    assert evaluate(run, data=pairs, device="cpu").confusion == found.confusion


@pytest.mark.parametrize("stream", [False, True])
def test_coloured_pictures_are_evaluated_by_a_grey_network_as_in_predictions(tmp_path: Path, *, stream: bool) -> None:
    run = retrained(tmp_path / "run", save_images(tmp_path))
    photos = picture_set(tmp_path / "photos", 21, 24, 3)
    files = sorted(photos.rglob("*.png"))
    labels = [prediction.label for prediction in load(run).predict(files)]
    found = evaluate(run, data=photos, device="cpu", stream=stream)
    assert [sum(column) for column in zip(*found.confusion, strict=True)] == [labels.count(n) for n in "012"]
    pairs = Pairs([Image.open(file) for file in files], [int(file.parent.name) for file in files], None)
    assert evaluate(run, data=pairs, device="cpu").confusion == found.confusion


def test_grey_pictures_are_evaluated_by_a_network_for_colours(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        save_pictures(tmp_path / "grey" / label, *(f"{number}.png" for number in range(5)))
        save_pictures(tmp_path / "photos" / label, *(f"{number}.png" for number in range(5)))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photos" / "cat" / "red.png")
    run = retrained(tmp_path / "run", tmp_path / "photos")
    files = sorted((tmp_path / "grey").rglob("*.png"))
    labels = [prediction.label for prediction in load(run).predict(files)]
    found = evaluate(run, data=tmp_path / "grey", device="cpu")
    assert [sum(column) for column in zip(*found.confusion, strict=True)] == [labels.count(n) for n in ("cat", "dog")]


@pytest.mark.slow
def test_the_images_that_were_trained_on_are_not_evaluated_where_they_are_streamed(tmp_path: Path) -> None:
    """Without test images the validation images count, also where the training had all of them in memory."""
    for label in ("cat", "dog"):
        save_pictures(tmp_path / "photos" / label, *(f"{number}.png" for number in range(10)))
    for stream in (False, True):
        run = retrained(tmp_path / f"run-{stream}", tmp_path / "photos", stream=stream)
        found = [
            evaluate(run, device="cpu", data=data, stream=on_disk)
            for data in (None, tmp_path / "photos", tmp_path / "photos" / ".." / "photos")
            for on_disk in (False, True)
        ]
        assert {(each.images, each.confusion) for each in found} == {("validation", found[0].confusion)}
        assert found[0].count < 20
        save_pictures(tmp_path / "photos" / "cat", "more.png")
        for on_disk in (False, True):  # without their pixels, the labels tell
            with pytest.raises(UserError, match="has changed since"):
                evaluate(run, device="cpu", stream=on_disk)
            assert evaluate(run, data=tmp_path / "photos", device="cpu", stream=on_disk).images == "all"
        (tmp_path / "photos" / "cat" / "more.png").unlink()


def test_deep_pictures_are_scaled_as_in_the_training(tmp_path: Path) -> None:
    for part, top in (("photos", 4095), ("dark", 2000)):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            for number, pixels in enumerate(noise(5, 8, 8).int()):
                deep = (pixels * top // 255).numpy().astype(np.uint16)
                Image.fromarray(deep).save(tmp_path / part / label / f"{number}.png")
    run = retrained(tmp_path / "run", tmp_path / "photos")
    assert run.config["levels"][1] > 2000
    files = sorted((tmp_path / "dark").rglob("*.png"))
    labels = [prediction.label for prediction in load(run).predict(files)]
    right = sum(file.parent.name == label for file, label in zip(files, labels, strict=True))
    found = evaluate(run, data=tmp_path / "dark", device="cpu")
    assert found.accuracy == right / len(files)
    assert [sum(column) for column in zip(*found.confusion, strict=True)] == [labels.count(n) for n in ("cat", "dog")]


def test_deep_pictures_are_read_whole_by_a_network_of_8_bits_as_in_predictions(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        save_pictures(tmp_path / "photos" / label, *(f"{number}.png" for number in range(5)))
        (tmp_path / "deep" / label).mkdir(parents=True)
        for number, pixels in enumerate(noise(5, 8, 8).int()):
            deep = (pixels * 2000 // 255).numpy().astype(np.uint16)
            Image.fromarray(deep).save(tmp_path / "deep" / label / f"{number}.png")
    run = retrained(tmp_path / "run", tmp_path / "photos")
    files = sorted((tmp_path / "deep").rglob("*.png"))
    labels = [prediction.label for prediction in load(run).predict(files)]
    for stream in (False, True):
        found = evaluate(run, data=tmp_path / "deep", device="cpu", stream=stream)
        counted = [sum(column) for column in zip(*found.confusion, strict=True)]
        assert counted == [labels.count(n) for n in ("cat", "dog")]
        assert "bits" not in found.read


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_of_which_none_can_be_read_are_one_line(tmp_path: Path, *, stream: bool) -> None:
    for label in ("cat", "dog"):
        save_pictures(tmp_path / "photos" / label, *(f"{number}.png" for number in range(5)))
        for part in ("bad", "half/train"):
            (tmp_path / part / label).mkdir(parents=True)
            (tmp_path / part / label / "x.png").write_text("no picture")
        save_pictures(tmp_path / "half" / "test" / label, "0.png")
    run = retrained(tmp_path / "run", tmp_path / "photos")
    for name in ("bad", "half"):
        said = message(evaluate, run, data=tmp_path / name, skip_broken=True, stream=stream, device="cpu")
        assert "read" in said


def test_labels_from_one_with_names_are_counted_from_one(tmp_path: Path) -> None:
    images = Images.of("noise", (noise(20, 1, 8, 8), 1 + torch.arange(20) % 2), ("a", "b"))
    pairs = PairDataset(images)
    run = retrained(tmp_path / "run", pairs)
    found = evaluate(run, data=pairs, device="cpu")
    assert [(score.name, score.support) for score in found.classes] == [("a", 1), ("b", 1)]  # validation images
    second = Subset(pairs, range(1, 20, 2))
    found = evaluate(run, data=second, device="cpu")
    assert [(score.name, score.support) for score in found.classes] == [("a", 0), ("b", 10)]
    for part in (Subset(pairs, range(0, 20, 2)), Pairs([noise(1, 8, 8)[0]] * 10, [1] * 10, ["a", "b"])):
        found = evaluate(run, data=part, device="cpu")  # without the last class, whose label would tell
        assert [(score.name, score.support) for score in found.classes] == [("a", 10), ("b", 0)]


# --- mistakes


def test_data_of_other_classes_or_channels_is_one_line(run: Run, tmp_path: Path) -> None:
    x = np.zeros((6, 8, 8), np.uint8)
    np.savez(tmp_path / "four.npz", x_train=x, y_train=[0, 1, 2, 3, 0, 1])
    np.savez(tmp_path / "rgb.npz", x_train=np.zeros((6, 8, 8, 3), np.uint8), y_train=np.arange(6) % 3)
    assert "0, 1, 2" in message(evaluate, run, data=tmp_path / "four.npz")  # and no 3
    expected = "each image of 'rgb' is 3x8x8 (channels, height, width); the network was trained on 1x8x8"
    assert message(evaluate, run, data=tmp_path / "rgb.npz") == expected
    assert "no such file" in message(evaluate, run, data=tmp_path / "nothing.npz")
    assert not (run.path / "evaluation.json").exists()


def test_wide_integers_for_a_network_of_8_bits_are_one_line_as_in_predictions(run: Run, tmp_path: Path) -> None:
    x, y = noise(9, 8, 8).numpy().astype(np.uint16) * 16, np.arange(9) % 3
    np.savez(tmp_path / "deep.npz", x_train=x, y_train=y)
    for data in (tmp_path / "deep.npz", (x, y), Pairs(x, y.tolist())):
        said = message(evaluate, run, data=data, device="cpu")
        assert f"integers from {x.min()} to {x.max()}; expected 0 to 255" in said
    assert message(load(run).predict, [x[-1]]).endswith("; expected 0 to 255")


def test_changed_or_missing_data_is_one_line(run: Run, tmp_path: Path) -> None:
    source = Path(run.config["data"])
    save_images(tmp_path, test=6)
    expected = (
        f"'{source}' has changed since run '{run.path}' was trained on it: give images with --data, or data= in Python"
    )
    assert message(evaluate, run) == expected
    source.unlink()
    assert "which is not here" in message(evaluate, run)


# --- files and the command


def test_an_evaluation_is_written_as_json_and_as_a_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    let_it_predict([0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1], monkeypatch)
    found = evaluate(run, device="cpu")
    written = json.loads((run.path / "evaluation.json").read_text())
    assert written == found.to_json()
    assert written["classes"][2] == {"name": "2", "precision": None, "recall": 0.0, "f1": 0.0, "support": 4}
    assert written["confusion"] == [[3, 1, 0], [1, 3, 0], [2, 2, 0]]
    time = {"batch": 32, "median": 2.0, "low": 1.5, "high": 2.75, "repeats": 50, "threads": 1}
    assert written["passes"][1]["latency"] == time
    assert "predicted class" in (run.path / "confusion.svg").read_text()
    files = {
        "checkpoints",
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "evaluation.json",
        "confusion.svg",
        "report.html",
    }
    assert {file.name for file in run.path.iterdir()} == files


def test_only_the_last_weights_on_its_own_data_are_the_evaluation_of_a_run(run: Run, tmp_path: Path) -> None:
    evaluate(run, device="cpu")
    own = {name: (run.path / name).read_bytes() for name in ("evaluation.json", "confusion.svg")}
    other = np.zeros((6, 8, 8), np.uint8)
    np.savez(tmp_path / "a b (2).x.npz", x_train=other, y_train=np.arange(6) % 3)
    for settings, names in (
        ({"weights": "best"}, {"evaluation.best.json", "confusion.best.svg"}),
        ({"data": tmp_path / "a b (2).x.npz"}, {"evaluation-a-b-2-x.json", "confusion-a-b-2-x.svg"}),
        ({"data": tmp_path / "a b (2).x.npz", "weights": "best"}, {"evaluation-a-b-2-x.best.json"}),
    ):
        found = evaluate(run, **settings, device="cpu")  # type: ignore[arg-type]
        assert names <= {file.name for file in run.path.iterdir()}
        file, _ = files_of(run, found)
        assert json.loads((run.path / file).read_text()) == found.to_json()
    assert {name: (run.path / name).read_bytes() for name in own} == own
    again = evaluate(run, data=run.config["data"], device="cpu")  # its own data, given again
    assert files_of(run, again) == ("evaluation.json", "confusion.svg")
    run.start(run.config | {"seed": 1}, {}, force=True)
    assert {file.name for file in run.path.iterdir()} == {"config.yaml", "environment.json"}


def test_data_of_one_name_in_two_places_has_an_evaluation_of_each(run: Run, tmp_path: Path) -> None:
    def images(place: str, count: int) -> Path:
        (tmp_path / place).mkdir(exist_ok=True)
        x = np.random.default_rng(count).integers(0, 99, (count, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / place / "photos.npz", x_train=x, y_train=np.arange(count) % 3)
        return tmp_path / place / "photos.npz"

    def file(**settings: Any) -> str:
        found = evaluate(run, **settings, device="cpu")
        name, _ = files_of(run, found)
        assert json.loads((run.path / name).read_text()) == found.to_json()
        return name

    one, other = images("a", 9), images("b", 12)
    assert file(data=one) == "evaluation-photos.json"
    second = file(data=other)
    assert re.fullmatch(r"evaluation-photos-[0-9a-f]{8}\.json", second)
    assert file(data=other, weights="best") == second.replace(".json", ".best.json")
    assert file(data=images("a", 6)) == "evaluation-photos.json"  # the same place, changed
    assert file(data=other) == second
    assert json.loads((run.path / "evaluation-photos.json").read_text())["count"] == 6


def test_its_own_data_left_on_the_disk_is_that_of_a_run_in_memory(tmp_path: Path) -> None:
    for place in ("a", "b"):
        for label in ("cat", "dog"):
            size = 8 if place == "a" else 9
            save_pictures(tmp_path / place / "photos" / label, *(f"{number}.png" for number in range(size)))
    run = retrained(tmp_path / "run", tmp_path / "a" / "photos")
    for settings, name in (
        ({"data": tmp_path / "b" / "photos"}, "evaluation-photos.json"),
        ({}, "evaluation.json"),
        ({"data": tmp_path / "a" / "photos"}, "evaluation.json"),
    ):
        found = evaluate(run, **settings, device="cpu", stream=True)  # type: ignore[arg-type]
        assert files_of(run, found)[0] == name
        assert json.loads((run.path / name).read_text()) == found.to_json()
    assert json.loads((run.path / "evaluation-photos.json").read_text())["count"] == 18


@pytest.mark.parametrize(("name", "part"), [("", "data"), ("../../x", "x"), ("é" * 99, "é" * 60), ("a\n[b]", "a-b")])
def test_a_name_of_data_is_safe_in_the_name_of_a_file(name: str, part: str, run: Run) -> None:
    found = Evaluation(name, "0", "all", 9, "9 images", "last", 0.25, 0.3, None, (), (), 10**6, 10**6, "cpu", (), {})
    assert files_of(run, found) == (f"evaluation-{part}.json", f"confusion-{part}.svg")


def test_the_command_prints_the_measurements(run: Run, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    let_it_predict([0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1], monkeypatch)
    status, out, err = call("evaluate", "run", "--device", "cpu", "--weights", "best")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines.pop(0) == "read 30 images of 3 classes (0, 1, 2), 8x8 grey; 12 test images"
    assert lines[0] == "accuracy      50.00 %; on 12 test images of noise"
    assert lines[1] == "weights       those of the best epoch"
    assert re.fullmatch(r"size          0\.\d{3} M parameters, \d\.\d M FLOPs", lines[2])
    spread = r"2\.00 ms \(half of 50 passes: 1\.50 to 2\.75; 1 thread\), 0\.\d\d MB beside the weights"
    assert re.fullmatch(f"on cpu        1 image: {spread}", lines[3])
    assert re.fullmatch(f"              32 images: {spread}", lines[4])
    assert re.search(r"^class +precision % +recall % +F1 % +images$", out, re.MULTILINE)
    assert re.search(r"^0 +50\.0 +75\.0 +60\.0 +4$", out, re.MULTILINE)
    assert re.search(r"^2 +- +0\.0 +0\.0 +4$", out, re.MULTILINE)
    assert lines[-2] == "run folder    run (evaluation.best.json, confusion.best.svg)"
    assert lines[-1] == "next          supernet predict run IMAGE ..."


def test_of_many_classes_the_command_prints_those_of_lowest_f1(capsys: pytest.CaptureFixture[str]) -> None:
    from supernet.cli import use
    from supernet.report.console import Console

    scores = tuple(ClassScore(f"[{number}]", 0.5, 0.5, None if number == 3 else number / 30, 7) for number in range(30))
    needed = (Pass(Latency(1, 1.0, 1.0, 1.0, 50, 2), 10**6),)
    found = Evaluation(
        "set", "0", "validation", 9, "30 images", "last", 0.25, 0.3, 0.5, scores, (), 10**6, 10**6, "cuda:0", needed, {}
    )
    use._result(Console(width=80), found, "evaluation-set.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(0) == "read 30 images"
    assert lines[0] == "accuracy      25.00 %, 50.00 % among the five most probable; on 9 validation images of set"
    assert "on cuda:0     1 image: 1.00 ms (half of 50 passes: 1.00 to 1.00; 2 threads)" in lines[3]
    shown = [line.split()[0] for line in lines if line.startswith("[")]
    assert sorted(shown) == sorted(f"[{number}]" for number in range(20))
    assert lines[-1] == "These 20 of 30 classes have the lowest F1; all are in evaluation-set.json."


def test_a_mistake_in_the_command_is_one_line(run: Run, call: Call) -> None:
    see = "(see supernet evaluate --help)"
    for line, expected in (
        ("nothing", "'nothing' is no run folder: give that of a retraining, or of the search it is of"),
        ("run --data two.npz", "no such file or folder: 'two.npz'"),
        (
            "run --weights first",
            f"--weights takes last or best, not 'first' {see}",
        ),
        ("", f"missing RUN: folder of a finished retraining, or of a search that holds one {see}"),
    ):
        assert call("evaluate", *line.split()) == (2, "", f"supernet: {expected}\n")


def test_a_retraining_evaluated_has_the_accuracies_of_its_summary(tmp_path: Path) -> None:
    from supernet.retraining.train import retrain

    run = retrain(CELL, data="digits", out=tmp_path / "run", epochs=1, width=4, depth=1, device="cpu", quiet=True)
    for weights in ("last", "best"):
        found = evaluate(run, weights=weights, device="cpu")
        assert found.accuracy == pytest.approx(run.summary["test_accuracy"][weights], abs=1 / 297)
        assert found.accuracy > 0.2
