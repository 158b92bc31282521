"""Files: never through a link, with the mode of an ordinary file, and read as plain data or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from retrained import record
from supernet.engine import files
from supernet.engine.files import read_json, read_json_lines, read_yaml, temporary_name, to_yaml, write_atomically
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.report import plots


def test_a_written_file_has_an_ordinary_mode_and_replaces_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "file").symlink_to(tmp_path / "mine")
    write_atomically(tmp_path / "file", b"new")
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "file").is_symlink()


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0" * 8)
    temporary_name(tmp_path / "file").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_killed_writer_left_is_removed_once_nobody_can_write_it_any_more(tmp_path):
    file = tmp_path / "a[1].csv"
    old, new, other = temporary_name(file), temporary_name(file), temporary_name(tmp_path / "b.csv")
    for left, days in ((old, 2), (new, 0), (other, 2)):
        left.touch()
        os.utime(left, (time.time() - days * 86400,) * 2)
    write_atomically(file, b"new")
    assert set(tmp_path.iterdir()) == {file, new, other}


def test_rows_go_through_no_link_and_force_removes_links_alone(tmp_path):
    run, mine = Run(tmp_path / "run"), tmp_path / "mine"
    run.start(record("search"), {})
    mine.mkdir()
    (mine / "thesis").write_text("mine")
    (run.path / "metrics.jsonl").symlink_to(mine / "thesis")
    with pytest.raises(OSError, match="metrics"):
        run.log({"epoch": 1})
    for name in ("checkpoints", "selections", "model.onnx"):
        (run.path / name).symlink_to(mine)
    run.start(record("search"), {}, force=True)
    assert (mine / "thesis").read_text() == "mine"
    assert {file.name for file in run.path.iterdir()} == {"config.yaml", "environment.json"}


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for write in (lambda file: write_atomically(file, b"new"), lambda file: files.append(file, "row\n")):
        with pytest.raises(OSError, match="No space") as caught:
            write(tmp_path / "file")
        assert caught.value.filename == str(tmp_path / "file")


BOMB = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True))


@pytest.mark.parametrize("content", [BOMB, "a: &a [*a]", "? {}", "!!bool x", "!!int ''", "1: 2", "a: 2024-01-01"])
def test_yaml_that_is_no_plain_data_is_refused(content, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r".") as caught:
        read_yaml(tmp_path / "config.yaml")
    assert type(caught.value) is ValueError


def test_what_is_no_file_or_too_large_is_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe", "missing"):
        with pytest.raises(ValueError, match="no file"):
            read_json(tmp_path / name)
    monkeypatch.setattr(files, "_LARGEST_OTHER", 3)
    (tmp_path / "file").write_text("[10]")
    with pytest.raises(ValueError, match="more than 0 MB"):
        read_json(tmp_path / "file")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


several = settings(max_examples=50, derandomize=True)


@several
@given(plain)
def test_plain_data_is_read_back_from_yaml(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "plain.yaml"
    same = [1, 2]
    file.write_bytes(to_yaml({"value": value, "twice": [same, same]}).encode())
    assert read_yaml(file) == {"value": value, "twice": [same, same]}


def test_a_name_whose_bytes_are_no_text_is_one_line():
    name = os.fsdecode(b"caf\xe9")  # as an archive made elsewhere leaves it
    with pytest.raises(UserError, match=r"^'caf\\udce9' has letters that are not UTF-8: rename the file or folder$"):
        to_yaml({"classes": ["tea", name]})


@several
@given(st.binary() | plain.map(lambda value: json.dumps(value).encode()))
@example(b"5\n")
@example(b"\xff\n")
@example(b"[" * 200_000)
@example(b'{"a": ' * 200_000 + b"1" + b"}" * 200_000 + b"\n")
@example(b"1" * 9999)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(content)
    for read in (read_json, read_json_lines, read_yaml):
        with contextlib.suppress(ValueError):
            read(file)


def test_a_picture_replaces_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "cell.svg").symlink_to(tmp_path / "mine")
    plots.save(Figure(), tmp_path / "cell.svg")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "cell.svg").read_text().startswith("<?xml")
