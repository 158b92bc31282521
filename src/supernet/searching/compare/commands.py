"""The commands that the searches of a comparison take, with all that is read out of them, seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.engine.folder import flat
from supernet.models.cost.count import largest
from supernet.report.text import as_argument
from supernet.retraining.recipes import RECIPES
from supernet.searching.compare.cases import Case, cases, largest_cases, search_config, selection, usual_settings
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.config import SearchConfig
from supernet.spaces import space

_SEEDS = 10_000  # between the seeds of two retrainings of one architecture
_IMAGES = ("image_size", "stem", "reductions")  # settings of a search's images that a retraining may take over


def flags(settings: Mapping[str, Any], usual: Mapping[str, Any] = {}) -> list[str]:
    """Return settings as they are typed after a command; `usual` are those that the command starts from.

    A bool that may be None has a value, and any other is a switch that only turns to what is not usual; a list is a
    word for each of its values.
    """
    words: list[str] = []
    for name, value in settings.items():
        flag, start = name.replace("_", "-"), usual.get(name, not value)
        if not isinstance(value, bool) or start is None:
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        elif value != start:
            *parents, last = flag.split(".")
            words.append("--" + (flag if value else ".".join([*parents, f"no-{last}"])))
    return words


def command(config: ComparisonConfig, out: Path) -> list[str]:
    """Return the command that makes a comparison."""
    words = ["compare", config.data, "--methods", ",".join(config.methods)]
    words += ["--seeds", ",".join(map(str, config.seeds)), "--budget", config.budget]
    for name, values in config.axes.items():
        words += ["--axis", _axis(name, values)]
    if config.baseline is not None:
        words += ["--baseline", config.baseline]
    if config.retrain is not None:
        words += ["--retrain", config.retrain, "--retrainings", str(config.retrainings)]
    return [*words, *flags(config.settings), "--out", as_argument(out)]


def going_on(config: ComparisonConfig, out: Path) -> list[str]:
    """Return the command that goes on with the comparison in a folder, which names code of a user's own again."""
    words = ["compare", as_argument(out)]
    if any(":" in entry for entry in config.methods):
        words += ["--methods", ",".join(config.methods)]
    for name in ("space", "selector"):
        words += _own(name, config.settings.get(name))
        if any(":" in str(value) for value in config.axes.get(name, ())):
            words += ["--axis", _axis(name, config.axes[name])]
    return words


def _axis(name: str, values: Iterable[Any]) -> str:
    """Return an axis as it is typed: a value that is a list has spaces in it."""
    texts = [" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values]
    return f"{name}={','.join(texts)}"


Step = tuple[str, tuple[str, ...]]
"""A run folder within the comparison's, and the command that makes this run."""


@dataclass(frozen=True)
class Job:
    """The commands, one after another, of one search with all that is read out of it; `case` is its kind of search."""

    name: str
    case: str
    steps: tuple[Step, ...]


def jobs(config: ComparisonConfig, epochs: Mapping[str, int], out: Path, cells: Mapping[str, str] = {}) -> list[Job]:
    """Return all jobs, seed by seed, so that a table of few seeds is complete early.

    `epochs` are those of every kind of search that a budget allows, and `cells` the largest cells of the spaces.
    """
    kinds: dict[str, list[Case]] = {}
    every = cases(config)
    for case in every:
        kinds.setdefault(case.search, []).append(case)
    sizes = _sizes(every, config) if config.retrain else {}
    made = [_job(config, group, seed, out, epochs, sizes) for seed in config.seeds for group in kinds.values()]
    for case in largest_cases(config) if config.retrain else ():
        name = case.space(config)
        beside = next(each for each in every if each.space(config) == name)
        passed_on = _passed_on(search_config(beside, config), config)
        more = ["--data", config.data, *flags({"space": name} | passed_on, {"mirror": None})]
        more += sizes[beside]
        folder = case.baseline(out).name
        for seed in config.seeds:
            steps = tuple(_retrainings(config, cells[name], folder, seed, more, out))
            made.append(Job(f"{folder}-{seed}", case.label, steps))
    return made


def jobs_of(record: Record, out: Path) -> list[Job]:
    """Return all jobs of a comparison that has been planned."""
    config, found = record.config, record.measured
    epochs = {name: entry["epochs_given"] for name, entry in found.items() if "epochs_given" in entry}
    names = [case.space(config) for case in largest_cases(config)] if config.retrain else []
    return jobs(config, epochs, out, {name: str(largest(space(name))) for name in names})


def _passed_on(search: SearchConfig, config: ComparisonConfig) -> dict[str, Any]:
    """Return the settings of its images that a search passes on to a retraining.

    See `supernet.retraining.searched.sized`.
    """
    names = ["mirror", "skip_broken", "stream"]
    if RECIPES[str(config.retrain)].image_size in (None, search.image_size):
        names += _IMAGES
    usual = SearchConfig()
    return {name: value for name in names if (value := getattr(search, name)) != getattr(usual, name)}


def _sizes(every: Iterable[Case], config: ComparisonConfig) -> dict[Case, list[str]]:
    """Return the options for the size of each case's retrainings: that which its search is for, or none of the recipe.

    A search decides on the size as `supernet.retraining.searched.sized` says. Here one that does decides for all in its
    space, so that rows with and without targets are of one size.
    """
    searches = {case: search_config(case, config) for case in every}
    deciding = {
        case.space(config)
        for case, search in searches.items()
        if search.limits or search.targets or _target(search) != space(search.space).target
    }
    sizes = {case: _target(search) for case, search in searches.items() if case.space(config) in deciding}
    options = {case: ["--width", str(width), "--depth", str(depth)] for case, (width, depth) in sizes.items()}
    return {case: options.get(case, []) for case in searches}


def _target(search: SearchConfig) -> tuple[int, int]:
    """Return the width and depth of the network that a search is for."""
    width, depth = space(search.space).target
    return search.target_width or width, search.target_depth or depth


def _job(
    config: ComparisonConfig,
    group: Sequence[Case],
    seed: int,
    out: Path,
    epochs: Mapping[str, int],
    sizes: Mapping[Case, Sequence[str]],
) -> Job:
    first = group[0]
    settings = first.settings(config)
    if first.search in epochs:
        settings["epochs"] = epochs[first.search]
    if "device" in settings:
        settings["device"] = _named(settings["device"])
    folder = first.folder(out, seed)
    typed = flags(settings, usual_settings(first.method, settings))
    words = ["search", config.data, "--method", first.method, *typed, "--seed", str(seed)]
    steps: list[Step] = [(folder.name, (*words, "--out", as_argument(folder), "--quiet"))]
    home, method = _own("space", settings.get("space")), _own("method", first.method)
    for case in group:
        found = case.found(out, seed)
        name = str(found.relative_to(out))
        if case.selector:
            more = flags(flat(selection(case, config)))
            words = ["select", as_argument(folder), "--with", case.selector, *more, *home, *method, *_device(config)]
            steps.append((name, (*words, "--out", as_argument(found), "--quiet")))
        steps += _retrainings(config, as_argument(found), name, seed, [*home, *sizes.get(case, ())], out)
    return Job(folder.name, first.search, tuple(steps))


def retrained_folders(config: ComparisonConfig, seed: int) -> dict[str, int]:
    """Return the names of the folders of the retrainings of what a search with a seed has found, each with its seed.

    The first retraining has the seed of the search, so that rows stay paired by seed, and no two have the same: where
    searches end at one cell, the spread is that of its trainings.
    """
    seeds = [seed + _SEEDS * number for number in range(config.trainings)]
    return {f"{config.retrain}-{each}": each for each in seeds}


def _retrainings(
    config: ComparisonConfig, what: str, name: str, seed: int, more: Sequence[str], out: Path
) -> Iterator[Step]:
    for folder, each in retrained_folders(config, seed).items():
        words = ["retrain", what, "--recipe", str(config.retrain), "--seed", str(each), *more, *_device(config)]
        yield f"{name}/{folder}", (*words, "--out", as_argument(out / name / folder), "--quiet")


def _own(name: str, value: Any) -> list[str]:
    """Return the option for a part of the user's own, which no later command takes from a run folder."""
    return [f"--{name}", str(value)] if ":" in str(value) else []


def _device(config: ComparisonConfig) -> list[str]:
    return ["--device", _named(config.settings["device"])] if "device" in config.settings else []


def _named(device: object) -> str:
    """Return a device as a worker knows it, which sees its own GPU alone."""
    return "cuda" if str(device).startswith("cuda:") else str(device)
