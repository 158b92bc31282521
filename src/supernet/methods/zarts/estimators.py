"""The estimators of zero-order search: candidate steps of alpha, and the update computed from their losses.

Alpha is one vector A of D numbers here, all kinds of cell one after another, and a step of alpha is a vector u. N steps
are a tensor (N, D) of float64 on the CPU. L(u) is the loss at A + u.

RS, random search: u on the unit sphere of each kind of cell (phi = its dimension), or standard normal (phi = 1)

    one_point    phi/delta      mean_i  L(delta u_i) u_i
    two_point    phi/delta      mean_i [L(delta u_i) - L(0)] u_i
    antithetic   phi/(2 delta)  mean_i [L(delta u_i) - L(-delta u_i)] u_i      estimates dL/dA

MGS, maximum-likelihood guided parameter search (Welleck & Cho, 2020, arXiv 2006.03158): with G the gradient dL/dA,

    q(u) = (1 - lam) N(u; -G, sigma^2 I) + lam N(u; 0, sigma^2 I)
    c_i = exp(-L(u_i)/tau) / q(u_i), divided by their sum;        step = sum_i c_i u_i

and two ablations without losses: c_i = 1/N, and step = -G, which is a step of first-order DARTS of length 1.

GLD, gradientless descent (Golovin et al., ICLR 2020, arXiv 1911.06317): u on spheres of radius R, R/2, R/4, ...; the
best of all u is the step if its loss is below L(0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Direction = Literal["sphere", "normal"]
Proposal = Literal["mixture", "weighted_sum"]
Density = Literal["released", "log_space", "corrected_floor"]
Importance = Literal[Density, "uniform", "gradient"]

_FLOOR = math.log(1e-4)  # released code adds 1e-4 to the density, which has no normalising factor there
_SMALLEST = 0.01  # smallest radius of GLD, times the square root of the dimension, before scaling


# RS


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def spherical(count: int, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw vectors (count, D) whose parts, of the given `sizes`, are uniform on unit spheres."""
    parts = torch.split(normal((count, sum(sizes)), generator), list(sizes), dim=1)
    return torch.cat([part / torch.linalg.vector_norm(part, dim=1, keepdim=True) for part in parts], dim=1)


def gradient(slopes: Tensor, directions: Tensor, sizes: Sequence[int], direction: Direction) -> Tensor:
    """Return the estimate (D,) of the gradient from the slopes (N,) along the directions (N, D)."""
    mean = (slopes[:, None] * directions).mean(0)
    if direction == "normal":
        return mean
    return mean * torch.cat([torch.full((size,), float(size), dtype=mean.dtype) for size in sizes])


# MGS


def proposed(
    count: int, gradient: Tensor, sigma: float, lam: float, proposal: Proposal, generator: torch.Generator
) -> Tensor:
    """Draw steps (N, D) from the mixture of the two normal distributions, or from their weighted sum, as released."""
    shape = (count, len(gradient))
    if proposal == "weighted_sum":
        one, other = normal(shape, generator), normal(shape, generator)
        return (1 - lam) * (sigma * one - gradient) + lam * sigma * other
    guided = torch.rand(count, generator=generator, dtype=torch.float64) >= lam
    return sigma * normal(shape, generator) - guided[:, None] * gradient


def log_density(steps: Tensor, gradient: Tensor, sigma: float, lam: float, proposal: Proposal = "mixture") -> Tensor:
    """Return the log-density (N,) of steps (N, D) under the proposal, up to a constant."""
    if proposal == "weighted_sum":
        spread = (1 - lam) ** 2 + lam**2
        return -(steps + (1 - lam) * gradient).square().sum(1) / (2 * sigma**2 * spread)
    return _mixed(steps, gradient, lam, sigma, 1 / (2 * sigma**2))


def _mixed(steps: Tensor, gradient: Tensor, lam: float, sigma: float, unguided: float) -> Tensor:
    shares = torch.tensor([1 - lam, lam], dtype=steps.dtype).log()
    near = -(steps + gradient).square().sum(1) / (2 * sigma**2)
    return torch.logaddexp(shares[0] + near, shares[1] - unguided * steps.square().sum(1))


def importance(
    losses: Tensor,
    steps: Tensor,
    gradient: Tensor,
    sigma: float,
    tau: float,
    lam: float,
    form: Density,
    proposal: Proposal = "mixture",
) -> Tensor:
    """Return the weights c (N,), with sum 1, of the steps (N, D) with the given losses (N,).

    "log_space" divides by the density of the proposal. The other forms add 1e-4 to the density of the mixture without
    its normalising factor, "released" with a mistake in the second part, the exponent ||u||^2/2 * sigma^2. In more than
    about 20 dimensions both divide by a constant.
    """
    if form == "log_space":
        logs = log_density(steps, gradient, sigma, lam, proposal)
    else:
        unguided = sigma**2 / 2 if form == "released" else 1 / (2 * sigma**2)
        density = _mixed(steps, gradient, lam, sigma, unguided)
        logs = torch.logaddexp(density, torch.full_like(density, _FLOOR))
    return torch.softmax(-losses / tau - logs, dim=0)


def effective_samples(weights: Tensor) -> float:
    """Return the effective sample size 1 / sum_i c_i^2 of the weights c (N,), from 1 to N."""
    return 1 / float(weights.square().sum())


def heaviest_rank(weights: Tensor, losses: Tensor) -> int:
    """Return the rank by loss, 1 for the lowest, of the step with the largest of the weights (N,)."""
    return 1 + int((losses < losses[weights.argmax()]).sum())


# GLD


def radii(radius: float | None, edges: int, dimension: int) -> list[float]:
    """Return the radii of GLD, each half of the previous one.

    They fall from R = 2 edges to r = 0.01 / sqrt(dimension), with `edges` and `dimension` of the largest kind of cell.
    A `radius` scales both, so that R is `radius`.
    """
    largest = 2.0 * edges
    halvings = int(math.log2(largest / (_SMALLEST / math.sqrt(dimension))))
    return [(radius or largest) / 2**number for number in range(halvings + 1)]
