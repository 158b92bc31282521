"""The loss around alpha, and the way that a search took through it.

ZARTS (Wang et al., NeurIPS 2022, arXiv 2110.04743) compares searches by the landscape that they descend:

    (x, y) -> L_val(w*(alpha + x d1 + y d2), alpha + x d1 + y d2)

where w* is what M real steps of the weights lead to from where the search has left them; with M = 0 they stay there,
which is what first-order DARTS descends. The directions are the two in which the alphas after each epoch differ most
(their principal components, as Li et al., NeurIPS 2018, draw trajectories), or random orthogonal ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from torch import Tensor

from supernet.data import Batch, Source, ordered
from supernet.engine.loop import as_planned
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import UserError, at_least
from supernet.methods.alphas import Alphas
from supernet.models.lookahead import Lookahead
from supernet.searching.plan import Plan
from supernet.searching.resume import planned, restored
from supernet.searching.studies.lookahead_batches import lookahead_batches
from supernet.searching.task import SearchTask
from supernet.spaces import SearchSpace

_MARGIN = 0.25  # of the path's extent, on each side
_LEAST = 0.5  # of the longer side that the shorter one has at least


@dataclass(frozen=True)
class LandscapeConfig:
    """How the loss around alpha is measured."""

    points: int = 11
    """points per side of the grid"""
    steps: int = 10
    """steps of the weights before the loss is measured, from where the search has left them; 0 leaves them there"""
    lr: float | None = None
    """learning rate of these steps; None is a tenth of the search's first one"""
    images: int = 512
    """images of the second half that the loss is measured on"""
    directions: Literal["path", "random"] = "path"
    """those in which the alphas of the epochs differ most, or random ones"""
    radius: float | None = None
    """how far the grid reaches to each side of alpha; None is as far as the path needs, or 1"""

    def __post_init__(self) -> None:
        at_least(2, points=self.points)
        at_least(0, steps=self.steps, lr=self.lr, radius=self.radius)
        at_least(1, images=self.images)


@dataclass(frozen=True)
class Landscape:
    """The loss over a plane through the last alpha, which is at (0, 0).

    - `xs`, `ys`: how far alpha is moved along each direction. `losses`: (len(ys), len(xs)).
    - `path`: the alphas after each epoch, in the plane. `explained`: the share of their variance that lies in it.
    """

    xs: list[float]
    ys: list[float]
    losses: list[list[float]]
    path: list[tuple[float, float]]
    explained: float
    settings: LandscapeConfig = field(default_factory=LandscapeConfig)


def landscape(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    device: str = "auto",
    workers: int = 1,
    settings: LandscapeConfig | None = None,
) -> Landscape:
    """Measure the loss around the alphas of a search; write landscape.json and landscape.svg into its folder.

    `data` and `space` are needed where the run does not name them so that they are found again; `workers` are the
    processes that share the work. Raises UserError for a method without alphas, and for what cannot be had.
    """
    home = run if isinstance(run, Run) else Run(run)
    plan, wanted = planned(home, data=data, space=space, device=device), settings or LandscapeConfig()
    with as_planned(plan):
        found = _Plane(plan, home, wanted, workers).landscape()
    from supernet.report import plots  # Matplotlib is slow to import and needed nowhere else

    home.write("landscape.json", json.dumps(asdict(found)) + "\n")
    after = f" after {wanted.steps} steps of the weights" if wanted.steps else ""
    title = f"{plan.preset.name}: loss around alpha{after}"
    plots.save(plots.draw_landscape(found.xs, found.ys, found.losses, found.path, title), home.path / "landscape.svg")
    return found


class _Plane:
    """The plane through a search's alphas."""

    def __init__(self, plan: Plan, run: Run, settings: LandscapeConfig, workers: int) -> None:
        self.settings, self.task = settings, restored(plan, run)
        method = self.task.method
        alphas = getattr(method, "alphas", None)
        if not isinstance(alphas, Alphas):
            raise UserError(f"method '{plan.preset.name}' has no alpha to look around")
        self.alphas, self.trials = alphas, Lookahead(method.supernet, plan.protocol.w, workers)
        rows = [{kind: torch.tensor(rows) for kind, rows in row["alphas"].items()} for row in run.metrics]
        self.path = torch.stack([alphas.flat(row) for row in rows] + [alphas.flat()]) - alphas.flat()
        self.directions = self._directions(seed_of(plan.seed, "landscape"))

    def landscape(self) -> Landscape:
        path = self.path @ self.directions.T
        xs, ys = self._sides(path)
        steps = [x * self.directions[0] + y * self.directions[1] for y in ys for x in xs]
        losses = torch.tensor(self._losses(steps)).view(len(ys), len(xs))
        spread = float((self.path - self.path.mean(0)).square().sum())
        explained = float((path - path.mean(0)).square().sum()) / spread if spread else 1.0
        return Landscape(xs, ys, losses.tolist(), [(x, y) for x, y in path.tolist()], explained, self.settings)

    def _directions(self, seed: int) -> Tensor:
        """Return two orthonormal directions, (2, D); what a path does not have is drawn."""
        drawn = torch.randn(2, self.path.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        moved = self.path - self.path.mean(0)
        if self.settings.directions == "path" and len(moved) > 1:
            _, strength, found = torch.linalg.svd(moved, full_matrices=False)
            drawn = torch.cat([found[strength > 1e-6 * strength.max().clamp(min=1e-12)], drawn])
        first, second = torch.linalg.qr(drawn[:2].T)[0].T
        return torch.stack([first, second])

    def _sides(self, path: Tensor) -> tuple[list[float], list[float]]:
        """Return the places of the grid along both directions."""
        if self.settings.radius is not None:
            low, high = torch.full((2,), -self.settings.radius), torch.full((2,), self.settings.radius)
        else:
            low, high = path.amin(0), path.amax(0)
            extent = high - low
            extent = torch.where(extent < _LEAST * extent.max(), _LEAST * extent.max(), extent)
            extent = extent * (1 + 2 * _MARGIN) if extent.max() > 0 else torch.full_like(extent, 2.0)
            low, high = (low + high - extent) / 2, (low + high + extent) / 2
        xs, ys = (
            torch.linspace(float(a), float(b), self.settings.points).tolist() for a, b in zip(low, high, strict=True)
        )
        return xs, ys

    def _losses(self, steps: Sequence[Tensor]) -> list[float]:
        task, optimizer = self.task, self.task.method.optimizer
        inner = lookahead_batches(task, self.settings.steps, self.settings.lr)
        mixes = [self.alphas.mix(self.alphas.after(step)) for step in steps]
        seed = seed_of(task.plan.seed, "landscape trials")
        return self.trials.losses(optimizer, mixes, inner, _batch(task, self.settings.images), seed=seed).tolist()


def _batch(task: SearchTask, count: int) -> Batch:
    """Return the first images of those that selections judge on, as one batch."""
    index = torch.cat([batch.index for batch in task.validation_batches()])[:count]
    return next(iter(ordered(task.images, index.cpu(), len(index))))
