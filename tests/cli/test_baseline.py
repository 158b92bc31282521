"""`supernet baseline`: what needs no search is trained as the found network is, and used like any retraining."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import supernet as sn
from conftest import Call
from supernet.engine.run import Run
from supernet.searching.baselines import rivals
from supernet.spaces import architecture

ROWS = ["found", "random", "largest"]
KNOWN = ("resnet", "resnet-cifar", "mobilenet-v2", "efficientnet", "DARTS_V2")
ROWS += [f"{name}, same parameters" for name in KNOWN]
CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
SMALL = ("--epochs", "1", "--width", "8", "--batch-size", "20", "--device", "cpu")


@pytest.fixture
def data(tmp_path: Path) -> str:
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "images.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return "images.npz"


@pytest.fixture
def searched(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    small = {"epochs": 1, "batch_size": 10, "width": 2, "depth": 1, "device": "cpu", "quiet": True}
    return sn.search(data, out="s", **small)


@pytest.mark.slow
def test_rivals_are_trained_once_compared_and_used(call: Call, data: str) -> None:
    words = ("baseline", data, "--like", CELL, "--by", "params", "--seeds", "0", *SMALL, "--out", "b")
    status, _, error = call(*words)
    assert (status, error) == (0, "")
    out = Path("b")
    found = json.loads((out / "results.json").read_text())
    assert [row["label"] for row in found["rows"]] == ROWS
    wanted = found["rows"][0]["params"]
    assert all(abs(row["params"] / wanted - 1) <= 0.02 for row in found["rows"][3:-1])
    assert abs(found["rows"][-1]["params"] / wanted - 1) <= 0.15  # a cell of a few channels
    assert found["rows"][-1]["depth"] == found["rows"][0]["depth"]
    assert {row["difference"]["words"] for row in found["rows"][1:]} <= {
        "within noise",
        "too few seeds to tell (1 of 5)",
    }
    runs = [Run(file.parent) for file in out.glob("*/summary.json")]
    assert {run.config["recipe"] for run in runs} == {"quick"}
    assert {(run.config["epochs"], run.config["batch_size"], run.config["seed"]) for run in runs} == {(1, 20, 0)}

    before = {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in runs}
    shown = call(*words)[1]
    assert {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in runs} == before
    assert (out / "table.md").read_text() in shown

    rival = str(out / "efficientnet-params-0")
    assert "accuracy" in call("evaluate", rival)[1]
    assert sn.load(rival).predict([np.zeros((8, 8), np.uint8)])[0].label in {"0", "1", "2"}
    assert call("export", rival, "--format", "torch")[0] == 0


@pytest.mark.slow
def test_a_retraining_of_the_search_gives_its_settings_and_its_run(call: Call, data: str, searched: Run) -> None:
    assert call("retrain", "s", *SMALL, "--w.lr", "0.01", "--quiet")[0] == 0
    assert call("baseline", data, "--like", "s", "--by", "flops", "--seeds", "0", "--device", "cpu")[0] == 0
    out = Path("s/baseline-quick-flops")
    assert not (out / "found-0").exists()
    run = Run(out / "random-0")
    assert (run.config["epochs"], run.config["batch_size"], run.config["w"]["lr"]) == (1, 20, 0.01)


@pytest.mark.slow
def test_where_the_search_has_all_trainings_none_is_made(
    call: Call, data: str, searched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "largest", lambda home: searched.genotype)
    assert call("retrain", "s", *SMALL)[0] == 0
    status, out, error = call("baseline", data, "--like", "s", "--networks", "largest", "--seeds", "0", "--out", "b")
    assert (status, error) == (0, "")
    assert "| found | 1 |" in out
    assert not list(Path("b").glob("*/summary.json"))


@pytest.mark.slow
def test_without_a_run_the_budget_is_given(call: Call, data: str) -> None:
    Path("b").mkdir()
    Path("b/.lock").touch()  # of baselines that were killed at their start
    words = ("baseline", data, "--flops", "200k", "--seeds", "0", "--epochs", "1", "--device", "cpu", "--out", "b")
    assert call(*words)[0] == 0
    rows = json.loads(Path("b/results.json").read_text())["rows"]
    labels = [f"{name}, same FLOPs" for name in KNOWN]
    assert [row["label"] for row in rows] == labels
    before = {file: file.stat().st_mtime_ns for file in Path("b").glob("*/summary.json")}
    found = sn.baseline(data, flops=200_000, seeds=[0], epochs=1, device="cpu", out="b", quiet=True)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert [(row.label, row.params, row.accuracies[0]) for row in found.rows] == [
        (row["label"], row["params"], row["results"]["0"]["accuracy"]) for row in rows
    ]
    assert found.rows[1].difference.pairs == 1
    assert (found.path, found.table()) == (Path("b"), Path("b/table.md").read_text())
    page = Path("b/report.html").read_text()
    assert "<strong>finished</strong> 5 of 5 trainings" in page
    assert all(text in page for text in (*labels, "the baseline", "M parameters", "mean of resnet, same FLOPs"))

    Path("b/report.html").unlink()
    assert call("report", "b") == (0, "page          b/report.html\n", "")
    assert Path("b/report.html").read_text() == page


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (None, "no training of the baselines in 'b' has finished yet"),
        ('{"rows": []}', "'b/results.json' is damaged, or of another version: the same supernet baseline again writes"),
    ],
)
def test_a_page_needs_the_table(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("b/baseline.json").write_text("{}")
    if written is not None:
        Path("b/results.json").write_text(written)
    status, out, error = call("report", "b")
    assert (status, out, reason in error) == (2, "", True)
    assert not Path("b/report.html").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "Input should be an object"),
        ("{}", "fingerprint: Field required"),
        ('{"fingerprint": "", "recipe": "", "architecture": null, "budget": 1}', "budget: Input should be an object"),
    ],
)
def test_a_damaged_folder_is_told_by_what_it_lacks(
    call: Call, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    """Its file must not be removed: then the folder would be of something else."""
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("b/baseline.json").write_text(text)
    status, out, error = call("baseline", data, "--flops", "200k", "--seeds", "0", "--out", "b", "--quiet")
    assert (status, out) == (2, "")
    assert error.startswith(f"supernet: 'b/baseline.json' is damaged ({reason}")
    assert error.endswith("): give another place with --out\n")


@pytest.mark.slow
def test_networks_are_chosen_and_more_are_added_later(call: Call, data: str) -> None:
    words = ("baseline", data, "--like", CELL, "--by", "flops", "--seeds", "0", *SMALL, "--out", "b")
    for networks, wanted in (
        ("resnet", ["found", "resnet-flops"]),
        ("random", ["found", "random", "resnet-flops"]),
        ("GDAS_V1,resnet", ["found", "random", "resnet-flops", "GDAS_V1-flops"]),
    ):
        assert call(*words, "--networks", networks)[0] == 0
        assert {folder.name for folder in Path("b").glob("*-0")} == {f"{name}-0" for name in wanted}
        rows = json.loads(Path("b/results.json").read_text())["rows"]
        assert [row["label"] for row in rows] == [
            name.replace("-", ", same ").replace("flops", "FLOPs") for name in wanted
        ]
    published = Run("b/GDAS_V1-flops-0")
    assert (published.config["space"], published.genotype) == ("darts", architecture("GDAS_V1")[1])
    assert published.summary["flops"] == pytest.approx(rows[0]["flops"], rel=0.15)  # to the nearest of a few channels


@pytest.mark.slow
def test_only_what_is_asked_for_is_trained_and_what_is_there_stays_in_the_table(call: Call, data: str) -> None:
    small = ("--epochs", "1", "--batch-size", "20", "--device", "cpu")
    words = ("baseline", data, "--flops", "100k", *small, "--out", "b", "--networks")
    assert call(*words, "resnet,resnet-cifar", "--seeds", "0")[0] == 0
    (Path("b/resnet-cifar-flops-0") / "summary.json").unlink()  # as where it was stopped
    first = Path("b/resnet-flops-0/summary.json").stat().st_mtime_ns
    assert call(*words, "mobilenet-v2", "--seeds", "1", "--force")[0] == 0
    assert {folder.parent.name for folder in Path("b").glob("*/summary.json")} == {
        "resnet-flops-0",
        "mobilenet-v2-flops-1",
    }
    assert Path("b/resnet-flops-0/summary.json").stat().st_mtime_ns == first
    found = json.loads(Path("b/results.json").read_text())
    assert {row["label"]: list(row["results"]) for row in found["rows"]} == {
        "resnet, same FLOPs": ["0"],
        "mobilenet-v2, same FLOPs": ["1"],
    }
    assert (found["count"], found["asked"]["seeds"]) == (2, "0, 1")


@pytest.mark.slow
def test_other_epochs_need_another_place(call: Call, data: str) -> None:
    words = ("baseline", data, "--flops", "200k", "--networks", "resnet", "--device", "cpu", "--out", "b", "--epochs")
    assert call(*words, "2", "--seeds", "0")[0] == 0
    record = json.loads(Path("b/baseline.json").read_text())
    for epochs in ("4", "1"):
        for there in (record, {name: value for name, value in record.items() if name != "epochs"}):
            Path("b/baseline.json").write_text(json.dumps(there))  # the second is of an earlier version
            status, _, error = call(*words, epochs, "--seeds", "0-1")
            reason = (
                f"the baselines in 'b' are of another epochs (2 there, {epochs} now): give another place with --out"
            )
            assert (status, error) == (2, f"supernet: {reason}\n")
    assert len(Run("b/resnet-flops-0").metrics) == 2
    Path("b/baseline.json").write_text(json.dumps(record))
    assert call(*words, "2", "--seeds", "1")[0] == 0  # beside seed 0
    assert json.loads(Path("b/baseline.json").read_text()) == record
    assert json.loads(Path("b/results.json").read_text())["rows"][0]["results"].keys() == {"0", "1"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--like", "nothing"], "'nothing' is no run folder"),
        ([], "give --like RUN, or what the networks may cost: --flops 30M, --params 500k, or both"),
        (["--flops", "10"], "no network can be trained: resnet cannot have 10 FLOPs"),
        (
            ["--flops", "10", "--networks", "PDARTS"],
            "no network can be trained: PDARTS is left out: darts cannot have 10",
        ),
        (["--flops", "10", "--networks", "resnet, PDARTS"], "resnet cannot have 10 FLOPs"),
        (["--flops", "1M", "--out", "."], "exists and holds no baselines"),
        (
            ["--flops", "1M", "--networks", "resnet,vgg"],
            "unknown network 'vgg'; known: resnet, resnet-cifar, mobilenet-v2, efficientnet, DARTS_V2, random, largest",
        ),
        (
            ["--flops", "1M", "--networks", "DARTS-V2"],
            "unknown network 'DARTS-V2'; did you mean 'DARTS_V2'? known: ",
        ),
        (
            ["--flops", "30M", "--networks", "resnet-cifar", "--image-size", "96"],
            "no network can be trained: resnet-cifar is left out: it is made for images of up to 64 pixels",
        ),
        (["--flops", "1M", "--networks", "random"], "random and largest are architectures of the space of --like RUN"),
        (["--flops", "1M", "--by", "params"], "--by is of --like RUN: without it, the networks have what --flops and"),
        (["--flops", "1M", "--space", "darts"], "--space is the space of --like: give an architecture of it as well"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(call: Call, data: str, words: list[str], reason: str) -> None:
    status, _, error = call("baseline", data, *words)
    assert status == 2
    assert reason in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()
