"""The images that the weights and the architecture of every method learn from, written out from the papers."""

from __future__ import annotations

import pytest

from supernet.engine.seeds import seeded
from supernet.methods import METHODS
from supernet.methods.base import Stream
from supernet.searching.plan import planned
from supernet.searching.task import SearchTask
from supernet.testing import PairDataset, tiny_images

BI_LEVEL = {"weights": "train", "alpha": "validation"}
SHARED = {"weights": "train"}  # alpha learns from the same batch, or there is none; rewards are no stream
ZEROTH = BI_LEVEL | {"inner": "validation"}  # lookahead as in the released code
PARTS = {
    "single-darts": SHARED,
    "dropnas": {"weights": "all"},
    **dict.fromkeys(("darts", "darts-2nd", "darts-plus", "darts-pt", "darts-minus", "fairdarts", "cdarts"), BI_LEVEL),
    **dict.fromkeys(("r-darts-l2", "r-darts-dp", "r-darts-es", "r-darts-ada", "sdarts-rs", "sdarts-adv"), BI_LEVEL),
    **dict.fromkeys(("pc-darts", "p-darts", "gdas", "setn"), BI_LEVEL),
    **dict.fromkeys(("zarts-mgs", "zarts-rs", "zarts-gld"), ZEROTH),
    **dict.fromkeys(("blank", "enas", "rsps", "random", "nao-v2", "nao-v2-small"), SHARED),
}


def test_every_method_is_in_the_table() -> None:
    assert PARTS.keys() == {*METHODS}


@pytest.mark.parametrize("name", PARTS)
def test_weights_and_alpha_learn_from_the_images_of_the_paper(name: str) -> None:
    data = PairDataset(tiny_images(24))
    plan = planned(data, method=name, epochs=60, batch_size=6, width=4, depth=1, device="cpu")
    with seeded(0):
        method = SearchTask(plan).method
    assert {stream: Stream.of(part).part for stream, part in method.streams.items()} == PARTS[name]
