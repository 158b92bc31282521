"""Labelled image sets: where they come from, how they are split, and the batches that are made of them."""

from supernet.data.augment import Augment, Normalise
from supernet.data.batches import Batch, Batches, ordered
from supernet.data.folders import read_picture
from supernet.data.images import SPLITS, Images, hold_out, split, take
from supernet.data.sources import Source, is_here, load, source_name

__all__ = [
    "SPLITS",
    "Augment",
    "Batch",
    "Batches",
    "Images",
    "Normalise",
    "Source",
    "hold_out",
    "is_here",
    "load",
    "ordered",
    "read_picture",
    "source_name",
    "split",
    "take",
]
