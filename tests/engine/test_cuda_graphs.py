"""Recorded steps: when one is recorded, that replays learn the same, and what happens where none can be."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import supernet as sn
from supernet.data import Batch
from supernet.engine.callbacks import Callback
from supernet.engine.cuda_graphs import EAGER, RecordedStep
from supernet.engine.loop import Loop
from supernet.engine.run import Run
from supernet.methods.base import Method
from supernet.methods.differentiable import Differentiable
from supernet.methods.random_search import RandomSearch
from supernet.models.execution import Execution
from supernet.models.mix import Mix
from supernet.searching import task as search_task
from supernet.searching.plan import Plan
from supernet.searching.plan import planned as plan
from supernet.searching.task import SearchTask
from supernet.testing import PairDataset, ragged_space, tiny_images, two_input_space

NOT_PERMITTED = "operation not permitted when stream is capturing"


class Tape(TorchDispatchMode):
    """A graph on the CPU: it notes the operations that work starts, with their numbers, and starts them again.

    As a CUDA graph it computes into the same tensors each time, leaves everything as it was when it records, and does
    not let the host look at a value.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        self.events: list[str] = []
        self.notes: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def warm(self, work: Callable[[], Any]) -> Any:
        self.events.append("warm")
        return work()

    def capture(self, work: Callable[[], Any]) -> Any:
        self.events.append("capture")
        self.notes, self.before, self.made = [], {}, set()
        try:
            with torch.random.fork_rng(devices=[]), self:  # what is drawn is drawn in the replays
                made = work()
        finally:
            with torch.no_grad():
                for tensor, value in self.before.values():
                    tensor.copy_(value)
        return made

    @torch.no_grad()
    def replay(self) -> None:
        self.events.append("replay")
        for func, args, kwargs, out in self.notes:
            again = func(*args, **kwargs)
            there = {storage(t) for t in tensors((args, kwargs))}
            for place, value in zip(tensors(out), tensors(again), strict=True):
                if storage(place) not in there:  # neither changed in place nor a view
                    place.copy_(value)

    def drop(self) -> None:
        self.events.append("drop")
        self.notes = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError(f"{NOT_PERMITTED}\nand more")
        for tensor in tensors((args, kwargs)):
            if storage(tensor) not in self.made:
                self.before.setdefault(storage(tensor), (tensor.detach(), tensor.detach().clone()))
        out = func(*args, **(kwargs or {}))
        self.notes.append((func, args, kwargs or {}, out))
        self.made.update(map(storage, tensors(out)))
        return out


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class Toy:
    """A weight that goes down by its batch's mean times a rate of the host's."""

    def __init__(self, graph: Tape | None) -> None:
        self.weight, self.rate, self.said = torch.zeros(()), 1.0, []
        self.recorded = RecordedStep(self.step, graph, self.said.append)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        self.weight.sub_(batches["weights"].x.mean() * self.rate)
        return {"loss": self.weight * 1}

    def go(self, number: float) -> float:
        x = torch.full((2, 1, 1, 1), float(number))
        metrics = self.recorded({"weights": Batch(x, torch.zeros(2, dtype=torch.int64), torch.arange(2))})
        return metrics["loss"].item()


# --- the wrapper


def test_a_step_is_recorded_after_the_first_ones_of_an_epoch_and_none_is_lost_or_taken_twice() -> None:
    tape = Tape()
    toy = Toy(tape)
    assert [toy.go(number) for number in range(1, 7)] == [-1, -3, -6, -10, -15, -21]
    assert tape.events == ["warm"] * EAGER + ["capture", "replay", "replay", "replay"]
    assert toy.said == []


def test_each_epoch_is_recorded_anew_with_its_own_rate() -> None:
    tape = Tape()
    toy = Toy(tape)
    toy.recorded.drop()
    for number in (1, 1, 1, 1, 1):
        toy.go(number)
    toy.rate = 0.5
    assert toy.go(1) == -6  # a number of the host's is baked in
    toy.recorded.drop()
    assert [toy.go(1) for _ in range(5)] == [-6.5, -7, -7.5, -8, -8.5]
    first, second = ["warm"] * EAGER + ["capture", *["replay"] * 3], ["warm"] * EAGER + ["capture", *["replay"] * 2]
    assert tape.events == [*first, "drop", *second]
    toy.recorded.drop()
    toy.recorded.drop()  # as at an epoch's end and at the next one's beginning
    assert tape.events == [*first, "drop", *second, "drop"]


def test_without_a_graph_every_step_is_run_as_it_is() -> None:
    toy = Toy(None)
    toy.recorded.drop()
    assert [toy.go(number) for number in range(1, 7)] == [-1, -3, -6, -10, -15, -21]


def test_a_batch_is_kept_apart_from_the_one_that_was_given() -> None:
    toy = Toy(Tape())
    x, y = torch.ones(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64)
    for _ in range(EAGER + 2):
        toy.recorded({"weights": Batch(x, y, y)})
        x.zero_()
    assert toy.weight.item() == -1


def test_what_cannot_be_recorded_is_run_as_it_is_to_the_end_and_told_in_one_line() -> None:
    class Broken(Tape):
        def capture(self, work: Callable[[], Any]) -> Any:
            try:
                super().capture(lambda: (work(), torch.ones(1).item()))
            except RuntimeError as error:
                raise ValueError("the end of the recording failed") from error

    tape = Broken()
    toy = Toy(tape)
    assert [toy.go(number) for number in range(1, 7)] == [-1, -3, -6, -10, -15, -21]
    toy.recorded.drop()
    assert toy.go(7) == -28
    assert tape.events == ["warm"] * EAGER + ["capture"]
    assert toy.said == [f"CUDA graphs cannot record this step, so no step is recorded: {NOT_PERMITTED}"]


def test_an_error_of_the_step_itself_is_raised() -> None:
    toy = Toy(Tape())
    for _ in range(EAGER):
        toy.go(1)
    toy.rate = "fast"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        toy.go(1)
    assert len(toy.said) == 1


# --- methods

SMALL = {"epochs": 2, "batch_size": 3, "width": 2, "device": "cpu", "engine": "reference", "cutout": 2}
CASES = {
    "single-darts": {},
    "darts": {"method": "darts", "alpha": {"optimizer": "sgd", "lr": 0.1}},
    "darts-2nd": {"method": "darts-2nd", "alpha": {"optimizer": "sgd", "lr": 0.1}},
    "random": {"method": "random", "epochs_each": 1},
    "gradients": {"monitor": "gradients"},
    "hessian": {"monitor": "hessian"},
    "noise, and two inputs": {"space": two_input_space()},
    "checkpointing": {"checkpointing": True},
    "alpha waits for an epoch": {
        "method": "pc-darts",
        "partial": 2,
        "warmup": 0.5,
        "alpha": {"optimizer": "sgd", "lr": 0.1},
    },
}


def recorded(given: Plan, monkeypatch: pytest.MonkeyPatch, graph: Callable[..., Tape] = Tape) -> Plan:
    """The same plan as a GPU would have it."""
    monkeypatch.setattr(search_task, "CudaGraph", graph)
    return replace(given, execution=replace(given.execution, graphs=True))


def planned(**choices: Any) -> Plan:
    return plan(PairDataset(tiny_images(36)), **{"space": ragged_space()} | SMALL | choices)


def searched(given: Plan, folder: Path, callback: Callback | None = None) -> tuple[SearchTask, list[dict[str, Any]]]:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    task, run = SearchTask(given, callback), Run(folder)
    Loop(task, run, given.config.epochs, callback or Callback(), device=given.device)()
    return task, [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


class Heard(Callback):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


ALSO = ("darts", "gradients")  # darts-2nd and hessian record as much


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALSO)) for name in CASES])
def test_a_search_whose_steps_are_replayed_learns_the_same_bits(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, tapes, callback = planned(**CASES[case]), [], Heard()

    def tape(device: torch.device) -> Tape:
        tapes.append(Tape(device))
        return tapes[-1]

    task, rows = searched(given, tmp_path / "eager")
    again, same = searched(recorded(given, monkeypatch, tape), tmp_path / "recorded", callback)
    assert callback.said == []
    assert len(tapes) == 1
    epoch = [*["warm"] * EAGER, "capture", *["replay"] * 3, "drop"]  # of six steps
    assert tapes[0].events == epoch * 2
    assert same == rows
    theirs, ours = (tensors(each.state_dict()) for each in (task, again))
    assert len(theirs) == len(ours) > 10
    assert all(torch.equal(one, other) for one, other in zip(theirs, ours, strict=True))


def test_a_step_that_looks_at_a_value_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = planned(alpha={"optimizer": "adam"})  # which on a CPU counts its steps on the host
    _, rows = searched(given, tmp_path / "eager")
    callback = Heard()
    _, same = searched(recorded(given, monkeypatch), tmp_path / "recorded", callback)
    assert same == rows
    assert callback.said == [f"CUDA graphs cannot record this step, so no step is recorded: {NOT_PERMITTED}"]


def test_a_search_cut_off_and_gone_on_with_records_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = recorded(planned(), monkeypatch)
    whole, rows = searched(given, tmp_path / "whole")

    class Cut(Callback):
        count = 0

        def step(self) -> None:
            self.count += 1
            if self.count == 5:  # replayed already
                raise KeyboardInterrupt

    (tmp_path / "cut").mkdir()
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        Loop(SearchTask(given), Run(tmp_path / "cut"), given.config.epochs, Cut(), 0, device=given.device)()
    task, same = searched(given, tmp_path / "cut")
    assert same == rows
    for one, other in zip(tensors(whole.state_dict()), tensors(task.state_dict()), strict=True):
        assert torch.equal(one, other)


@dataclass(frozen=True)
class DrawingConfig:
    """Nothing to set."""


class Drawing(Method):
    """Trains a path that Python draws in every step."""

    Config = DrawingConfig
    streams = {"weights": "train"}  # noqa: RUF012

    def mix(self) -> Mix:
        return self.supernet.only(self.sample(random.Random(0)))

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        return self.weight_step(batches["weights"], self.mix())


def test_a_method_is_recorded_only_if_it_says_that_it_can_be() -> None:
    assert not sn.Method.capturable
    assert Differentiable.capturable
    assert RandomSearch.capturable
    assert not Drawing.capturable
    assert planned(method=Drawing).execution == Execution("reference", "float32", checkpointing=False, graphs=False)


def test_random_search_makes_its_mix_once_for_each_candidate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = SearchTask(planned(**CASES["random"]))
    mixes = []
    for epoch in range(2):
        task.begin_epoch(epoch)
        mixes += [task.method.mix(), task.method.mix()]
    assert mixes[0] is mixes[1]
    assert mixes[2] is mixes[3]
    assert mixes[0] is not mixes[2]


def test_parts_of_the_package_that_need_a_gpu_are_made_only_with_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []
    monkeypatch.setattr(search_task, "CudaGraph", lambda device: made.append(device) or Tape())
    torch.manual_seed(0)
    SearchTask(planned())
    assert made == []
    SearchTask(recorded(planned(), monkeypatch, lambda device: made.append(device) or Tape()))
    assert made == [torch.device("cpu")]
