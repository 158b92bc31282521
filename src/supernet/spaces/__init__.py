"""The search spaces by name, and the data types that describe a space."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from supernet.errors import UserError, shown, unknown
from supernet.registry import imported, recorded
from supernet.spaces.cell import Cell, Edge
from supernet.spaces.darts import DARTS, DARTS7, DARTS7_FAIR, S1, S2, S3, S4
from supernet.spaces.dialects import LONGEST, form_of, home_of, unreadable
from supernet.spaces.genotype import Genotype
from supernet.spaces.mobile import MOBILE
from supernet.spaces.nao import NAO, NAO_MIDDLE
from supernet.spaces.nasbench201 import NASBENCH201
from supernet.spaces.rivals import RIVALS
from supernet.spaces.search_space import SearchSpace
from supernet.spaces.size import NetworkSize
from supernet.spaces.skeleton import Chain, Position, Stack, Stages

__all__ = [
    "RIVALS",
    "SPACES",
    "Cell",
    "Chain",
    "Edge",
    "NetworkSize",
    "Position",
    "SearchSpace",
    "Stack",
    "Stages",
    "architecture",
    "recorded_space",
    "space",
]

SPACES: dict[str, SearchSpace] = {
    value.name: value for value in (NASBENCH201, DARTS, DARTS7, DARTS7_FAIR, S1, S2, S3, S4, NAO, NAO_MIDDLE, MOBILE)
}


def space(which: str | SearchSpace) -> SearchSpace:
    """Return the space called `which`, one of your own as "module:NAME", or `which` itself if it is a space.

    Raises UserError if there is none, and for a space of your own that has the name of another one.
    """
    if isinstance(which, SearchSpace):
        published = (SPACES | RIVALS).get(which.name, which)
        if published is not which and published != which:  # runs and architectures that have the name lead to that one
            advice = "give yours a name of its own, as by dataclasses.replace(space, name=...)"
            raise UserError(f"'{which.name}' is the name of another space: {advice}")
        return which
    if not isinstance(which, str):
        raise UserError(f"space cannot be of type {type(which).__name__}: {which!r}")
    if which in SPACES:
        return SPACES[which]
    if ":" not in which:
        raise unknown("space", which, SPACES)
    value = imported("space", which)
    if not isinstance(value, SearchSpace):
        raise UserError(f"space '{which}' is not a supernet.SearchSpace")
    return space(value)


def architecture(
    what: Genotype | str | os.PathLike[str], within: str | SearchSpace | None = None
) -> tuple[SearchSpace, Genotype]:
    """Return the space `within` and its architecture `what`: a genotype, a text, or a file that holds a text.

    By default the space is the one that the architecture names, or the one whose form the text has. Raises UserError if
    the text cannot be read, and if the space has no such architecture.
    """
    if isinstance(what, Genotype):
        home = recorded_space(what.space) if within is None else space(within)
        return home, replace(home.check(what), space=home.name)  # as the same architecture read from its text
    text = _text_of(what)
    if within is not None:
        return (home := space(within)), home.parse(text)
    if form_of(text) is None:
        raise unreadable(text)
    if (name := home_of(text)) is None:
        raise UserError(f"architecture '{shown(text)}' does not say what space it is of: give it, too, with --space")
    return (home := recorded_space(name)), home.parse(text)


def _text_of(what: str | os.PathLike[str]) -> str:
    """Return a text, or the content of the file that it names."""
    if not isinstance(what, str | os.PathLike):
        raise UserError(f"an architecture is a Genotype, a text or a file, not of type {type(what).__name__}")
    text = str(what).strip()
    try:
        if not Path(text).is_file() or Path(text).stat().st_size > LONGEST:
            return text
        content = Path(text).read_bytes()
    except (OSError, ValueError):  # a name that no file can have
        return text
    try:
        return content.decode("utf-8-sig")  # a mark of the order of bytes, as editors on Windows write it, is no text
    except UnicodeDecodeError:
        raise UserError(f"cannot read an architecture from '{shown(text)}': its text is not in UTF-8") from None


def recorded_space(name: object) -> SearchSpace:
    """Return the built-in space with the name that a run recorded; raises UserError for a space of the user's own.

    It may be the space of a rival, which a run is trained in but never searched in.
    """
    published = SPACES | RIVALS
    return published[recorded("space", name, published)]
