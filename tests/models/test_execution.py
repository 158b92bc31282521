"""How a supernet is run: what is chosen, where it arrives, what is said of it, and that every supernet has its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

import supernet as sn
from conftest import Call
from supernet.engine.device import described
from supernet.engine.precision import Precision, precision_named, products
from supernet.engine.run import Run
from supernet.errors import UserError
from supernet.models.execution import Execution, execution
from supernet.models.supernet import Supernet
from supernet.retraining import plan as retraining_plan
from supernet.retraining.train import TrainingTask
from supernet.searching.plan import planned as plan
from supernet.searching.task import SearchTask
from supernet.spaces import NetworkSize, space
from supernet.spaces.modules import Norm
from supernet.testing import PairDataset, tiny_images

CPU, GPU = torch.device("cpu"), torch.device("cuda")
TINY = {"images": 60, "epochs": 2, "width": 2, "device": "cpu"}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"
RUN = {"engine": "reference", "precision": "bf16", "checkpointing": True}
SMALL = {"epochs": 2, "batch_size": 6, "width": 2, "depth": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of a small search goes into its pictures."""
    monkeypatch.setattr("supernet.searching.results._pictures", lambda *given: None)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, int]], None]:
    """Let there be a GPU of some compute capability, for as long as nothing is put there."""

    def pretend(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")

    return pretend


def test_what_is_left_to_the_cpu() -> None:
    assert execution(CPU) == Execution("fused", "float32", checkpointing=False, graphs=False)
    given = execution(CPU, engine="reference", precision="bf16", checkpointing=True, graphs=False)
    assert given == Execution("reference", "bf16", checkpointing=True, graphs=False)


def test_what_is_left_to_a_gpu(gpu: Callable[[tuple[int, int]], None]) -> None:
    gpu((9, 0))
    assert execution(GPU) == Execution("fused", "tf32", checkpointing=False, graphs=True)
    assert not execution(GPU, graphs=False).graphs
    assert not execution(GPU, capturable=False).graphs
    assert not execution(GPU, per_step=True).graphs
    assert execution(GPU, precision="float32", graphs=True) == Execution(graphs=True)
    gpu((7, 5))
    assert execution(GPU).precision == "float32"


def test_what_cannot_be_had_is_told_in_a_line(gpu: Callable[[tuple[int, int]], None]) -> None:
    gpu((7, 5))
    for choices, said in (
        ({"device": CPU, "graphs": True}, "CUDA graphs need a GPU, not 'cpu'"),
        ({"device": GPU, "graphs": True, "capturable": False}, "CUDA graphs cannot record this method: what it "),
        ({"device": GPU, "graphs": True, "per_step": True}, "CUDA graphs cannot record a learning rate that moves: "),
        ({"device": GPU, "precision": "tf32"}, "precision tf32 needs a GPU of compute capability 8.0 or more, not "),
    ):
        with pytest.raises(UserError) as caught:
            execution(**choices)
        assert str(caught.value).startswith(said)


def test_it_is_said_in_a_line(gpu: Callable[[tuple[int, int]], None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpu((9, 0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for found, kernels in ((object(), "compiled"), (None, "PyTorch's")):
        monkeypatch.setattr("supernet.models.execution.library", lambda found=found: found)
        assert Execution().on(CPU) == f"running fused ({kernels} kernels), float32, on cpu with 2 threads"
    everything = Execution("reference", "bf16", checkpointing=True, graphs=True).on(GPU)
    assert everything == "running reference, bf16, checkpointing, CUDA graphs, on cuda (Some GPU)"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert described(CPU) == "cpu with 1 thread"
    assert described(torch.device("meta")) == "meta"


def test_it_arrives_at_the_supernet_and_in_the_config() -> None:
    given = plan("digits", engine="reference", precision="bf16", checkpointing=True, **TINY)
    supernet = SearchTask(given).method.supernet
    assert (supernet.engine, supernet.precision, supernet.checkpointing) == ("reference", "bf16", True)
    assert {name: given.record[name] for name in RUN} == RUN
    assert not {"graphs", "workers"} & set(given.record)
    assert SearchTask(plan("digits", **TINY)).method.supernet.engine == "fused"


def test_it_is_that_of_every_supernet_alone() -> None:
    one, other = (Supernet(space("nasbench201"), NetworkSize(2, 1, (8, 8), 1, 3), Norm()) for _ in range(2))
    Execution("reference", "bf16", checkpointing=True).apply(one)
    assert (other.engine, other.precision, other.checkpointing) == ("fused", "float32", False)


def test_a_run_goes_on_as_it_began(tmp_path: Path) -> None:
    choices = TINY | {"quiet": True, "out": tmp_path / "run"}
    sn.search("digits", engine="reference", **choices)
    with pytest.raises(UserError, match=r"other settings: engine \(reference there, fused now\); give"):
        sn.search("digits", **choices)
    assert sn.search("digits", engine="reference", graphs=False, **choices).finished  # graphs change no number


def test_the_flags_of_a_search(call: Call) -> None:
    small = ["--images", "60", "--epochs", "1", "--width", "2", "--device", "cpu"]
    flags = ["--engine", "reference", "--precision", "bf16", "--checkpointing", "--no-graphs"]
    status, out, err = call("search", "digits", *small, *flags, "--out", "run")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith("running reference, bf16, checkpointing, on cpu with ")
    assert {name: Run("run").config[name] for name in RUN} == RUN
    assert call("search", "--config", "run", "--quiet", "--device", "cpu", "--out", "again")[0] == 0
    assert Run("again").config == Run("run").config
    page = call("search", "--help-all")[1]
    for flag in ("--engine", "--precision", "--checkpointing", "--graphs", "--no-graphs", "--dry-run"):
        assert flag in page


def test_tf32_of_a_saved_search_is_taken_where_there_is_one(call: Call) -> None:
    small = ["--images", "60", "--epochs", "1", "--width", "2", "--device", "cpu", "--quiet"]
    call("search", "digits", *small, "--out", "run")
    file = Path("run", "config.yaml")
    file.write_text(file.read_text().replace("precision: float32", "precision: tf32"))  # as if from a GPU
    assert call("search", "--config", "run", *small, "--out", "again")[0] == 0
    assert Run("again").config["precision"] == "float32"


@pytest.mark.slow
def test_a_search_never_imports_the_compiler(tmp_path: Path) -> None:
    """Counting costs and making an optimizer would import it, which takes seconds."""
    program = f"""
import sys
import supernet as sn
sn.search("digits", images=60, epochs=1, width=2, method="darts", device="cpu", quiet=True, max_flops="300M",
          alpha={{"optimizer": "adam"}}, out={str(tmp_path / "run")!r})
assert "torch" in sys.modules and not {{"torch._dynamo", "sympy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the switches of products


def switches() -> list[str]:
    """As they are known by their newer names, which can always be read."""
    backends = torch.backends
    return [owner.fp32_precision for owner in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]


PROGRAM = """
import os
from typing import get_args
import torch
from supernet.engine.precision import Precision, products

def check(set_before, names, values):
    exec(set_before)
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    read = lambda: eval(f"[{names}]", {"cuda": cuda, "cudnn": cudnn})
    before = read()
    for precision in get_args(Precision):
        try:
            with products(precision):
                assert set(read()) == {values[precision == "tf32"]}
                raise KeyError
        except KeyError:
            pass
        assert read() == before

for case in CASES:
    child = os.fork()  # a process for each: what mixes the names stays mixed
    if not child:
        check(*case)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, case
"""
OLDER = "cuda.allow_tf32, cudnn.allow_tf32", (False, True)
NEWER = "cuda.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision", ("ieee", "tf32")
CASES = [
    ("", *OLDER),
    ("torch.backends.cuda.matmul.allow_tf32 = True", *OLDER),
    ("torch.backends.cudnn.allow_tf32 = False", *OLDER),
    ("torch.backends.cudnn.conv.fp32_precision = 'ieee'", *NEWER),  # no older name can be read now
    ("torch.backends.cuda.matmul.fp32_precision = 'tf32'", *NEWER),
]


def test_products_are_set_and_afterwards_the_callers_again() -> None:
    subprocess.run([sys.executable, "-c", f"CASES = {CASES!r}\n{PROGRAM}"], check=True)


def test_a_search_and_a_retraining_multiply_as_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with products("float32"):  # in a new process: a switch that was never set is set from here on
        pass
    seen, before = [], switches()
    for kind in (SearchTask, TrainingTask):
        real = kind.begin_epoch
        monkeypatch.setattr(
            kind, "begin_epoch", lambda self, epoch, real=real: (seen.append(switches()), real(self, epoch))
        )
    images = PairDataset(tiny_images(24))
    run = sn.search(images, out=tmp_path / "run", quiet=True, **TINY | {"images": 24, "batch_size": 6})
    sn.retrain(run, data=images, quiet=True, **SMALL)
    assert len(seen) == 4
    assert all("tf32" not in state for state in seen)
    assert switches() == before


def test_names_of_precisions(gpu: Callable[[tuple[int, int]], None]) -> None:
    assert [precision_named(name, CPU) for name in ("auto", "float32", "bf16")] == ["float32", "float32", "bf16"]
    gpu((8, 0))
    names = get_args(Precision)
    assert [precision_named(name, GPU) for name in ("auto", *names)] == ["tf32", *names]


# --- retraining


def trained_in(precision: str) -> TrainingTask:
    images = PairDataset(tiny_images(24))
    chosen = retraining_plan.planned(CELL, data=images, precision=precision, auxiliary=0.4, **SMALL)
    torch.manual_seed(0)
    return TrainingTask(chosen)


def test_a_retraining_in_bfloat16_keeps_its_loss_and_its_weights_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = trained_in("bf16"), []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        seen.append((module.training, output.dtype))

    for module in task.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    task.begin_epoch(0)
    metrics = task.step({"train": task.streams["train"].next()})
    assert {value.dtype for value in metrics.values()} == {torch.float32}
    assert {p.dtype for p in task.network.parameters()} == {torch.float32}
    assert set(seen) == {(True, torch.bfloat16)}
    seen.clear()
    task.accuracies(test=False)
    assert set(seen) == {(False, torch.float32)}


def test_a_retraining_in_bfloat16_begins_near_that_in_float32() -> None:
    losses = []
    for precision in ("float32", "bf16"):
        task = trained_in(precision)
        losses.append(task.step({"train": task.streams["train"].next()})["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert losses[0] != losses[1]


def test_the_precision_of_a_retraining_is_in_its_config_and_said(tmp_path: Path, call: Call) -> None:
    assert retraining_plan.planned(CELL, data="digits", **SMALL).record["precision"] == "float32"
    sn.search("digits", out=tmp_path / "run", quiet=True, **TINY)
    small = ["--epochs", "1", "--width", "2", "--depth", "1", "--device", "cpu"]
    status, out, err = call("retrain", "run", *small, "--precision", "bf16")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith("running bf16, on cpu with ")
    assert Run("run/quick-0").config["precision"] == "bf16"
    said = "supernet: --precision takes auto, float32, tf32 or bf16, not 'bf61' "
    status, out, err = call("retrain", "run", "--precision", "bf61")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(said)
