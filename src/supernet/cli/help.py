"""The help of a command: its everyday options or all of them, in groups, the most important first."""

from __future__ import annotations

import re
import textwrap

from rich.text import Text

from supernet.report.console import Console

_GROUPS: dict[str, tuple[str, ...]] = {
    "data": (
        "data",
        "like",
        "images",
        "image-size",
        "validation-share",
        "split",
        "pad",
        "mirror",
        "cutout",
        "crop",
        "jitter",
    ),
    "space and size": ("space", "width", "depth", "stem", "reductions", "norm-affine", "norm-track", "norm-shared"),
    "method": ("method", "selector", "with", "recipe", "protocol"),
    "schedule and optimizer": ("epochs", "patience", "batch-size", "w.lr", "w"),
    "cost": (
        *("by", "flops", "params", "max-params", "max-flops", "max-latency-ms"),
        *("target-params", "target-flops", "target-latency-ms", "latency", "front", "target-width", "target-depth"),
    ),
    "further settings": (),  # of a method, selector, recipe or study: all that no group names
    "running": (
        *("seed", "seeds", "queries", "networks", "device", "workers", "precision", "engine", "graphs"),
        *("checkpointing", "monitor", "monitor-every"),
    ),
    "output": ("out", "config", "dry-run", "force", "quiet", "log"),
}
_SELDOM = {
    *("split", "pad", "mirror", "cutout", "crop", "jitter", "stem", "reductions", "norm-affine", "norm-track", "w"),
    *(
        "norm-shared",
        "latency",
        "target-width",
        "target-depth",
        "precision",
        "engine",
        "graphs",
        "checkpointing",
        "monitor",
        "monitor-every",
    ),
}
_FEW = 13  # options that are shown in one group
_COLUMN = 26  # where the meaning of an argument begins, at most

Entry = tuple[str, str]
"""An argument as it is typed, and its meaning."""


def entries(page: str) -> list[Entry]:
    """Return the arguments on the parser's own help page, which has no frames where it is not on a terminal."""
    found: list[list[str]] = []
    positional = inside = False
    for line in page.splitlines():
        text = line.strip()
        if re.match(r" [a-z]", line):
            positional = text.startswith("positional")
        elif re.match(r"  \S", line):
            inside = positional or bool(re.match(r"--[a-z]", text))
            found += [re.split(r"  +", text, maxsplit=1)] * inside
        elif text.strip("-") and inside:  # no rule
            found[-1].append(text)
    return [(typed.replace("{None}|", ""), _with_default(typed, " ".join(about))) for typed, *about in found]


def show(page: str, prog: str, *, everything: bool, chosen: bool) -> None:
    """Print the help of a command from the parser's `page`: `everything`, or the everyday options.

    The further settings are among these if the user has `chosen` the method, selector or recipe that has them.
    """
    usage, about, *_ = page.split("\n\n")
    arguments = [entry for entry in entries(page) if not entry[0].startswith("-")]
    options = [entry for entry in entries(page) if entry[0].startswith("-")]
    groups = {"options": options} if len(options) <= _FEW else _grouped(options)
    if not everything and len(options) > _FEW:
        kept = {title: [entry for entry in group if _place(entry)[1] not in _SELDOM] for title, group in groups.items()}
        groups = kept if chosen else kept | {"further settings": []}
    console = Console()
    console.print(Text(f"{usage}\n\n{about}"))
    for title, group in {"arguments": arguments, **groups}.items():
        if group:
            console.print(Text(f"\n{title}", style="bold"))
            console.print(Text("\n".join(_lines(entry, console.width) for entry in group)))
    if sum(map(len, groups.values())) < len(options):
        console.print(Text(f"\n{prog} --help-all shows all {len(options)} options."))


def _grouped(options: list[Entry]) -> dict[str, list[Entry]]:
    """Return the options by the title of their group, in the order of the group."""
    groups: dict[str, list[Entry]] = {title: [] for title in _GROUPS}
    for entry in options:
        groups[_place(entry)[0]].append(entry)
    for title, names in _GROUPS.items():
        groups[title].sort(key=lambda entry: names.index(_place(entry)[1]) if names else 0)
    return groups


def _place(entry: Entry) -> tuple[str, str]:
    """Return the group of an option, and the name that the group knows it by."""
    flag = entry[0].split()[0].removeprefix("--").removeprefix("no-")
    for name in (flag, flag.partition(".")[0]):
        for title, names in _GROUPS.items():
            if name in names:
                return title, name
    return "further settings", flag


def _lines(entry: Entry, width: int) -> str:
    typed, about = entry
    head = f"  {typed}".ljust(_COLUMN)
    wrapped = textwrap.wrap(about, max(20, width - _COLUMN), break_on_hyphens=False) or [""]
    start = [head + wrapped.pop(0)] if len(head) == _COLUMN and head.endswith(" ") else [head]
    return "\n".join([*start, *(" " * _COLUMN + line for line in wrapped)]).rstrip()


def _with_default(typed: str, about: str) -> str:
    """Return the meaning of an argument with its default, if that says something.

    A flag that turns off what is on, as --w.no-nesterov, has the meaning of what it turns off.
    """
    if re.match(r"--([\w-]+\.)*no-", typed):
        about = about.replace("(default: True)", "(the default, which this turns off)")
    return re.sub(r" *\(default: (None|False|''|)\)$", "", about)
