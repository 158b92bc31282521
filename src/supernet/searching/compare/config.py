"""What a comparison compares: methods, seeds and axes, as one typed object that a file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, field
from numbers import Integral
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from supernet.engine.files import read_yaml, write_atomically
from supernet.engine.records import damaged, read_checked
from supernet.errors import UserError, is_whole, names_given, shown, unknown
from supernet.methods import METHODS
from supernet.registry import import_typed, recorded
from supernet.retraining.recipes import RECIPES
from supernet.selectors import SELECTORS
from supernet.settings import Count, Whole, amend, settings, values_of
from supernet.spaces import SPACES

FILE = "comparison.json"
Seeds = str | Sequence[int]
"""Seeds as a list, or as text: 0-4,7."""


@settings
class ComparisonConfig:
    """What a comparison compares."""

    data: str = "digits"
    """digits (included), .npz file, folder of class folders or shards, IDX or CIFAR files"""
    _: KW_ONLY
    methods: list[str] = field(default_factory=lambda: ["single-darts", "darts"])
    """methods; METHOD+SELECTOR also selects by another selector from the method's searches"""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """seeds of every method"""
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """settings of a search with the values that each takes"""
    settings: dict[str, Any] = field(default_factory=dict)
    """settings of all searches"""
    budget: str = "passes"
    """passes, those of the first method; passes=N, seconds=S, or epochs, as many for each method"""
    baseline: str | None = None
    """row that the others are compared with; None is the first"""
    retrain: str | None = None
    """recipe by which what was found is retrained; None retrains nothing"""
    retrainings: Count = 1
    """retrainings of each"""

    def __post_init__(self) -> None:
        if self.retrain is not None and self.retrain not in RECIPES:
            raise unknown("recipe", self.retrain, RECIPES)
        if not (self.methods and self.seeds):
            raise UserError("a comparison needs a method and a seed")
        if min(self.seeds) < 0:
            raise UserError(f"setting seeds must be at least 0, not {min(self.seeds)}")
        budget_of(self.budget)
        for name, values in [*((name, [value]) for name, value in self.settings.items()), *self.axes.items()]:
            _check_plain(name, values)
        if "epochs" in self.axes and self.budget != "epochs":
            raise UserError("an axis of epochs needs --budget epochs: another budget decides on the epochs itself")

    @property
    def trainings(self) -> int:
        """The retrainings of each architecture, 0 if nothing is retrained."""
        return self.retrainings if self.retrain else 0

    @property
    def device(self) -> str:
        """The device of all searches."""
        return str(self.settings.get("device", "auto"))


def _check_plain(name: str, values: Sequence[Any]) -> None:
    """Raise UserError for a setting that has no value, or one that a file of a comparison cannot hold."""
    if not values:
        raise UserError(f"axis '{name}' has no value")
    for value in values:
        if not isinstance(value, str | int | float | list | None):
            kinds = "text, numbers and lists of them, such as your own space as module:NAME"
            raise UserError(f"setting {name} of a comparison takes {kinds}, not {shown(repr(value))}")


def budget_of(text: str) -> tuple[str, float | None]:
    """Return the unit of a budget, and how many; None for those of the first method. Raises UserError."""
    unit, _, amount = text.partition("=")
    if text in ("passes", "epochs"):
        return unit, None
    if unit in ("passes", "seconds") and re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?", amount) and float(amount) > 0:
        return unit, float(amount)
    raise UserError(f"setting budget takes passes, passes=N, seconds=S or epochs, not '{shown(text)}'")


def seeds_of(given: object) -> list[int]:
    """Return the seeds of a list, of one number, or of a text as 0-4,7; raises UserError for anything else."""
    several = [given] if isinstance(given, Integral) else given
    if isinstance(several, Iterable) and not isinstance(several, str):
        seeds = list(several)
        if all(map(is_whole, seeds)):
            return list(dict.fromkeys(map(int, seeds)))
    parts = [re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part) for part in str(given).split(",")]
    spans = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    if len(spans) < len(parts) or any(not 0 <= last - first < 10_000 for first, last in spans):
        raise UserError(f"seeds are numbers and spans as 0-4,7, not '{shown(given)}'")
    return list(dict.fromkeys(seed for first, last in spans for seed in range(first, last + 1)))


def scalar(text: str) -> Any:
    """Return the value of a setting that was typed: a number, true, false, none, or the text itself."""
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def axis_of(text: str) -> tuple[str, list[str]]:
    """Return the setting and the values, as text, of an axis typed as alpha.lr=0.001,0.005; raises UserError."""
    name, _, values = text.partition("=")
    if not name or not values:
        raise UserError(f"an axis is a setting and its values, as alpha.lr=0.001,0.005, not '{shown(text)}'")
    return name.replace("-", "_"), values.split(",")


def from_mapping(given: Mapping[str, Any], where: str) -> ComparisonConfig:
    """Return the config that plain data of a file says; raises UserError, for an unknown key with the nearest."""
    known = values_of(ComparisonConfig())
    for name in given:
        if name not in known:
            raise unknown(f"key of '{where}'", name, known)
    seeds = {"seeds": seeds_of(given["seeds"])} if "seeds" in given else {}
    methods = {"methods": names_given("methods", text)} if isinstance(text := given.get("methods"), str) else {}
    return amend(ComparisonConfig(), {**given, **methods, **seeds})


def read(file: Path) -> ComparisonConfig:
    """Return the config in a YAML or JSON file of a user's; raises UserError if it cannot be read."""
    try:
        found = read_yaml(file)
    except ValueError as error:
        raise UserError(f"'{file}' cannot be read as a comparison: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"'{file}' is no comparison: it needs keys as methods and seeds")
    return from_mapping(found, str(file))


@settings
class Record:
    """The file of a comparison: its config, the images, and what was measured of every kind of search."""

    config: ComparisonConfig
    _: KW_ONLY
    data_name: str = ""
    classes: int = 0
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: Whole = 0
    """threads of each run on the processors of one machine; 0 is not yet chosen"""

    def write(self, folder: Path) -> None:
        """Write the file, atomically."""
        write_atomically(folder / FILE, (json.dumps(asdict(self), indent=2) + "\n").encode())


class _Recorded(TypedDict):
    """What the file of a comparison has, whichever version wrote it."""

    config: dict[str, Any]


def load(folder: Path) -> Record | None:
    """Return what the file of a comparison's folder holds, None without one; raises UserError if it is damaged."""
    file = folder / FILE
    if not file.exists():
        return None
    advice = "give another place with --out"
    found = read_checked(_Recorded, file, advice)
    try:
        config = from_mapping(found["config"], str(file))
        found.pop("channels", None)  # an earlier version noted them in place of the name
        return Record(**{"data_name": Path(config.data).stem, **found, "config": config})
    except (TypeError, UserError) as error:
        raise damaged(file, error, advice) from None


def check_published(config: ComparisonConfig, typed: ComparisonConfig | None = None) -> None:
    """Raise UserError if a file names code of a user's own that is not `typed`, too: a file must not choose code."""
    methods, settings = (typed.methods, typed.settings) if typed else ([], {})
    for entry in config.methods:
        if entry not in methods:
            method, _, selector = entry.partition("+")
            recorded("method", method, METHODS, "methods")
            if selector:
                recorded("selector", selector, SELECTORS, "methods")
    for name, known in (("space", SPACES), ("selector", SELECTORS)):
        values = [*([config.settings[name]] if name in config.settings else []), *config.axes.get(name, [])]
        axes = typed.axes.get(name, []) if typed else []
        for value in values:
            if value not in (settings.get(name), *axes):
                recorded(name, value, known)


def import_named(methods: Iterable[str], settings: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> None:
    """Import the user's own modules that methods, spaces and selectors are named as, here and in each process."""
    typed = [pair for entry in methods for pair in zip(("method", "selector"), entry.split("+", 1), strict=False)]
    for kind in ("space", "selector"):
        typed += [(kind, str(value)) for value in (settings.get(kind), *axes.get(kind, []))]
    for kind, name in typed:
        if ":" in name:
            import_typed(kind, name)
