"""What earlier commands have trained in a folder of baselines: their networks and seeds stay in its table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.searching.baselines.rivals import NETWORKS, Rival
from supernet.searching.baselines.run import Trainings
from supernet.spaces.known import known as published


def with_earlier(wanted: Trainings) -> Trainings:
    """Return trainings of the networks and seeds that are asked for, and of those that have a run in the folder."""
    asked, there = wanted.asked, [_named(file.parent.name) for file in wanted.path.glob("*/summary.json")]
    networks = [name for name in (*NETWORKS, *published()) if name in {name for name, _ in there}]
    seeds = {seed for _, seed in there if seed is not None}
    if seeds <= {*asked.seeds} and {*networks} <= {*asked.networks}:
        return wanted  # whose networks have been scaled
    both = dict.fromkeys([*asked.networks, *networks])
    return Trainings(wanted.path, replace(asked, networks=tuple(both), seeds=tuple(sorted({*asked.seeds, *seeds}))))


def _named(folder: str) -> tuple[str, int | None]:
    """Return the network and the seed of a run folder, as of resnet-flops-3."""
    rest, _, seed = folder.rpartition("-")
    return rest.removesuffix("-flops").removesuffix("-params"), int(seed) if seed.isdecimal() else None


def earlier(trainings: Trainings, pairs: Collection[tuple[Rival, int]], *, force: bool) -> dict[str, dict[int, Run]]:
    """Return the finished runs by network and seed that are not among the `pairs` that are asked for now.

    All networks of a table are trained alike: raises UserError for a run in the folder with other settings, unless it
    is one of the pairs and `force` starts these over.
    """
    runs: dict[str, dict[int, Run]] = {rival.label: {} for rival in trainings.rivals}
    now = {(rival.folder, seed) for rival, seed in pairs}
    for rival in trainings.rivals:
        for seed in trainings.asked.seeds:
            if (rival.folder, seed) not in now:
                _check_earlier(trainings, rival, seed)
                if (run := trainings.finished(rival, seed)) is not None:
                    runs[rival.label][seed] = run
            elif not force:
                trainings.check(rival, seed)
    return runs


def _check_earlier(trainings: Trainings, rival: Rival, seed: int) -> None:
    try:
        trainings.check(rival, seed)
    except UserError as error:
        raise UserError(f"{error}, with this network and seed asked for, too") from None
