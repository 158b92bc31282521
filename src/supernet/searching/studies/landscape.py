"""The loss around the alphas of a search, and the path that the search took through it.

ZARTS (Wang et al., NeurIPS 2022, arXiv 2110.04743) compares searches by the landscape that they descend:

    (x, y) -> L_val(w*(alpha + x d1 + y d2), alpha + x d1 + y d2)

where w* are the weights after M real steps from the end of the search; with M = 0 the loss is that which first-order
DARTS descends. The directions are the first two principal components of the alphas after each epoch (as Li et al.,
NeurIPS 2018, draw trajectories), or random orthogonal ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from supernet.data import Batch, Source, ordered
from supernet.engine.callbacks import Callback
from supernet.engine.defaults import plain_torch
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import UserError
from supernet.methods.alphas import Alphas
from supernet.methods.base import Method
from supernet.searching.studies.study import config_given, lookahead_batches, lookahead_of, studied, write
from supernet.searching.task import SearchTask
from supernet.settings import Count, Positive, Real, Whole, settings
from supernet.spaces import SearchSpace

_MARGIN = 0.25  # around the path, in parts of its extent
_LEAST = 0.5  # of the longer side of the grid: the least shorter side


@settings
class LandscapeConfig:
    """Settings of the loss around alpha."""

    points: Annotated[int, Field(ge=2)] = 11
    """points per side of the grid"""
    steps: Whole = 10
    """steps of the weights from the end of the search before the loss is measured"""
    lr: Real | None = None
    """learning rate of these steps; None is a tenth of the search's first one"""
    images: Count = 512
    """validation images on which the loss is measured"""
    directions: Literal["path", "random"] = "path"
    """principal components of the alphas after each epoch, or random ones"""
    radius: Positive | None = None
    """half the side of the grid around alpha; None is as far as the path needs, or 1"""


@dataclass(frozen=True)
class Landscape:
    """The loss over a plane through the last alpha, which is at (0, 0).

    - `xs`, `ys`: coordinates of the grid along the two directions. `losses`: (len(ys), len(xs)).
    - `path`: the alphas after each epoch, projected onto the plane. `explained`: the share of their variance in it.
    - `fixed`: the groups of architecture parameters, if any, that keep their last values while alpha moves.
    """

    xs: list[float]
    ys: list[float]
    losses: list[list[float]]
    path: list[tuple[float, float]]
    explained: float
    config: LandscapeConfig = field(default_factory=LandscapeConfig)
    fixed: list[str] = field(default_factory=list)


@plain_torch()
def landscape(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    device: str = "auto",
    workers: int = 1,
    config: LandscapeConfig | Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Landscape:
    """Measure the loss around the alphas of a search; write landscape.json and landscape.svg into its folder.

    `data`, `space` and `method` are needed where their names in the run do not lead back to them; `workers` are the
    processes that share the work, and `config` may be a mapping. Raises UserError for a method without alphas, and for
    an argument that cannot be had.
    """
    config = config_given(LandscapeConfig, config)
    with studied(run, callbacks, data=data, space=space, method=method, device=device) as (searched, task):
        result = _Plane(task, searched, config, workers).landscape()
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    after = f" after {config.steps} steps of the weights" if config.steps else ""
    fixed = f" ({', '.join(result.fixed)} fixed)" if result.fixed else ""
    title = f"{task.plan.method.name}: loss around alpha{fixed}{after}"
    write(searched, "landscape", result, plots.draw_landscape(result.xs, result.ys, result.losses, result.path, title))
    return result


def _in_stage(run: Run, method: Method, name: str) -> list[dict[str, list[list[float]]]]:
    """Return the alphas after each epoch of the stage that the search is in; raises UserError if there are none."""
    rows = [row for row in run.metrics if row.get("stage", method.stage) == method.stage]
    if any("alphas" not in row for row in rows):
        raise UserError(
            f"method '{name}' has not reported its alphas after each epoch: "
            "let its end_epoch add what super().end_epoch(epoch, valid_accuracy) returns, and search again"
        )
    return [row["alphas"] for row in rows]


class _Plane:
    """A plane through the last alphas of a search, with the loss on a grid of points."""

    def __init__(self, task: SearchTask, run: Run, config: LandscapeConfig, workers: int) -> None:
        self.config, self.task = config, task
        method = task.method
        alphas = getattr(method, "alphas", None)
        if not isinstance(alphas, Alphas):
            raise UserError(f"method '{task.plan.method.name}' has no alpha to look around")
        self.alphas = alphas
        self.lookahead = lookahead_of(task, workers)
        with run.restoring():
            path = _in_stage(run, method, task.plan.method.name)
            rows = [{kind: torch.tensor(rows) for kind, rows in alphas.items()} for alphas in path]
            points = [alphas.flat(row) for row in rows]
            if not (points and torch.equal(points[-1], alphas.flat())):  # within an epoch, or after going back
                points.append(alphas.flat())
            self.path = torch.stack(points) - alphas.flat()
        self.directions = self._directions(seed_of(task.plan.seed, "landscape"))

    def landscape(self) -> Landscape:
        """Return the losses on the grid, and the path of the search in the plane."""
        path = self.path @ self.directions.T
        xs, ys = self._sides(path)
        steps = [x * self.directions[0] + y * self.directions[1] for y in ys for x in xs]
        losses = torch.tensor(self._losses(steps)).view(len(ys), len(xs))
        spread = float((self.path - self.path.mean(0)).square().sum())
        explained = float((path - path.mean(0)).square().sum()) / spread if spread else 1.0
        points, fixed = [(x, y) for x, y in path.tolist()], self.alphas.fixed
        return Landscape(xs, ys, losses.tolist(), points, explained, self.config, fixed)

    def _directions(self, seed: int) -> Tensor:
        """Return two orthonormal directions (2, D): principal components of the path, or drawn where it has too few."""
        drawn = torch.randn(2, self.path.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        moved = self.path - self.path.mean(0)
        if self.config.directions == "path" and len(moved) > 1:
            _, strength, found = torch.linalg.svd(moved, full_matrices=False)
            drawn = torch.cat([found[strength > 1e-6 * strength.max().clamp(min=1e-12)], drawn])
        first, second = torch.linalg.qr(drawn[:2].T)[0].T
        return torch.stack([first, second])

    def _sides(self, path: Tensor) -> tuple[list[float], list[float]]:
        """Return the coordinates of the grid along both directions."""
        if self.config.radius is not None:
            low, high = torch.full((2,), -self.config.radius), torch.full((2,), self.config.radius)
        else:
            low, high = path.amin(0), path.amax(0)
            extent = high - low
            extent = torch.where(extent < _LEAST * extent.max(), _LEAST * extent.max(), extent)
            extent = extent * (1 + 2 * _MARGIN) if extent.max() > 0 else torch.full_like(extent, 2.0)
            low, high = (low + high - extent) / 2, (low + high + extent) / 2
        xs, ys = (
            torch.linspace(float(a), float(b), self.config.points).tolist() for a, b in zip(low, high, strict=True)
        )
        return xs, ys

    def _losses(self, steps: Sequence[Tensor]) -> list[float]:
        task, optimizer = self.task, self.task.method.optimizer
        inner = lookahead_batches(task, self.config.steps, self.config.lr)
        mixes = [self.alphas.mix(self.alphas.after(step)) for step in steps]
        seed = seed_of(task.plan.seed, "landscape trials")
        return self.lookahead.losses(optimizer, mixes, inner, _batch(task, self.config.images), seed=seed).tolist()


def _batch(task: SearchTask, count: int) -> Batch:
    """Return the first validation images as one batch, in the order in which selectors see them."""
    index = torch.cat([batch.index for batch in task.validation_batches()])[:count]
    return next(iter(ordered(task.images, index.cpu(), len(index))))
