"""P-DARTS: a search in stages, of ever deeper supernets with ever fewer candidates.

Chen, Xie, Wu & Tian, "Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and
Evaluation", ICCV 2019, arXiv 1904.12760.

    stage s:     a new supernet, deeper than the one before, with new alphas; DARTS, first order (`differentiable.py`)
    before s:    an edge keeps the candidates with the largest softmax(alpha), 5 in stage 2 and 3 in stage 3
    first epochs of a stage:  alpha does not learn
    dropout behind every skip connection, at a rate that is different in each stage and falls within it:
                 rate (L - 1 - e) / L     in epoch e of L, while alpha does not learn
                 rate exp(-5 (e - f) / L)   from epoch f on, in which alpha learns first
    at the end:  `none` is left out, and the normal cell has at most two skip connections (selector `skip-limit`)

A stage has 25 epochs in the paper, 10 of them without alpha: `warmup` is the share, and the falling rate is that of the
released code, exp(-0.2 (e - 10)), at this length. Its cells, 5, 11 and 17, are depths 1, 3 and 5 of DARTS' skeleton:
`deeper` counts from the depth of the search.

Deliberate differences from released code. The candidates are ranked by what they are: an edge never loses the last one
that an architecture may have there. Skip connections with a stride pass the dropout as well as identities. The limit on
skip connections is exact, where the released code removes one after the other and derives the cell again. Its gradient
of alpha is clipped at norm 5; here it is not.

Unverified: the dropout's rates (those of the paper; released code has 0 by default, and 0.1, 0.4, 0.7 in its command),
and the limit of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from supernet.engine.optim import BEGUN, Within
from supernet.engine.seeds import seed_of, seeded
from supernet.errors import UserError
from supernet.methods.alphas import LearnedAlphas
from supernet.methods.base import Budget
from supernet.methods.differentiable import DifferentiableConfig
from supernet.methods.equal_parts import position, share_of, start_of
from supernet.methods.warm_up import WarmUp
from supernet.models.mix import Mix
from supernet.models.side_paths import CellOptions
from supernet.models.supernet import Supernet
from supernet.settings import Count, Several, Share, Whole, settings
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.modules import Norm
from supernet.spaces.operations import SKIPS

Columns = dict[str, list[list[int]]]
"""The columns that each edge of a kind of cell keeps."""


@settings
class PDARTSConfig(DifferentiableConfig):
    """Settings of P-DARTS; lists have a value for each stage.

    Raises UserError for lists that do not fit each other.
    """

    deeper: Several[Whole] = (0, 2, 4)
    """cells more than the depth of the search says, in each stage"""
    candidates: Several[Count] = (5, 3)
    """most candidates of an edge, in each stage but the first"""
    dropout: Several[Share] = (0.0, 0.4, 0.7)
    """first rate of the dropout behind skip connections, in each stage"""
    warmup: Share = 0.4
    """share of a stage's epochs in which the weights learn alone"""

    def __post_init__(self) -> None:
        stages = len(self.deeper)
        if not stages or len(self.candidates) != stages - 1 or len(self.dropout) != stages:
            raise UserError(
                f"settings deeper, candidates and dropout are of stages: {stages} of deeper need {max(0, stages - 1)} "
                f"of candidates and {stages} of dropout, not {len(self.candidates)} and {len(self.dropout)}"
            )
        if list(self.candidates) != sorted(self.candidates, reverse=True):
            raise UserError(f"setting candidates cannot grow from stage to stage: {list(self.candidates)}")


class StageAlphas(LearnedAlphas):
    """Alphas of a stage; no architecture that is derived from those of the `last` one has `none`."""

    def __init__(self, space: SearchSpace, budget: Budget, like: Tensor, config: PDARTSConfig, *, last: bool) -> None:
        super().__init__(space, config.activation, config.sigmoid_init, budget, like, config.alpha)
        self.left_out = {kind: torch.zeros_like(mask) for kind, mask in self.masks.items()}
        for kind, cell in space.cells.items():
            for e, edge in enumerate(cell.edges):
                for k, op in enumerate(edge.ops):
                    self.left_out[kind][e, k] = last and space.primitive(op).zero

    def scored(self, mix: Mix) -> Mix:
        """Return `mix` with op weight 0 for what is left out."""
        out = self.left_out
        return {kind: replace(edges, weights=edges.weights.masked_fill(out[kind], 0)) for kind, edges in mix.items()}


class PDARTS(WarmUp):
    """Learns alphas by gradient in stages; alphas and mix are those of the stage, with fewer columns than the space.

    Raises UserError for fewer epochs than stages.
    """

    Config = PDARTSConfig
    capturable = True
    patient = False  # a stage has a choice of its own
    fixed_epochs = "its stages divide the epochs that it was begun with"
    config: PDARTSConfig
    alphas: StageAlphas
    number: int = 0  # of the stage

    @classmethod
    def new_supernet(cls, config: PDARTSConfig, space: SearchSpace, network_size: NetworkSize, norm: Norm) -> Supernet:
        """Return a supernet with dropout behind its skip connections."""
        return Supernet(space, network_size, norm, CellOptions(dropout=SKIPS))

    @classmethod
    def network_sizes(cls, config: PDARTSConfig, network_size: NetworkSize) -> Sequence[NetworkSize]:
        """Return the sizes of the stages' supernets."""
        return [replace(network_size, depth=network_size.depth + more) for more in config.deeper]

    def __init__(self, config: PDARTSConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        self.space = supernet.space  # of the search
        self.columns: Columns = {
            kind: [list(range(len(edge.ops))) for edge in cell.edges] for kind, cell in self.space.cells.items()
        }
        first = replace(supernet.network_size, depth=supernet.network_size.depth - config.deeper[0])
        self.sizes = self.network_sizes(config, first)
        if budget.epochs < self.stages:
            raise UserError(f"p-darts has {self.stages} stages, so it needs as many epochs, not {budget.epochs}")

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.config.deeper)

    @property
    def stage(self) -> str:
        """The stage, with its depth and its most candidates."""
        most = max(len(columns) for edges in self.columns.values() for columns in edges)
        cells = len(self.supernet.mixed_cells)
        return f"stage {self.number + 1} of {self.stages}: {cells} cells, at most {most} candidates on an edge"

    @property
    def forecast_epochs(self) -> Sequence[int]:
        """The last epoch of each stage."""
        return [start_of(number + 1, self.budget.epochs, self.stages) - 1 for number in range(self.stages)]

    def begin_epoch(self, epoch: int) -> None:
        """Enter the next stage if it is due; set learning rate and dropout, and whether alpha learns."""
        number, own, length = position(epoch, self.budget.epochs, self.stages)
        while self.number < number:
            self._narrow()
        self.set_rates(epoch)
        first = min(math.ceil(share_of(length, self.config.warmup)), length - 1)  # epoch in which alpha learns
        self.learns = own >= first
        falling = math.exp(-5 * (own - first) / length) if self.learns else (length - 1 - own) / length
        self.supernet.dropout = self.config.dropout[number] * falling

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:
        """Set the learning rate of the stage, whose schedule is its own."""
        _, own, length = position(epoch, self.budget.epochs, self.stages)
        self.set_rate(self.budget.weights.rate(own, length, within))

    def _narrow(self) -> None:
        """Enter the next stage, with the candidates that have the largest op weights.

        Of those that an architecture may have one stays, other than `none` if there is one.
        """
        most, rows = self.config.candidates[self.number], self.op_scores()
        here = self.supernet.space
        kept = {
            kind: [
                _largest(
                    row[: len(edge.ops)].tolist(),
                    most,
                    [k for k in allowed if not here.primitive(edge.ops[k]).zero] or allowed,
                )
                for edge, row, allowed in zip(cell.edges, rows[kind], here.candidates(cell), strict=True)
            ]
            for kind, cell in here.cells.items()
        }
        columns = {
            kind: [[old[k] for k in some] for old, some in zip(self.columns[kind], kept[kind], strict=True)]
            for kind in kept
        }
        self._enter(self.number + 1, columns)

    def _enter(self, number: int, columns: Columns) -> None:
        self.number, self.columns = number, columns
        with seeded(seed_of(self.budget.seed, f"stage {number}"), self.device):
            self.enter(self.space.narrowed(columns), self.sizes[number])

    def begin(self) -> StageAlphas:
        """Return the initial alphas of a stage."""
        last = self.number == self.stages - 1
        return StageAlphas(self.supernet.space, self.budget, self.weights[0], self.config, last=last)

    def op_scores(self) -> dict[str, Tensor]:
        """Return the op weights; in the last stage those of `none` are 0."""
        return {kind: edges.weights.detach() for kind, edges in self.alphas.scored(self.alphas.mix()).items()}

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas, which are the stage's, and the stage."""
        return {**super().end_epoch(epoch, valid_accuracy), "stage": self.stage, "dropout": self.supernet.dropout}

    def state_dict(self) -> dict[str, Any]:
        """Add the stage, and what the epoch has set."""
        own = {"number": self.number, "columns": self.columns, "dropout": self.supernet.dropout}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned, in its stage."""
        if (self.number, self.columns) != (state["number"], state["columns"]):
            self._enter(state["number"], state["columns"])
        super().load_state_dict(state)
        self.supernet.dropout = state["dropout"]


def _largest(row: Sequence[float], most: int, allowed: Sequence[int]) -> list[int]:
    """Return the columns with the largest values, at most `most`, the best of the `allowed` ones among them."""
    best = max(allowed, key=row.__getitem__)
    others = sorted((k for k in range(len(row)) if k != best), key=lambda k: -row[k])
    return sorted([best, *others[: most - 1]])
