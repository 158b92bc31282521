"""Selection from a search: its run folder, resuming, unfinished searches, mistakes, selectors of a user, progress."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import dataclass, make_dataclass

import numpy as np
import pytest
import torch

import supernet as sn
from supernet.engine.callbacks import Callback
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.models.cost.latency import MeasuredLatency
from supernet.report import console as show
from supernet.report import progress as screen
from supernet.report.console import Console
from supernet.searching import results
from supernet.searching import select as selecting
from supernet.searching.config import _OF_SELECT, config_of
from supernet.searching.plan import planned
from supernet.searching.select import SelectionTask, selection_plan
from supernet.selectors import SELECTORS
from supernet.selectors.magnitude import Magnitude
from supernet.selectors.perturbation import Perturbation
from supernet.testing import PairDataset, ragged_space, tiny_images, two_input_space

TINY = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "quiet": True}
FAST = {"device": "cpu", "quiet": True, "tune_epochs": 1}
RAGGED = ragged_space()  # found by its name, f"{__name__}:RAGGED"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Leave out the pictures, which take most of the time."""
    leave_out_pictures(monkeypatch)


def leave_out_pictures(patch):
    for name in ("_pictures", "_cell"):
        patch.setattr(results, name, lambda *arguments: None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    images = tiny_images(24)
    file = tmp_path_factory.mktemp("data") / "bands.npz"
    np.savez(file, x_train=images.x[:, 0].numpy(), y_train=images.y.numpy())
    return file


@pytest.fixture(scope="module")
def original(archive, tmp_path_factory):
    """A finished search, which no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        return sn.search(archive, method="darts", out=tmp_path_factory.mktemp("runs") / "search", **TINY)


@pytest.fixture(scope="module")
def original_selection(original, tmp_path_factory):
    """A selection by perturbation from a copy of `original`, which no test changes."""
    folder = shutil.copytree(original.path, tmp_path_factory.mktemp("selected") / "search")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        return sn.select(folder, **FAST)


@pytest.fixture
def searched(original, tmp_path):
    """A finished search in a folder of its own."""
    return Run(shutil.copytree(original.path, tmp_path / "search"))


@pytest.fixture
def selected(original_selection, tmp_path):
    """A finished selection by perturbation, in a copy of its search."""
    search = shutil.copytree(original_selection.path.parent.parent, tmp_path / "search")
    return Run(search / "selections" / "perturbation")


def message(function, *arguments, **settings):
    """Return the message of the UserError that a call raises; it must be one line."""
    with pytest.raises(sn.UserError) as caught:
        function(*arguments, **settings)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def timeless(value):
    """Return nested values as plain lists, without times."""
    if isinstance(value, dict):
        timed = {"seconds", "evaluation_seconds"}
        return {name: timeless(part) for name, part in value.items() if name not in timed}
    if isinstance(value, list | tuple):
        return [timeless(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def results_of(run):
    """Return the config, the metrics, the summary and the last checkpoint of a selection, without times."""
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    state["task"]["selector"]["scorer"] = state["task"]["selector"]["scorer"][:2]
    return timeless([run.config, run.metrics, run.summary, state])


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "selections" not in p.parts}


# --- the run folder


def test_a_selection_is_a_run_of_its_own_in_the_folder_of_the_search(searched, monkeypatch):
    monkeypatch.undo()  # with its picture
    before, state = contents(searched.path), torch.get_rng_state()
    run = sn.select(searched, **FAST)
    assert torch.equal(torch.get_rng_state(), state)
    assert contents(searched.path) == before  # the checkpoints among them
    assert run.path == searched.path / "selections" / "perturbation"
    files = {str(file.relative_to(run.path)) for file in run.path.rglob("*") if file.is_file()}
    assert files >= {"config.yaml", "environment.json", "metrics.jsonl", "genotype.json", "summary.json", "cell.svg"}
    assert run.finished
    assert sn.space("nasbench201").parse(str(run.genotype)) == run.genotype
    assert run.verdict
    assert (run.config["task"], run.config["epoch"], run.config["method"]) == ("select", 2, "darts")
    assert run.config["select"]["tune_epochs"] == 1
    same = [name for name in searched.config if name not in ("task", "selector", "select")]
    assert {name: run.config[name] for name in same} == {name: searched.config[name] for name in same}
    assert [row["decided"] for row in run.metrics] == [1, 2, 3, 4, 5]
    assert all(0 <= row["valid_accuracy"] <= 1 for row in run.metrics)
    summary = run.summary
    assert (summary["selector"], summary["passes"], summary["validation_images"]) == ("perturbation", 30, 12)
    assert [choice["chosen"] for choice in summary["decisions"]][-1] in sn.space("nasbench201").cells["cell"].edges[
        0
    ].ops
    chosen = {choice["edge"]: choice["chosen"] for choice in summary["decisions"]}
    assert chosen == {f"{c.target}<-{c.source}": c.op for c in run.genotype["cell"]}
    assert summary["table_entry"]["index"] == sn.table("nasbench201").index(run.genotype)


def test_the_same_call_returns_the_selection_and_other_settings_are_refused(selected, capsys):
    search = Run(selected.path.parent.parent)
    before = {path: path.stat().st_mtime_ns for path in search.path.rglob("*")}
    again = sn.select(str(search.path), "perturbation", **FAST)
    assert (again.path, again.summary) == (selected.path, selected.summary)
    assert {path: path.stat().st_mtime_ns for path in search.path.rglob("*")} == before
    assert "has finished before" in capsys.readouterr().err
    other = FAST | {"tune_epochs": 0, "criterion": "loss"}
    refused = message(sn.select, search, **other)
    assert refused.startswith(f"run folder '{selected.path}' was made with other settings: select.criterion (accuracy ")
    assert "select.tune_epochs (1 there, 0 now); give another place with --out, or --force" in refused
    elsewhere = sn.select(search, out=search.path.parent / "elsewhere", **other)
    assert (elsewhere.path.name, elsewhere.metrics) == ("elsewhere", [])
    assert sn.select(search, force=True, **other).config["select"]["criterion"] == "loss"
    assert not (selected.path / "metrics.jsonl").exists()


def test_search_with_a_selector_is_search_and_then_select(original, original_selection, archive, tmp_path):
    settings = {"select": {"tune_epochs": 1}, **TINY}
    run = sn.search(archive, method="darts", selector="perturbation", out=tmp_path / "run", **settings)
    within = Run(run.path / "selections" / "perturbation")
    assert run.genotype == within.genotype == original_selection.genotype
    assert results_of(within) == results_of(original_selection)
    assert timeless(run.metrics) == timeless(original.metrics)
    assert run.summary["selector"] == "perturbation"
    assert original.summary["selector"] == "magnitude"
    del settings["quiet"]
    darts_pt = planned(archive, method="darts-pt", **settings)
    assert darts_pt.record | {"method": "darts"} == run.config
    assert darts_pt.method.load() is METHODS["darts"].load()


def test_a_selection_starts_from_the_last_checkpoint_of_the_search(searched):
    state = torch.load(searched.path / "checkpoints" / "last.pt", weights_only=True)
    task = SelectionTask(selection_plan(searched, device="cpu"))
    assert timeless({name: stream.state_dict() for name, stream in task.streams.items()}) == timeless(state["streams"])
    found, before = timeless(task.search.method.state_dict()), timeless(state["task"]["method"])
    assert found.pop("optimizer")["state"] == {} != before.pop("optimizer")["state"]  # the momentum is not restored
    assert found == before


def test_a_selection_has_the_settings_of_its_search(archive, tmp_path, capsys):
    how = {"precision": "bf16", "checkpointing": True, "engine": "reference", "monitor": "gradients", "target_width": 4}
    limits = {"max_params": "20k", "max_flops": "5M", "seed": 3, "regime": "same_subset"}
    settings = {"selector": "perturbation", "select": {"tune_epochs": 0}, **TINY}
    run = sn.search(archive, out=tmp_path / "run", **how, **limits, **settings)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    again = sn.select(run, **FAST | {"tune_epochs": 0})  # the search has made this selection
    assert again.genotype == run.genotype
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert "has finished before" in capsys.readouterr().err
    same = {"engine": "reference", "precision": "bf16", "checkpointing": True, "max_params": 20000, "target_width": 4}
    assert again.config.items() >= same.items()
    assert again.summary["params"] <= 20000


def test_a_seed_decides_the_order_of_decisions_and_is_in_the_name(selected):
    other = sn.select(selected.path.parent.parent, seed=4, **FAST)
    assert other.path.name == "perturbation-seed4"
    orders = [[choice["edge"] for choice in run.summary["decisions"]] for run in (selected, other)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("name", ["magnitude", "perturbation-magnitude"])
def test_magnitude_and_perturbation_by_magnitude(name, searched):
    run = sn.select(searched, name, **FAST if name != "magnitude" else {"device": "cpu", "quiet": True})
    assert run.path.name == name
    if name == "magnitude":
        assert run.genotype == searched.genotype
        assert (run.metrics, set(run.summary) - set(searched.summary)) == ([], set())
    else:
        assert (run.summary["criterion"], run.summary["passes"], len(run.metrics)) == ("magnitude", 0, 5)


def test_a_search_that_starts_over_has_no_selections(searched, archive):
    sn.select(searched, "magnitude", device="cpu", quiet=True)
    other = TINY | {"epochs": 1}
    sn.search(archive, method="darts", out=searched.path, force=True, **other)
    assert not (searched.path / "selections").exists()


def test_a_selection_can_be_retrained(searched):
    run = sn.select(searched, "perturbation-magnitude", device="cpu", quiet=True, tune_epochs=0)
    trained = sn.retrain(run, device="cpu", quiet=True, epochs=1, width=2, depth=1)
    assert trained.path == run.path / "quick-0"
    assert trained.config["architecture"] == str(run.genotype)
    assert trained.finished
    expected = message(sn.select, trained, **FAST)
    assert expected == f"'{trained.path}' is no run folder of a search"


# --- resuming


class PowerCut(Callback):
    """Ends a run by an error at a step."""

    def __init__(self, at):
        self.left = at

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise SystemExit("power cut")  # a run survives an Exception of a callback


def test_a_selection_interrupted_at_steps_ends_with_the_same_bits(original_selection, searched, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("supernet.engine.loop.Loop.__init__.__defaults__", (0.0,))  # saved after every step
        for at in (1, 5, 6):  # step 1, before any checkpoint; step 5, within an epoch; and step 10, the last
            with pytest.raises(SystemExit, match="power cut"):
                sn.select(searched, callbacks=[PowerCut(at)], **FAST)
    assert not Run(searched.path / "selections" / "perturbation").finished
    assert results_of(sn.select(searched, **FAST)) == results_of(original_selection)


def test_a_selection_interrupted_at_decisions_ends_with_the_same_bits(original_selection, searched, monkeypatch):
    left, decide = 0, Perturbation._decide_operation

    def counted(self, decision):
        nonlocal left
        left -= 1
        if left == 0:
            raise RuntimeError("power cut")
        yield from decide(self, decision)

    with monkeypatch.context() as patch:
        patch.setattr(Perturbation, "_decide_operation", counted)
        for at in (1, 4, 3):  # decision 1, before any checkpoint; decision 4; and decision 6, after the last epoch
            left = at
            with pytest.raises(RuntimeError, match="power cut"):
                sn.select(searched, **FAST)
    assert len(Run(searched.path / "selections" / "perturbation").metrics) == 5
    assert results_of(sn.select(searched, **FAST)) == results_of(original_selection)


def test_a_search_interrupted_in_its_selection_resumes_the_selection(original_selection, archive, tmp_path):
    settings = {"method": "darts", "selector": "perturbation", "select": {"tune_epochs": 1}, **TINY}
    with pytest.raises(SystemExit, match="power cut"):
        sn.search(archive, out=tmp_path / "run", callbacks=[PowerCut(4 + 5)], **settings)  # 4 steps are the search's
    run = Run(tmp_path / "run")
    assert (len(run.metrics), run.finished) == (2, False)
    before = (run.path / "checkpoints" / "last.pt").read_bytes()
    sn.search(archive, out=tmp_path / "run", **settings)
    assert (run.path / "checkpoints" / "last.pt").read_bytes() == before
    assert results_of(Run(run.path / "selections" / "perturbation")) == results_of(original_selection)


def test_a_search_that_goes_on_anyway_lets_its_selection_do_so(archive, tmp_path):
    settings = {"method": "darts", "selector": "perturbation", "select": {"tune_epochs": 1}, **TINY}
    with pytest.raises(SystemExit, match="power cut"):
        sn.search(archive, out=tmp_path / "run", callbacks=[PowerCut(4 + 5)], **settings)
    for file in tmp_path.glob("run/**/environment.json"):  # of the search and of the selection
        file.write_text(json.dumps(json.loads(file.read_text()) | {"torch": "0.4"}))
    assert "torch (0.4 there" in message(sn.search, archive, out=tmp_path / "run", **settings)
    assert sn.search(archive, out=tmp_path / "run", resume_anyway=True, **settings).finished


def test_latencies_that_were_measured_are_not_measured_again(archive, tmp_path, monkeypatch):
    clock = iter(range(1, 1000))  # every measurement differs
    monkeypatch.setattr(MeasuredLatency, "_timed", lambda *given: float(next(clock)))
    run = sn.search(archive, out=tmp_path / "run", max_latency_ms=1000.0, **TINY)
    task, again = (SelectionTask(selection_plan(run, device="cpu", tune_epochs=0)) for _ in range(2))
    task.selector.genotype()
    measured = dict(task.plan.search.feasible.measured)
    assert measured
    again.load_state_dict(task.state_dict())
    assert again.plan.search.feasible.measured == measured
    assert again.selector.genotype() == task.selector.genotype()


# --- unfinished searches


def test_a_selection_from_an_unfinished_search_leaves_the_search_as_it_is(
    original, original_selection, archive, tmp_path
):
    with pytest.raises(SystemExit, match="power cut"):
        sn.search(archive, method="darts", out=tmp_path / "cut", callbacks=[PowerCut(3)], **TINY)
    early = sn.select(tmp_path / "cut", **FAST)
    assert early.path.name == "perturbation-epoch1"
    assert early.config["epoch"] == 1
    assert not Run(tmp_path / "cut").finished
    done = sn.search(archive, method="darts", out=tmp_path / "cut", **TINY)
    assert timeless(done.metrics) == timeless(original.metrics)
    assert done.genotype == original.genotype
    late = sn.select(done, **FAST)
    assert late.path.name == "perturbation"
    assert results_of(late)[1:] == results_of(original_selection)[1:]
    assert [run.path.name for run in selecting.selections(done)] == ["cut", "perturbation", "perturbation-epoch1"]
    assert [run.path.name for run in selecting.selections(Run(late.path))] == ["perturbation"]


def test_a_search_that_goes_on_while_a_selection_is_planned_is_told(archive, tmp_path):
    with pytest.raises(SystemExit, match="power cut"):
        sn.search(archive, method="darts", out=tmp_path / "cut", callbacks=[PowerCut(3)], **TINY)
    plan = selection_plan(tmp_path / "cut", device="cpu", tune_epochs=0)
    sn.search(archive, method="darts", out=tmp_path / "cut", **TINY)
    assert message(SelectionTask, plan) == (
        f"the search in '{tmp_path / 'cut'}' has gone on meanwhile: give the same command again"
    )
    assert SelectionTask(selection_plan(tmp_path / "cut", device="cpu", tune_epochs=0)).plan.epoch > plan.epoch


def test_a_selection_says_in_which_step_of_an_epoch_the_search_was(archive, tmp_path, monkeypatch):
    """Stopped again in the same epoch, the search has other weights, and another selection."""
    monkeypatch.setattr("supernet.engine.loop.Loop.__init__.__defaults__", (0.0,))  # saved after every step
    names, settings = [], {**TINY, "batch_size": 4}
    for at in (2, 2):
        with pytest.raises(SystemExit, match="power cut"):
            sn.search(archive, method="darts", out=tmp_path / "cut", callbacks=[PowerCut(at)], **settings)
        found = sn.select(tmp_path / "cut", "magnitude", device="cpu", quiet=True)
        names.append((found.path.name, found.config["epoch"], found.config.get("step")))
    assert names == [("magnitude-epoch0-step1", 0, 1), ("magnitude-epoch0-step2", 0, 2)]


def test_a_search_with_no_or_damaged_checkpoints_is_one_line(searched, archive, tmp_path):
    with pytest.raises(SystemExit, match="power cut"):
        sn.search(archive, out=tmp_path / "cut", callbacks=[PowerCut(1)], **TINY)
    expected = f"run '{tmp_path / 'cut'}' has no checkpoint yet: search for an epoch at least"
    assert message(sn.select, tmp_path / "cut", **FAST) == expected
    for name in ("last.pt", "previous.pt"):
        (searched.path / "checkpoints" / name).write_bytes(b"x" * 100)
    assert message(sn.select, searched, **FAST).startswith("every checkpoint in ")
    shutil.rmtree(searched.path / "checkpoints")
    expected = "has no checkpoint any more: search anew, into another folder or with --force"
    assert message(sn.select, searched, **FAST).endswith(expected)
    assert not (searched.path / "selections").exists()


# --- data and spaces that the run cannot find


def test_a_dataset_and_a_user_defined_space_have_to_be_given_again(tmp_path):
    images, space = PairDataset(tiny_images(24)), two_input_space()
    run = sn.search(images, space=space, out=tmp_path / "run", **TINY)
    gone = f"run '{run.path}' was searched on 'PairDataset', which is not here: give the images with --data, "
    gone += "or data= in"
    assert message(sn.select, run, space=space, **FAST).startswith(gone)
    expected = message(sn.select, run, data=images, **FAST)
    assert (
        expected == "space 'two inputs' is one of your own: give it, too, as --space module:NAME, or space= in Python"
    )
    expected = message(sn.select, run, data=PairDataset(tiny_images(27)), space=space, **FAST)
    others = f"holds other images than when run '{run.path}' was searched on it: give those with --data"
    assert expected == f"'PairDataset' {others}, or data= in Python"
    expected = message(sn.select, run, data=images, space=ragged_space(), **FAST)
    assert expected == f"space 'ragged' is another than when run '{run.path}' was searched in it"
    found = sn.select(run, data=images, space=space, **FAST | {"tune_epochs": 0})
    assert space.check(found.genotype) == found.genotype
    for kind, cell in space.cells.items():
        targets = [choice.target for choice in found.genotype[kind]]
        assert all(targets.count(cell.edges[n[0]].target) == min(2, len(n)) for n in cell.groups())
    removed = [choice for choice in found.summary["decisions"] if choice["chosen"] is None]
    assert len(removed) == (3 - 2) + (4 - 2)
    named = sn.select(run, "magnitude", data=images, space=f"{__name__}:TWO", device="cpu", quiet=True)
    assert named.genotype == run.genotype


TWO = two_input_space()


def test_changed_or_missing_images_are_one_line(archive, tmp_path):
    file = tmp_path / "bands.npz"
    shutil.copy(archive, file)
    run = sn.search(file, out=tmp_path / "run", **TINY | {"epochs": 1})
    images = tiny_images(27)
    np.savez(file, x_train=images.x[:, 0].numpy(), y_train=images.y.numpy())
    # the search took all 24 images, so the selection takes 24 of the 27
    others = f"'{file}' holds other images than when run '{run.path}' was searched on it: give those with --data"
    assert message(sn.select, run, **FAST).startswith(others)
    file.unlink()
    assert message(sn.select, run, **FAST).startswith(f"run '{run.path}' was searched on '{file}', which is not here: ")
    moved = sn.select(run, "magnitude", data=archive, device="cpu", quiet=True)
    assert moved.genotype == run.genotype
    assert not (run.path / "selections" / "perturbation").exists()


# --- mistakes

MISTAKES = [
    (
        {"selector": "magnitud"},
        "unknown selector 'magnitud'; did you mean 'magnitude'? known: magnitude, average, ",
    ),
    ({"selector": 3}, "selector cannot be of type int: 3"),
    ({"selector": dict}, "selector 'builtins:dict' is not a class derived from supernet.Selector"),
    ({"selector": "supernet:Selector"}, "selector 'supernet:Selector' lacks what supernet.Selector leaves to it: gen"),
    ({"selector": "nowhere:Mine"}, "cannot import selector 'nowhere:Mine': No module named 'nowhere'"),
    ({"tune_epoch": 3}, "unknown setting 'tune_epoch'; did you mean 'tune_epochs'? known: criterion, tune_epochs, "),
    ({"tune_epochs": -1}, "setting tune_epochs must be at least 0, not -1"),
    ({"tune_epochs": "many"}, "setting tune_epochs takes a whole number, not 'many'"),
    ({"criterion": "size"}, "setting criterion takes 'accuracy', 'loss' or 'magnitude', not 'size'"),
    ({"lr": -1.0}, "setting lr must be at least 0, not -1.0"),
    ({"selector": "magnitude", "tune_epochs": 1}, "unknown setting 'tune_epochs'"),
    ({"seed": -1}, "setting seed must be at least 0, not -1"),
    ({"seed": "0"}, "setting seed takes a whole number, not '0'"),
    ({"device": "tpu"}, "device 'tpu' cannot be used here: "),
    ({"data": 3}, "data cannot be of type int: 3"),
    ({"data": "nowhere.npz"}, "no such file or folder: 'nowhere.npz'"),
    ({"space": 3}, "space cannot be of type int: 3"),
    ({"space": "dart"}, "unknown space 'dart'; did you mean 'darts'?"),
    ({"space": "darts"}, "space 'darts' is another than when run '"),
    ({"run": "nowhere"}, "'nowhere' is no run folder of a search"),
    ({"run": 3}, "run cannot be of type int: 3"),
]


@pytest.mark.parametrize(("settings", "expected"), MISTAKES, ids=[str(settings) for settings, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(settings, expected, original):
    before = {path: path.stat().st_mtime_ns for path in original.path.rglob("*")}
    assert message(sn.select, **{"run": original, "device": "cpu", "quiet": True} | settings).startswith(expected)
    assert {path: path.stat().st_mtime_ns for path in original.path.rglob("*")} == before


def test_a_selection_from_a_selection_is_refused(searched):
    run = sn.select(searched, "magnitude", device="cpu", quiet=True)
    for call in (sn.select, sn.front, sn.rank):
        assert message(call, run, device="cpu") == f"run '{run.path}' is a selection: give the folder of the search"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"selector": "magnitude", "select": {"tune_epochs": 1}}, "unknown setting 'tune_epochs'"),
        ({"selector": "perturbation", "select": {"tune": 1}}, "unknown setting 'tune'; did you mean"),
        ({"selector": "perturbation", "select": 3}, "selector 'perturbation' takes a PerturbationConfig, not 3"),
        ({"selector": list}, "selector 'builtins:list' is not a class derived from supernet.Selector"),
    ],
)
def test_a_wrong_selector_of_a_search_is_one_line(choices, expected, archive, tmp_path):
    assert message(sn.search, archive, out=tmp_path / "run", **TINY, **choices).startswith(expected)
    assert list(tmp_path.iterdir()) == []


# --- selectors of a user


@dataclass(frozen=True)
class FirstConfig:
    passes: int = 2


class First(sn.Selector):
    """A user's selector, which trains the supernet and then takes the first candidate of every edge."""

    Config = FirstConfig

    @property
    def epochs(self):
        return self.config.passes

    def genotype(self):
        cells = self.method.supernet.space.cells.items()
        return self.feasible.best({k: [[-k for k in range(c.columns)]] * len(c.edges) for k, c in cells})


class Quick(First):
    """A selector that trains nothing."""

    quick = True


@pytest.mark.parametrize("which", [First, f"{__name__}:First"])
def test_a_user_defined_selector_by_class_and_by_name(which, searched, capsys):
    run = sn.select(searched, which, device="cpu", passes=3)
    assert {choice.op for choice in run.genotype["cell"]} == {"none"}
    assert run.path.name == f"{__name__}.First"
    assert run.config["select"] == {"passes": 3}
    assert (len(run.metrics), run.summary["selector"]) == (3, f"{__name__}:First")
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"selecting by {__name__}:First after epoch 2; running fused")
    assert all(line.startswith("epoch ") and line.endswith(" % on validation images") for line in lines[1:])
    assert len(lines) == 4
    assert message(sn.select, searched, which, device="cpu", pases=3).startswith("unknown setting 'pases'")


class Remarking(First):
    """A selector that has something to say."""

    remark = "all searches look alike"


def test_the_remark_of_a_selector_is_told(searched, capsys):
    sn.select(searched, Remarking, device="cpu", quiet=True, passes=0)
    assert capsys.readouterr().err.splitlines() == ["supernet: all searches look alike"]


def test_a_search_with_a_user_defined_selector(archive, tmp_path, capsys):
    for number, (which, folders) in enumerate([(First, 1), (Quick, 0), (f"{__name__}:Quick", 0)]):
        run = sn.search(archive, selector=which, select={"passes": 1}, out=tmp_path / str(number), **TINY)
        assert {choice.op for choice in run.genotype["cell"]} == {"none"}
        assert run.config["select"] == {"passes": 1}
        assert len(list(run.path.glob("selections/*"))) == folders
    assert sn.select(tmp_path / "0", "magnitude", device="cpu", quiet=True).finished


def test_progress_says_that_there_are_no_validation_images(archive, tmp_path, capsys):
    run = sn.search(archive, train_on="full", out=tmp_path / "run", **TINY)
    found = sn.select(run, First, device="cpu", passes=1)
    assert found.metrics[0]["valid_accuracy"] is None
    assert capsys.readouterr().out.splitlines()[-1].endswith("  no validation images")
    assert sn.select(run, **FAST).finished


def test_only_a_capturable_selector_is_recorded(searched, monkeypatch):
    graph, given, restored = object(), [], selecting.restored

    def on_a_gpu(*asked):
        task = restored(*asked)
        task.graph = graph
        return task

    monkeypatch.setattr(selecting, "restored", on_a_gpu)
    monkeypatch.setattr(selecting, "RecordedStep", lambda step, graph, say: given.append(graph))
    for which in (First, "perturbation"):
        SelectionTask(selection_plan(searched, which, device="cpu"))
    assert given == [None, graph]


# --- progress and results


def test_progress_is_a_line_per_epoch_or_one_bar_at_a_time(searched, archive, tmp_path, capsys):
    run = sn.select(searched, **FAST | {"quiet": False})
    _, running, *lines = capsys.readouterr().out.splitlines()
    assert running.startswith("selecting by perturbation after epoch 2; running fused (")
    decisions = enumerate(run.summary["decisions"][:5], 1)
    expected = [f"decided {n} of 6: {choice['edge']} {choice['chosen']}" for n, choice in decisions]
    assert [line.split("  ")[-1] for line in lines] == expected
    bar = screen.Bar(Console(force_terminal=True, width=80, color_system=None))
    choices = {"selector": "perturbation", "select": {"tune_epochs": 1}, **TINY}
    sn.search(archive, out=tmp_path / "bar", callbacks=[bar], **choices)
    assert bar.progress.tasks == []  # the search's bar is removed before the selection's begins
    assert "decided 5 of 6" in capsys.readouterr().out


def test_the_result_shows_every_decision_with_its_scores(original_selection, capsys):
    show.result(Console(width=100), original_selection)
    out = capsys.readouterr().out
    for choice in original_selection.summary["decisions"]:
        scores = dict(choice["scores"])
        own = scores.pop(choice["chosen"])
        low, high = (f"{100 * bound(scores.values()):.2f} %" for bound in (min, max))
        span = low if low == high else f"{low} to {high}"
        assert f"{choice['chosen']:<12}  accuracy {100 * own:.2f} % without it, {span} without another\n" in out
    assert "evaluated     30 passes over 12 images in " in out
    assert "(report.html, cell.svg, metrics.jsonl; " in out


def test_selections_are_listed_by_folder_name(searched, capsys):
    show.selections(Console(width=100), selecting.selections(searched))
    assert capsys.readouterr().out == ""  # there is only one
    for seed in (0, 4):
        sn.select(searched, "perturbation-magnitude", seed=seed, tune_epochs=0, device="cpu", quiet=True)
    show.selections(Console(width=100), selecting.selections(searched), table=True)
    lines = capsys.readouterr().out.splitlines()
    names = ["magnitude", "perturbation-magnitude", "perturbation-magnitude-seed4"]
    assert [line.split()[0] for line in lines[3:6]] == names
    entry = searched.summary["table_entry"]
    assert lines[3].split()[-1] == str(entry["index"])
    assert f"{entry['results'][0]['test']:.2f}" in lines[3]
    assert lines[-1] == "Test accuracy in %, and number, of nasbench201."


def test_a_selection_of_a_space_without_a_table_shows_its_size(archive, tmp_path, capsys):
    run = sn.search(archive, space=f"{__name__}:RAGGED", out=tmp_path / "run", **TINY | {"epochs": 1})
    found = sn.select(run, space=RAGGED, criterion="loss", **FAST)
    show.result(Console(width=100), found)
    show.selections(Console(width=100), selecting.selections(run))
    out = capsys.readouterr().out
    assert "normal 1<-0" in out
    assert "last 1<-0" in out
    assert f"  loss {max(found.summary['decisions'][0]['scores'].values()):.3f} without it, " in out
    assert out.splitlines()[-1].split()[-1] == f"{found.summary['params'] / 1e6:.3f}"
    assert json.loads((found.path / "genotype.json").read_text()) == found.genotype.to_json()


def test_settings_of_a_selector_have_names_that_no_argument_has():
    own = {entry for entry in inspect.signature(sn.select).parameters if entry != "settings"}
    assert own <= _OF_SELECT
    for name in ("seed", "table"):
        kind = make_dataclass("Config", [(name, int, 1)], frozen=True)
        selector = type("Clashing", (Magnitude,), {"Config": kind})
        with pytest.raises(UserError, match=f"no setting or flag of a selection has: rename {name}"):
            config_of(SELECTORS.named(selector))


def test_a_selection_of_a_search_with_patience_is_that_of_the_search(archive, tmp_path):
    settings = {**TINY, "method": "darts", "epochs": 3, "patience": 2, "selector": "best-of-samples"}
    run = sn.search(archive, out=tmp_path / "run", select={"samples": 2}, **settings)
    there = next((tmp_path / "run" / "selections").iterdir())
    before = (there / "config.yaml").read_bytes()
    assert sn.select(run, "best-of-samples", samples=2, device="cpu", quiet=True).path == there
    assert (there / "config.yaml").read_bytes() == before
