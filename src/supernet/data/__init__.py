"""Labelled image sets: loading, streaming, splitting, augmentation and batches."""

from supernet.data.augment import Augment, Normalise
from supernet.data.batches import Batch, Batches, ordered
from supernet.data.images import Images, take
from supernet.data.pictures import read_picture
from supernet.data.sources import SOURCE_TYPES, SOURCE_WORDS, Source, is_available, load, same_source, source_name
from supernet.data.splits import SPLITS, hold_out, split
from supernet.data.streamed import Streamed

__all__ = [
    "SOURCE_TYPES",
    "SOURCE_WORDS",
    "SPLITS",
    "Augment",
    "Batch",
    "Batches",
    "Images",
    "Normalise",
    "Source",
    "Streamed",
    "hold_out",
    "is_available",
    "load",
    "ordered",
    "read_picture",
    "same_source",
    "source_name",
    "split",
    "take",
]
