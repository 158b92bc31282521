"""The page of a run, from the sections of its task, and any page from its sections and a template beside this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from supernet.data import Images, is_available, load, take
from supernet.engine.files import write_atomically
from supernet.engine.processes import by_first
from supernet.engine.run import Run
from supernet.errors import UserError, visible
from supernet.report.page import retraining, search

NAME = "report.html"

_SECTIONS: dict[str, Callable[[Run, Images | None, Mapping[str, Any]], dict[str, Any]]] = {
    "search": search.sections,
    "select": search.sections,
    "retrain": retraining.sections,
}


@by_first
def write(run: Run, images: Images | None = None, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a run, finished or not, into its folder, and return the file.

    `images` are those of the run; without them, they are read if they are still there. `summary` is what a run that is
    about to finish will have as its own. Raises UserError if the folder is none of a run.
    """
    config = run.config
    images = _images(config) if images is None else images
    if summary is None:
        summary = run.summary if run.finished else {}
    found = _SECTIONS[config["task"]](run, images, summary)
    return write_page(run.path, "page.html", found | {"task": config["task"]})


def write_page(folder: Path, template: str, sections: Mapping[str, Any]) -> Path:
    """Write a page of sections into the folder that it is about, and return the file."""
    file = folder / NAME
    write_atomically(file, rendered(folder, template, sections).encode(errors="backslashreplace"))
    return file


def rendered(folder: Path, template: str, sections: Mapping[str, Any]) -> str:
    """Return a page of sections about a folder, or a piece of one."""
    return _template(template).render(sections, name=folder.resolve().name, folder=str(folder))


def _images(config: dict[str, Any]) -> Images | None:
    """Return the images of a run; None if they are not where they were, or are others now."""
    if not is_available(config["data"]):
        return None
    try:
        skip_broken, stream = bool(config.get("skip_broken")), config.get("stream")
        images = load(config["data"], config.get("image_size"), skip_broken=skip_broken, stream=stream)
        images = take(images, config.get("images"))
    except (UserError, OSError):
        return None
    return images if images.fingerprint == config["fingerprint"] else None


@cache
def _template(name: str) -> jinja2.Template:
    """Return a template: it leaves out what is not there, escapes every text, and writes out control characters."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    names: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.ChainableUndefined}
    environment = jinja2.Environment(loader=loader, autoescape=True, finalize=_shown, **names)
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value
