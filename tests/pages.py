"""The pages of the docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")


class Command(NamedTuple):
    """A command of the program, `words` without "supernet", as a page has it in a block or in a sentence."""

    page: Path
    words: tuple[str, ...]
    line: str
    in_block: bool
    refused: bool
    """the page shows the line that refuses the command"""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a language as they would be pasted, without their indentation."""
    found = [match for match in BLOCK.finditer(page.read_text()) if match[2] == language]
    return [re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE) for match in found]


def sentences(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return BLOCK.sub("", page.read_text())


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: those of its blocks in their order, then those in its sentences."""
    for block in blocks(page, ""):
        lines = block.replace("\\\n", " ").splitlines()
        prompted = any(line.startswith("$ ") for line in lines)
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if not prompted or line.startswith("$ "):
                for words in programs(line.removeprefix("$ ")):
                    yield Command(page, words, line, True, after.startswith("supernet: "))
    for code in CODE.findall(sentences(page)):
        if re.match(r"(supernet|torchrun)\s", code):
            for words in programs(" ".join(code.split())):
                yield Command(page, words, code, False, False)


def programs(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each call of the program in a line of a shell; a line of output may be none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|>")
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:  # output with an apostrophe
        return
    for operator, group in groupby(tokens, lambda token: set(token) <= set(";&|>")):
        words = list(group)
        if "-m" in words and words[words.index("-m") + 1] == "supernet":
            words = words[words.index("-m") + 1 :]
        if not operator and words[0] == "supernet" and len(words) > 1:
            yield tuple(words[1:])
