"""The checks that several conformance suites share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.engine.driving import as_planned
from supernet.engine.run import Run
from supernet.searching.plan import Plan
from supernet.searching.task import SearchTask
from supernet.selectors.base import Selector
from supernet.spaces import SearchSpace
from supernet.spaces.genotype import Genotype
from supernet.testing.runs import (
    PowerCut,
    Selection,
    restore,
    rows_of,
    run_search,
    run_selection,
    state_of,
    take_steps,
    timeless,
)


def is_of(space: SearchSpace, genotype: Genotype) -> bool:
    """Check that an architecture is one of the space, and that its text and its JSON are read as the same one."""
    assert space.check(genotype) is genotype
    assert space.parse(str(genotype)) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype
    return True


def check_repeatable(make: Callable[[int], Plan], folder: Path) -> None:
    """Check that two searches of one seed give the same numbers, and that one of another seed does not."""
    one, two, other = (run_search(make(seed), folder / str(number)) for number, seed in enumerate((5, 5, 6)))
    assert rows_of(one[1]) == rows_of(two[1])
    assert state_of(one[0]) == state_of(two[0])
    weights = [next(iter(task.method.supernet.parameters())) for task, _ in (one, other)]
    assert not torch.equal(*weights)
    assert rows_of(one[1]) != rows_of(other[1])


def check_saved_state(plan: Plan, steps: int) -> None:
    """Check that another search of the plan goes on with the same bits from a state that was saved after `steps`."""
    with as_planned(plan):
        task, other = SearchTask(plan), SearchTask(plan)
        task.begin_epoch(0)
        take_steps(task, steps)
        task.end_epoch(0, {})
        task.begin_epoch(1)
        take_steps(task, 1)
        saved, random_state = state_of(task), torch.get_rng_state()
        take_steps(task, 1)
        row = task.end_epoch(1, {})

        take_steps(other, 3)  # every value that these steps change must come from the saved state
        with torch.no_grad():
            for weight in other.method.weights:
                weight.add_(1)
        restore(other, saved)
        assert state_of(other) == saved
        torch.set_rng_state(random_state)  # the loop saves this state: operations may draw from it
        take_steps(other, 1)
        assert timeless(other.end_epoch(1, {})) == timeless(row)
        assert ("diagnostics" in row) == (plan.config.monitor is not None)
        assert row.get("diagnostics") != {}
        assert state_of(other) == state_of(task)


def check_resumed(make: Callable[[], Plan], folder: Path) -> None:
    """Check that a search interrupted in the middle of its second epoch ends with the bits of one that was not."""
    whole, run = run_search(make(), folder / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run_search(make(), folder / "cut", PowerCut(whole.steps + 1))
    assert len(Run(folder / "cut").metrics) == 1
    resumed, run_resumed = run_search(make(), folder / "cut")
    assert rows_of(run_resumed) == rows_of(run)
    assert state_of(resumed) == state_of(whole)


def check_mix(plan: Plan) -> None:
    """Check that a method trains the supernet's parameters, and that mix and op scores are (edges, columns) by kind."""
    with as_planned(plan):
        method = SearchTask(plan).method
    assert {id(w) for w in method.weights} == {id(w) for w in method.supernet.parameters()}
    for kind, cell in plan.space.cells.items():
        shape = (len(cell.edges), cell.columns)
        assert method.mix()[kind].weights.shape == shape
        assert method.op_scores()[kind].shape == shape
        assert not method.op_scores()[kind].requires_grad


def check_selection(
    search: tuple[Plan, Run], selector: str | type[Selector], settings: Mapping[str, Any], folder: Path
) -> Selection:
    """Check that a selector returns an architecture of the space and leaves the search's folder as it was.

    One that trains the supernet is interrupted half-way, too, and must end with the same bits.
    """
    plan, run = search
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    whole = run_selection(search, selector, settings, folder / "selection")
    assert is_of(plan.space, whole[0])
    epochs = len(whole[1])
    if epochs > 1:
        with as_planned(plan):
            steps = SearchTask(plan).steps
        with pytest.raises(RuntimeError, match="power cut"):
            run_selection(search, selector, settings, folder / "cut", PowerCut(1 + steps * (epochs // 2)))
        assert len(Run(folder / "cut").metrics) == epochs // 2
        assert run_selection(search, selector, settings, folder / "cut") == whole
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    return whole


def check_strongest(space: SearchSpace, op_scores: Mapping[str, Sequence[Sequence[float]]], genotype: Genotype) -> None:
    """Check edge by edge that an architecture has the operations of the largest op scores."""
    for kind, columns in space.columns(genotype).items():
        cell, best = space.cells[kind], []
        for row, edge, column in zip(op_scores[kind], cell.edges, columns, strict=True):
            allowed = [k for k, op in enumerate(edge.ops) if cell.keep is None or not space.primitive(op).zero]
            best.append(max(row[k] for k in allowed))
            assert column is None or (column in allowed and row[column] == best[-1])
        for end in {(edge.target, edge.branch) for edge in cell.edges}:
            into = [e for e, edge in enumerate(cell.edges) if (edge.target, edge.branch) == end]
            order = sorted((best[e] for e in into), reverse=True)[: cell.kept(into)]
            kept = sorted((best[e] for e in into if columns[e] is not None), reverse=True)
            assert kept == [score for n, score in enumerate(order) if n < cell.fewest(into) or score > 0]
