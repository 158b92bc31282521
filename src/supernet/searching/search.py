"""Search: a planned search driven to its end in a run folder, and its architecture chosen."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from torch.utils.data import Dataset

from supernet.engine.loop import Watcher, conduct
from supernet.engine.run import Run
from supernet.report import progress as screen
from supernet.searching import results as findings
from supernet.searching import select as selecting
from supernet.searching.plan import Plan, plan
from supernet.searching.task import SearchTask


def search(
    data: str | os.PathLike[str] | Dataset[Any] = "digits",
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    quiet: bool = False,
    watcher: Watcher | None = None,
    **choices: Any,
) -> Run:
    """Search for an architecture and return the finished run.

    - `data`: "digits" (embedded), an .npz file, a folder of class folders or IDX files, or a torch Dataset of
      (image, label).
    - `space`: a name, "module:NAME" or a SearchSpace. `method`: a published name, or your own Method class.
    - `selector`: how the architecture is read out of what was learned, a name or your own Selector class; None is the
      method's own. `select`: its settings, as a dict.
    - `protocol`: a name or a Protocol. `settings`: an instance of the method's Config; None is the method's own.
    - `seed`: of everything drawn. `device`: "auto", "cpu", "cuda", ...
    - `engine`: "fused" or "reference", operation after operation; `precision`: "float32", "tf32" or "bf16"; "auto" is
      fused, and TF32 on a GPU that has it. `checkpointing`: less memory for more time. `graphs`: record steps and
      replay them (CUDA graphs); None does so on a GPU, where the method allows it. `workers`: processes that the
      trials of zero-order methods are spread over.
    - `out`: the run folder; None makes a name from the choices, under `runs/`. Called again with the same arguments,
      an unfinished run goes on and a finished one is returned as it is; `force` starts it over.
    - `quiet`: no progress. `watcher`: is told of the progress instead of the screen.
    - `target_width`, `target_depth`: of the network that the search is for; None is the space's own.
    - `max_params`, `max_flops` (numbers, or "1.5M", "300k"), `max_latency_ms`: the most that this network may have.
      `latency` is "measured", on the device and for one image, or a field of the space's table.
    - `diagnose`: also log the gradient diagnostics of Single-DARTS, every 10 steps; see `supernet.monitors`.
    - any field of the protocol or of the method's settings: `epochs=5, activation="softmax", w={"lr": 0.01}`.

    Raises UserError for a choice that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a run that goes on.
    """
    return start(plan(data, **choices), out=out, force=force, watcher=watcher or screen.watcher(quiet=quiet))


def start(plan: Plan, *, watcher: Watcher, out: str | os.PathLike[str] | None = None, force: bool = False) -> Run:
    """Run a planned search, or go on with it, and return the finished run."""
    run = Run(plan.folder if out is None else out)

    def finish(task: SearchTask) -> None:
        findings.write(run, plan, selecting.choose(run, task, watcher))

    return conduct(run, plan, partial(SearchTask, watcher=watcher), finish, watcher, force=force)
