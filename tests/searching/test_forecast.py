"""Forecasts of the time and memory of a search, of searches that do not fit into memory, and `--dry-run`."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import supernet as sn
from conftest import Call
from supernet.cli.search import _print_forecast
from supernet.data import Batch, limits
from supernet.engine import memory
from supernet.engine.cuda_graphs import EAGER
from supernet.engine.peak_memory import peak_of_process
from supernet.methods.differentiable import Differentiable
from supernet.methods.gradient_monitor import GradientMonitor
from supernet.report.console import Console
from supernet.searching import forecast as forecasting
from supernet.searching import results
from supernet.searching.forecast import Forecast, _Trial
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask
from supernet.testing import PairDataset, ragged_space, tiny_images

CPU = torch.device("cpu")
TINY = {"epochs": 3, "batch_size": 16, "width": 2, "space": ragged_space(), "device": "cpu"}
SMALL = ["--images", "60", "--epochs", "2", "--width", "2", "--device", "cpu"]
FORECAST = Forecast(2.0, 3.0, steps=10, epochs=4, peak_bytes=1_500_000_000, free_bytes=16_000_000_000, fits=True)


def forecast(**settings: Any) -> Forecast:
    return sn.forecast(PairDataset(tiny_images(96)), **TINY | settings)


def test_the_seconds_of_a_search_are_the_sum_of_its_parts() -> None:
    assert FORECAST.epoch_seconds == 23
    assert FORECAST.seconds == 92


def test_a_forecast_writes_nothing_and_keeps_the_random_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state()
    found = forecast(front=2, table=True, quiet=True)  # arguments of a search, of which none changes the forecast
    assert torch.equal(torch.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []
    assert (found.steps, found.epochs, found.fits) == (3, 3, True)
    assert 0 < found.step_seconds < 10
    assert 0 < found.valid_seconds < 10
    assert 10_000 < found.peak_bytes < 10_000_000
    assert found.free_bytes is None or found.free_bytes > found.peak_bytes


def test_without_validation_images_no_measurement_is_forecast() -> None:
    assert forecast(train_on="full").valid_seconds == 0


@pytest.mark.parametrize(
    "method", ["single-darts", "darts", pytest.param("darts-2nd", marks=pytest.mark.slow), "random"]
)
def test_every_method_is_forecast_and_peaks_grow_with_the_batch(method: str) -> None:
    peaks = [forecast(method=method, batch_size=size).peak_bytes for size in (8, 16, 32)]
    if method == "random":  # one path alone may need less than the measurement, which is the same for all
        assert peaks[0] <= peaks[1] <= peaks[2]
    else:
        assert peaks[0] < peaks[1] < peaks[2]


def test_checkpointing_takes_less_memory() -> None:
    peaks = [forecast(depth=3, width=8, checkpointing=on).peak_bytes for on in (False, True)]
    assert peaks[1] < peaks[0]


def test_the_peak_is_extrapolated_from_smaller_batches() -> None:
    for settings in ({}, {"method": "darts"}, {"engine": "reference", "alpha": {"optimizer": "adam"}}):
        torch.manual_seed(0)
        task = SearchTask(planned(PairDataset(tiny_images(96)), **TINY | {"batch_size": 48} | settings))
        task.begin_epoch(0)
        trial = _Trial(task)
        guess = trial.guess()
        trial.step()
        assert guess == pytest.approx(trial.peak(trial.step), rel=0.25)  # more runs together where a batch is small


def test_a_batch_too_small_to_be_divided_is_forecast() -> None:
    assert forecast(batch_size=3).fits


def test_steps_are_timed_after_the_step_that_a_gpu_records(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    step, seconds = Differentiable.step, forecasting.seconds
    monkeypatch.setattr(Differentiable, "step", lambda *given: (steps.append("step"), step(*given))[1])
    monkeypatch.setattr(forecasting, "seconds", lambda *given: (steps.append("timed"), seconds(*given))[1])
    forecast()
    before = steps.index("timed") - 3  # those on parts of the batch, which are left out on a GPU
    assert before == EAGER + 1
    assert steps[steps.index("timed") :] == ["timed", *["step"] * 5, "timed"]


@pytest.mark.parametrize(("every", "steps"), [(1, 5), (4, 8), (10, 10), (60, 5)])
def test_steps_are_timed_with_as_many_measurements_of_the_monitor_as_a_search_has(
    every: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    step, measure, seconds = Differentiable.step, GradientMonitor._measure, forecasting.seconds
    monkeypatch.setattr(Differentiable, "step", lambda *given: (told.append("step"), step(*given))[1])
    monkeypatch.setattr(GradientMonitor, "_measure", lambda *given: (told.append("measured"), measure(*given))[1])
    monkeypatch.setattr(forecasting, "seconds", lambda *given: (told.append("timed"), seconds(*given))[1])
    found = forecast(monitor="gradients", monitor_every=every)
    timed = told[told.index("timed") + 1 :]
    timed = timed[: timed.index("timed")]
    assert (timed.count("step"), timed.count("measured")) == (steps, steps // every)
    assert found.step_passes == 1  # what only measures does not count


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"engine": "reference"},
        {"method": "darts", "checkpointing": True},
        {"method": "darts-2nd", "width": 8},
        {"method": "gdas"},
        {"method": "random"},
    ],
    ids=str,
)
def test_a_forecast_is_what_a_search_takes_to_15_percent(settings: dict[str, Any], tmp_path: Path) -> None:
    job = Path(__file__).parents[1] / "forecast_jobs.py"  # 12 steps: memory grows for the first few
    size = {"images": 768, "image_size": 16, "batch_size": 128, "width": 16, "depth": 1, "epochs": 4, "device": "cpu"}
    command = [sys.executable, str(job), json.dumps(size | settings | {"out": str(tmp_path / "run")})]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found = json.loads(done.stdout)
    assert found["forecast"]["bytes"] == pytest.approx(found["search"]["bytes"], rel=0.15)
    assert found["forecast"]["passes"] == found["search"]["passes"]
    assert found["search"]["bytes"] > found["before"]


@pytest.mark.parametrize(
    ("settings", "at_most"),
    [
        ({"method": "darts"}, False),
        ({"method": "pc-darts", "width": 4}, True),
        ({"method": "pc-darts", "width": 4, "warmup": 0.0}, False),
        ({"method": "p-darts"}, True),
        ({"method": "cdarts"}, True),
        ({"method": "zarts-rs", "samples": 1, "steps": 1, "epochs": 5}, True),
        ({"method": "zarts-rs", "samples": 1, "steps": 1, "warmup": 0}, False),
    ],
    ids=str,
)
def test_the_forecast_of_a_method_that_warms_up_is_an_upper_bound(settings: dict[str, Any], at_most: bool) -> None:
    assert forecast(**settings).at_most is at_most


def test_a_step_of_a_forecast_draws_what_a_step_of_the_search_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    task = SearchTask(planned(PairDataset(tiny_images(96)), **TINY | {"method": "zarts-rs", "samples": 1, "steps": 2}))
    task.begin_epoch(2)
    drawn: list[str] = []
    for name, stream in task.streams.items():
        monkeypatch.setattr(stream, "next", lambda name=name, draw=stream.next: (drawn.append(name), draw())[1])
    trial = _Trial(task)
    drawn.clear()
    trial._steps(4)  # of which every second moves alpha
    assert sorted(drawn) == ["alpha"] * 4 + ["inner"] * 2 + ["weights"] * 4


# --- too little memory


def test_a_step_that_will_not_fit_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = Differentiable.step

    def counted(self: Differentiable, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        seen.append(len(batches["weights"].y))
        return step(self, batches)

    monkeypatch.setattr(Differentiable, "step", counted)
    whole = forecast().peak_bytes
    assert max(seen) == 16
    seen.clear()
    monkeypatch.setattr(forecasting, "free_memory", lambda device: whole)  # a CPU needs a quarter more
    found = forecast()
    assert seen == [2, 2, 4]
    assert not found.fits
    assert found.peak_bytes == pytest.approx(whole, rel=0.05)
    assert math.isnan(found.step_seconds)
    assert math.isnan(found.seconds)
    assert (found.steps, found.epochs) == (3, 3)


SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError(
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call"
    ),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("owner", [Differentiable, SearchTask])
def test_a_shortage_of_memory_in_a_step_or_a_supernet_is_a_search_that_does_not_fit(
    error: Exception, owner: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(owner, "__init__" if owner is SearchTask else "step", fail)
    found = forecast()
    assert not found.fits
    assert math.isnan(found.seconds)
    assert found.steps == (0 if owner is SearchTask else 3)


def test_the_error_of_pytorch_is_recognised_as_a_shortage_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert memory.is_shortage(caught.value)


def test_any_other_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("shapes do not meet")

    monkeypatch.setattr(Differentiable, "step", fail)
    with pytest.raises(RuntimeError, match="shapes do not meet"):
        forecast()


# --- free memory


def test_the_memory_of_the_system_and_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SYSTEM", "_GROUP"):
        monkeypatch.setattr(limits, name, tmp_path / name)
    here = memory.free_memory(CPU)
    assert here is None or here > 0
    (tmp_path / "_SYSTEM").write_text("MemTotal:  9000 kB\nMemFree:  1 kB\nMemAvailable:   8000 kB\n")
    assert memory.free_memory(CPU) == 8000 * 1024
    group = tmp_path / "_GROUP"
    group.mkdir()
    for limit, wanted in (("max", 8000 * 1024), ("5000000", 3_000_500), ("900000000", 8000 * 1024)):
        for name, text in (("max", limit), ("current", "2000000"), ("stat", "anon 1\ninactive_file 500")):
            (group / f"memory.{name}").write_text(text + "\n")
        assert memory.free_memory(CPU) == wanted


def test_the_free_memory_of_other_devices_is_unknown() -> None:
    assert memory.free_memory(torch.device("meta")) is None


# --- the command


def test_a_dry_run_prints_a_forecast_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    status, out, err = call("search", "digits", *SMALL, "--dry-run", "--out", "run")
    assert (status, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    lines = (
        r"read \d+ images of 10 classes .*",
        r"running fused \((compiled|PyTorch's) kernels\), float32, on cpu with \d+ threads?",
        r"memory        [\d.]+ [kM]B( of [\d.]+ [GT]B that are free)?",
        *([r"process       [\d.]+ [MG]B, with Python, libraries and work space"] if peak_of_process() else []),
        r"step          [\d.]+ m?s",
        r"epoch         [\d.]+ m?s \(1 step and the measurement after it\)",
        r"search        [\d.]+ m?s \(2 epochs\)",
        f"next          supernet search digits {' '.join(SMALL)} --out run",
    )
    for line, wanted in zip(out.splitlines(), lines, strict=True):
        assert re.fullmatch(wanted, line)


def test_a_dry_run_leaves_an_existing_run_as_it_is(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_pictures", lambda *arguments: None)  # they take most of the time
    call("search", "digits", *SMALL, "--quiet", "--out", "run")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for also in ([], ["--force"], ["--width", "3"]):
        status, out, _ = call("search", "digits", *SMALL, *also, "--dry-run", "--out", "run")
        assert (status, out[:5]) == (0, "read ")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_dry_run_warns_of_a_search_that_does_not_fit(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "free_memory", lambda device: 100_000)
    status, out, err = call("search", "digits", *SMALL, "--dry-run")
    assert (status, err) == (0, "")
    assert re.search(r"^memory        \d+\.\d [kM]B of 100\.0 kB that are free$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "warning       it will not fit: take a smaller --batch-size, or --checkpointing"
    assert "step" not in out


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (FORECAST, "1.5 GB of 16.0 GB that are free"),
        (Forecast(1, 1, 1, 1, 2000, None, fits=True), "2.0 kB"),
        (Forecast(math.nan, math.nan, 0, 1, 0, 5_000_000, fits=False), "more than the 5.0 MB that are free"),
        (Forecast(math.nan, math.nan, 0, 1, 0, None, fits=False), "more than there is"),
        (Forecast(math.nan, math.nan, 0, 1, 7_000_000, 5_000_000, fits=False), "7.0 MB of 5.0 MB that are free"),
    ],
)
def test_memory_is_printed_against_the_free_memory(
    found: Forecast, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _print_forecast(Console(), "read", "running", found)
    assert f"memory        {wanted}\n" in capsys.readouterr().out


def test_an_upper_bound_is_printed_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    _print_forecast(Console(), "read", "running", replace(FORECAST, at_most=True))
    assert "\nsearch        at most 1 min 32 s (4 epochs)\n" in capsys.readouterr().out


def test_one_epoch_is_forecast_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    _print_forecast(Console(), "read", "running", replace(FORECAST, epochs=1))
    assert "(1 epoch)\n" in capsys.readouterr().out
