"""The moving average of a network against its closed form, and the loss with weights of classes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supernet.retraining.average import averaged
from supernet.retraining.loss import class_weights, cross_entropy


@pytest.mark.parametrize("decay", [0.05, 0.3, 0.999])
def test_the_average_is_its_closed_form(decay):
    """After n steps it is the sum over i of (1 - d_i) w_i times d of all later steps, with d_1 = 0."""
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    average = averaged(network, decay)
    assert not average.module.training
    steps = []
    for n in range(12):
        with torch.no_grad():
            for part in (*network.parameters(), network[1].running_mean, network[1].running_var):
                part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(n)))
        steps.append({name: value.clone() for name, value in network.state_dict().items()})
        average.update_parameters(network)
    decays = [0.0] + [min(decay, (1 + n) / (10 + n)) for n in range(1, 12)]
    for name, found in average.module.state_dict().items():
        if found.is_floating_point():
            later = [torch.tensor(decays[i + 1 :]).double().prod() for i in range(12)]
            expected = sum((1 - decays[i]) * later[i] * steps[i][name] for i in range(12))
            torch.testing.assert_close(found, expected)


def test_class_weights_are_inverse_to_the_number_of_images_with_mean_1():
    y = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    weights = class_weights(y, 4)
    torch.testing.assert_close(weights, torch.tensor([10 / 18, 10 / 9, 0, 10 / 3]))
    torch.testing.assert_close(weights[y].mean(), torch.tensor(1.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_labels_is_that_of_the_same_labels_as_shares(smoothing, weighted):
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(7, 3, generator=g), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    weights = class_weights(y, 3) if weighted else None
    shares = F.one_hot(y, 3).float()
    targets = (1 - smoothing) * shares + smoothing / 3
    each = -(torch.ones(3) if weights is None else weights)[y] * (targets * logits.log_softmax(1)).sum(1)
    for labels in (y, shares):
        torch.testing.assert_close(cross_entropy(logits, labels, smoothing, weights), each.mean())


def test_mixed_images_have_the_weights_of_their_labels_by_their_shares():
    g = torch.Generator().manual_seed(0)
    logits, y, other = torch.randn(5, 3, generator=g), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0])
    weights = torch.tensor([0.5, 1.0, 4.0])
    share = torch.rand(5, 1, generator=g)
    mixed = share * F.one_hot(y, 3) + (1 - share) * F.one_hot(other, 3)
    kept, added = (
        torch.stack([cross_entropy(logits[i : i + 1], labels[i : i + 1], 0.1, weights) for i in range(5)])
        for labels in (y, other)
    )
    expected = (share[:, 0] * kept + (1 - share[:, 0]) * added).mean()
    torch.testing.assert_close(cross_entropy(logits, mixed, 0.1, weights), expected)


def test_weights_with_smoothing_do_not_favour_the_rare_class_for_a_common_image():
    logits = torch.zeros(1, 2, requires_grad=True)
    weights = class_weights(torch.tensor([0] * 98 + [1] * 2), 2)
    cross_entropy(logits, torch.tensor([0]), 0.1, weights).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]
