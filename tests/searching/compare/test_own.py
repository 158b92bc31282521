"""A comparison counts its own runs alone, or says which others it counts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import supernet as sn
from supernet.errors import UserError
from supernet.models.cost.count import largest
from supernet.searching.compare import planning
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.own import foreign
from supernet.searching.compare.rows import Row
from supernet.searching.compare.table import notes
from supernet.spaces import space

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
ROW = Row("random", "nasbench201", {})
SMALL = {"images": 60, "epochs": 2, "width": 2, "device": "cpu"}


def planned(**more: Any) -> Record:
    """Return the comparison of random search with itself, with seed 0, planned for the 2 epochs of `SMALL`."""
    settings = {name: value for name, value in SMALL.items() if name != "device"}
    config = ComparisonConfig("digits", methods=["random"], seeds=[0], settings=settings, **more)
    return Record(config, data_name="digits", classes=10, measured={"random": {"epochs_given": 2}})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, []),
        ({"seed": 1}, ["random-0 has seed 1, not 0"]),
        ({"width": 4}, ["random-0 has width 4, not 2"]),
        ({"w": {"lr": 0.5}}, ["random-0 has w.lr 0.5, not 0.025"]),
        ({"epochs": 3}, ["random-0 has epochs 3, not 2"]),
        ({"epochs_each": 1}, ["random-0 has method_config.epochs_each 1, not 2"]),
        ({"method": "single-darts"}, ["random-0 has method single-darts, not random"]),
    ],
)
def test_a_search_with_other_settings_is_not_its_own(given: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    sn.search("digits", out=tmp_path / "random-0", quiet=True, **{"method": "random"} | SMALL | given)
    found = foreign(planned(), tmp_path)
    assert [line[: len(expected)] for line, expected in zip(found, told, strict=True)] == told
    assert all(line in notes(planned(), [ROW], tmp_path) for line in found)


def test_a_search_on_other_images_is_not_its_own(tmp_path: Path) -> None:
    run = sn.search("digits", method="random", out=tmp_path / "random-0", quiet=True, **SMALL)
    record = planned()
    record.measured["random"]["fingerprint"] = run.config["fingerprint"]
    assert foreign(record, tmp_path) == []
    record.measured["random"]["fingerprint"] = "0123456789abcdef"
    assert foreign(record, tmp_path) == [f"random-0 has fingerprint {run.config['fingerprint']}, not 0123456789abcdef"]


def test_a_retraining_with_other_settings_is_not_its_own(tmp_path: Path) -> None:
    record, folder = planned(retrain="quick"), tmp_path / "largest" / "quick-0"
    cell = str(largest(space("nasbench201")))
    sn.retrain(cell, data="digits", epochs=1, batch_size=700, device="cpu", out=folder, quiet=True)
    assert foreign(record, tmp_path) == ["largest/quick-0 has epochs 1, not 10, batch_size 700, not 64"]
    file = folder / "config.yaml"
    right = file.read_text().replace("epochs: 1\n", "epochs: 10\n").replace("batch_size: 700", "batch_size: 64")
    file.write_text(right)
    assert foreign(record, tmp_path) == []
    for name, (was, now) in {"seed": ("0", "3"), "architecture": (f"'{cell}'", f"'{CELL}'")}.items():
        assert f"\n{name}: {was}\n" in right
        file.write_text(right.replace(f"\n{name}: {was}\n", f"\n{name}: {now}\n"))
        (line,) = foreign(record, tmp_path)
        assert line.startswith(f"largest/quick-0 has {name} ")


def test_a_selection_with_other_settings_is_not_its_own(tmp_path: Path) -> None:
    record = planned()
    config = replace(record.config, methods=["random+magnitude"])
    run = sn.search("digits", method="random", out=tmp_path / "random-0", quiet=True, **SMALL)
    sn.select(run, "best-of-samples", samples=2, out=run.path / "selections" / "magnitude", device="cpu", quiet=True)
    assert foreign(record, tmp_path) == []
    (line,) = foreign(replace(record, config=config), tmp_path)
    assert line == "random-0/selections/magnitude has selector best-of-samples, not magnitude"


@pytest.mark.parametrize("first", [{"epochs_given": 2, "fingerprint": "a"}, {"error": "no"}])
def test_a_comparison_that_is_refused_stays_as_it_was(
    first: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {
        "fingerprint": "b",
        "passes": 10,
        "seconds": 1.0,
        "epochs": 2,
        "tuning": 0,
        "left_out": "",
        "at_most": False,
    }
    other |= {"data_name": "digits", "classes": 10}
    monkeypatch.setattr(planning, "measured", lambda kinds, *_, **__: {name: dict(other) for name in kinds})
    record = planned()
    known = {"darts": first, "random": {"epochs_given": 2, "fingerprint": "a"}}
    replace(record, config=replace(record.config, methods=["darts"], budget="passes=20"), measured=known).write(
        tmp_path
    )
    before = (tmp_path / "comparison.json").read_text()
    with pytest.raises(UserError, match="'digits' holds other images than when"):
        sn.compare("digits", methods=["pc-darts"], seeds="0", out=tmp_path, quiet=True, **record.config.settings)
    assert (tmp_path / "comparison.json").read_text() == before


@pytest.mark.slow
def test_a_comparison_with_another_run_in_it_or_other_images_does_not_go_on(tmp_path: Path) -> None:
    rng, file, out = np.random.default_rng(0), tmp_path / "data.npz", tmp_path / "c"

    def compare(seeds: str, methods: str = "random") -> None:
        sn.compare(str(file), methods=methods, seeds=seeds, out=out, workers=1, quiet=True, **SMALL)

    def draw() -> None:
        np.savez(file, x_train=rng.integers(256, size=(60, 8, 8, 1), dtype=np.uint8), y_train=np.arange(60) % 2)

    draw()
    compare("0")
    shutil.copytree(out / "random-0", out / "random-1")
    with pytest.raises(UserError, match="random-1 has seed 0, not 1: remove that run, or give another place"):
        compare("0-1", "darts")
    assert list(sn.Comparison.read(out).record.measured) == ["random"]  # as it was before
    shutil.rmtree(out / "random-1")
    draw()
    with pytest.raises(UserError, match=r"data.npz' holds other images than when comparison '.*' began: give another"):
        compare("0-1")
    assert not (out / "random-1").exists()
