"""Streamed: the pixels of images that stay on a disk, and the processes that decode them when they are needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supernet.data.levels import Levels
from supernet.data.limits import cores
from supernet.data.pictures import Encoded, read
from supernet.data.resize import are_grey, to_grey
from supernet.errors import UserError

READERS_VARIABLE = "SUPERNET_READERS"
SAMPLE = 4096  # images of a stream, evenly spaced, that stand for all in what would need every pixel
_CHUNK = 32  # images that a process decodes at a time
_AHEAD = 2  # chunks that each process has ready
_MOST_READERS = 16
# The process that trains decides when to stop, and ends its readers; with SIGTERM Python ends at its exit those left
_IGNORED = ("SIGINT", "SIGHUP")


class Store(Protocol):
    """Encoded pictures on a disk, by number."""

    def picture(self, number: int) -> Encoded:
        """Return the picture with this number, not yet decoded."""

    def name(self, number: int) -> str:
        """Return what messages call the picture, without reading it."""

    def marks(self, numbers: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield, for each of the pictures, what identifies it without reading it: its name and size."""


class Streamed:
    """The pixels of images (N, C, H, W) uint8 on a disk: those of `numbers` in a store, decoded as they are needed.

    `shape`, `len`, `to` and indexing by a slice or a tensor are those of a tensor, but read nothing; `batches` reads.
    Where C is 1 pictures are read as grey.
    """

    def __init__(self, readers: Readers, numbers: Tensor, device: torch.device | str = "cpu") -> None:
        self._readers, self._numbers, self.device = readers, numbers, torch.device(device)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Images, channels, height and width."""
        return (len(self._numbers), *self._readers.shape)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, which: slice | Tensor) -> Streamed:
        return Streamed(self._readers, self._numbers[which], self.device)

    def joined(self, more: Streamed) -> Streamed:
        """Return these images and after them `more` of the same store."""
        return Streamed(self._readers, torch.cat([self._numbers, more._numbers]), self.device)

    def to(self, device: torch.device | str) -> Streamed:
        """Return the same images, whose batches come to `device`."""
        return Streamed(self._readers, self._numbers, device)

    def as_grey(self) -> Streamed:
        """Return the same images with one channel."""
        return Streamed(self._readers.as_grey(), self._numbers, self.device)

    def sample(self) -> Streamed:
        """Return at most 4096 of the images, evenly spaced."""
        return Streamed(self._readers, sampled(self._numbers), self.device)

    def is_grey(self) -> bool:
        """Return whether every pixel of every image is grey."""
        every = torch.arange(len(self))
        return all(are_grey(part.permute(0, 3, 1, 2)) for part in self.batches(every, _CHUNK))

    def marks(self) -> Iterator[bytes]:
        """Yield what identifies each image without reading it."""
        return self._readers.store.marks(self._numbers.numpy())

    def batches(self, order: Tensor, size: int) -> Iterator[Tensor]:
        """Yield the images at the indices `order` (n,), `size` at a time, as (B, H, W, C) uint8 on the device.

        Other processes decode the next ones meanwhile. Raises UserError for a picture that cannot be read.
        """
        numbers = self._numbers[order.cpu()]
        chunks = [part for batch in torch.split(numbers, size) for part in torch.split(batch, _CHUNK)]
        found = self._readers.read(chunks, pinned=self.device.type == "cuda")
        for batch in torch.split(numbers, size):
            parts = []
            for _ in range(-(-len(batch) // _CHUNK)):
                pixels, broken = next(found)
                if broken:
                    raise UserError(broken[min(broken)])
                parts.append(pixels.to(self.device, non_blocking=True))
            yield torch.cat(parts)

    def broken(self) -> dict[int, str]:
        """Decode every image; return the place of each that cannot be read, and why."""
        chunks = torch.split(self._numbers, _CHUNK)
        found = enumerate(self._readers.read(chunks))
        return {_CHUNK * start + place: why for start, (_, broken) in found for place, why in broken.items()}


Pixels = Tensor | Streamed
"""The pixels of images (N, C, H, W) uint8, in memory or on a disk."""


class _Decoder(Dataset[tuple[Tensor, dict[int, str]]]):
    """Decodes pictures of a store, in a process of its own."""

    def __init__(self, store: Store, shape: tuple[int, int, int], levels: Levels | None) -> None:
        self.store, self.shape, self.levels = store, shape, levels

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, dict[int, str]]:
        """Return pictures as (n, H, W, C) uint8, and by place why some cannot be read."""
        channels, height, width = self.shape
        pixels, broken = torch.zeros(len(numbers), height, width, channels, dtype=torch.uint8), {}
        for place, number in enumerate(numbers):
            try:
                x = read(self.store.picture(number), (height, width), self.levels)
            except UserError as error:
                broken[place] = str(error)
                continue
            pixels[place] = (to_grey(x) if channels == 1 else x)[0].permute(1, 2, 0)
        return pixels, broken


class _Chunks:
    """The numbers that the processes decode next, a list for each chunk; replaced for every pass."""

    def __init__(self) -> None:
        self.chunks: Iterable[Tensor] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return (chunk.tolist() for chunk in self.chunks)


class Readers:
    """Processes that decode the pictures of a store to (C, H, W), for one pass at a time or for several side by side.

    They live as long as this object: a pass that has ended, or is given up, leaves its processes to the next.
    """

    def __init__(self, store: Store, shape: tuple[int, int, int], levels: Levels | None) -> None:
        self.store, self.shape, self.levels = store, shape, levels
        self._idle: dict[bool, list[tuple[DataLoader[Any], _Chunks]]] = {False: [], True: []}  # by pinned memory

    def as_grey(self) -> Readers:
        """Return readers of the same pictures with one channel."""
        return Readers(self.store, (1, *self.shape[1:]), self.levels)

    def read(self, chunks: Iterable[Tensor], *, pinned: bool = False) -> Iterator[tuple[Tensor, dict[int, str]]]:
        """Yield the pixels of each chunk of numbers, in order, and by place why some cannot be read.

        They are in memory that is pinned for a GPU, or in any. Raises UserError if a process has ended.
        """
        idle = self._idle[pinned]
        if pinned:
            self._idle[False].clear()  # the processes that the images were loaded with
        loader, order = idle.pop() if idle else self._loader(pinned=pinned)
        order.chunks = chunks
        try:
            yield from _begun(loader)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            advice = f"is there memory for so many? {READERS_VARIABLE} sets their number"
            raise UserError(f"a process that reads images has ended ({reason}); {advice}") from None
        except GeneratorExit:
            idle.append((loader, order))
            raise
        idle.append((loader, order))

    def _loader(self, *, pinned: bool) -> tuple[DataLoader[Any], _Chunks]:
        order, count = _Chunks(), readers()
        several: dict[str, Any] = {"prefetch_factor": _AHEAD, "persistent_workers": True} if count else {}
        loader = DataLoader(
            _Decoder(self.store, self.shape, self.levels),
            batch_sampler=order,
            num_workers=count,
            collate_fn=_unchanged,
            pin_memory=pinned,
            worker_init_fn=_stand_apart,
            generator=torch.Generator(),  # otherwise every pass would draw from the random state of the training
            **several,
        )
        return loader, order


def sampled(numbers: Tensor) -> Tensor:
    """Return at most 4096 of some numbers, evenly spaced."""
    return numbers if len(numbers) <= SAMPLE else numbers[torch.arange(SAMPLE) * len(numbers) // SAMPLE]


def _unchanged(found: Any) -> Any:
    return found


def _begun(loader: DataLoader[Any]) -> Iterator[Any]:
    """Return the pass of a loader, which raises an error for a process that has ended when its images are asked for.

    PyTorch raises it wherever this program then is, as in the middle of a step that was to be saved. Other loaders of
    this program then find it out later, too.
    """
    known = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    found = iter(loader)
    if known is not None and signal.getsignal(signal.SIGCHLD) is not known:  # set in the main thread alone
        signal.signal(signal.SIGCHLD, known)
    return found


def _stand_apart(worker: int) -> None:
    """Let signals to the program, by Ctrl-C or to its group of processes, reach the process that trains alone."""
    for name in _IGNORED:
        with suppress(AttributeError):  # not on this system
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with suppress(AttributeError, OSError):
        os.setpgid(0, 0)


def readers() -> int:
    """Return how many processes decode images: SUPERNET_READERS; without it one per core, 16 at most.

    0 has images decoded by the process that needs them. Raises UserError for anything but a number from 0 on.
    """
    text = os.environ.get(READERS_VARIABLE)
    if text is None:
        return min(cores(), _MOST_READERS)
    if not text.isdecimal():
        raise UserError(f"{READERS_VARIABLE} must be a number of processes, 0 or more, not '{text}'")
    return int(text)
