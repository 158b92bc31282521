"""The settings of NAO's controller: its sizes, how it is trained, how it looks for better architectures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.errors import UserError, at_least


@dataclass(frozen=True)
class ControllerConfig:
    """Settings of the controller; the defaults are NAO-V2's.

    NAO-V1 with weight sharing has embedding 48, hidden 96, predictor_layers 3, weight_decay 1e-4 and expand None.
    """

    embedding: int = 32
    """numbers per token that the encoder reads"""
    hidden: int = 64
    """numbers per step of the encoder and the decoder"""
    predictor_layers: int = 0
    """hidden layers of the predictor"""
    predictor_width: int = 200
    """units of such a layer"""
    predictor_dropout: float = 0.1
    """dropout behind such a layer"""
    trade_off: float = 0.8
    """share of the loss that is the prediction's; the rest is the reconstruction's"""
    epochs: int = 1000
    """passes over the architectures whenever it is trained"""
    batch_size: int = 100
    """architectures per step"""
    lr: float = 1e-3
    """learning rate of Adam"""
    weight_decay: float = 0.0
    """weight decay of Adam"""
    clip: float = 5.0
    """largest norm of a gradient; 0 does not clip"""
    expand: int | None = 10
    """each architecture and its rewritten copies, where a space has such; None rewrites anew in every epoch"""
    held_out: float = 0.1
    """share of the architectures that is not trained on, but reported on"""
    start: Literal["fresh", "continue"] = "fresh"
    """weights at the beginning of a training: new ones, or those of the last one, as released"""
    top: int = 100
    """best architectures that better ones are looked for from"""
    max_step: int = 50
    """largest step along the predictor's gradient"""

    def __post_init__(self) -> None:
        at_least(1, embedding=self.embedding, hidden=self.hidden, predictor_width=self.predictor_width)
        at_least(1, epochs=self.epochs, batch_size=self.batch_size, expand=self.expand, top=self.top)
        at_least(0, predictor_layers=self.predictor_layers, lr=self.lr, weight_decay=self.weight_decay)
        at_least(0, clip=self.clip, max_step=self.max_step)
        for name in ("predictor_dropout", "held_out"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise UserError(f"setting {name} must be at least 0 and below 1, not {value}")
        if not 0 <= self.trade_off <= 1:
            raise UserError(f"setting trade_off is a share, 0 to 1, not {self.trade_off}")
