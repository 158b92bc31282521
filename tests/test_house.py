"""The rooms of the package: imports run downward, without a circle, and what is light stays light."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

FLOORS = (
    ("errors", "registry", "settings"),
    ("spaces", "data"),
    ("engine",),
    ("models", "report"),
    ("methods", "selectors", "retraining"),
    ("searching",),
    ("cli", "testing"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {"supernet", "supernet.__main__"}  # above all rooms: no room imports them


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Return the modules that each module imports, inside functions and for type checkers included."""
    graph = grimp.build_graph("supernet", exclude_type_checking_imports=False, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}


def room_of(module: str) -> str:
    return module.split(".")[1]


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Return circles of imports as text; each is cut at its last import before the next one is sought."""
    left, found = {module: set(others) for module, others in imports.items()}, []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            left[circle[-2]].remove(circle[-1])
            found.append(" imports ".join(circle))
        else:
            return found


def test_every_module_lies_in_a_room(imports: dict[str, set[str]]) -> None:
    assert {room_of(module) for module in imports.keys() - OUTSIDE} == set(FLOOR)


def test_no_import_runs_upward(imports: dict[str, set[str]]) -> None:
    upward = [
        f"{module} imports {other}"
        for module in imports.keys() - OUTSIDE
        for other in imports[module]
        if other in OUTSIDE or FLOOR[room_of(other)] > FLOOR[room_of(module)]
    ]
    assert not upward, "\n".join(sorted(upward))


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert not circles(imports), "\n".join(circles(imports))


def test_no_rooms_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    rooms: dict[str, set[str]] = {room: set() for room in FLOOR}
    for module in imports.keys() - OUTSIDE:
        rooms[room_of(module)] |= {room_of(other) for other in imports[module] - OUTSIDE} - {room_of(module)}
    assert not circles(rooms), "\n".join(circles(rooms))


def test_every_circle_is_found() -> None:
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    found = circles({"a": {"a"}, "b": {"c"}, "c": {"d"}, "d": {"b"}})
    assert found == ["a imports a", "b imports c imports d imports b"]


def imported_by(code: str) -> set[str]:
    """Return the modules that a fresh process has imported after `code`."""
    code = f"{code}\nimport sys\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines())


LIGHT = """
from supernet.cli import main
for line in ("query 9930", "query 9930 --json", "query --fields", "query --best c10_test", "query x", "query --help",
             "spaces", "methods", "selectors", "spaces --help", "--help", "--version", "", "nothing"):
    try:
        main(line.split())
    except SystemExit:
        pass
import supernet
supernet.table("nasbench201").summary(0), supernet.space("nasbench201"), dir(supernet)
"""


def test_the_lists_and_the_table_import_no_pytorch() -> None:
    assert imported_by(LIGHT) & {"torch", "matplotlib", "PIL"} == set()


@pytest.mark.slow
def test_a_trained_network_needs_no_search() -> None:
    modules = imported_by("from supernet.retraining.load import load")
    rooms = {room_of(module) for module in modules if module.startswith("supernet.")}
    assert "retraining" in rooms
    assert rooms & {"searching", "methods", "selectors"} == set()
