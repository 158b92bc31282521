"""Settings: the protocol of a search, and how presets, files and flags become one typed whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from supernet.engine.optim import SGDConfig
from supernet.errors import UserError, at_least, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Protocol:
    """How much is trained and on what, whatever the method; it stands in the run's config and under every table."""

    epochs: int = 40
    """passes over the images the weights learn from"""
    batch_size: int = 64
    """images per step"""
    width: int = 8
    """channels of the first stage"""
    depth: int = 1
    """cells per stage, as the space counts them"""
    stem: int | None = None
    """times the stem halves the image; None halves it until its shorter side is at most 32"""
    reductions: int | None = None
    """reductions of the space that halve the resolution; None is as many as leave at least 2 pixels"""
    images: int | None = None
    """training images used, both halves together; None uses all"""
    image_size: int | None = None
    """pixels per side; None keeps arrays as they are, and brings pictures to their median, at most 224"""
    split: Literal["stratified", "index"] = "stratified"
    """how the training images are halved: with balanced classes, or first and second half by index"""
    second: float = 0.5
    """share of the training images in the second half, so called; other than 0.5 it is held out class by class"""
    pad: int | None = None
    """pixels of zero padding before the random crop; None is an eighth of the side"""
    mirror: bool | None = None
    """mirror half of the images; None lets the data say whether a mirrored image keeps its class"""
    cutout: int = 0
    """side of the square that is cut out, in pixels"""
    norm_affine: bool = False
    """candidates' batch norm learns scale and shift"""
    norm_track: bool = True
    """candidates' batch norm is evaluated with running statistics; otherwise with the batch's own"""
    w: SGDConfig = SGDConfig()

    def __post_init__(self) -> None:
        at_least(1, epochs=self.epochs, batch_size=self.batch_size, width=self.width, depth=self.depth)
        if not 0 < self.second < 1:
            raise UserError(f"setting second must be between 0 and 1, without either, not {self.second}")
        if self.second != 0.5 and self.split == "index":
            raise UserError("setting split index cuts the images in halves: with second, leave it stratified")
        at_least(0, pad=self.pad, cutout=self.cutout, stem=self.stem, reductions=self.reductions)


PROTOCOLS: dict[str, Protocol] = {
    # Sized for two CPU cores and minutes. With an eighth of the steps of the one below, its learning rate is five
    # times larger: what moves alpha is the learning rate times the number of steps.
    "small": Protocol(),
    # Single-DARTS on NAS-Bench-201 (arXiv 2108.08128): 25 000 images, 32x32, 15 cells, one learning rate for all.
    "nasbench201": Protocol(epochs=50, width=16, depth=5, w=SGDConfig(lr=0.005)),
    # GDAS, RSPS, SETN and ENAS on NAS-Bench-201, as that paper searches with them (arXiv 2001.00326).
    "nasbench201-paths": Protocol(
        epochs=250,
        width=16,
        depth=5,
        norm_track=False,
        w=SGDConfig(lr=0.025, lr_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
    # NAO-V2 (arXiv 1909.10815, released code): 11 cells, 45 000 images train and 5 000 judge, four times 50 epochs and
    # five times 10.
    "nao": Protocol(epochs=250, width=20, depth=3, second=0.1, norm_affine=True, w=SGDConfig(lr=0.025, lr_min=0.001)),
}


def protocol(name: str) -> Protocol:
    """Return the protocol of that name; raises UserError if there is none."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
