"""`supernet.search`: a planned search driven to its end in a run folder, and its architecture selected."""

from __future__ import annotations

from functools import partial
from typing import Any

from supernet.engine.defaults import plain_torch
from supernet.engine.driving import Driving, agreed, conduct, driving, going_on
from supernet.engine.process_group import joined
from supernet.engine.run import Run
from supernet.report import progress
from supernet.searching import front as fronts
from supernet.searching import plan as plans
from supernet.searching import results, select
from supernet.searching.config import SearchCall, configured
from supernet.searching.plan import Plan
from supernet.searching.task import SearchTask
from supernet.settings import signature_of


@signature_of(SearchCall)
@plain_torch()
def search(**settings: Any) -> Run:
    """Search for an architecture and return the finished run.

    The arguments are the fields of `SearchCall`, of which `data` may be positional; every field of the method's own
    Config is one as well: `search("digits", epochs=5, activation="softmax", w={"lr": 0.01})`. Settings that are not
    given are those of `protocol`. Nested settings may be mappings. Type checkers, which know the fields of `SearchCall`
    alone, take a method's own settings as `method_config={"activation": "softmax"}`, and `w=SGDConfig(lr=0.01)`,
    whose other values are SGDConfig's, not the protocol's.

    Called again with the same arguments, an unfinished run is resumed and a finished one is returned; `force` starts
    over. Raises UserError for a setting that cannot be had. Ctrl-C raises KeyboardInterrupt and leaves a run that
    resumes.
    """
    table, front = settings.pop("table", False), settings.pop("front", 0)

    def make() -> tuple[Driving, Plan]:
        how = driving(settings)
        return how, going_on(partial(plans.plan, configured(**settings)), how)

    with joined():
        how, plan = agreed(make)
        return start(plan, how, table=table, front=front)


def start(plan: Plan, how: Driving, *, table: bool = False, front: int = 0) -> Run:
    """Run a planned search, or resume it, and return the finished run.

    `table` shows a table's accuracies though they are of other images. `front` is the number of architectures along
    their cost that are selected at the end.
    """
    run = Run(plan.folder if how.out is None else how.out)
    callback = progress.callbacks(how, table=table or plan.in_table)

    def finish(task: SearchTask) -> None:
        results.write(run, plan, *select.choose(run, task, callback, resume_anyway=how.resume_anyway), task.finished)

    if front:
        fronts.check(plan, plan.selector.name, front)
    conduct(run, plan, partial(SearchTask, callback=callback), finish, callback, **how.again)
    if front:
        fronts.add(run, plan, front, callback, resume_anyway=how.resume_anyway)
    return run
