"""Snapshots: named states of a task, to which it may go back at the end of a later epoch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from supernet.errors import UserError, unknown

MOST = 16  # snapshots at a time; each is as large as a checkpoint


@dataclass(frozen=True)
class RollBack:
    """A task goes back to its snapshot `name`, taken after `epoch` epochs; `note` says what it changes, or why."""

    name: str
    epoch: int
    note: str = ""

    def __str__(self) -> str:
        return f"back to epoch {self.epoch}{self.note and f', {self.note}'}"


class Snapshots:
    """What a task asks for while an epoch ends; the loop does it right after: snapshots first, then the roll-back.

    - `epochs`: the snapshots that there are, by name: how many epochs were done when each was taken.
    - `now`: how many epochs are done with the one that ends.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.now = 0
        self._asked: RollBack | None = None

    def keep(self, name: str) -> None:
        """Take a snapshot of the state as this epoch leaves it, in place of any earlier one of that name.

        Raises UserError for a name that is none of lower-case letters, digits and hyphens, and for too many snapshots.
        """
        if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
            raise UserError(f"a snapshot's name has 1 to 40 lower-case letters, digits and hyphens; got {name!r}")
        if len({*self.epochs, name}) > MOST:
            raise UserError(f"a method keeps at most {MOST} snapshots: drop one of {', '.join(self.epochs)}")
        self.epochs[name] = self.now

    def drop(self, name: str) -> None:
        """Forget a snapshot; raises UserError if there is none of that name."""
        del self.epochs[self._known(name)]

    def restore(self, name: str, note: str = "") -> None:
        """Go back to a snapshot after this epoch; `note`, for the user, says what changes, or why.

        Raises UserError if there is none of that name.
        """
        self._asked = RollBack(name, self.epochs[self._known(name)], note)

    def asked(self) -> RollBack | None:
        """Return the roll-back that was asked for, once."""
        asked, self._asked = self._asked, None
        return asked

    def _known(self, name: str) -> str:
        if name not in self.epochs:
            raise unknown("snapshot", name, list(self.epochs))
        return name
