"""Settings of NAO-V2; the defaults are the paper's for its own space (Luo et al., 2019, arXiv 1909.10815, v1).

By its abstract, the second version keeps only the sampling in proportion to size; released code resets the learning
rate alone (`reinit="lr"`).
"""

from __future__ import annotations

from typing import Literal

from supernet.methods.nao.controller_config import ControllerConfig
from supernet.settings import Count, Real, Share, Whole, settings


@settings
class StandaloneConfig:
    """Settings of the standalone training of the best architectures at the end."""

    prefix = "standalone."  # of the fields in messages

    dropout: Share = 0.4
    """dropout probability of the features before the classifier"""
    drop_path: Share = 0.04
    """probability, in the last epoch, that a path of a cell is dropped for an image"""
    auxiliary: Real = 0.4
    """weight of the auxiliary classifier's loss; 0 builds none"""


@settings
class NAOConfig:
    """Settings of NAO-V2."""

    iterations: Count = 4
    """supernets that are trained, each followed by an evaluation of all architectures so far"""
    pool: Count = 1000
    """random architectures that train the first supernet"""
    new: Count = 300
    """architectures from the controller that train each of the other supernets"""
    sampling: Literal["params", "uniform"] = "params"
    """probability that a step trains an architecture: proportional to its parameters, or uniform"""
    reinit: Literal["all", "lr", "none"] = "all"
    """reset by a new iteration: weights, momentum and learning rate (all), the learning rate alone, or nothing"""
    evaluation: Literal["fixed", "batch"] = "fixed"
    """validation images: the same ones for all architectures, or a random batch for each"""
    eval_images: Count | None = None
    """number of validation images; None is all, or 500 with evaluation batch"""
    drop_path: Share = 0.1
    """probability, in the last epoch of an iteration, that a path of the last cell is dropped for an image"""
    controller: ControllerConfig = ControllerConfig()
    final: Whole = 5
    """best architectures that get standalone training at the end; 0 takes the supernet's best"""
    final_epochs: Count = 10
    """epochs of standalone training of each"""
    standalone: StandaloneConfig = StandaloneConfig()
