"""Labels of any unambiguous form as class numbers: numbers, names, one-hot rows, columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.errors import UserError, unknown

Array = NDArray[Any]
_LARGEST = np.iinfo(np.int64).max
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # what could change a terminal
_NO_CLASS = "N/A"  # torchvision's name for label 0 of EMNIST's letters, which no image has
_EXACT = 2**53  # float64 holds all whole numbers up to here


class Plain(NamedTuple):
    """Labels as (N,) int64 or texts; where they were one-hot, their number of columns; and what was converted."""

    values: Array
    columns: int | None
    notes: tuple[str, ...]


class Rule(NamedTuple):
    """How labels become class numbers: found by the training labels, or by the classes of a run."""

    classes: tuple[str, ...]
    numbers: dict[int | str, int]  # the class number of each label
    columns: tuple[int | str, ...]  # the label that each column of one-hot labels stands for
    notes: tuple[str, ...] = ()
    known: bool = False  # the classes are those of a run
    first: int = 0  # the label that the first of the source's names stands for

    def __call__(self, array: Array, name: str) -> Tensor:
        """Return labels of any form as class numbers (N,) int64; raises UserError, with `name`, for any without."""
        values, columns, _ = plain_labels(array, name)
        if columns not in (None, len(self.columns)):
            raise UserError(f"{name} has one-hot labels of {columns} classes, but there are {len(self.columns)}")
        present, places = np.unique(values, return_inverse=True)
        labels = [self.columns[column] for column in present.tolist()] if columns else present.tolist()
        numbers = [self._number(label, name) for label in labels]
        return torch.from_numpy(np.array(numbers, np.int64)[places])

    def _number(self, label: int | str, name: str) -> int:
        if label in self.numbers:
            return self.numbers[label]
        if self.known or isinstance(label, str):
            raise UserError(f"{name}: {unknown('label', str(label), self.classes)}")
        raise UserError(f"{name} holds label {label}, which no training image has")


def rule_of(
    array: Array, name: str, names: Sequence[str] | None = None, known: Sequence[str] | None = None, first: int = 0
) -> Rule:
    """Find the rule for the training labels `array`, called `name` in errors.

    `names` are the source's names of classes 0, 1, ..., of which a first one "N/A" may be of no class; without any,
    numbers from 0 or from 1 on name themselves, and texts are sorted; a name that several classes have gets their
    numbers. With `known`, the classes of a run, names are matched to these, and a number without a name is the class
    that has it as its name, where classes are named by numbers, otherwise its place among them. Labels of named classes
    are from `first` on, as in the training of the run, and from 0 where one is 0. Columns of one-hot labels are the
    classes in the order of `names`; without any in that of their numbers, otherwise of `known`.

    Raises UserError for labels of no such form, for a single class, a label without a name, and a class without an
    image; with `known` only for a name that is not among them.
    """
    values, columns, notes = plain_labels(array, name)
    texts = names and [_text(text, name) for text in names]
    names = texts if known is not None and len({*known}) < len(known) else texts and _distinct(texts)
    present: list[Any] = np.unique(values).tolist()
    from_one = columns is None and _is_from_one(names or (), present, known or ())
    if names and from_one:
        notes, names, first = (*notes, f"class '{_NO_CLASS}' left out"), names[1:], 1
    if known is not None:
        in_turn = names or (sorted(known, key=int) if _are_numbers(known) else known)
        return Rule(tuple(known), _known_numbers(present, name, names, known, first), tuple(in_turn), notes, known=True)
    if len(present) < 2:
        raise UserError(f"{name} holds only one class, {present[0]}: at least 2 are needed")
    first = 0
    if isinstance(present[0], str):
        classes = tuple(present if names is None else names)
        _check_texts(present, classes, name)
    elif columns is None and present == [*range(1, len(present) + 1)] and len(names or present) == len(present):
        first = 1
        classes = tuple(str(label) for label in present) if names is None else tuple(names)
        notes += (f"labels 1 to {len(present)} taken as classes {classes[0]} to {classes[-1]}",)
    else:
        count = len(names) if names is not None else columns or present[-1] + 1
        _check_numbers(present, count, names, name, int(from_one))
        classes = tuple(map(str, range(count))) if names is None else tuple(names)
    by_name: dict[int | str, int] = {text: i for i, text in enumerate(classes)}
    by_number: dict[int | str, int] = {first + i: i for i in range(len(classes))}
    return Rule(classes, by_name | by_number, tuple(by_number), notes, first=first if names else 0)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, with its number behind each that several classes have, as two of ImageNet are called crane."""
    counts = Counter(names)
    return [f"{text} ({i})" if counts[text] > 1 else text for i, text in enumerate(names)]


def _is_from_one(names: Sequence[str], present: Sequence[Any], known: Sequence[str]) -> bool:
    """Return whether the first of the names is of no class: it is N/A, there are others, and no label has it."""
    numbered = list(present) == [*range(1, len(names) + 1)]  # of as many classes as names, one of them called so
    used = {0, _NO_CLASS} & {*present, *known}
    return names[:1] == [_NO_CLASS] and len(names) > 1 and not numbered and not used


def _are_numbers(names: Sequence[str]) -> bool:
    return all(text.isdecimal() for text in names)


def _known_numbers(
    present: Sequence[Any], name: str, names: Sequence[str] | None, known: Sequence[str], first: int
) -> dict[int | str, int]:
    """Return the number of each label in the classes of a run."""
    numbers: dict[int | str, int] = {text: i for i, text in enumerate(known)}
    if names is None:
        by_name, first = _are_numbers(known), first if 0 not in present else 0
        return numbers | {int(text) if by_name else first + i: i for i, text in enumerate(known)}
    first = int((first == 1 or len(names) in present) and 0 not in present)
    for i, text in enumerate(names, first):
        if text not in numbers and {i, text} & {*present}:
            raise UserError(f"{name}: {unknown('class', text, known)}")
    return numbers | {i: numbers[text] for i, text in enumerate(names, first) if text in numbers}


def _check_numbers(present: list[int], count: int, names: Sequence[str] | None, name: str, first: int) -> None:
    if present[-1] >= first + count:
        raise UserError(f"{name} holds label {present[-1]}, but there are only {count} class names")
    if len(present) < count:
        lacks = next(i for i, label in enumerate([*present, first + count], first) if i != label)
        title = "" if names is None else f" ('{names[lacks - first]}')"
        each = f"each of classes {first} to {first + count - 1}"
        raise UserError(f"{name} has no image of class {lacks}{title}: {each} needs one")


def _check_texts(present: list[str], classes: tuple[str, ...], name: str) -> None:
    for text in present:
        if text not in classes:
            raise UserError(f"{name}: {unknown('label', text, classes)}")
    for text in classes:
        if text not in present:
            raise UserError(f"{name} has no image of class '{text}': each of {len(classes)} classes needs one")


def plain_labels(array: Array, name: str) -> Plain:
    """Return labels of any form as integers or texts.

    Numbers may be of any type if they are whole; one-hot rows (N, K) become the place of their 1, and a column (N, 1)
    a row. Raises UserError, with the `name` of the array, for any other form, negative numbers and empty texts.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        plain = plain_labels(array[:, 0], name)
        return plain._replace(notes=(f"labels of shape {array.shape} taken as ({len(array)},)", *plain.notes))
    if _is_one_hot(array):
        columns = array.shape[1]
        return Plain(array.argmax(axis=1), columns, (f"one-hot labels taken as classes 0 to {columns - 1}",))
    if array.ndim != 1:
        raise UserError(f"{name} has shape {array.shape}; expected one label per image, (N,)")
    if array.dtype.kind in "SUTO" and all(isinstance(label, str | bytes) for label in array.tolist()):
        return Plain(np.array([_text(label, name) for label in array.tolist()], dtype=str), None, ())
    if array.dtype.kind == "b":
        return Plain(array.astype(np.int64), None, ("labels False and True taken as classes 0 and 1",))
    if array.dtype.kind == "f" and (np.abs(array.astype(float)) <= _EXACT).all() and (array == np.rint(array)).all():
        return plain_labels(array.astype(np.int64), name)._replace(notes=("labels given as floats taken as integers",))
    if array.dtype.kind not in "iu":
        raise UserError(f"{name} has dtype {array.dtype}; labels must be integers")
    for label in (int(array.min()), int(array.max())) if len(array) else ():
        if not 0 <= label <= _LARGEST:
            raise UserError(f"{name} holds label {label}; labels are class numbers 0, 1, 2, ...")
    return Plain(array.astype(np.int64), None, ())


def _is_one_hot(array: Array) -> bool:
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf":
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1, dtype=np.int64) == 1).all())


def _text(label: str | bytes, name: str) -> str:
    with suppress(UnicodeError):
        text = label.decode() if isinstance(label, bytes) else label
        if text and text.encode() and not _CONTROL.search(text):  # halves of characters have no bytes
            return text
    raise UserError(f"{name} holds label {label!r}; labels are class numbers, or names that can be printed")
