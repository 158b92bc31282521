"""What baselines are asked for: the images of the search or others, and the settings of its retraining."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import supernet as sn
from supernet.engine.run import Run
from supernet.retraining.config import configured
from supernet.searching.baselines import Start, Which, asked
from supernet.searching.baselines.rows import Row, Trained, row_of
from supernet.searching.baselines.run import Asked, Trainings, run_of
from supernet.searching.baselines.table import _plain
from supernet.searching.compare.statistics import difference
from supernet.settings import amend

SMALL = {"epochs": 1, "batch_size": 10, "width": 2, "depth": 1, "device": "cpu", "quiet": True}


def images(file: str, classes: int, channels: int = 1) -> str:
    draws = np.random.default_rng(classes)
    x, y = draws.integers(0, 256, (60, 8, 8, channels), dtype=np.uint8), np.arange(60) % classes
    np.savez(file, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return file


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a search on half of the images of first.npz, which has three classes."""
    folder = tmp_path_factory.mktemp("searched")
    return sn.search(images(str(folder / "first.npz"), 3), images=30, out=folder / "s", **SMALL)


def of(run: Run, data: str, **settings: object) -> Asked:
    begun = Start.of(str(run.path), None, (data,))
    config = amend(begun.config, {"data": data, "device": "cpu", **settings})
    return asked(config, begun, str(run.path), Which("0", by="params"), settings)


@pytest.mark.parametrize(("classes", "channels"), [(3, 3), (4, 1)])
def test_other_images_than_those_of_the_search_are_told(
    searched: Run, tmp_path: Path, classes: int, channels: int
) -> None:
    found = of(searched, images(str(tmp_path / "second.npz"), classes, channels))
    assert Trainings(tmp_path, found).told[0] == (
        f"'{searched.path}' was searched on other images, first of 3 classes: "
        f"all networks are trained and measured on second of {classes} classes"
    )


def test_more_of_the_same_images_in_another_size_are_no_others(searched: Run) -> None:
    assert not of(searched, searched.config["data"]).told
    assert not of(searched, searched.config["data"], image_size=12).told


def test_settings_of_a_size_that_the_cost_decides_are_told() -> None:
    config = amend(configured("", "quick"), {"data": "digits", "width": 64, "stem": 1})
    found = asked(config, Start.of(None, "quick", ()), None, Which(flops="2M"), ("width", "stem"))
    assert found.told == tuple(f"{name} has no effect without --like: the cost decides" for name in ("width", "stem"))


def test_the_same_name_with_other_pixels_is_told(tmp_path: Path) -> None:
    data = images(str(tmp_path / "images.npz"), 3)
    run = sn.search(data, out=tmp_path / "s", **SMALL)
    assert not of(run, data).told
    (tmp_path / "other").mkdir()
    other = images(str(tmp_path / "other" / "images.npz"), 3)
    assert not of(run, other).told
    np.savez(other, x_train=np.zeros((60, 8, 8), np.uint8), y_train=np.arange(60) % 3)
    assert "images of 3 classes: all networks" in of(run, other).told[0]


@pytest.mark.parametrize("name", ["what", "seed"])
def test_what_baselines_set_themselves_is_no_setting(name: str) -> None:
    with pytest.raises(sn.UserError, match=f"'{name}' is no setting of baselines: give like= and seeds="):
        sn.baseline("digits", flops="1M", **{name: 0})


def test_without_a_seed_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(sn.UserError, match="baselines need a seed"):
        sn.baseline("digits", flops="100k", seeds=[], out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_settings_of_a_recipe_of_ones_own_are_taken_over(searched: Run, tmp_path: Path) -> None:
    recipe = sn.Recipe(epochs=1, batch_size=20, width=4, dropout=0.25)
    run = sn.retrain(searched, recipe=recipe, device="cpu", quiet=True, out=tmp_path / "r")
    begun = Start.of(str(run.path), None, ())
    assert (begun.recipe, begun.config.epochs, begun.config.batch_size, begun.config.dropout) == ("own", 1, 20, 0.25)
    assert [each.path for each in begun.trained] == [run.path]


def test_other_arrays_than_those_of_the_retraining_leave_its_settings_of_images_open(
    searched: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8), np.arange(30) % 3
    run = sn.retrain(searched, data=(x, y), image_size=12, pad=3, out=tmp_path / "r", **SMALL)
    monkeypatch.setattr("supernet.searching.baselines.call.start", lambda asked, how, workers: asked)
    for data, expected in (((x, y), (12, 3)), ((255 - x, y), (8, 1))):
        config = sn.baseline(data, like=run, networks="resnet", device="cpu").plan.config
        assert (config.image_size, config.pad) == expected
        assert config.batch_size == SMALL["batch_size"]


def test_the_found_network_is_scaled_to_a_cost_and_the_others_to_its(searched: Run, tmp_path: Path) -> None:
    data = searched.config["data"]
    small = {name: SMALL[name] for name in ("epochs", "batch_size", "depth", "device", "quiet")}
    known = {"networks": "resnet", "seeds": [0], **small}
    state = torch.get_rng_state()
    done = sn.baseline(data, like=searched, flops="100k", by="flops", **known)
    assert (done.asked["recipe"], done.asked["settings"]) == ("quick", "batch_size 10")
    found, resnet = done.rows
    assert torch.equal(torch.get_rng_state(), state)  # the networks that are only timed draw weights, too
    assert found.flops == pytest.approx(100_000, rel=0.2)  # the nearest width
    assert resnet.flops == pytest.approx(found.flops, rel=0.02)
    assert sorted(path.name for path in searched.path.glob("baseline-*")) == ["baseline-quick-flops-100000"]
    retrained = sn.retrain(searched, data=data, out=tmp_path / "r", width=3, **small)
    scaled, _ = sn.baseline(data, like=searched, flops="100k", by="flops", out=tmp_path / "b", **known).rows
    assert (scaled.width, scaled.flops) == (found.width, found.flops) != (3, retrained.summary["flops"])


def test_a_table_is_of_networks_that_are_trained_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"epochs": 1, "device": "cpu", "quiet": True, "out": "b"}
    asked = {"flops": "100k", "params": "20k", "networks": "resnet", **small}
    data = images("images.npz", 3)
    sn.baseline(data, seeds="0", batch_size=20, **asked)
    reason = r"'b/resnet-flops-0' was made with other settings: batch_size \(20 there, 30 now\); give another place"
    for others, force, end in (
        ({"networks": "mobilenet-v2", "seeds": "0"}, False, "to start over, with this network and seed asked for, too"),
        ({"seeds": "1"}, True, "to start over, with this network and seed asked for, too"),
        ({"networks": "mobilenet-v2,resnet", "seeds": "0"}, False, "to start over"),
    ):
        with pytest.raises(sn.UserError, match=f"{reason} with --out, or --force {end}$"):
            sn.baseline(data, batch_size=30, force=force, **asked | others)
    assert {file.parent.name for file in Path("b").glob("*/config.yaml")} == {"resnet-flops-0", "resnet-params-0"}
    sn.baseline(data, seeds="0-1", batch_size=30, force=True, **asked)
    for seed in range(2):
        (Path("b") / f"resnet-flops-{seed}" / "summary.json").unlink()  # as where it was stopped
    later = sn.baseline(data, seeds="1", batch_size=30, **asked | {"networks": "mobilenet-v2"})
    assert {row.label: [*row.results] for row in later.rows} == {
        "resnet, same parameters": [0, 1],
        "mobilenet-v2, same FLOPs": [1],
        "mobilenet-v2, same parameters": [1],
    }


def test_a_long_architecture_is_no_folder() -> None:
    assert run_of(f"Genotype(normal={[('sep_conv_3x3', 1)] * 100})") is None


def test_a_difference_of_one_pair_is_read_as_it_was_written() -> None:
    row = Row("found", 16, 2, 1.0, {0: Trained("cell", 10, 20, 90.0)}, difference({0: 90.0}, {0: 89.0}))
    assert row_of(json.loads(json.dumps(_plain(row)))) == row
