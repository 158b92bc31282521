"""Run folders of retrainings that were never trained, for tests of what is done with a trained network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from supernet.engine.run import FORMAT, Run
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.retraining.plan import RetrainingPlan, planned
from supernet.spaces.genotype import Genotype

CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def save_images(folder: Path, *, test: int = 0, size: tuple[int, int] = (8, 8), channels: int = 1) -> Path:
    """Write noise.npz: 30 training images of noise in three classes, and `test` test images."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 200, (30 + test, *size, channels), dtype=np.uint8)
    y = np.arange(len(x)) % 3
    arrays = {"x_train": x[:30], "y_train": y[:30]} | ({"x_test": x[30:], "y_test": y[30:]} if test else {})
    np.savez(folder / "noise.npz", **arrays)
    return folder / "noise.npz"


def network_state(plan: RetrainingPlan, seed: int) -> dict[str, Any]:
    """Return a checkpoint of a network of random weights that does not predict one class for every image."""
    torch.manual_seed(seed)
    network = Network(plan.space, plan.genotype, plan.network_size, auxiliary=plan.config.auxiliary > 0)
    shape = (16, plan.network_size.channels, *plan.network_size.image_size)
    x = torch.randn(shape) * torch.linspace(0.1, 2, 16).view(-1, 1, 1, 1)
    classifier = network.layers[-1][-1]
    with torch.no_grad():
        network(x)  # sets the running statistics
        classifier.weight.mul_(20)
        classifier.bias.sub_(network.eval()(x).mean(dim=0))
    return {"epoch": 1, "task": {"network": network.state_dict(), "best": 0.5}}


def retrained(folder: Path, data: Any, what: Any = CELL, **settings: Any) -> Run:
    """Write the run folder of a retraining, without training; its best and last weights have the seeds 1 and 2."""
    plan = planned(what, data=data, device="cpu", **{"width": 2, "depth": 1, **settings})
    run = Run(folder)
    run.start(plan.record, {})
    run.save_checkpoint(network_state(plan, 1), best=True)
    run.save_checkpoint(network_state(plan, 2))
    rows = [{"epoch": epoch, "loss": 1.0, "seconds": 1.0} for epoch in range(1, plan.config.epochs + 1)]
    run.write("metrics.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    run.write("summary.json", json.dumps(summary(plan.genotype, labels=plan.images.label_mark)))
    return run


def record(task: str, **more: Any) -> dict[str, Any]:
    """Return what every config.yaml has."""
    names = dict.fromkeys(("data_name", "fingerprint", "space_hash"), "0")
    known = {"format": FORMAT, "task": task, "data": "digits", "classes": ["a", "b"], "space": "nasbench201", "seed": 0}
    return known | names | more


def summary(genotype: Genotype, **more: Any) -> dict[str, Any]:
    """Return the summary of a retraining."""
    accuracy = {"last": 0.5, "best": 0.5}
    size = {"params": 10, "flops": 20, "best_epoch": 1, "seconds": 1.0}
    known = {"genotype": genotype.to_json(), "architecture": str(genotype), "measured_on": "validation"}
    return known | size | {"accuracy": accuracy, "test_accuracy": None} | more


def message(function: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
    """Return the message of the UserError that a call raises; it must be one line."""
    with pytest.raises(UserError) as caught:
        function(*arguments, **settings)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def noise(count: int, *shape: int) -> Tensor:
    """Return `count` images of noise as uint8, each brighter than the one before."""
    x = torch.randint(256, (count, *shape), generator=torch.Generator().manual_seed(7))
    return (x * torch.linspace(0.2, 1, count).view(-1, *[1] * len(shape))).byte()


def save_pictures(folder: Path, *names: str) -> None:
    """Write pictures of noise."""
    for name, pixels in zip(names, noise(len(names), 8, 8), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(folder / name)
