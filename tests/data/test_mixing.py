"""Mixup and cutmix: targets against the shares of pixels, counted by brute force, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.data import Augment, Batches, Images
from supernet.data.mixing import mixed

CLASSES = 5


@settings(max_examples=60, derandomize=True)
@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([(0.2, 0.0), (0.0, 1.0), (1.0, 0.3)]),
    st.integers(0, 99),
)
def test_the_share_of_a_class_is_its_share_of_the_pixels(count, height, width, alphas, seed):
    """Every image is of one value, its place in the batch plus 1, so that a pixel says what it is made of."""
    y = torch.arange(count) % CLASSES
    x = (torch.arange(count) + 1.0).view(-1, 1, 1, 1).expand(-1, height, width, 2).clone()
    found, targets = mixed(x.clone(), y, CLASSES, *alphas, np.random.default_rng(seed))
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    other = x.roll(1, 0)
    own = (found - other)[:, :, :, 0] / torch.where(x == other, 1, x - other)[
        :, :, :, 0
    ]  # 1 of its own, 0 of the other
    for i in range(count):
        expected = torch.zeros(CLASSES)
        share = own[i].mean() if count > 1 else torch.tensor(1.0)
        expected[y[i]] += share
        expected[y[i - 1]] += 1 - share
        torch.testing.assert_close(targets[i], expected, atol=1e-5, rtol=1e-4)


def shares(mixup: float, cutmix: float) -> tuple[np.ndarray, np.ndarray]:
    """Return for 800 batches the share of the images' own class, and whether it was cutmix."""
    x, y = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 16, 16, 1), torch.tensor([0, 1])
    found = [mixed(x.clone(), y, 2, mixup, cutmix, np.random.default_rng(n)) for n in range(800)]
    whole = [bool(((pixels == 0) | (pixels == 1)).all()) for pixels, _ in found]
    return np.array([float(targets[1, 1]) for _, targets in found]), np.array(whole)


def test_the_shares_are_of_a_beta_distribution_and_of_both_one_is_drawn_for_each_batch():
    added, cut = shares(1.0, 0.0)
    assert not cut.any()
    assert abs(added.mean() - 0.5) < 0.07
    assert abs(np.quantile(added, [0.25, 0.75]) - [0.25, 0.75]).max() < 0.06  # Beta(1, 1) is uniform
    assert abs(np.mean(shares(0.2, 0.0)[0] < 0.1) - 0.375) < 0.07  # scipy.stats.beta(0.2, 0.2).cdf(0.1)
    assert shares(0.0, 1.0)[1].all()
    assert abs(shares(1.0, 1.0)[1].mean() - 0.5) < 0.07


def test_a_rectangle_that_is_not_clipped_has_the_drawn_share_of_the_area() -> None:
    x, y = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 32, 32, 1), torch.tensor([0, 1])
    whole = 0
    for seed in range(100):
        found, targets = mixed(x.clone(), y, 2, 0.0, 1.0, np.random.default_rng(seed))
        side = int(32 * (1 - np.random.default_rng(seed).beta(1.0, 1.0)) ** 0.5)
        if (found[1, [0, -1]] == 1).all() and (found[1, :, [0, -1]] == 1).all():
            whole += 1
            assert float(targets[1, 0]) == pytest.approx((side / 32) ** 2)
    assert whole > 10


@pytest.fixture
def images() -> Images:
    x = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images.of("some", (x, torch.arange(40) % CLASSES), tuple("abcde"))


EVERYTHING = Augment(pad=1, mirror=True, trivial=True, mixup=0.2, cutmix=1.0, cutout=2)


def test_a_stream_of_mixed_images_goes_on_bit_for_bit_from_any_place(images):
    batches = Batches(images, torch.arange(40), 12, EVERYTHING, 7)
    states, drawn = [], []
    for _ in range(8):  # over two passes
        states.append(batches.state_dict())
        drawn.append(batches.next())
    assert drawn[0].y.shape == (12, CLASSES)
    assert len({float(batch.y.max(1).values[0]) for batch in drawn}) > 3  # each batch has a share of its own
    for start, state in enumerate(states):
        again = Batches(images, torch.arange(40), 12, EVERYTHING, 7)
        again.load_state_dict(state)
        for batch in drawn[start:]:
            assert all(torch.equal(one, other) for one, other in zip(again.next(), batch, strict=True))


def test_without_mixing_the_images_and_labels_of_a_stream_are_what_they_were(images):
    plain, cut = Augment(pad=1, mirror=True), Augment(pad=1, mirror=True, cutmix=1.0)
    one, other = (Batches(images, torch.arange(40), 12, augment, 7) for augment in (plain, cut))
    first, mixed_first = one.next(), other.next()
    assert torch.equal(first.index, mixed_first.index)
    own = (first.x == mixed_first.x).flatten(1).all(0).double().mean()
    assert torch.equal(first.y, images.y[first.index])
    assert mixed_first.y[0, first.y[0]] >= own - 1e-5


def test_a_balanced_pass_has_every_class_alike():
    x = torch.zeros(1000, 1, 1, 1, dtype=torch.uint8)
    y = torch.tensor([0] * 900 + [1] * 90 + [3] * 10)
    batches = Batches(Images.of("some", (x, y), tuple("abcd")), torch.arange(1000), 100, Augment(), 0, balanced=True)
    seen = [torch.cat([batches.next().index for _ in range(10)]) for _ in range(4)]
    counts = torch.bincount(y[torch.cat(seen)], minlength=4)
    assert counts[2] == 0
    assert (counts[[0, 1, 3]] - 4000 / 3).abs().max() < 150  # 5 sigma
    assert not torch.equal(seen[0], seen[1])
