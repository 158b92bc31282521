"""A stream that counts, and a callback that keeps what it sees, for tests of the loop."""

from __future__ import annotations

from supernet.engine.callbacks import Callback
from supernet.engine.run import Run


class Numbers:
    """A stream of the numbers 0, 1, 2, ..., with `steps` in an epoch."""

    def __init__(self, steps):
        self.steps, self.number = steps, -1

    def next(self):
        self.number += 1
        return self.number

    def state_dict(self):
        return {"number": self.number}

    def load_state_dict(self, state):
        self.number = state["number"]


class States(Callback):
    """Keeps the checkpoint after every epoch, and what is said."""

    def __init__(self, folder):
        self.run, self.states, self.lines = Run(folder), [], []

    def epoch(self, row):
        self.states.append(self.run.read_checkpoint())

    def say(self, text):
        self.lines.append(text)
