"""The pages of --help: everyday options in groups, all of them with --help-all, as wide as the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from conftest import Call
from retrained import record
from supernet import cli
from supernet.cli.help import entries
from supernet.searching.config import configured

TITLES = ["arguments", "data", "space and size", "method", "schedule and optimizer", "cost"]
TITLES += ["further settings", "running", "output"]


def titles(page: str) -> list[str]:
    return re.findall(r"^([a-z][a-z ]+)$", page, re.MULTILINE)


def flags(page: str) -> list[str]:
    return re.findall(r"^  (--[\w.-]+)", page, re.MULTILINE)


def test_help_shows_the_everyday_options_and_says_how_to_see_all(call: Call) -> None:
    _, page, _ = call("search", "--help")
    _, every, _ = call("search", "--help-all")
    assert titles(page) == [title for title in TITLES if title != "further settings"]
    assert titles(every) == TITLES
    assert page.splitlines()[-1] == f"supernet search --help-all shows all {len(flags(every))} options."
    assert flags(page)[:6] == ["--images", "--image-size", "--validation-share", "--space", "--width", "--depth"]
    assert len(flags(page)) < len(flags(every)) / 2
    assert set(flags(page)) < set(flags(every))
    assert len(set(flags(every))) == len(flags(every))
    assert {"--w.momentum", "--no-graphs", "--no-norm-track", "--alpha.lr", "--order"} <= set(flags(every))
    assert "--help-all" not in every


def test_help_shows_the_settings_of_what_the_user_has_chosen(call: Call) -> None:
    for command, choice, flag in (
        ("search", ["--method", "random"], "--epochs-each"),
        ("search", ["--method=darts-pt"], "--select.tune-epochs"),
        ("select", ["--with", "perturbation"], "--tune-epochs"),
        ("retrain", ["--recipe", "darts-cifar"], "--drop-path"),
    ):
        assert flag not in flags(call(command, "--help")[1])
        assert flag in flags(call(command, *choice, "--help")[1])


@pytest.mark.parametrize("width", [60, 100, 200])
def test_help_is_as_wide_as_the_terminal(width: int, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    _, page, _ = call("search", "--help-all")
    assert width - 15 < max(len(line) for line in page.splitlines()) <= width
    assert titles(page) == TITLES


def test_a_command_of_few_options_shows_them_in_one_group(call: Call) -> None:
    for command in ("evaluate", "predict", "export"):
        _, page, _ = call(command, "--help")
        assert titles(page) == ["arguments", "options"]
        assert "--help-all" not in page


def test_a_flag_that_turns_off_a_default_says_so(call: Call) -> None:
    shown = [" ".join(call(command, "--help-all")[1].split()) for command in ("search", "retrain")]
    assert "not with those of the batch (the default, which this turns off)" in shown[0]
    assert "in place of the plain one (the default, which this turns off)" in shown[1]
    assert not any("(default: True)" in page for page in shown)


def test_a_log_is_described_alike_by_every_command_that_writes_one(call: Call) -> None:
    for command in ("search", "select", "retrain", "baseline"):
        assert "wandb, or several with commas between them" in " ".join(call(command, "--help")[1].split())


def test_the_networks_of_baselines_are_listed_in_whole_words(call: Call) -> None:
    shown = " ".join(call("baseline", "--help")[1].split())
    assert "None is resnet, resnet-cifar, mobilenet-v2, efficientnet, DARTS_V2, random, largest;" in shown


def test_defaults_from_a_received_run_do_not_steer_the_terminal(call: Call, tmp_path: Path) -> None:
    config = configured().to_dict() | record("search") | {"latency": "\x1b]0;mine\x07"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    status, page, _ = call("search", "--config", ".", "--help-all")
    assert (status, r"\x1b]0;mine" in page) == (0, True)
    assert "\x1b" not in page


def test_every_argument_is_read_from_the_parser_s_page() -> None:
    page = """usage: supernet x [-h] DATA

About it.

 positional arguments
 --------------------
  DATA             digits, or a
                   folder (required)

 options
 -------
  -h, --help       show this help message and exit
  --stem {None}|INT
                   times it is halved; None is
                   as often as needed (default: None)
  --quiet          no progress (default: False)

 w options
 ---------
  SGD on weights.
  ---------------
  --w.lr FLOAT     rate (default: 0.1)
"""
    assert entries(page) == [
        ("DATA", "digits, or a folder (required)"),
        ("--stem INT", "times it is halved; None is as often as needed"),
        ("--quiet", "no progress"),
        ("--w.lr FLOAT", "rate (default: 0.1)"),
    ]


def test_help_of_a_command_is_asked_for_in_any_way(call: Call) -> None:
    status, page, err = call("search", "--help")
    assert call("help", "search") == call("--help", "search") == call("search", "-h") == (status, page, err)
    assert call("help", "search", "--method", "random") == call("search", "--method", "random", "--help")
    assert call("help", "--help") == call("help") == call()
    assert call("help", "serch")[2].startswith(
        "supernet: unknown command 'serch'; did you mean 'search'? known: search"
    )


def test_every_command_has_help(call: Call) -> None:
    for command in cli.COMMANDS:
        assert call(command, "--help-all")[0] == call(command, "-h")[0] == 0
