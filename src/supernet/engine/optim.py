"""How weights and alphas are stepped: settings as data, optimizers and schedules made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from supernet.errors import UserError
from supernet.settings import Real, Share, Whole, settings

_TAIL = 5  # epochs at the end of P-DARTS' linear schedule in which the rate falls more slowly


def _undecorated(function: Any) -> Any:
    """Return a function of PyTorch's without the decorators that import torch._dynamo."""
    return getattr(function, "__wrapped__", function)


class _Eager:
    """An optimizer that never imports torch._dynamo: the import takes seconds, and nothing here is compiled."""

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
    """SGD on a network's weights, with a learning rate that is set once per epoch."""

    prefix = "w."  # of the fields in messages

    lr: Real = 0.025
    """learning rate of the first epoch, but for a warm-up"""
    lr_min: Real = 0.0
    """learning rate the schedule runs down to"""
    momentum: Share = 0.9
    """momentum"""
    nesterov: bool = False
    """Nesterov's form of momentum"""
    weight_decay: Real = 3e-4
    """L2 penalty"""
    clip: Real = 5.0
    """largest norm of the gradient; 0 does not clip"""
    schedule: Literal["cosine", "linear", "exponential"] = "cosine"
    """how the learning rate falls; linear is P-DARTS', with a flatter end"""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.97
    """what the exponential schedule multiplies the learning rate by after each epoch"""
    warmup: Whole = 0
    """epochs at the beginning over which the learning rate is raised, in equal steps, to that of the schedule"""

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise UserError("setting w.nesterov needs a w.momentum above 0")

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.SGD:
        """Make the optimizer, which steps all parameters together.

        PyTorch's fused SGD would be a little faster still, but (2.13) it fails where a parameter has its first gradient
        later than others, and on a CPU it steps wrongly where a gradient's memory format is not its parameter's.
        """
        return SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            foreach=True,
        )

    def rate(self, epoch: int, epochs: int) -> float:
        """Return the learning rate of `epoch`, from 0: lr_min + (lr - lr_min) s, in a warm-up times (epoch+1)/warmup.

        s is (1 + cos(pi epoch/epochs)) / 2, or gamma^epoch, or P-DARTS' line (Chen et al., 2019, released code): with
        m = epochs - 5 it is (m - epoch)/m, and in the last 5 epochs (epochs - epoch)/(5 m). No more than 5 epochs are
        one plain line.
        """
        rate = self.lr_min + (self.lr - self.lr_min) * self._left(epoch, epochs)
        return rate * min(1, (epoch + 1) / self.warmup) if self.warmup else rate

    def _left(self, epoch: int, epochs: int) -> float:
        """Return the share of the way down to lr_min that is left."""
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        if self.schedule == "exponential":
            return float(self.gamma**epoch)
        steep = epochs - _TAIL
        if steep <= 0:
            return (epochs - epoch) / epochs
        return (steep - epoch) / steep if epoch < steep else (epochs - epoch) / (_TAIL * steep)


@settings
class AlphaOptimizerConfig:
    """The optimizer of the architecture parameters; its learning rate is constant."""

    prefix = "alpha."  # of the fields in messages

    optimizer: Literal["sgd", "adam"] = "sgd"
    """sgd (momentum 0.9) or adam (betas 0.5, 0.999)"""
    lr: Real | None = None
    """learning rate; None is the weights' first one for sgd, 3e-4 for adam"""
    weight_decay: Real = 0.0
    """L2 penalty, added to the gradient"""

    def make(self, parameters: Iterable[Tensor], weights: SGDConfig) -> torch.optim.Optimizer:
        """Make the optimizer, beside that of the `weights`."""
        if self.optimizer == "adam":
            parameters = list(parameters)
            lr, on_gpu = 3e-4 if self.lr is None else self.lr, all(p.is_cuda for p in parameters)
            return Adam(
                parameters,
                lr=lr,
                betas=(0.5, 0.999),
                weight_decay=self.weight_decay,
                capturable=on_gpu,  # it counts its steps on the GPU, so that a recorded step counts, too
            )
        lr = weights.lr if self.lr is None else self.lr
        return SGD(parameters, lr=lr, momentum=0.9, weight_decay=self.weight_decay)


def clip_gradient(parameters: Iterable[Tensor], largest: float) -> None:
    """Scale the gradient of all parameters together down to the norm `largest`, if it is larger; 0 does not clip."""
    if largest:
        torch.nn.utils.clip_grad_norm_(parameters, largest)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def momentum_of(optimizer: torch.optim.SGD, weight: Tensor) -> Tensor | None:
    """Return the momentum of a weight so far, None if it has none."""
    found: Tensor | None = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
    return found
