"""The rows of a comparison: what a search and its selection have cost."""

from __future__ import annotations

from pathlib import Path

import pytest

import supernet as sn
from supernet.methods.darts_plus import DARTSPlus
from supernet.searching import results
from supernet.searching.compare.rows import _parts


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
