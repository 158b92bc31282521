"""What several processes do together in the tests; they import this module and not the tests themselves."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import TCPStore

from supernet.data import Batch, batches
from supernet.engine import process_group, processes
from supernet.engine.callbacks import Callback
from supernet.engine.driving import Driving, agreed, conduct
from supernet.engine.run import Run
from supernet.engine.signals import Interrupted
from supernet.errors import UserError
from supernet.methods.blank import Blank
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.shared_norm import share_norms
from supernet.retraining.plan import planned as retraining_plan
from supernet.retraining.train import TrainingTask
from supernet.searching.select import choose
from supernet.searching.task import SearchTask
from supernet.spaces import Cell, NetworkSize, SearchSpace, Stages
from supernet.testing.examples import state_bytes
from supernet.testing.runs import plain, rows_of, small_data, small_plan

SPACE = SearchSpace(
    "short", {"cell": Cell.dense(3, ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"))}, Stages(("cell",) * 2)
)
NOISY = SearchSpace("noisy", {"cell": Cell.dense(3, ("noise", "skip_connect", "nor_conv_3x3"))}, Stages(("cell",)))
WITH_DRAWS: dict[str, dict[str, Any]] = {
    "darts-2nd": {},
    "r-darts-dp": {"drop_path": 0.5},
    "p-darts": {"deeper": [0, 1], "candidates": [2], "dropout": [0.5, 0.5]},
    "zarts-gld": {"samples": 3, "steps": 1, "every": 2, "inner_batch": 3},
    "enas": {"updates": 1, "samples": 2, "select": {"samples": 3}},
}
Job = Callable[..., object]


def together(count: int, job: Job, *arguments: Any) -> None:
    """Call a job, by itself or in processes that are joined; an error in one of them is raised here."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # a free port, held from here on
    given = (count, store.port, job, arguments)
    torch.multiprocessing.start_processes(_started, given, nprocs=count, start_method="spawn")


def _started(number: int, count: int, port: int, job: Job, arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_RANK": str(number)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # as under torchrun: the store is there
    torch.set_num_threads(1)
    job(*arguments)


def _evaluated(self: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch norm as in evaluation mode, whatever the mode is."""
    return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def in_double_precision() -> None:
    """Let this process compute in float64."""
    torch.set_default_dtype(torch.float64)
    normalised = batches.Normalise.__call__
    batches.Normalise.__call__ = lambda self, pixels: normalised(self, pixels).double()  # type: ignore[method-assign]


def search_by_each(
    methods: Mapping[str, Mapping[str, Any]], folder: Path, space: SearchSpace = SPACE, *, exact: bool = False
) -> None:
    """Search by each method; write the digests of its state after every epoch, its architecture and its last state."""
    if exact:
        in_double_precision()
        nn.BatchNorm2d.forward = _evaluated  # type: ignore[method-assign]
    with process_group.joined():
        _search_by_each(methods, folder, space)


def _search_by_each(methods: Mapping[str, Mapping[str, Any]], folder: Path, space: SearchSpace) -> None:
    found = {}
    for name, settings in methods.items():
        given = {"images": 48, "batch_size": 12, "engine": "reference", **settings}
        plan, run = small_plan(space, name, **given), Run(folder / f"{process_group.count()} {name}")
        states: list[str] = []
        chosen: list[Any] = []

        class Task(SearchTask):
            def end_epoch(self, epoch: int, means: Mapping[str, float], states: list[str] = states) -> dict[str, Any]:
                row = super().end_epoch(epoch, means)
                states.append(hashlib.sha256(state_bytes(self.method.state_dict())).hexdigest())
                return row

        def finish(task: SearchTask, run: Run = run, chosen: list[Any] = chosen) -> None:
            learned = plain(task.method.state_dict())
            chosen += [str(choose(run, task, Callback())[0]), learned, run.metrics]

        conduct(run, plan, Task, finish, Callback())
        found[name] = states, *chosen
    torch.save(found, folder / f"{process_group.count()} {process_group.number()}.pt")


def work_exactly(methods: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Search by each method and retrain in float64, without batch statistics."""
    search_by_each(methods, folder, exact=True)
    with process_group.joined():
        _retrain(folder)


def share_norms_exactly(methods: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Search by each method, retrain and take derivatives in float64, with batch norm over all processes' images."""
    in_double_precision()
    with process_group.joined():
        _search_by_each({name: {"norm_shared": True, **given} for name, given in methods.items()}, folder, SPACE)
        _retrain(folder, norm_shared=True)
        torch.save(_derivatives(), folder / f"derived {process_group.count()} {process_group.number()}.pt")


def _derivatives() -> dict[str, Any]:
    """Return a batch norm's state, and first and second derivatives by images far from 0 and by the norm's weight."""
    draws = torch.Generator().manual_seed(0)
    mine = slice(process_group.number(), None, process_group.count())
    x, y = torch.randn(2, 12, 3, 4, 4, generator=draws)[:, mine]
    norm = nn.BatchNorm2d(3, momentum=None)
    share_norms(norm)
    inputs = [(x + 1000).requires_grad_(), norm.weight]
    first = torch.autograd.grad((norm(inputs[0]).sin() * y).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum() + first[1].sum(), inputs)
    found: dict[str, Any] = {"state": plain(norm.state_dict())}
    for name, (of_images, of_weight) in {"first": first, "second": second}.items():
        parts = torch.tensor(processes.gathered(of_weight.tolist()))
        found[name] = processes.dealt(processes.gathered(of_images.tolist())), parts.sum(0).tolist()
    return found


def _retrain(folder: Path, **settings: bool) -> None:
    """Train an architecture with mixed images and weights of classes; write its state, the average of its weights."""
    plan = retraining_plan(
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|",
        data=small_data(),
        space="nasbench201",
        epochs=2,
        batch_size=6,
        width=2,
        depth=1,
        device="cpu",
        augment="trivial",
        mixup=0.2,
        cutmix=1.0,
        ema=0.5,
        balance="weights",
        **settings,
    )
    task: list[TrainingTask] = []
    conduct(Run(folder / f"retrained {process_group.count()}"), plan, TrainingTask, task.append, Callback())
    learned = plain(task[0].state_dict())
    torch.save(learned, folder / f"retrained {process_group.count()} {process_group.number()}.pt")


class Ending(SearchTask):
    """A search in which the second process gets a signal, or ends at once, in its third step."""

    left = 3
    signal: int | None = None

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        self.left -= 1
        if self.left == 0 and process_group.number() == 1:
            if self.signal is None:
                os._exit(0)
            os.kill(os.getpid(), self.signal)
        return super().step(batches)


class Signalled(Ending):
    signal = signal.SIGTERM


class Alone(Blank):
    """A method that leaves its gradients as they are in each process."""

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        loss = self.loss(self.supernet(batches["weights"].x, self.mix()), batches["weights"].y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}


def ends_of_searches(folder: Path) -> None:
    """Search as two processes; write what each search ends with, an error's text or rows and state."""
    number = int(os.environ["RANK"])
    found = {
        "other settings": _end(folder / "other", {"seed": number}),
        "other images": _end(folder / "other", {"images": 24 + number}),
        "other driving": _end(folder / "other", {}, force=number == 1),
        "wrong driving": _end(folder / "other", {}, log=number),
        "alone": _end(folder / "alone", {}, method=Alone),
        "whole": _end(folder / "whole", {}),
        "signalled": _end(folder / "cut", {}, Signalled),
        "resumed": _end(folder / "cut", {}),
    }
    torch.save(found, folder / f"2 {number}.pt")
    torch.save(_end(folder / "lost", {"epochs": 3}, Ending), folder / f"lost {number}.pt")


def measures_alone_first(folder: Path) -> None:
    """Measure a network in the first process alone, then ask for it in all; write what each gets."""
    with process_group.joined():
        measuring = MeasuredLatency(SPACE, NetworkSize(2, 1, (8, 8), 1, 3), "cpu")
        genotype = SPACE.sample(random.Random(0))
        processes.by_first(measuring.ms)(genotype)
        torch.save(measuring.ms(genotype), folder / f"measured {process_group.number()}.pt")


def goes_on(folder: Path) -> None:
    """Go on with the search that lost a process, as three of them, and search by methods that draw."""
    found = {
        "refused": _end(folder / "lost", {"epochs": 3}),
        "resumed": _end(folder / "lost", {"epochs": 3}, resume_anyway=True),
    }
    torch.save(found, folder / f"goes on {os.environ['RANK']}.pt")
    search_by_each(WITH_DRAWS, folder, NOISY)


def _end(
    folder: Path, settings: Mapping[str, Any], kind: type[SearchTask] = SearchTask, method: Any = "darts", **again: Any
) -> str | tuple[list[dict[str, Any]], bytes]:
    tasks: list[SearchTask] = []
    try:
        with process_group.joined():
            how, plan = agreed(lambda: (Driving(**again), small_plan(SPACE, method, **settings)))
            run = conduct(Run(folder), plan, kind, tasks.append, Callback(), **how.again)
            return rows_of(run), state_bytes(tasks[0].state_dict())
    except (UserError, Interrupted) as error:
        return str(error)
