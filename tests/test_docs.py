"""Every Python block of the README and the docs runs as it is printed; one with tests passes under pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pages
import supernet as sn
from pages import PAGES, ROOT

pytestmark = pytest.mark.slow

BLOCKS = [
    pytest.param(block, id=f"{pages.name(page)}-{number}")
    for page in PAGES
    for number, block in enumerate(pages.blocks(page, "python"))
]


def pass_under_pytest(code: str, folder: Path) -> None:
    (folder / "test_block.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "class Test" in block:
        pass_under_pytest(block, tmp_path)
        return
    module = ModuleType("docs_block")  # a real module: dataclasses look theirs up
    monkeypatch.setitem(sys.modules, "docs_block", module)
    exec(compile(block, "<docs>", "exec", dont_inherit=True), module.__dict__)


def test_the_method_of_the_page_learns_the_same_in_two_processes(tmp_path: Path) -> None:
    first, *_ = pages.blocks(ROOT / "docs" / "add-a-method.md", "python")
    (tmp_path / "mymodule.py").write_text(first.partition("\nrun = ")[0])
    words = "digits --method mymodule:Credit --epochs 1 --width 4 --images 100 --device cpu --processes 2 --out run"
    command = [sys.executable, "-m", "supernet", "search", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    for script in re.findall(r"python (benchmarks/\w+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_no_line_of_a_paragraph_becomes_a_heading(page: Path) -> None:
    """The site's Markdown takes a line that begins with #9930 for one."""
    assert not re.findall(r"^#+[^#\s].*", pages.sentences(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_table_has_a_head_and_rows_of_its_length(page: Path) -> None:
    """An empty line within a table turns the rows below it into text."""
    for table in re.findall(r"(?:^ *\|.*\n)+", pages.sentences(page), re.MULTILINE):
        rows = [pages.CODE.sub("", row).count("|") for row in table.splitlines()]
        assert re.match(r".*\n *\|[\s:|-]+\|\n", table), table[:200]
        assert len(set(rows)) == 1, table[:200]


def test_every_public_name_has_its_place_in_the_api() -> None:
    listed = re.findall(r"^::: supernet\.(\w+)$", "".join(page.read_text() for page in PAGES), re.MULTILINE)
    assert sorted([*listed, "__version__"]) == sorted(sn.__all__)
