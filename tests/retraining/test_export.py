"""Exports: the files hold the same network with its class names and preprocessing; a failure leaves no file."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from conftest import Call
from retrained import message, noise, retrained, save_images
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.retraining import export as exporting
from supernet.retraining import exporters
from supernet.retraining.description import description as described
from supernet.retraining.description import preprocessing
from supernet.retraining.export import export, export_checked
from supernet.retraining.load import load
from supernet.retraining.predictor import Predictor
from supernet.spaces import Cell, Edge, NetworkSize, SearchSpace, Stack, space
from supernet.spaces.genotype import Genotype
from supernet.testing import two_input_space

NASBENCH201 = space("nasbench201")
EXTRA = ("onnx", "onnxscript", "onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A retraining on images of 9x8 pixels, of which the reductions halve an odd and an even side."""
    folder = tmp_path_factory.mktemp("exports")
    return retrained(folder / "run", save_images(folder, size=(9, 8), channels=3))


@pytest.fixture(scope="module")
def torch_file(run: Run) -> exporting.Exported:
    """A model for PyTorch, exported where the extra is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in EXTRA:
            patch.setitem(sys.modules, name, None)
        return export_checked(run, "torch")


@pytest.fixture(scope="module")
def onnx_file(run: Run) -> exporting.Exported:
    return export_checked(run.path, "onnx", weights="best")


def files(run: Run) -> set[str]:
    return {file.name for file in run.path.iterdir()}


# --- models


def test_a_torch_model_gives_the_logits_of_the_network_for_any_batch(run: Run, torch_file: exporting.Exported) -> None:
    assert torch_file.path == run.path / "model.pt2"
    assert torch_file.difference is not None
    assert torch_file.difference < 1e-5
    module = torch.export.load(torch_file.path).module()
    for batch in (1, 3, 17):
        x = noise(batch, 3, 9, 8)
        torch.testing.assert_close(module(x), load(run)(x))


@pytest.mark.slow
def test_a_torch_model_needs_no_supernet(torch_file: exporting.Exported) -> None:
    code = (
        "import sys; sys.modules['supernet'] = None; import torch; "
        f"print(tuple(torch.export.load({str(torch_file.path)!r}).module()(torch.ones(4, 3, 9, 8).byte()).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(4, 3)\n"


def test_an_onnx_model_gives_the_logits_of_the_network_for_any_batch(run: Run, onnx_file: exporting.Exported) -> None:
    assert onnx_file.path == run.path / "model.best.onnx"
    assert onnx_file.difference is not None
    assert onnx_file.difference < 1e-4
    onnx.checker.check_model(onnx_file.path, full_check=True)
    session = onnxruntime.InferenceSession(onnx_file.path)
    (given,), (out,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", 3, 9, 8])
    assert (out.name, out.type, out.shape) == ("logits", "tensor(float)", ["batch", 3])
    for batch in (1, 3, 17):
        x = noise(batch, 3, 9, 8)
        wanted = load(run, weights="best")(x).detach().numpy()
        np.testing.assert_allclose(session.run(None, {"pixels": x.numpy()})[0], wanted, rtol=1e-4, atol=1e-4)


RESIZED = (
    ": by means of blocks where its sides are multiples, else by Lanczos (pillow, reducing_gap=3), "
    "of arrays bilinearly with antialiasing"
)


def pictures(least: int) -> list[str]:
    """Return the first steps for pictures, whose JPEGs keep at least so many pixels a side."""
    decoded = f"decode a JPEG at 1/2, 1/4 or 1/8 of its size, as far as both sides keep {least} pixels or more"
    return [decoded, "turn a picture as its EXIF orientation says, and put its transparent parts on white"]


def test_models_hold_class_names_and_preprocessing(
    run: Run, torch_file: exporting.Exported, onnx_file: exporting.Exported
) -> None:
    names = ("supernet", "architecture", "genotype", "classes", "preprocessing")
    inside: dict[str, Any] = dict.fromkeys(names, "")
    torch.export.load(torch_file.path, extra_files=inside)
    assert onnxruntime.InferenceSession(onnx_file.path).get_modelmeta().custom_metadata_map == inside
    assert inside["supernet"] == "0.1.0"
    assert inside["architecture"] == str(run.genotype)
    assert Genotype.from_json(json.loads(inside["genotype"])) == run.genotype
    assert json.loads(inside["classes"]) == ["0", "1", "2"]
    description = json.loads(inside["preprocessing"])
    assert description["mean"] == pytest.approx(run.config["mean"])
    assert description["std"] == pytest.approx(run.config["std"])
    assert (description["size"], description["image_size"], description["channels"]) == ([9, 8], [9, 8], 3)
    assert description["steps"] == [*pictures(36), f"bring the picture to 9x8 pixels{RESIZED}"]
    assert description["input"] == "values of pixels, 0 to 255 as uint8, of shape (batch, 3, 9, 8); red, green, blue"


@pytest.mark.parametrize("format", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_model_may_take_floats_from_0_to_1(run: Run, format: str, call: Call) -> None:  # noqa: A002
    before = files(run)
    status, out, err = call("export", str(run.path), "--format", format, "--input", "float")
    assert (status, err) == (0, "")
    (name,) = files(run) - before
    path, x = run.path / name, noise(3, 3, 9, 8)
    assert path.stem == "model-float"
    assert out.startswith(f"{path} (")
    inside: dict[str, Any] = {"preprocessing": ""}
    if format == "torch":
        logits = torch.export.load(path, extra_files=inside).module()(x / 255)
    else:
        session = onnxruntime.InferenceSession(path)
        (given,) = session.get_inputs()
        assert (given.name, given.type, given.shape) == ("pixels", "tensor(float)", ["batch", 3, 9, 8])
        inside = session.get_modelmeta().custom_metadata_map
        logits = torch.from_numpy(session.run(None, {"pixels": (x / 255).numpy()})[0])
    torch.testing.assert_close(logits, load(run)(x), rtol=1e-4, atol=1e-4)
    description = json.loads(inside["preprocessing"])
    assert description["input"].startswith("values of pixels, from 0 to 1 as float32, of shape (batch, 3, 9, 8); ")
    assert description["inside"].startswith("(x - mean) / std, ")


def predictor_of(
    network_size: NetworkSize,
    image_size: tuple[int, int] | None = None,
    searched: SearchSpace = NASBENCH201,
) -> Predictor:
    """Return a predictor of random weights for a random architecture."""
    torch.manual_seed(0)
    network = Network(searched, searched.sample(random.Random(0)), network_size)
    moments = [0.5] * network_size.channels
    return Predictor(network, [str(i) for i in range(network_size.classes)], moments, moments, image_size).eval()


GREY = "make grey of colours: 0.299 red + 0.587 green + 0.114 blue (ITU-R 601)"
SQUARE = "bring the middle square of the picture to"


@pytest.mark.parametrize(
    ("image_size", "steps"),
    [
        (
            (12, 12),
            [*pictures(48), f"{SQUARE} 12x12 pixels{RESIZED}", GREY, "take the middle 8x8 pixels"],
        ),
        ((8, 8), [*pictures(32), f"{SQUARE} 8x8 pixels{RESIZED}", GREY]),
        (None, ["take the middle 8x8 pixels"]),
    ],
)
def test_the_preprocessing_of_crops_in_words(image_size: tuple[int, int] | None, steps: list[str]) -> None:
    description = preprocessing(predictor_of(NetworkSize(2, 1, (8, 8), 1), image_size=image_size))
    assert description["steps"] == steps
    assert description["input"].endswith("grey")


def test_the_preprocessing_of_images_that_are_not_square_in_words() -> None:
    description = preprocessing(predictor_of(NetworkSize(2, 1, (6, 9), 2), image_size=(6, 9)))
    means = "by means of blocks where its sides are multiples, else bilinearly with antialiasing"
    assert description["steps"] == [f"bring the picture to 6x9 pixels: {means}"]
    assert description["input"].endswith("2 channels")


@pytest.mark.slow
def test_reduction_cells_and_a_stem_that_halves_are_exported(tmp_path: Path) -> None:
    size = (66, 45)  # 33x23 after the stem, then 17x12 and 9x6: odd and even sides are halved everywhere
    predictor = predictor_of(NetworkSize(2, 1, size, 3, 4), size, reducing_space())
    outputs = [placed.output for placed in predictor.space.layout(predictor.network_size)]
    assert {(33, 23), (17, 12), (9, 6)} <= {(shape.height, shape.width) for shape in outputs}
    assert exporting._write_model(predictor, tmp_path / "model.onnx", exporters.save_onnx) < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def reducing_space() -> SearchSpace:
    """Return a space of one architecture: small cells of DARTS that have every operation of DARTS."""

    def cell(*ops: str) -> Cell:
        ends = ((2, 0), (2, 1), (3, 0), (3, 2))
        edges = tuple(Edge(target, source, (op,)) for (target, source), op in zip(ends, ops, strict=True))
        return Cell(edges, inputs=2, output="concat", keep=2, project=True)

    normal = cell("sep_conv_3x3", "dil_conv_3x3", "avg_pool_3x3", "skip_connect")
    reduce = cell("skip_connect", "sep_conv_5x5", "max_pool_3x3", "dil_conv_5x5")
    return SearchSpace("reducing", {"normal": normal, "reduce": reduce}, Stack(), norm_pools=True)


# --- the description


def test_the_description_has_the_layers_of_the_network(run: Run) -> None:
    path = export(run, "genotype")
    assert path == run.path / "genotype.json"
    description, predictor = json.loads(path.read_text()), load(run)
    assert Genotype.from_json(description) == run.genotype  # the file has more, and is still read as one
    assert description["architecture"] == str(run.genotype)
    assert description["supernet"] == "0.1.0"
    assert description["classes"] == ["0", "1", "2"]
    assert description["network_size"] == asdict(predictor.network_size) | {"image_size": [9, 8]}
    assert description["preprocessing"]["size"] == [9, 8]
    edges = description["candidates"]["cell"]["edges"]
    ops = list(predictor.space.cells["cell"].edges[2].ops)
    assert edges[2] == {"target": 2, "source": 1, "ops": ops, "branch": 0}
    kinds = [layer["layer"] for layer in description["layers"]]
    assert kinds == ["stem", "cell", "reduce", "cell", "reduce", "cell", "head"]
    before = None
    for layer, module in zip(description["layers"], predictor.network.layers, strict=True):
        assert before in (None, layer["inputs"][-1])
        before = layer["output"]
        shapes: list[list[int]] = []
        module.register_forward_hook(lambda _, given, out, shapes=shapes: shapes.append(list(out.shape[1:])))
        predictor(noise(1, 3, 9, 8))
        out = [layer["output"][name] for name in ("channels", "height", "width")]
        assert shapes[0] == (out if len(shapes[0]) == 3 else out[:1])


def test_the_description_of_a_cell_has_both_of_its_inputs() -> None:
    description = described(predictor_of(NetworkSize(2, 1, (8, 8), 3, 4), searched=space("darts")))
    (first, *_) = (layer for layer in description["layers"] if layer["layer"] == "cell")
    assert len(first["inputs"]) == 2
    assert set(description["cells"]) == {"normal", "reduce"}
    json.dumps(description)


# --- files


def test_models_that_differ_have_files_of_their_own(run: Run) -> None:
    wanted = {
        ("torch", "uint8", "last"): "model.pt2",
        ("torch", "uint8", "best"): "model.best.pt2",
        ("onnx", "float", "last"): "model-float.onnx",
        ("onnx", "float", "best"): "model-float.best.onnx",
    }
    assert {asked: str(exporting._name(*asked)) for asked in wanted} == wanted  # type: ignore[arg-type]
    assert export(run, "genotype", weights="best") == run.path / "genotype.json"


def test_a_given_file_needs_the_suffix_of_its_format_and_a_folder(run: Run, tmp_path: Path) -> None:
    assert export(run, "genotype", out=tmp_path / "mine.json") == tmp_path / "mine.json"
    expected = message(export, run, "onnx", out=tmp_path / "mine.pt")
    assert expected == f"cannot write format 'onnx' to '{tmp_path / 'mine.pt'}': its name must end in .onnx"
    expected = message(export, run, "torch", out=tmp_path / "no" / "mine.pt2")
    assert expected == f"cannot write '{tmp_path / 'no' / 'mine.pt2'}': there is no folder '{tmp_path / 'no'}'"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("format", ["torch", "onnx", "genotype"])
def test_a_full_disk_is_one_line(run: Run, format: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: A002
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("save_torch", "save_onnx", "write_atomically"):
        monkeypatch.setattr(exporting, name, full)
    out = tmp_path / f"mine{Path(exporting._FILES[format]).suffix}"
    assert message(export, run, format, out=out).startswith(f"cannot write '{out}': No space left on device; ")


# --- mistakes


def test_an_unknown_format_is_one_line(run: Run) -> None:
    assert message(export, run, "onx") == "unknown format 'onx'; did you mean 'onnx'? known: torch, onnx, genotype"
    assert message(export, run, "torch", input="flot").startswith("unknown input 'flot'; did you mean 'float'?")
    expected = "format 'genotype' is no model and has no input: leave it out"
    assert message(export, run, "genotype", input="float") == expected


@pytest.mark.parametrize("missing", EXTRA)
def test_without_the_extra_onnx_is_refused_at_once(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    expected = message(export, tmp_path / "no run", "onnx")
    assert expected == "export to onnx needs the extra: pip install 'supernet[onnx]'"


def test_without_the_extra_the_other_formats_work(
    run: Run, torch_file: exporting.Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in EXTRA:
        monkeypatch.setitem(sys.modules, name, None)
    assert torch_file.path.exists()
    assert export(run, "genotype", out=tmp_path / "genotype.json").exists()


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_model_that_differs_from_the_network_is_not_kept(
    run: Run, wrong: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def save(predictor: Predictor, path: Path, kind: str) -> exporters.Runs:
        path.write_text("a model")
        assert path.suffix == ".pt2"

        def runs(x: Tensor) -> Tensor:
            out: Tensor = predictor(x)
            if len(x) == 5:
                out[3, 1] += wrong * out.abs().max()
            return out

        return torch.no_grad()(runs)

    monkeypatch.setattr(exporting, "save_torch", save)
    (tmp_path / "model.pt2").write_text("the one before")
    expected = message(export, run, "torch", out=tmp_path / "model.pt2")
    assert expected.startswith("the exported model differs from the network: by ")
    assert expected.endswith("; no file is left")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt2", "the one before")]


@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_an_architecture_with_noise_is_described_but_not_exported_as_a_model(format: str, tmp_path: Path) -> None:  # noqa: A002
    home = two_input_space()
    kept = {"normal": [1 if edge.source < 2 else None for edge in home.cells["normal"].edges], "reduce": [0, 0, 0]}
    run = retrained(tmp_path / "run", save_images(tmp_path), home.choose(kept), space=home)
    before = files(run)
    expected = "this architecture has the random operation 'noise': an exported model could not be compared"
    assert message(export, run, format, space=home) == expected
    assert files(run) == before
    assert export(run, "genotype", space=home).exists()


def test_an_operation_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    predictor = predictor_of(NetworkSize(2, 1, (8, 8), 3, 4), image_size=(8, 8))
    predictor.network.layers[0] = Unexportable(predictor.network.layers[0])
    with pytest.raises(UserError, match=r"^this network cannot be exported: \w+: ") as caught:
        exporting._write_model(predictor, tmp_path / "model.pt2", exporters.save_torch)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


class Unexportable(torch.nn.Module):
    """A layer whose control flow depends on values of its input."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum().item() > 0 else self.layer(-x)


# --- the command


def test_the_command_prints_the_file_its_size_and_the_difference(
    run: Run, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(predictor: Predictor, path: Path, kind: str) -> exporters.Runs:
        path.write_bytes(bytes(123_456))
        return lambda x: predictor(x).detach() + 2.5e-6 * (torch.arange(3) == 1)

    monkeypatch.setattr(exporting, "save_onnx", save)
    status, out, err = call("export", str(run.path), "--format", "onnx", "--out", "mine.onnx")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"mine.onnx \(0\.12 MB; logits differ by [23]e-06 at most from the network's\)\nnext .*\n", out)
    status, out, err = call("export", str(run.path), "--format", "genotype", "--out", "mine.json")
    assert (status, err, out.startswith("mine.json (0.0"), " MB)\n" in out) == (0, "", True, True)


def test_a_mistake_in_the_command_is_one_line(run: Run, call: Call) -> None:
    for line, expected in (
        ("nothing --format onnx", "'nothing' is no run folder: give that of a retraining, or of the search it is of"),
        (
            f"{run.path}",
            "missing --format: STR onnx, torch (torch.export) or genotype (the architecture alone, as JSON)",
        ),
        (f"{run.path} --format pickle", "unknown format 'pickle'; known: torch, onnx, genotype"),
    ):
        status, out, err = call("export", *line.split())
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert err.startswith(f"supernet: {expected}")
