"""The signals that end a program: Ctrl-C, and what schedulers and closed terminals send."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """The user, or the system, has ended a run by a signal; the run is saved, and the same command resumes it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; the run is saved")
        self.status = 128 + number  # with which the program exits, as a shell would have it


@contextmanager
def heard() -> Iterator[list[int]]:
    """Yield a list that gets the first of the signals; after it each signal has its usual effect again.

    Those that are ignored stay ignored, as all of a program under nohup.
    """
    signals: list[int] = []
    with _first(signals.append):
        yield signals


@contextmanager
def raised() -> Iterator[None]:
    """Let the first of the signals raise Interrupted where it comes, so that what is under way is cleaned up."""

    def stop(number: int) -> None:
        raise Interrupted(number)

    with _first(stop):
        yield


@contextmanager
def _first(act: Callable[[int], None]) -> Iterator[None]:
    before = _handlers()

    def note(number: int, frame: FrameType | None) -> None:
        _set(before)
        act(number)

    _set(dict.fromkeys(before, note))
    try:
        yield
    finally:
        _set(before)


@contextmanager
def kept() -> Iterator[None]:
    """Keep the handlers of the signals, whatever a library sets meanwhile."""
    before = _handlers()
    try:
        yield
    finally:
        _set(before)


@contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals, also in processes that are started meanwhile."""
    with kept():
        _set(dict.fromkeys(_handlers(), signal.SIG_IGN))
        yield


def ignore() -> None:
    """Ignore the signals from now on."""
    _set(dict.fromkeys(ENDING, signal.SIG_IGN))


Handlers = dict[signal.Signals, object]


def _handlers() -> Handlers:
    """Return the handlers of the signals that are not ignored; none in a thread that may not set them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in ENDING}
    return {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}


def _set(handlers: Handlers) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
