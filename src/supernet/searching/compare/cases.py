"""The cases of a comparison, one per row of its table, and the settings of their searches and selections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from supernet.engine.driving import Driving
from supernet.engine.folder import default_folder, flat
from supernet.errors import UserError, unknown
from supernet.methods import METHODS
from supernet.searching.compare.config import ComparisonConfig
from supernet.searching.config import PROTOCOLS, SearchConfig, by_flag, config_of, configured
from supernet.selectors import SELECTORS, Preset
from supernet.settings import preset_named

_SELECTOR = "selector"
RANDOM = "random"  # the method that is in every comparison
LARGEST = "largest cell"
_TARGETS = ("target_params", "target_flops", "target_latency_ms")
_OWN = {*(entry.name for entry in fields(Driving)), "data", "method", "seed", "config", "dry_run", "table"}


@dataclass(frozen=True)
class Case:
    """One row of the table: a method at a point of the axes, and the selector that reads its searches once more.

    `selected` is the part of the point that the selector alone has, so that it changes no search.
    """

    method: str
    point: tuple[tuple[str, Any], ...] = ()
    selector: str = ""
    selected: tuple[tuple[str, Any], ...] = ()

    def __hash__(self) -> int:
        """Return the hash of the label, as a value of a point may be a list."""
        return hash(self.label)

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
        names = _names(self.method, config, dict(self.point))
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
    """Return the settings that any METHOD or METHOD+SELECTOR has, or a selector of an axis, by their dotted names.

    Raises UserError for an unknown one.
    """
    entries = [entry.partition("+") for entry in methods]
    known = {name for method, *_ in entries for name in _names(method, config)}
    selectors = filter(None, [*(selector for *_, selector in entries), *config.axes.get(_SELECTOR, ())])
    return known | {name for selector in selectors for name in _select_names(selector)}


def _check_names(config: ComparisonConfig) -> None:
    """Raise UserError for a setting or an axis that no search has, and for an axis that only some selectors have."""
    others = {name: values for name, values in config.axes.items() if name != _SELECTOR}
    known, of_all = (names_of(config.methods, replace(config, axes=axes)) for axes in (config.axes, others))
    for name in (*config.settings, *config.axes):
        if name in _OWN:
            raise UserError(f"'{name}' is no setting of a comparison's searches: the comparison sets it itself")
        if name not in known:
            raise unknown("setting", name, sorted(known))
        if name in config.axes and name not in of_all:
            raise UserError(f"'{name}' is no axis beside an axis of selectors: give METHOD+SELECTOR in place of that")


def _names(method: str, config: ComparisonConfig, point: Mapping[str, Any] | None = None) -> set[str]:
    """Return the settings that a search by a method has at a point of the axes, by their dotted names.

    Targets are among them only if it aims at them, and patience only if it is patient.
    """
    settings = {**config.settings, **(point or {})}
    names = {*usual_settings(method, settings), "graphs", "no_graphs", "workers", "protocol"}
    made = METHODS.named(method).load()
    if not made.patient:
        names.remove("patience")
    if made.aims:
        return names
    limited = "max_latency_ms" in {*config.settings, *config.axes}
    return names - {*_TARGETS, *([] if limited else ["latency"])}


def usual_settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a search by a method where none is given, by their dotted names.

    Those that change no number, as `workers`, are not among them.
    """
    return by_flag(configured(settings.get("protocol", "small"), method=method, selector=settings.get("selector")))


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


def selection_config(case: Case, config: ComparisonConfig) -> tuple[Preset, Any]:
    """Return the selector that reads a case's searches once more, and its checked settings; raises UserError."""
    preset = SELECTORS.named(case.selector)
    return preset, config_of(preset, selection(case, config))


def selection(case: Case, config: ComparisonConfig) -> dict[str, Any]:
    """Return the settings of a case's selector, by their names in its configuration."""
    given, names = {**config.settings, **dict(case.point + case.selected)}, _select_names(case.selector)
    return {name.removeprefix("select."): given[name] for name in sorted(names & {*given})}
