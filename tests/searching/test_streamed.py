"""A search, a retraining and an evaluation on images that stay on the disk are those on images in memory."""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import supernet as sn
from supernet.engine.callbacks import Callback
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.report import page
from supernet.searching import forecast as forecasting
from supernet.searching.config import PROTOCOLS
from supernet.searching.plan import planned
from supernet.searching.resume import done, plan_of
from supernet.spaces import NetworkSize
from supernet.spaces.shapes import CellAt

SEARCH = {"epochs": 2, "batch_size": 8, "width": 2, "image_size": 8, "method": "darts", "device": "cpu", "quiet": True}
RETRAIN = {"epochs": 1, "batch_size": 8, "width": 2, "validation_share": 0.0, "device": "cpu", "quiet": True}


class Ends(Callback):
    """Ends a search in the middle of its second epoch."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            raise KeyboardInterrupt


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUPERNET_READERS", "0")
    draws = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for number in range(2 * count):
            path = tmp_path / "photos" / part / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 256, (*draws.integers(9, 30, 2), 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def without_time(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_goes_on_with_its_images_where_they_were_whatever_memory_there_is(
    streamed: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = {"out": tmp_path / "run"}
    monkeypatch.setattr("supernet.data.listings.is_for_streaming", lambda needed: streamed)
    with pytest.raises(KeyboardInterrupt):
        sn.search(photos, callbacks=[Ends()], **out, **SEARCH)
    monkeypatch.setattr("supernet.data.listings.is_for_streaming", lambda needed: not streamed)
    search = sn.search(photos, **out, **SEARCH)
    assert search.config["stream"] is plan_of(search).images.streamed is streamed
    selected = sn.select(search, "best-of-samples", samples=2, quiet=True)
    assert selected.config["fingerprint"] == search.config["fingerprint"]
    monkeypatch.setattr("supernet.data.listings.is_for_streaming", lambda needed: streamed)
    retrained = sn.retrain(search, image_size=8, **RETRAIN)
    monkeypatch.setattr("supernet.data.listings.is_for_streaming", lambda needed: not streamed)
    assert sn.retrain(search, image_size=8, **RETRAIN).path == retrained.path
    assert sn.search(photos, **out, **SEARCH | {"width": 3}, force=True).config["stream"] is not streamed


@pytest.mark.slow
def test_all_of_a_streamed_run_is_as_in_memory(photos: Path, tmp_path: Path) -> None:
    found = {}
    for name, stream in (("memory", False), ("disk", True)):
        out = tmp_path / name
        if stream:
            with pytest.raises(KeyboardInterrupt):
                sn.search(photos, out=out, stream=stream, callbacks=[Ends()], **SEARCH)
        search = sn.search(photos, out=out, stream=stream, **SEARCH)
        assert "data:image/png" in page.write(search).read_text()  # reads the images as the search did
        retrained = sn.retrain(search, **RETRAIN)
        evaluation = sn.evaluate(retrained, device="cpu").to_json()
        assert [search.config["stream"], retrained.config["stream"]] == [stream, stream]
        assert plan_of(search).images.streamed is stream
        logits = {name: evaluation[name] for name in ("accuracy", "confusion", "count", "images")}
        found[name] = without_time(search), without_time(retrained), logits
    assert found["memory"] == found["disk"]


DIES = """
import os, signal, sys
import supernet as sn
from supernet.engine.callbacks import Callback

class Dies(Callback):
    steps = 0
    def step(self):
        self.steps += 1
        if self.steps == 6:
            os.kill(os.getpid(), signal.SIGKILL)

sn.retrain(sys.argv[1], out=sys.argv[2], callbacks=[Dies()], **eval(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_signal_to_the_whole_group_of_processes_saves_a_streamed_search(photos: Path, tmp_path: Path) -> None:
    """As `timeout`, batch systems and the launcher of several processes send it; the readers must not die of it."""
    out, words = (
        tmp_path / "run",
        [f"--{name.replace('_', '-')}={SEARCH[name]}" for name in ("method", "batch_size", "width", "device")],
    )
    command = [sys.executable, "-m", "supernet", "search", str(photos), "--stream", "--image-size=8", "--epochs=500"]
    environment = os.environ | {"SUPERNET_READERS": "2"}
    with subprocess.Popen(
        [*command, *words, f"--out={out}"], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as search:
        while search.poll() is None and len(Run(out).metrics if (out / "metrics.jsonl").exists() else ()) < 2:
            time.sleep(0.1)
        os.killpg(search.pid, signal.SIGTERM)
        _, told = search.communicate(timeout=120)
    assert (search.returncode, told.splitlines()[-1]) == (143, "supernet: stopped; the same command goes on from here")
    assert done(Run(out))[0] == len(Run(out).metrics) >= 2


@pytest.mark.slow
def test_a_killed_retraining_on_shards_ends_as_one_in_memory(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for part in ("train", "test"):
        with tarfile.open(tmp_path / "shards" / f"{part}-000.tar", "w") as tar:
            for path in sorted((photos / part).glob("*/*")):
                tar.add(path, f"{path.parent.name}{path.name}")
                label = tarfile.TarInfo(f"{path.parent.name}{path.stem}.cls")
                label.size = 1
                tar.addfile(label, io.BytesIO(path.parent.name.encode()))
    found, how = [], RETRAIN | {"epochs": 2}
    for source, stream in ((photos, False), (tmp_path / "shards", True)):
        out = tmp_path / f"run {stream}"
        search = sn.search(source, out=out / "search", stream=stream, **SEARCH)
        if stream:
            command = [sys.executable, "-c", DIES, str(search.path), str(out / "retrained"), repr(how)]
            died = subprocess.run(command, env=os.environ | {"SUPERNET_READERS": "1"}, check=False, timeout=300)
            assert died.returncode == -signal.SIGKILL
            assert len(Run(out / "retrained").metrics) == 1  # of two epochs
        retrained = sn.retrain(search, out=out / "retrained", **how)
        found.append((without_time(retrained), sn.evaluate(retrained, device="cpu").confusion))
    assert found[0] == found[1]


def test_other_images_are_evaluated_from_the_disk(photos: Path, tmp_path: Path) -> None:
    search = sn.search(photos, out=tmp_path / "run", **SEARCH)
    retrained = sn.retrain(search, **RETRAIN)
    in_memory, streamed = (
        sn.evaluate(retrained, data=photos / "train", stream=stream, device="cpu") for stream in (False, True)
    )
    assert streamed.confusion == in_memory.confusion
    assert (streamed.images, streamed.count) == ("all", 32)


def test_a_share_of_each_class_trains_the_weights(photos: Path) -> None:
    chosen = planned(photos, protocol="imagenet-pc-darts", training_share=0.25, image_size=8, space="darts", width=4)
    train, validation = chosen.parts
    assert [chosen.images.y[part].bincount().tolist() for part in (train, validation)] == [[4, 4], [1, 1]]
    assert not set(train.tolist()) & set(validation.tolist())
    assert "8 of them train the weights" in chosen.reading
    with pytest.raises(UserError, match=r"training_share is too large at 0.99: validation leaves 30 of 32 images"):
        _ = replace(chosen, config=replace(chosen.config, training_share=0.99)).parts


@pytest.mark.parametrize("protocol", ["imagenet-single-darts", "imagenet-pc-darts"])
def test_the_protocols_of_imagenet_search_behind_three_halvings(protocol: str) -> None:
    how = PROTOCOLS[protocol]
    layout = sn.space("darts").layout(NetworkSize(how.width, how.depth, (224, 224), 3, 1000, how.stem))
    cells = [placed for placed in layout if isinstance(placed.layer, CellAt)]
    assert len(cells) == 8
    assert cells[0].inputs[-1].height == 28


def test_the_rate_of_pc_darts_on_imagenet_rises_for_five_epochs() -> None:
    how = PROTOCOLS["imagenet-pc-darts"]
    cosine = [0.25 * (1 + math.cos(math.pi * epoch / how.epochs)) for epoch in range(6)]
    expected = [rate * share for rate, share in zip(cosine, (0.2, 0.4, 0.6, 0.8, 1.0, 1.0), strict=True)]
    assert [how.w.rate(epoch, how.epochs) for epoch in range(6)] == pytest.approx(expected)


def test_a_step_takes_at_least_the_time_to_decode_its_images(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "seconds", lambda work, *given: 7.0 if work() else 1.0)  # a step returns None
    how = {name: value for name, value in SEARCH.items() if name != "quiet"}
    assert sn.forecast(photos, stream=True, **how).step_seconds == 7.0 * 16 / 32
    assert sn.forecast(photos, **how).step_seconds == 1.0
