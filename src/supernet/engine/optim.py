"""Optimizers of weights and alphas, and learning rate schedules, with their settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from supernet.errors import UserError
from supernet.settings import Real, Share, Whole, settings

_TAIL = 5  # last epochs of P-DARTS' linear schedule, in which the rate falls more slowly

Within = tuple[int, int]
"""The steps of an epoch that are done, and all of them."""
BEGUN: Within = (0, 1)
"""The beginning of an epoch of which the rate stays."""


def _undecorated(function: Any) -> Any:
    """Return a function of PyTorch without the decorator that imports torch._dynamo."""
    return getattr(function, "__wrapped__", function)


class _Eager:
    """Overrides every method of an optimizer that would import torch._dynamo, which takes seconds and is not needed."""

    add_param_group = _undecorated(torch.optim.Optimizer.add_param_group)
    zero_grad = _undecorated(torch.optim.Optimizer.zero_grad)
    state_dict = _undecorated(torch.optim.Optimizer.state_dict)
    load_state_dict = _undecorated(torch.optim.Optimizer.load_state_dict)


class SGD(_Eager, torch.optim.SGD):
    """PyTorch's SGD."""

    step = torch.no_grad()(_undecorated(torch.optim.SGD.step))


class Adam(_Eager, torch.optim.Adam):
    """PyTorch's Adam."""

    step = torch.no_grad()(_undecorated(torch.optim.Adam.step))


@settings
class SGDConfig:
    """SGD on a network's weights, with a learning rate that follows a schedule."""

    prefix = "w."  # of the fields in messages

    lr: Real = 0.025
    """learning rate of the first epoch without a warm-up"""
    lr_min: Real = 0.0
    """learning rate the schedule runs down to"""
    momentum: Share = 0.9
    """momentum"""
    nesterov: bool = False
    """Nesterov's form of momentum in place of the plain one"""
    weight_decay: Real = 3e-4
    """L2 penalty"""
    clip: Real = 5.0
    """largest norm of the gradient; 0 does not clip"""
    schedule: Literal["cosine", "linear", "exponential"] = "cosine"
    """how the learning rate falls; linear is P-DARTS', with a flatter end"""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.97
    """factor of the exponential schedule, per epoch"""
    warmup: Whole = 0
    """first epochs, in which the learning rate rises in equal steps to that of the schedule"""
    restart: Whole = 0
    """epochs after which the cosine begins again, as in ENAS; 0 lets it fall once"""
    per_step: bool = False
    """the schedule moves with every step, not with every epoch"""

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise UserError("setting w.nesterov needs a w.momentum above 0")
        if self.restart and self.schedule != "cosine":
            raise UserError(f"setting w.restart is of the cosine schedule, not of {self.schedule}")

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.SGD:
        """Return an optimizer of the parameters.

        It updates all of them together (`foreach`). PyTorch's fused SGD is a little faster, but version 2.13 fails if a
        parameter gets its first gradient later than others, and on a CPU its step is wrong if the memory formats of a
        gradient and its parameter differ.
        """
        return SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            foreach=True,
        )

    def rate(self, epoch: int, epochs: int, within: Within = BEGUN) -> float:
        """Return the learning rate of `epoch`, counted from 0: lr_min + (lr - lr_min) s.

        s is (1 + cos(pi epoch/epochs)) / 2, or gamma^epoch, or linear as in P-DARTS (Chen et al., 2019, released code):
        with m = epochs - 5, s is (m - epoch)/m, and in the last 5 epochs (epochs - epoch)/(5 m); up to 5 epochs it is
        (epochs - epoch)/epochs. With `restart`, the cosine is that of epoch mod restart out of restart epochs. In a
        warm-up the rate is multiplied by (epoch + 1)/warmup.

        In a step `within` an epoch of n steps, `epoch` has a fraction: the line is level from m - 1 to m, where its
        slope changes, and a warm-up multiplies by (epoch + 1/n)/warmup.
        """
        done, steps = within
        moment = epoch + done / steps
        rate = self.lr_min + (self.lr - self.lr_min) * self._s(moment, epochs)
        return rate * min(1, (moment + 1 / steps) / self.warmup) if self.warmup else rate

    def _s(self, epoch: float, epochs: int) -> float:
        if self.schedule == "cosine":
            if self.restart:
                epoch, epochs = epoch % self.restart, self.restart
            return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        if self.schedule == "exponential":
            return float(self.gamma**epoch)
        steep = epochs - _TAIL
        if steep <= 0:
            return (epochs - epoch) / epochs
        return max(1, steep - epoch) / steep if epoch < steep else (epochs - epoch) / (_TAIL * steep)


@settings
class AlphaOptimizerConfig:
    """The optimizer of the architecture parameters, with a constant learning rate."""

    prefix = "alpha."  # of the fields in messages

    optimizer: Literal["sgd", "adam"] = "sgd"
    """sgd (momentum 0.9) or adam (second beta 0.999)"""
    lr: Real | None = None
    """learning rate; None is the weights' first one for sgd, and 3e-4 for adam"""
    weight_decay: Real = 0.0
    """L2 penalty, added to the gradient"""
    beta1: Share = 0.5
    """first beta of adam"""

    def make(self, parameters: Iterable[Tensor], weights: SGDConfig) -> torch.optim.Optimizer:
        """Return an optimizer of the parameters, whose default rate for SGD is that of the `weights`."""
        if self.optimizer == "adam":
            parameters = list(parameters)
            lr, on_gpu = 3e-4 if self.lr is None else self.lr, all(p.is_cuda for p in parameters)
            return Adam(
                parameters,
                lr=lr,
                betas=(self.beta1, 0.999),
                weight_decay=self.weight_decay,
                capturable=on_gpu,  # counts steps on the GPU, so that replayed steps count as well
            )
        lr = weights.lr if self.lr is None else self.lr
        return SGD(parameters, lr=lr, momentum=0.9, weight_decay=self.weight_decay)


def clip_gradient(parameters: Iterable[Tensor], largest: float) -> None:
    """Scale the gradient of all parameters down to the norm `largest` if its norm is larger; 0 does not clip."""
    if largest:
        torch.nn.utils.clip_grad_norm_(parameters, largest)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def momentum_of(optimizer: torch.optim.SGD, weight: Tensor) -> Tensor | None:
    """Return the momentum buffer of a weight, None before its first step."""
    buffer: Tensor | None = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
    return buffer
