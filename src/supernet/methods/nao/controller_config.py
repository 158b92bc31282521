"""Settings of NAO's controller: its size, its training, and its search for better architectures."""

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
    """size of the encoder's token embedding"""
    hidden: int = 64
    """hidden units of the encoder and the decoder"""
    predictor_layers: int = 0
    """hidden layers of the predictor"""
    predictor_width: int = 200
    """units of each hidden layer of the predictor"""
    predictor_dropout: float = 0.1
    """dropout after each hidden layer of the predictor"""
    trade_off: float = 0.8
    """weight of the prediction in the loss; the reconstruction has the rest"""
    epochs: int = 1000
    """passes over the architectures in each training"""
    batch_size: int = 100
    """architectures per step"""
    lr: float = 1e-3
    """learning rate of Adam"""
    weight_decay: float = 0.0
    """weight decay of Adam"""
    clip: float = 5.0
    """largest norm of the gradient; 0 does not clip"""
    expand: int | None = 10
    """copies of each architecture in equivalent notations, itself included; None draws a notation in every epoch"""
    held_out: float = 0.1
    """share of the architectures that is kept out of the training and reported on"""
    start: Literal["fresh", "continue"] = "fresh"
    """initial weights of a training: new ones, or those of the last training, as released"""
    top: int = 100
    """best architectures from which the search for better ones starts"""
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
