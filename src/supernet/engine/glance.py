"""A run at a glance: its most important facts in words, and as a piece of HTML."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from supernet.engine.files import plain_bytes
from supernet.engine.records import last_standing


def facts(
    config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any] | None
) -> dict[str, str]:
    """Return the facts on a run by their names, from its settings, its metrics and the summary of a finished one."""
    how = {"search": "method", "select": "selector", "retrain": "recipe"}[config["task"]]
    last = last_standing(rows)
    planned = planned_epochs(config)
    epochs = len(rows) if planned is None else f"{len(rows)} of {planned}"
    found = {"task": config["task"], "data": config["data_name"], "space": config["space"], "by": config.get(how, "")}
    found |= {"seed": config["seed"], "epochs": epochs}
    found |= {name: (summary or last)[name] for name in ("verdict", "architecture") if name in (summary or last)}
    if summary is not None:
        found["size"] = size(summary["params"], summary["flops"])
    if margins := (summary or {}).get("margins"):
        found["decided"] = margins["text"]
    if entry := (summary or {}).get("table_entry"):
        tests = ", ".join(f"{result['test']:.2f} % on {result['title']}" for result in entry["results"])
        found["table"] = f"{tests}, as {entry['table']} has it for #{entry['index']}"
    for name, images in (("valid_accuracy", "validation"), ("test_accuracy", "test")):
        if isinstance(last.get(name), float):
            found["accuracy"] = f"{100 * last[name]:.2f} % on {images} images"
    return {name: str(value) for name, value in found.items()}


def planned_epochs(config: Mapping[str, Any]) -> int | None:
    """Return how many epochs a run is to have; None where its settings do not tell: a selection has its search's."""
    epochs: int | None = None if config["task"] == "select" else config.get("epochs")
    return epochs


def size(params: int, flops: int) -> str:
    """Return the size of a network in words."""
    return f"{params / 1e6:.3f} M parameters, {flops / 1e6:.1f} M FLOPs"


def in_html(title: str, rows: Mapping[str, str], cell: Path) -> str:
    """Return facts as a table, and the picture of a cell."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<p><b>{escape(title)}</b></p><table>{body}</table>{image(cell, 'the cell')}"


def image(file: Path, name: str) -> str:
    """Return an SVG file as an <img>, in which no script of a received picture runs; nothing if it is not there."""
    if (picture := plain_bytes(file)) is None:
        return ""
    source = f"data:image/svg+xml;base64,{b64encode(picture).decode()}"
    return f'<p><img alt="{escape(name)}" style="max-width:100%" src="{source}"></p>'
