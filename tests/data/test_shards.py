"""Shards, tar and parquet and arrow: the images of class folders, bit for bit, and one line for each mistake."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from supernet.data import Images, Streamed, is_available, load, ordered, rows
from supernet.data.listings import interleaved
from supernet.data.shards import expanded
from supernet.errors import UserError

NAMES = ("ant", "bee", "cow")
Sample = tuple[str, bytes]  # class, encoded picture


@pytest.fixture(autouse=True)
def no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_READERS", "0")


def photos(root: Path, count: int = 4) -> dict[str, list[Sample]]:
    """Write JPEGs in class folders; return the same by part, class by class."""
    draws, samples = np.random.default_rng(0), {}
    for part, number in (("train", count), ("val", 1), ("test", 2)):
        samples[part] = []
        for name in NAMES:
            (root / part / name).mkdir(parents=True)
            for i in range(number):
                path = root / part / name / f"{i}.jpg"
                Image.fromarray(draws.integers(0, 256, (*draws.integers(9, 40, 2), 3), dtype=np.uint8)).save(path)
                samples[part].append((name, path.read_bytes()))
    return samples


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def tar_of(path: Path, samples: Sequence[Sample], label: str = "cls", start: int = 0) -> None:
    with tarfile.open(path, "w") as tar:
        add(tar, "._clutter.jpg", b"?")
        for i, (name, picture) in enumerate(samples):
            add(tar, f"./{start + i:04}.JPG", picture)
            number = str(NAMES.index(name)) if name in NAMES else name
            content = {"cls": name, "number": number, "json": json.dumps({"label": name})}[label]
            add(tar, f"./{start + i:04}.{'json' if label == 'json' else 'cls'}", content.encode())


def table_of(samples: Sequence[Sample], *, named: bool = True, plain: bool = False):  # type: ignore[no-untyped-def]
    arrow = pytest.importorskip("pyarrow")
    images = [picture if plain else {"bytes": picture, "path": None} for _, picture in samples]
    labels = [NAMES.index(name) if named else name for name, _ in samples]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(NAMES)}}
    about = {"huggingface": json.dumps({"info": {"features": features}})} if named else None
    return arrow.table({"image": images, "label": labels}).replace_schema_metadata(about)


def parquet_of(path: Path, samples: Sequence[Sample], **how: bool) -> None:
    pytest.importorskip("pyarrow.parquet").write_table(table_of(samples, **how), path, row_group_size=3)


def arrow_of(path: Path, samples: Sequence[Sample], opens: str = "new_stream") -> None:
    ipc, table = pytest.importorskip("pyarrow.ipc"), table_of(samples)
    with path.open("wb") as file, getattr(ipc, opens)(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS: dict[str, tuple[str, Callable[[Path, Sequence[Sample]], None]]] = {
    "cls": ("tar", tar_of),
    "json": ("tar", lambda path, samples: tar_of(path, samples, "json")),
    "hugging face": ("parquet", parquet_of),
    "texts": ("parquet", lambda path, samples: parquet_of(path, samples, named=False)),
    "plain bytes": ("parquet", lambda path, samples: parquet_of(path, samples, plain=True)),
    "arrow stream": ("arrow", arrow_of),
    "arrow file": ("arrow", lambda path, samples: arrow_of(path, samples, "new_file")),
}


def sharded(root: Path, samples: dict[str, list[Sample]], kind: str = "cls", shards: int = 3) -> Path:
    suffix, write = WRITERS[kind]
    root.mkdir(exist_ok=True)
    for part, every in samples.items():
        for number in range(shards):
            cut = [len(every) * n // shards for n in (number, number + 1)]
            write(root / f"{part}-{number:03}.{suffix}", every[slice(*cut)])
    return root


def pixels_of(x: object) -> torch.Tensor:
    if not isinstance(x, Streamed):
        assert isinstance(x, torch.Tensor)
        return x
    return torch.cat(list(x.batches(torch.arange(len(x)), 4))).permute(0, 3, 1, 2)


def check_same(found: Images, wanted: Images) -> None:
    assert torch.equal(pixels_of(found.x), pixels_of(wanted.x))
    assert torch.equal(pixels_of(found.x_test), pixels_of(wanted.x_test))
    assert torch.equal(found.y, wanted.y)
    assert torch.equal(found.y_test, wanted.y_test)  # type: ignore[arg-type]
    for name in ("mean", "std", "classes", "validation"):
        assert getattr(found, name) == getattr(wanted, name)


def message(source: object, **how: object) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **how)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(("names", "classes"), [(("0", "1"), ("0", "1")), (("01440", "01443"), ("01440", "01443"))])
def test_texts_of_digits_are_numbers_without_leading_zeros(
    tmp_path: Path, names: tuple[str, str], classes: tuple[str, str]
) -> None:
    _, picture = photos(tmp_path / "photos")["train"][0]
    tar_of(tmp_path / "train-000.tar", [(name, picture) for name in names])
    assert load(tmp_path / "train-000.tar", 8).classes == classes


def test_a_test_shard_of_unknown_labels_is_left_out(tmp_path: Path) -> None:
    _, picture = photos(tmp_path / "photos")["train"][0]
    (tmp_path / "shards").mkdir()
    tar_of(tmp_path / "shards" / "train-000.tar", [(name, picture) for name in ("0", "1")])
    tar_of(tmp_path / "shards" / "test-000.tar", [("-1", picture)])
    images = load(tmp_path / "shards", 8)
    assert images.x_test is None
    assert images.left_out == (f"{tmp_path / 'shards' / 'test-000.tar'}: all of its labels are -1",)


# --- the same as class folders


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [16, None])
def test_shards_are_the_images_of_class_folders(tmp_path: Path, kind: str, stream: bool, size: int | None) -> None:
    samples = photos(tmp_path / "photos")
    root = sharded(tmp_path / "shards", samples, kind)
    check_same(load(root, size, stream=stream), load(tmp_path / "photos", size, stream=stream))


@pytest.mark.parametrize("kind", ["cls", "hugging face", "arrow stream"])
def test_processes_that_decode_read_shards(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_READERS", "2")
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"), kind)
    kept, left = load(root, 16, stream=False), load(root, 16, stream=True)
    order = torch.tensor([8, 0, 3, 3, 11, 1])
    for a, b in zip(ordered(kept, order, 4), ordered(left, order, 4), strict=True):
        assert torch.equal(a.x, b.x)


@pytest.mark.parametrize("kind", ["cls", "hugging face"])
def test_a_store_goes_to_another_process(tmp_path: Path, kind: str) -> None:
    images = load(sharded(tmp_path / "shards", photos(tmp_path / "photos"), kind), 16, stream=True)
    assert isinstance(images.x, Streamed)
    store = images.x._readers.store
    store.picture(0)
    assert pickle.loads(pickle.dumps(store)).picture(5) == store.picture(5)


def test_shards_too_large_for_the_memory_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"))
    assert not load(root, 16).streamed
    monkeypatch.setenv("SUPERNET_MEMORY_GB", "0.000001")
    assert load(root, 16).streamed


# --- what a user types


def test_braces_name_shards(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos")
    root = sharded(tmp_path / "shards", samples)
    every = f"{root}/{{train,val,test}}-{{000..002}}.tar"
    assert is_available(every)
    check_same(load(every, 16), load(root, 16))
    assert load(f"{root}/train-{{000..002}}.tar", 16).name == "shards"
    test = load(f"{root}/test-{{000..002}}.tar", 16, classes=NAMES)  # the only part is the one that is meant
    assert torch.equal(test.x, load(root, 16).x_test)  # type: ignore[arg-type]
    assert load(root / "train-000.tar", 16, classes=NAMES).name == "train-000"


@given(st.integers(0, 120), st.integers(0, 9), st.integers(1, 4))
def test_braces_count_with_the_digits_of_the_first_number(first: int, more: int, width: int) -> None:
    wanted = [f"a{n:0{width}}-{word}b" for n in range(first, first + more + 1) for word in ("x", "yz")]
    if len(str(first)) <= width:
        assert list(expanded(f"a{{{first:0{width}}..{first + more}}}-{{x,yz}}b")) == wanted


@pytest.mark.parametrize(
    "names",
    [
        ("train-{}", "validation-{}", "test-{}"),
        ("imagenet1k-training-{}", "imagenet1k-val-{}", "imagenet1k-test-{}"),
        ("train-{}-of-00002", "validation-{}-of-00002", "test-{}-of-00002-3f7a91"),
        ("train/{}", "val/{}", "test/{}"),
        ("train/data-{}-of-00002", "validation/data-{}-of-00002", "test/data-{}-of-00002"),
        ("{}", "dev_{}", "Testing_{}"),
    ],
)
def test_parts_are_told_by_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    samples = photos(tmp_path / "photos")
    for name, every in zip(names, samples.values(), strict=True):
        for number in range(2):
            path = tmp_path / "shards" / f"{name.format(f'{number:05}')}.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            tar_of(path, every[number * len(every) // 2 : (number + 1) * len(every) // 2])
    check_same(load(tmp_path / "shards", 16), load(tmp_path / "photos", 16))


def test_an_archive_beside_class_folders_is_no_shard(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos")
    wanted = load(tmp_path / "photos", 16)
    tar_of(tmp_path / "photos" / "photos.tar", samples["train"])
    tar_of(tmp_path / "photos" / "train" / "ant" / "photos.tar", samples["train"])
    check_same(load(tmp_path / "photos", 16), wanted)


def test_numbers_are_classes_where_they_have_no_names(tmp_path: Path) -> None:
    tar_of(tmp_path / "train.tar", photos(tmp_path / "photos")["train"], "number")
    assert load(tmp_path / "train.tar", 16).classes == ("0", "1", "2")


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos", count=11)["train"]
    for number in range(11):
        (tmp_path / "shards").mkdir(exist_ok=True)
        tar_of(tmp_path / "shards" / f"{number}.tar", samples[number * 3 : number * 3 + 3])
    named = load(f"{tmp_path}/shards/{{0..10}}.tar", 16)
    assert torch.equal(load(tmp_path / "shards", 16).x, named.x)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_classes_take_turns(labels: list[int]) -> None:
    ranks = [labels[:place].count(label) for place, label in enumerate(labels)]
    wanted = sorted(range(len(labels)), key=lambda place: (ranks[place], labels[place]))
    assert interleaved(np.array(labels, np.int64)).tolist() == wanted


def test_the_fingerprint_is_of_names_and_sizes(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos")
    root = sharded(tmp_path / "shards", samples)
    first = load(root, 16, stream=True).fingerprint
    assert load(root.rename(tmp_path / "moved"), 16, stream=True).fingerprint == first
    samples["train"].reverse()
    sharded(tmp_path / "moved", samples)
    assert load(tmp_path / "moved", 16, stream=True).fingerprint != first


# --- mistakes


@pytest.mark.parametrize("names", [("train-{:03}", 4), ("train-{:05}-of-00004", 4), ("train-{:05}-of-00004", 3)])
@pytest.mark.parametrize("gone", [1, 2])
def test_a_missing_shard_is_named(tmp_path: Path, names: tuple[str, int], gone: int) -> None:
    for number in range(names[1]):
        (tmp_path / f"{names[0].format(number)}.tar").touch()
    (tmp_path / f"{names[0].format(gone)}.tar").unlink()
    assert message(tmp_path).startswith(f"shard '{tmp_path}/{names[0].format(gone)}.tar' is missing: 'train-")


def test_a_shard_that_braces_name_is_there(tmp_path: Path) -> None:
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"))
    assert f"shard '{root}/train-003.tar' is missing" in message(f"{root}/train-{{000..004}}.tar")
    assert not is_available(f"{root}/train-{{000..004}}.tar")
    assert "names no shard" in message(f"{root}/train-{{004..000}}.tar")


@pytest.mark.parametrize("kind", ["cls", "hugging face", "arrow file"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.5])
def test_a_cut_shard_is_named(tmp_path: Path, kind: str, share: float) -> None:
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"), kind)
    path = next(root.glob("train-001.*"))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"shard '{path}'" in message(root)


def test_a_tar_cut_between_two_files_or_damaged_there_is_named(tmp_path: Path) -> None:
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"))
    path = root / "train-001.tar"
    with tarfile.open(path) as tar:
        start = tar.getmembers()[5].offset
    content = path.read_bytes()
    path.write_bytes(content[:start])
    assert f"shard '{path}' is truncated or damaged at byte {start:,}" in message(root)
    path.write_bytes(content[:start] + b"\x07" * 512 + content[start + 512 :])
    assert f"shard '{path}' is truncated or damaged at byte {start:,}" in message(root)


def test_a_broken_picture_is_named_with_its_shard_or_left_out(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos")
    samples["train"][5] = ("bee", b"no picture")
    for kind, name in (("cls", "train-001.tar/./0001.JPG"), ("hugging face", "train-001.parquet, row 1")):
        root = sharded(tmp_path / kind, samples, kind)
        assert f"cannot read image '{root / name.replace('./', '')}': not an image" == message(root)
        assert load(root, 16, skip_broken=True).broken == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"a.jpg": b"", "a.txt": b"1"},
            "sample 'a' of '{}' has no label: expected a .cls, or a .json with label or cls",
        ),
        ({"a.jpg": b"", "a.cls": b" "}, "sample 'a' of '{}' has no label"),
        ({"a.jpg": b"", "a.json": b"[1"}, "sample 'a' of '{}' has no label"),
        ({"a.jpg": b"", "a.json": b'{"caption": "x"}'}, "sample 'a' of '{}' has no label"),
        ({"x/a.jpg": b"", "x/a.seg.png": b"", "x/a.cls": b"1"}, "sample 'x/a' of '{}' has 2 pictures (.jpg, .seg.png)"),
        ({"a.jpg": b"", "a.JPG": b"", "a.cls": b"1"}, "sample 'a' of '{}' has 2 pictures (.jpg, .jpg): expected one"),
        ({"a.cls": b"1"}, "sample 'a' of '{}' has no pictures (.cls): expected one"),
    ],
)
def test_a_sample_has_one_picture_and_a_label(tmp_path: Path, files: dict[str, bytes], expected: str) -> None:
    path = tmp_path / "train.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    assert expected.format(path) in message(path)


@pytest.mark.parametrize("classes", [None, NAMES])
def test_shards_without_a_picture_are_refused(tmp_path: Path, classes: tuple[str, ...] | None) -> None:
    tar_of(tmp_path / "a.tar", [])
    with pytest.raises(UserError, match=r"a\.tar' holds no training images$"):
        load(tmp_path / "a.tar", classes=classes)


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w:gz") as tar:
        add(tar, "a.cls", b"1")
    assert "is no tar file, or compressed" in message(tmp_path / "train.tar")


def test_folders_of_shards_that_could_mean_two_things_are_refused(tmp_path: Path) -> None:
    for name in ("cats-train-0.tar", "dogs-train-0.tar", "cats-val-0.tar"):
        (tmp_path / name).touch()
    assert "which holds the train images?" in message(tmp_path)
    for path in tmp_path.glob("*-train-*"):
        path.unlink()
    (tmp_path / "cats-test-0.tar").touch()
    assert "but none for training" in message(tmp_path)
    (tmp_path / "cats-train-0.parquet").touch()
    assert "has .tar shards and others" in message(tmp_path)


def test_shards_of_no_known_part_are_left_out(tmp_path: Path) -> None:
    samples = photos(tmp_path / "photos")
    root = sharded(tmp_path / "shards", samples)
    tar_of(root / "extra-0.tar", samples["test"])
    assert "1 left out (1 .tar)" in load(root, 16).notes
    assert load(root, 16).left_out == (f"{root / 'extra-0.tar'}: a shard of no known part",)


def test_rows_without_what_is_needed_are_named(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"
    for columns, expected in (
        ({"picture": [b""], "label": [1]}, "has columns picture, label: none is called image or img"),
        ({"image": [b""], "y": [1]}, "has columns image, y: none is called label or labels or fine_label or class"),
        ({"image": [b"", b""], "label": [1, None]}, f"row 1 of '{path}' has label None"),
        ({"image": ["x"], "label": [0]}, f"{path}, row 0 has no encoded picture in column 'image'"),
    ):
        parquet.write_table(arrow.table(columns), path)
        assert expected in message(path, classes=("0", "1"))


def test_test_images_without_labels_are_left_out(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"), "hugging face")
    for path in root.glob("test-*"):
        table = parquet.read_table(path)
        parquet.write_table(table.set_column(1, "label", arrow.array([-1] * len(table))), path)
    images = load(root, 16)
    assert images.x_test is None
    assert f"{root / 'test-000.parquet'}: all of its labels are -1" in images.left_out


def test_row_groups_too_large_to_stream_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LARGEST", 100)
    root = sharded(tmp_path / "shards", photos(tmp_path / "photos"), "hugging face")
    assert not load(root, 16).streamed
    assert "too large to stream: write it with a row_group_size of 100, or as .arrow" in message(root, stream=True)


def test_parquet_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    (tmp_path / "train.parquet").touch()
    expected = f"reading '{tmp_path / 'train.parquet'}' needs the extra: pip install 'supernet[hf]'"
    assert message(tmp_path / "train.parquet") == expected
