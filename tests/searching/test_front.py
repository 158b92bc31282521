"""Fronts: a ladder of limits on one search, each selection the best within its limit, and what is told of them."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil

import pytest
import torch

import supernet as sn
from supernet.engine.records import last_accuracy
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.cost.latency import MeasuredLatency
from supernet.models.cost.limits import Limits
from supernet.models.evaluate import Scorer
from supernet.models.network import Network
from supernet.report.console import Console, result, targets
from supernet.report.console import front as show
from supernet.searching import front as fronts
from supernet.searching import front_points
from supernet.searching.front import front
from supernet.searching.front_points import dominated, drawn
from supernet.searching.plan import planned
from supernet.selectors.magnitude import Magnitude
from supernet.spaces import space

TINY = {"images": 60, "epochs": 1, "width": 2, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return sn.search("digits", front=4, out=tmp_path_factory.mktemp("front") / "run", seed=1, **TINY)


def test_each_architecture_is_the_best_within_a_limit_between_the_one_before_and_the_cheapest(searched):
    points, plan = searched.summary["front"]["points"], planned("digits", images=60, epochs=1, width=2, device="cpu")
    scores, least = searched.metrics[-1]["op_scores"], FeasibleSet(plan.space, plan.target, Limits(10**9)).smallest
    cheapest = cost(plan.space, least, plan.target).params
    assert points[0]["run"] == "."
    assert points[0]["cost"] == searched.summary["params"]
    for left, (before, point) in zip((3, 2, 1), itertools.pairwise(points), strict=False):
        selection = Run(searched.path / point["run"])
        limit = int(cheapest * (before["cost"] / cheapest) ** (left / (left + 1)))
        assert selection.config["max_params"] == selection.summary["limits"]["max_params"] == limit
        assert cheapest <= point["cost"] == selection.summary["params"] <= limit < before["cost"]
        assert selection.genotype == FeasibleSet(plan.space, plan.target, Limits(limit)).best(scores)
    assert len(points) == 4 or points[-1]["cost"] == cheapest


def test_it_is_in_summary_page_and_terminal_and_is_not_made_again(searched, capsys):
    found, before = drawn(searched), searched.path.joinpath("summary.json").stat().st_mtime_ns
    assert front(searched, 4, quiet=True) == found["points"]
    assert searched.path.joinpath("summary.json").stat().st_mtime_ns == before
    page = searched.path.joinpath("report.html").read_text()
    show(Console(), found)
    told = capsys.readouterr().out
    for point in found["points"][1:]:
        assert point["run"] in told
        assert point["run"] in page
        assert f"{point['supernet']:.2f}" in told
    assert searched.path.joinpath("front.png").stat().st_size > 1000
    assert "<svg" in searched.path.joinpath("front.svg").read_text()


def test_a_selection_whose_folder_is_gone_is_made_again_and_keeps_the_random_state(searched):
    before = searched.summary["front"]
    shutil.rmtree(searched.path / before["points"][1]["run"])
    state = torch.get_rng_state()
    front(searched, 4, quiet=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert searched.summary["front"] == before
    assert (searched.path / before["points"][1]["run"] / "summary.json").exists()


def test_retrainings_in_the_folders_are_told(searched):
    selection = searched.path / drawn(searched)["points"][1]["run"]
    run = sn.retrain(selection, epochs=1, width=2, depth=1, device="cpu", quiet=True)
    point = drawn(searched)["points"][1]
    assert point["retrained"] == 100 * (run.summary["test_accuracy"] or run.summary["accuracy"])["last"]
    assert list(drawn(searched)["series"]) == ["supernet, validation images", "retrained, test images"]


def test_retrainings_judge_themselves_and_all_points_once_each_has_one(searched, monkeypatch):
    points = drawn(searched)["points"]
    by_supernet = dominated([(point["cost"], point["supernet"]) for point in points])
    accuracies = {searched.path / point["run"]: 90.0 - n for n, point in enumerate(points)}  # the costliest is the best
    monkeypatch.setattr(
        front_points,
        "_retrainings",
        lambda run, _: {(1, "quick"): [accuracies[run.path]]} if run.path in accuracies else {},
    )
    series = list(drawn(searched)["series"].values())
    assert [[out for *_, out in one] for one in series] == [by_supernet, [False] * len(points)]
    assert not any(point["dominated"] for point in drawn(searched)["points"])
    accuracies = dict(list(accuracies.items())[:2])
    assert [point["dominated"] for point in drawn(searched)["points"]] == by_supernet
    accuracies = dict(zip(accuracies, (80.0, 85.0), strict=True))  # the cheaper of the two is better
    assert [out for *_, out in list(drawn(searched)["series"].values())[1]] == [True, False]


@pytest.mark.slow
def test_only_retrainings_alike_and_of_the_architecture_itself_count(searched, tmp_path, capsys):
    points, alike = [tmp_path / "a", tmp_path / "b"], {"width": 2, "depth": 1, "device": "cpu", "quiet": True}
    first, second = (Run(searched.path / point["run"]).genotype for point in drawn(searched)["points"][:2])
    seeds = [sn.retrain(first, data="digits", epochs=1, seed=s, out=points[0] / f"s{s}", **alike) for s in (0, 1)]
    sn.retrain(first, data="digits", epochs=2, out=points[0] / "longer", **alike)
    sn.retrain(first, data="digits", epochs=1, out=points[0] / "wider", **alike | {"width": 3})
    sn.retrain(first, data="digits", recipe="nasbench201", epochs=1, out=points[0] / "recipe", **alike)
    sn.retrain(first, data="digits", epochs=1, label_smoothing=0.1, out=points[0] / "changed", **alike)
    sn.retrain(second, data="digits", epochs=1, out=points[0] / "earlier", **alike)
    other = sn.retrain(second, data="digits", epochs=1, out=points[1] / "s0", **alike)
    found, told = front_points._retrained(
        [front_points._retrainings(Run(at), str(each)) for at, each in zip(points, (first, second), strict=True)]
    )
    means = [[100 * last_accuracy(run.summary) for run in runs] for runs in (seeds, [other])]
    assert found == [pytest.approx(sum(some) / len(some)) for some in means]
    assert told == "by recipe quick, 1 epoch"
    show(Console(), drawn(searched) | {"points": [{**drawn(searched)["points"][0], "retrained": 1.0}], "alike": told})
    assert "of retrainings in these folders by recipe quick, 1 epoch, on test images" in capsys.readouterr().out
    assert front_points._retrained([{}, {}]) == ([None, None], "")


def test_recipes_of_ones_own_are_alike_by_their_settings(searched, tmp_path):
    genotype, more = searched.genotype, {"data": "digits", "device": "cpu", "quiet": True}
    for number, rate in enumerate((0.0, 0.5, 0.0)):
        recipe = sn.Recipe(epochs=1, batch_size=500, width=2, depth=1, dropout=rate)
        sn.retrain(genotype, recipe=recipe, seed=number, out=tmp_path / str(number), **more)
    found = front_points._retrainings(Run(tmp_path), str(genotype))
    assert [(recipe, len(accuracies)) for (_, recipe, *_), accuracies in found.items()] == [("own", 2), ("own", 1)]


def test_accuracies_of_the_table_are_on_the_images_of_the_search(searched, monkeypatch):
    entries = [
        Run(searched.path / point["run"]).summary["table_entry"] for point in searched.summary["front"]["points"]
    ]
    for number, dataset in enumerate(("c10", "c100", "in16")):
        monkeypatch.setattr(front_points, "dataset_of", lambda name, classes, dataset=dataset: dataset)
        tests = [entry["results"][number]["test"] for entry in entries]
        assert [point["table"] for point in drawn(searched)["points"]] == tests
    monkeypatch.undo()
    assert {point["table"] for point in drawn(searched)["points"]} == {None}  # the digits are in no table


def test_a_front_needs_a_finished_search_and_a_number(searched, tmp_path):
    with pytest.raises(UserError, match=r"^a front needs at least 1 architecture, not 0$"):
        front(searched, 0, quiet=True)
    with pytest.raises(UserError, match=r"^a front needs at least 1 architecture, not True$"):
        front(searched, True, quiet=True)  # true in the summary would be damage
    with pytest.raises(UserError, match="no run folder"):
        front(tmp_path, quiet=True)


def test_accuracies_are_with_the_statistics_that_the_selector_takes(tmp_path, monkeypatch):
    norms = []
    monkeypatch.setattr(fronts, "Scorer", lambda *given: norms.append(given[2]) or Scorer(*given))
    given = {"method": "rsps", "select": {"norm": "running", "samples": 4}, "front": 1}
    run = sn.search("digits", out=tmp_path / "run", **given, **TINY)
    selection = Run(run.path / "selections" / "best-of-samples")
    assert norms == ["running"]
    assert run.summary["front"]["points"][0]["supernet"] == selection.summary["supernet_accuracy"]


def test_a_selector_of_ones_own_is_refused_before_the_search(tmp_path):
    class Own(Magnitude):
        pass

    with pytest.raises(UserError, match=r"^there is no front by '.*Own', a selector of your own: search with a pub"):
        sn.search("digits", out=tmp_path / "run", selector=Own, front=2, **TINY)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("points", [-1, "3", 2.5])
def test_what_is_no_number_of_architectures_is_refused_before_the_search(points, tmp_path):
    with pytest.raises(UserError, match=f"^a front needs at least 1 architecture, not {points!r}$"):
        sn.search("digits", front=points, out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_a_space_whose_costs_are_no_sums_has_none_which_is_said_before_the_search(tmp_path):
    with pytest.raises(UserError, match=r"^space 'nao' has no front: .*; search without, or in another space$"):
        sn.search("digits", space="nao", front=2, out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_the_front_that_is_left_rises_with_the_cost():
    rng = random.Random(0)
    for _ in range(200):
        points = [(rng.randrange(6), rng.randrange(6)) for _ in range(rng.randrange(8))]
        kept = sorted({point for point, out in zip(points, dominated(points), strict=True) if not out})
        assert all(first[1] < second[1] for first, second in itertools.pairwise(kept))
        for price, accuracy in points:
            assert any(c <= price and a >= accuracy for c, a in kept)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"method": "random", "target_params": "300k"},
            "method 'random' cannot aim at a target, since it learns no alpha",
        ),
        ({"method": "rsps", "target_flops": "3M"}, "method 'rsps' cannot aim at a target"),
        ({"target_params": "50k"}, "no architecture of space 'nasbench201' .* within the limits: at most 50,000"),
        ({"target_params": "many"}, "target_params takes a number above 0"),
        ({"target_latency_ms": 1.0, "latency": "latency_x_ms"}, "unknown latency 'latency_x_ms'"),
        ({"latency": "latency_pixel3_ms"}, "limits nothing without max_latency_ms"),
    ],
)
def test_targets_that_cannot_be_had(given, said):
    with pytest.raises(UserError, match=said):
        planned("digits", images=60, device="cpu", **given)


@pytest.mark.slow
def test_a_front_begins_with_an_architecture_that_has_a_latency(tmp_path, monkeypatch, capsys):
    given = {"target_latency_ms": 0.6, "latency": "latency_edgetpu_ms", "w": {"lr": 0.0}, "alpha": {"lr": 1e-6}}
    given |= {"method": "darts", "seed": 4, "out": tmp_path / "run"}
    run = sn.search("digits", front=3, **TINY | given | {"epochs": 2})
    assert run.summary["targets"]["latency_edgetpu_ms"]["network"] is None
    multipliers = [row["targets"]["latency_edgetpu_ms"]["multiplier"] for row in run.metrics]
    assert multipliers[0] < multipliers[1]
    assert not any("NaN" in (run.path / name).read_text() for name in ("summary.json", "metrics.jsonl"))
    result(Console(), run)
    told = "0.6 ms (latency_edgetpu_ms): the table has no latency for this network, which counts as above the target"
    assert told in capsys.readouterr().out
    assert told in run.path.joinpath("report.html").read_text()
    summary = run.summary
    summary["targets"]["latency_edgetpu_ms"]["network"] = math.nan  # as earlier versions wrote it
    assert told in targets(summary)[0]
    points = run.summary["front"]["points"]
    assert len(points) == 3
    assert "." not in {point["run"] for point in points}
    costs = [point["cost"] for point in points]
    assert costs == sorted(costs, reverse=True)
    scores, feasible = run.metrics[-1]["op_scores"], FeasibleSet(space("nasbench201"), planned().target, Limits())
    with_latency = Limits(max_latency_ms=1e6, latency="latency_edgetpu_ms")
    best = FeasibleSet(feasible.space, feasible.network_size, with_latency).best(scores)
    assert points[0]["architecture"] == str(best)
    monkeypatch.setattr(fronts, "_within", lambda *_: None)
    with pytest.raises(UserError, match=r"has no front: the table has no latency_edgetpu_ms of an architecture within"):
        front(run, 4, quiet=True)


@pytest.fixture
def clock(monkeypatch):
    """Time every operation as 1 ms and networks by their parameters, each time another; return what was timed."""
    timed, noise = [], random.Random(0)

    def ms(_, build, shape):
        if build.func is not Network:
            return 1.0
        timed.append(str(build.args[1]))
        return 50 * build.args[2].width + len(str(build.args[1]).replace("none", "")) * noise.uniform(0.97, 1.03)

    monkeypatch.setattr(MeasuredLatency, "_timed", ms)
    return timed


def test_a_network_has_one_latency_in_a_front(tmp_path, clock):
    run = sn.search("digits", front=4, max_latency_ms=10_000.0, out=tmp_path / "run", **TINY)
    points = run.summary["front"]["points"]
    assert len(points) > 1
    assert len(clock) == len(set(clock))
    for point in points:
        selection = run if point["run"] == "." else Run(run.path / point["run"])
        assert point["cost"] == selection.summary["latency"]["ms"] <= selection.config["max_latency_ms"]
    clock.clear()
    run.write("summary.json", json.dumps({key: value for key, value in run.summary.items() if key != "front"}))
    front(run, 4, quiet=True)  # as after a stop: what the folders have was not measured again
    assert run.summary["front"]["points"] == points
    assert not {*clock} & {point["architecture"] for point in points}


def test_a_front_ends_where_the_cheapest_operations_make_a_slower_network(tmp_path, monkeypatch):
    def ms(_, build, shape):
        return 5.0 if build.func is Network and "conv" in str(build.args[1]) else 10.0

    monkeypatch.setattr(MeasuredLatency, "_timed", ms)
    run = sn.search("digits", out=tmp_path / "run", target_latency_ms=20.0, **TINY)
    assert "conv" in run.summary["architecture"]
    assert [point["run"] for point in front(run, 3, quiet=True)] == ["."]


def test_a_search_tells_its_target(tmp_path, capsys):
    run = sn.search("digits", target_params="200k", out=tmp_path / "run", **TINY)
    found = run.summary["targets"]["params"]
    assert (found["target"], found["network"]) == (200_000, run.summary["params"])
    assert found["expected"] == run.metrics[-1]["targets"]["params"]["expected"]
    assert run.config["target_params"] == 200_000
    assert sn.search("digits", out=tmp_path / "free", **TINY).config["target_params"] is None
    assert json.loads(run.path.joinpath("summary.json").read_text())["targets"]
