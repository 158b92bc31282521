"""Layouts of folders of images: names of parts, folders above the classes, files that are left out, links, pipes."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supernet.data import folders, load, read_picture
from supernet.data.layouts import find_layout, role_of
from supernet.data.stores import Files
from supernet.errors import UserError


def fill(root: Path, *folders: str, count: int = 2) -> Path:
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(np.full((8, 8), 10 * number + i, dtype=np.uint8)).save(root / folder / f"{i}.png")
    return root


def message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(source)
    return str(caught.value)


NAMES = {
    "train": [
        "train",
        "Train",
        "TRAIN",
        "training",
        "Training_Set",
        "trainset",
        "seg_train",
        "train_images",
        "train2017",
    ],
    "val": ["val", "VAL", "valid", "validation", "val_images", "dev", "Validation-Set"],
    "test": ["test", "Test", "testing", "Testing", "testset", "seg_test", "test images"],
    None: ["cat", "trainer", "train station", "testosterone", "images", "valley", "devil", "1", ""],
}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in NAMES.items() for name in names])
def test_the_role_of_a_folder_is_told_by_its_name(role: str | None, name: str) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize(
    "names",
    [
        ("Training", None, "Testing"),
        ("Train", None, "Test"),
        ("TRAIN", "VAL", None),
        ("training", "validation", None),
        ("seg_train", None, "seg_test"),
        ("trainset", None, "testset"),
        ("train_images", "val_images", None),
        ("train", "dev", "Test"),
        ("train", "validation", "test"),
    ],
)
@pytest.mark.parametrize("inner", ["", "same/", "images/"])
def test_parts_are_found_under_any_usual_name(
    names: tuple[str, str | None, str | None], inner: str, tmp_path: Path
) -> None:
    counts = dict(zip(names, (3, 2, 1), strict=True))
    for name, count in counts.items():
        if name:
            within = inner.replace("same", name)
            fill(tmp_path / name, f"{within}cat", f"{within}dog", count=count)
    images = load(tmp_path)
    assert images.classes == ("cat", "dog")
    assert (len(images.y) - images.validation, images.validation) == (6, 4 if names[1] else 0)
    assert (0 if images.y_test is None else len(images.y_test)) == (2 if names[2] else 0)


def test_the_only_folder_is_looked_into(tmp_path: Path) -> None:
    assert load(fill(tmp_path, "photos/images/cat", "photos/images/dog")).classes == ("cat", "dog")
    fill(tmp_path / "other", "archive/train/a", "archive/train/b", "archive/test/a")
    assert load(tmp_path / "other").x_test is not None


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("2019/cat", "2019/dog", "2020/cat", "2020/dog"), "hold the same folders (cat, dog), which look like the cl"),
        (("images", "masks"), "holds images and masks, as for segmentation, not classes"),
        (("imgs/a", "labels/a"), "holds imgs and labels, as for segmentation, not classes"),
        (("test/a", "val/a"), "but no training folder"),
        (("test/a", "test/b"), "has 'test', but no training folder"),
        (("train/a", "train/b", "val/a", "valid/a"), "has both 'val' and 'valid': which holds the val images?"),
        (
            ("a", "b", "test/a", "test/b"),
            "has class folders beside 'test', which holds a, b, too: put those for training into train/",
        ),
        (("a", "b", "c", "Validation/images/c"), "beside 'Validation', which holds c, too"),
        (("a/train", "a/test", "b/train"), "/a' holds parts (test, train), which lie above the classes; expected a"),
        (("train/a/Training", "train/a/val", "train/b"), "/train/a' holds parts (Training, val), which lie above the"),
    ],
)
def test_folders_that_do_not_say_their_classes_are_refused(
    folders: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    assert expected in message(fill(tmp_path, *folders))


def test_folders_in_a_class_may_be_called_as_one_part(tmp_path: Path) -> None:
    fill(tmp_path, "football/training", "football/match", "chess/training", "cricket/test", "cricket/one-day")
    assert load(tmp_path).classes == ("chess", "cricket", "football")


def test_a_class_that_is_called_as_a_part_is_said(tmp_path: Path) -> None:
    images = load(fill(tmp_path, "cat", "dog", "test"))
    assert (images.classes, images.notes) == (("cat", "dog", "test"), ("folder 'test' taken as a class",))
    assert load(tmp_path, classes=("cat", "dog", "test")).notes == ()
    fill(tmp_path, "test/cat")
    assert load(tmp_path, classes=("cat", "dog", "test")).classes == ("cat", "dog", "test")


def test_classes_may_have_one_folder_of_the_same_name_each(tmp_path: Path) -> None:
    assert load(fill(tmp_path, "n01/images", "n02/images")).classes == ("n01", "n02")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".avif", ".jp2"])
def test_more_suffixes_are_read(suffix: str, tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    kind = {".avif": "AVIF", ".jp2": "JPEG2000"}.get(suffix, "JPEG")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a" / f"x{suffix}", format=kind)
    assert len(load(tmp_path).y) == 5


def test_links_to_folders_are_followed_and_no_circle_is_run_through(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "more", count=3)
    fill(tmp_path / "set", "a/own", "b")
    (tmp_path / "set" / "a" / "link").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "set" / "a" / "circle").symlink_to(tmp_path / "set" / "a")
    assert len(load(tmp_path / "set").y) == 2 + 3 + 2


def test_a_link_to_a_folder_around_a_class_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "a", "b", "a/own")
    fill(tmp_path, "others")
    (tmp_path / "photos" / "a" / "up").symlink_to(Path("..", ".."))
    (tmp_path / "photos" / "a" / "own" / "photos").symlink_to(tmp_path / "photos")
    images = load(tmp_path / "photos")
    assert len(images.y) == 2 + 2 + 2
    places = tmp_path / "photos" / "a" / "own" / "photos", tmp_path / "photos" / "a" / "up"
    assert images.left_out == tuple(f"{place}: a link to a folder around it" for place in places)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b", "extra")
    for name in ("train/a/x.heic", "train/a/y.heic", "train/b/notes.txt"):
        (tmp_path / name).write_text("?")
    (tmp_path / "__MACOSX").mkdir()
    fill(tmp_path, "train", count=1)
    (tmp_path / "train" / "README.md").write_text("?")
    images = load(tmp_path)
    assert "5 left out (2 .heic, 1 extra, 1 .txt)" in images.notes
    assert f"{tmp_path / 'extra'}: a folder beside train/" in images.left_out
    assert f"{tmp_path / 'train' / '0.png'}: a picture beside the class folders" in images.left_out


def test_a_link_to_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    (fill(tmp_path, "a", "b") / "a" / "x.png").symlink_to("nowhere.png")
    assert load(tmp_path).left_out == (f"{tmp_path / 'a' / 'x.png'}: no file, or a link to none",)


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a", "a/inner", "b")
    scan, folder = os.scandir, str(tmp_path / "a" / "inner")

    def refusing(place: str) -> object:
        if str(place) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", folder)  # from root nothing is kept
        return scan(place)

    monkeypatch.setattr(os, "scandir", refusing)
    assert message(tmp_path) == f"cannot read '{folder}': Permission denied"


def test_all_broken_files_are_named_or_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    for number in range(12):
        (tmp_path / "a" / f"bad{number:02}.png").write_bytes(b"broken")
    found = message(tmp_path)
    assert found.startswith("cannot read 12 images: ")
    assert found.count("bad") == 10
    assert "and 2 more; supernet data tells why, --skip-broken goes on without them" in found
    images = load(tmp_path, skip_broken=True)
    assert (len(images.y), images.broken) == (4, 12)
    assert "12 broken, left out" in images.notes
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bad.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="class 'c' has no image that can be read"):
        load(tmp_path, skip_broken=True)


def deep(folder: Path, *ranges: tuple[int, int]) -> Path:
    """Save a picture of 16 bits per range, in class folders a and b in turn: a ramp over the range."""
    for number, (low, high) in enumerate(ranges):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.linspace(low, high, 64).reshape(8, 8).astype(np.uint16)).save(path)
    return folder


def test_16_bit_pictures_are_scaled_from_the_range_of_the_training_images(tmp_path: Path) -> None:
    deep(tmp_path / "train", (1000, 3000), (2000, 5000))
    deep(tmp_path / "test", (0, 6000))
    images = load(tmp_path)
    assert images.levels == (1000, 5000)
    assert "16-bit values 1000 to 5000 read as black to white" in images.notes
    assert (int(images.x.min()), int(images.x.max())) == (0, 255)
    assert images.x_test is not None
    assert (images.x_test == 0).sum() > 1  # what is darker than any training image is black
    again = read_picture(tmp_path / "train" / "b" / "1.png", 1, 8, 8, images.levels)
    np.testing.assert_array_equal(again[0], images.x[1])
    np.testing.assert_array_equal(load(tmp_path / "test", levels=(1000, 5000), classes=("a", "b")).x, images.x_test)


def test_bit_depth_does_not_tell_the_class(tmp_path: Path) -> None:
    deep(tmp_path, (0, 4095), (0, 4095))
    Image.fromarray(np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8)).save(tmp_path / "a" / "8bit.png")
    images = load(tmp_path)
    assert [int(x.max()) for x in images.x] == [255, 255, 255]


def test_pictures_that_fill_16_bits_are_read_as_ever(tmp_path: Path) -> None:
    images = load(deep(tmp_path, (0, 40000), (0, 3)))
    assert images.levels == (0, 65535)
    assert int(images.x.max()) == round(40000 / 257)


def test_a_listing_takes_little_memory(tmp_path: Path) -> None:
    for number in range(20 * 200):
        path = tmp_path / "photos" / "train" / f"n{number % 20:08}" / f"n{number % 20:08}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    peaks = []
    for _ in range(2):  # Python's table of interned texts, in which those of paths are, may grow in one of them
        tracemalloc.start()
        try:
            layout = find_layout(tmp_path)
            store = Files(tmp_path, layout.files)
            numbers, labels = folders._part(layout.training, [*layout.training], "training", store)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) / len(labels) < 250  # bytes; a Path alone has 500
    assert store.name(int(numbers[21])) == str(tmp_path / "photos" / "train" / "n00000001" / "n00000001_1001.JPEG")


def test_files_are_listed_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["b/x.png", "a.png", "b-/y.png", "b.png", "B.png", "b/c/z.png", "b/c.png", "é.png"]
    for name in names:
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).touch()
    fill(tmp_path, "d")
    layout = find_layout(tmp_path)
    found = [layout.files[number] for number in layout.training["c"]]
    assert found == [str(path.relative_to(tmp_path)) for path in sorted(tmp_path / "c" / name for name in names)]


def test_a_folder_named_as_a_known_class_is_that_class_whatever_is_in_it(tmp_path: Path) -> None:
    """Alone in its place, it would be taken for a folder around the classes."""
    for year in ("2019", "2020"):
        fill(tmp_path / "other" / "dog", year)
        fill(tmp_path / "photos" / "test" / "cat", year)
    assert list(find_layout(tmp_path / "other", ["cat", "dog"]).training) == ["dog"]
    assert list(find_layout(tmp_path / "other").training) == ["2019", "2020"]
    for label in ("cat", "dog"):
        fill(tmp_path / "photos" / "train", label)
    assert list(find_layout(tmp_path / "photos").test) == ["cat"]
