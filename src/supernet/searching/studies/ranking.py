"""How well one-shot accuracies rank architectures, against the accuracies of a table.

Weight sharing evaluates an architecture with the weights of the supernet, and relies on the order of these accuracies
being that of the architectures trained alone. NAO-V2 (Luo et al., arXiv 1909.10815) measures the agreement by Kendall's
tau. Over all architectures tau mostly tells broken ones from sound ones, so every measure is also taken among the truly
best half, where a search has to choose. The number of parameters, which needs no supernet, is ranked by as a baseline,
and so are zero-cost scores if they are asked for, each alone and together with the one-shot accuracy.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from supernet.data import Source
from supernet.engine.callbacks import Callback
from supernet.engine.defaults import plain_torch
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import UserError
from supernet.methods.base import Method
from supernet.models.cost.count import OperationCosts
from supernet.models.evaluate import Scorer, Statistics, check_norm, first_images
from supernet.models.rank_metrics import combined, kendall, pairwise, regret, spearman
from supernet.models.zero_cost import Score, scored_images, zero_cost
from supernet.searching.studies.study import config_given, studied, write
from supernet.searching.task import SearchTask
from supernet.selectors.best_of_samples import Sampler, samples
from supernet.settings import Count, Several, settings
from supernet.spaces import SearchSpace, tables
from supernet.spaces.genotype import Genotype

_NEARLY_ALL = 0.9  # of a table: to draw more at random, most draws would be of architectures drawn before


@settings
class RankingConfig:
    """Which architectures are ranked, how they are evaluated, and the accuracy they are compared with."""

    count: Count = 100
    """architectures, all different, within the limits of the search"""
    sampler: Sampler = "uniform"
    """source of the architectures: uniform, the method's own, drawn by op weight (alpha), or likeliest by op weight"""
    images: Count | None = None
    """validation images on which they are evaluated; None is all"""
    norm: Statistics = "batch"
    """statistics of batch norm: of the batch, the search's running ones, or gathered anew for each architecture"""
    truth: str = "c10_test"
    """field of the table that is the truth"""
    top: Count = 10
    """number of highest one-shot accuracies in the regret"""
    zero_cost: Several[Score] = ()
    """zero-cost scores that are ranked by as well: params, flops, synflow, jacob_cov, naswot"""


@dataclass(frozen=True)
class Agreement:
    """The agreement of two orders of architectures; None where all values are equal.

    - `tau`: Kendall's tau-b of one-shot accuracy and truth. `spearman`: Spearman's rho.
    - `pairs`: the share of pairs in the right order (see `rank_metrics.pairwise`).
    - `regret`: points of true accuracy between the best architecture and the best of the `top` by one-shot accuracy.
    - `params_tau`: Kendall's tau-b of the number of parameters and truth.
    """

    tau: float | None
    spearman: float | None
    pairs: float | None
    regret: float
    params_tau: float | None


@dataclass(frozen=True)
class ZeroCost:
    """Kendall's tau-b of a zero-cost score and the truth, over all architectures and over the truly best half.

    - `alone`: of the score. `combined`: of the mean of its rank and that by one-shot accuracy.
    """

    values: list[float]
    alone: tuple[float | None, float | None]
    combined: tuple[float | None, float | None]


@dataclass(frozen=True)
class Ranking:
    """Per architecture its index in the table, one-shot accuracy (0 to 1), true accuracy (%) and parameters.

    - `whole`: the agreement over all of them. `best_half`: over the truly best half.
    - `images`: the number of images on which they were evaluated. `zero_cost`: what zero-cost scores do.
    """

    indices: list[int]
    one_shot: list[float]
    truth: list[float]
    params: list[int]
    whole: Agreement
    best_half: Agreement
    images: int
    config: RankingConfig = field(default_factory=RankingConfig)
    zero_cost: dict[str, ZeroCost] = field(default_factory=dict)


@plain_torch()
def rank(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    method: str | type[Method] | None = None,
    device: str = "auto",
    config: RankingConfig | Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Ranking:
    """Compare one-shot accuracies in a search with a table's; write rank.json and rank.svg into its folder.

    `data`, `space` and `method` are needed where their names in the run do not lead back to them; `config` may be a
    mapping, as {"count": 50}. Raises UserError for a space without a table, for running statistics that the search did
    not track, and for an argument that cannot be had.
    """
    config = config_given(RankingConfig, config)
    with studied(run, callbacks, data=data, space=space, method=method, device=device) as (searched, task):
        check_norm(config.norm, tracked=task.plan.config.norm_track)
        table, truth = _truth(task.plan.space, config.truth)
        if config.count > len(table):
            most = f"{table.name} has {len(table)} architectures"
            raise UserError(f"{most}: setting count must be at most that, not {config.count}")
        result = _ranked(task, config, table, truth)
    from supernet.report import plots  # imported here, since Matplotlib is slow to import

    percent, taus = [100 * value for value in result.one_shot], (result.whole.tau, result.best_half.tau)
    write(
        searched,
        "rank",
        result,
        plots.draw_ranking(percent, result.truth, result.params, *taus, table.title(config.truth)),
    )
    return result


def _truth(space: SearchSpace, name: str) -> tuple[tables.Table, Sequence[float]]:
    """Return the table of a space and its column of that name, an accuracy."""
    if space.table is None:
        raise UserError(f"space '{space.name}' has no table of accuracies to rank against, as nasbench201 has")
    table = tables.load(space.table)
    column = table.column(name)
    if not table.higher_is_better(name):
        raise UserError(f"'{name}' of {table.name} is better where it is lower: take an accuracy, such as c10_test")
    return table, column.tolist()


def _architectures(
    task: SearchTask, config: RankingConfig, table: tables.Table, rng: random.Random
) -> Sequence[Genotype]:
    """Return different architectures; nearly all of a table are the first of its permutation, since draws repeat."""
    space = task.feasible.space
    if config.sampler != "uniform" or config.count < _NEARLY_ALL * len(table) or space != task.plan.space:
        if drawn := samples(task.method, task.feasible, config.sampler, config.count, rng):
            return drawn
        few = f"no architecture of sampler '{config.sampler}' is within the limits"
        raise UserError(f"{few}: {task.feasible.limits}; try uniform")
    order = rng.sample(range(len(table)), len(table))
    return list(islice(filter(task.feasible.allows, map(table.genotype, order)), config.count))


def _ranked(task: SearchTask, config: RankingConfig, table: tables.Table, accuracies: Sequence[float]) -> Ranking:
    supernet, plan, rng = task.method.supernet, task.plan, random.Random(seed_of(task.plan.seed, "ranking"))
    genotypes = _architectures(task, config, table, rng)
    indices = [table.index(genotype) for genotype in genotypes]
    truth = [float(accuracies[index]) for index in indices]
    if missing := sum(map(math.isnan, truth)):
        few = f"'{config.truth}' was not measured for {missing} of {len(truth)} architectures"
        raise UserError(f"{few}: take another truth, such as c10_test")
    images = first_images(task.validation_batches, config.images)
    scorer = Scorer(supernet, images, config.norm)
    one_shot = scorer([supernet.only(genotype) for genotype in genotypes]).accuracy
    prices = OperationCosts(plan.space, plan.target)
    params = [prices.total(genotype).params for genotype in genotypes]
    rows: list[Sequence[float]] = [one_shot, truth, params]
    half = sorted(sorted(range(len(truth)), key=truth.__getitem__, reverse=True)[: math.ceil(len(truth) / 2)])
    best = _agreement([_of(row, half) for row in rows], config.top)
    x, seed = scored_images(task.validation_batches()), task.plan.seed
    scores = {name: zero_cost(name, plan.space, genotypes, supernet.network_size, x, seed) for name in config.zero_cost}
    found = {str(name): _zero_cost(values, one_shot, truth, half) for name, values in scores.items()}
    return Ranking(indices, one_shot, truth, params, _agreement(rows, config.top), best, scorer.images, config, found)


def _zero_cost(values: list[float], one_shot: Sequence[float], truth: Sequence[float], half: Sequence[int]) -> ZeroCost:
    both = combined(one_shot, values, 0.5)
    return ZeroCost(values, *((_tau(row, truth), _tau(_of(row, half), _of(truth, half))) for row in (values, both)))


def _of(row: Sequence[float], numbers: Sequence[int]) -> list[float]:
    return [row[number] for number in numbers]


def _tau(row: Sequence[float], truth: Sequence[float]) -> float | None:
    return _unless_nan(kendall(row, truth))


def _unless_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _agreement(rows: Sequence[Sequence[float]], top: int) -> Agreement:
    """Return the agreement of one-shot accuracy, truth and parameters, the three `rows`."""
    one_shot, truth, params = rows
    measures = kendall(one_shot, truth), spearman(one_shot, truth), pairwise(one_shot, truth), kendall(params, truth)
    tau, rho, pairs, params_tau = map(_unless_nan, measures)
    return Agreement(tau, rho, pairs, regret(one_shot, truth, top), params_tau)
