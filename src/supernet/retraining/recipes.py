"""Recipes: how the network of one architecture is trained, as data: published recipes, and one for a CPU."""

from __future__ import annotations

from dataclasses import KW_ONLY, replace
from typing import Literal

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError
from supernet.settings import Count, Real, Share, Whole, settings

OF_IMAGES = ("image_size", "pad", "mirror", "stem", "reductions")
"""Settings of a recipe that are chosen for the images: those of one run do not suit others."""


@settings
class Recipe:
    """How one architecture is trained: size of the network, optimizer, augmentation, regularisation."""

    _: KW_ONLY
    epochs: Count = 600
    """passes over the training images"""
    batch_size: Count = 96
    """images per step"""
    width: Count | None = None
    """channels of the first stage; None is the search's, or the space's own number"""
    depth: Count | None = None
    """cells per stage; None is the search's, or the space's own number"""
    w: SGDConfig = SGDConfig()
    pad: Whole | None = None
    """pixels of zero padding before the random crop; None is an eighth of the side"""
    mirror: bool | None = None
    """mirror half of the images, left to right; None is as in the search, else mirrors all images but digits"""
    cutout: Whole = 0
    """side of the square that is cut out, in pixels"""
    image_size: int | None = None
    """pixels per side; None is the search's, else keeps arrays as they are, and brings pictures to their median"""
    crop: Whole = 0
    """pixels per side of a random resized crop, of the middle one in a test; 0 takes whole images"""
    jitter: bool = False
    """change brightness, contrast and saturation by up to 0.4 and hue by up to 0.2"""
    augment: Literal["none", "trivial"] = "none"
    """trivial is TrivialAugment: one more random change of each image, such as a turn, a shear or another contrast"""
    mixup: Real = 0.0
    """alpha of mixup, which adds up pairs of images and their labels; 0 has none"""
    cutmix: Real = 0.0
    """alpha of cutmix, which puts a rectangle of one image into another; with mixup one of both for each batch"""
    drop_path: Share = 0.0
    """probability of dropping a path towards the end; in epoch e of E, counted from 0, it is e/E of this"""
    dropout: Share = 0.0
    """probability of dropping a feature before the classifier"""
    auxiliary: Real = 0.0
    """weight of the loss of an auxiliary classifier at two thirds of the depth; 0 has none"""
    norm_shared: bool = False
    """batch norm in training takes its statistics over all processes, not over the images of each"""
    label_smoothing: Share = 0.0
    """share of a label that is spread evenly over all classes"""
    ema: Share = 0.0
    """decay per step of a moving average of the weights, which is measured and used in their place; 0 has none"""
    balance: Literal["none", "weights", "sampling"] = "none"
    """let unequal classes count alike: rarer ones have larger weights in the loss, or are drawn more often"""
    validation_share: Share = 0.0
    """share of the training images kept for validation if the data has no validation images; with 0, a fifth is kept if
    there are no test images either"""
    stem: Whole | None = None
    """times the stem halves the image; None is the search's, else halves it until its shorter side is at most 32"""
    reductions: Whole | None = None
    """reductions that halve the resolution; None is the search's, else all that leave at least 2 pixels"""

    def __post_init__(self) -> None:
        if self.auxiliary and self.batch_size < 2:  # batch norm of the auxiliary head sees one pixel per image
            raise UserError("setting batch_size must be at least 2 with an auxiliary head, not 1")


RECIPES: dict[str, Recipe] = {
    # Ours, for two CPU cores: digits in seconds, 60 000 images of 28x28 in up to a quarter of an hour.
    "quick": Recipe(
        epochs=10,
        batch_size=64,
        width=16,
        depth=1,
        w=SGDConfig(lr=0.05, nesterov=True, weight_decay=5e-4, clip=0.0),
        validation_share=0.1,
    ),
    # NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv 2001.00326): how its 15 625 architectures were trained. Padding is an
    # eighth of the side: 4 on CIFAR, 2 on ImageNet16-120.
    "nasbench201": Recipe(
        epochs=200,
        batch_size=256,
        width=16,
        depth=5,
        w=SGDConfig(lr=0.1, nesterov=True, weight_decay=5e-4, clip=0.0),
    ),
    # DARTS on CIFAR-10 (Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055, and released code): 20 cells.
    "darts-cifar": Recipe(
        epochs=600,
        batch_size=96,
        width=36,
        depth=6,
        w=SGDConfig(lr=0.025, weight_decay=3e-4, clip=5.0),
        pad=4,
        cutout=16,
        drop_path=0.2,
        auxiliary=0.4,
    ),
    # DARTS on ImageNet, the same paper and code: 14 cells; images of 256 pixels, crops of 224.
    "darts-imagenet": Recipe(
        epochs=250,
        batch_size=128,
        width=48,
        depth=4,
        w=SGDConfig(lr=0.1, weight_decay=3e-5, clip=5.0, schedule="exponential", gamma=0.97),
        pad=0,
        image_size=256,
        crop=224,
        jitter=True,
        auxiliary=0.4,
        label_smoothing=0.1,
    ),
}
# P-DARTS on ImageNet (Chen, Xie, Wu & Tian, ICCV 2019, arXiv 1904.12760, and released code), and PC-DARTS (Xu et al.,
# ICLR 2020, arXiv 1907.05737) after it: the batch is larger, and the rate falls in a line.
RECIPES["pdarts-imagenet"] = replace(
    RECIPES["darts-imagenet"],
    batch_size=1024,
    w=SGDConfig(lr=0.5, weight_decay=3e-5, clip=5.0, schedule="linear", warmup=5),
)
# NAO on CIFAR-10 and ImageNet (Luo et al., arXiv 1909.10815, released code): 20 and 14 cells. Its drop-path is larger
# in deeper cells, and never drops an identity with a stride; here it is the same in all cells, and drops these.
RECIPES["nao-cifar"] = replace(
    RECIPES["darts-cifar"], batch_size=128, w=SGDConfig(lr=0.025, weight_decay=5e-4, clip=5.0), dropout=0.4
)
RECIPES["nao-imagenet"] = replace(RECIPES["darts-imagenet"], width=52)
# Ours, for long trainings: what the field has found since. Width and depth are the space's or the search's.
RECIPES["strong"] = Recipe(
    epochs=200,
    batch_size=128,
    w=SGDConfig(lr=0.1, nesterov=True, weight_decay=5e-4, clip=0.0, warmup=5),
    augment="trivial",
    mixup=0.2,
    cutmix=1.0,
    label_smoothing=0.1,
    ema=0.999,
    validation_share=0.1,
)
