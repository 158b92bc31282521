"""Hooks of the docs' site: the README is its first page, and links to files outside docs/ lead to copies of these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
LINK = re.compile(r"(?<=\]\()[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie in the root, and all other files outside docs/ that a page links to."""
    for name, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for file in list(files.documentation_pages()):
        for target in _linked(file):
            if files.get_file_from_path(_uri(target)) is None:
                files.append(File.generated(config, _uri(target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead the links of a page, which hold in the repository, to the same files in the site."""
    uris = {target: relpath(_uri(target), Path(page.file.src_uri).parent) for target in _linked(page.file)}
    return LINK.sub(lambda link: uris.get(_target(page.file, link[0]), link[0]), markdown)


def _linked(file: File) -> Iterator[Path]:
    """Yield the files of the repository that a page links to."""
    targets = (_target(file, link) for link in LINK.findall(file.content_string))
    return (target for target in targets if target.is_file() and target.is_relative_to(ROOT))


def _target(file: File, link: str) -> Path:
    assert file.abs_src_path is not None
    return (Path(file.abs_src_path).parent / link).resolve()


def _uri(file: Path) -> str:
    """Return where a file of the repository lies in the site; a text that is no page ends in .txt, to be shown."""
    name = file.relative_to(ROOT).as_posix()
    return name.removeprefix("docs/") if name.startswith("docs/") else PAGES.get(name, f"{name}.txt")
