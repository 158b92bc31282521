"""The jobs of a comparison on a cluster: each is a task of Ray (core), and a thread here waits for it."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any

from supernet.engine.signals import kept
from supernet.errors import UserError, reason_of
from supernet.searching.compare.commands import Job
from supernet.searching.compare.config import FILE
from supernet.searching.compare.executor import given_threads, may_be_gpu
from supernet.searching.compare.worker import Stopped, carry_out, note

LOST = 5  # nodes that a job may lose
_PAUSE = 0.5  # seconds between two looks


class OnRay:
    """Runs jobs on the nodes of a running Ray cluster, all of which see the comparison's folder.

    Ray places every job by the cores, the GPU and the memory that it declares. A job whose node is lost goes on from
    its last checkpoint on another. Raises UserError without Ray, without a cluster, and if no node is large enough.
    """

    def __init__(
        self, out: Path, jobs: int, workers: int | None, device: str, bytes_each: int, say: Callable[[str], None]
    ) -> None:
        self.out, self._say, self._stop, self._ray = out.resolve(), say, Event(), _connected()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._needs = needs(nodes, min(jobs, workers or jobs), device, bytes_each)
        slots = places(nodes, self._needs)
        self.workers = min(slots, jobs, workers or jobs)
        large = sum(places([node], self._needs) > 0 for node in nodes)
        self.where = f"{large} node{'s' if large > 1 else ''} of a Ray cluster, {self.workers} at a time" + (
            ", each on a GPU of its own" if self._needs["num_gpus"] else ""
        )
        # As many wait as there are jobs: nodes that join later find work
        self._pool = ThreadPoolExecutor(workers or jobs)

    def submit(self, job: Job) -> Future[str]:
        """Put a job into the queue."""
        return self._pool.submit(self._run, job)

    def _run(self, job: Job) -> str:
        task = self._ray.remote(_on_node).options(**self._needs, max_retries=0, name=job.name)
        errors = self._ray.exceptions
        for lost in range(LOST + 1):
            running = task.remote(job, self.out, Path.cwd(), version("supernet"), int(self._needs["num_cpus"]))
            try:
                while not self._ray.wait([running], timeout=_PAUSE)[0]:
                    if self._stop.is_set():
                        self._ray.cancel(running)
                        self._ray.wait([running])
                        raise Stopped
                reason, told = self._ray.get(running)
            except errors.RayTaskError as error:
                reason, told = reason_of(error.cause), []
                note(self.out, job, reason)
            except (errors.RaySystemError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
                if lost < LOST:
                    self._say(f"{job.name} has lost its node, and goes on on another ({lost + 1} of {LOST})")
                continue
            for text in told:
                self._say(text)
            return str(reason)
        reason = f"has lost its node {LOST + 1} times; if memory ran out there, take a smaller --batch-size"
        note(self.out, job, reason)
        return reason

    def stop(self) -> None:
        """End all jobs, and leave the cluster."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        self._ray.shutdown()


def _connected() -> Any:
    """Return Ray, connected to the cluster that RAY_ADDRESS names, or that was started on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--on ray needs the extra: pip install 'supernet[ray]'") from None
    with kept():  # Ray would end the program by SIGTERM itself
        try:
            ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS")
            what = f"at RAY_ADDRESS={where} ({reason_of(error)})" if where else "on this machine"
            raise UserError(
                f"no Ray cluster runs {what}: start one with 'ray start --head' and join it on other machines, "
                "or set RAY_ADDRESS"
            ) from None
    return ray


def needs(nodes: list[Mapping[str, float]], jobs: int, device: str, bytes_each: int) -> dict[str, float]:
    """Return what a job declares to Ray: its share of the cores, a GPU where it may take one and there are any, memory.

    Raises UserError if no node has as much.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes)) if may_be_gpu(device) else 0
    cores = [count for node in nodes if (count := int(node.get("CPU", 0)))] or [1]
    share = given_threads() or max(1, min(*cores, sum(cores) // min(jobs, gpus or sum(cores))))
    found: dict[str, float] = {"num_cpus": share, "num_gpus": 1 if gpus else 0, "memory": bytes_each}
    if not places(nodes, found):
        gpu = ", a GPU" if gpus else ""
        raise UserError(
            f"no node of the cluster has what a run takes: {share} core{'s' if share > 1 else ''}{gpu} and "
            f"{bytes_each / 1e9:.1f} GB of memory"
        )
    return found


def places(nodes: list[Mapping[str, float]], wanted: Mapping[str, float]) -> int:
    """Return how many jobs that want as much run at a time on nodes."""
    names = {"CPU": wanted["num_cpus"], "GPU": wanted["num_gpus"], "memory": wanted["memory"]}
    return sum(min(int(node.get(name, 0) // amount) for name, amount in names.items() if amount) for node in nodes)


def _on_node(job: Job, out: Path, cwd: Path, expected: str, threads: int) -> tuple[str, list[str]]:
    """Carry out a job on the node that this runs on; return why it has failed, and what is to be told of it.

    Raises UserError on a node that cannot run it.
    """
    if (here := version("supernet")) != expected:
        raise UserError(f"node {platform.node()} has supernet {here}, and this machine {expected}")
    for folder, seen in ((out, (out / FILE).exists()), (cwd, cwd.is_dir())):
        if not seen:
            raise UserError(
                f"node {platform.node()} does not see '{folder}': it must lie on a disk that all nodes share"
            )
    told: list[str] = []
    os.chdir(cwd)  # relative paths and the user's own modules are found from where the comparison was started
    return carry_out(job, out, {"OMP_NUM_THREADS": str(threads)}, Event(), told.append), told
