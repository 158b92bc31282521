"""The configuration of a search: signatures, saving in a run folder and reading back, and wrong values."""

from __future__ import annotations

import types
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import supernet as sn
from conftest import Call
from retrained import record
from supernet.cli.parsing import ARGUMENTS, Declared
from supernet.cli.search import search
from supernet.engine.optim import SGDConfig
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.methods.single_path import SinglePath
from supernet.retraining.config import RetrainCall
from supernet.retraining.config import configured as retraining_configured
from supernet.retraining.recipes import RECIPES, Recipe
from supernet.searching.config import FLAGS, PROTOCOLS, Protocol, SearchCall, SearchConfig, config_of, configured, saved
from supernet.selectors import SELECTORS

TEXTS = ("", "flops=0.1", "no", "~", "1e3", "a: b", "# a", "- a", " a", "é", "a\nb", "${seed}")  # special in YAML

# --- strategies that draw settings by the types of their fields


def settings_of(kind: type[Any], leave_out: tuple[str, ...] = ()) -> SearchStrategy[dict[str, Any]]:
    """Draw values for all fields of a class of settings, nested ones as mappings."""
    hints = get_type_hints(kind, include_extras=True)
    names = [entry.name for entry in fields(kind) if entry.name not in leave_out]
    return st.fixed_dictionaries({name: values_of(hints[name]) for name in names})


def values_of(hint: Any, bounds: dict[str, Any] | None = None) -> SearchStrategy[Any]:
    """Draw values of a type, within the bounds of its annotation."""
    if get_origin(hint) is Annotated:
        metadata = [bound for field in get_args(hint)[1:] for bound in field.metadata]
        return values_of(get_args(hint)[0], {name: value for each in metadata for name, value in vars_of(each).items()})
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(values_of(part) for part in get_args(hint)))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint is SGDConfig:  # most draws of a restart and a schedule do not go together
        return st.one_of(settings_of(hint, ("restart",)), settings_of(hint, ("schedule",)))
    if is_dataclass(hint):
        return settings_of(hint)  # type: ignore[arg-type]
    bounds = bounds or {}
    if hint is int:
        return st.integers(bounds.get("ge", -9), bounds.get("lt", 10**9) - 1)
    if hint is float:
        low, high = bounds.get("ge", bounds.get("gt", 1e-3)), bounds.get("le", bounds.get("lt", 1e9))
        return st.floats(low, high, exclude_min="gt" in bounds, exclude_max="lt" in bounds)
    return {bool: st.booleans(), str: st.sampled_from(TEXTS), type(None): st.none()}[hint]


def vars_of(bound: Any) -> dict[str, Any]:
    """Return a bound as {"ge": 1}."""
    return {entry.name: getattr(bound, entry.name) for entry in fields(bound)}


def read_back(config: SearchConfig, folder: Path) -> SearchConfig:
    """Return a configuration as the run folder that was started with it has it."""
    run = Run(folder / str(len(list(folder.iterdir()))))
    run.start(record("search") | config.to_dict(), {})
    return configured(**saved(run))


# --- saving and reading back

several = hypothesis_settings(
    max_examples=15,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_read_back_as_it_was_saved(protocol: str, tmp_path: Path) -> None:
    config = configured(protocol, selector="magnitude")
    assert {name: getattr(config, name) for name in names_of(Protocol)} == vars(PROTOCOLS[protocol])
    assert read_back(config, tmp_path) == config


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_read_back_as_it_was_saved(method: str, tmp_path: Path) -> None:
    config = configured(method=method)
    assert config.method_config == config_of(METHODS[method])
    assert read_back(config, tmp_path) == replace(config, selector=METHODS[method].selector)


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_is_read_back_as_it_was_saved(selector: str, tmp_path: Path) -> None:
    config = configured(selector=selector)
    assert config.select == config_of(SELECTORS[selector])
    assert read_back(config, tmp_path) == config


KINDS = {preset.load().Config: name for presets in (METHODS, SELECTORS) for name, preset in presets.items()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@several
@given(data=st.data())
def test_any_config_of_a_method_or_selector_is_read_back(kind: type[Any], data: st.DataObject, tmp_path: Path) -> None:
    # Lists have to fit each other
    lists = tuple(entry.name for entry in fields(kind) if isinstance(getattr(kind, entry.name), tuple))
    values, name = data.draw(settings_of(kind, lists)), KINDS[kind]
    chosen = {"method": name, "method_config": values} if name in METHODS else {"selector": name, "select": values}
    config = allowed({"selector": "magnitude", **chosen})
    read = read_back(config, tmp_path)
    assert read == config
    part = read.method_config if name in METHODS else read.select
    assert (type(part), {name: value for name, value in asdict(part).items() if name not in lists}) == (kind, values)


FREE = ("method", "method_config", "selector", "select", "space", "data", "device", "max_params", "max_flops")
FREE += ("target_params", "target_flops", "target_latency_ms")
SHARED = settings_of(SearchConfig, leave_out=(*FREE, "graphs", "workers"))  # which change no number and are not saved


@several
@given(values=SHARED, count=st.none() | st.integers(1, 10**12))
def test_any_config_of_a_search_is_read_back(values: dict[str, Any], count: int | None, tmp_path: Path) -> None:
    config = allowed(
        {"selector": "magnitude", "max_params": count, "max_flops": count, "target_params": count, **values}
    )
    precision = "auto" if config.precision == "tf32" else config.precision
    assert read_back(config, tmp_path) == replace(config, precision=precision)


def allowed(settings: dict[str, Any]) -> SearchConfig:
    """Return the configuration; settings that do not go together are drawn again."""
    try:
        return configured(**settings)
    except UserError:
        return reject()


def test_parts_given_as_classes_and_objects_are_saved_by_their_names(tmp_path: Path) -> None:
    space, method, selector = sn.space("darts"), METHODS["random"].load(), SELECTORS["magnitude"].load()
    config = configured(data=Path("images"), space=space, method=method, selector=selector, device="cpu")
    read = read_back(config, tmp_path)
    assert (read.data, read.space, read.device) == ("images", "darts", "auto")
    assert (read.method, read.selector) == tuple(f"{kind.__module__}:{kind.__name__}" for kind in (method, selector))
    assert read.method_config == config.method_config


# --- signatures


def names_of(kind: type[Any]) -> list[str]:
    return [entry.name for entry in fields(kind)]


@pytest.mark.parametrize(
    ("function", "call", "first"),
    [(sn.search, SearchCall, "data"), (sn.forecast, SearchCall, "data"), (sn.retrain, RetrainCall, "what")],
)
def test_the_signature_of_a_function_has_every_field_with_its_default(function: Any, call: Any, first: str) -> None:
    parameters = signature(function).parameters
    assert set(parameters) == set(names_of(call))
    assert [name for name, each in parameters.items() if each.kind is Parameter.POSITIONAL_OR_KEYWORD] == [first]
    defaults = {name: each.default for name, each in parameters.items() if name != "what"}
    assert defaults == {entry.name: entry.default for entry in fields(call) if entry.name != "what"}


def test_the_signatures_have_the_fields_of_protocols_and_recipes() -> None:
    assert set(names_of(Protocol)) < set(signature(sn.search).parameters)
    assert set(names_of(Recipe)) < set(signature(sn.retrain).parameters)
    assert {"method", "method_config", "selector", "select", "out"} < set(signature(sn.search).parameters)


# --- wrong values

WRONG = [
    ({"epochs": 0}, "setting epochs must be at least 1, not 0"),
    ({"epochs": -3}, "setting epochs must be at least 1, not -3"),
    ({"epochs": True}, "setting epochs takes a whole number, not True"),
    ({"batch_size": 0}, "setting batch_size must be at least 1, not 0"),
    ({"width": 0}, "setting width must be at least 1, not 0"),
    ({"depth": 0}, "setting depth must be at least 1, not 0"),
    ({"pad": -1}, "setting pad must be at least 0, not -1"),
    ({"cutout": -1}, "setting cutout must be at least 0, not -1"),
    ({"stem": -1}, "setting stem must be at least 0, not -1"),
    ({"reductions": -1}, "setting reductions must be at least 0, not -1"),
    ({"workers": 0}, "setting workers must be at least 1, not 0"),
    ({"target_width": 0}, "setting target_width must be at least 1, not 0"),
    ({"validation_share": 0.0}, "setting validation_share must be above 0, not 0.0"),
    ({"validation_share": 1.0}, "setting validation_share must be below 1, not 1.0"),
    ({"validation_share": "half"}, "setting validation_share takes a number, not 'half'"),
    ({"split": "random"}, "setting split takes 'stratified' or 'index', not 'random'"),
    ({"split": "index", "validation_share": 0.2}, "setting split index cuts the images in halves: with "),
    ({"norm_affine": 1}, "setting norm_affine takes true or false, not 1"),
    ({"latency": 3}, "setting latency takes text, not 3"),
    ({"w": {"lr": -1.0}}, "setting w.lr must be at least 0, not -1.0"),
    ({"w": {"lr": float("inf")}}, "setting w.lr must be a finite number, not inf"),
    ({"w": {"lr_min": -1.0}}, "setting w.lr_min must be at least 0, not -1.0"),
    ({"w": {"momentum": 1.0}}, "setting w.momentum must be below 1, not 1.0"),
    ({"w": {"weight_decay": -1.0}}, "setting w.weight_decay must be at least 0, not -1.0"),
    ({"w": {"clip": float("nan")}}, "setting w.clip must be a finite number, not nan"),
    ({"w": {"gamma": 0.0}}, "setting w.gamma must be above 0, not 0.0"),
    ({"w": {"gamma": 1.5}}, "setting w.gamma must be at most 1, not 1.5"),
    ({"w": {"warmup": 0.5}}, "setting w.warmup takes a whole number, not 0.5"),
    ({"w": {"schedule": "step"}}, "setting w.schedule takes 'cosine', 'linear' or 'exponential', not 'step'"),
    ({"w": {"nesterov": True, "momentum": 0.0}}, "setting w.nesterov needs a w.momentum above 0"),
    ({"w": {"lr": {"lr": 1.0}}}, "setting w.lr takes a number, not {'lr': 1.0}"),
    ({"w": "sgd"}, "setting w takes a mapping of its fields, not 'sgd'"),
    ({"alpha": {"weight_decay": -1.0}}, "setting alpha.weight_decay must be at least 0, not -1.0"),
    ({"alpha": {"lr": "high"}}, "setting alpha.lr takes a number, not 'high'"),
    ({"method_config": {"alpha": {"lr": -1.0}}}, "setting alpha.lr must be at least 0, not -1.0"),
    ({"method": "nao-v2", "controller": {"epochs": 0}}, "setting controller.epochs must be at least 1, not 0"),
    ({"method": "nao-v2", "standalone": {"drop_path": 1.0}}, "setting standalone.drop_path must be below 1, not 1.0"),
    ({"method": "zarts-mgs", "sigma": 0.0}, "setting sigma must be above 0, not 0.0"),
    ({"selector": "perturbation", "select": {"lr": "x"}}, "setting lr takes a number, not 'x'"),
    ({"selector": "best-of-samples", "select": {"samples": 0}}, "setting samples must be at least 1, not 0"),
]


@pytest.mark.parametrize(("settings", "expected"), WRONG, ids=[str(settings) for settings, _ in WRONG])
def test_a_wrong_value_is_one_line(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        configured(**settings)
    assert str(caught.value).startswith(expected)
    assert len(str(caught.value).splitlines()) == 1


TYPED = [
    ("search digits --w.momentum -0.5", "setting w.momentum must be at least 0, not -0.5"),
    ("search digits --w.gamma 2", "setting w.gamma must be at most 1, not 2.0"),
    ("search digits --w.warmup -1", "setting w.warmup must be at least 0, not -1"),
    ("search digits --w.warmup 1.5", "--w.warmup takes INT, not '1.5' (see supernet search --help)"),
    ("search digits --alpha.lr inf", "setting alpha.lr must be a finite number, not inf"),
    ("search digits --validation-share 1", "setting validation_share must be below 1, not 1.0"),
    ("search digits --method zarts-mgs --sigma 0", "setting sigma must be above 0, not 0.0"),
    ("search digits --method nao-v2 --standalone.drop-path 1", "setting standalone.drop_path must be below 1, not 1.0"),
    ("search digits --method nao-v2 --controller.epochs 0", "setting controller.epochs must be at least 1, not 0"),
    ("search digits --selector best-of-samples --select.samples 0", "setting samples must be at least 1, not 0"),
    ("retrain x --w.momentum 1", "setting w.momentum must be below 1, not 1.0"),
    ("retrain x --drop-path nan", "setting drop_path must be a finite number, not nan"),
    ("select x --tune-epochs -1", "setting tune_epochs must be at least 0, not -1"),
    ("landscape x --points 1", "setting points must be at least 2, not 1"),
    ("tabular --evolution.population 0", "setting evolution.population must be at least 1, not 0"),
    ("tabular --nao.controller.epochs 0", "setting controller.epochs must be at least 1, not 0"),
]


@pytest.mark.parametrize(("line", "expected"), TYPED, ids=[line for line, _ in TYPED])
def test_a_wrong_value_on_the_command_line_is_one_line(line: str, expected: str, call: Call, tmp_path: Path) -> None:
    assert call(*line.split()) == (2, "", f"supernet: {expected}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_retraining_has_the_values_of_its_recipe_and_those_given(recipe: str) -> None:
    config = retraining_configured("x", recipe, seed=3, w={"lr": 0.5})
    expected = replace(RECIPES[recipe], w=replace(RECIPES[recipe].w, lr=0.5))
    assert {name: getattr(config, name) for name in names_of(Recipe)} == vars(expected)
    assert (config.what, config.seed, config.data) == ("x", 3, None)


def method(fields: dict[str, Any], **config: Any) -> type[sn.Method]:
    """A method whose Config has these fields, each with its type, and their defaults."""
    space = {"__annotations__": fields, "__module__": __name__, **config}
    return type("Mine", (SinglePath,), {"__module__": "mine", "Config": dataclass(frozen=True)(type("Own", (), space))})


CANNOT = "a run folder holds numbers, texts, true and false, and lists and mappings of them"


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        (method({"x": int}), "Config of method 'mine:Mine' must have a default for every field, also for x"),
        (
            method({"epochs": int, "x": int, "seed": int}, epochs=1, x=2, seed=3),
            "Config of method 'mine:Mine' must have names that no setting or flag of a search has: rename epochs, seed",
        ),
        (
            method({"x": int, "gpus": int}, x=1, gpus=2),
            "Config of method 'mine:Mine' must have names that no setting or flag of a search has: rename gpus",
        ),
        (
            type("Mine", (SinglePath,), {"__module__": "mine", "Config": int}),
            "Config of method 'mine:Mine' must be a frozen dataclass, not <class 'int'>",
        ),
        (method({"x": "NoSuchType"}, x=1), "Own has a field whose type cannot be checked: `Own` is not fully defined"),
        (method({"x": Path}, x=Path("a")), f"setting x cannot be of type {type(Path()).__name__}: {CANNOT}"),
        (method({"x": "set[int] | None"}, x=None), f"setting x cannot be of type set: {CANNOT}"),
    ],
)
def test_a_config_of_ones_own_that_cannot_be_had_is_one_line(mine: Any, told: str, tmp_path: Path) -> None:
    given = {"x": {1}} if "type set" in told else {}
    with pytest.raises(UserError) as error:
        sn.search("digits", method=mine, epochs=1, width=4, images=100, quiet=True, out=tmp_path / "run", **given)
    assert str(error.value).startswith(told)
    assert not (tmp_path / "run").exists()


def test_every_flag_of_a_search_that_is_no_setting_is_known_to_be_taken() -> None:
    with pytest.raises(Declared) as declared:
        search(["digits", ARGUMENTS])
    flags = {*names_of(declared.value.arguments)} - {*names_of(SearchCall)}
    assert flags == FLAGS - {"help", "help_all"}  # which every command has


def test_a_config_of_ones_own_with_tuples_is_read_back(tmp_path: Path) -> None:
    fields = {
        "few": tuple[int, ...],
        "pairs": "tuple[tuple[int, str], ...]",
        "named": "dict[str, tuple[int, ...] | None] | None",
    }
    mine = method(fields, few=(1, 2), pairs=((1, "a"),), named=None)
    config = configured(method=mine, named={"a": [3], "b": None}).method_config
    assert (config.few, config.pairs, config.named) == ((1, 2), ((1, "a"),), {"a": (3,), "b": None})
    kept = Run(tmp_path / "run")
    kept.start(record("search") | configured(method=mine, method_config=config).to_dict(), {})
    assert configured(**saved(kept) | {"method": mine}).method_config == config


def test_a_space_with_operations_of_ones_own_is_saved_by_its_name() -> None:
    own = sn.Primitive("own", lambda cin, cout, stride, norm: None)
    mine = sn.SearchSpace("mine", {"cell": sn.Cell.dense(2, ["own"])}, sn.Stages(("cell",)), (own,))
    assert configured(space=mine).to_dict()["space"] == "mine"
    kept = retraining_configured(what="|own~0|", space=mine).to_dict()
    assert not {"what", "space"} & set(kept)


def test_a_scalar_of_numpy_is_a_number() -> None:
    given = {"epochs": np.int64(3), "mirror": np.bool_(True), "w": {"lr": np.float32(0.5)}}
    found = configured(**given)
    assert found == configured(epochs=3, mirror=True, w={"lr": 0.5})
    assert [type(value) for value in (found.epochs, found.mirror, found.w.lr)] == [int, bool, float]
    assert type(SGDConfig(warmup=np.uint8(2)).warmup) is int
    with pytest.raises(UserError, match=r"^setting epochs takes a whole number, not array\(\[1, 2\]\)$"):
        configured(epochs=np.array([1, 2]))


def test_a_name_that_is_numpys_text_is_a_name() -> None:
    assert type(configured(space=np.str_("darts")).to_dict()["space"]) is str
