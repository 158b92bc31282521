"""Fusion: how the candidates of a cell are run together, planned once from the modules they are built of.

An operation is a chain of leaves: ReLU, convolution, batch norm, pooling, or a module that only its author knows. The
chains that read one node are laid over each other:

- Leaves without weights that are alike run once for all of them: one ReLU, one average pooling.
- Convolutions that are alike become one: their filters side by side if they read the same tensor, in groups if what
  they read lies side by side already, as in the second half of separable convolutions.
- A batch norm in the middle of a chain normalises all that lies side by side; one at the end of a chain is done
  together with the op weight and the sum into the node (`kernels.weighted_sums`).
- Any other leaf runs by itself.

Nothing here knows a primitive by name: an operation of a user's is fused as far as it is built of such leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.models.fused import Normal, Term, average, convolve, pair, weighted_sums
from supernet.spaces.modules import EverySecond


@dataclass(frozen=True)
class Candidate:
    """An operation of a cell: its place in the flattened op weights, the node it goes into, and its leaves.

    `kinds` are equal for leaves that are alike.
    """

    place: int
    target: int
    leaves: tuple[nn.Module, ...]
    kinds: tuple[Hashable, ...]

    def rest(self) -> Candidate:
        """Return it without its first leaf."""
        return Candidate(self.place, self.target, self.leaves[1:], self.kinds[1:])


def candidate(place: int, target: int, operation: nn.Module) -> Candidate:
    """Take an operation apart."""
    parts = leaves(operation)
    return Candidate(place, target, parts, tuple(_kind(leaf) for leaf in parts))


@dataclass(frozen=True)
class End:
    """A value that is weighted and summed: it belongs to `candidates`, whose own channels it holds if `apart`."""

    candidates: tuple[Candidate, ...]
    apart: bool
    norms: tuple[nn.BatchNorm2d, ...]  # one per candidate, or none

    @property
    def count(self) -> int:
        """How many tensors lie side by side."""
        return len(self.candidates) if self.apart else 1

    @property
    def slots(self) -> tuple[int, ...]:
        """Which of the tensors side by side is each candidate's."""
        return tuple(range(len(self.candidates))) if self.apart else (0,) * len(self.candidates)


@dataclass(frozen=True)
class _Fork:
    """What is done with one tensor."""

    ends: tuple[End, ...]
    branches: tuple[tuple[Callable[[Tensor], Tensor], _Fork], ...]


@dataclass(frozen=True)
class Stage:
    """All that reads node `source`, and the nodes that it goes into; `places` is the order of the op weights."""

    source: int
    fork: _Fork
    targets: tuple[int, ...]
    places: tuple[int, ...]

    def __call__(self, x: Tensor, weights: Tensor, sums: Sequence[Tensor | None]) -> list[Tensor]:
        """Add to the `sums` of the targets, (B, C, H, W) or None, what the candidates make of `x`, and return them."""
        terms = []
        for end, z in self.values(x):
            known = normal(end.norms, z) if end.norms else None
            targets = tuple(self.targets.index(candidate.target) for candidate in end.candidates)
            terms.append(Term(z, end.count, targets, end.slots, known))
        return weighted_sums(terms, weights, sums)

    def values(self, x: Tensor, batches: int = 1) -> Iterator[tuple[End, Tensor]]:
        """Return what the candidates make of `x` before it is normalised; `x` may be several batches of equal size."""
        yield from _walk(self.fork, x, batches)


def leaves(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the modules that `module` runs one after the other, itself if it is no plain sequence, or hooked."""
    if _hooked(module):
        return (module,)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return tuple(leaf for inner in module for leaf in leaves(inner))
    return () if type(module) is nn.Identity else (module,)


def _hooked(module: nn.Module) -> bool:
    kinds = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(kinds)


def plan_stage(source: int, candidates: Sequence[Candidate], most: int) -> Stage:
    """Plan what reads node `source`, with at most `most` grouped convolutions in one.

    0 lets every convolution run by itself, so that no two values lie side by side.
    """
    fork = _lay(tuple(candidates), apart=False, most=most)
    order = [candidate for end in _ends(fork) for candidate in end.candidates]
    targets = tuple(dict.fromkeys(sorted(candidate.target for candidate in order)))
    return Stage(source, fork, targets, tuple(candidate.place for candidate in order))


def _ends(fork: _Fork) -> Iterator[End]:
    yield from fork.ends
    for _, inner in fork.branches:
        yield from _ends(inner)


def _walk(fork: _Fork, x: Tensor, batches: int) -> Iterator[tuple[End, Tensor]]:
    for end in fork.ends:
        yield end, x
    for step, inner in fork.branches:
        if batches > 1 and isinstance(step, _Norms):
            y = torch.cat([step(batch) for batch in x.chunk(batches)])
        else:
            y = step(x)
        yield from _walk(inner, y, batches)


def _lay(candidates: tuple[Candidate, ...], *, apart: bool, most: int) -> _Fork:
    """Plan the rest of the candidates' leaves on a tensor that is the same for all, or holds theirs side by side."""
    kinds: dict[Hashable, list[Candidate]] = {}
    for candidate in candidates:
        kinds.setdefault(_next(candidate, apart=apart), []).append(candidate)
    if apart and len(kinds) > 1:
        parts = ((_Slice(number, len(candidates)), (candidate,)) for number, candidate in enumerate(candidates))
        return _Fork((), tuple((cut, _lay(own, apart=False, most=most)) for cut, own in parts))
    ends, branches = [], []
    for alike in kinds.values():
        rest = alike[0].leaves
        if len(rest) == 0 or (len(rest) == 1 and _is_norm(rest[0])):
            norms = tuple(leaf for candidate in alike for leaf in candidate.leaves if isinstance(leaf, nn.BatchNorm2d))
            ends.append(End(tuple(alike), apart, norms))
            continue
        convolves = _is_convolution(rest[0])
        grouped = isinstance(rest[0], nn.Conv2d) and rest[0].groups > 1
        size = max(1, most) if convolves and not apart and (grouped or not most) else len(alike)
        for start in range(0, len(alike), size):
            group = alike[start : start + size]
            later = tuple(candidate.rest() for candidate in group)
            together = (apart or convolves) and len(group) > 1
            branches.append((_step([c.leaves[0] for c in group], apart), _lay(later, apart=together, most=most)))
    return _Fork(tuple(ends), tuple(branches))


def _step(heads: list[nn.Module], apart: bool) -> Callable[[Tensor], Tensor]:
    """Return what runs leaves that are alike; it leaves its input as it is, which others read, too."""
    first = heads[0]
    if _is_convolution(first):
        return _Convolutions([head for head in heads if isinstance(head, nn.Conv2d)], apart=apart)
    if _is_norm(first):
        return _Norms([head for head in heads if isinstance(head, nn.BatchNorm2d)])
    if type(first) is nn.AvgPool2d and not _hooked(first):
        return _Average(first)
    return _Copied(first) if getattr(first, "inplace", False) else first


def _kind(leaf: nn.Module) -> Hashable:
    """Return what is equal for leaves that can be run together, None if that is not known of any."""
    if type(leaf) is nn.AvgPool2d:
        return repr(leaf), leaf.ceil_mode, leaf.count_include_pad, leaf.divisor_override
    if type(leaf) in (nn.ReLU, nn.MaxPool2d, EverySecond) or _is_convolution(leaf):
        return repr(leaf)
    return (repr(leaf), leaf.training) if _is_norm(leaf) else None


def _next(candidate: Candidate, *, apart: bool) -> Hashable:
    """Return what is equal for candidates that go on together."""
    if not candidate.leaves:
        return "end"
    leaf, kind, last = candidate.leaves[0], candidate.kinds[0], len(candidate.leaves) == 1
    if kind is None or _hooked(leaf):
        return candidate.place
    if _is_norm(leaf):
        # One that ends a chain joins the sum. Of one tensor, each of the others has statistics of its own to follow
        return (last, kind) if apart or last else candidate.place
    return kind


def knows(leaf: nn.Module) -> bool:
    """Return whether a leaf is run otherwise than by calling it."""
    return _is_norm(leaf) or _is_convolution(leaf)


def _is_norm(leaf: nn.Module) -> bool:
    return type(leaf) is nn.BatchNorm2d and leaf.momentum is not None and not _hooked(leaf)


def _is_convolution(leaf: nn.Module) -> bool:
    zeros = type(leaf) is nn.Conv2d and leaf.padding_mode == "zeros" and not isinstance(leaf.padding, str)
    return zeros and not _hooked(leaf)


class _Copied:
    """A leaf that writes into its input, on a copy of it."""

    def __init__(self, leaf: nn.Module) -> None:
        self.leaf = leaf

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = self.leaf(x.clone())
        return out


class _Slice:
    """One of the parts that lie side by side."""

    def __init__(self, number: int, parts: int) -> None:
        self.number, self.parts = number, parts

    def __call__(self, x: Tensor) -> Tensor:
        return x.chunk(self.parts, 1)[self.number]


class _Average:
    """Average pooling."""

    def __init__(self, pool: nn.Module) -> None:
        assert isinstance(pool, nn.AvgPool2d)
        self.pool = pool

    def __call__(self, x: Tensor) -> Tensor:
        return average(x, self.pool)


class _Convolutions:
    """Convolutions that are alike, as one: of the same tensor, or each of its part of it (`apart`)."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], *, apart: bool) -> None:
        self.all, self.apart = tuple(convolutions), apart

    def __call__(self, x: Tensor) -> Tensor:
        first, count = self.all[0], len(self.all)
        weight, bias, groups = first.weight, first.bias, first.groups
        if count > 1:
            weight = torch.cat([convolution.weight for convolution in self.all])
            bias = None if bias is None else torch.cat([c.bias for c in self.all if c.bias is not None])
            if not self.apart and groups > 1:
                x = x.repeat(1, count, 1, 1)
            groups *= count if self.apart or groups > 1 else 1
        assert not isinstance(first.padding, str)
        stride, padding, dilation = (pair(value) for value in (first.stride, first.padding, first.dilation))
        return convolve(x, weight, bias, stride, padding, dilation, groups)


class _Norms:
    """Batch norms in the middle of a chain, each of its part of the tensor."""

    def __init__(self, norms: Sequence[nn.BatchNorm2d]) -> None:
        self.all = tuple(norms)

    def __call__(self, x: Tensor) -> Tensor:
        count = len(self.all)
        every = tuple(range(count))
        term = Term(x, count, every, every, normal(self.all, x))
        return weighted_sums([term], x.new_ones(count), [None] * count, joined=True)[0]


def normal(norms: Sequence[nn.BatchNorm2d], z: Tensor, *, follow: bool = True) -> Normal:
    """Return what normalises a value, a row per batch norm; while training the running statistics `follow`, or not."""
    first = norms[0]
    scales, shifts, means, variances = (
        None if getattr(first, name) is None else tuple(getattr(norm, name) for norm in norms)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    running = None if means is None or variances is None else (means, variances)
    own = first.training or running is None
    if own and not follow:
        running = None
    elif first.training and running is not None:
        torch._foreach_add_([norm.get_buffer("num_batches_tracked") for norm in norms], 1)
    if own and z.numel() == z.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {z.shape}")
    assert first.momentum is not None
    return Normal(own, first.eps, first.momentum, running, scales, shifts)
