"""Settings of NAO's controller: its size, its training, and its search for better architectures."""

from __future__ import annotations

from typing import Literal

from supernet.settings import Count, Fraction, Real, Share, Whole, settings


@settings
class ControllerConfig:
    """Settings of the controller; the defaults are NAO-V2's.

    NAO-V1 with weight sharing has embedding 48, hidden 96, predictor_layers 3, weight_decay 1e-4 and expand None.
    """

    prefix = "controller."  # of the fields in messages

    embedding: Count = 32
    """size of the encoder's token embedding"""
    hidden: Count = 64
    """hidden units of the encoder and the decoder"""
    predictor_layers: Whole = 0
    """hidden layers of the predictor"""
    predictor_width: Count = 200
    """units of each hidden layer of the predictor"""
    predictor_dropout: Share = 0.1
    """dropout after each hidden layer of the predictor"""
    trade_off: Fraction = 0.8
    """weight of the prediction in the loss; the reconstruction has the rest"""
    epochs: Count = 1000
    """passes over the architectures in each training"""
    batch_size: Count = 100
    """architectures per step"""
    lr: Real = 1e-3
    """learning rate of Adam"""
    weight_decay: Real = 0.0
    """weight decay of Adam"""
    clip: Real = 5.0
    """largest norm of the gradient; 0 does not clip"""
    expand: Count | None = 10
    """copies of each architecture in equivalent notations, itself included; None draws a notation in every epoch"""
    held_out: Share = 0.1
    """share of the architectures that is kept out of the training and reported on"""
    start: Literal["fresh", "continue"] = "fresh"
    """initial weights of a training: new ones, or those of the last training, as released"""
    top: Count = 100
    """best architectures from which the search for better ones starts"""
    max_step: Whole = 50
    """largest step along the predictor's gradient"""
