"""Lists on terminals of several widths."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from supernet.errors import UserError, unknown, visible
from supernet.report.console import Console, _scores, front, line, listing, selections
from supernet.report.progress import Quiet

ROWS = [("a", "the first of two, with a longer line about it", "Somebody, 2019"), ("second", "short", "Else, 2020")]


def listed(width: int, *, terminal: bool, rows: list[tuple[str, str, str]] = ROWS) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    listing(console, rows)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "terminal"), [(20, False), (69, True), (160, True)])
def test_every_row_is_one_line_in_a_wide_terminal_or_outside_a_terminal(width: int, terminal: bool) -> None:
    assert listed(width, terminal=terminal) == [
        "a       the first of two, with a longer line about it  Somebody, 2019",
        "second  short                                          Else, 2020",
    ]


def test_columns_are_wrapped_in_a_narrow_terminal() -> None:
    assert listed(68, terminal=True) == [
        "a       the first of two, with a longer line about it",
        "        Somebody, 2019",
        "second  short",
        "        Else, 2020",
    ]
    assert listed(40, terminal=True)[:3] == [
        "a       the first of two, with a longer",
        "        line about it",
        "        Somebody, 2019",
    ]


def test_an_empty_last_column_needs_no_room() -> None:
    rows = [(name, summary, "") for name, summary, _ in ROWS]
    assert listed(53, terminal=True, rows=rows) == [f"{n:<6}  {s}" for n, s, _ in rows]
    assert len(listed(52, terminal=True, rows=rows)) == 3


@pytest.mark.parametrize(
    ("scores", "criterion", "told"),
    [
        ({}, "accuracy", "the only one"),
        ({"a": 0.5}, "accuracy", "accuracy 50.00 % without it"),
        ({"a": 0.5}, "magnitude", "weight 0.500"),
        ({"a": 0.5, "b": 0.25}, "magnitude", "weight 0.500, others 0.250"),
        ({"a": 0.5, "b": 0.25, "c": 1.0}, "loss", "loss 0.500 without it, 0.250 to 1.000 without another"),
    ],
)
def test_a_decision_is_told_with_the_scores_that_there_are(scores: dict[str, float], criterion: str, told: str) -> None:
    assert _scores({"edge": "1<-0", "chosen": "a", "scores": scores}, criterion) == told


ANY = st.text(st.characters(exclude_categories=()) | st.sampled_from("\x1b\x07\x9b\r\t\u202e\u2066\udc80[31m"))


def assert_harmless(shown: str) -> None:
    """Check that a text holds no control character but the newline, and can be written to a file in UTF-8."""
    left = [letter for letter in shown if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") and letter != "\n"]
    assert not left
    assert not {unicodedata.bidirectional(letter) for letter in shown} & {
        "LRO",
        "RLO",
        "LRE",
        "RLE",
        "LRI",
        "RLI",
        "FSI",
    }
    shown.encode()


@settings(derandomize=True)
@given(ANY)
def test_no_text_steers_the_terminal(text: str) -> None:
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=None)
    line(console, text)
    listing(console, [(text, text, text), ("a", "", "")])
    table = Table(text)
    table.add_row(Text(text))
    console.print(table)
    assert_harmless(console.file.getvalue())
    for error in (UserError(text), unknown("class", text, [text])):
        assert_harmless(str(error))
        assert len(str(error).splitlines()) <= 1


def test_a_message_of_progress_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Quiet().say("run '\x1b]0;mine\x07' has finished")
    assert capsys.readouterr().err == "supernet: run '\\x1b]0;mine\\x07' has finished\n"


@pytest.mark.parametrize("text", ["Füße", "猫", "👨‍👩‍👧", "می‌خواهم", r"a\b"])
def test_text_of_any_language_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_row_stays_a_line_whatever_its_name() -> None:
    assert listed(80, terminal=False, rows=[("a\nb", "\x1b[2J", "")]) == [r"a\nb  \x1b[2J"]


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "Äpfel 猫 ▁"), ("cp1252", "Äpfel \\u732b \\u2581"), ("ascii", "\\xc4pfel \\u732b \\u2581")],
)
def test_letters_that_a_file_lacks_are_written_out(encoding: str, shown: str) -> None:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n"))
    line(console, "Äpfel 猫 ▁")
    console.file.flush()
    assert console.file.buffer.getvalue().decode(encoding) == f"{shown}\n"


def test_no_part_of_a_name_is_taken_for_an_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    line(Console(), "runs/a:cat:b")
    listing(Console(), [(":ship:.png", "ship", "")])
    assert capsys.readouterr().out.split() == ["runs/a:cat:b", ":ship:.png", "ship"]


def test_names_of_folders_in_tables_are_no_markup() -> None:
    console = Console(file=io.StringIO(), width=100)
    config = {"task": "select", "data_name": "x", "classes": []}
    summary = {"params": 1, "verdict": "healthy: all", "table_entry": None}
    runs: Any = [SimpleNamespace(path=Path(f"s/{name}"), config=config, summary=summary) for name in ("a[b]", "[c]")]
    selections(console, runs)
    point = {"run": "s/[red]-1", "cost": 5, "dominated": False, "supernet": 50.0, "retrained": None, "table": None}
    front(console, {"points": [point], "title": "FLOPs", "cost": "flops", "images": 1, "alike": ""})
    shown = console.file.getvalue()
    assert [name for name in ("a[b]", "[c]", "s/[red]-1") if name not in shown] == [], shown
