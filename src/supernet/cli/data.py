"""`supernet data`: what is read of a set of images, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from supernet.cli.after import show_next
from supernet.cli.parsing import Arguments, parse
from supernet.errors import UserError

if TYPE_CHECKING:
    from supernet.data import Images
    from supernet.report.console import Console


@dataclass(frozen=True)
class Data:
    """Read a set of images, check every file and say what was found."""

    data: Annotated[Positional[str], arg(metavar="DATA")]
    """digits (included), an .npz file, a folder of class folders, shards, IDX or CIFAR files"""
    image_size: int | None = None
    """pixels per side; None keeps arrays as they are, and brings pictures to their median, at most 224"""
    skip_broken: bool = False
    """files that cannot be read are no error"""
    stream: bool = False
    """leave images on the disk, also those that would fit into memory"""


def data(given: Arguments) -> None:
    """Read a set of images, check every file and say what was found."""
    from supernet.data import load
    from supernet.report.console import Console, line

    asked = parse("data", Data, given)
    images = load(asked.data, asked.image_size, skip_broken=True, stream=asked.stream or None)
    console = Console()
    line(console, images.described())
    line(console, "")
    _classes(console, images)
    if images.left_out:
        line(console, "")
    for text in images.left_out:
        line(console, text)
    if images.broken and not asked.skip_broken:
        one = "1 image cannot be read: --skip-broken goes on without it"
        several = f"{images.broken} images cannot be read: --skip-broken goes on without them"
        raise UserError(one if images.broken == 1 else several)
    line(console, "")
    show_next(console, "data", asked.data)


def _classes(console: Console, images: Images) -> None:
    """Print the number of images per class and part."""
    from supernet.report.console import listing

    cut = len(images.y) - images.validation
    parts = {"training": images.y[:cut], "validation": images.y[cut:], "test": images.y_test}
    counts = {
        name: y.bincount(minlength=len(images.classes)).tolist()
        for name, y in parts.items()
        if y is not None and len(y)
    }
    rows = (
        (name, ", ".join(f"{n[label]} {part}" for part, n in counts.items()))
        for label, name in enumerate(images.classes)
    )
    listing(console, ((name, text, "") for name, text in rows))
