"""`supernet architectures`: a row for each published architecture, that fits a narrow terminal, and JSON."""

from __future__ import annotations

import json
import re

import pytest

from conftest import Call
from supernet.spaces.known import known


def test_a_row_has_the_counted_sizes_and_the_published_ones(call: Call) -> None:
    status, out, err = call("architectures")
    assert (status, err) == (0, "")
    table, papers = out.split("\n\n")
    assert re.search(
        r"^DARTS_V2 +3\.349 \(3\.3\) +528 +2\.76 +4\.719 \(4\.7\) +530 \(574\) +26\.7$", table, re.MULTILINE
    )
    assert re.search(r"^DARTS_V1 +3\.169 \(3\.3\) +501 +3\.0 +4\.510 +506 +-$", table, re.MULTILINE)
    assert "darts-imagenet: 48 channels, depth 4, 224 pixels" in table.splitlines()
    assert [line.split()[0] for line in papers.splitlines()] == list(known())
    assert max(map(len, table.splitlines())) <= 90
    assert "…" not in out


def test_a_narrow_terminal_folds_cells_and_cuts_none(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    table = call("architectures")[1].split("\n\n")[0]
    assert "…" not in table
    rows = r"^DARTS_V2 +3\.349 +528 +2\.76 +4\.719 +530 +26\.7\n +\(3\.3\) +\(4\.7\) +\(574\) *$"
    assert re.search(rows, table, re.MULTILINE)


def test_json_has_a_line_for_each(call: Call) -> None:
    status, out, err = call("architectures", "--json")
    assert (status, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [entry["name"] for entry in found] == list(known())
    second = found[1]
    counted = [second[f"{data}_{cost}"] for data in ("cifar", "imagenet") for cost in ("params", "flops")]
    assert counted == [3_349_342, 528_359_050, 4_718_752, 529_912_552]
    assert (second["cifar_params_m"], second["imagenet_flops_m"], second["imagenet_error"]) == (3.3, 574, 26.7)
