"""Reopening: the search that a run folder holds, as it stood at its last checkpoint, finished or not."""

from __future__ import annotations

from typing import Any

from supernet.data import Source, is_here
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import method as method_named
from supernet.searching.config import Protocol
from supernet.searching.plan import Plan, method_settings, plan
from supernet.searching.task import SearchTask
from supernet.settings import amend
from supernet.spaces import SearchSpace, space_again

_NEEDED = {"source", "fingerprint", "space", "method", "selector", "seed", "protocol", "settings"}


def planned(
    run: Run, *, data: Source | None = None, space: str | SearchSpace | None = None, device: str = "auto"
) -> Plan:
    """Return the plan of the search that a folder holds.

    `data` and `space` are needed where the run does not name them so that they are found again, as a Dataset or a space
    of your own. Raises UserError if it holds no search, or if the images or the space are others than they were.
    """
    saved = run.config
    if not saved.keys() >= _NEEDED or saved["task"] not in ("search", "select"):
        raise UserError(f"'{run.path}' is no run folder of a search")
    if data is None and not is_here(str(saved["source"])):
        raise UserError(
            f"run '{run.path}' was searched on '{saved['source']}', which is not here: "
            "give the images with --data, or data= in Python"
        )
    found = plan(
        saved["source"] if data is None else data,
        space=space_again(str(saved["space"])) if space is None else space,
        device=device,
        **_choices(saved),
    )
    if found.images.fingerprint != saved["fingerprint"]:
        raise UserError(f"'{found.source}' holds other images than when run '{run.path}' was searched on it")
    if found.space.fingerprint(found.network_size) != saved["space_hash"]:
        raise UserError(f"space '{found.space.name}' is another than when run '{run.path}' was searched in it")
    return found


def _choices(saved: dict[str, Any]) -> dict[str, Any]:
    limits, size, how = saved["limits"], saved["target"], saved.get("execution", {})
    limited, precision = limits["max_latency_ms"] is not None, how.get("precision", "auto")
    return {
        "method": saved["method"],
        "selector": saved["selector"],
        "select": saved.get("select", {}),
        "protocol": amend(Protocol(), saved["protocol"]),
        "settings": amend(method_settings(method_named(saved["method"])), saved["settings"]),
        "seed": saved["seed"],
        "engine": how.get("engine", "auto"),
        "precision": "auto" if precision == "tf32" else precision,  # which takes TF32 where there is one
        "checkpointing": how.get("checkpointing", False),
        "diagnose": saved.get("diagnose", False),
        "target_width": size["width"],
        "target_depth": size["depth"],
        "max_params": limits["max_params"],
        "max_flops": limits["max_flops"],
        "max_latency_ms": limits["max_latency_ms"],
        "latency": limits["latency"] if limited else None,
    }


def epochs_done(run: Run) -> int:
    """Return how many epochs the last checkpoint of a run has behind it; raises UserError if there is none."""
    return int(_state(run)["epoch"])


def restored(plan: Plan, run: Run) -> SearchTask:
    """Return the search of a plan as the last checkpoint of its run has it; raises UserError if there is none."""
    state, task = _state(run), SearchTask(plan)
    task.load_state_dict(state["task"])
    for name, stream in task.streams.items():
        stream.load_state_dict(state["streams"][name])
    return task


def _state(run: Run) -> dict[str, Any]:
    state = run.load_checkpoint(lambda _: None)
    if state is None:
        raise UserError(f"run '{run.path}' has no checkpoint yet: search for an epoch at least")
    return state
