"""What a method or a selector of one's own promises: one line names the member that does not keep it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import supernet as sn
from retrained import message
from supernet.methods import METHODS
from supernet.methods.single_path import SinglePath
from supernet.models.mix import dense
from supernet.searching.promises import Promises
from supernet.selectors.magnitude import Magnitude

SMALL: dict[str, Any] = {"epochs": 2, "width": 4, "images": 100, "quiet": True}
NAMED = "return scalar tensors by name, as {'loss': loss}"
SCORES = "return a tensor (edges, columns) of numbers for each kind of cell"
OWN = "return names that the search does not write itself"
SHOWN = "return under '{}' what the pictures and the summary of a run show"
SHARE = "Input should be less than or equal to 1"
MIX = "return an EdgeMix with op weights (edges, columns) for each kind of cell"
NAN = float("nan")


def with_member(name: str, value: Any) -> type[SinglePath]:
    """A method that trains one path per step, with another member."""
    return type("Mine", (SinglePath,), {name: value, "__module__": "my_methods"})


def scores(value: Any) -> Any:
    """An `op_scores` that returns a changed tensor of the cell."""
    return lambda self: {kind: value(found) for kind, found in SinglePath.op_scores(self).items()}


def mix(value: Any) -> Any:
    """A `step` of all operations with the mix that is made of the op weights."""
    return lambda self, batches: self.weight_step(batches["weights"], value(torch.ones(6, 5)))


BROKEN = [
    ("step", mix(lambda weights: None), ("mix", f"{MIX} (cell), not None")),
    ("step", mix(lambda weights: {}), ("mix", f"{MIX} (cell), not {{}}")),
    ("step", mix(lambda weights: {"cell": 0.5}), ("mix", f"{MIX}, not 0.5 for 'cell'")),
    ("step", mix(lambda weights: dense({"cell": [1]})), ("mix", f"{MIX}, not [1] for 'cell'")),
    ("step", mix(lambda weights: dense({"cell": weights[1:]})), ("mix", f"{MIX}, (6, 5) for 'cell', not of (5, 5)")),
    ("step", mix(lambda weights: dense({"cell": weights * NAN})), ("mix", f"{MIX}, not NaN for 'cell'")),
    ("step", lambda self, batches: None, f"{NAMED}, not None"),
    ("step", lambda self, batches: {"loss": 0.5}, f"{NAMED}, not 0.5 as 'loss'"),
    ("step", lambda self, batches: {"loss": torch.ones(2)}, f"{NAMED}, not tensor([1., 1.]) as 'loss'"),
    ("step", lambda self, batches: {"epoch": torch.zeros(())}, f"{OWN}, not 'epoch'"),
    ("streams", {}, "have a name and the images of each batch of a step, not {}"),
    ("streams", ["train"], "have a name and the images of each batch of a step, not ['train']"),
    (
        "streams",
        {"weights": "training"},
        "have 'train', 'validation', 'all' or a Stream for 'weights', not 'training'",
    ),
    ("end_epoch", lambda self, epoch, found: None, "return a dict of plain data, not None"),
    (
        "end_epoch",
        lambda self, epoch, found: {"epoch": 7},
        f"{OWN}, not 'epoch'",
    ),
    (
        "end_epoch",
        lambda self, epoch, found: {"t": torch.tensor(3.0)},
        "return plain data: numbers, strings, lists and dicts, not tensor(3.) as 't'",
    ),
    (
        "end_epoch",
        lambda self, epoch, found: {"alphas": [0.1, 0.2]},
        f"{SHOWN.format('alphas')}, not [0.1, 0.2] (alphas: Input should be an object)",
    ),
    (
        "end_epoch",
        lambda self, epoch, found: {"best_accuracy": 85.0},
        f"{SHOWN.format('best_accuracy')}, not 85.0 (best_accuracy: {SHARE})",
    ),
    (
        "end_epoch",
        lambda self, epoch, found: {"best_accuracy": "0.9"},
        f"{SHOWN.format('best_accuracy')}, not '0.9' (best_accuracy: Input should be a valid number)",
    ),
    (
        "end_epoch",
        lambda self, epoch, found: {"accuracy": 85.0},
        f"{SHOWN.format('accuracy')}, not 85.0 (accuracy: {SHARE})",
    ),
    (
        "step",
        lambda self, batches: {"accuracy": torch.tensor(85.0)},
        f"{SHOWN.format('accuracy')}, not 85.0 (accuracy: {SHARE})",
    ),
    ("op_scores", lambda self: None, f"{SCORES} (cell), not None"),
    ("op_scores", lambda self: {"cell": torch.zeros(2, 2)}, f"{SCORES}, (6, 5) for 'cell', not one of (2, 2)"),
    ("op_scores", scores(lambda found: found * NAN), f"{SCORES}, not NaN for 'cell'"),
    ("finished", property(lambda self: True), "be a clause that says why, or '' to go on, not True"),
]


@pytest.mark.parametrize(("member", "value", "told"), BROKEN)
def test_a_broken_promise_is_told_in_one_line(member, value, told, tmp_path):
    mine = with_member(member, value)
    named, must = told if isinstance(told, tuple) else (member, told)
    assert message(sn.search, "digits", method=mine, out=tmp_path / "run", **SMALL) == (
        f"{named} of method 'my_methods:Mine' must {must}"
    )


def test_the_mix_is_checked_in_the_first_step_alone():
    supernet, checked = torch.nn.Identity(), Promises(METHODS.named(with_member("finished", "")))
    for step in range(2):
        with checked.first_mix(supernet):
            assert len(supernet._forward_pre_hooks) == (step == 0)
        assert not supernet._forward_pre_hooks


def test_scores_may_be_anything_where_an_edge_has_no_candidate(tmp_path):
    edges = (sn.Edge(1, 0, ["nor_conv_3x3"]), sn.Edge(2, 1, ["nor_conv_3x3", "skip_connect"]))
    uneven = sn.SearchSpace("uneven", {"cell": sn.Cell(edges)}, sn.Stages(("cell", "cell")))
    mine = with_member("op_scores", scores(lambda found: torch.tensor([[1.0, NAN], [0.0, 1.0]])))
    run = sn.search("digits", space=uneven, method=mine, out=tmp_path / "run", **SMALL)
    assert str(run.genotype) == "|nor_conv_3x3~0|+|skip_connect~1|"


def test_a_method_that_has_always_finished_ends_after_its_first_epoch(tmp_path):
    run = sn.search("digits", method=with_member("finished", "it is enough"), out=tmp_path / "run", **SMALL)
    assert run.summary["stopped"]["epoch"] == len(run.metrics) == 1


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> sn.Run:
    return sn.search("digits", method="rsps", out=tmp_path_factory.mktemp("searched") / "run", **SMALL)


PLAIN = " must return plain data: numbers, strings, lists and dicts"
CHOSEN = [
    ("genotype", lambda self: None, ": an architecture is a Genotype, not of type NoneType"),
    ("genotype", lambda self: "|none~0|", ": an architecture is a Genotype, not of type str"),
    ("report", lambda self: None, " must return a dict of plain data, not None"),
    (
        "report",
        lambda self: {"verdict": "x"},
        f" must {OWN}, not 'verdict'",
    ),
    ("report", lambda self: {"a": {1}}, f"{PLAIN}, not {{1}} as 'a'"),
    ("report", lambda self: {"front": []}, f" must {OWN}, not 'front'"),
    ("report", lambda self: {"measured": 1}, f" must {OWN}, not 'measured'"),
    (
        "report",
        lambda self: {"criterion": 3},
        f" must {SHOWN.format('criterion')}, not 3 (criterion: Input should be a valid string)",
    ),
    (
        "report",
        lambda self: {"supernet_accuracy": 90.0, "images": 9},
        f" must {SHOWN.format('supernet_accuracy')}, not 90.0 (supernet_accuracy: {SHARE})",
    ),
    (
        "report",
        lambda self: {"images": "all"},
        f" must {SHOWN.format('images')}, not 'all' (images: Input should be a valid integer)",
    ),
    ("step", lambda self, batches: {"best": torch.zeros(())}, f" must {OWN}, not 'best'"),
    ("end_epoch", lambda self, epoch: {"seconds": 1}, f" must {OWN}, not 'seconds'"),
]


@pytest.mark.parametrize(("member", "value", "told"), CHOSEN)
def test_what_a_selector_breaks_is_told_in_one_line(member, value, told, searched):
    members = {"genotype": Magnitude.genotype, "epochs": int(member in ("step", "end_epoch")), "__module__": "mine"}
    members[member] = value
    mine = type("Mine", (sn.Selector,), members)
    assert message(sn.select, searched, mine, quiet=True) == f"{member} of selector 'mine:Mine'{told}"


@pytest.mark.parametrize("report", [{"supernet_accuracy": 0.9}, {"images": 9}])
def test_an_accuracy_counts_only_with_the_number_of_its_images(report, searched, tmp_path):
    members = {"genotype": Magnitude.genotype, "report": lambda self: report, "__module__": "mine"}
    run = sn.select(searched, type("Half", (sn.Selector,), members), out=tmp_path / "selected", quiet=True)
    assert run.summary["measured"]["of"] == "supernet"
    assert report.items() <= run.summary.items()


def test_an_architecture_of_another_space_is_told(searched):
    other = sn.space("darts").sample(random.Random(0))
    mine = type("Other", (sn.Selector,), {"genotype": lambda self: other, "__module__": "mine"})
    assert message(sn.select, searched, mine, quiet=True).startswith("genotype of selector 'mine:Other': ")
