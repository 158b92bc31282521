"""Prepared images: a set as it was read and resized, in a file that all processes of a machine map into their memory.

The pages of such a file lie in the memory once, however many processes read them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from filelock import FileLock

from supernet.data.images import Images

VARIABLE = "SUPERNET_PREPARED"


def prepared(read: Callable[[], Images], *asked: object) -> Images:
    """Return the images that `read` returns, from the folder that SUPERNET_PREPARED names; without one, just read them.

    The first process that wants them reads them and writes the file, while the others wait. `asked` is all on which the
    images depend, but for the files that are read: whoever makes the folder makes a new one when these may have
    changed. Images that are streamed stay where they are, and so do those for which the disk has no room.
    """
    folder = Path(os.environ.get(VARIABLE, ""))
    if not (os.environ.get(VARIABLE) and folder.is_dir()):
        return read()
    file = folder / f"{hashlib.sha256(repr(asked).encode(errors='surrogateescape')).hexdigest()[:16]}.pt"
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            images = read()
            if images.streamed or not _written(images, file):
                return images
    return Images(**torch.load(file, mmap=True, weights_only=True))


def _written(images: Images, file: Path) -> bool:
    temporary = file.with_suffix(".tmp")
    with suppress(OSError, RuntimeError):  # torch.save raises the latter where the disk is full
        torch.save(vars(images), temporary)
        temporary.replace(file)
        return True
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    return False
