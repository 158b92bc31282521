"""Every Python block of the README and the docs runs as it is printed; one with tests passes under pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import supernet as sn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(match[2], id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, match in enumerate(
        re.finditer(r"^( *)```python\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    )
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
    margin = len(block) - len(block.lstrip(" "))
    code = "\n".join(line[margin:] for line in block.splitlines())
    if "class Test" in code:
        pass_under_pytest(code, tmp_path)
        return
    module = ModuleType("docs_block")  # a real module: dataclasses look theirs up
    monkeypatch.setitem(sys.modules, "docs_block", module)
    exec(compile(code, "<docs>", "exec", dont_inherit=True), module.__dict__)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_public_name_has_its_place_in_the_api() -> None:
    listed = re.findall(r"^::: supernet\.(\w+)$", "".join(page.read_text() for page in PAGES), re.MULTILINE)
    assert sorted([*listed, "__version__"]) == sorted(sn.__all__)
