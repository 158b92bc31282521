"""A comparison that is watched: its state and table as text, and its page in a browser, anew after every run."""

from __future__ import annotations

import http.client
import shutil
import threading
from contextlib import closing

import pytest

import supernet as sn
from supernet.engine.lock import locked
from supernet.report.serve import server
from supernet.searching.compare.config import ComparisonConfig, Record
from supernet.searching.compare.watch import looked


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A comparison of random search, whose first seed alone has finished."""
    out = tmp_path_factory.mktemp("watched") / "c"
    out.mkdir()
    Record(ComparisonConfig("digits", methods=["random"], seeds=[0, 1]), classes=10).write(out)
    small = {"images": 60, "epochs": 2, "width": 2, "device": "cpu", "quiet": True}
    sn.search("digits", method="random", out=out / "random-0", **small)
    return out


def test_the_text_has_the_state_of_the_runs_and_the_table(folder, call):
    assert looked(str(folder)).goes_on is False
    with locked(folder):
        assert looked(str(folder)).goes_on is True
    status, out, err = call("watch", str(folder))
    assert (status, err) == (0, "")
    assert out.startswith("1 finished, 0 running, 1 left, 0 failed, of 2")
    assert sn.Comparison.read(folder).table().rstrip() in out
    assert looked(str(folder / "random-0")) is None


def test_a_browser_shows_the_page_as_it_is_now(folder):
    with server(str(folder), look=looked) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()

        def ask():
            with closing(http.client.HTTPConnection(*serving.server_address, timeout=60)) as connection:
                connection.request("GET", "/", headers={"Host": f"localhost:{serving.server_address[1]}"})
                answer = connection.getresponse()
                return answer.headers["Content-Security-Policy"], answer.read().decode()

        rules, before = ask()
        assert "script-src 'nonce-" in rules
        assert before.count("<script nonce=") == before.count("<script") == 1
        assert "Content-Security-Policy" not in before  # which would forbid the script
        assert "href=" not in before.replace('xlink:href="#', "")  # nothing else is served
        assert "1 finished, 0 running, 1 left" in before
        assert "the baseline" in before
        shutil.copytree(folder / "random-0", folder / "random-1")
        after = ask()[1]
        assert "finished</strong> 2 finished" in after
        assert after.count("<svg") >= before.count("<svg")
        serving.shutdown()
