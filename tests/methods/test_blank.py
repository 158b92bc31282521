"""Blank: its op weights, and its steps against the same steps written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from supernet.data import split
from supernet.engine.callbacks import Callback
from supernet.engine.loop import Loop
from supernet.engine.optim import SGDConfig
from supernet.engine.run import Run
from supernet.methods import METHODS
from supernet.methods.base import Budget, NoConfig
from supernet.methods.blank import Blank
from supernet.models.mix import dense
from supernet.models.supernet import Supernet
from supernet.searching.plan import planned as plan
from supernet.searching.task import SearchTask
from supernet.spaces import NetworkSize
from supernet.spaces.modules import Norm
from supernet.testing import EXAMPLE_SPACES, PairDataset, noise_batch, tiny_images

STRONG = SGDConfig(lr=0.1, momentum=0.8, weight_decay=0.01, clip=0.3)
each_space = pytest.mark.parametrize("home", EXAMPLE_SPACES, ids=lambda home: home.name)


def make(home):
    torch.manual_seed(0)
    supernet = Supernet(home, NetworkSize(2, 1, (8, 8), 1, 3), Norm(affine=False)).double()
    return Blank(NoConfig(), supernet, Budget(4, STRONG, 0))


@each_space
def test_each_of_n_candidates_has_weight_one_nth_and_other_columns_have_zero(home):
    method = make(home)
    for kind, cell in home.cells.items():
        wanted = [[1 / len(e.ops) if k < len(e.ops) else 0 for k in range(cell.columns)] for e in cell.edges]
        for weights in (method.mix()[kind].weights, method.op_scores()[kind]):
            torch.testing.assert_close(weights, torch.tensor(wanted, dtype=torch.float64), rtol=1e-15, atol=0)
            assert not weights.requires_grad
        assert method.mix()[kind].active is None


@pytest.mark.parametrize("home", EXAMPLE_SPACES[:4], ids=lambda home: home.name)  # in the last one, weights are idle
@pytest.mark.usefixtures("still_noise")
def test_a_step_is_clipped_sgd_of_the_weights_and_nothing_else(home):
    method = make(home)
    by_hand, before = make(home).supernet, {k: e.weights.clone() for k, e in method.mix().items()}
    buffers = [torch.zeros_like(w) for w in by_hand.parameters()]
    for number in range(3):
        batch = noise_batch(number)
        loss = F.cross_entropy(by_hand(batch.x, dense(before)), batch.y)
        gradient = torch.autograd.grad(loss, list(by_hand.parameters()), materialize_grads=True)
        norm = sum(part.square().sum() for part in gradient).sqrt()
        scale = min(1.0, (STRONG.clip / (norm + 1e-6)).item())
        with torch.no_grad():
            for w, buffer, g in zip(by_hand.parameters(), buffers, gradient, strict=True):
                buffer.mul_(STRONG.momentum).add_(g * scale + STRONG.weight_decay * w)
                w -= STRONG.lr * buffer
        assert method.step({"weights": batch})["loss"].item() == pytest.approx(loss.item())
        for mine, theirs in zip(method.supernet.parameters(), by_hand.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    assert all(torch.equal(before[kind], edges.weights) for kind, edges in method.mix().items())


def test_training_images_train_and_validation_images_are_left_to_the_selector(tmp_path):
    images = tiny_images(40)
    task = SearchTask(plan(PairDataset(images), method="blank", epochs=2, batch_size=5, width=2, device="cpu"))
    seen, step = [], task.method.step
    task.method.step = lambda batches: seen.append(batches["weights"].index.tolist()) or step(batches)
    Loop(task, Run(tmp_path), 2, Callback())()
    first, second = (set(half.tolist()) for half in split(images.y))
    assert {i for batch in seen for i in batch} == first
    assert task.validated == len(second)
    assert sorted(i for batch in task.validation_batches() for i in batch.index.tolist()) == sorted(second)


def test_a_search_has_no_settings_and_chooses_by_perturbation():
    chosen = plan("digits", method="blank", images=40, device="cpu")
    assert chosen.record["method_config"] == {}
    assert chosen.record["selector"] == METHODS["blank"].selector == METHODS["darts-pt"].selector == "perturbation"


def test_the_state_is_the_supernets_and_the_optimizers():
    assert set(make(EXAMPLE_SPACES[0]).state_dict()) == {"supernet", "optimizer"}
