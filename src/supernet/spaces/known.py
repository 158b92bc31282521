"""The architectures of papers by name, as the authors' code gives them: one line each in `known.jsonl`.

The published numbers are those of this very architecture; a paper's mean over several ones is left out. None of them
counts an auxiliary head, and papers count FLOPs in different ways.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_LONGEST = 100  # characters of a text that may be a misspelt name


@dataclass(frozen=True)
class Known:
    """A published architecture.

    - `space`, `architecture`: its space, and its text in a form that the space reads.
    - `paper`, `source`: where it was published, and where the text is from.
    - `recipes`: the recipes for CIFAR-10 and ImageNet closest to the paper's training.
    - The other fields are as published: millions of parameters and of FLOPs, and the test error in %, top 1.
    """

    name: str
    space: str
    architecture: str
    paper: str
    source: str
    recipes: tuple[str, str]
    cifar_params_m: float | None = None
    cifar_error: float | None = None
    imagenet_params_m: float | None = None
    imagenet_flops_m: float | None = None
    imagenet_error: float | None = None


@cache
def known() -> Mapping[str, Known]:
    """Return the published architectures by name."""
    lines = (files("supernet.spaces") / "known.jsonl").read_text(encoding="utf-8").splitlines()
    read = [Known(**{**entry, "recipes": tuple(entry["recipes"])}) for entry in map(json.loads, lines)]
    return {entry.name: entry for entry in read}


def meant(text: str) -> str:
    """Return the question whether a text was meant as the name that is nearest to it, nothing if none is near."""
    names = {name.lower(): name for name in known()}
    near = difflib.get_close_matches(text.strip().lower(), names, n=1, cutoff=0.7) if len(text) <= _LONGEST else []
    return f"did you mean '{names[near[0]]}'? Else " if near else ""
