"""Labelled image sets: where they come from, how they are split, and the batches that are made of them."""

from supernet.data.augment import Augment
from supernet.data.batches import Batch, Batches, ordered
from supernet.data.images import SPLITS, Images, split, take
from supernet.data.sources import load

__all__ = ["SPLITS", "Augment", "Batch", "Batches", "Images", "load", "ordered", "split", "take"]
