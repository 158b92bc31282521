"""The page of a run, from the sections of its task and the template beside this file."""

from __future__ import annotations

from collections.abc import Callable
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

# A comparison's sections come here under its own task
_SECTIONS: dict[str, Callable[[Run, Images | None], dict[str, Any]]] = {
    "search": search.sections,
    "select": search.sections,
    "retrain": retraining.sections,
}


@by_first
def write(run: Run, images: Images | None = None) -> Path:
    """Write the page of a run, finished or not, into its folder, and return the file.

    `images` are those of the run; without them, they are read if they are still there. Raises UserError if the folder
    is none of a run.
    """
    config = run.config
    images = _images(config) if images is None else images
    found = _SECTIONS[config["task"]](run, images)
    html = _template().render(found, name=run.path.resolve().name, folder=str(run.path), task=config["task"])
    file = run.path / NAME
    write_atomically(file, html.encode(errors="backslashreplace"))
    return file


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
def _template() -> jinja2.Template:
    """Return the template: it leaves out what is not there, escapes every text, and writes out control characters."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    names: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.ChainableUndefined}
    environment = jinja2.Environment(loader=loader, autoescape=True, finalize=_shown, **names)
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value
