"""BatchedEvaluation: several mixes on one batch of images, with everything that they share computed once.

Sampling, perturbation and zero-order methods score tens of architectures, or of maskings of one mix, on the same
images. Every tensor has a name that encodes how it is computed, and is computed once per name. The stem therefore runs
once; in the first cell an operation on the input runs once however many architectures have it; and two architectures
share everything up to the first operation in which they differ. All operations that some architecture has on a tensor
run as one (see `fused`), small tensors with the same operations lie in one batch, each with statistics of its own, and
the sums of all architectures into a node are one call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from supernet.models.fused import Term, weighted_sums
from supernet.models.fused.plan import Stage
from supernet.models.fused.steps import is_replaced, normalisation
from supernet.models.mix import EdgeMix
from supernet.models.mixed_cell import MixedCell
from supernet.spaces.modules import zeros
from supernet.spaces.shapes import last

_BATCH = {"cpu": 2**19, "cuda": 2**28}  # bytes in one batch: on a CPU nothing is gained beyond the size of the cache

Name = int
"""Identifies a tensor by how it is computed: tensors of the same name are equal."""


@dataclass(frozen=True)
class _Part:
    """An operation's output on one tensor: one of `count` tensors side by side in `value`, before its batch norm."""

    value: Tensor
    count: int
    slot: int
    norm: nn.BatchNorm2d | None


class BatchedEvaluation:
    """The tensors of several architectures, while their layers run one after the other; without gradients.

    `x` are the images, (B, C, H, W), `count` is the number of architectures, and `reach` says how many layers back a
    cell reads.
    """

    def __init__(self, x: Tensor, count: int, reach: int) -> None:
        self._reach = reach
        self._names: dict[Hashable, Name] = {}
        self._values: dict[Name, Tensor] = {}
        images = self._name(("images",))
        self._values[images] = x
        self.outputs: list[list[Name]] = [[images] * count]  # for each layer, the name for each architecture

    def fixed(self, layer: nn.Module) -> None:
        """Run a layer that is not searched on the last output."""
        self.outputs.append(self._apply(layer, self.outputs[-1]))
        self._free()

    def cell(self, cell: MixedCell, mixes: Sequence[EdgeMix]) -> None:
        """Run a searched cell, with the op weights of each architecture."""
        cell.notice_replaced()
        before = last(self.outputs[1:], cell.cell.inputs)
        chosen = [_weights(cell, mix) for mix in mixes]
        nodes = [self._apply(project, names) for project, names in zip(cell.inputs, before, strict=True)]
        parts: dict[tuple[Name, int], _Part] = {}
        for node in range(cell.cell.nodes):
            if node >= len(before):
                nodes.append(self._sums(cell, node, nodes, chosen, parts, before[-1]))
            parts |= self._read(cell, node, nodes[node], chosen)
        self.outputs.append(self._cell_outputs(cell, nodes, [cell.ends(mix.active) for mix in mixes]))
        self._free()

    def last(self) -> Tensor:
        """Return the last output of all architectures, (K, ...)."""
        return torch.stack([self._values[name] for name in self.outputs[-1]])

    def _cell_outputs(self, cell: MixedCell, nodes: list[list[Name]], ends: Sequence[tuple[int, ...]]) -> list[Name]:
        """Return the name of each architecture's output of a cell; `ends` are the nodes that make up the output."""
        for text, reduce in cell.shortened.items():
            node = int(text)
            users = [number for number, some in enumerate(ends) if node in some]
            reduced = self._apply(reduce, [nodes[node][number] for number in users])
            nodes[node] = [dict(zip(users, reduced, strict=True)).get(n, name) for n, name in enumerate(nodes[node])]
        names = []
        for number, some in enumerate(ends):
            inputs = tuple(nodes[end][number] for end in some)
            recipe = ("join", *inputs) if cell.join is None else (id(cell), some, inputs)
            names.append(self._make(recipe, partial(self._cell_output, cell, some, inputs)))
        return names

    def _cell_output(self, cell: MixedCell, ends: Sequence[int], names: Sequence[Name]) -> Tensor:
        """Return a cell's output; `names` are the tensors of the nodes `ends`."""
        if cell.join is None:
            return self._join(names, 1)
        out: Tensor = cell.join([self._values[name] for name in names], ends)
        return out

    def _name(self, recipe: Hashable) -> Name:
        return self._names.setdefault(recipe, len(self._names))

    def _make(self, recipe: Hashable, compute: Callable[[], Tensor]) -> Name:
        """Return the name of the tensor with this recipe, computed first if it does not exist."""
        name = self._name(recipe)
        if name not in self._values:
            self._values[name] = compute()
        return name

    def _join(self, names: Sequence[Name], dim: int) -> Tensor:
        return torch.cat([self._values[name] for name in names], dim) if len(names) > 1 else self._values[names[0]]

    def _free(self) -> None:
        """Free the tensors that no later layer reads."""
        kept = {name for names in self.outputs[-self._reach :] for name in names}
        self._values = {name: value for name, value in self._values.items() if name in kept}

    def _apply(self, layer: nn.Module, names: Sequence[Name]) -> list[Name]:
        """Run a module on tensors: on each alone if they must not share batch statistics, otherwise in few batches."""
        results = {name: self._name((id(layer), name)) for name in names}
        missing = [name for name, result in results.items() if result not in self._values]
        for group in self._batches(missing, alone=_mixes_images(layer)):
            out = layer(self._join(group, 0))
            for name, value in zip(group, out.chunk(len(group)), strict=True):
                self._values[results[name]] = value
        return [results[name] for name in names]

    def _batches(self, names: Sequence[Name], *, alone: bool) -> Iterator[Sequence[Name]]:
        """Divide tensors of one shape into the batches in which they run; `alone`: each is a batch."""
        if names:
            x = self._values[names[0]]
            size = 1 if alone else max(1, _BATCH.get(x.device.type, 2**28) // max(1, x.nbytes))
            for start in range(0, len(names), size):
                yield names[start : start + size]

    def _read(
        self, cell: MixedCell, node: int, names: Sequence[Name], chosen: Sequence[Mapping[int, float]]
    ) -> dict[tuple[Name, int], _Part]:
        """Return the outputs of all operations that some architecture has on its tensor of this node.

        `names` and `chosen` hold the node's tensor and the op weights of each architecture.
        """
        readers = {
            c.index: c
            for c in (cell.candidate(e, k) for e, k in cell.candidates(None) if cell.cell.edges[e].source == node)
        }
        needed: dict[Name, set[int]] = {}
        for name, weights in zip(names, chosen, strict=True):
            needed.setdefault(name, set()).update(weights.keys() & readers.keys())
        groups: dict[frozenset[int], list[Name]] = {}
        for name, indices in needed.items():
            groups.setdefault(frozenset(indices), []).append(name)
        parts: dict[tuple[Name, int], _Part] = {}
        for used, group in groups.items():
            leaves = [leaf for index in used for leaf in readers[index].leaves]
            alone = any(_mixes_images(leaf) for leaf in leaves if not is_replaced(leaf))
            for batch in self._batches(group, alone=alone) if used else ():
                parts |= self._run(cell.stage(node, used), batch)
        return parts

    def _run(self, stage: Stage, names: Sequence[Name]) -> dict[tuple[Name, int], _Part]:
        """Return the outputs of a stage on each tensor, by the tensor's name and the candidate's index."""
        parts = {}
        for output, z in stage.outputs(self._join(names, 0), len(names)):
            for name, value in zip(names, z.chunk(len(names)), strict=True):
                for number, (candidate, slot) in enumerate(zip(output.candidates, output.slots, strict=True)):
                    norm = output.norms[number] if output.norms else None
                    parts[name, candidate.index] = _Part(value, output.count, slot, norm)
        return parts

    def _sums(
        self,
        cell: MixedCell,
        node: int,
        nodes: Sequence[Sequence[Name]],
        chosen: Sequence[Mapping[int, float]],
        parts: Mapping[tuple[Name, int], _Part],
        inputs: Sequence[Name],
    ) -> list[Name]:
        """Return each architecture's sum into a node; all new sums are computed in one call."""
        columns, edges = cell.cell.columns, cell.cell.edges
        recipes = []
        for number, weights in enumerate(chosen):
            some = [(index, w) for index, w in weights.items() if edges[index // columns].target == node]
            recipes.append(tuple((nodes[edges[index // columns].source][number], index, w) for index, w in some))
        names = [self._name((id(cell), node, recipe)) for recipe in recipes]
        new = {name: recipe for name, recipe in zip(names, recipes, strict=True) if name not in self._values}
        for name in [name for name, recipe in new.items() if not recipe]:  # no operation leads to the node
            del new[name]
            self._values[name] = zeros(self._values[inputs[0]], cell.channels, cell.stride)
        if new:
            sums = _weighted([[(parts[name, index], w) for name, index, w in recipe] for recipe in new.values()])
            self._values |= zip(new, sums, strict=True)
        return names


def _weighted(recipes: Sequence[Sequence[tuple[_Part, float]]]) -> list[Tensor]:
    """Return for each recipe the weighted sum of its parts."""
    uses: dict[int, list[tuple[_Part, float, int]]] = {}
    for number, recipe in enumerate(recipes):
        for part, weight in recipe:
            uses.setdefault(id(part.value), []).append((part, weight, number))
    terms, weights = [], []
    for some in uses.values():
        first, norms = some[0][0], [part.norm for part, _, _ in some if part.norm is not None]
        targets, slots = tuple(number for _, _, number in some), tuple(part.slot for part, _, _ in some)
        norm = normalisation(norms, first.value, update=False) if norms else None
        terms.append(Term(first.value, first.count, targets, slots, norm))
        weights += [weight for _, weight, _ in some]
    device = terms[0].value.device
    return weighted_sums(terms, torch.tensor(weights, dtype=torch.float64, device=device), [None] * len(recipes))


def _weights(cell: MixedCell, mix: EdgeMix) -> dict[int, float]:
    """Return the op weights that are not 0 of the candidates that run, by their indices in the flattened weights."""
    columns, rows = cell.cell.columns, mix.products.tolist()
    return {e * columns + k: rows[e][k] for e, k in cell.candidates(mix.active) if rows[e][k] != 0}


def _mixes_images(module: nn.Module) -> bool:
    """Return whether the module's output for an image depends on the other images of the batch."""
    return any(isinstance(m, _NormBase) and (m.training or m.running_mean is None) for m in module.modules())
