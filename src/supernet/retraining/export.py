"""Export of a retrained network to one file for other programs, compared with the network before it is kept."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supernet.engine.files import replacing, write_atomically
from supernet.engine.run import Run
from supernet.errors import UserError, reason_of, unknown
from supernet.retraining.predictor import Checkpoint, Predictor, load, retraining
from supernet.spaces import SearchSpace
from supernet.spaces.modules import Noise

_FILES = {"torch": "model.pt2", "onnx": "model.onnx", "genotype": "genotype.json"}
_INPUTS = {"uint8": "0 to 255 as uint8", "float": "from 0 to 1 as float32"}  # values of pixels
_EXTRA = ("onnx", "onnxscript", "onnxruntime")
_BATCHES = (1, 2, 5)  # batch sizes in the comparison
_TOLERANCE = 1e-4  # in parts of the largest logit; float32 rounding over some tens of layers is a tenth

Exporter = Callable[[Tensor], Tensor]  # uint8 pixels to logits, run by the exported file's own runtime
Input = Literal["uint8", "float"]


class _OfFloats(nn.Module):
    """A predictor that takes pixels as float32 from 0 to 1."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.predictor.network((x - self.predictor.mean) / self.predictor.std)
        return out


@dataclass(frozen=True)
class Exported:
    """The exported file, and the largest difference of its logits from the network's; None for an architecture."""

    path: Path
    difference: float | None


def export(
    run: Run | str | os.PathLike[str],
    format: str,  # noqa: A002 - the best name for it, and the command line's
    *,
    input: Input = "uint8",  # noqa: A002
    out: str | os.PathLike[str] | None = None,
    weights: Checkpoint = "last",
    space: str | SearchSpace | None = None,
) -> Path:
    """Write a finished retraining as one file and return its path.

    - `run`, `weights`, `space`: as for `supernet.load`.
    - `format`: "torch" (`torch.export`, read back by `torch.export.load`), "onnx", or "genotype": the architecture
      and all that is needed to build its network elsewhere, as JSON, without what was learned.
    - `input`: the values of pixels that a model takes: "uint8", from 0 to 255, or "float", float32 from 0 to 1, for
      programs that take no uint8, as TensorRT.
    - `out`: the file; None is `model.pt2`, `model.onnx` or `genotype.json` in the run's folder. Floats put "-float"
      into the name of a model and the best weights ".best", as in `model-float.best.onnx`.

    A model takes pixels, (batch, C, H, W), and gives logits, (batch, classes); class names and preprocessing travel in
    it. Before it gets its name it is read back and its logits are compared on random images. Raises UserError
    if they differ, and for an architecture with noise in it, which cannot be compared; no file is left then.
    """
    return export_checked(run, format, input=input, out=out, weights=weights, space=space).path


def export_checked(
    run: Run | str | os.PathLike[str],
    format: str,  # noqa: A002
    *,
    input: Input = "uint8",  # noqa: A002
    out: str | os.PathLike[str] | None = None,
    weights: Checkpoint = "last",
    space: str | SearchSpace | None = None,
) -> Exported:
    """Export as `export` does, and return the difference of the logits as well."""
    if format not in _FILES:
        raise unknown("format", format, _FILES)
    if input not in _INPUTS:
        raise unknown("input", input, _INPUTS)
    if format == "genotype" and input != "uint8":
        raise UserError("format 'genotype' is no model and has no input: leave it out")
    if format == "onnx":
        _need_extra()
    found = retraining(run)
    path = found.path / _name(format, input, weights) if out is None else Path(out)
    if path.suffix != Path(_FILES[format]).suffix:
        raise UserError(
            f"cannot write format '{format}' to '{path}': its name must end in {Path(_FILES[format]).suffix}"
        )
    if not path.parent.is_dir():
        raise UserError(f"cannot write '{path}': there is no folder '{path.parent}'")
    predictor = load(found, weights=weights, space=space)
    try:
        if format == "genotype":
            write_atomically(path, (json.dumps(_description(predictor), indent=2) + "\n").encode())
            return Exported(path, None)
        save = partial(_save_torch if format == "torch" else _save_onnx, kind=input)
        return Exported(path, _write_model(predictor, path, save))
    except OSError as error:
        raise UserError(f"cannot write '{path}': {reason_of(error)}; give another place with --out") from None


def _name(format: str, input: Input, weights: Checkpoint) -> Path:  # noqa: A002
    """Return the name of the default file, which is another one for models that differ."""
    name = Path(_FILES[format])
    if format == "genotype":  # holds nothing learned
        return name
    kind = "" if input == "uint8" else f"-{input}"
    return name.with_stem(f"{name.stem}{kind}" + ("" if weights == "last" else f".{weights}"))


def _need_extra() -> None:
    try:
        for name in _EXTRA:
            import_module(name)
    except ImportError:
        raise UserError("export to onnx needs the extra: pip install 'supernet[onnx]'") from None


def _write_model(predictor: Predictor, path: Path, save: Callable[[Predictor, Path], Exporter]) -> float:
    """Write a model, read it back and compare it before it gets its name; return the largest difference of logits."""
    if any(isinstance(module, Noise) for module in predictor.modules()):
        raise UserError("this architecture has the random operation 'noise': an exported model could not be compared")
    with replacing(path) as temporary:  # with the suffix of `path`, by which exporters go
        return _compared(predictor, _saved(predictor, temporary, save))


def _saved(predictor: Predictor, path: Path, save: Callable[[Predictor, Path], Exporter]) -> Exporter:
    try:
        with _quiet():
            return save(predictor, path)
    except OSError:
        raise
    except Exception as error:  # of any kind: a user's operation may be beyond an exporter
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"this network cannot be exported: {reason}") from error


def _compared(predictor: Predictor, runs: Exporter) -> float:
    """Return the largest difference of logits on random images; raises UserError if it is more than rounding."""
    draws = torch.Generator().manual_seed(0)
    shape = (predictor.network_size.channels, *predictor.size)
    batches = [torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=draws) for batch in _BATCHES]
    with torch.no_grad():
        wanted = torch.cat([predictor(x) for x in batches])
    found = torch.cat([runs(x) for x in batches])
    difference, largest = float((found - wanted).abs().max()), float(wanted.abs().max())
    if not difference <= _TOLERANCE * largest:  # also if it is NaN
        raise UserError(
            f"the exported model differs from the network: by {difference:.2g} in logits of up to {largest:.2g}; "
            "no file is left"
        )
    return difference


def _program(predictor: Predictor, kind: Input) -> torch.export.ExportedProgram:
    x = _as(kind, torch.zeros(2, predictor.network_size.channels, *predictor.size, dtype=torch.uint8))
    model = predictor if kind == "uint8" else _OfFloats(predictor)
    return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _as(kind: Input, x: Tensor) -> Tensor:
    """Return uint8 pixels as the values that a model takes."""
    return x if kind == "uint8" else x.float() / 255


def _save_torch(predictor: Predictor, path: Path, kind: Input = "uint8") -> Exporter:
    content = io.BytesIO()
    torch.export.save(_program(predictor, kind), content, extra_files=_metadata(predictor, kind))
    path.write_bytes(content.getvalue())
    module = torch.export.load(path).module()

    @torch.no_grad()
    def runs(x: Tensor) -> Tensor:
        out: Tensor = module(_as(kind, x))
        return out

    return runs


def _save_onnx(predictor: Predictor, path: Path, kind: Input = "uint8") -> Exporter:
    import onnxruntime  # type: ignore[import-untyped]

    program = torch.onnx.export(
        _program(predictor, kind),
        (),
        dynamo=True,
        verbose=False,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
    )
    assert program is not None  # None only where `export` writes the file itself
    program.model.metadata_props.update(_metadata(predictor, kind))
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def runs(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"pixels": _as(kind, x).numpy()})[0])

    return runs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages of PyTorch's exporters that are not about the network."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")  # warns that torchvision is missing
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        log.setLevel(level)


def _metadata(predictor: Predictor, kind: Input) -> dict[str, str]:
    """Return the metadata of a model by name; all texts but the first two are JSON."""
    return {
        "supernet": version("supernet"),
        "architecture": str(predictor.genotype),
        "genotype": json.dumps(predictor.genotype.to_json()),
        "classes": json.dumps(predictor.classes),
        "preprocessing": json.dumps(_preprocessing(predictor, kind)),
    }


def _preprocessing(predictor: Predictor, kind: Input = "uint8") -> dict[str, Any]:
    """Return the preprocessing of an image before and inside the model, in words and numbers."""
    channels, (height, width) = predictor.network_size.channels, predictor.size
    colours = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    steps = []
    if predictor.levels:
        low, high = predictor.levels
        steps.append(f"scale values of more than 8 bits: {low} and less become 0, {high} and more 255")
    if predictor.image_size is not None:
        steps.append(_resizing(*predictor.image_size))
    if predictor.image_size != predictor.size:
        steps.append(f"take the middle {height}x{width} pixels")
    return {
        "input": f"values of pixels, {_INPUTS[kind]}, of shape (batch, {channels}, {height}, {width}); {colours}",
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


def _resizing(height: int, width: int) -> str:
    middle = "the middle square of the picture" if height == width else "the picture"
    return f"bring {middle} to {height}x{width} pixels"


def _description(predictor: Predictor) -> dict[str, Any]:
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
        "preprocessing": _preprocessing(predictor),
        "supernet": version("supernet"),
    }
