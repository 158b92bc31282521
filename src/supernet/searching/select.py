"""Selecting: an architecture read out of a search, in a folder of its own within the search's, by any selector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch, Batches, Source
from supernet.engine.cuda_graphs import RecordedStep
from supernet.engine.loop import Watcher, conduct
from supernet.engine.precision import Precision
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import UserError
from supernet.report import progress as screen
from supernet.searching import results as findings
from supernet.searching.plan import Plan, selector_settings
from supernet.searching.resume import epochs_done, planned, restored
from supernet.searching.task import SearchTask
from supernet.selectors import Preset
from supernet.selectors import selector as selector_named
from supernet.selectors.base import Selector
from supernet.settings import amend, check_kinds, check_seed
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

FOLDER = "selections"


@dataclass(frozen=True)
class SelectionPlan:
    """A selection with every choice made."""

    search: Plan
    home: Run  # the search's
    epoch: int  # of the search, that it starts from
    selector: Preset
    settings: Any
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """The search's settings and the selection's own: what its folder keeps."""
        chosen = {"selector": self.selector.name, "select": asdict(self.settings), "seed": self.seed}
        return self.search.config | {"task": "select", "epoch": self.epoch} | chosen

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.search.device

    @property
    def precision(self) -> Precision:
        """The number format that it runs in."""
        return self.search.precision

    @property
    def running(self) -> str:
        """How it runs, in a line."""
        return f"selecting by {self.selector.name} after epoch {self.epoch}; {self.search.running}"

    @property
    def folder(self) -> Path:
        """Where it goes when no place is given."""
        early = f"-epoch{self.epoch}" if self.epoch < self.search.protocol.epochs else ""
        other = f"-seed{self.seed}" if self.seed != self.search.seed else ""
        return self.home.path / FOLDER / f"{self.selector.name.replace(':', '.')}{early}{other}"


class SelectionTask:
    """What the loop drives when it selects: it feeds the selector, and after each epoch measures the supernet."""

    def __init__(self, plan: SelectionPlan, watcher: Watcher | None = None) -> None:
        self.plan, self.search = plan, restored(plan.search, plan.home)
        self.selector = _selector(self.search, plan.selector, plan.settings, plan.seed)
        self.streams: Mapping[str, Batches] = self.search.streams
        graph = self.search.graph if self.selector.capturable else None
        self._learn = RecordedStep(self.selector.step, graph, (watcher or Watcher()).say)

    @property
    def epochs(self) -> int:
        """Those that the selector trains for."""
        return self.selector.epochs

    def begin_epoch(self, epoch: int) -> None:
        """Let the selector prepare."""
        self.selector.begin_epoch(epoch)
        self._learn.begin()

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Let the selector train."""
        return self._learn(batches)

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Measure the supernet as it is now, and report what the selector has to say."""
        valid = self.search.valid_accuracy()
        return dict(means) | {"valid_accuracy": valid, **self.selector.end_epoch(epoch)}

    def state_dict(self) -> dict[str, Any]:
        """Return the selector's state, and the latencies that have been measured."""
        return {"selector": self.selector.state_dict(), "latencies": self.plan.search.feasible.measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.plan.search.feasible.measured.update(state["latencies"])
        self.selector.load_state_dict(state["selector"])


def select(
    run: Run | str | os.PathLike[str],
    selector: str | type[Selector] = "perturbation",
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    quiet: bool = False,
    watcher: Watcher | None = None,
    **choices: Any,
) -> Run:
    """Read an architecture out of a search by another selector, without searching again; return the finished selection.

    - `run`: a search or its folder, finished or not; what its last checkpoint has is selected from, and left as it is.
    - `selector`: a name or your own Selector class; and any field of its settings.
    - `data`, `space`: the search's, where the run does not name them so that they are found again.
    - `seed`: of what is drawn, such as the order of decisions; None is the search's.
    - `device`, `quiet`, `watcher`, `force`: as for `search`. `out`: the folder; None is in the search's `selections/`.

    The folder is a run of its own, which `retrain` takes as it takes a search's. Called again with the same arguments,
    an unfinished selection goes on and a finished one is returned. Raises UserError for what cannot be had.
    """
    chosen = selection_plan(run, selector, **choices)
    return start(chosen, out=out, force=force, watcher=watcher or screen.watcher(quiet=quiet))


def selection_plan(
    run: Run | str | os.PathLike[str],
    selector: str | type[Selector] = "perturbation",
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    seed: int | None = None,
    device: str = "auto",
    **settings: Any,
) -> SelectionPlan:
    """Make every choice of a selection; the arguments are those of `select`. Raises UserError."""
    check_kinds(run=(run, Run | str | os.PathLike), selector=(selector, str | type), seed=(seed, int | None))
    check_kinds(space=(space, str | SearchSpace | None), device=(device, str | torch.device))
    home, preset = run if isinstance(run, Run) else Run(run), selector_named(selector)
    wanted = amend(selector_settings(preset), settings)
    if home.config.get("task") == "select":
        raise UserError(f"run '{home.path}' is a selection: give the folder of the search")
    search = planned(home, data=data, space=space, device=device)
    preset.load().check(wanted, tracked=search.protocol.norm_track)
    seed = search.seed if seed is None else seed
    check_seed(seed)
    return SelectionPlan(search, home, epochs_done(home), preset, wanted, seed)


def start(
    plan: SelectionPlan, *, watcher: Watcher, out: str | os.PathLike[str] | None = None, force: bool = False
) -> Run:
    """Run a planned selection, or go on with it, and return the finished run."""
    run = Run(plan.folder if out is None else out)
    make = partial(SelectionTask, watcher=watcher)
    return conduct(run, plan, make, partial(_finish, run), watcher, force=force)


def _finish(run: Run, task: SelectionTask) -> None:
    genotype = task.selector.genotype()
    findings.write_selection(run, task.plan.search, genotype, task.plan.config["selector"], task.selector.report())


def choose(run: Run, task: SearchTask, watcher: Watcher) -> Genotype:
    """Return the architecture of a search that has come to its end, as its own selector reads it."""
    plan = task.plan
    if plan.selector.load().quick:
        return selector_on(task).genotype()
    own = SelectionPlan(plan, run, plan.protocol.epochs, plan.selector, plan.select, plan.seed)
    return start(own, watcher=watcher).genotype


def selector_on(task: SearchTask) -> Selector:
    """Return the selector that a search is planned with, made for it."""
    return _selector(task, task.plan.selector, task.plan.select, task.plan.seed)


def _selector(task: SearchTask, preset: Preset, settings: Any, seed: int) -> Selector:
    return preset.load()(settings, task.method, task.plan.feasible, task.validation_batches, seed_of(seed, "selector"))


def selections(search: Run) -> list[Run]:
    """Return the search, if it has finished, and every finished selection in its folder: what can be compared."""
    folders = sorted(file.parent for file in search.path.glob(f"{FOLDER}/*/summary.json"))
    return [run for run in [search, *map(Run, folders)] if run.finished]
