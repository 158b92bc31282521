"""Labels of every form become class numbers, or one line says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from supernet.data.labels import rule_of
from supernet.errors import UserError

Y = np.array([0, 1, 2, 0, 2, 1])
ANIMALS = ("cat", "dog", "eel")
NAMED = np.array(ANIMALS)[Y]
NOTED = ("class 'N/A' left out",)


def classes_of(array: Any, **more: Any) -> tuple[list[int], tuple[str, ...], tuple[str, ...]]:
    rule = rule_of(np.asarray(array), "y", **more)
    return rule(np.asarray(array), "y").tolist(), rule.classes, rule.notes


def message(train: Any, other: Any = None, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        rule_of(np.asarray(train), "y", **more)(np.asarray(train if other is None else other), "y_test")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (Y[:, None], "labels of shape (6, 1) taken as (6,)"),
        (Y.astype(np.uint8), None),
        (Y.astype(">i4"), None),
        (Y.astype(np.float32), "labels given as floats taken as integers"),
        (np.eye(3)[Y], "one-hot labels taken as classes 0 to 2"),
        (np.eye(3, dtype=bool)[Y], "one-hot labels taken as classes 0 to 2"),
        (Y + 1, "labels 1 to 3 taken as classes 1 to 3"),
        (NAMED, None),
        (NAMED.astype("S"), None),
        (NAMED.astype(object), None),
    ],
)
def test_forms_of_labels(array: np.ndarray, note: str | None) -> None:
    numbers, _, notes = classes_of(array)
    assert numbers == Y.tolist()
    assert notes == ((note,) if note else ())


def test_classes_are_named_by_what_the_labels_are() -> None:
    assert classes_of(Y)[1] == ("0", "1", "2")
    assert classes_of(Y + 1)[1] == ("1", "2", "3")
    assert classes_of(np.eye(3)[Y])[1] == ("0", "1", "2")
    assert classes_of(NAMED)[1] == ANIMALS
    assert classes_of(Y, names=ANIMALS)[1] == ANIMALS
    assert classes_of(Y + 1, names=ANIMALS) == (Y.tolist(), ANIMALS, ("labels 1 to 3 taken as classes cat to eel",))
    assert classes_of(NAMED, names=ANIMALS[::-1]) == ((2 - Y).tolist(), ANIMALS[::-1], ())
    assert classes_of([True, False, True])[:2] == ([1, 0, 1], ("0", "1"))


@pytest.mark.parametrize(
    ("train", "other", "expected"),
    [
        (Y + 1, [3, 1], [2, 0]),  # by the rule of the training labels, although 1 and 3 alone say nothing
        (Y, [[2.0], [1.0]], [2, 1]),
        (NAMED, [b"eel"], [2]),
        (np.eye(3)[Y], [2, 0], [2, 0]),
        (Y + 1, [[0, 0, 1]], [2]),
    ],
)
def test_other_labels_follow_the_training_labels(train: Any, other: Any, expected: list[int]) -> None:
    assert rule_of(np.asarray(train), "y")(np.asarray(other), "y_test").tolist() == expected


@pytest.mark.parametrize(
    ("array", "known", "names", "expected"),
    [
        (NAMED[2:4], ANIMALS, None, [2, 0]),
        ([2, 2], ANIMALS, None, [2, 2]),  # a single class is enough
        ([1, 0], ANIMALS, ["eel", "cat"], [0, 2]),
        ([1, 3], ("1", "2", "3"), None, [0, 2]),  # the numbers are the names
        (["1", "3"], ("1", "2", "3"), None, [0, 2]),
        ([[0, 1, 0]], ("1", "2", "3"), None, [1]),
        (np.eye(11)[[2, 10]], tuple(sorted(map(str, range(11)))), None, [3, 2]),  # columns are numbers, names are texts
        (np.eye(3)[[0, 1]], ANIMALS, ["eel", "cat", "owl"], [ANIMALS.index("eel"), ANIMALS.index("cat")]),
        (np.eye(2)[[0, 1]], ANIMALS, ["eel", "cat"], [ANIMALS.index("eel"), ANIMALS.index("cat")]),
        ([True, False], ("0", "1"), None, [1, 0]),
        ([0, 2], ("dog (0)", "eel", "dog (2)"), ["dog", "eel", "dog"], [0, 2]),
    ],
)
def test_the_classes_of_a_run(array: Any, known: Any, names: Any, expected: list[int]) -> None:
    numbers, classes, _ = classes_of(array, known=known, names=names)
    assert (numbers, classes) == (expected, known)


@pytest.mark.parametrize(
    ("array", "first", "expected"),
    [([1, 3], 1, [0, 2]), ([0, 2], 1, [0, 2]), ([1, 2], 0, [1, 2]), (["cat", "eel"], 1, [0, 2])],
)
def test_numbers_without_names_are_counted_as_those_of_the_run(array: Any, first: int, expected: list[int]) -> None:
    assert classes_of(array, known=ANIMALS, first=first)[0] == expected


def test_a_first_name_of_no_class_is_left_out() -> None:
    """EMNIST's letters are called "N/A", "a", "b" and so on, and their labels are from 1 on."""
    names, letters = ("N/A", *ANIMALS), Y + 1
    assert classes_of(letters, names=names) == (
        Y.tolist(),
        ANIMALS,
        (*NOTED, "labels 1 to 3 taken as classes cat to eel"),
    )
    assert rule_of(letters, "y", names).first == 1
    assert classes_of([1, 3], names=names, known=ANIMALS, first=1) == ([0, 2], ANIMALS, NOTED)
    assert message([1, 2], names=names) == "y has no image of class 3 ('eel'): each of classes 1 to 3 needs one"
    assert message([1, 3], names=names) == "y has no image of class 2 ('dog'): each of classes 1 to 3 needs one"
    assert message([1, 4], names=names) == "y holds label 4, but there are only 3 class names"
    assert classes_of([1, 2], names=names[:3], known=ANIMALS, first=1)[0] == [0, 1]  # of a part without the last
    assert message(["N/A", "cat"], names=names) == "y has no image of class 'dog': each of 4 classes needs one"
    assert classes_of([0, 1, 2], names=names[:3])[1] == names[:3]
    assert classes_of([1, 2, 3], names=names[:3])[:2] == ([0, 1, 2], names[:3])
    assert message([1, 2], names=names[:1]) == "y holds label 2, but there are only 1 class names"


def test_a_name_of_several_classes_gets_their_numbers() -> None:
    assert classes_of(Y, names=("crane", "dog", "crane"))[:2] == (Y.tolist(), ("crane (0)", "dog", "crane (2)"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((Y, Y + 1), "y_test holds label 3, which no training image has"),
        ((Y + 1, Y), "y_test holds label 0, which no training image has"),
        ((NAMED, ["cat", "fox"]), "y_test: unknown label 'fox'; known: cat, dog, eel"),
        ((Y, NAMED), "y_test: unknown label 'cat'; known: 0, 1, 2"),
        ((Y, np.eye(4)), "y_test has one-hot labels of 4 classes, but there are 3"),
        ((np.eye(4)[Y],), "y has no image of class 3: each of classes 0 to 3 needs one"),
        ((np.eye(3)[[1, 2]],), "y has no image of class 0: each of classes 0 to 2 needs one"),
        ((["cat", ""],), "y holds label ''; labels are class numbers, or names that can be printed"),
        ((["cat", "\x1b[2J"],), "y holds label '\\x1b[2J'; labels are class numbers, or names that can be printed"),
        ((["cat", "\ud800"],), "y holds label '\\ud800'; labels are class numbers, or names that can be printed"),
        (([b"cat", b"\xff"],), "y holds label b'\\xff'; labels are class numbers, or names that can be printed"),
        ((np.array(["cat", None]),), "y has dtype object; labels must be integers"),
        ((["cat", "cat"],), "y holds only one class, cat: at least 2 are needed"),
        (([0.5, 1],), "y has dtype float64; labels must be integers"),
        (([np.nan, 1],), "y has dtype float64; labels must be integers"),
        ((Y * 1j,), "y has dtype complex128; labels must be integers"),
        ((np.ones((3, 2)),), "y has shape (3, 2); expected one label per image, (N,)"),
        (([1, 2, 4],), "y has no image of class 0: each of classes 0 to 4 needs one"),
    ],
)
def test_mistakes(arguments: Any, expected: str) -> None:
    assert message(*arguments) == expected


def test_mistakes_with_the_names_of_a_source_or_a_run() -> None:
    assert message(NAMED, names=("cat", "dog")) == "y: unknown label 'eel'; known: cat, dog"
    assert message(NAMED, names=(*ANIMALS, "fox")) == "y has no image of class 'fox': each of 4 classes needs one"
    assert message(Y, names=("cat", "dog", "a\nb")).startswith(
        "y holds label 'a\\nb'; labels are class numbers, or names"
    )
    assert message(NAMED, known=("cat", "dog")) == "y_test: unknown label 'eel'; known: cat, dog"
    assert message(Y, known=("cat", "dog")) == "y_test: unknown label '2'; known: cat, dog"
    assert message(Y, known=("cat", "dog"), names=ANIMALS) == "y: unknown class 'eel'; known: cat, dog"
    assert message(np.eye(3), known=("cat", "dog")) == "y_test has one-hot labels of 3 classes, but there are 2"


NUMBERS = st.lists(st.integers(0, 5), min_size=2, max_size=30)


@given(NUMBERS, st.sampled_from([np.uint8, np.int16, ">i8", np.float16, np.float64]), st.booleans(), st.booleans())
def test_numbers_keep_their_meaning_in_every_form(values: list[int], dtype: Any, column: bool, one_hot: bool) -> None:
    values = [0, 1, 2, 3, 4, 5, *values]
    array = np.eye(6)[values].astype(dtype) if one_hot else np.array(values, dtype)
    assert classes_of(array[:, None] if column and not one_hot else array)[0] == values


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.lists(TEXTS, min_size=2, max_size=10, unique=True), st.randoms(), st.booleans())
def test_texts_are_found_again(texts: list[str], order: Any, encoded: bool) -> None:
    labels = order.choices(texts, k=20) + texts
    array = np.array([label.encode() for label in labels] if encoded else labels)
    numbers, classes, _ = classes_of(array)
    assert classes == tuple(sorted(texts))
    assert [classes[number] for number in numbers] == labels


DTYPES = ["?", "u1", "i8", "u8", "f2", "f4", "f8", "c8", "U3", "S3", "M8[s]", "O"]


@given(st.data(), st.sampled_from(DTYPES), st.none() | st.just(ANIMALS), st.none() | st.just(ANIMALS))
def test_any_array_gives_class_numbers_or_a_line(data: Any, dtype: str, names: Any, known: Any) -> None:
    elements = st.none() | st.integers() | st.text(max_size=2) | st.binary(max_size=2) if dtype == "O" else None
    array = data.draw(arrays(dtype, array_shapes(min_dims=0, max_dims=3, max_side=4), elements=elements))
    try:
        rule = rule_of(array, "y", names, known)
        y = rule(array, "y")
    except UserError:
        return
    assert y.shape == (len(array),)
    assert all(0 <= number < len(rule.classes) for number in y.tolist())
