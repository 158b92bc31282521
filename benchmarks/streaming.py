"""Images per second and core that come from a disk: streamed here, and by torchvision's ImageFolder with a DataLoader.

    python benchmarks/streaming.py                      # 2 000 images; needs pip install torchvision
    python benchmarks/streaming.py --quick --images 100 # few images, few rounds

JPEGs of 200 to 500 pixels a side in class folders are made first, and lie in the memory of the system when they are
read. Both sides have as many processes that decode as there are cores, and give batches of 64 normalised float32 images
of the same size:

- training: a random resized crop, mirrored at random. supernet decodes the centre square at 256 pixels and crops whole
  batches at 224, as in its recipes for ImageNet; torchvision crops each image (RandomResizedCrop, then a flip).
- evaluation: the centre square at 224 pixels; torchvision has Resize(224) and CenterCrop(224).
- small: the same at 32 pixels.

A round is a pass over all images by each side in turn, after one pass that does not count. Both sides decode by pillow;
supernet resizes by Lanczos, torchvision bilinearly. Crops and normalisation of supernet are work of the process that
trains (of a GPU, where there is one), torchvision's of those that decode; all of them share the cores here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sides import fail, row, table, take_turns, where
from supernet.data import Augment, Batches, Images, load, ordered
from supernet.data.limits import cores
from supernet.engine.memory import keep_freed_memory

try:
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder
except (ImportError, RuntimeError) as error:  # a RuntimeError if it was built for another PyTorch
    fail(f"this compares with torchvision, which cannot be used ({error}): pip install torchvision")

BATCH, CLASSES, CROP, WHOLE, SMALL = 64, 10, 224, 256, 32
HEAD = ("images per second and core", "compared", "first", "second", "ratio", "10 to 90 %", "n", "target")


def make_photos(root: Path, count: int) -> None:
    """Write JPEGs of 200 to 500 pixels a side: colours that change smoothly, and some noise."""
    draws = np.random.default_rng(0)
    for number in range(count):
        width, height = draws.integers(200, 501, 2).tolist()
        coarse = Image.fromarray(draws.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
        pixels = np.clip(smooth + draws.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        folder = root / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:06}.jpg", quality=90)


def theirs(root: Path, images: Images, steps: list[Callable[..., object]], *, shuffle: bool) -> Iterable[torch.Tensor]:
    """Return torchvision's batches, of images normalised as ours are."""
    normal = T.Normalize(images.mean, images.std)
    every = ImageFolder(root, T.Compose([*steps, T.ToTensor(), normal]))
    how = {"num_workers": cores(), "persistent_workers": True, "drop_last": shuffle}
    loader = torch.utils.data.DataLoader(every, BATCH, shuffle, **how)
    return _Again(lambda: (x for x, _ in loader))


class _Again:
    """Batches that are made anew for each pass."""

    def __init__(self, make: Callable[[], Iterable[torch.Tensor]]) -> None:
        self.make = make

    def __iter__(self) -> Iterable[torch.Tensor]:
        return iter(self.make())


def sections(root: Path) -> dict[str, dict[str, Iterable[torch.Tensor]]]:
    """Return the batches of both sides by section."""
    whole, middle, small = (load(root, size, stream=True) for size in (WHOLE, CROP, SMALL))
    stream = Batches(whole, torch.arange(len(whole.y)), BATCH, Augment(crop=CROP, mirror=True), seed=0)
    training = [T.RandomResizedCrop(CROP), T.RandomHorizontalFlip()]
    found = {
        "training": {
            "supernet": _Again(lambda: (stream.next().x for _ in range(stream.steps))),
            "torchvision": theirs(root, whole, training, shuffle=True),
        }
    }
    for name, images, size in (("evaluation", middle, CROP), ("small", small, SMALL)):
        found[name] = {
            "supernet": _Again(partial(_ordered, images)),
            "torchvision": theirs(root, images, [T.Resize(size), T.CenterCrop(size)], shuffle=False),
        }
    return found


def _ordered(images: Images) -> Iterable[torch.Tensor]:
    return (batch.x for batch in ordered(images, None, BATCH))


def rate(batches: Iterable[torch.Tensor]) -> float:
    """Return the images per second and core of a pass."""
    start, count = time.perf_counter(), 0
    for x in batches:
        count += len(x)
    return count / (time.perf_counter() - start) / cores()


def check(name: str, sides: dict[str, Iterable[torch.Tensor]]) -> None:
    """Exit with an error unless both sides give as many images of one size, and about the same ones; a first pass."""
    ours, other = (
        [(tuple(x.shape[1:]), len(x), float(x.double().mean(dim=(0, 1, 2, 3)))) for x in side]
        for side in sides.values()
    )
    if len({shape for shape, _, _ in ours + other}) > 1 or sum(n for _, n, _ in ours) != sum(n for _, n, _ in other):
        fail(f"the sides of '{name}' give other images")
    means = [sum(n * mean for _, n, mean in side) / sum(n for _, n, _ in side) for side in (ours, other)]
    if abs(means[0] - means[1]) > 0.1:  # of standard deviations of a pixel; crops are drawn apart
        fail(f"the sides of '{name}' give other pixels: {means[0]:.3f} and {means[1]:.3f} on average")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    given = parser.parse_args()
    if given.images < BATCH:
        fail(f"give at least {BATCH} images, a batch")
    keep_freed_memory()  # as a search does
    os.environ["SUPERNET_READERS"] = str(cores())
    print(where())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), given.images)
        for name, sides in sections(Path(folder)).items():
            check(name, sides)
            asks = {side: partial(rate, batches) for side, batches in sides.items()}
            rates = take_turns(asks, 2 if given.quick else given.rounds)
            rows.append(row(name, rates, "supernet", "torchvision"))
    print(table(rows, HEAD))


if __name__ == "__main__":
    main()
