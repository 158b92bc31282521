"""What a comparison compares: seeds, axes, budgets and files, and their mistakes."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supernet.errors import UserError, names_given
from supernet.searching import plan
from supernet.searching.compare import comparing
from supernet.searching.compare.cases import LARGEST, Case, cases, largest_cases, search_config
from supernet.searching.compare.commands import command, flags, going_on, jobs
from supernet.searching.compare.config import (
    ComparisonConfig,
    Record,
    axis_of,
    budget_of,
    check_published,
    load,
    read,
    scalar,
    seeds_of,
)
from supernet.searching.compare.joining import narrowed, united
from supernet.spaces.nasbench201 import NASBENCH201

FILES = sorted((Path(__file__).resolve().parents[3] / "benchmarks").glob("*.yaml"))


def config(**given):
    return ComparisonConfig(**{"methods": ["darts"], "seeds": [0, 1]} | given)


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        *(("0-4", [0, 1, 2, 3, 4]), ("7,0-1,7", [7, 0, 1]), (3, [3]), ([2, 2, 1], [2, 1]), (range(2), [0, 1])),
        *((np.arange(2), [0, 1]), (np.int64(3), [3]), ((seed for seed in (2, 1)), [2, 1])),
    ],
)
def test_seeds_are_numbers_and_spans(given, seeds):
    found = seeds_of(given)
    assert (found, {type(seed) for seed in found}) == (seeds, {int})


@pytest.mark.parametrize("given", ["", "x", "4-2", "1,,2", "0-99999999", None, [0.5], [True]])
def test_no_other_seeds_are_taken(given):
    with pytest.raises(UserError, match="seeds are numbers and spans"):
        seeds_of(given)


def test_methods_are_a_list_or_a_text_in_every_place(call, tmp_path):
    assert names_given("methods", ["darts"]) == names_given("methods", "darts,") == ["darts"]
    (tmp_path / "c.yaml").write_text("methods: darts, random\n")
    assert read(tmp_path / "c.yaml").methods == ["darts", "random"]
    with pytest.raises(UserError, match="'epoch'"):  # as all of the methods are known
        comparing.compare(methods="darts, random", epoch=1)
    assert "unknown setting 'epoch'" in call("compare", "digits", "--methods", "darts, random", "--epoch", "1")[2]


def test_a_typed_value_is_a_number_where_it_reads_as_one():
    typed = ["3", "1e-3", "true", "None", "300k", "sgd"]
    assert [scalar(text) for text in typed] == [3, 0.001, True, None, "300k", "sgd"]
    assert axis_of("alpha.weight-decay=0,1e-3") == ("alpha.weight_decay", ["0", "1e-3"])


def test_a_budget_has_a_unit():
    assert [budget_of(text) for text in ("passes", "epochs", "passes=20", "seconds=1.5", "passes=1.5e+06")] == [
        ("passes", None),
        ("epochs", None),
        ("passes", 20),
        ("seconds", 1.5),
        ("passes", 1_500_000),
    ]
    for text in ("", "passes=", "passes=-1", "passes=0", "hours=3", "epochs=3"):
        with pytest.raises(UserError, match="takes passes, passes=N"):
            budget_of(text)


def test_a_file_with_an_unknown_key_names_the_nearest(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("data: digits\nmetods: [darts]\n")
    with pytest.raises(UserError, match=r"unknown key of '.*study.yaml' 'metods'; did you mean 'methods'\?"):
        read(file)
    file.write_text("methods: [darts]\nseeds: 0-2\naxes:\n  alpha.lr: [0.1, 0.2]\nsettings: {epochs: 3}\n")
    assert read(file) == config(seeds=[0, 1, 2], axes={"alpha.lr": [0.1, 0.2]}, settings={"epochs": 3})
    file.write_text("methods: 3\n")
    with pytest.raises(UserError, match="setting methods"):
        read(file)
    file.write_text("methods: [darts]\nsettings:\n")
    with pytest.raises(UserError, match="setting settings takes a mapping, not None"):
        read(file)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = Record(config(baseline="darts"), data_name="cifar10", classes=10, measured={"darts": {"passes": 2.0}})
    record.write(tmp_path)
    assert load(tmp_path) == record
    assert load(tmp_path / "no") is None
    earlier = {"config": {"data": "x/cifar10.npz"}, "channels": 3, "classes": 10, "measured": {}}
    (tmp_path / "comparison.json").write_text(json.dumps(earlier))
    assert load(tmp_path).data_name == "cifar10"
    (tmp_path / "comparison.json").write_text(json.dumps({"config": {"sedes": 1}}))
    with pytest.raises(UserError, match="is damaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "Input should be an object"),
        ("{}", "config: Field required"),
        ('{"config": null}', "config: Input should be an object"),
        ('{"config": {}, "measured": []}', "setting measured takes a mapping, not []"),
        ("{", "Expecting property name"),
    ],
)
def test_a_damaged_record_is_told_by_what_it_lacks(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert f"comparison.json' is damaged ({reason}" in str(caught.value)
    assert str(caught.value).endswith("): give another place with --out")


def test_what_is_new_is_added():
    there = config(axes={"alpha.lr": [0.1]}, budget="passes=8")
    now = config(methods=["single-darts"], seeds=[1, 2], axes={"alpha.lr": [0.2]}, retrain="quick")
    both = united(there, now, "c")
    assert (both.methods, both.seeds) == (["darts", "single-darts"], [0, 1, 2])
    assert (both.axes, both.budget, both.retrain) == ({"alpha.lr": [0.1, 0.2]}, "passes=8", "quick")
    for other in ({"data": "x.npz"}, {"settings": {"epochs": 3}}, {"budget": "passes=9"}):
        with pytest.raises(UserError, match="was made with"):
            united(there, config(**other), "c")


def test_a_setting_joins_only_where_it_changes_no_search_that_is_there():
    there = config(methods=["enas"], settings={"epochs": 3, "controller_lr": 0.1})
    now = config(methods=["darts+perturbation"], settings={"epochs": 3, "alpha.lr": 0.2, "select.epochs": 1})
    both = united(there, now, "c")
    assert both.settings == {"epochs": 3, "controller_lr": 0.1, "alpha.lr": 0.2, "select.epochs": 1}
    united(both, there, "c")  # the command of before goes on
    for given in ({}, {"epochs": 3, "controller_lr": 0.2}, {"epochs": 3}, {"controller_lr": 0.1}, {"epochs": None}):
        with pytest.raises(UserError, match="was made with other settings"):
            united(there, config(methods=["enas"], settings=given), "c")
    with pytest.raises(UserError, match=r"settings \(\{\} there, {'width': 4} now\)"):
        united(there, replace(now, settings=now.settings | {"width": 4}), "c")  # would change random search


def test_an_axis_joins_only_where_it_changes_no_row_that_is_there():
    there = config(methods=["rsps"])
    both = united(there, config(methods=["darts"], axes={"alpha.lr": [0.1]}), "c")
    assert (both.methods, both.axes) == (["rsps", "darts"], {"alpha.lr": [0.1]})
    assert united(both, there, "c").axes == both.axes  # the command of before goes on
    for first, name in ((["rsps"], "width"), (["darts"], "alpha.lr"), (["darts+perturbation"], "select.tune_epochs")):
        now = config(methods=["darts+perturbation"], axes={name: [2, 4]})
        with pytest.raises(UserError, match=f"'c' was made without axis {name}: give another place"):
            united(config(methods=first), now, "c")


def test_fewer_methods_leave_the_settings_of_the_others():
    whole = config(
        methods=["darts", "enas"], settings={"epochs": 3, "controller_lr": 0.1}, axes={"alpha.lr": [1, 2], "width": [4]}
    )
    assert narrowed(whole, ["enas"]) == config(
        methods=["enas"], settings={"epochs": 3, "controller_lr": 0.1}, axes={"width": [4]}
    )
    assert narrowed(whole, ["darts", "enas"]) == whole
    assert len(cases(narrowed(whole, ["rsps"]))) == 2
    named = replace(whole, baseline="darts, alpha.lr=1, width=4")
    assert narrowed(named, ["enas"]).baseline is None
    assert narrowed(named, ["darts"]).baseline == "darts, alpha.lr=1, width=4"
    assert narrowed(replace(whole, baseline="random, width=4"), ["enas"]).baseline == "random, width=4"
    with pytest.raises(UserError, match="unknown baseline 'drats'"):
        cases(narrowed(replace(whole, baseline="drats"), ["enas"]))
    with pytest.raises(UserError, match="unknown setting 'epohcs'"):
        cases(narrowed(config(settings={"epohcs": 3}), ["rsps"]))


def test_a_file_chooses_no_code_of_its_own():
    for given in ({"methods": ["evil:Method"]}, {"methods": ["darts+evil:S"]}, {"settings": {"space": "evil:SPACE"}}):
        with pytest.raises(UserError, match="is one of your own"):
            check_published(config(**given))
        check_published(config(**given), config(**given))


# --- cases and their commands


def test_random_search_is_always_in_and_an_axis_is_for_those_that_have_it():
    found = cases(config(methods=["darts", "darts+perturbation"], axes={"alpha.lr": [0.1, 0.2]}))
    assert [case.label for case in found] == [
        "darts, alpha.lr=0.1",
        "darts, alpha.lr=0.2",
        "darts+perturbation, alpha.lr=0.1",
        "darts+perturbation, alpha.lr=0.2",
        "random",
    ]
    assert [case.label for case in cases(config(methods=["random"]))] == ["random"]


def test_targets_are_of_the_methods_that_aim_at_them():
    latency, axes = {"latency": "latency_raspi4_ms"}, {"target_latency_ms": [5.0, 9.0]}
    found = cases(config(methods=["enas"], axes=axes, settings=latency))
    assert [case.label for case in found] == ["enas, target_latency_ms=5.0", "enas, target_latency_ms=9.0", "random"]
    given = config(methods=["rsps", "darts"], settings={"target_params": "300k", "max_latency_ms": 9.0, **latency})
    kept = {"max_latency_ms": 9.0, **latency}
    assert [case.settings(given) for case in cases(given)] == [kept, given.settings, kept]
    with pytest.raises(UserError, match="unknown setting 'target_params'"):
        cases(config(methods=["rsps"], settings={"target_params": "300k"}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ["dart"]}, "unknown method 'dart'; did you mean 'darts'"),
        ({"methods": ["darts+perturbtion"]}, "unknown selector 'perturbtion'"),
        ({"axes": {"alpa.lr": [1]}}, "unknown setting 'alpa.lr'; did you mean 'alpha.lr'"),
        ({"settings": {"seed": 1}}, "'seed' is no setting of a comparison's searches"),
        ({"settings": {"epochs": 0}}, "setting epochs must be at least 1, not 0"),
        ({"settings": {"alpha.lr": -1.0}}, "alpha.lr must be at least 0"),
        ({"baseline": "dart"}, "unknown baseline 'dart'; did you mean 'darts'"),
        ({"settings": {"protocol": "smal"}}, "unknown protocol 'smal'"),
    ],
)
def test_mistakes_are_told_before_anything_runs(given, message):
    with pytest.raises(UserError, match=message):
        cases(config(**given))


def test_a_search_is_shared_by_the_selectors_that_read_it(tmp_path):
    asked = config(
        methods=["darts", "darts+perturbation"],
        seeds=[3],
        settings={"images": 100, "select.tune_epochs": 1, "norm_track": False, "device": "cuda:1"},
        retrain="quick",
    )
    made = jobs(asked, {"darts": 7}, tmp_path, {"nasbench201": "some cell"})
    assert [job.name for job in made] == ["darts-3", "random-3", "largest-3"]
    assert [job.case for job in made] == ["darts", "random", LARGEST]
    steps = dict(made[0].steps)
    assert list(steps) == [
        "darts-3",
        "darts-3/quick-3",
        "darts-3/selections/perturbation",
        "darts-3/selections/perturbation/quick-3",
    ]
    search = " ".join(steps["darts-3"])
    assert search.startswith("search digits --method darts --images 100 --no-norm-track --device cuda --epochs 7")
    assert "--tune-epochs 1" in " ".join(steps["darts-3/selections/perturbation"])
    assert made[2].steps[0][1][:2] == ("retrain", "some cell")


def test_a_folder_that_begins_with_a_dash_is_no_option_of_its_commands():
    asked, out = config(methods=["darts+perturbation"], retrain="quick", settings={"images": 100}), Path("-x")
    made = jobs(asked, {}, out, {"nasbench201": "cell"})
    words = [word for job in made for _, step in job.steps for word in step]
    assert not [word for word in [*words, *command(asked, out), *going_on(asked, out)] if word.startswith("-x")]


def test_every_space_of_an_axis_has_its_own_largest_cell(tmp_path):
    asked = config(axes={"space": ["s2", "mine:SPACE"]}, seeds=[0, 1], retrain="quick")
    assert [case.space(asked) for case in largest_cases(asked)] == ["s2", "mine:SPACE"]
    made = jobs(replace(asked, axes={"space": ["s2", "s4"]}), {}, tmp_path, {"s2": "a cell", "s4": "another"})[-4:]
    assert [(job.name, job.case) for job in made] == [
        ("largest-s2-0", "largest cell, space=s2"),
        ("largest-s2-1", "largest cell, space=s2"),
        ("largest-s4-0", "largest cell, space=s4"),
        ("largest-s4-1", "largest cell, space=s4"),
    ]
    assert made[3].steps[0][0] == "largest-s4/quick-1"
    words = " ".join(made[3].steps[0][1])
    assert words.startswith("retrain another --recipe quick --seed 1 --data digits --space s4 ")
    assert [case.space(config(settings={"space": "s3"})) for case in largest_cases(config())] == ["s3"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ""),
        ({"protocol": "medium"}, "--image-size 16"),
        ({"mirror": False, "stream": True, "skip_broken": True}, "--mirror False --skip-broken --stream"),
        ({"max_params": "400k", "stem": 1}, "--stem 1 --width 16 --depth 5"),
        ({"target_flops": "3M"}, "--width 16 --depth 5"),
        ({"target_width": 4}, "--width 4 --depth 5"),
    ],
)
def test_the_largest_cell_is_trained_as_the_cells_that_it_stands_beside(tmp_path, settings, words):
    asked = config(methods=["darts"], settings=settings, retrain="quick")
    *_, largest = jobs(asked, {}, tmp_path, {"nasbench201": "cell"})
    typed = largest.steps[0][1]
    assert " ".join(typed[typed.index("nasbench201") + 1 : typed.index("--out")]) == words


def retrained(job):
    """Return the folder, the seed, and the width and depth if there are any, of every retraining of a job."""
    found = []
    for folder, words in job.steps:
        if words[0] == "retrain":
            options = ("--seed", "--width", "--depth")
            found.append((folder, *(words[words.index(name) + 1] for name in options if name in words)))
    return found


def test_all_rows_are_retrained_at_one_size(tmp_path):
    """Targets are of the methods that aim at them, and decide on the size of all rows beside them."""
    asked = config(methods=["rsps", "darts"], seeds=[0], settings={"target_params": "400k"}, retrain="quick")
    made = jobs(asked, {}, tmp_path, {"nasbench201": "cell"})
    assert [job.name for job in made] == ["rsps-0", "darts-0", "random-0", "largest-0"]
    assert {found[1:] for job in made for found in retrained(job)} == {("0", "16", "5")}
    asked = config(methods=["rsps"], axes={"max_params": [None, "400k"]}, seeds=[0], retrain="quick")
    made = jobs(asked, {}, tmp_path, {"nasbench201": "cell"})
    assert {found[1:] for job in made for found in retrained(job)} == {("0", "16", "5")}
    asked = config(methods=["rsps"], axes={"target_width": [4, 8]}, seeds=[0], retrain="quick")
    assert [retrained(job)[0][2] for job in jobs(asked, {}, tmp_path, {"nasbench201": "cell"})] == [
        *("4", "8"),
        *("4", "8"),
        "4",
    ]
    asked = config(methods=["rsps"], seeds=[0], retrain="quick")
    assert {found[1:] for job in jobs(asked, {}, tmp_path, {"nasbench201": "cell"}) for found in retrained(job)} == {
        ("0",)
    }


def test_no_two_retrainings_have_one_seed(tmp_path):
    """Searches that end at one cell would otherwise have a spread of nothing."""
    asked = config(methods=["rsps"], seeds=[0, 1], retrain="quick", retrainings=2)
    made = [job for job in jobs(asked, {}, tmp_path, {"nasbench201": "cell"}) if not job.name.startswith("random")]
    assert [retrained(job) for job in made] == [
        [("rsps-0/quick-0", "0"), ("rsps-0/quick-10000", "10000")],
        [("rsps-1/quick-1", "1"), ("rsps-1/quick-10001", "10001")],
        [("largest/quick-0", "0"), ("largest/quick-10000", "10000")],
        [("largest/quick-1", "1"), ("largest/quick-10001", "10001")],
    ]


def test_an_axis_of_the_selector_makes_rows(tmp_path):
    """One that the search has not leaves the search as it is; one that both have changes both."""
    asked = config(methods=["darts", "darts+perturbation"], seeds=[0], axes={"select.tune_epochs": [1, 2]})
    assert [case.label for case in cases(asked)] == [
        "darts",
        "darts+perturbation, select.tune_epochs=1",
        "darts+perturbation, select.tune_epochs=2",
        "random",
    ]
    steps = dict(jobs(asked, {}, tmp_path)[0].steps)
    assert len(steps) == 3
    assert "--tune-epochs 1 " in " ".join(steps["darts-0/selections/perturbation-select.tune_epochs-1"])
    assert "--tune-epochs 2 " in " ".join(steps["darts-0/selections/perturbation-select.tune_epochs-2"])

    asked = config(methods=["rsps+evolution"], seeds=[0], axes={"select.samples": [10, 50]})
    steps = dict(jobs(asked, {}, tmp_path)[1].steps)
    search, selection = steps.values()
    assert "--select.samples 50 " in " ".join(search)
    assert "--samples 50 " in " ".join(selection)
    with pytest.raises(UserError, match="tune_epochs must be at least"):
        cases(config(methods=["darts+perturbation"], axes={"select.tune_epochs": [-1]}))


def test_where_the_selector_is_an_axis_a_setting_applies_to_the_selectors_that_have_it(tmp_path):
    axes = {"selector": ["magnitude", "best-of-samples"]}
    asked = config(methods=["darts"], seeds=[0], axes=axes, settings={"select.samples": 3})
    of_magnitude, of_samples = (" ".join(job.steps[0][1]) for job in jobs(asked, {}, tmp_path)[:2])
    assert ("--select.samples 3" in of_magnitude, "--select.samples 3" in of_samples) == (False, True)
    with pytest.raises(UserError, match=r"'select.samples' is no axis beside an axis of selectors"):
        cases(config(methods=["darts"], axes={**axes, "select.samples": [3, 5]}))
    with pytest.raises(UserError, match=r"unknown setting 'select.tune_epochs'"):
        cases(config(methods=["darts"], axes=axes, settings={"select.tune_epochs": 1}))


def test_spaces_selectors_and_methods_of_ones_own_are_typed_for_every_command(call, monkeypatch):
    own = "parts_for_test_config"
    Path(f"{own}.py").write_text("from supernet.selectors.magnitude import Magnitude as Own\n")
    Path(f"{own}_space.py").write_text("from supernet.spaces.nasbench201 import NASBENCH201 as SPACE\n")
    asked, words = [], ["--axis", f"space=nasbench201,{own}_space:SPACE", "--selector", f"{own}:Own"]

    def start(found, out, **more):
        asked.extend(jobs(found, {}, Path("c")))
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    assert call("compare", "digits", "--methods", "darts+magnitude", "--seeds", "0", *words)[2] == "supernet: begun\n"
    assert "--space" not in asked[0].steps[1][1]
    assert asked[1].steps[1][1][4:6] == ("--space", f"{own}_space:SPACE")


def test_a_file_is_run_for_some_of_its_methods(call, monkeypatch):
    Path("study.yaml").write_text("methods: [enas, darts]\nsettings: {epochs: 3, controller_lr: 0.1, alpha.lr: 0.2}\n")
    asked = []

    def start(found, out, **more):
        cases(found)
        asked.append((found.methods, found.settings))
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    assert call("compare", "study.yaml", "--methods", "darts")[2] == "supernet: begun\n"
    assert call("compare", "study.yaml", "--methods", "enas", "--epochs", "2")[2] == "supernet: begun\n"
    assert asked == [
        (["darts"], {"epochs": 3, "alpha.lr": 0.2}),
        (["enas"], {"epochs": 2, "controller_lr": 0.1}),
    ]
    words = ("--methods", "enas", "--alpha.lr", "0.3")  # what is typed applies, or is a mistake
    assert call("compare", "study.yaml", *words)[2].startswith("supernet: unknown setting 'alpha.lr'")


def test_a_folder_with_another_place_is_a_new_comparison_with_what_is_typed(call, monkeypatch):
    Path("c").mkdir()
    settings = {"epochs": 3, "controller_lr": 0.1}
    Record(config(methods=["enas", "darts"], settings=settings, budget="passes=9")).write(Path("c"))
    asked = []

    def start(found, out, **more):
        asked.append((found.methods, found.settings, found.axes, found.budget, str(out)))
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    typed = ("--methods", "darts", "--axis", "epochs=1,2", "--budget", "epochs")
    assert call("compare", "c", *typed, "--out", "new")[2] == "supernet: begun\n"
    assert call("compare", "c", "--width", "2", "--out", "./c")[2] == "supernet: begun\n"
    assert asked == [
        (["darts"], {}, {"epochs": [1, 2]}, "epochs", "new"),
        (["enas", "darts"], settings | {"width": 2}, {}, "passes=9", "c"),
    ]
    assert "'new' is no comparison" in call("compare", "c", "--out", "new", "--status")[2]


def test_a_typed_axis_takes_the_place_of_a_files_setting_and_a_typed_setting_that_of_its_axis(call, monkeypatch):
    Path("study.yaml").write_text("methods: [darts]\nsettings: {epochs: 3, width: 4}\naxes: {alpha.lr: [0.1, 0.2]}\n")
    asked = []

    def start(found, out, **more):
        asked.append(found)
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    call("compare", "study.yaml", "--alpha.lr", "0.3", "--axis", "width=2,8")
    assert (asked[0].settings, asked[0].axes) == ({"epochs": 3, "alpha.lr": 0.3}, {"width": [2, 8]})


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (
            "--methods p-darts,darts --deeper 0 2 --candidates 3 --dropout 0 0.2",
            {"deeper": [0, 2], "candidates": [3], "dropout": [0, 0.2]},
        ),
        ("--methods cdarts --deeper 2", {"deeper": 2}),
        (
            "--methods p-darts --candidates=3 --deeper 0 2 --dropout 0 0",
            {"candidates": [3], "deeper": [0, 2], "dropout": [0, 0]},
        ),
        ("--checkpointing", {"checkpointing": True}),
        ("--no-norm-track --w.nesterov --epochs 2", {"norm_track": False, "w.nesterov": True, "epochs": 2}),
        ("--no-graphs", {"no_graphs": True}),
        ("--mirror True", {"mirror": True}),
        ("--norm-affine=true", {"norm_affine": True}),
    ],
)
def test_a_typed_setting_has_as_many_values_as_in_a_search(call, monkeypatch, words, settings):
    asked = []

    def start(found, out, **more):
        cases(found)
        asked.append((found.data, found.settings))
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    after = [] if "deeper 0" in words else [[*words.split(), "photos"]]  # of several values it would be one
    for typed in (["photos", *words.split()], *after):
        assert call("compare", *typed)[2] == "supernet: begun\n"
    assert asked == [("photos", settings)] * (1 + len(after))


def test_values_of_an_axis_may_be_several_numbers_each(call, monkeypatch):
    asked = []

    def start(found, out, **more):
        asked.append(found)
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    words = ("--methods", "p-darts", "--candidates=3", "--dropout", "0", "0", "--axis", "deeper=0 2,0 4")
    call("compare", "digits", *words)
    call(*command(asked[0], Path("c")))
    assert [found.axes for found in asked] == [{"deeper": [[0, 2], [0, 4]]}] * 2
    found = cases(asked[0])
    assert len({*found}) == len(found) == 3  # with random


def test_one_number_of_a_setting_of_several_is_a_list_in_an_axis(call, monkeypatch):
    asked = []
    monkeypatch.setattr(comparing, "start", lambda found, *_, **__: asked.append(found.axes))
    for methods in ("p-darts", "cdarts"):
        with contextlib.suppress(AttributeError):  # there is no comparison to show
            call("compare", "digits", "--methods", methods, "--axis", "deeper=1,2")
    assert asked == [{"deeper": [[1], [2]]}, {"deeper": [1, 2]}]


def test_a_setting_is_no_axis_as_well_and_an_axis_has_each_value_once(call):
    typed = ("compare", "digits", "--axis", "width=2,4")
    assert call(*typed, "--width", "8")[2] == "supernet: 'width' is an axis and a setting: give it as one of them\n"
    assert "axis 'width' has the value 2 twice: give each" in call("compare", "digits", "--axis", "width=2,4,2")[2]
    twice = call("compare", "digits", "--axis", "width=2", "--axis", "width=4")
    assert twice[2] == "supernet: axis 'width' is given twice: give all its values in one --axis\n"
    assert not Path("comparisons").exists()


def test_retrainings_without_a_recipe_are_a_mistake(tmp_path):
    Record(config()).write(tmp_path)
    for out in (tmp_path, tmp_path / "new"):
        with pytest.raises(UserError, match="--retrainings needs a recipe"):
            comparing.compare(methods=["darts"], retrainings=2, out=out)


def test_a_folder_with_a_method_of_ones_own_is_opened_by_whoever_types_it(call, monkeypatch):
    own = "method_for_test_config"
    Path(f"{own}.py").write_text("from supernet.methods.differentiable import Differentiable as Own\n")
    Path("c").mkdir()
    Record(config(methods=[f"{own}:Own"])).write(Path("c"))
    refused = f"supernet: method '{own}:Own' is one of your own: give it, too, as --methods {own}:Own, or methods= in"
    asked, typed = [], ("--methods", f"{own}:Own")

    def start(found, out, **more):
        asked.append((found.methods, str(out)))
        raise UserError("begun")

    monkeypatch.setattr(comparing, "start", start)
    for words in (["c"], ["c", "--status"], ["digits", "--out", "c", "--status"]):
        assert call("compare", *words)[2].startswith(refused)
    assert call("compare", "c", *typed)[2] == "supernet: begun\n"
    assert asked == [([f"{own}:Own"], "c")]
    for reader in ("report", "watch"):  # which take no --methods
        status, out, err = call(reader, "c")
        assert (status, out, err.startswith(refused)) == (2, "", True)
        assert err.endswith(", to supernet compare c, which writes the page, and with --status tells what has run\n")
    for words in (["c"], ["digits", "--out", "c"]):
        assert call("compare", *words, *typed, "--status") == (0, "0 finished, 0 running, 4 left, 0 failed, of 4\n", "")


def test_settings_are_typed_as_flags():
    assert flags({"deeper": [0, 2]}) == ["--deeper", "0", "2"]
    values = {"w.weight_decay": 1e-3, "skip_broken": True, "w.nesterov": False, "max_params": "300k"}
    assert flags(values) == ["--w.weight-decay", "0.001", "--skip-broken", "--w.no-nesterov", "--max-params", "300k"]
    usual = {"mirror": None, "stream": False, "w.nesterov": True}
    given = {"mirror": False, "stream": False, "w.nesterov": False}
    assert flags(given, usual) == ["--mirror", "False", "--w.no-nesterov"]


@pytest.mark.parametrize(
    "settings",
    [
        {"mirror": False, "norm_affine": False},
        {"mirror": True, "norm_affine": True},
        {"protocol": "nasbench201"},
        {"deeper": [0, 1], "candidates": [3], "dropout": [0.0, 0.2]},
    ],
)
def test_a_search_understands_its_settings(settings, call, monkeypatch, tmp_path):
    started = []

    def begin(found, *_):
        started.append(found)
        raise UserError("begun")

    monkeypatch.setattr(plan, "plan", begin)
    asked = config(settings=settings, methods=["p-darts" if "deeper" in settings else "darts"])
    status, _, error = call(*jobs(asked, {}, tmp_path)[0].steps[0][1])
    assert (status, error) == (2, "supernet: begun\n")
    assert started[0].to_dict() == search_config(cases(asked)[0], asked).to_dict()


def test_the_folder_of_a_case_is_a_name_that_any_system_takes(tmp_path):
    assert Case("darts", (("alpha.lr", 0.1),)).folder(tmp_path, 2).name == "darts-alpha.lr-0.1-2"
    assert Case("my.module:Method").folder(tmp_path, 0).name == "my.module.method-0"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_benchmarks_files_are_comparisons(file):
    found = read(file)
    check_published(found)
    assert {case.method for case in cases(found)} == {*(name.partition("+")[0] for name in found.methods), "random"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"space": NASBENCH201}, r"^setting space of a comparison takes text, .* as module:NAME, not SearchSpace"),
        ({"axes": {"width": []}}, "^axis 'width' has no value$"),
        ({"axes": {"width": 3}}, "^setting axes: .* valid list, not 3$"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        comparing.compare("digits", out=tmp_path / "c", **given)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"methods": ["darts"], "settings": {"width": 2}}, ""),
        ({"methods": ["darts", "mine:Credit"]}, " --methods darts,mine:Credit"),
        ({"methods": ["darts+mine:Best"]}, " --methods darts+mine:Best"),
        ({"methods": ["darts"], "settings": {"space": "mine:chain"}}, " --space mine:chain"),
        ({"methods": ["darts"], "axes": {"space": ["darts", "mine:chain"]}}, " --axis space=darts,mine:chain"),
    ],
)
def test_the_command_that_goes_on_names_code_of_a_users_own_again(given, typed):
    assert " ".join(going_on(ComparisonConfig("digits", **given), Path("c"))) == f"compare c{typed}"


def test_a_row_of_values_is_the_same_in_the_file(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(comparing, "start", lambda found, *_, **__: asked.append(found))
    comparing.compare("digits", methods=["p-darts"], axes={"width": range(2, 4)}, deeper=(0, 1))
    Record(*asked).write(tmp_path)
    assert load(tmp_path).config == asked[0]
