"""Plan: how all candidates that read one node run together, made once from the modules that they consist of.

A candidate is a chain of leaves: ReLU, convolution, batch norm, pooling, or a module of the user's. The chains of all
candidates that read a node form a tree, in which leaves of the same kind are merged:

- Leaves without weights run once for all candidates: one ReLU, one average pooling.
- Convolutions become one convolution. Their filters lie side by side if they read the same tensor, and in groups if
  their inputs lie side by side already, as for the second convolutions of separable ones.
- Batch norms in the middle of a chain normalise all tensors that lie side by side. A batch norm at the end of a chain
  is computed together with the op weight and the sum into the node (`weighted_sums`).
- Every other leaf runs by itself.

No primitive is recognised by its name: an operation of the user's is fused as far as it consists of such leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.models.fused.steps import Norms, has_hooks, is_convolution, is_norm, kind, mode, normalisation, step
from supernet.models.fused.terms import Term
from supernet.models.fused.weighted_sum import weighted_sums


@dataclass(frozen=True)
class Candidate:
    """A candidate operation of a cell.

    `index` is its index in the flattened op weights, `target` the node it is added to, `leaves` are its modules in
    order, and `kinds` say which leaves can be merged (see `kind`).
    """

    index: int
    target: int
    leaves: tuple[nn.Module, ...]
    kinds: tuple[Hashable, ...]

    @classmethod
    def of(cls, index: int, target: int, operation: nn.Module) -> Candidate:
        """Return the candidate with the leaves of `operation`."""
        leaves = _leaves(operation)
        return cls(index, target, leaves, tuple(kind(leaf) for leaf in leaves))

    def rest(self) -> Candidate:
        """Return the candidate without its first leaf."""
        return Candidate(self.index, self.target, self.leaves[1:], self.kinds[1:])


@dataclass(frozen=True)
class Output:
    """The place in a plan where a tensor is complete, except for its batch norm, and is added to the nodes.

    The tensor belongs to all `candidates`; if `side_by_side`, it holds the channels of each of them.
    """

    candidates: tuple[Candidate, ...]
    side_by_side: bool
    norms: tuple[nn.BatchNorm2d, ...]  # one per candidate, or none

    @property
    def count(self) -> int:
        """The number of tensors that lie side by side."""
        return len(self.candidates) if self.side_by_side else 1

    @property
    def slots(self) -> tuple[int, ...]:
        """For each candidate, the index of its tensor among those that lie side by side."""
        return tuple(range(len(self.candidates))) if self.side_by_side else (0,) * len(self.candidates)


@dataclass(frozen=True)
class _Tree:
    """The outputs that one tensor is, and the steps that read the tensor, each with the tree of its result."""

    outputs: tuple[Output, ...]
    branches: tuple[_Branch, ...]

    def all_outputs(self) -> Iterator[Output]:
        """Return the outputs in the order in which they are computed."""
        yield from self.outputs
        for _, tree in self.branches:
            yield from tree.all_outputs()

    def run(self, x: Tensor, batches: int) -> Iterator[tuple[Output, Tensor]]:
        """Return the outputs with their tensors for `x`, which holds `batches` batches with statistics of their own."""
        for output in self.outputs:
            yield output, x
        for run_step, tree in self.branches:
            if batches > 1 and isinstance(run_step, Norms):
                y = torch.cat([run_step(batch) for batch in x.chunk(batches)])
            else:
                y = run_step(x)
            yield from tree.run(y, batches)


_Branch = tuple[Callable[[Tensor], Tensor], _Tree]


@dataclass(frozen=True)
class Stage:
    """All candidates that read node `source`; `targets` are the nodes they are added to.

    `indices` are the candidates' indices in the flattened op weights, in the order in which the stage takes weights.
    """

    source: int
    tree: _Tree
    targets: tuple[int, ...]
    indices: tuple[int, ...]

    def __call__(self, x: Tensor, weights: Tensor, sums: Sequence[Tensor | None]) -> list[Tensor]:
        """Add the weighted outputs of the candidates on `x` to the `sums` of the targets, (B, C, H, W) or None each."""
        terms = []
        for output, z in self.outputs(x):
            targets = tuple(self.targets.index(candidate.target) for candidate in output.candidates)
            norm = normalisation(output.norms, z) if output.norms else None
            terms.append(Term(z, output.count, targets, output.slots, norm))
        return weighted_sums(terms, weights, sums)

    def outputs(self, x: Tensor, batches: int = 1) -> Iterator[tuple[Output, Tensor]]:
        """Return the outputs of the candidates on `x`, before their last batch norm; `x` may hold equal `batches`."""
        yield from self.tree.run(x, batches)


def plan_stage(source: int, candidates: Sequence[Candidate], most: int) -> Stage:
    """Plan the candidates that read node `source`, with at most `most` grouped convolutions merged into one.

    With 0, every convolution runs by itself, so that no two tensors lie side by side.
    """
    tree = _plan(tuple(candidates), side_by_side=False, most=most)
    ordered = [candidate for output in tree.all_outputs() for candidate in output.candidates]
    targets = tuple(dict.fromkeys(sorted(candidate.target for candidate in ordered)))
    return Stage(source, tree, targets, tuple(candidate.index for candidate in ordered))


def _leaves(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return the modules that `module` runs in sequence; the module itself if it has hooks or is no plain sequence."""
    if has_hooks(module):
        return (module,)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return tuple(leaf for inner in module for leaf in _leaves(inner))
    return () if type(module) is nn.Identity else (module,)


def _plan(candidates: tuple[Candidate, ...], *, side_by_side: bool, most: int) -> _Tree:
    """Plan the candidates' leaves on one tensor, which they share or which holds their tensors `side_by_side`."""
    groups: dict[Hashable, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(_group(candidate, side_by_side=side_by_side), []).append(candidate)
    if side_by_side and len(groups) > 1:
        parts = ((_Slice(number, len(candidates)), candidate) for number, candidate in enumerate(candidates))
        return _Tree((), tuple((part, _plan((one,), side_by_side=False, most=most)) for part, one in parts))
    outputs: list[Output] = []
    branches: list[_Branch] = []
    for group in groups.values():
        leaves = group[0].leaves
        if len(leaves) == 0 or (len(leaves) == 1 and is_norm(leaves[0])):
            norms = tuple(leaf for candidate in group for leaf in candidate.leaves if isinstance(leaf, nn.BatchNorm2d))
            outputs.append(Output(tuple(group), side_by_side, norms))
        else:
            branches += _branches(group, side_by_side=side_by_side, most=most)
    return _Tree(tuple(outputs), tuple(branches))


def _branches(group: Sequence[Candidate], *, side_by_side: bool, most: int) -> Iterator[_Branch]:
    """Plan candidates whose first leaves are of one kind: one step for them all, or several steps of fewer each."""
    first = group[0].leaves[0]
    convolves = is_convolution(first)
    grouped = isinstance(first, nn.Conv2d) and first.groups > 1
    size = max(1, most) if convolves and not side_by_side and (grouped or not most) else len(group)
    for start in range(0, len(group), size):
        some = group[start : start + size]
        rest = tuple(candidate.rest() for candidate in some)
        joined = (side_by_side or convolves) and len(some) > 1
        run_step = step([candidate.leaves[0] for candidate in some], side_by_side=side_by_side)
        yield run_step, _plan(rest, side_by_side=joined, most=most)


def _group(candidate: Candidate, *, side_by_side: bool) -> Hashable:
    """Return a value that is equal for candidates whose next leaves are merged."""
    if not candidate.leaves:
        return "end"
    leaf, leaf_kind, last = candidate.leaves[0], candidate.kinds[0], len(candidate.leaves) == 1
    if leaf_kind is None or has_hooks(leaf):
        return candidate.index
    if is_norm(leaf):
        # The last leaf is computed with the sum. Another one, of a shared tensor, updates statistics of its own
        return (last, leaf_kind, mode(leaf)) if side_by_side or last else candidate.index
    return leaf_kind


class _Slice:
    """Take one of the tensors that lie side by side."""

    def __init__(self, number: int, parts: int) -> None:
        self.number, self.parts = number, parts

    def __call__(self, x: Tensor) -> Tensor:
        return x.chunk(self.parts, 1)[self.number]
