"""Export of a retrained network to one file for other programs, compared with the network before it is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from supernet.engine.defaults import plain_torch
from supernet.engine.files import path_given, replacing, write_atomically, writing
from supernet.engine.run import Run
from supernet.errors import UserError, unknown
from supernet.retraining.description import INPUTS, Input, description
from supernet.retraining.exporters import Runs, need_extra, quiet, save_onnx, save_torch
from supernet.retraining.load import Checkpoint, load, retraining
from supernet.retraining.predictor import Predictor
from supernet.spaces import SearchSpace
from supernet.spaces.modules import Noise

_FILES = {"torch": "model.pt2", "onnx": "model.onnx", "genotype": "genotype.json"}
_BATCHES = (1, 2, 5)  # batch sizes in the comparison
_TOLERANCE = 1e-4  # in parts of the largest logit; float32 rounding over some tens of layers is a tenth


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


@plain_torch()
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
    if not isinstance(format, str) or format not in _FILES:
        raise unknown("format", format, _FILES)
    if input not in INPUTS:
        raise unknown("input", input, INPUTS)
    if format == "genotype" and input != "uint8":
        raise UserError("format 'genotype' is no model and has no input: leave it out")
    if format == "onnx":
        need_extra()
    found = retraining(run)
    path = (
        found.path / _name(format, input, weights) if out is None else path_given(out, "out takes the path of a file")
    )
    if path.suffix != Path(_FILES[format]).suffix:
        raise UserError(
            f"cannot write format '{format}' to '{path}': its name must end in {Path(_FILES[format]).suffix}"
        )
    if not path.parent.is_dir():
        raise UserError(f"cannot write '{path}': there is no folder '{path.parent}'")
    predictor = load(found, weights=weights, space=space)
    with writing(path):
        if format == "genotype":
            write_atomically(path, (json.dumps(description(predictor), indent=2) + "\n").encode())
            return Exported(path, None)
        save = partial(save_torch if format == "torch" else save_onnx, kind=input)
        return Exported(path, _write_model(predictor, path, save))


def _name(format: str, input: Input, weights: Checkpoint) -> Path:  # noqa: A002
    """Return the name of the default file, which is another one for models that differ."""
    name = Path(_FILES[format])
    if format == "genotype":  # holds nothing learned
        return name
    kind = "" if input == "uint8" else f"-{input}"
    return name.with_stem(f"{name.stem}{kind}" + ("" if weights == "last" else f".{weights}"))


def _write_model(predictor: Predictor, path: Path, save: Callable[[Predictor, Path], Runs]) -> float:
    """Write a model, read it back and compare it before it gets its name; return the largest difference of logits."""
    if any(isinstance(module, Noise) for module in predictor.modules()):
        raise UserError("this architecture has the random operation 'noise': an exported model could not be compared")
    with replacing(path) as temporary:  # with the suffix of `path`, by which exporters go
        return _compared(predictor, _saved(predictor, temporary, save))


def _saved(predictor: Predictor, path: Path, save: Callable[[Predictor, Path], Runs]) -> Runs:
    try:
        with quiet():
            return save(predictor, path)
    except OSError:
        raise
    except Exception as error:  # of any kind: a user's operation may be beyond an exporter
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"this network cannot be exported: {reason}") from error


def _compared(predictor: Predictor, runs: Runs) -> float:
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
