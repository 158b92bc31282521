"""Baselines trained several at a time, each by a command in a process of its own, as the runs of a comparison are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from supernet.data import is_available
from supernet.engine.driving import Driving
from supernet.engine.run import Run
from supernet.engine.signals import heard
from supernet.errors import UserError
from supernet.registry import is_own
from supernet.retraining.plan import RetrainingPlan
from supernet.retraining.recipes import RECIPES
from supernet.searching.baselines.rivals import Rival
from supernet.searching.baselines.run import Trainings
from supernet.searching.compare.commands import Job, flags
from supernet.searching.compare.executor import Local, carried_out, fitting, gpus_for, shared_out, sharing_images
from supernet.searching.compare.worker import forget_failures
from supernet.spaces import RIVALS, SPACES


def at_once(
    trainings: Trainings,
    pairs: Sequence[tuple[Rival, int]],
    how: Driving,
    workers: int,
    say: Callable[[str], None],
    ended: Callable[[Rival, int, Run], None],
) -> None:
    """Train networks with their seeds, several at a time; `ended` gets the run of each.

    Raises UserError for what another process cannot have, and at the end if any training has failed.
    """
    out, plan = trainings.path, trainings.asked.plan
    _check(plan, how)
    left: dict[str, tuple[Rival, int]] = {}
    for rival, seed in pairs:
        if not how.force and (run := trainings.finished(rival, seed)) is not None:
            ended(rival, seed, run)
        else:
            left[trainings.folder(rival, seed).name] = rival, seed
    if not left:
        return
    jobs, failed = [_job(trainings, *pair, how) for pair in left.values()], dict[str, str]()
    gpus = gpus_for(str(plan.device))
    share = shared_out(workers, len(jobs), fitting(min(workers, len(jobs)), len(jobs), gpus, 0), 0, None)
    # The commands name a GPU with a number, the only one of theirs, as this process sees it
    own: list[str] = gpus if plan.device.index is None else []
    forget_failures(out)
    with heard() as signals, sharing_images(out, "local") as environment:
        executor = Local(out, share, own, environment, say)
        try:
            for done in carried_out(executor.submit, jobs, signals):
                for name, reason in done.items():
                    if reason:
                        failed[name] = reason
                    else:
                        ended(*left[name], Run(out / name))
        finally:
            executor.stop()
    if failed:
        name, reason = next(iter(failed.items()))
        counted = f"{len(failed)} of {len(pairs)} trainings failed"
        raise UserError(f"{counted}, {name}: {reason}; the same command tries again")


def _check(plan: RetrainingPlan, how: Driving) -> None:
    missing = {
        f"cannot read the images of '{plan.config.data}', which is no path": not is_available(str(plan.config.data)),
        "do not have a recipe of your own": plan.recipe not in RECIPES,
        "do not have callbacks": bool(how.callbacks),
        f"do not know space '{plan.space_name}', which has no name that leads to it": not _leads(plan.space_name),
    }
    for reason, holds in missing.items():
        if holds:
            raise UserError(f"workers are processes of their own, and {reason}: leave workers out")


def _leads(space_name: str) -> bool:
    """Return whether another process finds a space by its name."""
    return is_own(space_name) or space_name in SPACES | RIVALS


def _job(trainings: Trainings, rival: Rival, seed: int, how: Driving) -> Job:
    """Return the job of a training."""
    run, plan = Run(trainings.folder(rival, seed)), trainings.plan_of(rival, seed)
    # A run that has finished and is to start over is not taken for one that is done
    (run.path / "summary.json").unlink(missing_ok=True)
    return Job(run.path.name, rival.label, ((run.path.name, command(plan, how, run.path)),))


def command(plan: RetrainingPlan, how: Driving, out: Path) -> tuple[str, ...]:
    """Return the command that trains a network as planned."""
    own = plan.own | {name: True for name in ("force", "resume_anyway") if getattr(how, name)}
    own |= {"log": how.log} if how.log else {}
    own |= {"space": plan.space_name} if ":" in plan.space_name else {}
    words = ("retrain", json.dumps(plan.genotype.to_json()), "--recipe", plan.recipe, *flags(own, plan.usual))
    return (*words, "--out", str(out), "--quiet")
