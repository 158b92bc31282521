"""Images streamed from disk: the pixels, batches and errors of images in memory, and state that resumes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supernet.data import Augment, Batches, Images, Streamed, load, ordered, streamed, take
from supernet.errors import UserError

AUGMENT = Augment(pad=2, mirror=True, cutout=3, jitter=True, trivial=True, mixup=0.2, cutmix=1.0)


@pytest.fixture(autouse=True)
def no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_READERS", "0")


def photos(root: Path, classes: int = 3, count: int = 5, mode: str = "RGB") -> Path:
    """Write JPEGs of mixed sizes in class folders, `count` for training, one for a test and one for validation."""
    draws = np.random.default_rng(0)
    for part, number in (("train", count), ("val", 1), ("test", 1)):
        for c in range(classes):
            folder = root / part / f"c{c}"
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = draws.integers(0, 256, (*draws.integers(9, 60, 2), 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / f"{i}.jpg")
    return root


def both(root: Path, size: int | None = 16, **how: object) -> tuple[Images, Images]:
    return load(root, size, stream=False, **how), load(root, size, stream=True, **how)  # type: ignore[arg-type]


def pixels_of(x: object) -> torch.Tensor:
    assert isinstance(x, Streamed)
    return torch.cat(list(x.batches(torch.arange(len(x)), 4))).permute(0, 3, 1, 2)


def stream(images: Images, batch_size: int = 4) -> Batches:
    return Batches(images, torch.arange(len(images.y)), batch_size, AUGMENT, seed=3)


# --- the same as in memory


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [16, None])
def test_streamed_images_are_those_in_memory(tmp_path: Path, mode: str, size: int | None) -> None:
    kept, left = both(photos(tmp_path, mode=mode), size)
    assert torch.equal(pixels_of(left.x), kept.x)
    assert torch.equal(pixels_of(left.x_test), kept.x_test)
    assert left.x.shape == tuple(kept.x.shape)
    assert (left.mean, left.std, left.classes, left.validation) == (kept.mean, kept.std, kept.classes, kept.validation)
    assert torch.equal(left.y, kept.y)
    assert left.described() == kept.described() + "; streamed from disk, 0 processes decode"


def test_colour_in_the_test_images_alone_keeps_three_channels_as_in_memory(tmp_path: Path) -> None:
    for file in (photos(tmp_path, mode="L") / "test").rglob("*.jpg"):
        draws = np.random.default_rng(0)
        Image.fromarray(draws.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(file)
    for channels, found in ((None, 3), (3, 3), (1, 1)):
        kept, left = both(tmp_path, channels=channels)
        assert kept.x.shape[1] == found
        assert kept.x_test is not None
        assert torch.equal(pixels_of(left.x), kept.x)
        assert torch.equal(pixels_of(left.x_test), kept.x_test)


def test_deep_pictures_are_scaled_as_in_memory(tmp_path: Path) -> None:
    for c in range(2):
        (tmp_path / f"c{c}").mkdir()
        Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * (40 + c)).save(tmp_path / f"c{c}" / "x.png")
    kept, left = both(tmp_path)
    assert left.levels == kept.levels is not None
    assert torch.equal(pixels_of(left.x), kept.x)


@pytest.mark.parametrize("readers", ["0", "2"])
def test_streamed_batches_are_those_in_memory(tmp_path: Path, readers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_READERS", readers)
    monkeypatch.setattr(streamed, "_CHUNK", 3)  # a batch of 4 is one whole chunk and one of a single image
    kept, left = (stream(images) for images in both(photos(tmp_path)))
    before = torch.get_rng_state()
    for _ in range(2 * kept.steps + 1):
        for a, b in zip(kept.next(), left.next(), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)  # the passes of a DataLoader draw from it by default


def test_ordered_passes_are_those_in_memory_side_by_side_too(tmp_path: Path) -> None:
    kept, left = both(photos(tmp_path))
    some = torch.tensor([3, 0, 7, 7, 1])
    for options in ({}, {"crop": 9}, {"test": True}):
        subset = None if "test" in options else some
        wanted, *found = (ordered(images, subset, 2, **options) for images in (kept, left, left))  # type: ignore[arg-type]
        for batch, one, other in zip(wanted, *found, strict=True):
            assert torch.equal(batch.x, one.x)
            assert torch.equal(batch.x, other.x)
            assert torch.equal(batch.index, one.index)


def test_the_first_images_are_those_in_memory(tmp_path: Path) -> None:
    kept, left = (take(images, 10) for images in both(photos(tmp_path)))
    assert torch.equal(pixels_of(left.x), kept.x)
    assert (left.mean, left.validation) == (kept.mean, kept.validation)


# --- resuming


@pytest.mark.parametrize("readers", ["0", "1"])
def test_a_stream_goes_on_in_the_middle_of_a_pass(
    tmp_path: Path, readers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERNET_READERS", readers)
    images = load(photos(tmp_path), 16, stream=True)
    begun, other = stream(images), stream(images)
    for _ in range(begun.steps + 2):
        begun.next()
    other.next()  # of a pass that is given up
    other.load_state_dict(begun.state_dict())
    for _ in range(begun.steps):
        assert torch.equal(begun.next().x, other.next().x)


def test_a_pass_that_is_given_up_leaves_its_processes_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERNET_READERS", "1")
    monkeypatch.setattr(streamed, "_CHUNK", 1)
    images = load(photos(tmp_path), 16, stream=True)
    made: list[object] = []
    loader = streamed.Readers._loader
    monkeypatch.setattr(streamed.Readers, "_loader", lambda self: made.append(self) or loader(self))
    for _ in range(3):
        assert next(iter(ordered(images, None, 2))).index.tolist() == [0, 1]
    assert len(made) <= 1


# --- what a stream knows without reading


def test_names_and_sizes_of_files_make_the_fingerprint(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    first = load(root, 16, stream=True)
    root.rename(tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere", 16, stream=True).fingerprint == first.fingerprint
    (root := tmp_path / "elsewhere" / "train" / "c0" / "0.jpg").rename(root.with_name("00.jpg"))
    renamed = load(tmp_path / "elsewhere", 16, stream=True).fingerprint
    assert renamed != first.fingerprint
    Image.new("RGB", (50, 50)).save(root.with_name("00.jpg"))
    assert load(tmp_path / "elsewhere", 16, stream=True).fingerprint not in (renamed, first.fingerprint)


def test_a_sample_stands_for_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "SAMPLE", 6)
    kept, left = both(photos(tmp_path))
    sample = kept.x[torch.arange(6) * len(kept.x) // 6].float() / 255
    torch.testing.assert_close(torch.tensor(left.mean), sample.mean(dim=(0, 2, 3)))


def test_images_too_large_for_the_memory_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos(tmp_path)
    needed = 2 * 21 * 3 * 16**2
    for gigabytes, is_streamed in (((needed + 1) / 1e9, False), ((needed - 1) / 1e9, True)):
        monkeypatch.setenv("SUPERNET_MEMORY_GB", f"{gigabytes:.9f}")
        assert load(root, 16).streamed is is_streamed
    with pytest.raises(UserError, match="or leave the pictures on the disk with --stream, or set"):
        load(root, 16, stream=False)


# --- mistakes


def test_what_is_no_folder_cannot_be_streamed() -> None:
    with pytest.raises(UserError, match=r"^'digits' cannot be streamed, only a folder of class folders or shards can"):
        load("digits", stream=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_a_broken_picture_is_named_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos(tmp_path, count=9)
    cut(root / "train" / "c2" / "7.jpg")
    monkeypatch.setattr(streamed, "SAMPLE", 6)
    monkeypatch.setenv("SUPERNET_READERS", "1")
    images = load(root, 16, stream=True)
    with pytest.raises(UserError, match=r"cannot read image '.*c2/7.jpg': image file is truncated"):
        list(ordered(images, None, 4))


def test_broken_pictures_are_left_out(tmp_path: Path) -> None:
    root = photos(tmp_path)
    cut(root / "train" / "c1" / "3.jpg")
    (root / "test" / "c2" / "0.jpg").write_text("no picture")
    kept, left = both(root, skip_broken=True)
    assert torch.equal(pixels_of(left.x), kept.x)
    assert torch.equal(pixels_of(left.x_test), kept.x_test)
    assert torch.equal(left.y, kept.y)
    assert (left.broken, sorted(left.left_out)) == (2, sorted(kept.left_out))
    (root / "train" / "c0").rename(tmp_path / "gone")
    (root / "train" / "c0").mkdir()
    (root / "train" / "c0" / "0.jpg").write_text("no picture")
    with pytest.raises(UserError, match="class 'c0' has no image that can be read"):
        load(root, 16, stream=True, skip_broken=True)


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_the_number_of_readers_is_a_number(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNET_READERS", value)
    with pytest.raises(UserError, match=f"SUPERNET_READERS must be a number of processes, 0 or more, not '{value}'"):
        load(photos(tmp_path), 16, stream=True)


def test_a_reader_that_has_ended_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(photos(tmp_path), 16, stream=True)
    assert isinstance(images.x, Streamed)
    images.x._readers._idle[False].clear()  # so that the next pass starts a process
    monkeypatch.setenv("SUPERNET_READERS", "1")
    monkeypatch.setattr(streamed, "read", lambda *given: os.kill(os.getpid(), signal.SIGKILL))  # in the forked process
    with pytest.raises(UserError, match=r"a process that reads images has ended \(.*SUPERNET_READERS") as caught:
        list(ordered(images, None, 2))
    assert len(str(caught.value).splitlines()) == 1


def test_a_reader_that_ends_raises_nothing_before_its_images_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load(photos(tmp_path), 16, stream=True)
    assert isinstance(images.x, Streamed)
    images.x._readers._idle[False].clear()  # so that the next pass starts a process
    monkeypatch.setenv("SUPERNET_READERS", "1")
    known, before = signal.getsignal(signal.SIGCHLD), set(multiprocessing.active_children())
    left = ordered(images, None, 2)
    next(left)
    assert signal.getsignal(signal.SIGCHLD) is known
    (reader,) = set(multiprocessing.active_children()) - before
    assert os.getpgid(reader.pid or 0) == reader.pid  # what goes to the group of this program does not reach it
    reader.kill()
    reader.join()
    with pytest.raises(UserError, match="a process that reads images has ended"):
        list(left)


@pytest.mark.slow
def test_a_program_ends_with_a_pass_that_is_not_over(tmp_path: Path) -> None:
    code = f"""
from supernet.data import load, ordered
images = load({str(photos(tmp_path))!r}, 16, stream=True)
left = ordered(images, None, 2)
next(left)
import multiprocessing.util  # keeps what is left until Python ends the processes that it has started
multiprocessing.util.kept = images, left
"""
    environment = os.environ | {"SUPERNET_READERS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
