"""The files of CIFAR-10 and CIFAR-100, pickled and binary, and pickles that would run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from supernet.data import load
from supernet.errors import UserError

NAMES = ["cat", "dog", "eel"]
X = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
Y = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
REAL_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10 = [f"data_batch_{i}" for i in range(1, 6)]


def python2(content: dict[str, Any]) -> bytes:
    """Return a pickle as Python 2 wrote it: protocol 2, with texts of bytes and the old name of a module."""
    image = content.get("data")
    rows = [] if image is None else [b"U\x04data", array2(image)]
    for key, values in content.items():
        if key != "data":
            items = b"".join(f"K{chr(v)}".encode("latin1") if isinstance(v, int) else text2(v) for v in values)
            rows += [text2(key), b"](" + items + b"e"]
    return b"\x80\x02}(" + b"".join(rows) + b"u."


def text2(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def array2(x: np.ndarray) -> bytes:
    shape = b"".join(b"M" + n.to_bytes(2, "little") for n in x.shape)
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return start + b"(K\x01(" + shape + b"t" + kind + b"\x89T" + x.size.to_bytes(4, "little") + x.tobytes() + b"tb"


def python3(content: dict[str, Any], protocol: int = 4) -> bytes:
    return pickle.dumps(content, protocol)


WRITERS = {"python2": python2, "protocol 2": lambda content: python3(content, 2), "protocol 4": python3}


def cifar10(folder: Path, write: Any = python3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate([*CIFAR10, "test_batch"]):
        part = slice(2 * i, 2 * i + 2)
        (folder / name).write_bytes(write({"data": X[part].reshape(2, -1), "labels": Y[part], "filenames": ["a", "b"]}))
    (folder / "batches.meta").write_bytes(write({"label_names": NAMES}))
    return folder


def cifar100(folder: Path, write: Any = python3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", slice(10)), ("test", slice(10, 12))):
        labels = {"fine_labels": Y[part], "coarse_labels": [0] * len(Y[part])}
        (folder / name).write_bytes(write({"data": X[part].reshape(len(Y[part]), -1), **labels}))
    (folder / "meta").write_bytes(write({"fine_label_names": NAMES, "coarse_label_names": ["animal"]}))
    return folder


def records(part: slice, coarse: bool) -> bytes:
    return b"".join(bytes([7] * coarse + [y]) + x.tobytes() for x, y in zip(X[part], Y[part], strict=True))


def binary10(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate([*CIFAR10, "test_batch"]):
        (folder / f"{name}.bin").write_bytes(records(slice(2 * i, 2 * i + 2), coarse=False))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return folder


def binary100(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.bin").write_bytes(records(slice(10), coarse=True))
    (folder / "test.bin").write_bytes(records(slice(10, 12), coarse=True))
    (folder / "fine_label_names.txt").write_text("\n".join(NAMES) + "\n")
    return folder


MAKERS = {
    "cifar-10-batches-py": cifar10,
    "cifar-100-python": cifar100,
    "cifar-10-batches-bin": binary10,
    "cifar-100-binary": binary100,
}


def message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(source)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def check(images: Any) -> None:
    assert np.array_equal(images.x, X[:10])
    assert np.array_equal(images.x_test, X[10:])
    assert (images.y.tolist(), images.y_test.tolist()) == (Y[:10], Y[10:])
    assert (images.classes, images.notes) == (tuple(NAMES), ())


@pytest.mark.parametrize("name", MAKERS)
def test_the_published_folders(name: str, tmp_path: Path) -> None:
    folder = MAKERS[name](tmp_path / name)
    check(load(folder))
    check(load(tmp_path))  # where the archive was unpacked
    assert load(folder, 8).x.shape == (10, 3, 8, 8)
    assert load(folder).name == load(tmp_path).name == name


@pytest.mark.parametrize("make", [cifar10, cifar100])
@pytest.mark.parametrize("writer", WRITERS)
def test_pickles_of_all_times(make: Any, writer: str, tmp_path: Path) -> None:
    check(load(make(tmp_path, WRITERS[writer])))


def test_without_test_images_and_with_the_classes_of_a_run(tmp_path: Path) -> None:
    folder = cifar10(tmp_path)
    (folder / "test_batch").unlink()
    images = load(folder, classes=["dog", "eel", "cat"])
    assert images.x_test is None
    assert images.y.tolist() == [(y - 1) % 3 for y in Y[:10]]


def test_real_cifar_10(tmp_path: Path) -> None:
    data = Path(os.environ.get("SUPERNET_DATA", "")) / "cifar10"
    if "SUPERNET_DATA" not in os.environ or not data.is_dir():
        pytest.skip("SUPERNET_DATA is not a folder with cifar10/")
    with Image.open(data / "test.webp") as mosaic:
        tiles = np.asarray(mosaic.convert("RGB")).reshape(-1, 32, 50, 32, 3).transpose(0, 2, 4, 1, 3)
    with np.load(data / "labels.npz") as labels:
        x, y = tiles.reshape(-1, 3, 32, 32)[:1000], labels["test"][:1000].astype(int)
    for i, name in enumerate([*CIFAR10, "test_batch"]):
        part = slice(160 * i, 160 * i + (160 if i < 5 else 200))
        content = {"data": x[part].reshape(-1, 3072), "labels": y[part].tolist()}
        (tmp_path / name).write_bytes(python3(content))
    (tmp_path / "batches.meta").write_bytes(python3({"label_names": list(REAL_NAMES)}))
    images = load(tmp_path)
    assert images.classes == REAL_NAMES
    assert np.array_equal(images.x, x[:800])
    assert images.x_test is not None
    assert np.array_equal(images.x_test, x[800:])
    assert images.y.tolist() == y[:800].tolist()


# --- pickles that would run code


class Evil:
    def __init__(self, command: Any, *arguments: Any) -> None:
        self.command, self.arguments = command, arguments

    def __reduce__(self) -> Any:
        return self.command, self.arguments


@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (Evil(os.system, "touch {}"), f"{os.system.__module__}.system"),
        (Evil(eval, "open('{}', 'w')"), "builtins.eval"),
        (Evil(np.load, "{}"), "numpy.load"),
        (Path("some"), f"{type(Path()).__module__}.PosixPath"),
    ],
)
@pytest.mark.parametrize("file", ["data_batch_1", "batches.meta"])
def test_a_pickle_that_names_code_runs_nothing(evil: Any, named: str, file: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    if isinstance(evil, Evil):
        evil = Evil(*(part.format(made) if isinstance(part, str) else part for part in (evil.command, *evil.arguments)))
    folder = cifar10(tmp_path / "data")
    content = {"data": X[:2].reshape(2, -1), "labels": Y[:2], "label_names": NAMES, "more": [evil]}
    (folder / file).write_bytes(pickle.dumps(content, 4))
    wanted = f"'{folder / file}' is not read: it asks for {named}, and plain data needs only arrays"
    assert message(folder) == wanted
    assert not made.exists()


def test_what_stands_for_arrays_gives_access_to_nothing(tmp_path: Path) -> None:
    folder = cifar10(tmp_path)
    for code in (
        b"cnumpy\nndarray.tofile\n.",  # protocol 4 would look up the attribute
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00base64\x86RcnumpY\ndtype\n.",
        b"\x82\x01.",  # a registered extension
        b"X\x01\x00\x00\x00aQ.",  # a persistent id
    ):
        (folder / "batches.meta").write_bytes(code)
        assert str(folder / "batches.meta") in message(folder)


def test_a_small_pickle_of_a_text_without_end(tmp_path: Path) -> None:
    folder, many = cifar10(tmp_path), ["cat"]
    for _ in range(60):
        many = [many, many]  # type: ignore[list-item]
    (folder / "batches.meta").write_bytes(python3({"label_names": many}))
    assert message(folder) == f"'{folder / 'batches.meta'}' has no list 'label_names' of names"


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_key_whose_hash_takes_forever_is_refused(protocol: int, tmp_path: Path) -> None:
    folder, key = cifar10(tmp_path), ("cat",)
    for _ in range(16):  # of 60, each twice the one before, Python would not find the hash in a lifetime
        key = (key, key)  # type: ignore[assignment]
    start = f"'{folder / 'batches.meta'}' is not read: it asks for "
    for content in ({key: 0}, {"a": 1, key: 0}, {key}):
        (folder / "batches.meta").write_bytes(pickle.dumps(content, protocol))
        assert message(folder).startswith(start)


# --- other mistakes


def changed(folder: Path, **content: Any) -> str:
    whole = {"data": X[:2].reshape(2, -1), "labels": Y[:2]} | content
    (folder / "data_batch_2").write_bytes(python3({key: value for key, value in whole.items() if value is not None}))
    return message(folder).removeprefix(f"'{folder / 'data_batch_2'}' ")


def test_mistakes_in_the_files(tmp_path: Path) -> None:
    folder = cifar10(tmp_path)
    no_images = "has no array 'data' with 3072 bytes for each image"
    assert changed(folder, data=None) == no_images
    assert changed(folder, data=[1, 2]) == no_images
    assert changed(folder, data=X[:2].reshape(3, 2048)) == no_images
    no_labels = "has no list 'labels' with an integer for each image"
    assert changed(folder, labels=None) == no_labels
    assert changed(folder, labels=[0]) == no_labels
    assert changed(folder, labels=[0, "1"]) == no_labels
    assert (
        changed(folder, labels=[0, -1]) == f"labels of '{folder}' holds label -1; labels are class numbers 0, 1, 2, ..."
    )
    assert changed(folder, labels=[0, 3]) == f"labels of '{folder}' holds label 3, but there are only 3 class names"
    assert changed(folder, labels=[0, 2**70]) == f"labels of '{folder}' has dtype object; labels must be integers"
    damaged = f"cannot read '{folder / 'data_batch_2'}': not a pickle of plain data, or damaged"
    assert changed(folder, data=X[:2].reshape(2, -1) * 1.0) == damaged
    (folder / "data_batch_2").unlink()
    assert message(folder) == f"'{folder}' has no file data_batch_2"
    (cifar10(folder) / "batches.meta").unlink()
    assert message(folder) == f"'{folder}' has no file batches.meta"


def test_mistakes_in_binary_files(tmp_path: Path) -> None:
    folder = binary10(tmp_path)
    (folder / "data_batch_3.bin").write_bytes(bytes(5000))
    cut = f"'{folder / 'data_batch_3.bin'}' is cut off or damaged: 5000 bytes are no multiple of 3073"
    assert message(folder) == cut


def test_more_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_MEMORY_GB", "0.0001")
    assert message(cifar10(tmp_path)).startswith(f"'{tmp_path}' needs 0.00011")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_damage_anywhere_is_a_line(tmp_path: Path, changes: list[tuple[float, bytes]]) -> None:
    folder = cifar10(tmp_path)
    content = bytearray(python3({"label_names": NAMES, "more": np.zeros((2, 3), np.uint8)}, 2))
    for place, change in changes:
        start = int(place * len(content))
        content[start : start + len(change)] = change
    (folder / "batches.meta").write_bytes(content)
    try:
        load(folder)
    except UserError:
        return
