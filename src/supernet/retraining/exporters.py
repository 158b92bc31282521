"""The formats of an exported network, `torch.export` and ONNX: each is written, read back and run."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.retraining.description import Input, metadata
from supernet.retraining.predictor import Predictor

_EXTRA = ("onnx", "onnxscript", "onnxruntime")

Runs = Callable[[Tensor], Tensor]
"""uint8 pixels to logits, run by the exported file's own runtime."""


class _OfFloats(nn.Module):
    """A predictor that takes pixels as float32 from 0 to 1."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.predictor.network((x - self.predictor.mean) / self.predictor.std)
        return out


def need_extra() -> None:
    """Raise UserError where a package is missing that writes or runs ONNX."""
    try:
        for name in _EXTRA:
            import_module(name)
    except ImportError:
        raise UserError("export to onnx needs the extra: pip install 'supernet[onnx]'") from None


def _program(predictor: Predictor, kind: Input) -> torch.export.ExportedProgram:
    x = _as(kind, torch.zeros(2, predictor.network_size.channels, *predictor.size, dtype=torch.uint8))
    model = predictor if kind == "uint8" else _OfFloats(predictor)
    return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _as(kind: Input, x: Tensor) -> Tensor:
    """Return uint8 pixels as the values that a model takes."""
    return x if kind == "uint8" else x.float() / 255


def save_torch(predictor: Predictor, path: Path, kind: Input = "uint8") -> Runs:
    """Write a model by `torch.export`, whose input is of this kind, and return what runs it as read back."""
    content = io.BytesIO()
    torch.export.save(_program(predictor, kind), content, extra_files=metadata(predictor, kind))
    path.write_bytes(content.getvalue())
    module = torch.export.load(path).module()

    @torch.no_grad()
    def runs(x: Tensor) -> Tensor:
        out: Tensor = module(_as(kind, x))
        return out

    return runs


def save_onnx(predictor: Predictor, path: Path, kind: Input = "uint8") -> Runs:
    """Write a model as ONNX, whose input is of this kind, and return what runs it as read back."""
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
    program.model.metadata_props.update(metadata(predictor, kind))
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def runs(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"pixels": _as(kind, x).numpy()})[0])

    return runs


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
