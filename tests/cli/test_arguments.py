"""Arguments drawn at random: each is taken, or is one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.cli import architectures, lists, predict, retrain, search, select, study, tabular, use
from supernet.cli.parsing import parse
from supernet.errors import UserError
from supernet.retraining.config import configured as retraining
from supernet.searching import studies
from supernet.searching.config import config_of, configured
from supernet.searching.tabular import SEARCHES, TabularConfig
from supernet.selectors import SELECTORS

CLASSES = {
    "search": search._arguments(configured(method="darts-pt"), "small", resumed=False),
    "retrain": retrain._arguments("quick"),
    "select": select._arguments(config_of(SELECTORS["perturbation"])),
    "tabular": tabular._arguments(SEARCHES, TabularConfig()),
    "evaluate": use.Evaluate,
    "predict": predict.Predict,
    "export": use.Export,
    "query": lists.Query,
    "architectures": architectures.Architectures,
}
STUDIES = {
    "landscape": studies.LandscapeConfig(),
    "strength": studies.StrengthConfig(),
    "rank": studies.RankingConfig(),
}
FLAGS = ["--data", "--space", "--seed", "--device", "--weights", "--w.lr", "--epochs", "--out", "--points", "--format"]
FLAGS += ["--w", "--select.tune-epochs", "--with", "--no-", "--", "-", "-h3", "--seed=", "--force=yes", "--latency"]
WORDS = st.sampled_from(
    ["", "None", "nan", "inf", "-inf", "1e999", "-0", "9" * 30, "1.5", "{", "True", "x", "\x1b[31m"]
)
ARGUMENTS = st.lists(st.sampled_from(FLAGS) | WORDS | st.text(max_size=5), max_size=5)


def taken_or_refused(attempt: Callable[[], object]) -> None:
    """Call `attempt`, which may raise a UserError of one line and nothing else."""
    try:
        attempt()
    except UserError as error:
        lines = str(error).splitlines()
    else:
        lines = ["taken"]
    assert len(lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [*CLASSES, *STUDIES])
@settings(max_examples=10, derandomize=True)
@given(ARGUMENTS)
def test_arguments_are_taken_or_refused_in_one_line(command: str, given: list[str]) -> None:
    given = [word for word in given if word not in ("-h", "--help")]
    if command in STUDIES:
        taken_or_refused(lambda: study._asked(command, "A study.", STUDIES[command], given))
    else:
        taken_or_refused(lambda: parse(command, CLASSES[command], given))


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([*vars(configured()), "w", "alpha", "order", "nothing"])


@settings(max_examples=200, derandomize=True)
@given(st.dictionaries(NAMES, VALUES, max_size=3), VALUES)
def test_settings_are_taken_or_refused_in_one_line(given: dict[str, Any], preset: Any) -> None:
    for attempt in (lambda: configured(**given), lambda: configured(preset, **given), lambda: retraining("x", **given)):
        taken_or_refused(attempt)
