"""A comparison on a Ray cluster: one of several nodes on this machine, of which one is lost in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import supernet as sn
from supernet.searching.compare import cluster as cluster_module
from supernet.searching.compare import comparing
from supernet.searching.compare.cluster import OnRay, _on_node, needs, places
from supernet.searching.compare.commands import Job
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.display import Display
from waiting import holder, until

NODES = [{"CPU": 4.0, "memory": 8e9}, {"CPU": 2.0, "memory": 2e9, "GPU": 1.0}]


def test_a_job_declares_its_share_of_the_cores_a_gpu_and_memory(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert needs(NODES, 40, "cpu", 10**9) == {"num_cpus": 1, "num_gpus": 0, "memory": 10**9}
    assert needs(NODES, 2, "cpu", 10**9)["num_cpus"] == 2  # of six cores three each, but the small node has two
    assert needs(NODES, 40, "auto", 10**9) == {"num_cpus": 2, "num_gpus": 1, "memory": 10**9}
    assert needs(NODES[:1], 40, "auto", 10**9)["num_gpus"] == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert needs(NODES, 40, "cpu", 10**9)["num_cpus"] == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with pytest.raises(sn.UserError, match=r"no node of the cluster has .*: 8 cores and 1\.0 GB of memory"):
        needs(NODES, 40, "cpu", 10**9)


def test_the_places_of_a_cluster_are_what_every_node_has_room_for():
    assert places(NODES, {"num_cpus": 1, "num_gpus": 0, "memory": 3 * 10**9}) == 2
    assert places(NODES, {"num_cpus": 1, "num_gpus": 0, "memory": 0}) == 6
    assert places(NODES, {"num_cpus": 1, "num_gpus": 1, "memory": 10**9}) == 1


def test_an_unknown_place_and_no_worker_are_told(tmp_path):
    with pytest.raises(sn.UserError, match="unknown place 'rai'; did you mean 'ray'"):
        sn.compare("digits", out=tmp_path, on="rai")
    with pytest.raises(sn.UserError, match="workers must be at least 1, not 0"):
        sn.compare("digits", out=tmp_path, workers=0)


@pytest.fixture(scope="module")
def cluster():
    """A head that runs no jobs; nodes are added by the tests."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "_system_config": soon}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def start(cluster, out):
    words = ["compare", "digits", "--methods", "random", "--seeds", "0", "--images", "400", "--epochs", "20"]
    command = [sys.executable, "-m", "supernet", *words, "--width", "2", "--on", "ray", "--out", str(out)]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def epochs(out):
    metrics = out / "random-0" / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


@pytest.mark.slow
def test_the_run_of_a_lost_node_goes_on_on_another(cluster, tmp_path):
    out, node = tmp_path / "c", cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    running = start(cluster, out)
    until(lambda: len(epochs(out)) >= 3, 200, running)
    worker = until(lambda: holder(out / "random-0"), 200, running)
    os.kill(worker, signal.SIGKILL)  # with a machine all of its processes are gone
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    text, errors = running.communicate(timeout=200)
    assert (running.returncode, errors) == (0, "")
    assert "random-0 has lost its node, and goes on on another (1 of 5)" in text
    assert "1 run on 1 node of a Ray cluster" in text
    assert [row["epoch"] for row in epochs(out)] == list(range(1, 21))
    assert sn.Comparison.read(out).status() == ["1 finished, 0 running, 0 left, 0 failed, of 1"]


@pytest.mark.slow
def test_a_stopped_comparison_saves_its_runs_and_goes_on(cluster, tmp_path):
    out, node = tmp_path / "c", cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    running = start(cluster, out)
    until(lambda: len(epochs(out)) >= 2, 200, running)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=100)
    assert running.returncode == 128 + signal.SIGTERM
    before = len(epochs(out))
    assert 2 <= before < 20
    again = start(cluster, out)
    _, errors = again.communicate(timeout=200)
    assert (again.returncode, errors) == (0, "")
    assert [row["epoch"] for row in epochs(out)] == list(range(1, 21))
    cluster.remove_node(node)


def test_without_ray_or_a_cluster_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(sn.UserError, match=r"needs the extra: pip install 'supernet\[ray\]'"):
        OnRay(tmp_path, 1, None, "cpu", 0, print)


def test_the_cores_are_shared_out_among_the_workers(tmp_path, monkeypatch):
    class Ray:
        def nodes(self):
            return [{"Alive": True, "Resources": {"CPU": 8.0}}]

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cluster_module, "_connected", Ray)
    found = OnRay(tmp_path, 40, 2, "cpu", 0, print)
    assert (found.workers, found.where) == (2, "1 node of a Ray cluster, 2 at a time")
    assert found._needs["num_cpus"] == 4


def test_a_job_on_a_cluster_declares_the_images_that_were_shared_where_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "OnRay", lambda out, jobs, workers, device, bytes_each, say: bytes_each)
    known = {"darts": {"bytes": 10, "shared_bytes": 100}, "enas": {"bytes": 50}, "nao": {"error": "no"}}
    found = sn.Comparison(tmp_path, Record(ComparisonConfig("digits"), measured=known))
    assert comparing._executor(found, 3, {}, None, "ray", Display(quiet=True)) == (found, 110)


def test_a_node_that_does_not_see_the_folder_or_has_another_version_is_told(tmp_path):
    job = Job("darts-0", "darts", ())
    with pytest.raises(sn.UserError, match=r"does not see .*: it must lie on a disk that all nodes share"):
        _on_node(job, tmp_path, tmp_path, sn.__version__, 1)
    with pytest.raises(sn.UserError, match=r"has supernet .*, and this machine 0\.0"):
        _on_node(job, tmp_path, tmp_path, "0.0", 1)
