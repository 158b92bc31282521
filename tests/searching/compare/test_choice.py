"""The network that a comparison leads to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import supernet as sn
from supernet.searching.compare.choice import choice
from supernet.searching.compare.comparison import Comparison
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.table import as_data

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def retrained(out: Path, folder: str, first: Path, validation: float, test: float) -> None:
    shutil.copytree(first, out / folder)
    file = out / folder / "summary.json"
    changed = {
        name: {"last": value, "best": 1.0} for name, value in (("accuracy", validation), ("test_accuracy", test))
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def test_the_test_images_do_not_choose(tmp_path: Path) -> None:
    """A recipe without validation images is measured on the test images."""
    config = ComparisonConfig("digits", methods=["random"], seeds=[0], retrain="nasbench201")
    found = Record(config, data_name="digits", classes=10)
    size = {"recipe": "nasbench201", "width": 2, "depth": 1, "epochs": 1, "device": "cpu", "quiet": True}
    sn.retrain(CELL, data="digits", out=tmp_path / "largest" / "nasbench201-0", **size)
    assert choice(found, tmp_path) is None


def test_the_best_on_the_validation_images_is_told(tmp_path: Path) -> None:
    """The mean over the retrainings counts, the test images do not, and what has not been retrained whole neither."""
    size = {"width": 2, "depth": 1, "epochs": 1, "batch_size": 200, "device": "cpu", "quiet": True}
    first = sn.retrain(CELL, data="digits", out=tmp_path / "first", **size).path
    config = ComparisonConfig("digits", methods=["darts"], seeds=[0, 1], retrain="quick", retrainings=2)
    found, out = Record(config, data_name="digits", classes=10), tmp_path / "c"
    assert choice(found, out) is None
    for folder, values in {
        "darts-0": [(0.5, 0.9), (0.5, 0.9)],
        "darts-1": [(0.4, 0.1), (0.7, 0.1)],
        "random-0": [(0.99, 0.9)],
        "largest": [(0.3, 0.3), (0.4, 0.3)],
    }.items():
        seed = 1 if folder == "darts-1" else 0
        for number, (validation, test) in enumerate(values):
            retrained(out, f"{folder}/quick-{seed + 10_000 * number}", first, validation, test)
    for number in range(2):
        retrained(out, f"largest/quick-{1 + 10_000 * number}", first, 0.3, 0.5)
    (largest,) = (row for row in Comparison(out, found).rows if not row.searched)
    assert largest.retrained == pytest.approx({0: 30, 1: 50})  # a training of each seed
    best = choice(found, out)
    assert best is not None
    assert (best.name, best.run.path, best.count) == ("darts, seed 1", out / "darts-1" / "quick-1", 3)
    assert best.accuracy == pytest.approx(55)
    told = Comparison(out, found)
    assert told.best is not None
    assert told.best.path == best.run.path
    assert "Best on the validation images: darts, seed 1, 55.00 %, of 3 retrained." in told.table()
    assert as_data(found, told.rows, out)["best"]["run"] == "darts-1/quick-1"
