"""The rows of a comparison: what a search and its selection have cost."""

from __future__ import annotations

from pathlib import Path

import pytest

import supernet as sn
from supernet.methods.darts_plus import DARTSPlus
from supernet.searching import results
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.rows import Result, Row, _parts, _validation
from supernet.searching.compare.table import as_data, cells, notes

ROW = Row("random", "nasbench201", {0: Result("", 90.0, None)})


def test_the_selection_of_a_search_that_ended_early_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)
    monkeypatch.setattr(DARTSPlus, "skips", lambda method: method.budget.snapshots.now)
    small = {"images": 60, "width": 2, "device": "cpu", "quiet": True, "select": {"samples": 2}}
    for epochs in (2, 3):  # both end after epoch 2
        run = sn.search(
            "digits",
            method="darts-plus",
            selector="best-of-samples",
            epochs=epochs,
            out=tmp_path / str(epochs),
            **small,
        )
        assert [part.summary["selector"] for part in _parts(run, run)] == ["best-of-samples"] * 2


def test_the_notes_say_on_which_images_retrainings_are_measured() -> None:
    """`last_accuracy` is of validation images where there are no others, as of most folders of images."""
    told = notes(Record(ComparisonConfig("photos", retrain="quick")), [ROW], Path("nowhere"))
    assert "Retrained: accuracy (%) on the test images, or on the validation images of a data set without any" in told


def test_retrained_rows_differ_by_their_retrainings_alone() -> None:
    """An accuracy of the supernet in the same column would be of another kind."""
    first, second, third = (
        Row(name, "nasbench201", {0: Result("", 90.0, retrained)}, retrainings=1)
        for name, retrained in (("darts", 70.0), ("rsps", None), ("enas", 72.5))
    )
    assert second.against(first) is None
    found = third.against(first)
    assert found is not None
    assert found.mean == 2.5


def test_accuracies_of_a_supernet_and_of_an_architecture_are_not_compared() -> None:
    supernet, other, path = (
        Row(name, "nasbench201", {seed: Result("", found + seed, None, measured=kind) for seed in range(2)})
        for name, found, kind in (("darts", 90.0, "supernet"), ("gdas", 91.0, "supernet"), ("rsps", 60.0, "path"))
    )
    assert path.against(supernet) is None
    found = other.against(supernet)
    assert found is not None
    assert found.mean == 1
    unmeasured = Row("darts+perturbation", "nasbench201", {0: Result("", None, None)})
    assert unmeasured.against(supernet) is None


def test_a_selection_does_not_take_the_accuracy_of_the_supernet_for_its_own(tmp_path: Path) -> None:
    small = {"images": 60, "width": 2, "depth": 1, "device": "cpu", "quiet": True}
    run = sn.search("digits", method="darts", epochs=1, out=tmp_path / "run", **small)
    assert _validation(run, run) == (100 * run.summary["measured"]["accuracy"], "supernet")
    assert _validation(run, sn.select(run, "average", quiet=True)) == (None, None)
    accuracy, kind = _validation(run, sn.select(run, "best-of-samples", samples=2, quiet=True))
    assert (kind, accuracy is not None) == ("path", True)


def test_a_row_says_how_many_of_its_searches_have_been_retrained() -> None:
    """A comparison that was stopped has fewer of them than searches, and the mean is over these alone."""
    record = Record(ComparisonConfig("photos", methods=["darts"], retrain="quick"))
    results = {seed: Result("", 90.0, 70.0 + seed if seed < 2 else None) for seed in range(3)}
    (_, n, *_, retrained), whole = (
        cells(record, [Row("darts", "nasbench201", some, retrainings=2)])[1][:6]
        for some in (results, {seed: results[seed] for seed in (0, 1)})
    )
    assert (n, retrained) == ("3 x 2 (2 of 3 retrained)", "70.50 ± 0.71")
    assert whole[1] == "2 x 2"


def test_no_other_row_takes_the_place_of_a_baseline_without_a_finished_run() -> None:
    record, place = Record(ComparisonConfig("photos", methods=["darts", "enas"], baseline="darts")), Path("nowhere")
    found = [Row("enas", "nasbench201", {0: Result("", 91.0, None)}), ROW]
    head, *lines = cells(record, found)
    assert (head[-1], [line[-1] for line in lines]) == ("against darts", ["", ""])
    assert "The baseline, darts, has no finished run yet." in notes(record, found, place)
    data = as_data(record, found, place)
    assert (data["baseline"], [row["difference"] for row in data["rows"]]) == ("darts", [None, None])


def test_the_accuracy_of_a_row_without_a_search_has_no_spread() -> None:
    record = Record(ComparisonConfig("photos", methods=["darts"]))
    row = Row("largest cell", "nasbench201", {seed: Result("", 70.0, None) for seed in range(3)}, searched=False)
    head, line = cells(record, [row])
    assert (head[2:4], line[1:4]) == (["accuracy, mean ± std", "passes"], ["0", "70.00", "0"])
    spread = as_data(record, [row], Path("nowhere"))["rows"][0]["accuracy"]
    assert (spread["mean"], spread["std"]) == (70.0, None)
