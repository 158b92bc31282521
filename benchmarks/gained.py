"""What searches gained at equal cost, as a figure: the first table of "What was gained here" in when-to-search.md.

    python benchmarks/gained.py docs/when-to-search.md --figure docs/images/gained.svg

A panel has the test accuracies on one data set, with a bar of one standard deviation to either side: filled at the
larger cost, hollow at the smaller one. Blue networks were found by a search, green ones are random.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from supernet.report.plots import save
from supernet.report.plots.style import METHOD_COLOURS, STYLE

HEADING = "## What was gained here"
SETS = ("CIFAR-10", "Fashion-MNIST", "photographs")
COSTS = ("2 M multiply-adds", "1.4 M, on photographs 1 M")
GROUPS = {"found": METHOD_COLOURS[0], "random": METHOD_COLOURS[2], "no search": METHOD_COLOURS[1]}


@dataclass(frozen=True)
class Entry:
    """A network: name and group, and mean and standard deviation per data set and cost, None where not measured."""

    name: str
    group: str
    accuracies: Sequence[tuple[float, float] | None]


def entries(page: str) -> Iterator[Entry]:
    """Yield the networks of the table; a row in bold begins a group."""
    section = page.partition(HEADING)[2]
    group = ""
    for line in re.findall(r"^\|.*\|$", section.partition("\n\n![")[0], re.MULTILINE)[2:]:
        label, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if begun := re.match(r"\*\*(.+?)\*\*:? *", label):
            group, label = begun[1], label[begun.end() :]
        name = re.sub(r"`|,.*| on validation.*", "", label)
        yield Entry(name if group == "no search" else f"{group} {name}", group, [accuracy(cell) for cell in cells])


def accuracy(cell: str) -> tuple[float, float] | None:
    """Return mean and standard deviation of a cell: as it has them, or of the accuracies that it lists, 0 of one."""
    numbers = [float(number) for number in re.findall(r"\d+\.\d+", cell.partition("(")[0])]
    if not numbers:
        return None
    return (numbers[0], numbers[1]) if "±" in cell else (mean(numbers), stdev(numbers) if len(numbers) > 1 else 0.0)


@mpl.rc_context(STYLE)
def draw(networks: Sequence[Entry]) -> Figure:
    """Draw a panel for each data set."""
    figure = Figure(figsize=(9.2, 0.9 + 0.29 * len(networks)), layout="constrained")
    for number, (axes, title) in enumerate(zip(figure.subplots(1, len(SETS), sharey=True), SETS, strict=True)):
        draw_set(axes, networks, number)
        axes.set(title=title, xlabel="test accuracy (%)")
    axes.set_yticks(range(len(networks)), [each.name for each in networks])
    axes.set_ylim(len(networks) - 0.4, -0.6)
    keys = [Line2D([], [], color=shade, marker="o", ls="", label=group) for group, shade in GROUPS.items()]
    for cost, face in zip(COSTS, ("#777777", "none"), strict=True):
        keys.append(Line2D([], [], color="#777777", marker="o", mfc=face, ls="", label=cost))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return figure


def draw_set(axes: Axes, networks: Sequence[Entry], number: int) -> None:
    """Draw the accuracies on one data set: the larger cost above the smaller one."""
    axes.grid(axis="x", color="#e6e6e6", lw=0.6)
    for row, network in enumerate(networks):
        for cost in range(len(COSTS)):
            if found := network.accuracies[len(COSTS) * number + cost]:
                place, shade = row - 0.14 + 0.28 * cost, GROUPS[network.group]
                axes.errorbar(found[0], place, xerr=found[1], color=shade, lw=1)
                axes.plot(found[0], place, "o", color=shade, ms=5, mfc=shade if cost == 0 else "white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--figure", type=Path, required=True)
    given = parser.parse_args()
    save(draw(list(entries(given.page.read_text()))), given.figure)


if __name__ == "__main__":
    main()
