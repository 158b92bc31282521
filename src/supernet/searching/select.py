"""`supernet.select`: an architecture read out of a search by any selector, in a run folder within the search's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.data import Batch, Batches, Source
from supernet.engine.callbacks import Callback
from supernet.engine.cuda_graphs import RecordedStep
from supernet.engine.defaults import plain_torch
from supernet.engine.driving import Driving, agreed, conduct
from supernet.engine.loop import Task
from supernet.engine.optim import Within
from supernet.engine.precision import Precision
from supernet.engine.process_group import joined
from supernet.engine.processes import average_statistics
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.methods.base import Method
from supernet.report import progress
from supernet.searching import results
from supernet.searching.config import config_of
from supernet.searching.idle import idle_in_selection
from supernet.searching.passes import Passes
from supernet.searching.plan import Plan
from supernet.searching.promises import Promises
from supernet.searching.resume import done, plan_of, restored
from supernet.searching.task import SearchTask
from supernet.selectors import SELECTORS, Preset
from supernet.selectors.base import Selector
from supernet.settings import amend, plain
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype

FOLDER = "selections"


@dataclass(frozen=True)
class SelectionPlan:
    """A selection with every choice made: from the search in folder `run`, as it was after `epoch` epochs.

    A search that was stopped within an epoch had taken `step` steps of the next one, too. `within` names the
    selection's own limit, if it has one.
    """

    search: Plan
    run: Run
    epoch: int
    step: int
    selector: Preset
    config: Any
    seed: int
    within: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """The search's record with the selection's own settings: what its folder keeps."""
        chosen = {"selector": self.selector.name, "select": plain(self.config), "seed": self.seed}
        return self.search.record | {"task": "select", "epoch": self.epoch} | self._part | chosen

    @property
    def _part(self) -> dict[str, int]:
        return {"step": self.step} if self.step else {}

    @property
    def device(self) -> torch.device:
        """The device of the search."""
        return self.search.device

    @property
    def precision(self) -> Precision:
        """The number format of the search."""
        return self.search.precision

    @property
    def reading(self) -> str:
        """The images, in one line."""
        return self.search.reading

    @property
    def kernels(self) -> str | None:
        """The kernels of the search's engine here."""
        return self.search.kernels

    @property
    def fixed_epochs(self) -> str:
        """That the search is another one with more epochs."""
        return "it was made from the search before those"

    @property
    def idle(self) -> Sequence[str]:
        """A line for each setting that has no effect; of its own selector the search has told them."""
        is_own = (self.selector, self.config) == (self.search.selector, self.search.config.select)
        return [] if is_own else list(idle_in_selection(self.selector, self.config))

    @property
    def running(self) -> str:
        """The selector, and the engine, number format and device, in one line."""
        part = f" and {self.step} steps" if self.step else ""
        return f"selecting by {self.selector.name} after epoch {self.epoch}{part}; {self.search.running}"

    @property
    def folder(self) -> Path:
        """The default folder; its name tells where the search was unless at its end, and a seed or limit of its own."""
        part = f"-step{self.step}" if self.step else ""
        other = f"-seed{self.seed}" if self.seed != self.search.seed else ""
        within = f"-{self.within}" if self.within else ""
        name = folder_name(self.selector.name, self.epoch, self.search.config.epochs)
        return self.run.path / FOLDER / f"{name}{part}{other}{within}"


def folder_name(selector: str, epoch: int, epochs: int) -> str:
    """Return the name of the folder of a selection after `epoch` of a search's `epochs`."""
    return selector.replace(":", ".") + (f"-epoch{epoch}" if epoch < epochs else "")


class SelectionTask(Task):
    """The task of a selection: feeds the selector, and measures the supernet after each epoch."""

    def __init__(self, plan: SelectionPlan, callback: Callback | None = None) -> None:
        self.plan, self.search = plan, restored(plan.search, plan.run, (plan.epoch, plan.step))
        self.promises = Promises(plan.selector)
        self.selector = _selector(self.search, plan.selector, plan.config, plan.seed)
        self.streams: Mapping[str, Batches] = self.search.streams
        self.whole = self.search.whole
        graph = self.search.graph if self.selector.capturable else None
        self.passes = Passes(lambda: self.search.method.supernets, replayed=graph is not None)
        say = (callback or Callback()).say
        if self.selector.remark:
            say(self.selector.remark)
        self._learn = RecordedStep(self.selector.step, graph, say)

    @property
    def epochs(self) -> int:
        """The epochs that the selector trains the supernet for."""
        return self.selector.epochs

    def begin_epoch(self, epoch: int) -> None:
        """Let the selector prepare."""
        self.selector.begin_epoch(epoch)
        self._learn.drop()
        self.passes.begin_epoch()

    def begin_step(self, epoch: int, within: Within) -> None:
        """Move the learning rate if it moves with steps."""
        if self.plan.search.config.w.per_step:
            self.selector.set_rates(epoch, within)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Let the selector train the supernet."""
        metrics = self.promises.metrics(self.passes.step(lambda: self._learn(batches)))
        average_statistics(self.search.method.supernet)
        return metrics

    def end_epoch(self, epoch: int, means: Mapping[str, float]) -> dict[str, Any]:
        """Return the epoch's row: the supernet's accuracy on the validation images, and the selector's report."""
        self._learn.drop()  # as in a search
        valid = self.search.valid_accuracy()
        learned = self.promises.row(self.selector.end_epoch(epoch))
        row = dict(self.promises.means(means)) | {"valid_accuracy": valid, **learned}
        return row | {"forward_backward": self.passes.count}

    def state_dict(self) -> dict[str, Any]:
        """Return the selector's state, the latencies that have been measured, and the passes so far."""
        latencies = self.plan.search.feasible.measured
        return {"selector": self.selector.state_dict(), "latencies": latencies, "passes": self.passes.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.plan.search.feasible.measured.update(state["latencies"])
        self.passes.count = state["passes"]
        self.selector.load_state_dict(state["selector"])


@plain_torch()
def select(
    run: Run | str | os.PathLike[str],
    selector: str | type[Selector] = "perturbation",
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    seed: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    resume_anyway: bool = False,
    quiet: bool = False,
    log: str = "",
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Read an architecture out of a search by another selector, without searching again; return the selection's run.

    - `run`: a search or its folder, finished or not; its last checkpoint is read and left as it is.
    - `selector`: a name or your own Selector class; any field of its Config is an argument as well.
    - `data`, `space`, `method`: the search's, where their names in the run do not lead back to them.
    - `seed`: of everything drawn, such as the order of decisions; None is the search's.
    - `device`, `quiet`, `log`, `callbacks`, `force`, `resume_anyway`: as for `search`.
    - `out`: the folder; None is in the search's `selections/`.

    The selection's folder is a run of its own, which `retrain` takes like that of a search. Called again with the same
    arguments, an unfinished selection is resumed and a finished one is returned. Raises UserError for a setting that
    cannot be had.
    """
    named: dict[str, Any] = {"data": data, "space": space, "method": method, "seed": seed, "device": device}

    def make() -> tuple[Driving, SelectionPlan]:
        how = Driving(out=out, force=force, resume_anyway=resume_anyway, quiet=quiet, log=log, callbacks=callbacks)
        return how, selection_plan(run, selector, **named, **settings)

    with joined():
        how, plan = agreed(make)
        return start(plan, how)


def selection_plan(
    run: Run | str | os.PathLike[str],
    selector: str | type[Selector] = "perturbation",
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    seed: int | None = None,
    device: str = "auto",
    **settings: Any,
) -> SelectionPlan:
    """Make every choice of a selection; the arguments are those of `select`. Raises UserError."""
    searched, preset = Run.of(run), SELECTORS.named(selector)
    config = amend(config_of(preset), settings)
    search = plan_of(searched, data=data, space=space, method=method, device=device)
    preset.load().check(config, tracked=search.config.norm_track)
    seed = search.seed if seed is None else amend(search.config, {"seed": seed}).seed
    return SelectionPlan(search, searched, *done(searched), preset, config, seed)


def start(plan: SelectionPlan, how: Driving, callback: Callback | None = None) -> Run:
    """Run a planned selection, or resume it, and return the finished run; `callback` stands for those of `how`."""
    run, callback = Run(plan.folder if how.out is None else how.out), callback or progress.callbacks(how)
    return conduct(run, plan, partial(SelectionTask, callback=callback), partial(_finish, run), callback, **how.again)


def _finish(run: Run, task: SelectionTask) -> None:
    plan = task.plan
    found = _read_out(task.selector, plan.selector, plan.search.space)
    searched = plan.run.metrics[: plan.epoch]  # the search may have gone on meanwhile
    results.write_selection(run, plan.search, *found, plan.selector, searched)


def _read_out(selector: Selector, preset: Preset, space: SearchSpace) -> tuple[Genotype, Mapping[str, Any]]:
    promises = Promises(preset)
    return promises.genotype(space, selector.genotype()), promises.report(selector.report())


def choose(
    run: Run, task: SearchTask, callback: Callback, *, resume_anyway: bool = False
) -> tuple[Genotype, Mapping[str, Any]]:
    """Return the architecture of a search that has come to its end, read out by the selector of its configuration.

    With it comes what the selector reports, if that is for the summary of the search.
    """
    plan = task.plan
    if plan.selector.load().quick:
        return _read_out(selector_on(task), plan.selector, plan.space)
    own = SelectionPlan(plan, run, *done(run), plan.selector, plan.config.select, plan.seed)
    chosen = start(own, Driving(resume_anyway=resume_anyway), callback)
    return chosen.genotype, {"measured": chosen.summary["measured"]}


def selector_on(task: SearchTask) -> Selector:
    """Return the selector of a search's configuration, made for the search."""
    return _selector(task, task.plan.selector, task.plan.config.select, task.plan.seed)


def _selector(task: SearchTask, preset: Preset, config: Any, seed: int) -> Selector:
    seed = seed_of(seed, "selector")
    selector = preset.load()(config, task.method, task.feasible, task.validation_batches, seed)
    selector.history = task.history
    return selector


def selections(search: Run) -> list[Run]:
    """Return the search, if it is finished, and every finished selection in its folder."""
    folders = sorted(file.parent for file in search.path.glob(f"{FOLDER}/*/summary.json"))
    return [run for run in [search, *map(Run, folders)] if run.finished]
