"""The figure of what searches gained, benchmarks/gained.py, has all of the page's table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "when-to-search.md"


@pytest.fixture
def gained(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gained

    yield gained
    sys.modules.pop("gained")


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("", None),
        ("69.94 ± 0.22", (69.94, 0.22)),
        ("**88.97 ± 0.41** (4, 1.14 M)", (88.97, 0.41)),
        ("67.69 ± 0.77 †", (67.69, 0.77)),
        ("85.0 (1)", (85.0, 0.0)),
        ("64.0, 66.0 (2)", (65.0, pytest.approx(2**0.5))),
    ],
)
def test_a_cell_has_a_mean_and_a_standard_deviation(gained, cell, found) -> None:
    assert gained.accuracy(cell) == found


def test_every_accuracy_of_the_page_is_a_point_and_every_network_a_row(gained) -> None:
    networks = list(gained.entries(PAGE.read_text()))
    assert {each.group for each in networks} == set(gained.GROUPS)
    assert {"found in NAS-Bench-201", "found in mobile", "random cells of s3", "DARTS_V2"} <= {n.name for n in networks}
    panels = gained.draw(networks).axes
    points = [line for panel in panels for line in panel.lines if line.get_marker() == "o"]
    cells = [found for each in networks for found in each.accuracies]
    assert {len(each.accuracies) for each in networks} == {6}
    assert sorted(line.get_xdata()[0] for line in points) == sorted(found[0] for found in cells if found)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [each.name for each in networks]


def test_the_figure_of_the_page_is_drawn_from_its_table(gained, tmp_path) -> None:
    networks, figure = list(gained.entries(PAGE.read_text())), ROOT / "docs" / "images" / "gained.svg"
    for network in networks:
        assert f">{network.name}<" in figure.read_text(), network.name
    gained.save(gained.draw(networks), tmp_path / "gained.svg")
    drawn, kept = (marks(path) for path in (tmp_path / "gained.svg", figure))
    assert len(drawn) > 60
    assert kept == [pytest.approx(mark, abs=0.5) for mark in drawn]  # a tenth of a point of accuracy is more


def marks(figure: Path) -> list[tuple[float, float]]:
    """Return where an SVG figure places its points and ticks."""
    found = re.findall(r'<use xlink:href="#[^"]+"(?: x="([\d.]+)" y="([\d.]+)")', figure.read_text())
    return [(float(x), float(y)) for x, y in found]
