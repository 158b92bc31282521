"""The config.yaml of a run folder: other formats are refused, and nothing in the file is resolved or run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

import supernet as sn
from conftest import Call
from retrained import message, record, retrained
from supernet.engine.run import FORMAT, Run
from supernet.searching import results

SMALL = ["--images", "60", "--epochs", "1", "--width", "2", "--device", "cpu", "--quiet"]
SEARCH = ["search", "digits", *SMALL, "--out", "run"]
RETRAIN = ["retrain", "run", "--epochs", "1", "--width", "2", "--depth", "1", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished search with a retraining in it."""
    folder = tmp_path_factory.mktemp("original") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_pictures", lambda *arguments: None)
        sn.search("digits", images=60, epochs=1, width=2, device="cpu", quiet=True, out=folder)
    retrained(folder / "quick-0", None, folder, epochs=1)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the search and its retraining to the folder "run"."""
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)
    return Path(shutil.copytree(original, tmp_path / "run"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def set_format(folder: Path, number: int | None) -> None:
    """Change the format of a run folder, or leave it out of its config.yaml."""
    file = folder / "config.yaml"
    text = file.read_text()
    assert f"format: {FORMAT}\n" in text
    file.write_text(text.replace(f"format: {FORMAT}\n", "" if number is None else f"format: {number}\n"))


def refused(folder: str, number: int | None) -> str:
    return (
        f"run '{folder}' was made by another version of supernet (format {number or 1}, this version has {FORMAT}): "
        "start over with --force, or use that version"
    )


# --- other formats

FORMATS = pytest.mark.parametrize("number", [None, 1, FORMAT + 1])
ON_A_SEARCH = [
    SEARCH,
    ["search", "--config", "run"],
    ["search", "--config", "run/config.yaml"],
    ["select", "run"],
    RETRAIN,
    ["strength", "run"],
    ["evaluate", "run"],
]
ON_A_RETRAINING = [
    RETRAIN,
    ["evaluate", "run/quick-0"],
    ["evaluate", "run"],
    ["predict", "run/quick-0", "a.png"],
    ["export", "run/quick-0", "--format", "genotype"],
    ["retrain", "run/quick-0"],
]


@FORMATS
def test_a_search_of_another_format_is_refused_by_every_command(number: int | None, folder: Path, call: Call) -> None:
    set_format(folder, number)
    before = contents(folder)
    for command in ON_A_SEARCH:
        assert call(*command) == (2, "", f"supernet: {refused('run', number)}\n")
    assert contents(folder) == before


@FORMATS
def test_a_retraining_of_another_format_is_refused_by_every_command(
    number: int | None, folder: Path, call: Call
) -> None:
    set_format(folder / "quick-0", number)
    before = contents(folder)
    for command in ON_A_RETRAINING:
        assert call(*command) == (2, "", f"supernet: {refused('run/quick-0', number)}\n")
    assert contents(folder) == before


@FORMATS
def test_another_format_is_refused_in_python(number: int | None, folder: Path) -> None:
    set_format(folder, number)
    small = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}
    assert message(sn.search, "digits", out=folder, **small) == refused(str(folder), number)
    for function in (sn.select, sn.retrain, sn.evaluate, sn.load):
        assert message(function, folder) == refused(str(folder), number)
        assert message(function, Run(folder)) == refused(str(folder), number)


@pytest.mark.slow
@FORMATS
def test_force_starts_a_run_of_another_format_over(number: int | None, folder: Path, call: Call) -> None:
    set_format(folder, number)
    set_format(folder / "quick-0", number)
    for command, run in ((SEARCH, Run(folder)), (RETRAIN, Run(folder / "quick-0"))):
        assert call(*command, "--force")[::2] == (0, "")
        assert run.config["format"] == FORMAT
        assert [row["epoch"] for row in run.metrics] == [1]


def test_the_format_stands_in_the_folder_of_every_task(folder: Path, call: Call) -> None:
    assert call("select", "run", "--with", "magnitude", "--device", "cpu", "--quiet")[0] == 0
    for run in (folder, folder / "quick-0", folder / "selections" / "magnitude"):
        assert yaml.safe_load((run / "config.yaml").read_text())["format"] == FORMAT


# --- what the file may hold


def test_ten_thousand_classes_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    odd = [
        "no",
        "null",
        "~",
        "1",
        "1e3",
        "2:30",
        "0x10",
        "2024-01-01",
        "",
        " a ",
        "a: b",
        "# a",
        "- a",
        "é",
        "猫",
        "a\nb",
    ]
    config = record("search") | {"classes": odd + [f"class {n}" for n in range(10_000 - len(odd))]}
    Run(tmp_path / "run").start(config, {})
    read = Run(tmp_path / "run").config
    assert len(read["classes"]) == 10_000
    assert read == config
    Run(tmp_path / "run").start(config, {})  # entered again: the same run


@pytest.mark.parametrize(
    "text", ["${oc.env:HOME}", "${HOME}", "$HOME", "${seed}", "!!python/name:os.system", "%(data)s", "{seed}"]
)
def test_text_in_a_config_stays_text(text: str, folder: Path, call: Call) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"data": text}))
    assert Run(folder).config["data"] == text
    status, out, err = call("search", "--config", "run", "--quiet", "--out", "again")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert f"'{text}'" in err
    assert os.environ["HOME"] not in err
    assert not Path("again").exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch touched']",
        "!!python/object/new:os.system ['touch touched']",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['touched']]",
        "!!python/name:os.system",
        "!!python/module:antigravity",
        "!include other.yaml",
    ],
)
def test_a_tag_in_a_config_is_refused_and_runs_nothing(value: str, folder: Path, call: Call) -> None:
    file = folder / "config.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(f"data: {value}\n" if line.startswith("data: ") else line for line in lines))
    assert f"data: {value}\n" in file.read_text()
    expected = (
        "supernet: 'run/config.yaml' cannot be read as the settings of a run: remove the folder, or name another\n"
    )
    for command in (SEARCH, [*SEARCH, "--force"], ["search", "--config", "run"], ["select", "run"], RETRAIN):
        assert call(*command) == (2, "", expected)
    assert not Path("touched").exists()
