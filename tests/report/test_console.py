"""Lists on terminals of several widths."""

from __future__ import annotations

import io

import pytest

from supernet.report.console import Console, listing

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
