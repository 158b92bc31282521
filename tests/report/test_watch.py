"""The progress of a run: as text, and as a page on the loopback address that shows nothing but the run."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import threading
from base64 import b64encode
from contextlib import closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import supernet as sn
from supernet.engine.files import append
from supernet.report.serve import _names, server
from supernet.report.watch import PICTURES, _bars, curves, page, state, text, watched

CALL = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}
EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return sn.search("digits", out=tmp_path_factory.mktemp("watch") / "run", **CALL)


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of a run without its second epoch and its results."""
    run = sn.Run(tmp_path / "unfinished")
    shutil.copytree(finished.path, run.path)
    for name in ("summary.json", "genotype.json", "cell.svg", "search.svg"):
        (run.path / name).unlink()
    run.rewind(1)
    return run


def test_text_shows_curves_cell_and_verdict(finished, call):
    losses = [row["loss"] for row in finished.metrics]
    status, out, err = call("watch", str(finished.path))
    assert (status, out, err) == (0, f"{text(finished)}\n", "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["state"] == "finished"
    assert (lines["architecture"], lines["verdict"]) == (str(finished.genotype), finished.verdict)
    assert lines["loss"] == f"{_bars(losses)}  {losses[0]:.3f} to {losses[-1]:.3f}"
    status, out, err = call("watch", str(finished.path.parent))
    assert out.splitlines()[0].split()[:2] == ["run", "task"]
    assert call("watch", "nowhere") == (2, "", "supernet: 'nowhere' is no run folder, and holds none\n")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100))
def test_bars_are_few_and_as_high_as_the_numbers(values):
    bars = _bars(values)
    assert len(bars) == min(len(values), 40)
    if len(values) <= 40:
        assert bars[values.index(min(values))] == "▁"
        order = sorted(range(len(values)), key=values.__getitem__)
        assert [bars[i] for i in order] == sorted(bars)


def test_the_state_is_read_from_the_files(unfinished):
    assert state(unfinished) == "interrupted: the same command goes on"
    with unfinished.held():
        assert state(unfinished).startswith("running, about ")
        assert f": process {os.getpid()} on {platform.node()} since " in state(unfinished)
    (unfinished.path / ".holder").write_text(f"process {2**22 + 1} on {platform.node()} since then")  # killed
    assert state(unfinished) == "interrupted: the same command goes on"
    with unfinished.held():
        (unfinished.path / ".holder").write_text("process 1 on another since then")
        assert state(unfinished).endswith("left: process 1 on another since then")
        unfinished.rewind(0)
        assert state(unfinished) == "running: process 1 on another since then"
    (unfinished.path / ".holder").write_text("process 1 on another since then")  # a machine that was switched off
    assert state(unfinished) == "interrupted: the same command goes on"
    assert curves(unfinished.metrics) == {}
    assert "0 of 2" in text(watched(str(unfinished.path)))


def test_curves_leave_out_what_is_no_number(unfinished):
    row = {"loss": float("nan"), "accuracy": "<b>", "valid_accuracy": None, "table": {"c10_test": 90.5}}
    assert curves([row, {"loss": 2}]) == {"loss": [2], "table, CIFAR-10": [90.5]}


@contextmanager
def served(run):
    """Serve a run; yield a function that asks for a path and returns status, headers and text."""
    with server(str(run.path)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = serving.server_address
        assert address[0] == "127.0.0.1"

        def ask(path="/", method="GET", host=f"localhost:{address[1]}"):
            with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
                connection.request(method, path, headers={"Host": host})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read().decode()

        yield ask
        serving.shutdown()


def test_the_page_changes_while_the_search_goes_on(unfinished, finished):
    second = json.dumps(finished.metrics[1])
    with served(unfinished) as ask:
        status, headers, before = ask()
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "<td>1 of 2</td>" in before
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "http" not in before.replace("utf-8", "")  # nothing from elsewhere
        append(unfinished.path / "metrics.jsonl", f"{second}\n")
        assert "<td>2 of 2</td>" in ask()[2]
        assert ask(method="HEAD")[::2] == (200, "")
        assert ask("/search.svg")[0] == 404


def test_a_finished_run_shows_its_pictures_and_then_its_report(finished, tmp_path):
    run = sn.Run(tmp_path / "run")
    shutil.copytree(finished.path, run.path)
    (run.path / "report.html").unlink()
    with served(run) as ask:
        picture = b64encode((run.path / "search.svg").read_bytes()).decode()
        assert (
            f'<img alt="search.svg" style="max-width:100%" src="data:image/svg+xml;base64,{picture}">' in ask("/?1")[2]
        )
        (run.path / "report.html").write_text("<script>alert(1)</script> report")
        _, headers, shown = ask()
        assert shown.endswith("report")
        assert "script-src 'none'" in headers["Content-Security-Policy"]


def test_nothing_but_the_page_and_its_pictures_is_served(unfinished, tmp_path):
    (tmp_path / "search.svg").write_text("secret")
    (unfinished.path / "search.svg").symlink_to(tmp_path / "search.svg")
    (unfinished.path / "rank.svg").mkdir()
    os.mkfifo(unfinished.path / "strength.svg")
    paths = [
        "config.yaml",
        ".",
        "..",
        "../search.svg",
        "%2e%2e/search.svg",
        "./search.svg",
        "search.svg/../config.yaml",
    ]
    paths += ["/etc/hostname", "//etc/hostname", "\\..\\search.svg", "search.svg%00", "report.html", *PICTURES]
    with served(unfinished) as ask:
        assert "<img" not in ask()[2]
        assert {path: ask(f"/{path}")[0] for path in paths} == dict.fromkeys(paths, 404)
        assert ask("config.yaml")[0] == 404
        assert ask("/favicon.ico")[::2] == (204, "")
        assert ask(host="evil.example")[0] == 403
        assert ask(method="POST")[0] == 501


def test_at_the_port_of_http_a_browser_names_none():
    assert _names(8080) == {"127.0.0.1:8080", "localhost:8080"}
    assert _names(80) == {"127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost"}


def test_names_of_a_received_run_are_text(unfinished):
    config = (
        (unfinished.path / "config.yaml").read_text().replace("data_name: digits", f"data_name: {json.dumps(EVIL)}")
    )
    (unfinished.path / "config.yaml").write_text(config)
    assert "<script" not in page(watched(str(unfinished.path)))
    (unfinished.path / "metrics.jsonl").write_text(f"{EVIL}\n")
    assert "<script" not in page(watched(str(unfinished.path)))
    (unfinished.path / "config.yaml").write_text("[")
    with pytest.raises(sn.UserError, match="cannot be read as the settings of a run"):
        server(str(unfinished.path))


def test_a_port_that_cannot_be_had_is_one_line(finished, call):
    with server(str(finished.path)) as first:
        taken = first.server_address[1]
        status, _, err = call("watch", str(finished.path), "--serve", "--port", str(taken))
    assert (status, err.startswith(f"supernet: cannot serve on port {taken}: ")) == (2, True)
    assert call("watch", str(finished.path), "--serve", "--port", "70000")[0] == 2
