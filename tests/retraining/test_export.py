"""Exports: what comes back is the same network with its names and preprocessing; what cannot be had leaves no file."""

from __future__ import annotations

import json
import random
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
from test_predictor import Called, called, message, noise, retrained, saved_images
from torch import Tensor

from conftest import two_input_space
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.network import Network
from supernet.retraining import export as exporting
from supernet.retraining.export import export, export_checked
from supernet.retraining.predictor import Predictor, load
from supernet.spaces import NetworkSize, space
from supernet.spaces.genotype import Genotype

__all__ = ["called"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("exports")
    return retrained(folder / "run", saved_images(folder, channels=3))


@pytest.fixture(scope="module")
def torch_file(run: Run) -> exporting.Exported:
    return export_checked(run, "torch")


@pytest.fixture(scope="module")
def onnx_file(run: Run) -> exporting.Exported:
    return export_checked(run.path, "onnx", weights="best")


def files(run: Run) -> set[str]:
    return {file.name for file in run.path.iterdir()}


# --- models


def test_a_torch_model_comes_back_for_any_batch(run: Run, torch_file: exporting.Exported) -> None:
    assert torch_file.path == run.path / "model.pt2"
    assert torch_file.difference is not None
    assert torch_file.difference < 1e-5
    module = torch.export.load(torch_file.path).module()
    for batch in (1, 3, 17):
        x = noise(batch, 3, 8, 8)
        torch.testing.assert_close(module(x), load(run)(x))


def test_a_torch_model_needs_no_supernet(torch_file: exporting.Exported) -> None:
    code = (
        "import sys; sys.modules['supernet'] = None; import torch; "
        f"print(tuple(torch.export.load({str(torch_file.path)!r}).module()(torch.ones(4, 3, 8, 8).byte()).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(4, 3)\n"


def test_an_onnx_model_comes_back_for_any_batch(run: Run, onnx_file: exporting.Exported) -> None:
    assert onnx_file.path == run.path / "model.onnx"
    assert onnx_file.difference is not None
    assert onnx_file.difference < 1e-4
    onnx.checker.check_model(onnx_file.path, full_check=True)
    session = onnxruntime.InferenceSession(onnx_file.path)
    (given,), (out,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", 3, 8, 8])
    assert (out.name, out.type, out.shape) == ("logits", "tensor(float)", ["batch", 3])
    for batch in (1, 3, 17):
        x = noise(batch, 3, 8, 8)
        wanted = load(run, weights="best")(x).detach().numpy()
        np.testing.assert_allclose(session.run(None, {"pixels": x.numpy()})[0], wanted, rtol=1e-4, atol=1e-4)


def test_names_and_preprocessing_travel_along(
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
    told = json.loads(inside["preprocessing"])
    assert told["mean"] == pytest.approx(run.config["mean"])
    assert told["std"] == pytest.approx(run.config["std"])
    assert (told["size"], told["image_size"], told["channels"]) == ([8, 8], [8, 8], 3)
    assert told["steps"] == ["bring the middle square of the picture to 8x8 pixels"]
    assert told["input"] == "values of pixels, 0 to 255 as uint8, of shape (batch, 3, 8, 8); red, green, blue"


def made(
    network_size: NetworkSize,
    genotype: Genotype | None = None,
    image_size: tuple[int, int] | None = None,
    within: str = "nasbench201",
) -> Predictor:
    home = space(within)
    torch.manual_seed(0)
    network = Network(home, genotype or home.sample(random.Random(0)), network_size)
    moments = [0.5] * network_size.channels
    return Predictor(network, [str(i) for i in range(network_size.classes)], moments, moments, image_size).eval()


@pytest.mark.parametrize(
    ("image_size", "steps"),
    [
        ((12, 12), ["bring the middle square of the picture to 12x12 pixels", "take the middle 8x8 pixels"]),
        (None, ["take the middle 8x8 pixels"]),
    ],
)
def test_preprocessing_with_crops_in_words(image_size: tuple[int, int] | None, steps: list[str]) -> None:
    told = exporting._preprocessing(made(NetworkSize(2, 1, (8, 8), 1), image_size=image_size))
    assert told["steps"] == steps
    assert told["input"].endswith("grey")


def test_preprocessing_of_images_that_are_no_squares_in_words() -> None:
    told = exporting._preprocessing(made(NetworkSize(2, 1, (6, 9), 2), image_size=(6, 9)))
    assert told["steps"] == ["bring the picture to 6x9 pixels"]
    assert told["input"].endswith("2 channels")


@pytest.mark.parametrize(("within", "size"), [("nasbench201", (9, 7)), ("darts", (9, 7)), ("darts", (64, 64))])
def test_odd_sides_stems_and_reduction_cells_come_back(within: str, size: tuple[int, int], tmp_path: Path) -> None:
    predictor = made(NetworkSize(2, 1, size, 3, 4), within=within, image_size=size)
    assert exporting._write_model(predictor, tmp_path / "model.onnx", exporting._save_onnx) < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


# --- the description


def test_the_architecture_is_described_without_python(run: Run) -> None:
    path = export(run, "genotype")
    assert path == run.path / "genotype.json"
    told, predictor = json.loads(path.read_text()), load(run)
    assert Genotype.from_json(told) == run.genotype  # more than that, and still what a search writes
    assert told["architecture"] == str(run.genotype)
    assert told["supernet"] == "0.1.0"
    assert told["classes"] == ["0", "1", "2"]
    assert told["network_size"] == asdict(predictor.network_size) | {"size": [8, 8]}
    assert told["preprocessing"]["size"] == [8, 8]
    edges = told["candidates"]["cell"]["edges"]
    ops = list(predictor.space.cells["cell"].edges[2].ops)
    assert edges[2] == {"target": 2, "source": 1, "ops": ops, "branch": 0}
    assert [layer["layer"] for layer in told["layers"]] == ["stem", "cell", "reduce", "cell", "reduce", "cell", "head"]
    before = None
    for layer, module in zip(told["layers"], predictor.network.layers, strict=True):
        assert before in (None, layer["inputs"][-1])
        before = layer["output"]
        shapes: list[list[int]] = []
        module.register_forward_hook(lambda _, given, out, shapes=shapes: shapes.append(list(out.shape[1:])))
        predictor(noise(1, 3, 8, 8))
        out = [layer["output"][name] for name in ("channels", "height", "width")]
        assert shapes[0] == (out if len(shapes[0]) == 3 else out[:1])


def test_the_layers_of_a_cell_with_two_inputs_have_both() -> None:
    told = exporting._description(made(NetworkSize(2, 1, (8, 8), 3, 4), within="darts"))
    (first, *_) = (layer for layer in told["layers"] if layer["layer"] == "cell")
    assert len(first["inputs"]) == 2
    assert set(told["cells"]) == {"normal", "reduce"}
    json.dumps(told)


# --- where it goes


def test_a_file_of_ones_own(run: Run, tmp_path: Path) -> None:
    assert export(run, "genotype", out=tmp_path / "mine.json") == tmp_path / "mine.json"
    said = message(export, run, "onnx", out=tmp_path / "mine.pt")
    assert said == f"cannot write format 'onnx' to '{tmp_path / 'mine.pt'}': its name must end in .onnx"
    said = message(export, run, "torch", out=tmp_path / "no" / "mine.pt2")
    assert said == f"cannot write '{tmp_path / 'no' / 'mine.pt2'}': there is no folder '{tmp_path / 'no'}'"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("format", ["torch", "onnx", "genotype"])
def test_a_full_disk_is_one_line(run: Run, format: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: A002
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("_save_torch", "_save_onnx", "atomically"):
        monkeypatch.setattr(exporting, name, full)
    out = tmp_path / f"mine{Path(exporting._FILES[format]).suffix}"
    assert message(export, run, format, out=out).startswith(f"cannot write '{out}': No space left on device; ")


# --- mistakes


def test_an_unknown_format(run: Run) -> None:
    assert message(export, run, "onx") == "unknown format 'onx'; did you mean 'onnx'? known: torch, onnx, genotype"


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_nothing_is_done(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    said = message(export, tmp_path / "no run", "onnx")
    assert said == "export to onnx needs the extra: pip install 'supernet[onnx]'"


def test_without_the_extra_the_others_work(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert export(run, "torch", out=tmp_path / "model.pt2").exists()
    assert export(run, "genotype", out=tmp_path / "genotype.json").exists()


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_model_that_differs_leaves_no_file(
    run: Run, wrong: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def save(predictor: Predictor, path: Path) -> exporting.Runs:
        path.write_text("a model")
        assert path.suffix == ".pt2"

        def runs(x: Tensor) -> Tensor:
            out: Tensor = predictor(x)
            if len(x) == 5:
                out[3, 1] += wrong * out.abs().max()
            return out

        return torch.no_grad()(runs)

    monkeypatch.setattr(exporting, "_save_torch", save)
    (tmp_path / "model.pt2").write_text("the one before")
    said = message(export, run, "torch", out=tmp_path / "model.pt2")
    assert said.startswith("the exported model differs from the network: by ")
    assert said.endswith("; no file is left")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt2", "the one before")]


@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_noise_cannot_be_compared_but_described(format: str, tmp_path: Path) -> None:  # noqa: A002
    home = two_input_space()
    kept = {"normal": [1 if edge.source < 2 else None for edge in home.cells["normal"].edges], "reduce": [0, 0, 0]}
    run = retrained(tmp_path / "run", saved_images(tmp_path), home.choose(kept), space=home)
    before = files(run)
    said = "this architecture has the random operation 'noise': an exported model could not be compared"
    assert message(export, run, format, space=home) == said
    assert files(run) == before
    assert export(run, "genotype", space=home).exists()


def test_an_operation_that_no_exporter_knows_is_one_line(tmp_path: Path) -> None:
    predictor = made(NetworkSize(2, 1, (8, 8), 3, 4), image_size=(8, 8))
    predictor.network.layers[0] = Unexportable(predictor.network.layers[0])
    with pytest.raises(UserError, match=r"^this network cannot be exported: \w+: ") as caught:
        exporting._write_model(predictor, tmp_path / "model.pt2", exporting._save_torch)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


class Unexportable(torch.nn.Module):
    """Decides by the values it sees."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum().item() > 0 else self.layer(-x)


# --- the command


def test_the_command_says_what_it_wrote(run: Run, called: Called) -> None:
    status, out, err = called("export", run.path, "--format", "onnx", "--out", "mine.onnx")
    assert (status, err) == (0, "")
    assert out.startswith("mine.onnx (0.")
    assert " MB; logits differ by " in out
    status, out, err = called("export", run.path, "--format", "genotype", "--out", "mine.json")
    assert (status, err, out.startswith("mine.json (0.0"), out.endswith(" MB)\n")) == (0, "", True, True)


def test_the_command_tells_mistakes_in_one_line(run: Run, called: Called) -> None:
    for line, said in (
        ("nothing --format onnx", "'nothing' is no run folder: give that of a retraining, or of the search it is of"),
        (
            f"{run.path}",
            "missing --format: STR onnx, torch (torch.export) or genotype (the architecture alone, as JSON)",
        ),
        (f"{run.path} --format pickle", "unknown format 'pickle'; known: torch, onnx, genotype"),
    ):
        status, out, err = called("export", *line.split())
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert err.startswith(f"supernet: {said}")
