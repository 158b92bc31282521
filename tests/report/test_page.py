"""The page of a run: what it says, what it leaves out, and names that try to break out of it."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import supernet as sn
from supernet.data import load
from supernet.report import page
from supernet.report.console import Console, result
from supernet.report.page import parts
from supernet.report.page.write import _template

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "שלום \u202e olleh", "' & {{ 7*7 }}")
NAME = "run '\"><script>alert(2)<"


class Reader(HTMLParser):
    """Collects the elements, their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(run: sn.Run) -> Reader:
    return Reader((run.path / page.NAME).read_text())


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> sn.Run:
    """Return a search of images whose classes have hostile names, in a folder that has one, too."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=draws)
    y = [HOSTILE[number % 4] for number in range(40)]
    out = tmp_path_factory.mktemp("page") / NAME
    return sn.search((x, y), width=2, epochs=2, device="cpu", out=out, quiet=True)


@pytest.fixture
def copy(searched: sn.Run, tmp_path: Path) -> sn.Run:
    return sn.Run(shutil.copytree(searched.path, tmp_path / "copy"))


def test_a_threshold_that_decided_nothing_is_told(copy: sn.Run, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"selector": "threshold", "threshold": "0.85 leaves no edge"}
    copy.path.joinpath("summary.json").write_text(json.dumps(copy.summary | more))
    page.write(copy)
    assert more["threshold"] in read(copy).text
    result(Console(), copy)
    told = capsys.readouterr().out
    assert more["threshold"] in told
    assert "selected by   threshold\n" in told  # which has no folder of its own


def test_a_search_ends_with_a_page_that_needs_nothing_else(searched: sn.Run) -> None:
    found = read(searched)
    for text in (searched.summary["margins"]["text"], searched.summary["architecture"], "nasbench201 #"):
        assert text in found.text
    assert searched.verdict.partition(": ")[2] in found.text
    assert "of other images than yours" in found.text
    assert re.search(r"of wall time for 2 epochs\.\s", found.text)
    assert re.search(r"peak memory\s*[\d.]+ [MG]B of the process", found.text)
    assert found.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    addresses = [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert addresses
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert {"default-src 'none'"} <= {value.partition(";")[0] for name, value in found.attributes if name == "content"}


def test_names_are_text_whatever_they_are(searched: sn.Run) -> None:
    found = read(searched)
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[3]):
        assert name in found.text
    assert "\\u202e" in found.text  # written out: it would turn around what follows
    assert "\u202e" not in found.text
    assert NAME in found.text
    assert not any(name.startswith("on") for name, _ in found.attributes)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_escaped(text: str) -> None:
    html = _template("page.html").render(
        name=text, kind=text, data=text, state=text, facts=[(text, text)], classes=[], next=text
    )
    found = Reader(html.encode(errors="backslashreplace").decode())
    assert found.tags <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "details"),
        *("summary", "h1", "h2", "p", "strong", "bdi", "dl", "div", "dt", "dd", "pre"),
    }


def test_a_run_finishes_with_its_page_not_before_it(tmp_path: Path) -> None:
    # Stopped between them, by a kill or a full disk, it would be a finished run that never gets a page.
    small = {"epochs": 1, "width": 2, "device": "cpu", "quiet": True}
    run = sn.Run(tmp_path / "run")
    calls = (
        (run, lambda: sn.search("digits", images=40, out=run.path, **small)),
        (sn.Run(run.path / "selections" / "average"), lambda: sn.select(run, "average", device="cpu", quiet=True)),
        (sn.Run(run.path / "quick-0"), lambda: sn.retrain(run, **small)),
    )
    for made, make in calls:
        make()
        (made.path / "summary.json").unlink()
        (made.path / page.NAME).unlink()
        (made.path / page.NAME).mkdir()
        with pytest.raises(OSError, match=page.NAME):
            make()
        (made.path / page.NAME).rmdir()
        make()
        found = read(made).text
        page.write(made)  # of the finished run
        assert read(made).text == found


def test_an_unfinished_search_has_a_page_of_what_is_there(copy: sn.Run) -> None:
    (copy.path / "summary.json").unlink()
    for picture in copy.path.glob("*.svg"):
        picture.unlink()
    page.write(copy)
    found = read(copy)
    assert "2 of 2 epochs are done" in found.text
    assert "svg" in found.tags  # drawn from the metrics
    assert "the images are not here" in found.text
    for absent in ("What the table knows", "How decided it is", "Calibration"):
        assert absent not in found.text
    (copy.path / "metrics.jsonl").unlink()
    page.write(copy)
    assert "0 of 2 epochs are done" in read(copy).text


def test_an_unfinished_search_that_went_back_shows_what_stands(copy: sn.Run) -> None:
    (copy.path / "summary.json").unlink()
    file = copy.path / "metrics.jsonl"
    first, second = map(json.loads, file.read_text().splitlines())
    first |= {"valid_accuracy": 0.9}
    second |= {"valid_accuracy": 0.1, "back_to": 1}
    file.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    page.write(copy)
    found = read(copy).text
    assert "90.00 %" in found
    assert "10.00 %" not in found


def test_an_unfinished_selection_is_not_gone_on_with_as_a_search(copy: sn.Run) -> None:
    (copy.path / "summary.json").unlink()
    page.write(copy)
    assert "supernet search --config" in read(copy).text
    config = copy.path / "config.yaml"
    config.write_text(config.read_text().replace("task: search", "task: select"))
    page.write(copy)
    assert "supernet search --config" not in read(copy).text


def test_limits_and_large_costs_are_told_in_whole_numbers(copy: sn.Run) -> None:
    limits = {"max_params": 2_000_000, "max_flops": None, "max_latency_ms": None, "latency": "measured"}
    point = {"run": ".", "architecture": "x", "cost": 2_345_678.0, "supernet": 0.5}
    front = {"asked": 1, "cost": "flops", "images": 9, "points": [point]}
    (copy.path / "summary.json").write_text(json.dumps(copy.summary | {"limits": limits, "front": front}))
    page.write(copy)
    found = read(copy).text
    assert "2,345,678" in found
    assert "at most 2,000,000 parameters" in found
    assert "measured" not in found.partition("at most")[2].partition("\n")[0]


def test_a_picture_that_is_not_ours_is_left_out(copy: sn.Run) -> None:
    ours = parts.picture(copy, "cell.svg")
    assert ours is not None
    for foreign in ("<script>alert(1)</script>", '<g onload="x()"/>', "<foreignObject/>", "<a href='javascript:x'/>"):
        (copy.path / "cell.svg").write_text(f"<svg>{foreign}</svg>")
        assert parts.picture(copy, "cell.svg") is None
    for broken in ("", "<svg>", "no picture", "<svg></svg><b><svg></svg>"):
        (copy.path / "cell.svg").write_text(broken)
        assert parts.picture(copy, "cell.svg") is None


def test_a_retraining_shows_its_classes_mistakes_and_calibration(tmp_path: Path) -> None:
    shape = "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|skip_connect~2|"
    run = sn.retrain(shape, data="digits", epochs=1, width=2, device="cpu", out=tmp_path / "run", quiet=True)
    assert "Calibration" not in read(run).text
    found = sn.evaluate(run, device="cpu")
    assert sum(each.count for each in found.calibration) == found.count
    right = sum(each.count * each.accuracy for each in found.calibration)
    assert right == pytest.approx(found.accuracy * found.count)
    surest = [each.probability for each in found.mistakes]
    assert surest == sorted(surest, reverse=True)
    digits = load("digits")
    for each in found.mistakes:
        assert digits.classes[digits.y_test[each.index]] == each.label != each.predicted
    shown = read(run)
    for title in ("The worst mistakes", "Calibration", "Classes"):
        assert title in shown.text
    whole = found.to_json()
    for damaged in (
        {"classes": 3},
        {"classes": [], "confusion": []},
        whole | {"classes": 3},
        whole | {"accuracy": "x"},
    ):
        (run.path / "evaluation.json").write_text(json.dumps(damaged))
        page.write(run)
        assert "Calibration" not in read(run).text
    balanced = run.summary["test_balanced_accuracy"]
    told = f"{100 * balanced['last']:.2f} % after the last epoch, {100 * balanced['best']:.2f} % in the best epoch, 1"
    assert re.search(rf"test images, balanced\s*{re.escape(told)}", read(run).text)
    settings = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(settings.replace("balance: none", "balance: weights"))
    chosen = {"balanced_accuracy": balanced}  # also on the images that chose the best epoch
    (run.path / "summary.json").write_text(json.dumps(run.summary | chosen))
    page.write(run)
    assert "validation images, balanced" in read(run).text
    assert "in the best epoch by balanced accuracy, 1" in read(run).text


def test_an_unfinished_retraining_has_a_page(tmp_path: Path) -> None:
    shape = "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|skip_connect~2|"
    run = sn.retrain(shape, data="digits", epochs=1, width=2, device="cpu", out=tmp_path / "run", quiet=True)
    assert "supernet evaluate" in read(run).text
    (run.path / "summary.json").unlink()
    for command in (["supernet", "retrain", shape, "--data", "digits"], ["script.py"]):
        (run.path / "environment.json").write_text(json.dumps({"command": command}))
        page.write(run)
        found = read(run).text
        assert "1 of 1 epochs are done" in found
        assert "supernet evaluate" not in found
        assert ("Commands" in found) == ("supernet retrain" in found) == (command[0] == "supernet")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 8, 8), (64, 64)),
        ((3, 64, 8), (8, 64)),
        ((3, 300, 20), (4, 64)),
        ((1, 20, 10), (30, 60)),
        ((2, 8, 64), (64, 8)),
    ],
)
def test_a_thumbnail_is_small_whichever_side_is_longer(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    png = base64.b64decode(parts.thumbnail(torch.zeros(shape, dtype=torch.uint8)).partition(",")[2])
    assert Image.open(io.BytesIO(png)).size == size


@given(st.lists(st.none() | st.floats(allow_nan=True, width=32), min_size=1, max_size=30))
def test_curves_stay_in_their_chart(values: list[float | None]) -> None:
    rows = [{"epoch": number, "loss": value} for number, value in enumerate(values, 1)]
    chart = parts.chart("loss", rows, {"loss": "loss"})
    finite = [value for value in values if value is not None and math.isfinite(value)]
    assert (chart is None) == (not finite)
    if chart is not None:
        points = [point for _, some in chart.curves for stretch in some for point in stretch.split()]
        assert len(points) == len(finite)
        places = [tuple(map(float, point.split(","))) for point in points]
        assert all(chart.left <= x <= chart.wide and 0 <= y <= chart.bottom + 0.1 for x, y in places)
        assert 2 <= len(chart.y) <= 7


@pytest.mark.parametrize("values", [(2.302585, 2.30258509), (1e6, 1e6 + 1), (1e-13, 2e-13), (0.0, 1.0), (90.0, 91.5)])
def test_no_two_lines_of_a_chart_have_one_label_or_one_height(values: tuple[float, float]) -> None:
    chart = parts.chart("loss", [{"epoch": n, "loss": value} for n, value in enumerate(values, 1)], {"loss": "loss"})
    assert chart is not None
    heights, labels = zip(*chart.y, strict=True)
    assert len(set(heights)) == len(set(labels)) == len(chart.y)
    numbers = [float(label) for label in labels]
    assert numbers == sorted(numbers)
    assert numbers[0] <= values[0]
    assert values[1] <= numbers[-1]


def test_images_are_shown_again_while_they_are_those_of_the_run(tmp_path: Path) -> None:
    settings = {"epochs": 1, "width": 2, "images": 60, "device": "cpu", "quiet": True}
    run = sn.search("digits", out=tmp_path / "run", **settings)
    before = read(run).text
    assert "60 images of 10 classes" in before
    page.write(run)
    assert read(run).text == before
    config = run.path / "config.yaml"
    config.write_text(re.sub("fingerprint: .*", "fingerprint: 0123456789abcdef", config.read_text()))
    page.write(run)
    assert "the images are not here" in read(run).text


def test_the_page_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sn.UserError, match=re.escape(f"'{tmp_path}' is no run folder")):
        page.write(sn.Run(tmp_path))
