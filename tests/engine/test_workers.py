"""Worker processes: which job each one does, what errors become of, how they end, and the memory that they share."""

from __future__ import annotations

import multiprocessing
import os
import select

import pytest
import torch

from supernet.engine.signals import ENDING
from supernet.engine.workers import SharedTensors, WorkerPool, devices_of
from supernet.errors import UserError
from worker_jobs import Jobs

CPU = torch.device("cpu")


@pytest.mark.slow
def test_what_happens_to_workers(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    pool = WorkerPool(Jobs, devices_of(CPU, 2))
    for process in multiprocessing.active_children():
        for number in ENDING:  # as Ctrl-C does to all of a terminal's processes, here while they start
            os.kill(process.pid, number)
    (one, first, threads), (also, second, _) = pool(["a", "b"])
    assert (one, also, threads) == (1, 1, 2)
    assert len({first, second, os.getpid()}) == 3
    for number in ENDING:
        os.kill(first, number)
    assert [count for count, *_ in pool(["a", "b"])] == [2, 2]
    with pytest.raises(ZeroDivisionError, match=r"^of no use$") as error:
        pool(["fail", "b"])
    assert "worker_jobs.py" in str(error.value.__cause__)  # the traceback in the process
    with pytest.raises(UserError, match=r"^that is wrong$"):
        pool(["a", "mistake"])
    assert [count for count, *_ in pool(["a"])] == [5]
    with pytest.raises(ValueError, match="longer"):
        pool(["a", "b", "c"])
    os.mkfifo(tmp_path / "open")  # which a process of the second worker's own holds open until it ends
    pipe = os.open(tmp_path / "open", os.O_RDONLY | os.O_NONBLOCK)
    pool(["a", [tmp_path / "open"]])
    assert not select.select([pipe], [], [], 0)[0]
    with pytest.raises(UserError, match=r"^a worker process has ended with exit status 3; .*__main__"):
        pool(["a", "die"])
    assert select.select([pipe], [], [], 120)[0] == [pipe]
    assert os.read(pipe, 1) == b""
    os.close(pipe)
    assert not multiprocessing.active_children()  # the other one, too, has ended


def test_workers_on_gpus_take_them_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device.index for device in devices_of(torch.device("cuda"), 3)] == [0, 1, 0]
    assert devices_of(CPU, 2) == [CPU, CPU]
    assert [device.index for device in devices_of(torch.device("cuda:1"), 2)] == [1, 1]  # which was named


def test_shared_tensors_of_all_types_lie_in_one_block_of_memory():
    like = [torch.randn(3, 5), torch.tensor(7), torch.randn(2, 1, 3, dtype=torch.float64), torch.zeros(0)]
    shared = SharedTensors(like)
    for tensor, value in zip(shared.tensors, like, strict=True):
        tensor.copy_(value)
    for tensor, value in zip(shared.tensors, like, strict=True):
        assert torch.equal(tensor, value)
        assert tensor.dtype == value.dtype
    assert len({tensor.untyped_storage().data_ptr() for tensor in shared.tensors}) == 1
    assert shared.tensors[0].is_shared()
