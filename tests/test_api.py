"""The Python interface: `import supernet as sn`."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import supernet as sn
from supernet.engine.callbacks import Callback
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.methods.differentiable import DifferentiableConfig
from supernet.models.cost.count import cost
from supernet.models.mix import Mix, dense
from supernet.report import console as show
from supernet.searching import results
from supernet.searching.config import configured
from supernet.searching.plan import planned
from supernet.selectors.perturbation import PerturbationConfig
from supernet.testing import PairDataset, ragged_space, tiny_images

TINY_CONFIG = {"images": 60, "epochs": 2, "width": 2, "device": "cpu"}
TINY = TINY_CONFIG | {"quiet": True}


def message(**settings: object) -> str:
    """Return the message of the UserError that a search raises; it must be one line."""
    with pytest.raises(sn.UserError) as caught:
        sn.search(**settings)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def rows(run: sn.Run) -> list[dict[str, object]]:
    """Return the metrics of a run without their times."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished search on digits, which no test changes."""
    return sn.search("digits", out=tmp_path_factory.mktemp("finished") / "run", **TINY)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Leave out the pictures of a search, which take most of its time; `finished` has them."""
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


# --- a search


def test_a_finished_run_has_an_architecture_a_verdict_and_metrics(finished):
    assert finished.finished
    assert sn.space("nasbench201").parse(str(finished.genotype)) == finished.genotype
    assert finished.verdict.split(":")[0] in ("healthy", "thin", "collapsed", "undecided")
    assert [row["epoch"] for row in finished.metrics] == [1, 2]
    assert finished.metrics[-1]["architecture"] == str(finished.genotype)
    assert finished.summary["table_entry"]["index"] == sn.table("nasbench201").index(finished.genotype)
    net = sn.build(finished.genotype, width=4, depth=1, classes=10)
    assert net(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    again = sn.Run(str(finished.path))
    assert (again.genotype, again.metrics, again.summary) == (finished.genotype, finished.metrics, finished.summary)


def test_progress_is_printed_unless_the_search_is_quiet(tmp_path, capsys):
    run = sn.search("digits", out=tmp_path / "run", **TINY)
    assert capsys.readouterr() == ("", "")
    assert run.path == tmp_path / "run"
    sn.search("digits", out=tmp_path / "run", force=True, **TINY | {"quiet": False})
    read, running, *epochs = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"read \d+ images of 10 classes \(0, .*\), 8x8 grey; \d+ of them held out .*; 297 test images", read
    )
    assert running.startswith("running fused (")
    assert [line[:9] for line in epochs] == ["epoch 1/2", "epoch 2/2"]


def test_the_default_folder_is_under_runs_and_the_default_method_is_single_darts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = sn.search(**TINY, seed=3)
    assert run.path == Path("runs/digits-nasbench201-single-darts-3")
    assert run.config["method_config"]["regime"] == "same_batch"
    assert run.config["image_size"] == 8


def test_the_same_call_returns_the_finished_run_and_force_starts_over(finished, tmp_path, capsys):
    out = shutil.copytree(finished.path, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert rows(sn.search("digits", out=out, **TINY)) == rows(finished)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "has finished before" in capsys.readouterr().err
    assert "epochs (2 there, 1 now)" in message(data="digits", out=out, **TINY | {"epochs": 1})
    sn.search("digits", out=out, **TINY | {"epochs": 1}, force=True)
    assert [row["epoch"] for row in sn.Run(out).metrics] == [1]


def test_nested_settings_are_mappings_or_instances(tmp_path):
    nested = {"w": {"lr": 0.1}, "alpha": {"optimizer": "adam"}, "activation": "softmax"}
    config = configured(data="digits", **TINY_CONFIG, **nested)
    assert config.w == SGDConfig(lr=0.1)
    alpha = AlphaOptimizerConfig(optimizer="adam")
    assert config.method_config == DifferentiableConfig(activation="softmax", alpha=alpha)
    protocol = sn.Protocol(images=60, epochs=2, width=2, w=SGDConfig(lr=0.1))
    for same in (
        {"protocol": protocol, "method_config": config.method_config, "device": "cpu"},
        TINY_CONFIG | {"w": SGDConfig(lr=0.1), "activation": "softmax", "alpha": alpha},
        TINY_CONFIG | {"w": {"lr": 0.1}, "method_config": {"activation": "softmax", "alpha": {"optimizer": "adam"}}},
    ):
        assert configured(data="digits", **same) == config
    run = sn.search("digits", out=tmp_path / "run", quiet=True, **TINY_CONFIG, **nested)
    assert run.config == planned("digits", **TINY_CONFIG, **nested).record
    assert (run.config["w"]["lr"], run.config["w"]["momentum"]) == (0.1, 0.9)
    method_config = run.config["method_config"]
    assert (method_config["alpha"]["optimizer"], method_config["activation"]) == ("adam", "softmax")


# --- methods, spaces and data of a user


@dataclass(frozen=True)
class EqualConfig:
    share: float = 0.2


class Equal(sn.Method):
    """All operations weigh the same."""

    Config = EqualConfig

    @property
    def streams(self):
        return {"weights": "train"}

    def mix(self) -> Mix:
        cells = self.supernet.space.cells.items()
        return dense({kind: torch.full((len(cell.edges), cell.columns), self.config.share) for kind, cell in cells})

    def step(self, batches):
        return self.weight_step(batches["weights"], self.mix())


class Bands(Dataset):
    """Images as torchvision's data sets have them: an array and an int."""

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return tiny_images(24).x[index, 0].numpy(), index % 3


def test_a_search_with_a_method_a_space_and_data_of_a_user(tmp_path):
    images, settings = PairDataset(tiny_images(24)), TINY | {"images": None}
    run = sn.search(images, space=ragged_space(), method=Equal, share=0.3, out=tmp_path, **settings)
    assert run.config["method"].endswith(":Equal")
    assert run.config["method_config"] == {"share": 0.3}
    assert (run.config["space"], run.summary["table_entry"]) == ("ragged", None)
    assert ragged_space().parse(str(run.genotype)) == run.genotype
    assert "table" not in run.metrics[0]
    assert "share" in message(data=PairDataset(tiny_images(24)), method=Equal, shares=0.3, out=tmp_path / "no")


def test_the_same_pixels_give_the_same_search_from_every_source(tmp_path):
    images = tiny_images(24)
    floats = TensorDataset(images.x.float() / 255, images.y)
    losses = []
    for number, (data, name) in enumerate(
        ((Bands(), "Bands"), (floats, "TensorDataset"), ((images.x, images.y), "arrays"))
    ):
        run = sn.search(data, out=tmp_path / str(number), **TINY | {"images": None})
        assert run.config["data"] == name
        losses.append(run.metrics[-1]["loss"])
    assert losses == losses[:1] * 3
    with pytest.raises(sn.UserError, match="searched on 'arrays', which is not here: give the images with --data, or"):
        sn.select(run, tune_epochs=0, device="cpu", quiet=True)


def test_another_selector_reads_an_architecture_out_of_a_run(finished, tmp_path):
    run = sn.Run(shutil.copytree(finished.path, tmp_path / "run"))
    selected = sn.select(run, tune_epochs=0, device="cpu", quiet=True)
    assert selected.path == tmp_path / "run" / "selections" / "perturbation"
    assert sn.space("nasbench201").parse(str(selected.genotype)) == selected.genotype
    assert selected.verdict.split(":")[0] in ("healthy", "thin", "collapsed", "undecided")
    config = PerturbationConfig(tune_epochs=0)
    again = sn.search("digits", selector="perturbation", select=config, out=tmp_path / "again", **TINY)
    assert (again.genotype, again.config["select"]) == (selected.genotype, selected.config["select"])


# --- mistakes

MISTAKES = [
    ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'? known: "),
    ({"w": {"lrr": 1.0}}, "unknown setting 'w.lrr'; did you mean 'w.lr'? known: w.lr, w.lr_min, "),
    ({"alpha": {"optimiser": "sgd"}}, "unknown setting 'alpha.optimiser'; did you mean 'alpha.optimizer'? known: "),
    ({"method": "random", "activation": "softmax"}, "unknown setting 'activation'"),
    ({"epochs": "three"}, "setting epochs takes a whole number, not 'three'"),
    ({"epochs": 2.5}, "setting epochs takes a whole number, not 2.5"),
    ({"epochs": None}, "setting epochs takes a whole number, not None"),
    ({"epochs": 0}, "setting epochs must be at least 1, not 0"),
    ({"w": {"lr": "x"}}, "setting w.lr takes a number, not 'x'"),
    ({"w": {"lr": -1.0}}, "setting w.lr must be at least 0, not -1.0"),
    ({"w": 3}, "setting w takes a mapping of its fields, not 3"),
    ({"alpha": {"optimizer": "adamw"}}, "setting alpha.optimizer takes 'sgd' or 'adam', not 'adamw'"),
    ({"alpha": {"lr": -1.0}}, "setting alpha.lr must be at least 0, not -1.0"),
    ({"activation": "relu"}, "setting activation takes 'sigmoid' or 'softmax', not 'relu'"),
    ({"order": 3}, "setting order takes 1 or 2, not 3"),
    ({"cutout": 8}, "setting cutout must be less than the 8 pixels of an image's side, not 8"),
    ({"space": "nasbench"}, "unknown space 'nasbench'; did you mean 'nasbench201'? known: nasbench201"),
    ({"space": 3}, "space cannot be of type int: 3"),
    ({"space": "supernet:search"}, "space 'supernet:search' is not a supernet.SearchSpace"),
    ({"stem": -1}, "setting stem must be at least 0, not -1"),
    ({"stem": 4}, "images of 8x8 pixels are too small for 4 halvings in the stem and 0 reductions: at most 3 in all"),
    ({"space": "darts", "reductions": 3}, "space 'darts' has 2 reductions, not 3"),
    (
        {"space": sn.SearchSpace.chain("c", [(("skip_connect",), 2, 1)])},
        "edge 1<-0 of cell '01': operation 'skip_connect' does not fit there: skip_connect passes its input on: it ",
    ),
    ({"method": "dart"}, "unknown method 'dart'; did you mean 'darts'? known: "),
    ({"method": 3}, "method cannot be of type int: 3"),
    ({"method": dict}, "method 'builtins:dict' is not a class derived from supernet.Method"),
    ({"selector": "mag"}, "unknown selector 'mag'"),
    ({"selector": 3}, "selector cannot be of type int: 3"),
    ({"selector": "perturbation", "select": {"epochs": 3}}, "unknown setting 'epochs'; did you mean 'tune_epochs'?"),
    ({"select": {"tune_epochs": 3}}, "unknown setting 'tune_epochs'; known: "),
    ({"select": 3}, "selector 'magnitude' takes a NoConfig, not 3"),
    ({"protocol": "big"}, "unknown protocol 'big'; known: small, medium, nasbench201"),
    ({"protocol": 3}, "protocol cannot be of type int: 3"),
    ({"method_config": {"ordr": 2}}, "unknown setting 'ordr'; did you mean 'order'? known: regime, activation, "),
    ({"method_config": {"order": 3}}, "setting order takes 1 or 2, not 3"),
    ({"method_config": 3}, "method 'single-darts' takes a DifferentiableConfig, not 3"),
    (
        {"method_config": EqualConfig()},
        "method 'single-darts' takes a DifferentiableConfig, not EqualConfig(share=0.2)",
    ),
    ({"seed": "0"}, "setting seed takes a whole number, not '0'"),
    ({"seed": 2**63}, f"setting seed must be below {2**63}, not {2**63}"),
    ({"device": "tpu"}, "device 'tpu' cannot be used here: "),
    ({"engine": "fuse"}, "setting engine takes 'auto', 'fused' or 'reference', not 'fuse'"),
    ({"engine": None}, "setting engine takes 'auto', 'fused' or 'reference', not None"),
    ({"precision": "fp16"}, "setting precision takes 'auto', 'float32', 'tf32' or 'bf16', not 'fp16'"),
    ({"precision": 32}, "setting precision takes 'auto', 'float32', 'tf32' or 'bf16', not 32"),
    ({"precision": "tf32", "device": "cpu"}, "precision tf32 needs a GPU of compute capability 8.0 or more, not 'cpu'"),
    ({"checkpointing": "yes"}, "setting checkpointing takes true or false, not 'yes'"),
    ({"graphs": "yes"}, "setting graphs takes true or false, not 'yes'"),
    ({"graphs": True, "device": "cpu"}, "CUDA graphs need a GPU, not 'cpu'"),
    ({"data": "digit"}, "unknown data 'digit'; did you mean 'digits'?"),
    ({"data": 3}, "data cannot be of type int: 3"),
]


@pytest.mark.parametrize(("settings", "expected"), MISTAKES, ids=[str(settings) for settings, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(settings, expected, tmp_path):
    assert message(**{"data": "digits", "out": tmp_path / "run", "quiet": True} | settings).startswith(expected)
    assert list(tmp_path.iterdir()) == []


SOURCES = "expected 'digits', a path, a torch Dataset, or arrays as (X, y)"
NAMES = "takes names, as a list or a text with commas"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda: sn.search("a", "b"), "search() takes data by position and everything else by name, not 'b'"),
        (lambda: sn.search("digits", data="a"), "search() got data twice: 'digits' and 'a'"),
        (lambda: sn.forecast("a", "b"), "forecast() takes data by position and everything else by name, not 'b'"),
        (lambda: sn.retrain("a", "b"), "retrain() takes what by position and everything else by name, not 'b'"),
        (lambda: sn.retrain(), "retrain() needs what"),
        (lambda: sn.load(None), "run cannot be of type NoneType: None"),
        (lambda: sn.evaluate(None), "run cannot be of type NoneType: None"),
        (lambda: sn.evaluate(""), "a run needs the path of a folder, not ''"),
        (lambda: sn.search("digits", out="a\0b"), r"a run needs the path of a folder, not 'a\x00b'"),
        (lambda: sn.Run(3), "a run needs the path of a folder, not 3"),
        (lambda: sn.Run(sn.Run("a")), "a run needs the path of a folder, not Run('a')"),
        (lambda: sn.runs(None), "runs are looked for in the path of a folder, not None"),
        (
            lambda: sn.export("a", ["onnx"]),
            "unknown format '['onnx']'; did you mean 'onnx'? known: torch, onnx, genotype",
        ),
        (lambda: sn.space(3), "space cannot be of type int: 3"),
        (lambda: sn.search([1]), f"data cannot be of type list: [1]; {SOURCES}"),
        (lambda: sn.retrain("9930", data={}), f"data cannot be of type dict: {{}}; {SOURCES}"),
        (lambda: sn.build("9930", width=True), "setting width takes a whole number, not True"),
        (lambda: sn.compare(methods=None), f"methods {NAMES}, not None"),
        (lambda: sn.compare(workers=1.5), "setting workers takes a whole number, not 1.5"),
        (
            lambda: sn.compare(axes=["seed"]),
            "axes takes a mapping of settings to their values, as {'alpha.lr': [0.001, 0.005]}, not ['seed']",
        ),
        (lambda: sn.compare(out=3), "out takes the path of a folder, not 3"),
        (lambda: sn.baseline("digits", params="5k", networks=3), f"networks {NAMES}, not 3"),
        (lambda: sn.baseline("digits", params="5k", workers="2"), "setting workers takes a whole number, not '2'"),
        (lambda: sn.table(3), "unknown table '3'; known: nasbench201"),
    ],
)
def test_a_wrong_call_is_one_line(wrong, expected):
    with pytest.raises(sn.UserError) as error:
        wrong()
    assert str(error.value) == expected


@pytest.mark.parametrize("settings", [{"lr": -0.1}, {"momentum": 1.0}, {"weight_decay": float("nan")}])
def test_a_config_is_checked_when_it_is_made(settings):
    with pytest.raises(sn.UserError, match="setting w"):
        SGDConfig(**settings)


# --- the state of the caller


def test_random_state_threads_and_signals_of_the_caller_are_kept(finished, tmp_path):
    torch.manual_seed(8)
    torch.rand(5)
    state, threads, handler = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    run = sn.search("digits", out=tmp_path / "run", **TINY)
    assert torch.equal(torch.get_rng_state(), state)
    assert rows(run) == rows(finished)  # which had another random state before
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == (threads, handler)


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C raise KeyboardInterrupt, which a shell's background jobs ignore."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


class Interrupting(Callback):
    """Presses Ctrl-C after the first step of the second epoch."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, row) -> None:
        self.rows.append(row["epoch"])


def test_ctrl_c_leaves_a_run_that_resumes(tmp_path, ctrl_c):
    settings = TINY | {"batch_size": 15}  # two steps in each epoch
    alone = sn.search("digits", out=tmp_path / "alone", **settings)
    state, callback = torch.get_rng_state(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        sn.search("digits", out=tmp_path / "run", callbacks=[callback], **settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert (callback.steps, callback.rows) == (3, [1])
    run = sn.Run(tmp_path / "run")
    assert (run.finished, len(run.metrics)) == (False, 1)
    with pytest.raises(sn.UserError, match="has not finished: start it again with the same command to go on"):
        _ = run.genotype
    callback = Interrupting()
    callback.steps = 10
    again = sn.search("digits", out=tmp_path / "run", callbacks=[callback], **settings)
    assert (callback.steps, callback.rows) == (11, [2])
    assert rows(again) == rows(alone)
    assert again.genotype == alone.genotype


# --- public names


def test_every_public_name_exists_and_is_listed():
    assert dir(sn) == sorted(sn.__all__)
    assert len(set(sn.__all__)) == len(sn.__all__)
    for name in sn.__all__:
        assert getattr(sn, name) is getattr(importlib.import_module("supernet"), name)
    names = {"search", "select", "Run", "UserError", "Method", "Selector", "SearchSpace", "build", "table", "space"}
    assert names <= set(sn.__all__)
    assert sn.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="module 'supernet' has no attribute 'searhc'"):
        _ = sn.searhc


def test_type_checkers_see_every_public_name():
    (block,) = [part for part in ast.parse(Path(sn.__file__).read_text()).body if isinstance(part, ast.If)]
    imports = [name for part in block.body if isinstance(part, ast.ImportFrom) for name in part.names]
    assigned = {target.id for part in block.body if isinstance(part, ast.Assign) for target in part.targets}
    exported = {name.asname for name in imports if name.asname == name.name}  # others are private to the package
    assert exported | assigned == set(sn.__all__) - {"__version__"}


def test_the_result_in_a_space_without_a_table_shows_the_size(tmp_path, capsys):
    space = ragged_space()
    run = sn.search("digits", space=space, out=tmp_path / "run", **TINY)
    show.result(show.Console(), run)
    price = cost(space, run.genotype, sn.NetworkSize(16, 5, (8, 8), channels=1, classes=10))
    size = f"{price.params / 1e6:.3f} M parameters, {price.flops / 1e6:.1f} M FLOPs"
    assert size in capsys.readouterr().out
    assert (run.summary["table_entry"], run.summary["params"]) == (None, price.params)
