"""Callbacks: the events of a run, several at a time, and one that fails."""

from __future__ import annotations

import re

import pytest

import supernet as sn
from supernet.engine import process_group
from supernet.engine.callbacks import Callbacks
from supernet.searching import results

TINY = {"images": 60, "epochs": 2, "batch_size": 15, "width": 2, "device": "cpu", "quiet": True}
EVENTS = ("begin", "start", "step", "epoch", "note", "say", "stop", "end")


class Hearing(sn.Callback):
    """Keeps the names of its events, without the steps and the notes, and fails in one of them."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.told = fails, []

    def __getattribute__(self, name):
        if name not in EVENTS:
            return super().__getattribute__(name)

        def event(*what):
            self.told.append((name, getattr(what[0], "finished", None)) if name in ("begin", "end") else name)
            if name == self.fails:
                raise ValueError("no\nroom")

        return event


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("_pictures", "_cell"):
        monkeypatch.setattr(results, name, lambda *arguments: None)


def test_each_callback_hears_every_event_in_order(tmp_path):
    first, second = Hearing(), Hearing()
    sn.search("digits", out=tmp_path, callbacks=[first, second], **TINY)
    epoch = ["step", "step", "epoch"]
    middle = ["note", "note", "start", *epoch, *epoch, "stop"]
    assert first.told == second.told == [("begin", False), *middle, ("end", True)]
    again = Hearing()
    sn.search("digits", out=tmp_path, callbacks=[again], **TINY)
    assert again.told == ["say", ("begin", True), ("end", True)]


def test_a_selection_of_a_search_begins_and_ends_within_it(tmp_path):
    heard = Hearing()
    call = TINY | {"epochs": 1, "method": "darts", "selector": "perturbation", "select": {"tune_epochs": 0}}
    sn.search("digits", out=tmp_path, callbacks=[heard], **call)
    order = [event for event in heard.told if event not in ("step", "epoch", "note", "say")]
    own = [("begin", False), "start", "stop", ("end", True)]
    assert order == [("begin", False), "start", "stop", *own, ("end", True)]


@pytest.mark.parametrize("event", ["begin", "note", "start", "step", "epoch", "stop", "end"])
def test_a_callback_that_fails_is_told_in_a_line_and_left_out(event, tmp_path, capsys):
    failing, other = Hearing(event), Hearing()
    run = sn.search("digits", out=tmp_path, callbacks=[failing, other], **TINY)
    assert run.finished
    assert (failing.told[-1][0] if event in ("begin", "end") else failing.told[-1]) == event
    assert other.told[-1] == ("end", True)
    reason = r"\(ValueError: no room \(\S*test_callbacks.py, line \d+\)\)"
    line = rf"supernet: callback Hearing failed in {event} {reason}: the run goes on without it\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_the_end_of_the_display_is_the_end_of_the_run():
    def gone(text):
        raise BrokenPipeError

    display, other = sn.Callback(), Hearing()
    display.note = gone
    with pytest.raises(BrokenPipeError):
        Callbacks(display, [other]).note("reading")
    assert other.told == []


def test_of_several_processes_the_first_tells_and_waits_for_none(monkeypatch):
    class Counting(sn.Callback):
        def step(self):
            self.count = process_group.count()

    counting = Counting()
    monkeypatch.setattr(process_group, "_group", process_group._Group(0, 2))
    Callbacks(sn.Callback(), [counting]).step()
    assert (counting.count, process_group.count()) == (1, 2)


def test_what_is_no_callback_is_one_line():
    with pytest.raises(sn.UserError, match=r"^callbacks cannot be of type function: <function"):
        sn.search("digits", callbacks=[lambda row: None], **TINY)
