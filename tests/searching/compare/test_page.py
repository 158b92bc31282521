"""The page of a comparison: what it says of its runs, finished or not, and what has failed."""

from __future__ import annotations

import shutil
import signal
from html import escape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import supernet as sn
from supernet.cli.compare import compare
from supernet.engine.signals import ENDING, Interrupted
from supernet.report.page import rendered
from supernet.searching.compare import comparing, planning
from supernet.searching.compare.agreement import LEFT_OUT, agreement, found_by
from supernet.searching.compare.cases import LARGEST, cases
from supernet.searching.compare.commands import Job, command
from supernet.searching.compare.config import ComparisonConfig, Record, from_mapping
from supernet.searching.compare.rows import Result, Row, measured_by
from supernet.searching.compare.worker import note
from supernet.spaces import space

EVIL = "<script>alert(1)</script>\"'&"
SMALL = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison: a finished search of darts, one that has begun, one that has failed, and none of random search."""
    out = tmp_path_factory.mktemp("compared") / f"c {EVIL.replace('/', '')}"
    out.mkdir()
    Record(ComparisonConfig("digits", methods=["darts"], seeds=[0, 1, 2]), classes=10).write(out)
    run = sn.search("digits", method="darts", out=out / "darts-0", **SMALL)
    begun = shutil.copytree(run.path, out / "darts-1")
    (begun / "summary.json").unlink()
    note(out, Job("darts-2", "darts", (("darts-2", ()),)), EVIL)
    return sn.Comparison.read(out)


def test_an_unfinished_comparison_has_a_page_of_what_is_there(compared):
    file = compared.report()
    text = file.read_text()
    assert file.name == "report.html"
    assert "unfinished" in text
    assert "1 finished, 0 running, 4 left, 1 failed, of 6" in text
    assert text.count("<polyline") == 0  # all pictures are figures
    assert "<script" not in text
    assert escape(EVIL).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in text
    assert 'href="darts-0/report.html"' in text
    assert text.count("B of the process</td>") == 1
    assert text.count('href="darts') == 1
    for title in ("The table", "Over the seeds", "Accuracy against cost", "Over the epochs", "Cells that were found"):
        assert f"<h2>{title}</h2>" in text
    assert "the baseline" in text
    assert compared.rows[0].results[0].architecture in text
    assert "one seed alone" in text


def test_a_comparison_without_a_finished_run_has_a_page(tmp_path):
    Record(ComparisonConfig("digits", methods=["darts"], seeds=[0])).write(tmp_path)
    text = sn.Comparison.read(tmp_path).report().read_text()
    assert "0 finished, 0 running, 2 left" in text
    assert "<h2>Over the seeds</h2>" not in text


def test_a_comparison_that_ended_before_it_was_planned_is_begun_again(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise sn.UserError("begun")

    def compare():
        sn.compare("digits", methods=["darts"], seeds="0", out=tmp_path, quiet=True)

    monkeypatch.setattr(comparing, "planned", refuse)
    for _ in range(2):
        with pytest.raises(sn.UserError, match=r"^begun$"):
            compare()
        assert (tmp_path / ".lock").exists()
        (tmp_path / ".images").mkdir()  # which a kill leaves
    (tmp_path / ".lock").unlink()  # then it is somebody's folder
    with pytest.raises(sn.UserError, match="exists and is no comparison"):
        compare()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_comparison_while_it_is_planned(number, tmp_path, monkeypatch):
    def measured(*_, **__):
        signal.raise_signal(number)
        pytest.fail("the measurement has gone on")

    monkeypatch.setattr(planning, "measured", measured)
    handler = signal.getsignal(number)
    for _ in range(2):  # the same command begins again
        with pytest.raises(Interrupted) as stopped:
            sn.compare("digits", methods=["darts"], seeds="0", out=tmp_path, quiet=True)
        assert stopped.value.status == 128 + number
        assert signal.getsignal(number) is handler
        assert {file.name for file in tmp_path.iterdir()} == {".lock"}


def test_a_comparison_that_is_stopped_has_a_table_and_a_page(tmp_path, monkeypatch):
    def stop(*_):
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(comparing, "planned", lambda out, record, *_, **__: sn.Comparison(out, record))
    monkeypatch.setattr(comparing, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        sn.compare("digits", methods=["darts"], seeds="0", out=tmp_path, quiet=True)
    assert "0 finished, 0 running, 2 left" in (tmp_path / "report.html").read_text()
    assert "largest cell" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_a_page_of_several_spaces_has_the_edges_and_the_largest_cell_of_each(tmp_path):
    config = ComparisonConfig("digits", methods=["random"], seeds=[0], axes={"space": ["nasbench201", "s2"]})
    small = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}
    for case in cases(config):
        name = case.space(config)
        sn.search("digits", method="random", space=name, out=case.folder(tmp_path, 0), **small)
    Record(config).write(tmp_path)
    found = sn.Comparison.read(tmp_path)
    spaces = {row.label: row.space for row in found.rows}
    assert list(spaces.values()) == ["nasbench201", "s2"] * 2
    assert list(spaces) == [f"{name}, space={each}" for name in ("random", LARGEST) for each in ("nasbench201", "s2")]
    assert all(space(row.space).parse(row.results[0].architecture).space == row.space for row in found.rows)
    head = found.table().partition("\n")[0]
    assert "accuracy, mean" in head
    assert "median" not in head  # which one seed has not
    decided = found.report().read_text().partition("How decided")[2]
    assert [part.count("<svg") for part in decided.split("Cells that were found")] == [2, 2]


def test_a_notebook_shows_the_table_and_the_strips(compared):
    shown = compared._repr_html_()
    assert "largest cell" in shown
    assert shown.count("<svg") == 1
    assert "<script" not in shown


CELLS = [
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
]


def test_agreement_counts_the_choices_of_every_edge():
    home = space("nasbench201")
    found = agreement(home, [home.parse(CELLS[number]) for number in (0, 0, 1)])
    assert found.edges["3<-2"] == {"none": 2, "skip_connect": 1}
    assert (found.unanimous, found.seeds, found.cells) == (5, 3, 2)
    assert found.share == pytest.approx((5 + 2 / 3) / 6)
    assert str(found).startswith("all 3 seeds chose the same on 5 of 6 edges; ")


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_every_seed_chooses_once_on_every_edge(draws, count):
    home = space("darts")
    found = agreement(home, [home.sample(draws) for _ in range(count)])
    assert {sum(edge.values()) for edge in found.edges.values()} == {count}
    kept = sum(edge.total() - edge[LEFT_OUT] for edge in found.edges.values())
    assert kept == count * 16
    assert 1 / 8 <= found.share <= 1


def test_cells_are_counted_over_all_that_searched():
    rows = [
        Row("a", "s1", {seed: Result(text, None, None) for seed, text in enumerate("xyx")}),
        Row("b", "s1", {0: Result("y", None, None), 1: Result("x", None, None)}),
        Row(LARGEST, "s1", {0: Result("z", None, None)}, searched=False),
    ]
    rows.append(Row("c", "s2", {0: Result("x", None, None)}))
    first, second = {"a": [0, 2], "b": [1]}, {"a": [1], "b": [0]}
    assert found_by(rows) == [(("s1", "x"), first), (("s1", "y"), second), (("s2", "x"), {"c": [0]})]


def test_every_retraining_of_the_largest_cell_is_drawn_and_its_place_in_the_table_once():
    row = Row(LARGEST, "nasbench201", {0: Result("z", 93.76, 61.0), 3: Result("z", 93.76, 67.0)}, 1, searched=False)
    assert row.apart("retrained") == {0: 61.0, 3: 67.0}
    assert row.apart("accuracy") == {0: 93.76}


def test_the_command_makes_the_same_comparison(monkeypatch, tmp_path):
    given = {"data": "digits", "methods": ["darts", "darts+perturbation"], "seeds": [0, 3], "baseline": "random"}
    given |= {"axes": {"alpha.lr": [0.1, 0.2]}, "settings": {"epochs": 3, "no_graphs": True}, "budget": "epochs"}
    config, started = from_mapping(given | {"retrain": "quick", "retrainings": 2}, "x"), []

    def start(config, out, **more):
        started.append((config, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(comparing, "start", start)
    with pytest.raises(KeyboardInterrupt):
        compare(command(config, tmp_path)[1:])
    assert started == [(config, str(tmp_path))]


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_escaped(text):
    sections = {"kind": text, "data": text, "state": text, "head": [text], "lines": [[text]], "baseline": text}
    sections |= {
        "notes": text,
        "failed": [(text, text)],
        "asked": [(text, text)],
        "next": text,
        "decided": [(text, text)],
    }
    sections |= {"cells": [{"count": 1, "who": text, "text": text, "picture": ""}], "environment": {text: text}}
    plain = rendered(Path("x"), "comparison.html", dict.fromkeys(sections, "") | {"environment": {}})
    assert rendered(Path("x"), "comparison.html", sections).count("<script") == plain.count("<script")


@pytest.mark.parametrize(("spaces", "field"), [([], "c10_test"), (["nasbench201"], "c10_test"), (["darts"], None)])
def test_a_table_measures_the_architectures_of_its_own_space_alone(spaces, field):
    asked = ComparisonConfig("x.npz", axes={"space": ["nasbench201", *spaces]} if spaces else {})
    assert measured_by(Record(asked, data_name="cifar10", classes=10)) == field
