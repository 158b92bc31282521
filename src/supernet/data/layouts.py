"""The layout of a folder of images: which folders hold training, validation and test images, and their files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from supernet.data.pictures import EXTENSIONS
from supernet.data.stores import Names
from supernet.errors import UserError, reason_of

LAYOUTS = "a folder of images for each class, or train/, and optionally val/ and test/, that hold such folders"
_ROLES = {"train": "train|training|trn", "val": "val|valid|validation|dev|devel|eval", "test": "test|testing|tst"}
_FILLERS = "images|image|imgs|img|data|dataset|set|split|seg|folder|pictures|photos"
_PICTURES, _ANNOTATIONS = "images?|imgs?|pictures|photos", "masks?|labels?|annotations?|annots?|ground_?truths?|gt"
_CLUTTER = ("__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini")  # of operating systems
_DEEPEST = 3  # folders, each the only one in the one before, above the classes


@dataclass
class Layout:
    """The files of a folder of images by class, and what was left out.

    - `files`: their names below the folder.
    - `training`, `validation`, `test`: the numbers of the files per class, both sorted; validation and test may be
      empty.
    - `left_out`: files and folders that are not read, each with the reason.
    """

    files: Names = field(default_factory=Names)
    training: dict[str, range] = field(default_factory=dict)
    validation: dict[str, range] = field(default_factory=dict)
    test: dict[str, range] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)


def role_of(name: str) -> str | None:
    """Return "train", "val" or "test" for a folder's name that says so in any of the usual ways, None for others."""
    words = re.sub(r"[\W_\d]+", " ", name.lower()).split()
    rest = [word for word in words if not re.fullmatch(_FILLERS, word)]
    for role, names in _ROLES.items():
        if len(rest) == 1 and re.fullmatch(f"({names})({_FILLERS})?", rest[0]):
            return role
    return None


def find_layout(root: Path, classes: Collection[str] = ()) -> Layout:
    """Return the layout of the folder `root`; a folder named as one of the known `classes`, if any, is a class.

    Names of training, validation and test folders are known in any case and in the usual spellings (Training,
    seg_train, val_images). Raises UserError for folders that do not say which their classes are, two folders of one
    role, and a class folder without images.
    """
    top, root, layout = root, _inside(root, classes), Layout()
    folders = folders_in(root)
    roles = _roles(root, folders)
    train = roles.get("train")
    # Without folders in it, train/ can be a class among others
    if train is None or not (folders_in(train) or len(roles) == len(folders)):
        if roles and len(roles) == len(folders) and (len(folders) > 1 or folders_in(folders[0])):
            names = ", ".join(f"'{path.name}'" for path in roles.values())
            raise UserError(f"'{root}' has {names}, but no training folder; expected {LAYOUTS}")
        _check_parts(root, folders, classes)
        layout.training = _files(top, root, folders, layout)
        return layout
    for path in folders:
        if path not in roles.values():
            layout.left_out[path] = f"a folder beside {train.name}/"
    train = _inside(train, classes, "train")
    layout.training = _files(top, train, folders_in(train), layout)
    for role, name in (("val", "validation"), ("test", "test")):
        if role in roles:
            part = _inside(roles[role], classes or layout.training, role)
            setattr(layout, name, _files(top, part, folders_in(part), layout))
    return layout


def _check_parts(root: Path, folders: list[Path], classes: Collection[str]) -> None:
    """Raise UserError if one of the class folders in `root` is a part: called so, with folders of the same classes."""
    names = {path.name for path in folders}
    for path in folders:
        role = role_of(path.name)
        if role is None or path.name in classes:
            continue
        shared = sorted(names & {inner.name for inner in folders_in(_inside(path, names, role))})
        if shared:
            raise UserError(
                f"'{root}' has class folders beside '{path.name}', which holds {', '.join(shared[:5])}, too: "
                "put those for training into train/"
            )


def _inside(folder: Path, classes: Collection[str], role: str | None = None) -> Path:
    """Return the folder that holds the classes or parts: the only one in `folder`, if that holds nothing else."""
    for _ in range(_DEEPEST):
        inner = folders_in(folder)
        if len(inner) != 1 or inner[0].name in classes or not folders_in(inner[0]):
            break
        if role_of(inner[0].name) not in (None, role):
            break
        folder = inner[0]
    return folder


def _roles(root: Path, folders: list[Path]) -> dict[str, Path]:
    roles: dict[str, Path] = {}
    for path in folders:
        role = role_of(path.name)
        if role in roles:
            raise UserError(f"'{root}' has both '{roles[role].name}' and '{path.name}': which holds the {role} images?")
        if role:
            roles[role] = path
    return roles


def folders_in(root: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return sorted(path for path in root.iterdir() if visible(path.name) and path.is_dir())


def visible(name: str) -> bool:
    """Return whether a file or folder is neither hidden nor clutter of an operating system."""
    return not name.startswith(".") and name not in _CLUTTER


def _files(top: Path, root: Path, folders: list[Path], layout: Layout) -> dict[str, range]:
    """Return the numbers of the image files per class folder, both sorted; other files are added to those left out."""
    if not folders:
        raise UserError(f"'{root}' has no class folders: expected one folder of images for each class")
    _check_classes(root, folders)
    files: dict[str, range] = {}
    for folder in folders:
        files[folder.name] = layout.files.add(_pictures(top, folder, layout))
        if not files[folder.name]:
            raise UserError(f"class folder '{folder}' has no images ({', '.join(sorted(EXTENSIONS))})")
    loose = sorted(path for path in root.iterdir() if visible(path.name) and path.suffix.lower() in EXTENSIONS)
    layout.left_out |= {path: "a picture beside the class folders" for path in loose if path not in folders}
    return files


def _pictures(top: Path, folder: Path, layout: Layout) -> Iterator[str]:
    """Yield the names below `top` of the sorted image files in a folder."""
    inner = os.path.relpath(folder, top)
    for name in sorted(walk(folder), key=lambda name: os.path.normcase(name).replace(os.sep, "\0")):  # as Paths are
        path = folder / name
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            yield os.path.join(inner, name)  # noqa: PTH118 - a Path of each would take most of the time
        elif path.is_dir():
            layout.left_out[path] = "a link to a folder around it"
        else:
            known = path.suffix.lower() in EXTENSIONS
            layout.left_out[path] = "no file, or a link to none" if known else "of no format that is read"


def _check_classes(root: Path, folders: list[Path]) -> None:
    """Raise UserError if the folders in `root` are not those of classes."""
    names = [path.name.lower() for path in folders]
    kinds = [pattern for pattern in (_PICTURES, _ANNOTATIONS) if any(re.fullmatch(pattern, name) for name in names)]
    if len(kinds) == 2 and all(re.fullmatch(f"{_PICTURES}|{_ANNOTATIONS}", name) for name in names):
        raise UserError(f"'{root}' holds {' and '.join(names)}, as for segmentation, not classes; expected {LAYOUTS}")
    inner = [{path.name for path in folders_in(folder)} for folder in folders]
    for folder, found in zip(folders, inner, strict=True):
        parts = {role: name for name in sorted(found) if (role := role_of(name))}
        if "train" in parts and len(parts) > 1:
            held = ", ".join(parts.values())
            raise UserError(f"folder '{folder}' holds parts ({held}), which lie above the classes; expected {LAYOUTS}")
    if len(folders) > 1 and len(inner[0]) > 1 and all(found == inner[0] for found in inner):
        if any(path.suffix.lower() in EXTENSIONS for folder in folders for path in folder.iterdir()):
            return
        shown = ", ".join(sorted(inner[0])[:5])
        raise UserError(
            f"folders {', '.join(path.name for path in folders[:5])} of '{root}' hold the same folders ({shown}), "
            f"which look like the classes; expected {LAYOUTS}"
        )


def walk(folder: Path) -> Iterator[str]:
    """Yield the visible files under a folder by their names below it, through symbolic links too.

    Their order is fixed, and each real folder comes once. Links to folders around `folder` are yielded themselves: they
    lead to what is not its own. Raises UserError for a folder that cannot be read.
    """
    seen, above = set[str](), set(map(str, folder.resolve().parents))
    for place, folders, files in os.walk(folder, onerror=_fail, followlinks=True):
        real, inner = os.path.realpath(place), place[len(str(folder)) :].lstrip(os.sep)
        folders[:] = sorted(name for name in folders if visible(name)) if real not in seen and real not in above else []
        if real in above:
            yield inner
        elif real not in seen:
            yield from (os.path.join(inner, name) for name in sorted(files) if visible(name))  # noqa: PTH118
        seen.add(real)


def _fail(error: OSError) -> None:
    raise UserError(f"cannot read '{error.filename}': {reason_of(error)}") from None
