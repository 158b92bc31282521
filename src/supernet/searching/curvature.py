"""What the eigenvalues that a search has measured say about its architecture (see `methods/eigenvalues.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supernet.methods.eigenvalues import LAG, RATIO, first_rollback, judged

Rows = Sequence[Mapping[str, Any]]


def measured(rows: Rows) -> tuple[list[float], int]:
    """Return the eigenvalues in rows of metrics, and the epochs between two of them."""
    epochs = {row["epoch"]: row["diagnostics"]["eigenvalue"] for row in rows if "eigenvalue" in row["diagnostics"]}
    first, second = [*epochs, *epochs][:2]
    return list(epochs.values()), max(1, second - first)


def grown(rows: Rows) -> tuple[int, int] | None:
    """Return the first epoch, counted from 1, in which the eigenvalue had grown, and the one to go back to."""
    found = first_rollback(*measured(rows))
    return found and (found[0] + 1, found[1] + 1)


def in_words(rows: Rows) -> str:
    """Return in one line whether the eigenvalue has grown, and which architecture R-DARTS would take."""
    values, every = measured(rows)
    span = f"largest eigenvalue along alpha {values[0]:.3g} at first, {values[-1]:.3g} in the end"
    if not judged(len(values), every):
        return f"{span}; too few epochs to tell whether it grows"
    if (found := grown(rows)) is None:
        return f"{span}; it never grew {RATIO}-fold in {LAG * every} epochs"
    now, back = found
    return f"{span}; grown in epoch {now}: R-DARTS would take the architecture of epoch {back} (metrics.jsonl)"
