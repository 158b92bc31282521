"""Resuming: the search in a run folder as its last checkpoint has it, finished or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supernet.data import Source, is_available
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.methods.base import Method
from supernet.registry import recorded
from supernet.searching import plan as plans
from supernet.searching.config import configured, saved
from supernet.searching.plan import Plan
from supernet.searching.task import SearchTask
from supernet.spaces import SearchSpace, recorded_space


def plan_of(
    run: Run,
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    device: str = "auto",
) -> Plan:
    """Return the plan of the search in a run folder; its selector, which the search alone needs, is not in the plan.

    `data`, `space` and `method` are needed where their names in the run do not lead back to them: a Dataset, a space
    or a method of your own. Raises UserError if the folder holds no search, and if images, space or method are not
    those of the search.
    """
    if run.task == "select":
        raise UserError(f"run '{run.path}' is a selection: give the folder of the search")
    if run.task != "search":
        raise run.is_none("a search")
    config, arguments = run.config, saved(run) | {"device": device}
    if data is None and not is_available(config["data"]):
        raise UserError(
            f"run '{run.path}' was searched on '{config['data']}', which is not here: "
            "give the images with --data, or data= in Python"
        )
    arguments |= {"selector": "magnitude", "select": None}
    arguments["data"] = config["data"] if data is None else data
    arguments["space"] = recorded_space(config["space"]) if space is None else space
    arguments["method"] = _method(run, config["method"], method)
    found = plans.plan(configured(**arguments | {"patience": None}), config["stream"])  # which methods once had
    found = replace(found, config=replace(found.config, patience=arguments["patience"]))
    if found.images.fingerprint != config["fingerprint"]:
        raise UserError(
            f"'{found.record['data']}' holds other images than when run '{run.path}' was searched on it: "
            "give those with --data, or data= in Python"
        )
    if found.space.fingerprint(found.network_size) != config["space_hash"]:
        raise UserError(f"space '{found.space.name}' is another than when run '{run.path}' was searched in it")
    return found


def _method(run: Run, name: str, given: str | type[Method] | None) -> str | type[Method]:
    """Return the method of a search, which its run calls `name`; one of the user's own must be given."""
    if given is None:
        return recorded("method", name, METHODS)
    if METHODS.named(given).name != name and (name in METHODS or given in METHODS):
        raise UserError(f"run '{run.path}' was searched by method '{name}', not '{METHODS.named(given).name}'")
    return given


def done(run: Run) -> tuple[int, int]:
    """Return the epochs before the last checkpoint of a run, and the steps of the next that it has.

    Raises UserError if there is no checkpoint.
    """
    with run.restoring():
        return _place(_state(run))


def restored(plan: Plan, run: Run, at: tuple[int, int] | None = None) -> SearchTask:
    """Return the search of a plan as the last checkpoint of its run has it, on the plan's device.

    Raises UserError if there is none, and if the search, which was `done` up to `at`, has gone on since then.
    """
    state, task = _state(run), SearchTask(plan)
    with run.restoring():
        if at not in (None, _place(state)):
            raise UserError(f"the search in '{run.path}' has gone on meanwhile: give the same command again")
        task.load_state_dict(state["task"])
        for name, stream in task.streams.items():
            stream.load_state_dict(state["streams"][name], anywhere=True)
    return task


def _place(state: Mapping[str, Any]) -> tuple[int, int]:
    return int(state["epoch"]), int(state["done"])


def _state(run: Run) -> dict[str, Any]:
    state = run.read_checkpoint()
    if state is None:
        gone = "any more: search anew, into another folder or with --force"
        raise UserError(
            f"run '{run.path}' has no checkpoint {gone if run.finished else 'yet: search for an epoch at least'}"
        )
    return state
