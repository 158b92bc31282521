"""The cases of a comparison, one per row of its table, and the commands that a seed of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from supernet.engine.driving import Driving
from supernet.engine.folder import default_folder, flat
from supernet.errors import UserError, unknown
from supernet.methods import METHODS
from supernet.models.cost.count import largest
from supernet.retraining.recipes import RECIPES
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.config import PROTOCOLS, SearchConfig, config_of, configured
from supernet.selectors import SELECTORS, Preset
from supernet.settings import preset_named
from supernet.spaces import space

RANDOM = "random"  # the method that is in every comparison
LARGEST = "largest cell"
_TARGETS = ("target_params", "target_flops", "target_latency_ms")
_OWN = {*(entry.name for entry in fields(Driving)), "data", "method", "seed", "config", "dry_run", "table"}
_SEEDS = 10_000  # between the seeds of two retrainings of one architecture
_IMAGES = ("image_size", "stem", "reductions")  # settings of a search's images that a retraining may take over


@dataclass(frozen=True)
class Case:
    """One row of the table: a method at a point of the axes, and the selector that reads its searches once more.

    `selected` is the part of the point that the selector alone has, so that it changes no search.
    """

    method: str
    point: tuple[tuple[str, Any], ...] = ()
    selector: str = ""
    selected: tuple[tuple[str, Any], ...] = ()

    @property
    def search(self) -> str:
        """The kind of search, which several selectors may share."""
        return ", ".join([self.method, *(f"{name}={value}" for name, value in self.point)])

    @property
    def label(self) -> str:
        """The name of the row."""
        selector = f"+{self.selector}" if self.selector else ""
        points = (f"{name}={value}" for name, value in (*self.point, *self.selected))
        return ", ".join([f"{self.method}{selector}", *points])

    def folder(self, out: Path, seed: int) -> Path:
        """Return the run folder of the search with a seed."""
        return out / default_folder(self.method, *(str(part) for pair in self.point for part in pair), str(seed)).name

    def baseline(self, out: Path) -> Path:
        """Return the folder of the retrainings of a cell that needs no search."""
        return out / default_folder("largest", *(str(value) for _, value in self.point)).name

    def found(self, out: Path, seed: int) -> Path:
        """Return the run folder that holds the architecture: of the search, or of the selection from it."""
        searched = self.folder(out, seed)
        name = self.selector.replace(":", ".")
        if self.selected:
            name = default_folder(name, *(str(part) for pair in self.selected for part in pair)).name
        return searched / "selections" / name if name else searched

    def space(self, config: ComparisonConfig) -> str:
        """Return the name of the space that is searched."""
        return str(dict(self.point).get("space", config.settings.get("space", SearchConfig.space)))

    def settings(self, config: ComparisonConfig) -> dict[str, Any]:
        """Return the settings of the search by their dotted names."""
        names = _names(self.method, config)
        return {name: value for name, value in config.settings.items() if name in names} | dict(self.point)


def largest_cases(config: ComparisonConfig) -> list[Case]:
    """Return, for every space that is searched, the case of its largest cell, which needs no search."""
    axis = config.axes.get("space")
    return [Case(LARGEST)] if axis is None else [Case(LARGEST, (("space", name),)) for name in axis]


def cases(config: ComparisonConfig) -> list[Case]:
    """Return all cases, with random search among them; raises UserError for a name or a value that cannot be had.

    A setting or an axis applies to the methods and the selectors that have it; one that none has is a mistake.
    """
    _check_names(config)
    found: list[Case] = []
    for entry in dict.fromkeys([*config.methods, RANDOM]):
        method, _, selector = entry.partition("+")
        if "+" in entry:
            SELECTORS.named(selector)
        known = _names(method, config)
        searched, selected = (
            [[(name, value) for value in values] for name, values in config.axes.items() if name in names]
            for names in (known, (_select_names(selector) if selector else set()) - known)
        )
        found += [Case(method, point, selector, more) for point in product(*searched) for more in product(*selected)]
    for case in found:
        search_config(case, config)
        if case.selector:
            selection_config(case, config)
    if config.baseline is not None and config.baseline not in (labels := [case.label for case in found]):
        raise unknown("baseline", config.baseline, labels)
    return found


def names_of(methods: Iterable[str], config: ComparisonConfig) -> set[str]:
    """Return the settings that any METHOD or METHOD+SELECTOR has, by their dotted names.

    Raises UserError for an unknown one.
    """
    entries = [entry.partition("+") for entry in methods]
    known = {name for method, *_ in entries for name in _names(method, config)}
    return known | {name for *_, selector in entries if selector for name in _select_names(selector)}


def _check_names(config: ComparisonConfig) -> None:
    known = names_of(config.methods, config)
    for name in (*config.settings, *config.axes):
        if name in _OWN:
            raise UserError(f"'{name}' is no setting of a comparison's searches: the comparison sets it itself")
        if name not in known:
            raise unknown("setting", name, sorted(known))


def _names(method: str, config: ComparisonConfig) -> set[str]:
    """Return the settings that a search by a method has, by their dotted names.

    Targets are among them only if it aims at them, and patience only if it is patient.
    """
    names = {*_usual(method, config.settings), "graphs", "no_graphs", "workers", "protocol"}
    made = METHODS.named(method).load()
    if not made.patient:
        names.remove("patience")
    if made.aims:
        return names
    limited = "max_latency_ms" in {*config.settings, *config.axes}
    return names - {*_TARGETS, *([] if limited else ["latency"])}


def _usual(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a search by a method where none is given, but for the `graphs`, by their dotted names."""
    start = configured(settings.get("protocol", "small"), method=method, selector=settings.get("selector"))
    found = {name.removeprefix("method_config."): value for name, value in flat(start.to_dict()).items()}
    return {name: value for name, value in found.items() if name != "graphs"}  # which is the switch --no-graphs


def _select_names(selector: str) -> set[str]:
    """Return the settings that a selector has, by their dotted names."""
    return {f"select.{name}" for name in flat(asdict(config_of(SELECTORS.named(selector))))}


def search_config(case: Case, config: ComparisonConfig, **more: Any) -> SearchConfig:
    """Return the checked configuration of a case's search; raises UserError."""
    return configured(**arguments(case, config), **more)


def arguments(case: Case, config: ComparisonConfig) -> dict[str, Any]:
    """Return the arguments of `configured` for a case's search."""
    tree: dict[str, Any] = {}
    for name, value in case.settings(config).items():
        *parents, last = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    if tree.pop("no_graphs", False):
        tree["graphs"] = False
    preset_named("protocol", tree.get("protocol", "small"), PROTOCOLS)
    return {"data": config.data, "method": case.method} | tree


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
        words += ["--axis", f"{name}={','.join(map(str, values))}"]
    if config.baseline is not None:
        words += ["--baseline", config.baseline]
    if config.retrain is not None:
        words += ["--retrain", config.retrain, "--retrainings", str(config.retrainings)]
    return [*words, *flags(config.settings), "--out", str(out)]


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
    typed = flags(settings, _usual(first.method, settings))
    words = ["search", config.data, "--method", first.method, *typed, "--seed", str(seed)]
    steps: list[Step] = [(folder.name, (*words, "--out", str(folder), "--quiet"))]
    home, method = _own("space", settings.get("space")), _own("method", first.method)
    for case in group:
        found = case.found(out, seed)
        name = str(found.relative_to(out))
        if case.selector:
            more = flags(flat(_selection(case, config)))
            words = ["select", str(folder), "--with", case.selector, *more, *home, *method, *_device(config)]
            steps.append((name, (*words, "--out", str(found), "--quiet")))
        steps += _retrainings(config, str(found), name, seed, [*home, *sizes.get(case, ())], out)
    return Job(folder.name, first.search, tuple(steps))


def _selection(case: Case, config: ComparisonConfig) -> dict[str, Any]:
    """Return the settings of a case's selector, by their names in its configuration."""
    given, names = {**config.settings, **dict(case.point + case.selected)}, _select_names(case.selector)
    return {name.removeprefix("select."): given[name] for name in sorted(names & {*given})}


def selection_config(case: Case, config: ComparisonConfig) -> tuple[Preset, Any]:
    """Return the selector that reads a case's searches once more, and its checked settings; raises UserError."""
    preset = SELECTORS.named(case.selector)
    return preset, config_of(preset, _selection(case, config))


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
        yield f"{name}/{folder}", (*words, "--out", str(out / name / folder), "--quiet")


def _own(name: str, value: Any) -> list[str]:
    """Return the option for a part of the user's own, which no later command takes from a run folder."""
    return [f"--{name}", str(value)] if ":" in str(value) else []


def _device(config: ComparisonConfig) -> list[str]:
    return ["--device", _named(config.settings["device"])] if "device" in config.settings else []


def _named(device: object) -> str:
    """Return a device as a worker knows it, which sees its own GPU alone."""
    return "cuda" if str(device).startswith("cuda:") else str(device)
