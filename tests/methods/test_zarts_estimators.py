"""The estimators of zero-order search against closed forms and brute force, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from supernet.methods.zarts import estimators
from supernet.methods.zarts.estimators import effective_samples, importance, log_density, proposed, radii, spherical

SIZES = [5, 1, 3]
D = sum(SIZES)


def drawing(seed=0):
    return torch.Generator().manual_seed(seed)


def quadratic():
    """A loss with curvature in every direction, its gradient at 0, and the matrix."""
    g = drawing(1)
    root = torch.randn(D, D, generator=g, dtype=torch.float64)
    matrix, slope = root @ root.T, torch.randn(D, generator=g, dtype=torch.float64)
    return lambda u: 0.5 * ((u @ matrix) * u).sum(-1) + u @ slope + 3, slope, matrix


# Directions


def test_every_kind_of_cell_has_a_sphere_of_its_own_and_no_direction_is_preferred():
    found = spherical(20_000, SIZES, drawing())
    for part in torch.split(found, SIZES, dim=1):
        torch.testing.assert_close(torch.linalg.vector_norm(part, dim=1), torch.ones(20_000, dtype=torch.float64))
        assert part.mean(0).abs().max() < 0.03
        size = part.shape[1]
        torch.testing.assert_close(part.T @ part / 20_000, torch.eye(size).double() / size, rtol=0, atol=0.02)


# Random search


@pytest.mark.parametrize("direction", ["sphere", "normal"])
@pytest.mark.parametrize("form", ["antithetic", "two_point", "one_point"])
def test_random_search_is_unbiased_on_a_quadratic(form, direction):
    """Curvature is even in u and cancels in the mean for all forms; antithetic pairs cancel it one by one."""
    loss, slope, _ = quadratic()
    count, delta = 100_000, 0.5
    draw = drawing(2)
    u = spherical(count, SIZES, draw) if direction == "sphere" else estimators.normal((count, D), draw)
    plus, minus, base = loss(delta * u), loss(-delta * u), loss(torch.zeros(D).double())
    slopes = {
        "antithetic": (plus - minus) / (2 * delta),
        "two_point": (plus - base) / delta,
        "one_point": plus / delta,
    }[form]
    phi = torch.tensor([5.0] * 5 + [1.0] + [3.0] * 3) if direction == "sphere" else 1
    error = (phi * slopes[:, None] * u).std(0) / math.sqrt(count)
    found = estimators.gradient(slopes, u, SIZES, direction)
    assert ((found - slope).abs() < 4 * error).all()
    assert error.max() < 0.1 * slope.norm()


def test_along_a_line_the_antithetic_slope_is_exact():
    loss, slope, _ = quadratic()
    u = torch.eye(D, dtype=torch.float64)
    slopes = (loss(0.3 * u) - loss(-0.3 * u)) / 0.6
    torch.testing.assert_close(slopes, slope)
    torch.testing.assert_close(D * estimators.gradient(slopes, u, [D], "normal"), slope)
    torch.testing.assert_close(estimators.gradient(slopes, u, [D], "sphere"), slope)


# Maximum-likelihood guided search


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_a_mixture_is_drawn_as_its_formula_says(lam):
    g = torch.tensor([2.0, -1.0], dtype=torch.float64)
    u = proposed(200_000, g, 0.3, lam, "mixture", drawing())
    torch.testing.assert_close(u.mean(0), -(1 - lam) * g, rtol=0, atol=0.02)
    spread = 0.3**2 * torch.eye(2).double() + lam * (1 - lam) * torch.outer(g, g)
    torch.testing.assert_close(u.T.cov(), spread, rtol=0, atol=0.02)
    near = (torch.linalg.vector_norm(u, dim=1) < torch.linalg.vector_norm(u + g, dim=1)).double().mean()
    assert near.item() == pytest.approx(lam, abs=0.01)  # two separate clusters


def test_a_weighted_sum_is_one_normal_distribution():
    g = torch.tensor([2.0, -1.0], dtype=torch.float64)
    u = proposed(200_000, g, 0.3, 0.3, "weighted_sum", drawing())
    torch.testing.assert_close(u.mean(0), -0.7 * g, rtol=0, atol=0.01)
    torch.testing.assert_close(u.T.cov(), 0.09 * (0.49 + 0.09) * torch.eye(2).double(), rtol=0, atol=0.002)


def test_densities_are_those_of_torchs_distributions():
    g, sigma, lam = torch.randn(D, generator=drawing(), dtype=torch.float64), 0.7, 0.2
    u = proposed(50, g, sigma, lam, "mixture", drawing(1))

    def distribution(mean, spread):
        return torch.distributions.Independent(torch.distributions.Normal(mean, torch.full_like(mean, spread)), 1)

    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([1 - lam, lam], dtype=torch.float64)),
        distribution(torch.stack([-g, torch.zeros_like(g)]), sigma),
    )
    for proposal, known in (
        ("mixture", mixture),
        ("weighted_sum", distribution(-(1 - lam) * g, sigma * math.sqrt((1 - lam) ** 2 + lam**2))),
    ):
        found = log_density(u, g, sigma, lam, proposal) - known.log_prob(u)
        torch.testing.assert_close(found, found[:1].expand(50))  # but for a constant


def by_hand(losses, u, g, sigma, tau, lam, form):
    """The weights as the formulas stand, without logarithms."""
    weights = []
    for loss, step in zip(losses.tolist(), u, strict=True):
        far = (step @ step).item() / 2 * sigma**2 if form == "released" else (step @ step).item() / (2 * sigma**2)
        q = (1 - lam) * math.exp(-((step + g) @ (step + g)).item() / (2 * sigma**2)) + lam * math.exp(-far)
        weights.append(math.exp(-(loss - losses[0].item()) / tau) / (q + (0 if form == "log_space" else 1e-4)))
    return torch.tensor(weights, dtype=torch.float64) / sum(weights)


FORMS = ["log_space", "released", "corrected_floor"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("lam", "sigma", "tau"), [(1e-3, 0.5, 0.1), (0.4, 2.0, 1.0), (1.0, 0.8, 0.3)])
def test_weights_are_those_of_the_formulas(form, lam, sigma, tau):
    g = 0.3 * torch.randn(D, generator=drawing(), dtype=torch.float64)
    u = proposed(6, g, sigma, lam, "mixture", drawing(1))
    losses = torch.rand(6, generator=drawing(2), dtype=torch.float64)
    found = importance(losses, u, g, sigma, tau, lam, form)
    torch.testing.assert_close(found, by_hand(losses, u, g, sigma, tau, lam, form))
    assert found.sum().item() == pytest.approx(1)
    torch.testing.assert_close(importance(losses + 7, u, g, sigma, tau, lam, form), found)  # a base cancels


def test_the_three_forms_are_different_and_where_there_are_many_dimensions_two_of_them_are_a_plain_softmax():
    losses = torch.rand(4, generator=drawing(2), dtype=torch.float64) / 50
    for size, vanished in ((2, False), (196, True)):
        g = 0.01 * torch.randn(size, generator=drawing(), dtype=torch.float64)
        u = proposed(4, g, 0.025, 1e-3, "mixture", drawing(1))
        plain = torch.softmax(-losses / 0.01, 0)
        log, released, floor = (importance(losses, u, g, 0.025, 0.01, 1e-3, form) for form in FORMS)
        for found in (released, floor):
            assert torch.allclose(found, plain, rtol=1e-3) == vanished
        assert not torch.allclose(log, plain, rtol=0.1)
        assert vanished or not torch.allclose(released, floor)


def test_guided_search_finds_the_mean_of_its_target():
    """For L = (u - m)' P (u - m) / 2 the target exp(-L/tau) is normal about m: without a bias by the proposal."""
    m, tau = torch.tensor([0.4, -0.3], dtype=torch.float64), 0.5
    precision = torch.tensor([[2.0, 0.6], [0.6, 1.5]], dtype=torch.float64)
    g = -precision @ m  # the gradient at 0
    for proposal in ("mixture", "weighted_sum"):
        u = proposed(400_000, g, 0.9, 0.2, proposal, drawing())
        losses = 0.5 * (((u - m) @ precision) * (u - m)).sum(1)
        shares = importance(losses, u, g, 0.9, tau, 0.2, "log_space", proposal)
        torch.testing.assert_close(shares @ u, m, rtol=0, atol=0.01)
        spread = (shares[:, None] * (u - m)).T @ (u - m)
        torch.testing.assert_close(spread, tau * torch.linalg.inv(precision), rtol=0, atol=0.01)
        assert 1000 < effective_samples(shares) < 400_000


def test_effective_samples_are_one_if_one_counts_and_all_if_all_do():
    assert effective_samples(torch.tensor([0.0, 1.0, 0.0])) == 1
    assert effective_samples(torch.full((4,), 0.25)) == 4
    shares = torch.softmax(torch.randn(8, generator=drawing(), dtype=torch.float64), 0)
    released = ((8 * shares - 1) ** 2).mean()  # the value that the released code logs, before its root
    assert effective_samples(shares) == pytest.approx(8 / (1 + released.item()))


def test_the_rank_of_the_heaviest_step_is_that_of_its_loss():
    losses = torch.tensor([0.5, 0.1, 0.9, 0.3])
    ranks = [
        estimators.heaviest_rank(torch.nn.functional.one_hot(torch.tensor(n), 4).double(), losses) for n in range(4)
    ]
    assert ranks == [3, 1, 4, 2]


# Gradientless descent


def test_radii_are_those_of_the_released_code():
    found = radii(None, 14, 98)  # the DARTS space without none
    assert (len(found), found[0]) == (15, 28.0)
    assert radii(0.13, 14, 98) == [0.13 / 2**number for number in range(15)]
    smallest = 0.01 / math.sqrt(98)
    assert smallest < found[-1] < 2 * smallest
    assert len(radii(0.13, 6, 30)) == 13
