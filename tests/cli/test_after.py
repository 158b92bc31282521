"""The line with the next command: there is one after every command, and it can be typed."""

from __future__ import annotations

import io

import pytest

from supernet import cli
from supernet.cli.after import _NEXT, show_next
from supernet.report.console import Console


def shown(command: str, run: str | None, *, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, color_system=None)
    show_next(console, command, run)
    return console.file.getvalue()


def test_every_command_is_followed_by_a_command() -> None:
    # A page ends in the next command itself, and a run that is watched goes on elsewhere
    assert set(_NEXT) == set(cli.COMMANDS) - {"completion", "watch", "report"}
    assert {words.split()[0] for words in _NEXT.values()} <= set(cli.COMMANDS)


def test_a_folder_is_quoted_where_the_shell_needs_it() -> None:
    assert shown("search", "runs/x") == "next          supernet retrain runs/x\n"
    assert shown("rank", "my runs/x") == "next          supernet select 'my runs/x' --with best-of-samples\n"
    assert shown("search", "$(rm -r ~)\x1b[2J") == "next          supernet retrain '$(rm -r ~)\\x1b[2J'\n"


def test_a_folder_that_begins_with_a_dash_is_no_option() -> None:
    assert shown("search", "-x") == "next          supernet retrain ./-x\n"
    assert shown("evaluate", "--force/quick-0").startswith("next          supernet predict ./--force/quick-0 IMAGE")


@pytest.mark.parametrize("command", ["predict", "architectures", "spaces", "methods", "selectors", "query"])
def test_lines_that_programs_read_have_no_line_for_people(command: str) -> None:
    assert shown(command, None, terminal=False) == ""
    assert shown(command, None).startswith("next          supernet ")
