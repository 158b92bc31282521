"""Validation images that the data gives: the weights see none of them, and alpha sees no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from supernet.engine.seeds import seeded
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask
from supernet.testing import tiny_images

TRAIN, VALIDATION = 18, 12


def write(folder, kind):
    """Write 18 training images and 12 validation images, in one file or in folders of classes."""
    images = tiny_images(TRAIN + VALIDATION)
    x, y = images.x[:, 0].numpy(), images.y.numpy()
    if kind == "npz":
        parts = {"x_train": x[:TRAIN], "y_train": y[:TRAIN], "x_val": x[TRAIN:], "y_val": y[TRAIN:]}
        np.savez(folder / "given.npz", **parts)
        return folder / "given.npz"
    for number, (pixels, label) in enumerate(zip(x, y, strict=True)):
        place = folder / "photos" / ("train" if number < TRAIN else "val") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder / "photos"


@pytest.mark.parametrize("kind", ["npz", "folder"])
@pytest.mark.parametrize("method", ["darts", "gdas"])
def test_all_training_images_train_the_weights_and_the_given_ones_alpha_augmented(kind, method, tmp_path):
    size = {"batch_size": 3, "width": 2, "depth": 1, "device": "cpu"}
    plan = planned(write(tmp_path, kind), method=method, pad=2, mirror=True, **size)
    assert f"{VALIDATION} of them given for validation" in plan.reading
    with seeded(0):
        task = SearchTask(plan)
    assert task.method.streams == {"weights": "train", "alpha": "validation"}
    seen = {}
    for name, stream in task.streams.items():
        first, second = ([stream.next() for _ in range(stream.steps)] for _ in range(2))
        seen[name] = sorted(number for batch in first for number in batch.index.tolist())
        pixels = [{n: x for b in each for n, x in zip(b.index.tolist(), b.x, strict=True)} for each in (first, second)]
        assert any(not torch.equal(x, pixels[1][number]) for number, x in pixels[0].items())  # another crop
    assert seen == {"weights": list(range(TRAIN)), "alpha": list(range(TRAIN, TRAIN + VALIDATION))}
    assert task.streams["weights"].steps == TRAIN // 3  # an epoch is one pass over the training images
