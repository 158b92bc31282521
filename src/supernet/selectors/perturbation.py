"""Selection by perturbation: an operation is as important as its removal hurts the trained supernet.

DARTS-PT (Wang, Cheng, Chen, Tang & Hsieh, ICLR 2021, arXiv 2108.04392):

    while an edge e is undecided, the next one in random order:
        o* = argmin over its candidates o of the accuracy of the supernet with the weight of o on e set to 0
        e runs o* alone; then the supernet is trained for a few epochs
    likewise every node that keeps fewer edges than it has: the edge without which the accuracy stays highest goes

The op weight of a masked operation is not given to the others. Training in between consists of the method's own steps,
alpha included, at a tenth of the search's learning rate and with fresh momentum. Nothing is trained after the last
decision.

`criterion` "magnitude" is the paper's ablation (PT-Mag): the same progression, but the operation with the largest op
score stays.

Deliberate differences from released code. Accuracies are measured on all validation images without augmentation, in the
same batches for every masking; released code draws new random crops for each. The running statistics of batch
normalisation do not change. Edges are scored once for each node and removed in that order (`edges` "independent");
released code scores again before each removal, from the full set of edges, which gives the same accuracies on the same
images. In spaces that keep few edges `none` is no candidate, as in all architectures of such spaces; released code can
choose it and then replaces it by the first other operation. A decision that would leave no architecture within the
limits of the search is no candidate either. Among equal accuracies, and only there, the loss decides; released code
takes the first of such operations, and removes the last of such edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import BEGUN, Within
from supernet.methods.base import Method
from supernet.models.cost.feasible import FeasibleSet
from supernet.models.evaluate import Scorer, Statistics, ValidationBatches, check_norm
from supernet.models.fixed_edges import FixedEdges
from supernet.selectors.base import Selector
from supernet.selectors.completion import Completion
from supernet.selectors.perturbation_score import Criterion, PerturbationScore
from supernet.selectors.projection_schedule import Decision, projection_schedule
from supernet.settings import Real, Whole, settings
from supernet.spaces.genotype import Genotype


@settings
class PerturbationConfig:
    """Settings of selection by perturbation."""

    criterion: Criterion = "accuracy"
    """score of an operation: accuracy (of equals, loss) or loss of the supernet without it, or op score (magnitude)"""
    tune_epochs: Whole = 5
    """epochs of training between two decisions"""
    lr: Real | None = None
    """learning rate of the training in between; None is a tenth of the search's first one"""
    lr_schedule: Literal["constant", "cosine"] = "constant"
    """cosine reduces it to 0.4 of itself over all epochs"""
    alpha: Literal["train", "freeze"] = "train"
    """whether alpha learns in between, too, or the weights alone"""
    edges: Literal["independent", "cumulative"] = "independent"
    """removal of a node's edges: in the order of one scoring, or with a new scoring after each removal"""
    norm: Statistics = "batch"
    """statistics of batch normalisation in the evaluation"""


@dataclass(frozen=True)
class Outcome:
    """What was decided about an edge: its operation, or None if it is removed; `scores` of the alternatives, if any."""

    kind: str
    edge: str  # "3<-1"
    chosen: str | None
    scores: Mapping[str, float]


class Perturbation(Selector):
    """Decides edge after edge by perturbation, and trains the supernet in between."""

    Config = PerturbationConfig
    capturable = True  # decisions are taken between epochs only
    config: PerturbationConfig

    def __init__(
        self,
        config: PerturbationConfig,
        method: Method,
        feasible: FeasibleSet,
        validation_batches: ValidationBatches,
        seed: int,
    ) -> None:
        super().__init__(config, method, feasible, validation_batches, seed)
        self.supernet, self.space = method.supernet, method.supernet.space
        self.schedule = projection_schedule(self.space, seed)
        self.done = 0  # steps of the schedule
        self.outcomes: list[Outcome] = []
        self.scorer = Scorer(self.supernet, validation_batches, config.norm)
        self.supernet.fixed_edges = FixedEdges.where_single(self.space)
        self.score, self.completion = PerturbationScore(config.criterion, method, self.scorer), Completion(feasible)
        method.begin_tuning()

    @staticmethod
    def check(config: PerturbationConfig, *, tracked: bool) -> None:
        """Raise UserError for statistics of batch norm that the search does not keep."""
        check_norm(config.norm, tracked=tracked)

    @property
    def epochs(self) -> int:
        """The epochs of training between the first and the last step of the schedule."""
        return self.config.tune_epochs * max(0, len(self.schedule) - 1)

    @property
    def remark(self) -> str:
        """That the supernet runs a single path, of whose operations alone the accuracy tells; empty if it runs more."""
        mix = self.method.mix() if self.config.criterion != "magnitude" else {}
        open_edges = [(d.kind, d.edges[0]) for step in self.schedule for d in step if not d.of_node]
        running = [len(active[edge]) for kind, edge in open_edges if kind in mix and (active := mix[kind].active)]
        if not running or len(running) < len(open_edges) or max(running) > 1:
            return ""
        return (
            "the supernet of this search runs one operation on an edge, so perturbation tells nothing of the others: "
            "select by best-of-samples"
        )

    def begin_epoch(self, epoch: int) -> None:
        """Take the next step of the schedule if it is due, and set the learning rate."""
        if epoch % self.config.tune_epochs == 0:
            self._decide()
        self.set_rates(epoch)

    def set_rates(self, epoch: int, within: Within = BEGUN) -> None:
        """Set the learning rate of the training between decisions."""
        self.method.set_rate(self._rate(epoch, within))

    def _rate(self, epoch: int, within: Within) -> float:
        sgd = self.method.budget.weights
        lr = sgd.lr / 10 if self.config.lr is None else self.config.lr
        if self.config.lr_schedule == "constant":
            return lr
        sgd = replace(sgd, lr=lr, lr_min=0.4 * lr, schedule="cosine", warmup=0, restart=0)
        return sgd.rate(epoch, self.epochs, within)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take a step of the method, or of the weights alone."""
        learn = self.method.step if self.config.alpha == "train" else self.method.train_weights
        return learn(batches)

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Report the progress of the schedule and the outcomes of its last step."""
        count = sum(self._count(decision) for decision in self.schedule[self.done - 1])
        last = [asdict(outcome) for outcome in self.outcomes[-count:]]
        return {"decided": self.done, "decisions": len(self.schedule), "last": last, "passes": self.scorer.passes}

    def genotype(self) -> Genotype:
        """Take the remaining decisions and return the architecture."""
        while self.done < len(self.schedule):
            self._decide()
        rows = self._fixed.rows.items()
        return self.space.choose({kind: [row[0] if row else None for row in edges] for kind, edges in rows})

    def report(self) -> Mapping[str, Any]:
        """Return all outcomes, the number of passes over the validation images, and the seconds that they took."""
        return {
            "criterion": self.config.criterion,
            "decisions": [asdict(outcome) for outcome in self.outcomes],
            "passes": self.scorer.passes,
            "validation_images": self.scorer.images,
            "evaluation_seconds": round(self.scorer.spent, 1),
        }

    def _decide(self) -> None:
        """Take the decisions of the next step of the schedule."""
        for decision in self.schedule[self.done]:
            decide = self._decide_node if decision.of_node else self._decide_operation
            self.outcomes += decide(decision)
        self.done += 1

    def _count(self, decision: Decision) -> int:
        """Return the number of outcomes of a decision: the number of edges that a node loses, or 1 operation."""
        kept = self.space.cells[decision.kind].kept(decision.edges)
        return len(decision.edges) - kept if decision.of_node else 1

    def _fix(self, kind: str, edge: int, columns: Sequence[int]) -> None:
        self.supernet.fixed_edges = self._fixed.fix(kind, edge, columns)
        self.completion.take(self._fixed)

    def _decide_operation(self, decision: Decision) -> Iterator[Outcome]:
        """Fix the best operation of an edge, the first among equals."""
        kind, (edge,) = decision.kind, decision.edges
        cell = self.space.cells[kind]
        columns = self.space.candidates(cell)[edge]
        columns = [k for k in columns if self.completion.allows(self._fixed.fix(kind, edge, [k]))]
        scores = self.score.of_operations(kind, edge, columns, self._fixed) if len(columns) > 1 else {}
        best = max(columns, key=lambda k: scores.get(k, ()))
        self._fix(kind, edge, [best])
        ops = cell.edges[edge].ops
        reported = {ops[k]: self.score.reported(score) for k, score in scores.items()}
        yield Outcome(kind, str(cell.edges[edge]), ops[best], reported)

    def _decide_node(self, decision: Decision) -> Iterator[Outcome]:
        """Remove the worst edge of a node, the last among equals, until it has as many as an architecture keeps."""
        kind, left = decision.kind, list(decision.edges)
        edges, scores = self.space.cells[kind].edges, self.score.of_edges(kind, left, self._fixed)
        for _ in range(self._count(decision)):
            if self.config.edges == "cumulative" and len(left) < len(decision.edges):
                scores |= self.score.of_edges(kind, left, self._fixed)
            removable = [e for e in left if self.completion.allows(self._fixed.fix(kind, e, []))]
            worst = min(reversed(removable), key=scores.__getitem__)
            reported = {str(edges[e]): self.score.reported(scores[e]) for e in left}
            left.remove(worst)
            self._fix(kind, worst, [])
            yield Outcome(kind, str(edges[worst]), None, reported)

    @property
    def _fixed(self) -> FixedEdges:
        assert self.supernet.fixed_edges is not None  # set by the constructor
        return self.supernet.fixed_edges

    def state_dict(self) -> dict[str, Any]:
        """Add the fixed edges, the outcomes and the counters."""
        return super().state_dict() | {
            "fixed_edges": self._fixed.to_json(),
            "completion": self.completion.genotype.to_json(),
            "done": self.done,
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "scorer": [self.scorer.passes, self.scorer.images, self.scorer.spent],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.supernet.fixed_edges = FixedEdges.from_json(state["fixed_edges"])
        self.completion.genotype = Genotype.from_json(state["completion"])
        self.done = state["done"]
        self.outcomes = [Outcome(**outcome) for outcome in state["outcomes"]]
        self.scorer.passes, self.scorer.images, self.scorer.spent = state["scorer"]
