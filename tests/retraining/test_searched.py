"""What a search passes on to its retraining: the size that it was for, and its limits."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Call
from retrained import save_pictures
from supernet.data import Source
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.cost.count import cost
from supernet.models.cost.limits import Limits
from supernet.retraining import searched
from supernet.retraining.plan import planned
from supernet.searching import plan as searching
from supernet.spaces import space
from supernet.testing import PairDataset, tiny_images

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"


def found(folder: Path, data: Source = "digits", **settings: Any) -> Run:
    """Write the folder of a finished search, without searching; its result is CELL."""
    plan = searching.planned(data, device="cpu", **settings)
    genotype = plan.space.parse(CELL)
    price, run, limits = cost(plan.space, genotype, plan.target), Run(folder), plan.feasible.limits
    run.start(plan.record, {})
    results = {
        "genotype": genotype.to_json(),
        "architecture": str(genotype),
        "verdict": "thin",
        "params": price.params,
        "flops": price.flops,
        "target": {"width": plan.target.width, "depth": plan.target.depth},
        "limits": vars(limits) if limits else None,
        "latency": None,
        "table_entry": None,
        "seconds": 1.0,
        "selector": "magnitude",
    }
    run.write("summary.json", json.dumps(results))
    return run


def size(run: Run, **settings: Any) -> tuple[int, int, tuple[int, int]]:
    network_size = planned(run, device="cpu", **settings).network_size
    return network_size.width, network_size.depth, network_size.image_size


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An archive of ten images of 16x16 pixels."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "p.npz", x_train=rng.integers(0, 255, (10, 16, 16), np.uint8), y_train=np.arange(10) % 2)
    return tmp_path / "p.npz"


@pytest.mark.parametrize(
    "asked",
    [
        {"target_width": 12},
        {"target_depth": 1, "image_size": 6},
        {"max_params": "2M"},
        {"target_width": 4, "target_depth": 2, "max_flops": "9M", "image_size": 16, "stem": 1, "reductions": 1},
        {"stem": 1, "target_depth": 2},
    ],
)
def test_the_retrained_network_costs_what_the_search_promised(asked: dict[str, Any], tmp_path: Path) -> None:
    run = found(tmp_path / "run", **asked)
    plan = planned(run, device="cpu")
    assert (plan.price.params, plan.price.flops) == (run.summary["params"], run.summary["flops"])
    assert {"width": plan.config.width, "depth": plan.config.depth} == run.summary["target"]
    assert plan.broken is None


def test_the_image_size_of_the_search_is_that_of_its_own_images(tmp_path: Path, pictures: Path) -> None:
    run = found(tmp_path / "run", image_size=6, stem=1)
    assert size(run) == (16, 1, (6, 6))  # width and depth are the recipe's: nothing else was asked for
    assert planned(run, device="cpu").config.stem == 1
    assert size(run, image_size=10)[2] == (10, 10)
    assert planned(run, image_size=10, device="cpu").config.stem == 0  # the search's belongs to its image size
    assert size(run, data="digits")[2] == (6, 6)
    assert size(run, data=pictures)[2] == (16, 16)
    within = found(tmp_path / "within", image_size=6, max_flops="9M")
    assert size(within, data=pictures) == (16, 5, (6, 6))
    images = PairDataset(tiny_images(24))
    of_dataset = found(tmp_path / "dataset", images, image_size=6)  # type: ignore[arg-type]
    assert size(of_dataset, data=images)[2] == (6, 6)


def test_images_that_the_search_did_not_mirror_are_not_mirrored(tmp_path: Path, pictures: Path) -> None:
    run = found(tmp_path / "run", str(pictures), mirror=False)
    others = PairDataset(tiny_images(24))
    assert planned(run, device="cpu").config.mirror is False
    assert planned(run, mirror=True, device="cpu").config.mirror is True
    assert planned(run, data=others, device="cpu").config.mirror is True  # as of any pictures


def test_images_are_the_searchs_own_however_their_path_is_written_and_wherever_they_have_moved(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = found(tmp_path / "run", "p.npz", mirror=False, image_size=6)
    shutil.copy("p.npz", "same.npz")

    def chosen(data: Source, **more: Any) -> tuple[bool, int]:
        config = planned(run, data=data, device="cpu", **more).config
        return bool(config.mirror), int(config.image_size or 0)

    for written in ("p.npz", "./p.npz", pictures, str(pictures)):
        assert chosen(written) == (False, 6)
    assert chosen("same.npz") == (True, 16)  # a place of its own, beside that of the search
    with np.load("p.npz") as archive:
        np.savez("other.npz", x_train=255 - archive["x_train"], y_train=archive["y_train"])
    pictures.rename(tmp_path / "moved.npz")
    assert chosen("moved.npz") == chosen("same.npz") == (False, 6)
    assert chosen("other.npz") == (True, 16)
    assert chosen("moved.npz", image_size=8) == (False, 8)


@pytest.mark.parametrize("streamed", [False, True])
def test_moved_images_are_the_searchs_own_also_where_they_are_streamed(tmp_path: Path, *, streamed: bool) -> None:
    """A stream is known by names and sizes alone, so classes tell where only one of the two was streamed."""
    for label in ("left", "right"):
        save_pictures(tmp_path / "signs" / label, *(f"{number}.png" for number in range(5)))
    run = found(tmp_path / "run", str(tmp_path / "signs"), mirror=False, image_size=6, stream=streamed)
    (tmp_path / "signs").rename(tmp_path / "moved")
    for stream in (False, True):
        config = planned(run, data=tmp_path / "moved", device="cpu", stream=stream).config
        assert (config.mirror, config.image_size) == (False, 6)


def test_arrays_are_the_searchs_own_if_they_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (20, 12, 12), np.uint8), np.arange(20) % 2
    run = found(tmp_path / "run", (x, y), mirror=False, image_size=6, images=10)
    own, other = (planned(run, data=(images, y), device="cpu").config for images in (x, 255 - x))
    assert (own.mirror, own.image_size) == (False, 6)
    assert (other.mirror, other.image_size) == (True, 12)
    assert planned(run, data=(x[:8], y[:8]), device="cpu").config.mirror is True  # fewer than the search took


def test_a_retraining_says_how_its_images_were_read(tmp_path: Path) -> None:
    for number, colour in enumerate(2 * ["red", "blue"]):
        folder = tmp_path / "photos" / colour
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(folder / f"{number}.png")
    (tmp_path / "photos" / "red" / "broken.png").write_bytes(b"none")
    run = found(tmp_path / "run", str(tmp_path / "photos"), skip_broken=True)
    assert planned(run, device="cpu").config.skip_broken is True


def test_settings_of_the_user_come_first_and_a_broken_limit_is_said(tmp_path: Path) -> None:
    run = found(tmp_path / "run", target_width=4, target_depth=1, max_params=20_000, max_flops="150k")
    assert size(run) == (4, 1, (8, 8))
    assert size(run, width=2, recipe="nasbench201") == (2, 1, (8, 8))
    assert size(run, width=None, depth=3) == (4, 3, (8, 8))
    plan = planned(run, width=16, image_size=16, device="cpu")
    assert plan.broken == (
        "this network (16 channels, depth 1, images of 16x16 pixels) breaks limits of the search: "
        f"{plan.price.params:,} parameters are above 20,000; {plan.price.flops:,} FLOPs are above 150,000"
    )
    assert planned(run, width=3, device="cpu").broken is None


@pytest.mark.parametrize(("name", "given", "wanted"), [("flops", "150k", 150_000), ("params", 9_000.0, 9_000)])
def test_the_width_is_chosen_for_a_cost(tmp_path: Path, name: str, given: str | float, wanted: int) -> None:
    run = found(tmp_path / "run", target_width=4, target_depth=2)
    plan = planned(run, device="cpu", **{name: given})

    def error(width: int) -> int:
        return abs(getattr(cost(plan.space, plan.genotype, replace(plan.network_size, width=width)), name) - wanted)

    assert plan.network_size.width == min(range(1, 40), key=error) not in (1, 4, 39)
    assert plan.network_size.depth == 2  # of the search
    assert plan.record == planned(run, width=plan.network_size.width, device="cpu").record


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"flops": "1M", "params": "1M"}, "give params or flops, not both: there is one width to choose"),
        ({"flops": "1M", "width": 8}, "give width or flops, not both: flops chooses the width"),
        ({"params": "many"}, "params takes a number above 0, such as 1500000, 1.5M or 300k, not 'many'"),
        ({"params": 12}, "nasbench201 cannot have 12 parameters: on these images it has at least "),
    ],
)
def test_a_cost_that_cannot_be_had_is_said(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        planned(CELL, data="digits", device="cpu", **given)


def test_a_measured_latency_is_measured_for_another_size_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = found(tmp_path / "run", target_width=2, target_depth=1)
    run.write("summary.json", json.dumps(run.summary | {"limits": vars(Limits(max_latency_ms=1.5))}))
    assert planned(run, device="cpu").broken is None
    monkeypatch.setattr(searched.MeasuredLatency, "ms", lambda self, genotype: 2.25)
    assert planned(run, device="cpu").broken is None
    assert str(planned(run, width=3, device="cpu").broken).endswith("of the search: 2.25 ms are above 1.5")


def test_the_command_takes_the_size_of_the_search_and_says_what_breaks_a_limit(
    call: Call, tmp_path: Path, pictures: Path
) -> None:
    found(tmp_path / "run", str(pictures), target_width=2, target_depth=1, image_size=8, max_flops="30k")
    rest = ("--epochs", "1", "--device", "cpu", "--quiet")
    status, out, err = call("retrain", "run", *rest)
    assert (status, err) == (0, "")
    assert "(2 channels, depth 1)" in out
    status, out, _ = call("retrain", "run", "--params", "9k", *rest, "--force")
    assert status == 0
    assert "(4 channels, depth 1)" in out
    status, out, err = call("retrain", "run", "--width", "16", *rest, "--force")
    assert status == 0
    assert "(16 channels, depth 1)" in out  # as the recipe, but asked for
    assert err.startswith("supernet: this network (16 channels, depth 1, images of 8x8 pixels) breaks limits of the ")
    assert len(err.splitlines()) == 1


def test_an_architecture_keeps_the_size_of_the_recipe() -> None:
    plan = planned(CELL, data="digits", device="cpu")
    assert (plan.network_size.width, plan.network_size.depth, plan.broken) == (16, 1, None)
    assert plan.device == torch.device("cpu")
    assert plan.space is space("nasbench201")
