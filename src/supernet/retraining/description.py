"""What a file says of its network: preprocessing, class names and architecture, for programs without this package."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Literal

from supernet.retraining.predictor import Predictor

Input = Literal["uint8", "float"]
INPUTS = {"uint8": "0 to 255 as uint8", "float": "from 0 to 1 as float32"}  # values of pixels


def metadata(predictor: Predictor, kind: Input) -> dict[str, str]:
    """Return the metadata of a model by name; all texts but the first two are JSON."""
    return {
        "supernet": version("supernet"),
        "architecture": str(predictor.genotype),
        "genotype": json.dumps(predictor.genotype.to_json()),
        "classes": json.dumps(predictor.classes),
        "preprocessing": json.dumps(preprocessing(predictor, kind)),
    }


def preprocessing(predictor: Predictor, kind: Input = "uint8") -> dict[str, Any]:
    """Return the preprocessing of an image before and inside the model, in words and numbers."""
    channels, (height, width) = predictor.network_size.channels, predictor.size
    colours = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    steps = _steps(predictor)
    if predictor.image_size != predictor.size:
        steps.append(f"take the middle {height}x{width} pixels")
    return {
        "input": f"values of pixels, {INPUTS[kind]}, of shape (batch, {channels}, {height}, {width}); {colours}",
        "steps": steps,
        "inside": f"({'x / 255' if kind == 'uint8' else 'x'} - mean) / std, per channel; a model does this itself",
        "output": "logits of shape (batch, classes); softmax makes probabilities of them",
        "image_size": predictor.image_size,
        "size": predictor.size,
        "channels": channels,
        "mean": predictor.mean.flatten().tolist(),
        "std": predictor.std.flatten().tolist(),
        "levels": predictor.levels,
    }


def _steps(predictor: Predictor) -> list[str]:
    """Return what is done to an image until it has the size that pictures are brought to, if that is known."""
    channels, size = predictor.network_size.channels, predictor.image_size
    scaling = []
    if predictor.levels:
        low, high = predictor.levels
        scaling.append(f"scale values of more than 8 bits: {low} and less become 0, {high} and more 255")
    if size is None:
        return scaling
    middle = "the middle square of the picture" if size[0] == size[1] else "the picture"
    means = f"bring {middle} to {size[0]}x{size[1]} pixels: by means of blocks where its sides are multiples, else"
    if channels not in (1, 3):  # which no picture has
        return [*scaling, f"{means} bilinearly with antialiasing"]
    grey = ["make grey of colours: 0.299 red + 0.587 green + 0.114 blue (ITU-R 601)"] if channels == 1 else []
    return [
        f"decode a JPEG at 1/2, 1/4 or 1/8 of its size, as far as both sides keep {4 * max(size)} pixels or more",
        "turn a picture as its EXIF orientation says, and put its transparent parts on white",
        *scaling,
        f"{means} by Lanczos (pillow, reducing_gap=3), of arrays bilinearly with antialiasing",
        *grey,
    ]


def description(predictor: Predictor) -> dict[str, Any]:
    """Return the architecture and its network as plain data that `Genotype.from_json` can read."""
    about = (
        "cells: per kind, the operation that each edge has, as [target node, source node, operation]. candidates: per "
        "kind, what each edge could have had, and how the cell is built. layers: the network from its first layer to "
        "its last; a cell's first nodes are the outputs of as many layers before it, the nearest last."
    )
    about += " bare: per kind, the nodes without an edge, which are zeros." if predictor.genotype.bare else ""
    home, network_size = predictor.space, predictor.network_size
    layers = [
        {"layer": type(placed.layer).__name__.removesuffix("At").lower()}
        | asdict(placed.layer)
        | {"inputs": [asdict(place) for place in placed.inputs], "output": asdict(placed.output)}
        for placed in home.layout(network_size, predictor.genotype)
    ]
    return {"about": about, **predictor.genotype.to_json()} | {
        "architecture": str(predictor.genotype),
        "candidates": {kind: asdict(cell) for kind, cell in home.cells.items()},
        "layers": layers,
        "network_size": asdict(network_size),
        "classes": predictor.classes,
        "preprocessing": preprocessing(predictor),
        "supernet": version("supernet"),
    }
