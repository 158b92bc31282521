"""Settings: typed, frozen dataclasses whose values pydantic checks, and how changes are merged into them.

A mistake becomes one line: `setting w.lr must be at least 0, not -1`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache, wraps
from inspect import signature
from typing import Annotated, Any, ParamSpec, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, PydanticUserError, ValidationError
from pydantic.dataclasses import dataclass as checked
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic_core import ArgsKwargs, CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_plain_validator_function

from supernet.errors import UserError, shown, unknown

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Count = Annotated[int, Field(ge=1)]
"""A whole number from 1 on."""

Whole = Annotated[int, Field(ge=0)]
"""A whole number from 0 on."""

Real = Annotated[float, Field(ge=0)]
"""A finite number from 0 on."""

Positive = Annotated[float, Field(gt=0)]
"""A finite number above 0."""

Share = Annotated[float, Field(ge=0, lt=1)]
"""A number from 0 on and below 1."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Several = Annotated[tuple[T, ...], Field(strict=False)]
"""Values in a row; a list will do."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed that every random generator takes."""


class OfType:
    """A check, in `Annotated[...]`, that a value is an instance of one of `kinds`; it is taken as it is.

    `right` says, in the error, what would be.
    """

    def __init__(self, *kinds: type[Any], right: str = "") -> None:
        self.kinds, self.right = kinds, right

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        """Return pydantic's form of the check, made without a look into the classes."""
        return no_info_plain_validator_function(self.check)

    def check(self, value: object) -> object:
        """Return `value`."""
        if not isinstance(value, self.kinds):
            told = {"kind": type(value).__name__, "right": self.right and f"; expected {self.right}"}
            raise PydanticCustomError("of_type", "cannot be of type {kind}", told)
        return value


_RULES = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping of its fields",
    "dataclass_exact_type": "a mapping of its fields",
}


@dataclass_transform(frozen_default=True, kw_only_default=False)
def settings(cls: type[T]) -> type[T]:
    """Make a frozen dataclass whose constructor checks types and ranges; raises UserError for the first mistake.

    For settings within settings a mapping will do, of those that differ from the default.
    """
    made = checked(frozen=True, config=_RULES)(cls)
    check = made.__init__
    nested = {entry.name: entry.default for entry in fields(made) if is_dataclass(entry.default)}

    def taken(name: str, value: object) -> object:
        return amend(nested[name], value) if name in nested and isinstance(value, Mapping) else _own(value)

    @wraps(check)
    def construct(self: Any, *args: Any, **values: Any) -> None:
        try:
            check(self, *map(_own, args), **{name: taken(name, value) for name, value in values.items()})
        except ValidationError as error:
            names = [entry.name for entry in fields(made) if not entry.kw_only]
            raise UserError(_line(error, getattr(cls, "prefix", ""), names)) from None

    made.__init__ = construct  # type: ignore[method-assign]
    return made  # type: ignore[return-value]


def signature_of(settings: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the signature of a class of settings, so that an editor completes and checks its arguments.

    The function gets all of them by name. Raises UserError for arguments by position that the class does not have, and
    without a default that are missing.
    """
    form = signature(settings)
    places = [entry for entry in form.parameters.values() if entry.kind is entry.POSITIONAL_OR_KEYWORD]

    def signed(function: Callable[..., R]) -> Callable[P, R]:
        @wraps(function)
        def call(*given: Any, **named: Any) -> R:
            call_name = f"{function.__name__}()"
            if len(given) > len(places):
                names = " and ".join(entry.name for entry in places)
                raise UserError(f"{call_name} takes {names} by position and everything else by name, not {given[-1]!r}")
            for entry, value in zip(places, given, strict=False):
                if entry.name in named:
                    raise UserError(f"{call_name} got {entry.name} twice: {value!r} and {named[entry.name]!r}")
                named[entry.name] = value
            for entry in places:
                if entry.name not in named and entry.default is entry.empty:
                    raise UserError(f"{call_name} needs {entry.name}")
            return function(**named)

        call.__signature__ = form  # type: ignore[attr-defined]
        return call

    return signed


def values_of(config: Any, kind: type[Any] | None = None) -> dict[str, Any]:
    """Return the values of a config by field; only the fields of its base class `kind`, if that is given."""
    return {entry.name: getattr(config, entry.name) for entry in fields(kind or config)}


def plain(settings: Any) -> dict[str, Any]:
    """Return settings as plain data, with lists in place of tuples; raises UserError for what no file holds."""

    def listed(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {key: listed(entry, f"{name}.{key}" if name else str(key)) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [listed(entry, name) for entry in value]
        if type(value) not in (str, int, float, bool, type(None)):
            kinds = "numbers, texts, true and false, and lists and mappings of them"
            raise UserError(f"setting {name} cannot be of type {type(value).__name__}: a run folder holds {kinds}")
        return value

    found: dict[str, Any] = listed(asdict(settings), "")
    return found


def plain_values(config: Any, kind: type[Any], instead: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values_of` with nested configs as mappings; `instead` has what stands for some of the values."""
    return {
        name: plain(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in {**values_of(config, kind), **instead}.items()
    }


def preset_named(what: str, which: object, presets: Mapping[str, T]) -> T:
    """Return the preset of that name, and a config of the presets' class as it is; raises UserError for others."""
    if isinstance(which, str):
        if which not in presets:
            raise unknown(what, which, presets)
        return presets[which]
    if not isinstance(which, type(next(iter(presets.values())))):
        raise UserError(f"{what} cannot be of type {type(which).__name__}: {which!r}")
    return which


def amend(config: T, changes: Mapping[str, Any], prefix: str | None = None) -> T:
    """Return the dataclass instance `config` with `changes`, which may be nested mappings.

    Types and ranges are checked, also those of an ordinary dataclass. `prefix` precedes names in messages; None is
    the prefix of the class. Raises UserError for an unknown name or a wrong value.
    """
    prefix = getattr(config, "prefix", "") if prefix is None else prefix
    values = values_of(config)
    for name, value in changes.items():
        if name not in values:
            raise unknown("setting", f"{prefix}{name}", [f"{prefix}{known}" for known in values])
        inner = values[name]
        nested = is_dataclass(inner) and isinstance(value, Mapping)
        values[name] = amend(inner, value, f"{prefix}{name}.") if nested else value
    return _built(type(config), values, prefix)


def given_config(start: T, given: object, wanted: str) -> T:
    """Return `start` with `given`, a mapping of changes; an instance of its class takes its place.

    Raises UserError for changes that do not fit, and, which says what is `wanted`, for anything else.
    """
    if given is None or isinstance(given, Mapping):
        return amend(start, given or {})
    if not isinstance(given, type(start)):
        raise UserError(f"{wanted}, not {given!r}")
    return given


def _built(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Construct a dataclass from checked `values`, of which a list may stand for a tuple, as a file has it."""
    checker = _checker(kind)  # type: ignore[arg-type]
    built = object.__new__(checker)
    try:
        own = {name: _own(value) for name, value in values.items()}
        checker.__pydantic_validator__.validate_python(ArgsKwargs((), own), self_instance=built)
    except ValidationError as error:
        lists = [entry["loc"] for entry in error.errors() if _is_list_for_tuple(entry)]
        if not lists:
            raise UserError(_line(error, prefix)) from None
        return _built(kind, _tuple_at(values, lists[0]), prefix)
    except PydanticUserError as error:  # a type that has no meaning where it stands
        raise UserError(
            f"{kind.__qualname__} has a field whose type cannot be checked: {str(error).splitlines()[0]}"
        ) from None
    return built if checker is kind else kind(**{name: getattr(built, name) for name in values})


def _own(value: object) -> object:
    """Return a NumPy scalar, as a loop over an array has it, as Python's number; anything else as it is."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
    return value.item() if is_scalar else value  # type: ignore[attr-defined]


def _is_list_for_tuple(error: Mapping[str, Any]) -> bool:
    return error["type"] == "tuple_type" and isinstance(error["input"], list)


def _tuple_at(value: Any, path: Sequence[int | str]) -> Any:
    """Return a value in which the list at `path` is a tuple; at its end a path may name a kind of a union."""
    if isinstance(value, Mapping) and path and path[0] in value:
        return {**value, path[0]: _tuple_at(value[path[0]], path[1:])}
    if path and isinstance(path[0], int):
        entries = [_tuple_at(entry, path[1:]) if at == path[0] else entry for at, entry in enumerate(value)]
        return type(value)(entries)
    return tuple(value)


@cache
def _checker(kind: type[Any]) -> Any:
    """Return the class that checks the fields of the dataclass `kind`: a subclass made here unless `kind` does so."""
    return (
        kind if is_pydantic_dataclass(kind) else checked(kind, frozen=kind.__dataclass_params__.frozen, config=_RULES)
    )


def _line(error: ValidationError, prefix: str, positional: Sequence[str] = ()) -> str:
    """Say the first mistake in one line; `positional` names the arguments that may be given by position."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    if isinstance(context.get("error"), UserError):  # of a check of our own, which says all
        return str(context["error"])
    place, value = first["loc"][0], first["input"]
    known = isinstance(place, int) and place < len(positional)
    name = f"{prefix}{positional[int(place)] if known else place}"
    if first["type"] == "of_type":
        return f"{name} {first['msg']}: {shown(repr(value))}{context['right']}"
    if first["type"] == "unexpected_keyword_argument":
        return f"unknown setting '{name}'"
    for bound, words in _BOUNDS.items():
        if bound in context:
            limit = context[bound]
            return f"setting {name} must be {words} {limit if isinstance(limit, int) else f'{limit:g}'}, not {value}"
    if first["type"] == "finite_number":
        return f"setting {name} must be a finite number, not {value}"
    is_row = context.get("class") == "Sequence"  # as pydantic calls the type that any list or tuple has
    wanted = "a list" if is_row else context.get("expected") or _KINDS.get(first["type"])
    if wanted:
        return f"setting {name} takes {wanted}, not {shown(repr(value))}"
    return f"setting {name}: {first['msg'][0].lower()}{first['msg'][1:]}, not {value!r}"
