"""BatchedEvaluation: several architectures on one batch, computing once what is equal among them.

Sampling, perturbation and zero-order methods score tens of architectures, or of maskings of one mix, on the same batch.
What is equal is found by name: a tensor is called by how it was made, from the images on, and is made once for each
name. So the stem runs once; in the first cell an operation on the input runs once however many architectures have it;
and two architectures are one up to the first operation in which they differ. All operations that some architecture has
on a tensor run as one (see `fusion`), small tensors on which the same ones run lie in one batch, each with statistics
of its own, and the sums of all architectures into a node are one call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from supernet.models.fused import Term, weighted_sums
from supernet.models.fused.plan import Stage, knows, normal
from supernet.models.mix import EdgeMix
from supernet.models.mixed_cell import MixedCell
from supernet.spaces.modules import zeros
from supernet.spaces.size import last

_TOGETHER = {"cpu": 2**19, "cuda": 2**28}  # bytes in one batch: on a CPU what falls out of the cache gains nothing

Name = int
"""Of a tensor: equal names, equal tensors."""


@dataclass(frozen=True)
class _Part:
    """An operation's value on one tensor, one of those that lie side by side in `value`, and its batch norm."""

    value: Tensor
    count: int  # how many lie side by side
    slot: int
    norm: nn.BatchNorm2d | None


class BatchedEvaluation:
    """The tensors of several architectures, while their layers run one after the other; without gradients."""

    def __init__(self, x: Tensor, count: int, reach: int) -> None:
        self._reach = reach  # how many layers back a cell reads
        self._names: dict[Hashable, Name] = {}
        self._values: dict[Name, Tensor] = {}
        first = self._name(("images",))
        self._values[first] = x
        self.outputs: list[list[Name]] = [[first] * count]  # per layer, the name for each architecture

    def fixed(self, layer: nn.Module) -> None:
        """Run a layer that is not searched on the last output."""
        self.outputs.append(self._apply(layer, self.outputs[-1]))
        self._forget()

    def cell(self, cell: MixedCell, mixes: Sequence[EdgeMix]) -> None:
        """Run a searched cell, with the op weights of each architecture."""
        before = last(self.outputs[1:], cell.cell.inputs)
        chosen = [_weights(cell, mix) for mix in mixes]
        nodes = [self._apply(project, names) for project, names in zip(cell.inputs, before, strict=True)]
        parts: dict[tuple[Name, int], _Part] = {}
        for node in range(cell.cell.nodes):
            if node >= len(before):
                nodes.append(self._sums(cell, node, nodes, chosen, parts, before[-1]))
            parts |= self._read(cell, node, nodes[node], chosen)
        self.outputs.append(self._outputs(cell, nodes, [cell.ends(mix.active) for mix in mixes]))
        self._forget()

    def last(self) -> Tensor:
        """Return the last output of all architectures, (K, ...)."""
        return torch.stack([self._values[name] for name in self.outputs[-1]])

    def _outputs(self, cell: MixedCell, nodes: list[list[Name]], ends: Sequence[tuple[int, ...]]) -> list[Name]:
        """Return the names of a cell's outputs; `ends` has for each architecture the nodes that its own is made of."""
        for text, reduce in cell.shortened.items():
            node = int(text)
            users = [number for number, own in enumerate(ends) if node in own]
            shorter = self._apply(reduce, [nodes[node][number] for number in users])
            nodes[node] = [dict(zip(users, shorter, strict=True)).get(n, name) for n, name in enumerate(nodes[node])]
        joined = [tuple(nodes[end][number] for end in own) for number, own in enumerate(ends)]
        if cell.join is None:
            return [self._make(("join", *names), lambda n=names: self._join(n, 1)) for names in joined]  # type: ignore[misc]
        return [
            self._make((id(cell), own, names), lambda o=own, n=names: cell.join([self._values[name] for name in n], o))  # type: ignore[misc]
            for own, names in zip(ends, joined, strict=True)
        ]

    def _name(self, made: Hashable) -> Name:
        return self._names.setdefault(made, len(self._names))

    def _make(self, made: Hashable, make: Callable[[], Tensor]) -> Name:
        """Return the name of what is made so, and make it if it is not there."""
        name = self._name(made)
        if name not in self._values:
            self._values[name] = make()
        return name

    def _join(self, names: Sequence[Name], dim: int) -> Tensor:
        return torch.cat([self._values[name] for name in names], dim) if len(names) > 1 else self._values[names[0]]

    def _forget(self) -> None:
        """Let go of what no later layer reads."""
        kept = {name for names in self.outputs[-self._reach :] for name in names}
        self._values = {name: value for name, value in self._values.items() if name in kept}

    def _apply(self, layer: nn.Module, names: Sequence[Name]) -> list[Name]:
        """Run a module on tensors, each by itself if they must not share statistics, otherwise in few batches."""
        found = {name: self._name((id(layer), name)) for name in names}
        missing = [name for name, own in found.items() if own not in self._values]
        for group in self._batches(missing, apart=_mixes_images(layer)):
            out = layer(self._join(group, 0))
            for name, value in zip(group, out.chunk(len(group)), strict=True):
                self._values[found[name]] = value
        return [found[name] for name in names]

    def _batches(self, names: Sequence[Name], *, apart: bool) -> Iterator[Sequence[Name]]:
        if names:
            x = self._values[names[0]]
            size = 1 if apart else max(1, _TOGETHER.get(x.device.type, 2**28) // (x.numel() * x.element_size()))
            for start in range(0, len(names), size):
                yield names[start : start + size]

    def _read(
        self, cell: MixedCell, node: int, names: Sequence[Name], chosen: Sequence[Mapping[int, float]]
    ) -> dict[tuple[Name, int], _Part]:
        """Return the values of all operations that some architecture has on its tensor of this node."""
        leaving = {
            c.place: c
            for c in (cell.candidate(e, k) for e, k in cell.candidates(None) if cell.cell.edges[e].source == node)
        }
        wanted: dict[Name, set[int]] = {}
        for name, weights in zip(names, chosen, strict=True):
            wanted.setdefault(name, set()).update(weights.keys() & leaving.keys())
        alike: dict[frozenset[int], list[Name]] = {}
        for name, places in wanted.items():
            alike.setdefault(frozenset(places), []).append(name)
        found: dict[tuple[Name, int], _Part] = {}
        for used, group in alike.items():
            candidates = [leaving[place] for place in sorted(used)]
            apart = any(_mixes_images(leaf) for candidate in candidates for leaf in candidate.leaves if not knows(leaf))
            for batch in self._batches(group, apart=apart) if candidates else ():
                found |= self._run(cell.stage(node, used), batch)
        return found

    def _run(self, stage: Stage, names: Sequence[Name]) -> dict[tuple[Name, int], _Part]:
        found = {}
        for end, z in stage.values(self._join(names, 0), len(names)):
            for name, own in zip(names, z.chunk(len(names)), strict=True):
                for number, (candidate, slot) in enumerate(zip(end.candidates, end.slots, strict=True)):
                    found[name, candidate.place] = _Part(own, end.count, slot, end.norms[number] if end.norms else None)
        return found

    def _sums(
        self,
        cell: MixedCell,
        node: int,
        nodes: Sequence[Sequence[Name]],
        chosen: Sequence[Mapping[int, float]],
        parts: Mapping[tuple[Name, int], _Part],
        like: Sequence[Name],
    ) -> list[Name]:
        """Return each architecture's sum into a node, all that are new made in one call."""
        columns, edges = cell.cell.columns, cell.cell.edges
        recipes = []
        for number, weights in enumerate(chosen):
            own = [(place, w) for place, w in weights.items() if edges[place // columns].target == node]
            recipes.append(tuple((nodes[edges[place // columns].source][number], place, w) for place, w in own))
        names = [self._name((id(cell), node, recipe)) for recipe in recipes]
        new = {name: recipe for name, recipe in zip(names, recipes, strict=True) if name not in self._values}
        for name in [name for name, recipe in new.items() if not recipe]:  # nothing reaches it
            del new[name]
            self._values[name] = zeros(self._values[like[0]], cell.channels, cell.stride)
        if new:
            self._values |= zip(
                new, _weighted([[(parts[n, p], w) for n, p, w in r] for r in new.values()]), strict=True
            )
        return names


def _weighted(recipes: Sequence[Sequence[tuple[_Part, float]]]) -> list[Tensor]:
    """Return the weighted sum of each of the recipes' parts."""
    terms: dict[int, list[tuple[_Part, float, int]]] = {}
    for number, recipe in enumerate(recipes):
        for part, weight in recipe:
            terms.setdefault(id(part.value), []).append((part, weight, number))
    made, weights = [], []
    for uses in terms.values():
        value, norms = uses[0][0].value, [part.norm for part, _, _ in uses if part.norm is not None]
        slots = tuple(part.slot for part, _, _ in uses)
        known = normal(norms, value, follow=False) if norms else None
        made.append(Term(value, uses[0][0].count, tuple(number for _, _, number in uses), slots, known))
        weights += [weight for _, weight, _ in uses]
    z = made[0].value
    return weighted_sums(made, torch.tensor(weights, dtype=torch.float64, device=z.device), [None] * len(recipes))


def _weights(cell: MixedCell, mix: EdgeMix) -> dict[int, float]:
    """Return the op weights of the candidates that run and count, by their place."""
    columns, rows = cell.cell.columns, mix.weights.tolist()
    return {e * columns + k: rows[e][k] for e, k in cell.candidates(mix.active) if rows[e][k] != 0}


def _mixes_images(module: nn.Module) -> bool:
    """Return whether what a module makes of an image depends on the others of the batch."""
    return any(isinstance(m, _NormBase) and (m.training or m.running_mean is None) for m in module.modules())
