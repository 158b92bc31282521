"""A folder of class folders made of photographs: each photograph is a class, its images are crops of it.

    python benchmarks/photographs.py photographs/*.jpg --out crops/
    supernet search crops/

Photographs of real things can be had from the packages of a distribution, labelled ones cannot. Here the label is the
photograph that a crop is of, so what is learned is textures and colours, not things. A photograph is brought to 1 280
pixels at its longer side and cut into squares of 32 pixels that do not overlap; of these, drawn at random, 300 are
training images and 100 are test images. So training and test images share no pixel, and have the same light and grain.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image

LONGER, SIDE = 1280, 32  # pixels
PARTS = {"train": 300, "test": 100}  # crops of each photograph


def crops(photograph: Image.Image) -> list[Image.Image]:
    """Return the squares of a photograph, row by row."""
    scale = LONGER / max(photograph.size)
    width, height = (round(scale * side) for side in photograph.size)
    small = photograph.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    corners = ((x, y) for y in range(0, height - SIDE + 1, SIDE) for x in range(0, width - SIDE + 1, SIDE))
    return [small.crop((x, y, x + SIDE, y + SIDE)) for x, y in corners]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+", help="pictures, each of which is a class")
    parser.add_argument("--out", type=Path, required=True, help="folder for train/ and test/")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    for path in sorted(given.photographs, key=lambda path: path.name):
        with Image.open(path) as photograph:
            squares, wanted = crops(photograph), sum(PARTS.values())
        if len(squares) < wanted:
            parser.error(f"'{path}' has {len(squares)} squares of {SIDE} pixels, and {wanted} are needed")
        drawn = iter(rng.sample(squares, wanted))
        for part, count in PARTS.items():
            folder = given.out / part / path.stem
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                next(drawn).save(folder / f"{number:03}.png")


if __name__ == "__main__":
    main()
