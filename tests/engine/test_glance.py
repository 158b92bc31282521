"""A run at a glance: its HTML, its data frame, and the table of several runs."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser

import pytest

import supernet as sn

CALL = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}
EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = sn.search("digits", out=tmp_path_factory.mktemp("glance") / "a" / "run", **CALL)
    sn.retrain(run, epochs=1, device="cpu", quiet=True)
    return run


@pytest.fixture
def evil(run, tmp_path):
    """A run whose names and picture hold markup, as one that was received may."""
    folder = tmp_path / "evil"
    folder.mkdir()
    config = (run.path / "config.yaml").read_text().replace("data_name: digits", f"data_name: {json.dumps(EVIL)}")
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_bytes((run.path / "metrics.jsonl").read_bytes())
    (folder / "cell.svg").write_text(f"<svg>{EVIL}</svg>")
    return sn.Run(folder)


def tags(html):
    """Return the elements of a text of HTML, and its plain text; each element that needs an end has one."""
    found, open_ones, texts = set(), [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.add(tag)
            open_ones.extend([tag] * (tag not in ("img", "meta")))

        def handle_endtag(self, tag):
            assert open_ones.pop() == tag

        def handle_data(self, data):
            texts.append(data)

    Parser().feed(html)
    assert open_ones == []
    return found, texts


@pytest.mark.slow
def test_a_notebook_shows_the_cell_the_table_and_the_verdict(run):
    found, texts = tags(run._repr_html_())
    assert found == {"p", "b", "table", "tr", "th", "td", "img"}
    assert {run.verdict, str(run.genotype), "2 of 2", "digits"} <= set(texts)
    assert run.summary["margins"]["text"] in texts
    (table,) = [text for text in texts if "nasbench201 has it" in text]
    assert table.startswith(f"{run.summary['table_entry']['results'][0]['test']:.2f} % on CIFAR-10, ")


def test_names_of_a_received_run_are_text_and_its_picture_cannot_run_scripts(evil):
    found, texts = tags(evil._repr_html_())
    assert EVIL in texts
    assert "script" not in found
    assert "<svg" not in evil._repr_html_()
    (evil.path / "cell.svg").unlink()
    (evil.path / "cell.svg").symlink_to("/etc/hostname")
    assert "<img" not in evil._repr_html_()
    (evil.path / "metrics.jsonl").write_text("nonsense\n")
    assert tags(evil._repr_html_())[1][2].startswith(f"'{evil.path / 'metrics.jsonl'}' is damaged")


def test_the_runs_below_a_folder_are_a_list_with_a_line_each(run, evil, monkeypatch):
    monkeypatch.chdir(run.path.parents[1])
    found = sn.runs("a")
    assert [one.path.name for one in found] == ["run", "quick-0"]
    head, search, retraining = str(found).splitlines()
    assert head.split() == ["run", "task", "data", "space", "by", "seed", "epochs", "accuracy", "verdict"]
    assert search.split()[:7] == ["a/run", "search", "digits", "nasbench201", "single-darts", "0", "2"]
    assert search.split()[-1] == run.verdict.partition(":")[0]
    assert retraining.split()[1:5] == ["retrain", "digits", "nasbench201", "quick"]
    assert "script" not in tags(sn.runs(evil.path)._repr_html_())[0]
    (evil.path / "config.yaml").write_text("[")
    assert "cannot be read as the settings of a run" in str(sn.runs(evil.path))
    with pytest.raises(sn.UserError, match="no such folder: 'b'"):
        sn.runs("b")


def test_a_frame_has_a_row_per_epoch(run):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = run.frame()
    assert list(frame.index) == [1, 2]
    assert frame["table.c10_test"].tolist() == [row["table"]["c10_test"] for row in run.metrics]


def test_a_frame_without_pandas_is_one_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sn.UserError, match=r"^a frame needs pandas, which is not installed: pip install pandas$"):
        run.frame()


def test_a_mistake_is_a_value_error():
    with pytest.raises(ValueError, match="unknown method 'dart'"):
        sn.search("digits", method="dart")
