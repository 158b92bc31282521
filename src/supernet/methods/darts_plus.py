"""DARTS+: DARTS that stops before skip connections take over.

Liang et al., 2019, arXiv 1909.06035. First-order DARTS (see `differentiable.py`), which ends after the first epoch in
which either holds:

    (1) skips:    the normal cell of the derived architecture has two or more skip connections
    (2) ranking:  the ranking of the alphas of the operations with weights has been the same for 10 epochs

Neither the paper's text nor its code was available, only these two sentences. Chosen here, as they leave it open:

- After (1) the search goes back to the last epoch for which it did not hold, whose architecture has fewer skip
  connections. If there is none, it ends as it is.
- The derived architecture is that of the largest op scores, without the limits of the search. Skip connections are
  `skip_connect` and `identity`; those that every architecture has, since their edges have no other candidate and are
  always kept, do not count. A space without a cell called normal counts those of all its cells.
- The ranking orders the operations with weights of every edge, in all kinds of cell. It has been the same for n epochs
  when n epochs in a row have left every edge's order as the epoch before did.
- `earliest` is an addition: near the start alphas are random, and two skip connections may lead by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from supernet.errors import UserError
from supernet.methods.base import Budget
from supernet.methods.differentiable import Differentiable, DifferentiableConfig
from supernet.models.supernet import Supernet
from supernet.settings import Count, settings
from supernet.spaces.cell import Cell
from supernet.spaces.operations import SKIPS
from supernet.spaces.search_space import SearchSpace

BEFORE = "before"  # the snapshot of the last epoch with fewer skip connections

Ranking = dict[str, list[list[int]]]


@settings
class DARTSPlusConfig(DifferentiableConfig):
    """Settings of DARTS+."""

    criterion: Literal["both", "skips", "ranking"] = "both"
    """what ends the search: skip connections, an unchanged ranking of the operations with weights, or either"""
    skips: Count = 2
    """skip connections in the normal cell that end the search"""
    stable: Count = 10
    """epochs without a change of the ranking that end the search"""
    earliest: Count = 1
    """first epoch after which the search may end"""


class DARTSPlus(Differentiable):
    """Learns as `Differentiable` does, and ends by a criterion.

    Raises UserError for a criterion that can never hold in the space, and as `Differentiable` does.
    """

    Config = DARTSPlusConfig
    capturable = True
    config: DARTSPlusConfig

    def __init__(self, config: DARTSPlusConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        cells, space = supernet.space.cells, supernet.space
        self.kinds = space.main_kinds
        self.learned = {
            kind: [[k for k, op in enumerate(edge.ops) if space.primitive(op).learned] for edge in cell.edges]
            for kind, cell in cells.items()
        }
        self.open = {kind: _open_edges(space, cells[kind]) for kind in self.kinds}
        offered = {op for kind in self.kinds for e in self.open[kind] for op in cells[kind].edges[e].ops}
        possible = {
            "skips": not offered.isdisjoint(SKIPS),
            "ranking": any(len(columns) > 1 for edges in self.learned.values() for columns in edges),
        }
        self.criteria = [name for name in possible if possible[name] and config.criterion in ("both", name)]
        if not self.criteria:
            raise UserError(
                f"setting criterion {config.criterion} can never end a search in space '{space.name}': "
                "skips needs a skip connection that something can take the place of, and ranking an edge with two "
                "operations that have weights"
            )
        self.ranking: Ranking = {}
        self.unchanged = 0  # epochs in a row that have not changed the ranking
        self._finished = ""

    @property
    def finished(self) -> str:
        """Which criterion holds; empty while none does."""
        return self._finished

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas and both counts; end the search by a criterion, and after (1) go back."""
        skips, ranking, snapshots = self.skips(), self.ranked(), self.budget.snapshots
        self.unchanged = self.unchanged + 1 if ranking == self.ranking else 0
        self.ranking = ranking
        too_many = "skips" in self.criteria and skips >= self.config.skips
        if epoch + 1 >= self.config.earliest:
            self._finished = self._reason(skips, too_many=too_many)
        kept = BEFORE in snapshots.epochs
        if self._finished and kept:
            if too_many:
                snapshots.restore(BEFORE, "the last one with fewer")
            snapshots.drop(BEFORE)
        elif "skips" in self.criteria and not (self._finished or too_many):
            snapshots.keep(BEFORE)
        return {**super().end_epoch(epoch, valid_accuracy), "skips": skips, "unchanged": self.unchanged}

    def _reason(self, skips: int, *, too_many: bool) -> str:
        if too_many:
            cells = (
                "normal cell has" if "normal" in self.kinds else "cell has" if len(self.kinds) == 1 else "cells have"
            )
            always = any(len(self.open[kind]) < len(self.learned[kind]) for kind in self.kinds)
            return f"the {cells} {skips} skip connection{'s' if skips > 1 else ''}{' by choice' if always else ''}"
        if "ranking" in self.criteria and self.unchanged >= self.config.stable:
            return f"the operations with weights have kept their ranking for {self.unchanged} epochs"
        return ""

    def roll_back(self, state: Mapping[str, Any], epoch: int) -> None:
        """Go back, and remember why."""
        reason = self._finished
        super().roll_back(state, epoch)
        self._finished = reason

    def skips(self) -> int:
        """Return how many skip connections by choice the normal cell of the derived architecture has."""
        space = self.supernet.space
        columns = space.columns(space.derive(self.op_score_lists()))
        chosen = ((space.cells[kind].edges[e].ops, columns[kind][e]) for kind in self.kinds for e in self.open[kind])
        return sum(column is not None and ops[column] in SKIPS for ops, column in chosen)

    def ranked(self) -> Ranking:
        """Return the columns of the operations with weights, of the largest alpha first, for each edge."""
        alphas = self.alphas.row()["alphas"]
        return {
            kind: [sorted(columns, key=lambda k: -row[k]) for columns, row in zip(edges, alphas[kind], strict=True)]
            for kind, edges in self.learned.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Add the ranking, how long it has been the same, and which criterion holds."""
        own = {"ranking": self.ranking, "unchanged": self.unchanged, "finished": self._finished}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.ranking, self.unchanged, self._finished = state["ranking"], state["unchanged"], state["finished"]


def _open_edges(space: SearchSpace, cell: Cell) -> list[int]:
    """Return the edges that have several candidates, or that an architecture may leave out."""
    candidates = space.candidates(cell)
    nodes = [(group, cell.kept(group) < len(group)) for group in cell.groups()]
    return [e for group, chosen in nodes for e in group if chosen or len(candidates[e]) > 1]
