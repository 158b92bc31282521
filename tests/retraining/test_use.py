"""From photographs of many sizes and formats to predictions: search, retrain, evaluate, predict, export."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

import supernet as sn
from supernet import cli
from supernet.report import plots
from supernet.searching import results

PHOTOGRAPH = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # Matplotlib ships it
slow = pytest.mark.slow
SIDES = (96, 120, 150, 224)
SMALL = ("--epochs", "2", "--batch-size", "8", "--width", "4", "--device", "cpu", "--quiet")


def save(picture: Image.Image, place: Path, number: int) -> Path:
    """Write a picture in one of six formats and colour modes, chosen by `number`."""
    match number % 6:
        case 0:
            path = place.with_suffix(".jpg")
            picture.save(path, quality=92)
        case 1:
            path = place.with_suffix(".png")
            picture.convert("RGBA").save(path)
        case 2:
            path = place.with_suffix(".jpeg")
            picture.convert("CMYK").save(path, quality=92)
        case 3:
            path = place.with_suffix(".gif")
            picture.convert("P", palette=Image.Palette.ADAPTIVE).save(path)
        case 4:
            path = place.with_suffix(".webp")
            picture.save(path, quality=90)
        case _:
            path = place.with_suffix(".png")
            picture.convert("L").save(path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of a photograph, of its upper part (a face, a flag) or its lower (a uniform): four sizes, six formats."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    with Image.open(PHOTOGRAPH) as picture:
        width, height = picture.size
        for part, count in (("train", 24), ("test", 6)):
            for name, (top, bottom) in {"above": (0, height // 2), "below": (height // 2, height)}.items():
                folder = root / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    side = SIDES[number % 4]
                    left = int(rng.integers(width - side))
                    upper = int(rng.integers(top, bottom - side))
                    save(picture.crop((left, upper, left + side, upper + side)), folder / f"{number:02}", number)
    return root


@pytest.fixture(scope="module")
def searched(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> sn.Run:
    folder = tmp_path_factory.mktemp("runs") / "photographs"
    cli.main(["search", str(photographs), *SMALL, "--out", str(folder)])
    cli.main(["retrain", str(folder), *SMALL[2:], "--epochs", "6"])
    return sn.Run(folder)


def test_a_search_takes_the_median_size_of_the_photographs(searched: sn.Run) -> None:
    network_size = sn.Run(searched.path / "quick-0").config["network_size"]
    assert network_size["image_size"] == [120, 120]  # the median shorter side
    assert network_size["channels"] == 3
    assert sn.NetworkSize(image_size=tuple(network_size["image_size"])).halvings == 2  # 120 -> 60 -> 30
    assert searched.config["image_size"] == 120


def test_the_retrained_network_classifies_photographs(
    searched: sn.Run, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["evaluate", str(searched.path), "--device", "cpu"])
    out = capsys.readouterr().out
    found = json.loads((searched.path / "quick-0" / "evaluation.json").read_text())
    assert f"accuracy      {100 * found['accuracy']:.2f} %; on 12 test images of {photographs.name}" in out
    assert found["accuracy"] > 0.7  # a half by chance
    files = sorted(str(path) for path in (photographs / "test").rglob("*.*"))
    cli.main(["predict", str(searched.path), *files, "--json", "--device", "cpu"])
    rows = json.loads(capsys.readouterr().out)
    right = sum(row["label"] == Path(row["image"]).parent.name for row in rows)
    assert right / len(files) == pytest.approx(found["accuracy"])
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.slow
def test_the_export_gives_the_same_logits_in_onnxruntime(
    searched: sn.Run, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    cli.main(["export", str(searched.path), "--format", "onnx"])
    assert "logits differ by" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(searched.path / "quick-0" / "model.onnx")
    loaded = sn.load(searched)
    x = torch.randint(0, 256, (3, 3, 120, 120), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), loaded(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("space", "shape", "maps"),
    [
        ("nasbench201", (8, 8, 1), [8, 4, 2]),
        pytest.param("nasbench201", (28, 28, 1), [28, 14, 7], marks=slow),
        pytest.param("nasbench201", (32, 32, 3), [32, 16, 8], marks=slow),
        ("nasbench201", (96, 96, 3), [24, 12, 6]),
        pytest.param("nasbench201", (224, 224, 3), [28, 14, 7], marks=slow),
        ("nasbench201", (40, 56, 2), [20, 10, 5]),
        ("nasbench201", (3, 3, 4), [3, 2, 2]),
        ("s2", (8, 8, 1), [8, 4, 2]),
        pytest.param("s2", (96, 96, 3), [24, 12, 6], marks=slow),
        ("s2", (40, 56, 2), [20, 10, 5]),
        pytest.param("s2", (3, 3, 4), [3, 2, 2], marks=slow),
    ],
    ids=str,
)
def test_the_resolutions_of_a_network_for_images_of_any_size(
    space: str, shape: tuple[int, int, int], maps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)  # they take most of the time
    monkeypatch.setattr(plots, "save", lambda figure, path: None)
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    x = rng.integers(0, 100, (12, *shape)) + 100 * y[:, None, None, None]
    np.savez(tmp_path / "mine.npz", x_train=x.astype(np.uint8), y_train=y)
    settings = {"epochs": 1, "width": 2, "batch_size": 3, "device": "cpu", "quiet": True}
    run = sn.search(tmp_path / "mine.npz", space=space, out=tmp_path / "run", **settings)
    trained = sn.retrain(run, **settings)
    network_size = sn.NetworkSize.from_json(trained.config["network_size"])
    assert (*network_size.image_size, network_size.channels) == shape
    heights = [placed.output.height for placed in sn.space(space).layout(network_size)][:-1]
    assert list(dict.fromkeys(heights))[-len(set(maps)) :] == list(dict.fromkeys(maps))
    assert sn.load(trained)(torch.zeros(2, shape[2], *shape[:2], dtype=torch.uint8)).shape == (2, 2)
