"""The command line: its output, and one line for every mistake, after which nothing has been written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

import supernet as sn
from conftest import Call
from supernet import cli
from supernet.engine.run import Run
from supernet.models.cost.count import cost
from supernet.report import progress as screen
from supernet.report.console import Console
from supernet.searching import results
from supernet.searching.collapse import verdict
from supernet.spaces import NetworkSize, space, tables
from supernet.testing import ragged_space, tiny_images

RAGGED = ragged_space()
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SMALL = ["--images", "60", "--epochs", "2", "--width", "2", "--device", "cpu"]


def files_in(folder: Path) -> set[str]:
    """Return the files and folders in a folder, by path."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def times_in(folder: Path) -> dict[Path, int]:
    """Return the times of the last change of all files and folders in a folder."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def program(*arguments: str, environment: dict[str, str] | None = None, **options: object) -> subprocess.Popen[str]:
    """Start the program, with its messages in a pipe."""
    command = [sys.executable, "-m", "supernet", *arguments]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | (environment or {})
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=usual, **options)  # type: ignore[call-overload]


class Finished(NamedTuple):
    """A finished search by the command `search digits *SMALL`, and the output of that command."""

    run: Run
    out: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a finished search with its pictures, which no test changes."""
    folder, out = tmp_path_factory.mktemp("finished"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        cli.main(["search", "digits", *SMALL])
    return Finished(Run(folder / "runs" / "digits-nasbench201-single-darts-0"), out.getvalue())


@pytest.fixture
def run(finished: Finished, tmp_path: Path) -> Run:
    """Copy the finished search to the folder "run"."""
    return Run(shutil.copytree(finished.run.path, tmp_path / "run"))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take most of the time of a search."""
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


# --- mistakes

SEE = "(see supernet search --help)"
SEARCH_MISTAKES = [
    ("", f"missing DATA: digits (included), an .npz file, a folder of class folders, shards, IDX or CIFAR files {SEE}"),
    (
        "digit",
        "unknown data 'digit'; did you mean 'digits'? known: digits, a folder of class folders, "
        "a folder of IDX or CIFAR files, a .npz file, shards (.tar, .parquet, .arrow)",
    ),
    ("photos/", "no such file or folder: 'photos/'"),
    ("cifar.npz", "no such file or folder: 'cifar.npz'"),
    ("digits more", f"unexpected more {SEE}"),
    ("digits -e 3", f"unexpected -e, 3 {SEE}"),
    (
        "digits --space dart",
        "unknown space 'dart'; did you mean 'darts'? known: nasbench201, darts, darts7, darts7-fair, s1, s2",
    ),
    ("digits --space no_such_module:SPACE", "cannot import space 'no_such_module:SPACE': No module named"),
    ("digits --space supernet:search", "space 'supernet:search' is not a supernet.SearchSpace"),
    ("digits --method dart", "unknown method 'dart'; did you mean 'darts'? known: darts, "),
    ("digits --method nowhere:Method", "cannot import method 'nowhere:Method': No module named 'nowhere'"),
    ("digits --method supernet.cli:Method", "cannot import method 'supernet.cli:Method': module"),
    ("digits --method os:getcwd", "method 'os:getcwd' is not a class derived from supernet.Method"),
    (
        "digits --method supernet:Method",
        "method 'supernet:Method' lacks what supernet.Method leaves to it: mix, step, ",
    ),
    ("digits --method pathlib:Path", "method 'pathlib:Path' is not a class derived from supernet.Method"),
    ("digits --method", f"missing value of --method {SEE}"),
    ("digits --selector magnitud", "unknown selector 'magnitud'; did you mean 'magnitude'? known: magnitude"),
    ("digits --selector os:getcwd", "selector 'os:getcwd' is not a class derived from supernet.Selector"),
    ("digits --select.criterion loss", f"unknown option --select.criterion; did you mean --selector? {SEE}"),
    ("digits --method blank --select.tune-epochs -1", "setting tune_epochs must be at least 0, not -1"),
    ("digits --selector perturbation --select.lr nan", "setting lr must be a finite number, not nan"),
    (
        "digits --method darts-pt --select.criterion size",
        f"--select.criterion takes accuracy, loss or magnitude, not 'size' {SEE}",
    ),
    ("digits --protocol smal", "unknown protocol 'smal'; did you mean 'small'? known: small, medium, nasbench201"),
    ("digits --config nowhere", "--config 'nowhere': no such run folder, or no config.yaml of a run in it"),
    ("--config nowhere", "--config 'nowhere': no such run folder, or no config.yaml of a run in it"),
    (
        "--config run --protocol medium",
        "give --protocol or --config, not both: a run has every setting that a protocol sets",
    ),
    ("--config", f"missing value of --config {SEE}"),
    ("digits --epoch 3", f"unknown option --epoch; did you mean --epochs? {SEE}"),
    ("digits --epoch=3", f"unknown option --epoch; did you mean --epochs? {SEE}"),
    ("digits --w_lr 3", f"unknown option --w_lr; did you mean --w.lr? {SEE}"),
    ("digits --zebra", f"unknown option --zebra {SEE}"),
    ("digits --method random --order 2", "unknown option --order"),
    ("digits --epochs three", f"--epochs takes INT, not 'three' {SEE}"),
    ("digits --epochs 1.5", f"--epochs takes INT, not '1.5' {SEE}"),
    ("digits --epochs", f"missing value of --epochs {SEE}"),
    ("digits --epochs --width 3", f"missing value of --epochs {SEE}"),
    ("digits --images some", f"--images takes {{None}}|INT, not 'some' {SEE}"),
    ("digits --w.lr fast", f"--w.lr takes FLOAT, not 'fast' {SEE}"),
    ("digits --activation relu", f"--activation takes sigmoid or softmax, not 'relu' {SEE}"),
    ("digits --mirror yes", f"--mirror takes True, False or None, not 'yes' {SEE}"),
    ("digits --order 3", f"--order takes 1 or 2, not '3' {SEE}"),
    ("digits --order 2", "order 2 needs a second batch for alpha: set the regime to different_subset or same_subset"),
    ("digits --device tpu", "device 'tpu' cannot be used here: "),
    (
        "digits --device gpu",
        "device 'gpu' cannot be used here: expected auto, cpu, cuda, cuda:1, ...",
    ),
    ("digits --device cuda:x", "device 'cuda:x' cannot be used here: expected auto, cpu, cuda, cuda:1, ..."),
    ("digits --out=", "a run needs the path of a folder, not ''"),
    ("digits --graphs --no-graphs", "give --graphs or --no-graphs, not both"),
    ("digits --w.lr inf", "setting w.lr must be a finite number, not inf"),
    ("digits --device meta", "device 'meta' cannot be used here: "),
    (
        "digits --engine fuse",
        f"--engine takes auto, fused or reference, not 'fuse' {SEE}",
    ),
    (
        "digits --precision half",
        f"--precision takes auto, float32, tf32 or bf16, not 'half' {SEE}",
    ),
    ("digits --precision tf32 --device cpu", "precision tf32 needs a GPU of compute capability 8.0 or more, not 'cpu'"),
    ("digits --graphs --device cpu", "CUDA graphs need a GPU, not 'cpu'"),
    ("digits --dry-run --epochs 0", "setting epochs must be at least 1, not 0"),
    ("digits --seed x", f"--seed takes INT, not 'x' {SEE}"),
    ("digits --seed -1", "setting seed must be at least 0, not -1"),
    ("digits --seed 99999999999999999999", f"setting seed must be below {2**63}, not 99999999999999999999"),
    ("digits --epochs 0", "setting epochs must be at least 1, not 0"),
    ("digits --pad 8", "setting pad must be less than the 8 pixels of an image's side, not 8"),
    ("digits --cutout 99", "setting cutout must be less than the 8 pixels of an image's side, not 99"),
    ("digits --images 0", "cannot take 0 training images of 'digits': it has 1500"),
    ("digits --images 1501", "cannot take 1501 training images of 'digits': it has 1500"),
    ("digits --image-size 0", "image_size must be at least 1 pixel, not 0"),
    ("digits --reductions 4", "space 'nasbench201' has 2 reductions, not 4"),
    (
        "digits --image-size 2 --reductions 2",
        "images of 2x2 pixels are too small for 0 halvings in the stem and 2 reductions",
    ),
    (
        "digits --stem 9",
        "images of 8x8 pixels are too small for 9 halvings in the stem and 0 reductions: at most 3 in all",
    ),
    ("digits --stem two", f"--stem takes {{None}}|INT, not 'two' {SEE}"),
    ("digits --space darts --reductions 5", "space 'darts' has 2 reductions, not 5"),
    ("digits --space :SPACE", "cannot import space ':SPACE': expected module:NAME"),
    ("digits --space supernet:NAME", "cannot import space 'supernet:NAME': module 'supernet' has no attribute 'NAME'"),
    ("digits --method :Method", "cannot import method ':Method': expected module:NAME"),
    ("digits --w.lr -1", "setting w.lr must be at least 0, not -1.0"),
    ("digits --w.lr nan", "setting w.lr must be a finite number, not nan"),
    ("digits --w.weight-decay -1", "setting w.weight_decay must be at least 0, not -1.0"),
    ("digits --w.momentum 1", "setting w.momentum must be below 1, not 1.0"),
    ("digits --w.nesterov --w.momentum 0", "setting w.nesterov needs a w.momentum above 0"),
    ("digits --alpha.lr -1", "setting alpha.lr must be at least 0, not -1.0"),
]
MISTAKES = [
    *((f"search {arguments}", said) for arguments, said in SEARCH_MISTAKES),
    (
        "serch",
        "unknown command 'serch'; did you mean 'search'? known: search, select, ",
    ),
    ("--epochs 3", "unknown command '--epochs'; known: search"),
    ("select", "missing RUN: folder of a search, finished or not (see supernet select --help)"),
    ("select nowhere", "'nowhere' is no run folder of a search"),
    ("select runs more", "unexpected more (see supernet select --help)"),
    ("select runs --with magnitud", "unknown selector 'magnitud'; did you mean 'magnitude'? known: magnitude, "),
    ("select runs --with os:getcwd", "selector 'os:getcwd' is not a class derived from supernet.Selector"),
    ("select runs --with", "missing value of --with (see supernet select --help)"),
    ("select runs --with magnitude --tune-epochs 3", "unknown option --tune-epochs"),
    ("select runs --tune-epoch 3", "unknown option --tune-epoch; did you mean --tune-epochs? (see supernet select"),
    ("select runs --tune-epochs few", "--tune-epochs takes INT, not 'few' (see supernet select --help)"),
    ("select runs --tune-epochs -3", "setting tune_epochs must be at least 0, not -3"),
    ("select runs --criterion size", "--criterion takes accuracy, loss or magnitude, not 'size' (see "),
    ("select runs --seed first", "--seed takes INT, not 'first' (see supernet select --help)"),
    ("query", "give an architecture (string or index) or --best FIELD: supernet query 9930"),
    ("query 1 --best c10_test", "give an architecture (string or index) or --best FIELD: supernet query 9930"),
    ("query 1 2", "unexpected 2 (see supernet query --help)"),
    ("query 15625", "nasbench201 has no architecture 15625: expected 0..15624"),
    ("query -1", "nasbench201 has no architecture -1: expected 0..15624"),
    ("query --best bogus", "unknown nasbench201 field 'bogus'; known: "),
    ("query best", "cannot read architecture 'best': expected |op~0|+|op~0|op~1|+..., Genotype(...), a tuple of nodes"),
    ("query |nor_conv_3x3~0|", "space 'nasbench201' has edges 1<-0 2<-0"),
    (f"query {BEST.replace('skip_connect', 'skip_conect')}", "did you mean 'skip_connect'? known: none, "),
    ("query --best c10_tst", "unknown nasbench201 field 'c10_tst'; did you mean 'c10_test'? known: "),
    ("query --best n_seeds", "'n_seeds' has no better and worse"),
    ("query --best", "missing value of --best (see supernet query --help)"),
    ("query 1 --table nasbench", "unknown table 'nasbench'; did you mean 'nasbench201'? known: nasbench201"),
    ("query 1 --tabel x", "unknown option --tabel; did you mean --table? (see supernet query --help)"),
    ("spaces --all", "unknown option --all (see supernet spaces --help)"),
    ("methods darts", "unexpected darts (see supernet methods --help)"),
    ("selectors --al=3", "unknown option --al"),
]


@pytest.mark.parametrize(("line", "expected"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(line: str, expected: str, call: Call, tmp_path: Path) -> None:
    status, out, err = call(*line.split())
    assert (status, out) == (2, "")
    assert err.startswith(f"supernet: {expected}" if "nor_conv_3x3~0|+" not in line else "supernet: unknown operation")
    assert expected in err
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert files_in(tmp_path) == set()


def test_a_mistake_is_printed_on_a_terminal_without_unicode(tmp_path: Path) -> None:
    process = program("query", "1", "--tabel", "x", environment={"PYTHONIOENCODING": "ascii"}, cwd=tmp_path)
    expected = "supernet: unknown option --tabel; did you mean --table? (see supernet query --help)\n"
    assert process.communicate()[1] == expected
    assert process.returncode == 2


@pytest.mark.slow
def test_results_are_printed_on_a_terminal_without_unicode(tmp_path: Path) -> None:
    options = ["--with", "random", "--seeds", "2", "--queries", "2", "--quiet"]
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    process = program("tabular", *options, environment=ascii_only, cwd=tmp_path, stdout=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert r"mean \xb1 standard deviation" in out


def test_unusable_data_is_one_line(call: Call, tmp_path: Path) -> None:
    np.savez("y.npz", x_train=np.zeros((4, 8, 8), np.uint8), y_train=np.zeros(4, np.int64))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    before = files_in(tmp_path)
    for data, expected in (("y.npz", "only one class"), ("photos", ""), ("notes.txt", "is not an .npz file")):
        status, out, err = call("search", data)
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert err.startswith("supernet: ")
        assert expected in err
    assert files_in(tmp_path) == before


def test_a_full_disk_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "runs/x/metrics.jsonl")

    monkeypatch.setattr(Run, "log", full)
    status, _, err = call("search", "digits", *SMALL, "--quiet")
    reason = "No space left on device; make room, and the same command goes on"
    assert (status, err) == (2, f"supernet: cannot write 'runs/x/metrics.jsonl': {reason}\n")


FULL = "supernet: cannot write the output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full is Linux's")
@pytest.mark.parametrize(
    ("words", "outputs", "said"),
    [
        (["query", "9930"], "> /dev/full", FULL),
        (["search", "digits", *SMALL], "> /dev/full", FULL),
        (["nonsense"], "2> /dev/full", ""),
    ],
    ids=["printed", "progress", "errors"],
)
def test_a_full_disk_under_the_output_is_not_one_under_a_file(
    tmp_path: Path, words: list[str], outputs: str, said: str
) -> None:
    line = f"{shlex.join([sys.executable, '-m', 'supernet', *words])} {outputs}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


# --- search


def test_a_search_prints_epochs_and_its_result(finished: Finished) -> None:
    run, (read, running, *lines) = finished.run, finished.out.splitlines()
    assert read.startswith("read ")
    assert read.endswith(" of them held out for validation; 297 test images")
    assert re.fullmatch(r"running fused \((compiled|PyTorch's) kernels\), float32, on cpu with \d+ threads?", running)
    for number, line in enumerate(lines[:2], 1):
        pattern = rf"epoch {number}/2  loss \d\.\d{{3}}  \d+\.\d s  \d+\.\d\d % on validation images  \|\S+\|"
        assert re.fullmatch(pattern, line)
    rows, measured = run.metrics, run.summary["measured"]
    assert measured == {"of": "supernet", "images": "validation", "count": 30, "accuracy": rows[-1]["valid_accuracy"]}
    assert lines[2] == f"accuracy      {100 * measured['accuracy']:.2f} % of the supernet, on 30 validation images"
    assert lines[3] == f"architecture  {run.genotype}"
    assert lines[4] == f"verdict       {run.verdict}"
    assert run.verdict.startswith(("undecided: ", "collapsed: "))
    assert lines[5] == f"decided       {run.summary['margins']['text']}"
    assert lines[6].startswith("size          ")
    assert "CIFAR-10" not in finished.out  # the table knows nothing of these images
    assert lines[-1] == "next          supernet retrain runs/digits-nasbench201-single-darts-0"
    assert lines[-2].startswith(
        "run folder    runs/digits-nasbench201-single-darts-0 (report.html, cell.svg, search.svg"
    )
    assert {"cell.svg", "search.svg", "summary.json", "genotype.json"} <= files_in(run.path)


def test_the_tables_standings_come_last_and_where_they_are_asked_for(call: Call, run: Run) -> None:
    index = run.summary["table_entry"]["index"]
    row = tables.load("nasbench201").row(index)
    status, out, _ = call("search", "digits", *SMALL, "--quiet", "--out", "run", "--table")
    lines = out[out.index(f"nasbench201 #{index}") :].splitlines()
    assert (status, len(lines)) == (0, 7)
    assert re.match(rf"CIFAR-10 +{row['c10_valid']:.2f} +{row['c10_test']:.2f} ", lines[2])
    assert re.match(rf"ImageNet16-120 +{row['in16_valid']:.2f} +{row['in16_test']:.2f} ", lines[4])
    assert lines[-1] == f"{row['c10_params_m']:.3f} M parameters, {row['c10_flops_m']:.1f} M FLOPs on CIFAR-10."
    assert max(map(len, lines)) <= 80


def test_a_finished_run_is_printed_again(call: Call, run: Run, finished: Finished, tmp_path: Path) -> None:
    before = times_in(tmp_path)
    status, out, err = call("search", "digits", *SMALL, "--quiet", "--out", "run")
    assert (status, err) == (
        0,
        "supernet: run 'run' has finished before: these are its results; --force starts it over\n",
    )
    *result, folder, _ = finished.out.splitlines()[4:]  # after the images, the engine and two epochs
    assert out == "\n".join([*result, f"run folder    run ({folder.rsplit(' (', 1)[1]}", ""])
    assert times_in(tmp_path) == before


def test_other_settings_are_refused_by_name_and_force_starts_over(call: Call, run: Run, tmp_path: Path) -> None:
    before = times_in(tmp_path)
    other = ["search", "digits", *SMALL, "--quiet", "--out", "run", "--method", "darts", "--seed", "3", "--w.lr", "0.1"]
    status, out, err = call(*other)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("supernet: run folder 'run' was made with other settings: ")
    fields = ("method (single-darts there, darts now)", "seed (0 there, 3 now)", "w.lr (0.025 there, 0.1 now)")
    for field in (*fields, "method_config.activation (sigmoid there, softmax now)"):
        assert field in err
    assert times_in(tmp_path) == before
    status, out, _ = call(*other, "--force")
    assert (status, out[:14]) == (0, "accuracy      ")  # and nothing of its progress
    assert run.config["seed"] == 3


def test_folders_that_are_not_run_folders_are_refused(call: Call, tmp_path: Path) -> None:
    Path("file").touch()
    Path("full").mkdir()
    Path("full", "thesis.tex").touch()
    Path("half").mkdir()
    Path("half", "config.yaml").write_text("a: [b")
    before = files_in(tmp_path)
    for out, expected in (
        ("file", "exists and is not a run folder"),
        ("full", "exists and is not a run folder"),
        ("file/run", "cannot write 'file/run': Not a directory"),
        ("half", "'half/config.yaml' cannot be read as the settings of a run"),
    ):
        for force in ([], ["--force"]):
            status, shown, err = call("search", "digits", *SMALL, "--out", out, *force)
            assert (status, shown, len(err.splitlines())) == (2, "", 1)
            assert expected in err
    assert files_in(tmp_path) == before


def test_a_damaged_summary_is_one_line_and_is_written_again_once_removed(call: Call, run: Run) -> None:
    command = ["search", "digits", *SMALL, "--quiet", "--out", "run"]
    whole, summary = call(*command)[1], run.summary
    Path("run", "summary.json").write_text('{"genotype')
    status, out, err = call(*command)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("supernet: 'run/summary.json' is damaged (")
    assert err.endswith("): remove it, and the command that made the run writes it again\n")
    Path("run", "summary.json").unlink()
    assert call(*command) == (0, whole, "")
    assert run.summary == summary


@pytest.mark.slow
def test_config_starts_from_the_settings_of_a_run(call: Call) -> None:
    settings = [
        "--seed",
        "4",
        "--w.lr",
        "0.1",
        "--alpha.optimizer",
        "adam",
        "--monitor",
        "hessian",
        "--batch-size",
        "2",
    ]
    assert call("search", "digits", *SMALL, *settings, "--quiet", "--out", "first")[0] == 0
    assert call("search", "--config", "first", "--quiet", "--out", "second")[0] == 0
    assert Path("first", "config.yaml").read_bytes() == Path("second", "config.yaml").read_bytes()
    assert Run("first").genotype == Run("second").genotype
    assert call("search", "--config", "first/config.yaml", "--epochs", "1", "--quiet", "--out", "third")[0] == 0
    first, third = Run("first").config, Run("third").config
    assert (first["epochs"], third["epochs"], third["seed"], third["monitor"]) == (2, 1, 4, "hessian")
    assert third | {"epochs": 2} == first
    rng = np.random.default_rng(0)
    np.savez("other.npz", x_train=rng.integers(256, size=(40, 16, 16, 3), dtype=np.uint8), y_train=np.arange(40) % 2)
    status, out, _ = call("search", "other.npz", "--config", "first", "--epochs", "1", "--out", "other-images")
    assert status == 0
    assert "images, image_size, stream, pad, mirror of 'first' are left out: it was searched on other images" in out
    other = Run("other-images").config
    assert [other[name] for name in ("images", "image_size", "pad", "mirror", "seed")] == [40, 16, 2, True, 4]
    status, out, _ = call("search", "other.npz", "--config", "first", "--pad", "1", "--epochs", "1", "--quiet")
    assert (status, "left out" in out) == (0, False)
    assert Run("runs/other-nasbench201-single-darts-4").config["pad"] == 1

    config = Run("first").config
    del config["method_config"]["alpha"]["lr"]
    Path("first", "config.yaml").write_text(yaml.dump(config))
    expected = "supernet: --config 'first': its config.yaml is damaged, without method_config.alpha.lr\n"
    assert call("search", "--config", "first", "--quiet", "--out", "second") == (2, "", expected)
    Path("other").mkdir()
    Path("other", "config.yaml").write_text(yaml.dump({"model": "mine"}))
    status, _, err = call("search", "--config", "other")
    assert (status, err) == (2, "supernet: --config 'other': no such run folder, or no config.yaml of a run in it\n")


def test_config_leaves_out_the_padding_where_the_images_have_another_size(call: Call, run: Run) -> None:
    larger = ["search", "--config", "run", "--image-size", "16"]
    status, out, _ = call(*larger, "--out", "larger")
    assert (status, run.config["pad"], Run("larger").config["pad"]) == (0, 1, 2)
    assert "setting pad of 'run' is left out: it was searched on images of another size" in out
    assert call(*larger, "--pad", "1", "--quiet", "--out", "given")[0] == 0
    assert Run("given").config["pad"] == 1


def test_the_last_of_two_methods_counts(call: Call) -> None:
    methods = ["--method", "random", "--method=darts"]
    assert call("search", "digits", *SMALL, *methods, "--quiet", "--out", "run")[0] == 0
    assert Run("run").config["method"] == "darts"
    assert Run("run").config["method_config"]["activation"] == "softmax"


def test_a_method_in_a_module_of_the_current_folder(call: Call) -> None:
    Path("mine_for_test_cli.py").write_text(
        "from supernet.methods.random_search import RandomSearch\nclass Mine(RandomSearch):\n    pass\n"
    )
    method = ["--method", "mine_for_test_cli:Mine", "--epochs-each", "1"]
    assert call("search", "digits", *SMALL, *method, "--quiet", "--out", "run")[0] == 0
    assert Run("run").config["method"] == "mine_for_test_cli:Mine"
    assert call("search", "--config", "run", *method[:2], "--quiet", "--out", "again")[0] == 0
    assert Run("again").config == Run("run").config
    own = (
        "supernet: method 'mine_for_test_cli:Mine' is one of your own: give it, too, as --method mine_for_test_cli:Mine"
    )
    for command in (["search", "--config", "run"], ["select", "run", "--with", "magnitude", "--quiet"]):
        assert call(*command)[2] == f"{own}, or method= in Python\n"
    selected = ["select", "run", "--with", "magnitude", "--device", "cpu", "--quiet"]
    assert call(*selected, *method[:2])[0] == 0
    expected = "supernet: run 'run' was searched by method 'mine_for_test_cli:Mine', not 'darts'\n"
    assert call(*selected, "--method", "darts")[2] == expected


MINE = """
import supernet as sn
from torch import nn

def wide(cin, cout, stride, norm):
    return nn.Sequential(nn.Conv2d(cin, cout, 5, stride, 2, bias=False), sn.batch_norm(cout, norm))

names = ("wide", "skip_connect", "none")
SPACE = sn.SearchSpace(
    "my own",
    {
        "normal": sn.Cell.dense(4, names, inputs=2, output="concat", keep=2, project=True),
        "reduce": sn.Cell.dense(3, names[:2], inputs=2, output="concat", keep=2, project=True),
    },
    sn.Stack(),
    (sn.Primitive("wide", wide),),
    target=(6, 2),
)
"""


def test_a_space_in_a_module_of_the_current_folder(call: Call) -> None:
    name = "spaces_for_test_cli"
    Path(f"{name}.py").write_text(MINE)
    command = ["search", "digits", *SMALL, "--space", f"{name}:SPACE", "--quiet"]
    status, out, err = call(*command)
    assert (status, err) == (0, "")
    run = Run("runs/digits-my own-single-darts-0")
    assert run.config["space"] == f"{name}:SPACE"
    assert out.partition("\n")[2].startswith(f"architecture  Genotype(normal=[('{run.genotype['normal'][0].op}', 0), ")
    assert run.summary["target"] == {"width": 6, "depth": 2}
    size = f"{run.summary['params'] / 1e6:.3f} M parameters, {run.summary['flops'] / 1e6:.1f} M FLOPs"
    assert f"size          {size}" in out
    assert "6 channels, depth 2" in out
    assert call(*command)[1] == out  # printed again
    assert call(*command[:-1])[1].endswith(
        f"supernet retrain 'runs/digits-my own-single-darts-0' --space {name}:SPACE\n"
    )
    again = ["search", "--config", str(run.path), "--space", f"{name}:SPACE", "--quiet", "--out", "again"]
    assert call(*again)[0] == 0
    assert Run("again").genotype == run.genotype
    sys.modules[name].SPACE = sn.SearchSpace("my own", RAGGED.cells, RAGGED.skeleton, RAGGED.primitives, target=(6, 2))
    status, _, err = call(*command)
    assert status == 2
    assert "was made with other settings: " in err  # the same name for another space
    assert "space_hash (" in err
    sys.modules[name].SPACE = "no space"
    assert call(*command)[2] == f"supernet: space '{name}:SPACE' is not a supernet.SearchSpace\n"
    del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "also"), [("s2", []), ("darts", ["--method", "random", "--epochs-each", "1"])])
def test_a_search_in_a_darts_space(name: str, also: list[str], call: Call) -> None:
    small = ["--images", "30", "--epochs", "1", "--width", "2", "--device", "cpu", "--quiet"]
    status, out, err = call("search", "digits", *small, "--space", name, *also, "--out", "run")
    assert (status, err) == (0, "")
    run, home = Run("run"), space(name)
    assert home.parse(run.summary["architecture"]) == run.genotype
    lines = out.splitlines()
    assert lines[1] == f"architecture  {run.genotype}"
    assert lines[2] == f"verdict       {run.verdict}"
    assert run.verdict.startswith("undecided: ") or run.verdict == str(verdict(home, run.genotype))
    price = cost(home, run.genotype, NetworkSize(36, 6, (8, 8), 1, 10))
    assert (run.summary["params"], run.summary["flops"], run.summary["table_entry"]) == (
        price.params,
        price.flops,
        None,
    )
    assert run.summary["target"] == {"width": 36, "depth": 6}
    assert "table" not in run.metrics[0]


@pytest.mark.parametrize("size", [["--image-size", "1"], ["--stem", "3"], ["--stem", "1", "--reductions", "2"]])
def test_images_of_any_size_are_searched(size: list[str], call: Call) -> None:
    status, _, err = call("search", "digits", "--epochs", "1", *SMALL[:2], *SMALL[4:], *size, "--quiet", "--out", "run")
    assert (status, err) == (0, "")
    assert Run("run").finished
    protocol = Run("run").config
    for option, value in zip(size[::2], size[1::2], strict=True):
        assert protocol[option[2:].replace("-", "_")] == int(value)


def test_a_search_on_an_npz_and_on_a_folder_of_class_folders(call: Call, tmp_path: Path) -> None:
    images = tiny_images(24)
    np.savez("bands.npz", x_train=images.x[:, 0].numpy(), y_train=images.y.numpy())
    for number, (image, label) in enumerate(zip(images.x, images.y.tolist(), strict=True)):
        folder = tmp_path / "photos" / images.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{number}.png")
    for data, name in (("bands.npz", "bands"), ("photos/", "photos"), (str(tmp_path / "photos"), "photos")):
        status, out, err = call("search", data, "--epochs", "1", "--width", "2", "--quiet")
        assert status == 0
        assert f"run folder    runs/{name}-nasbench201-single-darts-0 (" in out
        assert ("has finished before" in err) == (data == str(tmp_path / "photos"))  # the same photos by another path
        assert Run(f"runs/{name}-nasbench201-single-darts-0").config["image_size"] == 8


# --- report


def test_report_writes_the_page_of_each_run_that_it_is_given(call: Call, run: Run) -> None:
    (run.path / "report.html").unlink()
    assert call("report", "run", "run/") == (0, "page          run/report.html\npage          run/report.html\n", "")
    assert run.verdict.partition(": ")[2] in (run.path / "report.html").read_text()
    (run.path / "report.html").unlink()
    assert call("report", "run", "nowhere") == (2, "", "supernet: 'nowhere' is no run folder\n")
    assert not (run.path / "report.html").exists()
    status, out, err = call("report")
    assert (status, out, err[:22]) == (2, "", "supernet: missing RUN:")


# --- select


@pytest.mark.slow
def test_select_prints_decisions_and_a_table_of_all_selections(call: Call, run: Run) -> None:
    command = ["select", "run", "--tune-epochs", "1", "--device", "cpu", "--table"]
    status, out, err = call(*command)
    assert (status, err) == (0, "")
    read, running, *lines = out.splitlines()
    assert read.startswith("read ")
    assert running.startswith("selecting by perturbation after epoch 2; running fused (")
    for number, line in enumerate(lines[:5], 1):
        assert re.fullmatch(
            rf"epoch {number}/5  loss \d\.\d{{3}}  \d+\.\d s  \S+ % on validation images  decided {number} of 6: .*",
            line,
        )
    selected = Run("run/selections/perturbation")
    assert lines[6] == f"architecture  {selected.genotype}"
    decisions = re.findall(r"^\d<-\d  \S+ +accuracy \d+\.\d\d % without it, .* without another$", out, re.MULTILINE)
    assert len(decisions) == 6
    assert re.search(r"^evaluated     30 passes over 30 images in ", out, re.MULTILINE)
    assert "run folder    run/selections/perturbation (report.html, cell.svg, metrics.jsonl; " in out
    for each in (run, selected):
        name, entry = each.config["selector"], each.summary["table_entry"]
        assert re.search(rf"^{name} .*{entry['results'][0]['test']:.2f}.* {entry['index']}$", out, re.MULTILINE)
    shown, _, following = out[out.index("accuracy      ") :].rpartition("next ")
    assert following == "         supernet retrain run/selections/perturbation\n"
    assert call(*command, "--quiet")[1].endswith(shown)  # printed again
    status, _, err = call("select", "run", "--device", "cpu", "--criterion", "loss")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "select.criterion (accuracy there, loss now)" in err
    also = ["--criterion", "loss", "--tune-epochs", "0", "--seed", "3", "--out", "other", "--quiet"]
    assert call("select", "run", "--device", "cpu", *also)[0] == 0
    assert Run("other").config["select"]["criterion"] == "loss"
    assert call("retrain", "run/selections/perturbation", "--epochs", "1", "--width", "2", "--quiet")[0] == 0


MY_SELECTOR = """
from dataclasses import dataclass
import supernet as sn

@dataclass(frozen=True)
class Config:
    column: int = 0

class Same(sn.Selector):
    Config = Config

    def genotype(self):
        space = self.method.supernet.space
        return space.choose({k: [self.config.column] * len(cell.edges) for k, cell in space.cells.items()})
"""


@pytest.mark.slow
def test_a_selector_in_a_module_of_the_current_folder(call: Call) -> None:
    Path("selectors_for_test_cli.py").write_text(MY_SELECTOR)
    name = "selectors_for_test_cli:Same"
    searched = ["search", "digits", *SMALL, "--selector", name, "--select.column", "1", "--quiet", "--out", "run"]
    assert call(*searched)[0] == 0
    assert {choice.op for choice in Run("run").genotype["cell"]} == {"skip_connect"}
    again = ["search", "--config", "run", "--selector", name]
    assert call(*again, "--quiet", "--out", "again")[0] == 0
    assert Run("again").config["select"] == {"column": 1}
    assert "--select.column INT" in call(*again, "--help")[1]
    assert call("search", "--config", "run", "--selector", "magnitude", "--quiet", "--out", "plain")[0] == 0
    assert Run("plain").config["select"] == {}
    status, out, err = call("select", "plain", "--with", name, "--column", "3", "--device", "cpu", "--quiet")
    assert (status, err) == (0, "")
    assert {choice.op for choice in Run("plain/selections/selectors_for_test_cli.Same").genotype["cell"]} == {
        "nor_conv_3x3"
    }
    assert "selectors_for_test_cli.Same" in out
    assert "--column INT" in call("select", "--with", name, "--help")[1]


# --- query and the lists


def test_query_by_index_by_architecture_and_by_the_best(call: Call) -> None:
    status, out, err = call("query", "9930")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == BEST
    assert re.search(r"^CIFAR-100 +73\.49 +73\.51 +1 +73\.51 \(#9930\) +0\.00$", out, re.MULTILINE)
    assert max(len(line) for line in out.splitlines()[1:]) <= 80
    assert call("query", BEST) == call("query", "--best", "c100_test") == (status, out, err)
    assert call("query", "--best", "c10_test")[1].splitlines()[0] != BEST


def test_query_as_json_has_every_field(call: Call) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(name)

    table = tables.load("nasbench201")
    for index in (0, 9930):
        status, out, err = call("query", str(index), "--json")
        assert (status, err) == (0, "")
        found = json.loads(out, parse_constant=no_constant)
        assert (found["index"], found["architecture"]) == (index, str(table.genotype(index)))
        assert found["c10_test"] == table.column("c10_test")[index]
        assert set(found) == {"index", "architecture", *table.fields}
        unmeasured = {field for field in table.fields if np.isnan(table.column(field)[index])}
        assert {field for field, value in found.items() if value is None} == unmeasured
    assert any(np.isnan(table.column(field)[0]) for field in table.fields)


def test_query_lists_its_fields(call: Call) -> None:
    status, out, _ = call("query", "--fields")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(tables.load("nasbench201").fields)


ALPHA = ["single-darts", "darts", "darts-2nd"]
PERTURBED = ["sdarts-rs", "sdarts-adv", "dropnas"]
SIDE = ["pc-darts", "p-darts", "cdarts", "darts-minus", "fairdarts"]
ROBUST = ["r-darts-l2", "r-darts-dp", "r-darts-es", "r-darts-ada", "darts-plus"]
ZERO_ORDER = ["zarts-mgs", "zarts-rs", "zarts-gld"]
SELECTED = ["magnitude", "average", "skip-limit", "threshold", "perturbation", "perturbation-magnitude"]
SELECTED += ["best-of-samples", "evolution"]
FIRST_SPACES = ["nasbench201", "darts", "darts7", "darts7-fair", "s1", "s2", "s3", "s4"]
DRAWING = ["nao-v2", "nao-v2-small", "enas", "gdas", "rsps", "setn"]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "spaces",
            ["nasbench201", "darts", "darts7", "darts7-fair", "s1", "s2", "s3", "s4", "nao", "nao-middle", "mobile"],
        ),
        (
            "methods",
            [*ALPHA, *ROBUST, "darts-pt", *PERTURBED, "blank", *SIDE, *ZERO_ORDER, *DRAWING, "random"],
        ),
        ("selectors", SELECTED),
    ],
)
def test_a_list_has_a_line_with_the_paper_for_each_name(command: str, names: list[str], call: Call) -> None:
    status, out, err = call(command)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == names
    assert all(re.search(r"\b20\d\d\b", line) for line in out.splitlines())


def test_help_and_version(call: Call) -> None:
    status, usage, err = call()
    assert (status, err) == (0, "")
    assert call("--help") == call("-h") == call("help") == (0, usage, "")
    assert call("--version") == call("-V") == (0, "supernet 0.1.0\n", "")
    for command in cli.COMMANDS:
        assert re.search(rf"^  {command} +\S", usage, re.MULTILINE)
        status, page, err = call(command, "--help")
        assert (status, err) == (0, "")
        assert page.startswith(f"usage: supernet {command} [-h]")
        assert max(len(line) for line in page.splitlines()) <= 80
    for option in ("--epochs INT", "--w.lr FLOAT", "--alpha.optimizer {sgd,adam}", "--out FOLDER", "DATA"):
        assert option in call("search", "--help-all")[1]
    assert "--epochs-each INT" in call("search", "--method", "random", "--help")[1]
    for option in ("--select.tune-epochs INT", "--select.criterion {accuracy,loss,magnitude}", "--selector STR"):
        assert option in call("search", "--method", "darts-pt", "--help")[1]
    for option in ("RUN", "--with NAME", "--tune-epochs INT", "--edges {independent,cumulative}", "--out FOLDER"):
        assert option in call("select", "--help-all")[1]
    assert "--tune-epochs" not in call("select", "--with", "magnitude", "--help")[1]
    assert "(default: magnitude)" in call("select", "--with=perturbation-magnitude", "--help")[1]
    assert "(default: 50)" in call("search", "--protocol", "nasbench201", "--help")[1]


# --- the program around it


@pytest.mark.slow
@pytest.mark.parametrize("line", ["query 9930", "query 9930 --json", "query --help", "--help", "spaces"])
def test_a_closed_pipe_is_no_error(line: str) -> None:
    read, write = os.pipe()
    os.close(read)
    process = program(*line.split(), stdout=write)
    os.close(write)
    assert process.communicate()[1] == ""
    assert process.returncode == 141


def test_a_current_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    line = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -m supernet search digits'
    command = ["sh", "-c", line, sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = "supernet: the current folder has been removed: cd into one that is there\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_a_backend_of_pictures_that_is_not_there_ends_no_search(tmp_path: Path) -> None:
    environment = {"MPLBACKEND": "Qt4Agg"}  # as older profiles set it
    with program("search", "digits", *SMALL, "--quiet", "--out", "x", environment=environment, cwd=tmp_path) as search:
        assert search.wait() == 0
    assert (tmp_path / "x" / "search.svg").exists()


@pytest.mark.parametrize(
    ("words", "closed", "status"),
    [("spaces", "<&- >&- 2>&-", 0), ("spaces", ">&-", 0), ("nonsense", "2>&-", 2), ("nonsense", ">&-", 2)],
)
def test_closed_outputs_are_no_mistake_and_mix_with_nothing(words: str, closed: str, status: int) -> None:
    line = f'exec "$0" -m supernet {words} {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("supernet: unknown command" if (words, closed) == ("nonsense", ">&-") else "")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_search_with_a_closed_pipe_resumes(call: Call, tmp_path: Path) -> None:
    with program("search", "digits", *SMALL, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("read 60 images of 10 classes")
        assert process.stdout.readline().startswith("running fused (")
        assert process.stdout.readline().startswith("epoch 1/2")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
    status, out, err = call("search", "digits", *SMALL)
    assert (status, err) == (0, "")
    assert "architecture  |" in out


def on_a_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the program on a terminal; return its exit status and its output."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, [sys.executable, "-m", "supernet", *arguments])
    sent = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # raised by Linux when the other end is closed
            part = b""
        if not part:
            break
        sent += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sent.decode()


@pytest.mark.slow
def test_a_terminal_shows_one_bar_at_a_time_and_then_the_result(tmp_path: Path) -> None:
    selector = ["--selector", "perturbation", "--select.tune-epochs", "1"]
    status, sent = on_a_terminal(tmp_path, "search", "digits", *SMALL, *selector, "--out", "run")
    assert status == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent)
    assert shown.startswith("read 60 images of 10 classes")
    assert shown.count("read 60") == 1
    assert "Traceback" not in shown
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 2  # each bar hides the cursor and shows it again
    search, _, selection = shown.partition("selecting by perturbation after epoch 2")
    assert re.search(r"epoch \d/2 ━+ ?\d/2 steps, ", search)
    assert re.search(r"epoch \d/5 ━+", selection)
    assert not re.search(r"epoch \d/2 ", selection)
    assert "decided 5 of 6" in selection
    *_, result = sent.split("\x1b[?25h")
    assert "architecture  |" in result
    assert "epoch 5/5" not in result


# --- watchers


def row(epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "loss": 1.5, "seconds": 2.25, "architecture": BEST, "table": {"c10_test": 94.36}}


def test_the_bar_shows_steps_epoch_architecture_and_its_accuracy() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    bar = screen.Bar(console, table=True)
    bar.start(4, 10, 15)
    bar.step()
    bar.live.refresh()
    assert re.search(r"epoch 2/4 ━+[╺╸ ━]*  ?16/40 steps, \S+ left", file.getvalue())
    bar.epoch(row(2))
    bar.live.refresh()
    bar.stop()
    shown = file.getvalue()
    assert re.search(r"epoch 3/4 .*20/40 steps", shown)
    assert "loss 1.500  table: 94.36 % on CIFAR-10" in shown
    assert BEST in re.sub(r"\s", "", shown)
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)) <= 80 for line in re.split(r"[\r\n]", shown))


def test_a_bar_has_no_epoch_beyond_the_last() -> None:
    file = io.StringIO()
    bar = screen.Bar(Console(file=file, force_terminal=True, width=80, color_system=None))
    bar.start(4, 10, 40)
    bar.stop()
    assert "epoch 4/4" in file.getvalue()
    assert "epoch 5/4" not in file.getvalue()


def test_lines_say_where_a_search_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = screen.Lines(Console(width=80), table=True)
    lines.note("running wild")
    lines.start(4, 10, 15)
    lines.epoch(row(2))
    lines.epoch({name: value for name, value in row(3).items() if name != "table"})
    lines.say("mind the gap")
    assert capsys.readouterr() == (
        "running wild\ncontinuing after step 15 of 40\n"
        f"epoch 2/4  loss 1.500  2.2 s  {BEST}  table: 94.36 % on CIFAR-10\n"
        f"epoch 3/4  loss 1.500  2.2 s  {BEST}\n",
        "supernet: mind the gap\n",
    )


def test_a_terminal_gets_a_bar_and_a_pipe_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(screen.display(quiet=True)) is screen.Quiet
    assert type(screen.display(quiet=False)) is screen.Lines
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    assert type(screen.display(quiet=False)) is screen.Bar
    monkeypatch.setenv("TERM", "dumb")
    assert type(screen.display(quiet=False)) is screen.Lines


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_gets_a_bar_where_it_can_draw_one(widgets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(screen, "find_spec", lambda name: widgets or None)
    assert type(screen.display(quiet=False)) is (screen.Bar if widgets else screen.Lines)
