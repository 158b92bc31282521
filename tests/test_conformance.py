"""What every method promises in every space, a user's own of either included: it runs, learns, repeats and goes on."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, replace

import pytest
import torch

from conftest import Pairs, macro_space, ragged_space, tiny_images, two_input_space
from conftest import bits as bits_of
from supernet.engine.loop import Loop, Watcher, as_planned
from supernet.engine.run import Run
from supernet.methods import METHODS
from supernet.methods.base import Method
from supernet.models.mix import dense
from supernet.searching.plan import plan, selector_settings
from supernet.searching.search import search
from supernet.searching.select import SelectionPlan, SelectionTask
from supernet.searching.task import SearchTask
from supernet.selectors import SELECTORS
from supernet.spaces import Cell, SearchSpace, Stages, space
from supernet.spaces.genotype import Genotype

SPACES = [space("nasbench201"), ragged_space(), two_input_space(), macro_space()]
TINY = {"epochs": 2, "batch_size": 6, "width": 2, "device": "cpu", "mirror": False}


@dataclass(frozen=True)
class EqualConfig:
    share: float = 0.25


class Equal(Method):
    """A user's method: all operations weigh the same."""

    Config = EqualConfig

    @property
    def streams(self):
        return {"weights": "train"}

    def mix(self):
        cells = self.supernet.space.cells.items()
        return dense(
            {k: torch.full((len(c.edges), c.columns), self.config.share, device=self.device) for k, c in cells}
        )

    def step(self, batches):
        return self.weight_step(batches["weights"], self.mix())


FEW_TRIALS = {"samples": 2, "steps": 1, "every": 4, "inner_batch": 3}
ONE_POOL = {"iterations": 1, "pool": 3, "new": 2, "final": 1, "final_epochs": 1, "controller": {"epochs": 1}}
SHORT = {
    "zarts": FEW_TRIALS,
    "nao": ONE_POOL | {"alone": {"auxiliary": 0.0}},
    "enas": {"updates": 1, "samples": 2, "select": {"samples": 3}},
    "perturbation": {"select": {"tune_epochs": 1}},
    "best-of-samples": {"select": {"samples": 3}},
}
CASES = {name: (name, SHORT.get(name.split("-")[0], SHORT.get(METHODS[name].selector, {}))) for name in METHODS} | {
    "a user's": (Equal, {"share": 0.3}),
    "softmax": ("single-darts", {"activation": "softmax"}),
    "sigmoid zero": ("single-darts", {"sigmoid_init": "zero"}),
    "adam": ("single-darts", {"alpha": {"optimizer": "adam"}}),
    "same subset": ("single-darts", {"regime": "same_subset"}),
    "different subset": ("single-darts", {"regime": "different_subset"}),
    "full": ("single-darts", {"train_on": "full"}),
    "order 2 same subset": ("single-darts", {"regime": "same_subset", "order": 2}),
    "norm untracked": ("darts", {"norm_track": False, "norm_affine": True}),
    "trials with momentum": ("zarts-rs", FEW_TRIALS | {"inner_opt": "copied", "form": "two_point", "warmup": 1}),
    "no trials": ("zarts-mgs", {"inner_opt": "released", "every": 2, "importance": "released"}),
    "every candidate one pass": ("random", {"epochs_each": 1}),
    "diagnosed": ("darts", {"diagnose": True, "batch_size": 1}),  # measured every tenth step
}
each_space = pytest.mark.parametrize("home", SPACES, ids=lambda home: home.name)
SAME = ("darts-pt", "nao-v2-small")  # as another: which learns as darts does, and then selects; of other numbers
LEARNING = [name for name in METHODS if name not in SAME]
each_case = pytest.mark.parametrize("case", [name for name in CASES if name not in SAME])
each_method = pytest.mark.parametrize("case", [*LEARNING, "a user's"])


def planned(home, case, seed=0, images=24, **changes):
    method, settings = CASES[case]
    return plan(Pairs(tiny_images(images)), space=home, method=method, seed=seed, **TINY | settings | changes)


def task_of(plan):
    torch.manual_seed(plan.seed)
    return SearchTask(plan)


def trained(plan, folder, watcher=None):
    """Run a plan to its end as a search does, without its pictures; return the task and the run."""
    folder.mkdir(exist_ok=True)
    task, run = task_of(plan), Run(folder)
    Loop(task, run, plan.protocol.epochs, watcher or Watcher())()
    return task, run


def rows_of(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


def bits(task):
    return bits_of({"task": task.state_dict(), "streams": {n: s.state_dict() for n, s in task.streams.items()}})


def is_of(home, genotype):
    assert home.check(genotype) is genotype
    assert home.parse(str(genotype)) == genotype
    return True


@each_space
@pytest.mark.parametrize("case", [*METHODS, "a user's"])
def test_a_search_names_an_architecture_of_its_space_and_leaves_a_whole_folder(home, case, tmp_path):
    method, settings = CASES[case]
    choices = {"space": home, "method": method, "out": tmp_path / "run", "quiet": True, **TINY, **settings}
    state = torch.get_rng_state()
    run = search(Pairs(tiny_images(24)), **choices)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are theirs
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert files >= {
        *("config.yaml", "environment.json", "metrics.jsonl", "genotype.json", "summary.json"),
        *("cell.svg", "search.svg", "checkpoints/last.pt", "checkpoints/previous.pt"),
    }
    assert not [name for name in files if name.endswith(".tmp")]
    assert run.finished
    assert is_of(home, run.genotype)
    assert Genotype.from_json(json.loads((run.path / "genotype.json").read_text())) == run.genotype
    assert [row["epoch"] for row in run.metrics] == [1, 2]
    ranks = METHODS[method].load().ranks if isinstance(method, str) else method.ranks
    for row in run.metrics:
        assert ("architecture" in row) == ranks
        assert not ranks or is_of(home, home.parse(row["architecture"]))
        assert math.isfinite(row["loss"])
        assert 0 <= row["valid_accuracy"] <= 1
        assert ("table" in row) == (ranks and home.table is not None)
        assert {kind: [len(e) for e in edges] for kind, edges in row["weights"].items()} == {
            kind: [cell.columns] * len(cell.edges) for kind, cell in home.cells.items()
        }
    assert search(Pairs(tiny_images(24)), **choices).metrics == run.metrics  # entered again, not run again


LEARNS = {"images": 48, "epochs": 8, "width": 4, "w": {"lr": 0.1}}
LEARNS_ONE = {"seed": 8, "epochs_each": 8}  # one random candidate for the whole run, and one with a way through it


DRAWING = ("nao-v2", "enas", "gdas", "rsps", "setn")  # each step trains another architecture


@each_space
@pytest.mark.parametrize("case", [name for name in [*LEARNING, "a user's"] if name not in DRAWING])
def test_the_loss_falls_and_images_not_trained_on_are_told_apart(home, case, tmp_path):
    settings = LEARNS | (LEARNS_ONE if case == "random" else {})
    _, run = trained(planned(home, case, **settings), tmp_path)
    first, *_, last = run.metrics
    assert last["loss"] < 0.6 * first["loss"]
    assert last["valid_accuracy"] > 0.6  # 1/3 by chance


@pytest.mark.parametrize("case", DRAWING)
def test_the_loss_of_drawn_architectures_falls_where_all_of_them_can_learn(case, tmp_path):
    cell = Cell.dense(3, ("nor_conv_1x1", "nor_conv_3x3"))
    home = SearchSpace("learning", {"cell": cell}, Stages(("cell", "cell")))
    settings = LEARNS | {"epochs": 20} | ({"final": 0, "drop_path": 0.0} if case == "nao-v2" else {})
    _, run = trained(planned(home, case, **settings), tmp_path)
    first, *_, last = run.metrics
    assert last["loss"] < 0.6 * first["loss"]
    assert last["valid_accuracy"] > 0.6


@each_space
@each_case
def test_a_seed_decides_every_number(home, case, tmp_path):
    one, two, other = (
        trained(planned(home, case, seed), tmp_path / str(number)) for number, seed in enumerate((5, 5, 6))
    )
    assert rows_of(one[1]) == rows_of(two[1])
    assert bits(one[0]) == bits(two[0])
    mine, theirs = (task.method.supernet.state_dict()["layers.0.0.weight"] for task in (one[0], other[0]))
    assert not torch.equal(mine, theirs)
    assert rows_of(one[1]) != rows_of(other[1])


def steps(task, count):
    for _ in range(count):
        task.step({name: stream.next() for name, stream in task.streams.items()})


@each_space
@each_case
def test_a_saved_state_goes_on_with_the_same_bits(home, case):
    plan = planned(home, case)
    task, again = task_of(plan), task_of(plan)
    task.begin_epoch(0)
    steps(task, 9)
    task.end_epoch(0, {})
    task.begin_epoch(1)
    steps(task, 1)  # the tenth: a diagnosis is under way
    saved, drawn = bits(task), torch.get_rng_state()
    steps(task, 1)
    row = task.end_epoch(1, {})

    steps(again, 3)  # somewhere else altogether: all of it must come from the state
    with torch.no_grad():
        for weight in again.method.weights:
            weight += 1
    state = torch.load(io.BytesIO(saved), weights_only=True)
    again.load_state_dict(state["task"])
    for name, stream in again.streams.items():
        stream.load_state_dict(state["streams"][name])
    assert bits(again) == saved
    torch.set_rng_state(drawn)  # which the loop saves: operations may draw from it
    steps(again, 1)
    assert again.end_epoch(1, {}) == row
    assert ("diagnostics" in row) == (case == "diagnosed")
    assert row.get("diagnostics") != {}
    assert bits(again) == bits(task)


class Stopping(Watcher):
    """Pulls the plug in the middle of the second epoch."""

    count = 0

    def step(self):
        self.count += 1
        if self.count == 3:
            raise RuntimeError("power cut")


@each_space
@each_method
def test_a_search_that_was_cut_off_ends_as_if_it_had_not_been(home, case, tmp_path):
    whole, run = trained(planned(home, case), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        trained(planned(home, case), tmp_path / "cut", Stopping())
    assert len(Run(tmp_path / "cut").metrics) == 1
    again, resumed = trained(planned(home, case), tmp_path / "cut")
    assert rows_of(resumed) == rows_of(run)
    assert bits(again) == bits(whole)


def strongest_as_written(home, strength, genotype):
    """Check edge by edge that an architecture is that of the strongest operations."""
    for kind, columns in home.columns(genotype).items():
        cell, best = home.cells[kind], []
        for row, edge, column in zip(strength[kind], cell.edges, columns, strict=True):
            free = [k for k, op in enumerate(edge.ops) if cell.keep is None or not home.primitive(op).zero]
            best.append(max(row[k] for k in free))
            assert column is None or (column in free and row[column] == best[-1])
        for node in range(cell.inputs, cell.nodes):
            into = [e for e, edge in enumerate(cell.edges) if edge.target == node]
            kept = sorted(best[e] for e in into if columns[e] is not None)
            assert kept == sorted(best[e] for e in into)[-(cell.keep or len(into)) :]


class CutOff(Watcher):
    """Pulls the plug in the middle of a selection."""

    def __init__(self, after):
        self.after = after

    def step(self):
        self.after -= 1
        if self.after == 0:
            raise RuntimeError("power cut")


def plain(value):
    """The same as lists and numbers, so that == compares every bit."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


TUNED = {
    "magnitude": {},
    "best-of-samples": {"samples": 3},
    "perturbation": {"tune_epochs": 1},
    "perturbation-magnitude": {"tune_epochs": 0},
}


def selected(name, plan, search, folder, watcher=None):
    """Run a selection to its end as the loop does, without pictures; return what it found and all that it leaves."""
    settings = replace(selector_settings(SELECTORS[name]), **TUNED[name])
    chosen = SelectionPlan(plan, search, plan.protocol.epochs, SELECTORS[name], settings, plan.seed)
    folder.mkdir(exist_ok=True)
    with as_planned(chosen):
        task, run = SelectionTask(chosen), Run(folder)
        Loop(task, run, task.epochs, watcher or Watcher())()
        genotype = task.selector.genotype()
    left = plain([task.search.method.state_dict(), {n: s.state_dict() for n, s in task.streams.items()}])
    return genotype, (rows_of(run), getattr(task.selector, "decisions", []), left)


@each_space
@each_method
def test_every_selector_reads_an_architecture_out_of_every_search(home, case, tmp_path):
    plan = planned(home, case, images=12)  # one step to an epoch
    task, search = trained(plan, tmp_path / "search")
    before = {path: path.read_bytes() for path in search.path.rglob("*") if path.is_file()}
    for name in SELECTORS:
        genotype, whole = selected(name, plan, search, tmp_path / name)
        assert is_of(home, genotype)
        if name == "magnitude":
            strongest_as_written(home, plain(task.method.op_scores()), genotype)
            assert whole[2][0] == plain(task.method.state_dict())
        elif name == "perturbation":
            with pytest.raises(RuntimeError, match="power cut"):
                selected(name, plan, search, tmp_path / "cut", CutOff(1 + len(whole[0]) // 2))
            assert len(Run(tmp_path / "cut").metrics) == len(whole[0]) // 2
            assert selected(name, plan, search, tmp_path / "cut") == (genotype, whole)
    assert {path: path.read_bytes() for path in search.path.rglob("*") if path.is_file()} == before


@each_space
@each_method
def test_a_methods_parameters_are_the_supernets_and_its_mix_fits_the_space(home, case):
    method = task_of(planned(home, case)).method
    assert {id(w) for w in method.weights} == {id(w) for w in method.supernet.parameters()}
    for kind, cell in home.cells.items():
        shape = (len(cell.edges), cell.columns)
        assert method.mix()[kind].weights.shape == shape
        assert method.op_scores()[kind].shape == shape
        assert not method.op_scores()[kind].requires_grad


def test_the_weights_are_never_judged_on_images_they_have_seen(tmp_path):
    _, run = trained(planned(SPACES[1], "full"), tmp_path)
    assert [row["valid_accuracy"] for row in run.metrics] == [None, None]
