"""How well one-shot accuracies rank architectures: what a supernet says of them, beside what a table knows.

Weight sharing judges an architecture by the accuracy that it has with the supernet's weights, and so relies on their
order being that of the architectures trained alone. NAO-V2 (Luo et al., arXiv 1909.10815) measures it by Kendall's tau.
Over all architectures tau is mostly about telling broken ones from sound ones, so that everything is also measured
among the truly best half, where a search has to choose; and the number of parameters, which needs no supernet at all,
is ranked by beside it.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import get_args

from supernet.data import Source
from supernet.engine.loop import as_planned
from supernet.engine.run import Run
from supernet.engine.seeds import seed_of
from supernet.errors import UserError, at_least, unknown
from supernet.models.cost.count import Prices
from supernet.models.evaluate import Scorer, Statistics, check_norm, first_images
from supernet.models.rank_metrics import kendall, pairwise, regret, spearman
from supernet.searching.resume import planned, restored
from supernet.searching.task import SearchTask
from supernet.selectors.best_of_samples import Sampler, samples
from supernet.spaces import SearchSpace, tables


@dataclass(frozen=True)
class RankingConfig:
    """Which architectures are ranked, how they are judged, and what they are compared with."""

    count: int = 100
    """architectures, all different, within the limits of the search"""
    sampler: Sampler = "uniform"
    """where they come from: uniform, the method's own way, by op weight (alpha), or the likeliest by op weight"""
    images: int | None = None
    """images of the second half that they are judged on; None judges on all"""
    norm: Statistics = "batch"
    """batch norm by the statistics of the batch, or by the running ones of the search"""
    truth: str = "c10_test"
    """the table's accuracy that is the truth"""
    top: int = 10
    """how many of the highest one-shot accuracies the regret looks at"""

    def __post_init__(self) -> None:
        at_least(1, count=self.count, images=self.images, top=self.top)
        for name, value, known in (("sampler", self.sampler, Sampler), ("norm", self.norm, Statistics)):
            if value not in get_args(known):
                raise unknown(name, value, get_args(known))


@dataclass(frozen=True)
class Agreement:
    """How well some architectures are ranked; None where there is no order, as all are equal.

    - `tau`: Kendall's tau-b of one-shot accuracy and truth. `spearman`: Spearman's rho.
    - `pairs`: the share of pairs in the right order (see `ranks.pairwise`).
    - `regret`: points that the best of the `top` highest one-shot accuracies is truly below the best of all.
    - `params_tau`: Kendall's tau-b of the number of parameters and truth.
    """

    tau: float | None
    spearman: float | None
    pairs: float | None
    regret: float
    params_tau: float | None


@dataclass(frozen=True)
class Ranking:
    """Per architecture its index in the table, one-shot accuracy (0 to 1), true accuracy (%) and parameters.

    - `whole`: how well all of them are ranked. `best_half`: how well the truly best half of them is.
    - `images`: how many they were judged on.
    """

    indices: list[int]
    one_shot: list[float]
    truth: list[float]
    params: list[int]
    whole: Agreement
    best_half: Agreement
    images: int
    settings: RankingConfig = field(default_factory=RankingConfig)


def rank(
    run: Run | str | os.PathLike[str],
    *,
    data: Source | None = None,
    space: str | SearchSpace | None = None,
    device: str = "auto",
    settings: RankingConfig | None = None,
) -> Ranking:
    """Compare one-shot accuracies in a search with a table's; write rank.json and rank.svg into its folder.

    `data` and `space` are needed where the run does not name them so that they are found again. Raises UserError for a
    space without a table, for running statistics that the search did not track, and for what cannot be had.
    """
    home = run if isinstance(run, Run) else Run(run)
    plan, wanted = planned(home, data=data, space=space, device=device), settings or RankingConfig()
    check_norm(wanted.norm, tracked=plan.protocol.norm_track)
    table, truth = _truth(plan.space, wanted.truth)
    with as_planned(plan):
        found = _ranked(restored(plan, home), wanted, table, truth)
    from supernet.report import plots  # Matplotlib is slow to import and needed nowhere else

    home.write("rank.json", json.dumps(asdict(found)) + "\n")
    percent = [100 * value for value in found.one_shot]
    figure = plots.draw_ranking(percent, found.truth, found.params, found.whole.tau, found.best_half.tau, wanted.truth)
    plots.save(figure, home.path / "rank.svg")
    return found


def _truth(space: SearchSpace, name: str) -> tuple[tables.Table, Sequence[float]]:
    """Return the space's table and its accuracies of that name."""
    if space.table is None:
        raise UserError(f"space '{space.name}' has no table of accuracies to rank against, as nasbench201 has")
    table = tables.load(space.table)
    column = table.column(name)
    if not table.rises(name):
        raise UserError(f"'{name}' of {table.name} is better where it is lower: take an accuracy, such as c10_test")
    return table, column.tolist()


def _ranked(task: SearchTask, settings: RankingConfig, table: tables.Table, known: Sequence[float]) -> Ranking:
    supernet, plan, rng = task.method.supernet, task.plan, random.Random(seed_of(task.plan.seed, "ranking"))
    genotypes = samples(task.method, plan.feasible, settings.sampler, settings.count, rng)
    indices = [table.index(genotype) for genotype in genotypes]
    truth = [float(known[index]) for index in indices]
    if missing := sum(map(math.isnan, truth)):
        few = f"'{settings.truth}' was not measured for {missing} of {len(truth)} architectures"
        raise UserError(f"{few}: take another truth, such as c10_test")
    images, running = first_images(task.validation_batches, settings.images), settings.norm == "running"
    scorer = Scorer(supernet, images, running=running, timed=False)
    one_shot = scorer([supernet.only(genotype) for genotype in genotypes]).accuracy
    prices = Prices(plan.space, plan.target)
    params = [prices.total(genotype).params for genotype in genotypes]
    rows: list[Sequence[float]] = [one_shot, truth, params]
    half = sorted(range(len(truth)), key=truth.__getitem__, reverse=True)[: math.ceil(len(truth) / 2)]
    best = _agreement([[row[number] for number in sorted(half)] for row in rows], settings.top)
    return Ranking(indices, one_shot, truth, params, _agreement(rows, settings.top), best, scorer.images, settings)


def _agreement(rows: Sequence[Sequence[float]], top: int) -> Agreement:
    """Return how well architectures are ranked, of which `rows` has one-shot accuracy, truth and parameters."""
    one_shot, truth, params = rows
    measures = kendall(one_shot, truth), spearman(one_shot, truth), pairwise(one_shot, truth), kendall(params, truth)
    tau, rho, pairs, params_tau = (None if math.isnan(value) else value for value in measures)
    return Agreement(tau, rho, pairs, regret(one_shot, truth, top), params_tau)
