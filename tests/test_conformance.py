"""The conformance suites on every published method, every published selector and every example space."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from supernet.engine.driving import as_planned
from supernet.errors import UserError
from supernet.methods import METHODS
from supernet.methods.base import Method
from supernet.models.mix import dense
from supernet.searching.task import SearchTask
from supernet.selectors import SELECTORS
from supernet.selectors.base import Selector
from supernet.spaces import Cell, SearchSpace, Stages
from supernet.spaces import space as space_named
from supernet.testing import (
    EXAMPLE_SPACES,
    MethodConformance,
    MethodStateConformance,
    NormalReduceNormal,
    SelectorConformance,
    SpaceConformance,
    checks,
    macro_space,
    ragged_space,
    shortened,
)
from supernet.testing.methods import QUICK_SELECTORS
from supernet.testing.runs import run_search, small_plan

slow = pytest.mark.slow


@dataclass(frozen=True)
class EqualConfig:
    share: float = 0.25


class Equal(Method):
    """A user's method: all operations weigh the same."""

    Config = EqualConfig

    @property
    def streams(self):
        return {"weights": "train"}

    def mix(self):
        cells = self.supernet.space.cells.items()
        return dense(
            {k: torch.full((len(c.edges), c.columns), self.config.share, device=self.device) for k, c in cells}
        )

    def step(self, batches):
        return self.weight_step(batches["weights"], self.mix())


FEW_TRIALS = {"samples": 2, "steps": 1, "every": 4, "inner_batch": 3}
ONE_POOL = {"iterations": 1, "pool": 3, "new": 2, "final": 1, "final_epochs": 1, "controller": {"epochs": 1}}
ONE_POOL |= {"standalone": {"auxiliary": 0.0}}
SHORT = {
    "pc-darts": {"partial": 2, "warmup": 0.0},
    "dropnas": {"drop_rate": 0.3},
    "sdarts-adv": {"ascent": 2},
    "zarts-mgs": FEW_TRIALS | {"eval_batches": 3, "order_check": 2},
    "zarts-rs": FEW_TRIALS,
    "zarts-gld": FEW_TRIALS,
    "nao-v2": ONE_POOL,
    "nao-v2-small": ONE_POOL,
    "enas": {"updates": 1, "samples": 2, "select": {"samples": 3}},
    "darts-plus": {"earliest": 2, "skips": 1},
    "cdarts": {"pretrain": 0.0, "warmup": 0.0, "iterations": 2},
    "p-darts": {"deeper": [0, 1], "candidates": [2], "dropout": [0.3, 0.5]},
}
ALL_CONVOLUTIONS = SearchSpace(
    "learning", {"cell": Cell.dense(3, ("nor_conv_1x1", "nor_conv_3x3"))}, Stages(("cell",) * 2)
)
DRAWN = {"learning_spaces": [ALL_CONVOLUTIONS], "learning": {"epochs": 20}}  # each step trains another architecture
NAO_DRAWN = {"learning_spaces": [ALL_CONVOLUTIONS], "learning": {"epochs": 20, "final": 0, "drop_path": 0.0}}
LEARNING = dict.fromkeys(("gdas", "rsps", "setn"), DRAWN) | {
    "enas": DRAWN | {"learning": {"epochs": 30}},  # the controller favours some paths
    "nao-v2": NAO_DRAWN,
    "nao-v2-small": NAO_DRAWN,
    "dropnas": {"validates": False},
    "sdarts-adv": {"learning": {"epsilon": 0.1}},  # the loss of the weights' step is that under attack
    "darts-plus": {"learning": {"earliest": 8}},
    "p-darts": {"learning": {"epochs": 20}},  # of which the last ten are of one supernet
    "random": {"learning": {"seed": 8, "epochs_each": 8}},  # one candidate for the whole run, with a way through it
}
# Of no partial channels are the cells of a chain, which change the number of channels
WITHIN = {"pc-darts": {"spaces": [space for space in EXAMPLE_SPACES if space.name != "macro"]}}
IMPOSSIBLE = {"pc-darts", "macro"}
VARIANTS = {
    "softmax": ("single-darts", {"activation": "softmax"}),
    "sigmoid zero": ("single-darts", {"sigmoid_init": "zero"}),
    "adam": ("single-darts", {"alpha": {"optimizer": "adam"}}),
    "same subset": ("single-darts", {"regime": "same_subset"}),
    "different subset": ("single-darts", {"regime": "different_subset"}),
    "full": ("single-darts", {"train_on": "full"}),
    "order 2 same subset": ("single-darts", {"regime": "same_subset", "order": 2}),
    "norm untracked": ("darts", {"norm_track": False, "norm_affine": True}),
    "trials with momentum": ("zarts-rs", FEW_TRIALS | {"inner_opt": "copied", "form": "two_point", "warmup": 1}),
    "no trials": ("zarts-mgs", {"inner_opt": "released", "every": 2, "importance": "log_space"}),
    "every candidate one pass": ("random", {"epochs_each": 1}),
    "cutout that rises": ("r-darts-dp", {"cutout": 2, "cutout_probability": 0.5}),
    "gradients": ("darts", {"monitor": "gradients", "batch_size": 1}),
    "hessian": ("darts", {"monitor": "hessian", "monitor_every": 1}),
}


def settings_of(name):
    selector = QUICK_SELECTORS.get(METHODS[name].selector)
    return SHORT.get(name, {"select": selector} if selector else {})


def suite(kind, name, turn, **attributes):
    """Make a class of tests under a name that pytest collects."""
    title = "Test" + "".join(part.capitalize() for part in name.replace("'", "").replace("-", " ").split())
    globals()[title] = slow(type(title, (kind,), {"turn": turn, "__module__": __name__, **attributes}))
    return globals()[title]


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_state_goes_on_with_the_same_bits(name):
    """The one test of the suites that plain pytest runs: what every method needs to be resumed."""
    checks.check_saved_state(small_plan(ragged_space(), name, **settings_of(name)), 1)


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in METHODS), ("single-darts", {"train_on": "full"})])
def test_images_are_said_to_be_held_out_where_no_weights_learn_from_them(name, more):
    plan = small_plan(ragged_space(), name, **settings_of(name), **more)
    with as_planned(plan):
        unseen = bool(SearchTask(plan).validated)
    assert unseen == ("12 of them held out" in plan.reading)
    assert unseen != ("24 train the weights, none are held out" in plan.reading)


METHOD_SUITES = [
    suite(
        MethodConformance,
        name,
        turn,
        method=method,
        settings=settings,
        **LEARNING.get(name, {}),
        **WITHIN.get(name, {}),
    )
    for turn, (name, (method, settings)) in enumerate(
        [*((name, (name, settings_of(name))) for name in METHODS), ("a user's method", (Equal, {"share": 0.3}))]
    )
]
VARIANT_SUITES = [
    suite(
        MethodStateConformance,
        f"variant {name}",
        turn,
        method=method,
        settings=settings,
        steps_before_saving=9 if name == "gradients" else 3,  # measured every tenth step
    )
    for turn, (name, (method, settings)) in enumerate(VARIANTS.items())
]
SELECTOR_SUITES = [
    suite(SelectorConformance, f"{name} selector", turn, selector=name, settings=QUICK_SELECTORS.get(name, {}))
    for turn, name in enumerate(SELECTORS)
]
FEWER = SearchSpace(  # not for controllers, whose architectures are sequences of one length
    "fewer",
    {
        "normal": Cell.dense(4, ("skip_connect", "sep_conv_3x3"), inputs=2, output="concat", keep=(0, 2), project=True),
        "reduce": Cell.dense(4, ("max_pool_3x3", "sep_conv_3x3"), inputs=2, output="concat", keep=(0, 1), project=True),
    },
    NormalReduceNormal(),
)
MOBILE = shortened(space_named("mobile"))
SPACE_SUITES = [
    suite(SpaceConformance, f"{space.name} space", turn, space=space)
    for turn, space in enumerate((*EXAMPLE_SPACES, FEWER, MOBILE))
]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "pc-darts"])
def test_every_method_has_a_mix_for_stages_of_blocks(name):
    checks.check_mix(small_plan(MOBILE, name, **settings_of(name)))


@slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "pc-darts"])
def test_every_method_searches_stages_of_blocks(name, tmp_path):
    _, run = run_search(small_plan(MOBILE, name, **settings_of(name)), tmp_path)
    assert run.metrics


def test_partial_channels_do_not_fit_stages_of_blocks():
    with (
        as_planned(plan := small_plan(MOBILE, "pc-darts", partial=2)),
        pytest.raises(UserError, match="as their inputs"),
    ):
        SearchTask(plan)


def values_met(suites, *names):
    """Return the combinations of the values of some factors that the tests of these suites meet."""
    met = set()
    for made in suites:
        own = {"method": getattr(made, "method", None), "selector": getattr(made, "selector", None), "suite": made}
        own["space"] = made.space.name if hasattr(made, "space") else None
        for test in filter(lambda name: name.startswith("test_"), dir(made)):
            factors, rows = made().combinations(getattr(made, test))
            for row in rows:
                named = {name: getattr(value, "name", value) for name, value in zip(factors, row, strict=True)}
                values = own | {"test": test} | named
                met.add(tuple(values[name] for name in names))
    return met


SPACE_NAMES = [space.name for space in EXAMPLE_SPACES]
FULL = [*METHODS, Equal]
METHOD_TESTS = [name for name in dir(MethodConformance) if name.startswith("test_") and "loss" not in name]
STATE_TESTS = [name for name in dir(MethodStateConformance) if name.startswith("test_")]


@slow
@pytest.mark.parametrize(
    ("suites", "pairs"),
    [
        (METHOD_SUITES, {"method": FULL, "space": SPACE_NAMES}),
        (METHOD_SUITES, {"method": FULL, "selector": SELECTORS}),
        (METHOD_SUITES, {"selector": SELECTORS, "space": SPACE_NAMES}),
        (METHOD_SUITES, {"test": METHOD_TESTS, "method": FULL}),
        (METHOD_SUITES, {"test": METHOD_TESTS, "space": SPACE_NAMES}),
        (VARIANT_SUITES, {"suite": VARIANT_SUITES, "space": SPACE_NAMES}),
        (VARIANT_SUITES, {"test": STATE_TESTS, "space": SPACE_NAMES}),
        (SELECTOR_SUITES, {"selector": SELECTORS, "space": SPACE_NAMES}),
        (SPACE_SUITES, {"space": SPACE_NAMES, "selector": SELECTORS}),
    ],
)
def test_the_combinations_are_a_covering_array(suites, pairs):
    wanted = {values for values in itertools.product(*pairs.values()) if not set(values) >= IMPOSSIBLE}
    assert values_met(suites, *pairs) >= wanted


@slow
def test_a_search_that_trains_on_all_images_has_no_validation_accuracy(tmp_path):
    full = {"method": "single-darts", "settings": {"train_on": "full"}, "validates": False}
    type("Full", (MethodConformance,), full)().test_a_search_leaves_a_complete_folder(ragged_space(), tmp_path)
    _, run = run_search(small_plan(ragged_space(), "single-darts", train_on="full"), tmp_path / "metrics")
    assert [row["valid_accuracy"] for row in run.metrics] == [None, None]


# The suites find what they are for


class Forgetful(Equal):
    """Counts its steps, which decide the mix, and leaves the count out of its state."""

    count = 0

    def mix(self):
        return dense({kind: edges.weights * (1 + self.count % 5) for kind, edges in super().mix().items()})

    def step(self, batches):
        self.count += 1
        return super().step(batches)


class Unseeded(Equal):
    """Draws its op weights from the random numbers of the whole process."""

    def mix(self):
        return dense({kind: edges.weights * SYSTEM.random() for kind, edges in super().mix().items()})


class Partial(Equal):
    """Trains all parameters but one."""

    def __init__(self, config, supernet, budget):
        super().__init__(config, supernet, budget)
        self.weights = self.weights[1:]


class Unsteady(Selector):
    """Returns another architecture each time."""

    Config = EqualConfig

    def genotype(self):
        return self.feasible.sample(SYSTEM)


SYSTEM = random.SystemRandom()


@slow
@pytest.mark.parametrize(
    ("method", "property_"),
    [
        (Forgetful, "a_saved_state_goes_on_with_the_same_bits"),
        (Forgetful, "an_interrupted_search_ends_with_the_same_bits"),
        (Unseeded, "a_seed_decides_every_number"),
        (Partial, "parameters_are_the_supernets_and_the_mix_fits_the_space"),
    ],
)
def test_a_method_that_breaks_its_promise_fails(method, property_, tmp_path):
    broken = type("Broken", (MethodConformance,), {"method": method})()
    folder = {} if "state" in property_ or "mix" in property_ else {"tmp_path": tmp_path}
    with pytest.raises(AssertionError):
        getattr(broken, f"test_{property_}")(space=ragged_space(), **folder)


@slow
def test_a_selector_that_breaks_its_promise_fails(tmp_path):
    broken = type("Broken", (SelectorConformance,), {"selector": Unsteady})()
    with pytest.raises(AssertionError):
        broken.test_a_seed_decides_the_selection(EXAMPLE_SPACES[0], tmp_path)


def test_where_a_node_may_lose_its_edges_the_strongest_are_those_above_0():
    home = space_named("darts7-fair")
    for shift in (-2, -0.5, 0.5):
        draws = torch.Generator().manual_seed(0)
        tables = {kind: torch.rand(len(c.edges), c.columns, generator=draws) + shift for kind, c in home.cells.items()}
        scores = {kind: table.tolist() for kind, table in tables.items()}
        checks.check_strongest(home, scores, home.derive(scores))


@slow
def test_a_selection_is_checked_with_several_steps_to_an_epoch(tmp_path):
    plan = small_plan(macro_space(), "single-darts", images=12, batch_size=3)
    search = plan, run_search(plan, tmp_path / "search")[1]
    checks.check_selection(search, "perturbation", {"tune_epochs": 1}, tmp_path)


@slow
def test_without_pytest_the_extra_is_named():
    code = "import sys; sys.modules['pytest'] = None; import supernet.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("supernet.testing needs pytest: pip install 'supernet[dev]'")
