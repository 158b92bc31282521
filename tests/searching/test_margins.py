"""How decided a search is: margins against their definition, and the searches that may never read as healthy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import supernet as sn
from supernet.searching.margins import LEAD, luck, margins
from supernet.spaces import SearchSpace, space
from supernet.testing import two_input_space

NB201, TWO = space("nasbench201"), two_input_space()


def row(searched: SearchSpace, scores: dict[str, list[list[float]]]) -> dict[str, object]:
    return {"op_scores": scores, "architecture": str(searched.derive(scores))}


def of(searched: SearchSpace, *rows: dict[str, list[list[float]]]):
    return margins(searched, searched.derive(rows[-1]), [row(searched, scores) for scores in rows])


def equal(lead: float) -> dict[str, list[list[float]]]:
    return {"cell": [[0.2, 0.2, 0.2, 0.2 + lead, 0.2]] * 6}


def test_the_margin_of_an_edge_is_its_lead_in_units_of_op_weight() -> None:
    found = of(NB201, {"cell": [[0.1, 0.2, 0.3, 0.36, 0.04]] * 6})
    assert [(edge.op, edge.edge) for edge in found.edges][:2] == [("nor_conv_3x3", "1<-0"), ("nor_conv_3x3", "2<-0")]
    assert found.edges[0].margin == pytest.approx(0.06)
    assert found.edges[0].share == pytest.approx(0.06 / 0.36)
    assert (found.settled, found.undecided) == (6, False)


def test_leads_below_the_threshold_are_undecided_and_those_above_are_not() -> None:
    assert of(NB201, equal(0.19 * LEAD)).undecided
    assert not of(NB201, equal(0.25 * LEAD)).undecided


@pytest.mark.parametrize(
    ("settled", "doubt"),
    [
        (0, "none of the 6 edges is settled"),
        (1, "only 1 of 6 edges is settled"),
        (3, "only 3 of 6 edges are settled"),
        (4, ""),
    ],
)
def test_what_an_undecided_choice_lacks_is_said_in_words(settled: int, doubt: str) -> None:
    scores = [[0.2, 0.2, 0.2, 0.3, 0.2]] * settled + [[0.2, 0.2, 0.2, 0.2, 0.201]] * (6 - settled)
    assert of(NB201, {"cell": scores}).doubt == doubt


def test_an_edge_is_settled_only_if_its_operation_held_over_the_last_quarter() -> None:
    other = {"cell": [[0.9, 0, 0, 0.1, 0.0]] * 6}
    assert of(NB201, *[equal(0.1)] * 6, other, equal(0.1), equal(0.1)).settled == 0
    assert of(NB201, *[other] * 6, equal(0.1), equal(0.1)).settled == 6
    assert of(NB201, other, equal(0.1)).undecided  # of few epochs, the last two


@given(st.data())
def test_where_nodes_keep_some_edges_an_edge_left_out_is_a_rival(data: st.DataObject) -> None:
    number = st.floats(0, 1, width=16)
    scores = {
        kind: [[data.draw(number) for _ in range(cell.columns)] for _ in cell.edges] for kind, cell in TWO.cells.items()
    }
    found = of(TWO, scores)
    if found is None:  # the draw is all 0 or 1
        return
    wanted, genotype = {}, TWO.derive(scores)
    for kind, cell in TWO.cells.items():
        chosen = {(choice.target, choice.source): choice.op for choice in genotype[kind]}
        candidates = [
            ((edge.target, edge.source), op, score)
            for edge, numbers in zip(cell.edges, scores[kind], strict=True)
            for op, score in zip(edge.ops, numbers, strict=False)
            if op != "none"
        ]
        for (target, source), op in chosen.items():
            own = {name: score for edge, name, score in candidates if edge == (target, source)}
            rivals = [score for name, score in own.items() if name != op]
            rivals += [score for edge, _, score in candidates if edge[0] == target and edge not in chosen]
            if rivals:
                wanted[kind, f"{target}<-{source}", op] = own[op] - max(rivals)
    assert {(edge.kind, edge.edge, edge.op): edge.margin for edge in found.edges} == wanted
    assert min(wanted.values()) >= 0


def test_methods_that_rank_nothing_have_no_margins() -> None:
    genotype = NB201.choose({"cell": [3] * 6})
    assert margins(NB201, genotype, []) is None
    assert margins(NB201, genotype, [{"op_scores": equal(0.1)}]) is None
    assert of(NB201, {"cell": [[0.0, 0.0, 0.0, 1.0, 0.0]] * 6}) is None


def test_an_accuracy_is_luck_until_it_is_well_above_that_of_guessing() -> None:
    few, many = torch.tensor([0, 1]), torch.arange(1000) % 4
    assert "100.00 % on 2 images" in luck(1.0, few, 2)
    assert "25.00 %" in luck(0.25, many, len(many))
    assert luck(0.29, many, len(many))  # by 2.9 standard deviations
    assert not luck(0.2925, many, len(many))  # by 3.1
    assert "30.00 % on 20 images" in luck(0.3, many, 20)  # some of them
    assert luck(1.0, torch.zeros(500, dtype=torch.int64), 500)  # a single class teaches nothing


@pytest.mark.parametrize("method", ["single-darts", "random"])
@pytest.mark.parametrize("images", ["five", "constant"])
def test_five_images_and_constant_images_are_never_healthy(images: str, method: str, tmp_path) -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=draws)
    x, y = (x, torch.tensor([0, 1, 0, 1, 0])) if images == "five" else (x[:1].repeat(40, 1, 1, 1), torch.arange(40) % 4)
    run = sn.search((x, y), method=method, width=2, epochs=2, device="cpu", out=tmp_path / "run", quiet=True)
    assert run.verdict.partition(":")[0] in ("undecided", "collapsed")
    assert ("margins" in run.summary and run.summary["margins"] is None) == (method == "random")


def test_where_a_limit_forbids_the_best_operation_the_margin_is_negative_and_the_edge_unsettled(tmp_path):
    run = sn.search(
        "digits", images=60, epochs=1, width=2, space="s2", max_params=3_000_000, device="cpu", quiet=True, out=tmp_path
    )
    found = run.summary["margins"]["edges"]
    assert min(edge["margin"] for edge in found) < 0
    assert run.summary["margins"]["settled"] < len(found)
