"""The Python interface: `import supernet as sn`."""

from __future__ import annotations

import importlib
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import supernet as sn
from supernet.engine.loop import Watcher
from supernet.engine.optim import AlphaOptimizerConfig, SGDConfig
from supernet.methods.differentiable import DifferentiableConfig
from supernet.models.cost.count import cost
from supernet.models.mix import Mix, dense
from supernet.report import console as show
from supernet.selectors.perturbation import PerturbationConfig
from supernet.testing import PairDataset, ragged_space, tiny_images

TINY = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}


def message(**choices: object) -> str:
    with pytest.raises(sn.UserError) as caught:
        sn.search(**choices)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def rows(run: sn.Run) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


# --- a search


def test_a_search_and_what_its_run_tells(tmp_path, capsys):
    run = sn.search("digits", out=tmp_path / "run", **TINY)
    assert capsys.readouterr() == ("", "")
    assert run.path == tmp_path / "run"
    assert run.finished
    assert sn.space("nasbench201").parse(str(run.genotype)) == run.genotype
    assert run.verdict.split(":")[0] in ("healthy", "thin", "collapsed")
    assert [row["epoch"] for row in run.metrics] == [1, 2]
    assert run.metrics[-1]["architecture"] == str(run.genotype)
    assert run.summary["table_entry"]["index"] == sn.table("nasbench201").index(run.genotype)
    net = sn.build(run.genotype, width=4, depth=1, classes=10)
    assert net(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    again = sn.Run(str(tmp_path / "run"))
    assert (again.genotype, again.metrics, again.summary) == (run.genotype, run.metrics, run.summary)


def test_progress_is_shown_unless_it_is_quiet(tmp_path, capsys):
    sn.search("digits", out=tmp_path / "run", **TINY | {"quiet": False})
    first, *epochs = capsys.readouterr().out.splitlines()
    assert first.startswith("running fused (")
    assert [line[:9] for line in epochs] == ["epoch 1/2", "epoch 2/2"]


def test_without_a_place_it_goes_under_runs_and_the_defaults_are_the_papers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = sn.search(**TINY, seed=3)
    assert run.path == Path("runs/digits-nasbench201-single-darts-3")
    assert run.config["method_config"]["regime"] == "same_batch"
    assert run.config["image_size"] == 8


def test_the_same_call_returns_the_finished_run_and_force_starts_over(tmp_path, capsys):
    out = tmp_path / "run"
    first = sn.search("digits", out=out, **TINY)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    sn.search("digits", out=out, **TINY)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "has finished before" in capsys.readouterr().err
    said = message(data="digits", out=out, **TINY | {"epochs": 3})
    assert "epochs (2 there, 3 now)" in said
    metrics = first.metrics
    assert rows(sn.search("digits", out=out, **TINY | {"epochs": 3}, force=True))[:1] != metrics[:1]
    assert len(sn.Run(out).metrics) == 3


def test_settings_by_keyword_nested_or_as_instances(tmp_path):
    nested = {"w": {"lr": 0.1}, "alpha": {"optimizer": "adam"}, "activation": "softmax"}
    run = sn.search("digits", out=tmp_path / "a", **TINY, **nested)
    config = run.config
    assert (config["w"]["lr"], config["w"]["momentum"]) == (0.1, 0.9)
    assert (config["method_config"]["alpha"]["optimizer"], config["method_config"]["activation"]) == ("adam", "softmax")
    settings = DifferentiableConfig(activation="softmax", alpha=AlphaOptimizerConfig(optimizer="adam"))
    protocol = sn.Protocol(images=60, epochs=2, width=2, w=SGDConfig(lr=0.1))
    same = sn.search("digits", out=tmp_path / "b", device="cpu", quiet=True, protocol=protocol, method_config=settings)
    assert same.config == config
    assert rows(same) == rows(run)
    third = sn.search("digits", out=tmp_path / "c", **TINY | {"w": SGDConfig(lr=0.1), "activation": "softmax"})
    assert third.config == config


# --- one's own parts


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
    """As torchvision's: (PIL-like array, int)."""

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return tiny_images(24).x[index, 0].numpy(), index % 3


def test_ones_own_method_space_and_data(tmp_path):
    run = sn.search(
        PairDataset(tiny_images(24)), space=ragged_space(), method=Equal, share=0.3, out=tmp_path, **TINY | {"images": None}
    )
    assert run.config["method"].endswith(":Equal")
    assert run.config["method_config"] == {"share": 0.3}
    assert (run.config["space"], run.summary["table_entry"]) == ("ragged", None)
    assert ragged_space().parse(str(run.genotype)) == run.genotype
    assert "table" not in run.metrics[0]
    assert "share" in message(data=PairDataset(tiny_images(24)), method=Equal, shares=0.3, out=tmp_path / "no")


def test_any_torch_dataset_is_data(tmp_path):
    images = tiny_images(24)
    floats = TensorDataset(images.x.float() / 255, images.y)
    finger = []
    for number, data in enumerate((Bands(), floats)):
        run = sn.search(data, out=tmp_path / str(number), **TINY | {"images": None})
        assert run.config["data"] == type(data).__name__
        finger.append(run.metrics[-1]["loss"])
    assert finger[0] == finger[1]  # the same pixels


def test_another_selector_reads_another_architecture_out_of_a_run(tmp_path):
    run = sn.search("digits", method="darts", out=tmp_path / "run", **TINY)
    found = sn.select(run, tune_epochs=0, device="cpu", quiet=True)
    assert found.path == tmp_path / "run" / "selections" / "perturbation"
    assert sn.space("nasbench201").parse(str(found.genotype)) == found.genotype
    assert found.verdict.split(":")[0] in ("healthy", "thin", "collapsed")
    settings = PerturbationConfig(tune_epochs=0)
    again = sn.search("digits", method="darts-pt", select=settings, out=tmp_path / "again", **TINY)
    assert (again.genotype, again.config["select"]) == (found.genotype, found.config["select"])


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
        "operation 'skip_connect' does not fit there: skip_connect passes its input on: it cannot turn 8 channels",
    ),
    ({"method": "dart"}, "unknown method 'dart'; did you mean 'darts'? known: "),
    ({"method": 3}, "method cannot be of type int: 3"),
    ({"method": dict}, "method 'builtins:dict' is not a class derived from supernet.Method"),
    ({"selector": "mag"}, "unknown selector 'mag'"),
    ({"selector": 3}, "selector cannot be of type int: 3"),
    ({"selector": "perturbation", "select": {"epochs": 3}}, "unknown setting 'epochs'; did you mean 'tune_epochs'?"),
    ({"select": {"tune_epochs": 3}}, "unknown setting 'tune_epochs'; known: "),
    ({"select": 3}, "selector 'magnitude' takes a NoConfig, not 3"),
    ({"protocol": "big"}, "unknown protocol 'big'; known: small, nasbench201"),
    ({"protocol": 3}, "protocol cannot be of type int: 3"),
    ({"method_config": {"ordr": 2}}, "unknown setting 'ordr'; did you mean 'order'? known: regime, activation, "),
    ({"method_config": {"order": 3}}, "setting order takes 1 or 2, not 3"),
    ({"method_config": 3}, "method 'single-darts' takes a DifferentiableConfig, not 3"),
    ({"method_config": EqualConfig()}, "method 'single-darts' takes a DifferentiableConfig, not EqualConfig(share=0.2)"),
    ({"seed": "0"}, "setting seed takes a whole number, not '0'"),
    ({"seed": 2**63}, f"setting seed must be below {2**63:g}, not {2**63}"),
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


@pytest.mark.parametrize(("choices", "said"), MISTAKES, ids=[str(choices) for choices, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(choices, said, tmp_path):
    assert message(**{"data": "digits", "out": tmp_path / "run", "quiet": True} | choices).startswith(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [{"lr": -0.1}, {"momentum": 1.0}, {"weight_decay": float("nan")}])
def test_settings_are_checked_where_they_are_made(settings):
    with pytest.raises(sn.UserError, match="setting w"):
        SGDConfig(**settings)


# --- what belongs to the caller


def test_random_state_threads_and_signals_are_the_callers(tmp_path):
    torch.manual_seed(7)
    state, threads, handler = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    first = sn.search("digits", out=tmp_path / "1", **TINY)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    torch.rand(5)
    second = sn.search("digits", out=tmp_path / "2", **TINY)
    assert rows(first) == rows(second)  # and the caller's state is not the search's
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == (threads, handler)


class Interrupting(Watcher):
    """Presses Ctrl-C in the second epoch."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, row) -> None:
        self.rows.append(row["epoch"])


def test_ctrl_c_from_python_leaves_a_run_that_goes_on(tmp_path):
    settings = TINY | {"batch_size": 15}  # two steps in each epoch
    alone = sn.search("digits", out=tmp_path / "alone", **settings)
    state, watcher = torch.get_rng_state(), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        sn.search("digits", out=tmp_path / "run", watcher=watcher, **settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert (watcher.steps, watcher.rows) == (3, [1])
    run = sn.Run(tmp_path / "run")
    assert (run.finished, len(run.metrics)) == (False, 1)
    with pytest.raises(sn.UserError, match="has not finished: start it again with the same command to go on"):
        _ = run.genotype
    watcher = Interrupting()
    watcher.steps = 10
    again = sn.search("digits", out=tmp_path / "run", watcher=watcher, **settings)
    assert (watcher.steps, watcher.rows) == (11, [2])
    assert rows(again) == rows(alone)
    assert again.genotype == alone.genotype


# --- the package's names


def test_every_public_name_is_there_and_listed():
    assert dir(sn) == sorted(sn.__all__)
    assert len(set(sn.__all__)) == len(sn.__all__)
    for name in sn.__all__:
        assert getattr(sn, name) is getattr(importlib.import_module("supernet"), name)
    names = {"search", "select", "Run", "UserError", "Method", "Selector", "SearchSpace", "build", "table", "space"}
    assert names <= set(sn.__all__)
    assert sn.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="module 'supernet' has no attribute 'searhc'"):
        _ = sn.searhc


def test_a_space_without_a_table_is_shown_with_its_size(tmp_path, capsys):
    home = ragged_space()
    run = sn.search("digits", space=home, out=tmp_path / "run", **TINY)
    show.result(show.Console(), run)
    price = cost(home, run.genotype, sn.NetworkSize(16, 5, (8, 8), channels=1, classes=10))
    size = f"{price.params / 1e6:.3f} M parameters, {price.flops / 1e6:.1f} M FLOPs"
    assert size in capsys.readouterr().out
    assert (run.summary["table_entry"], run.summary["params"]) == (None, price.params)
