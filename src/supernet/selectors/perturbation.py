"""Selection by perturbation: an operation is as strong as its absence hurts the trained supernet.

DARTS-PT (Wang, Cheng, Chen, Tang & Hsieh, ICLR 2021, arXiv 2108.04392):

    while an edge e is undecided, the next one in random order:
        o* = argmin over its candidates o of the accuracy of the supernet with the weight of o on e set to 0
        e runs o* alone; then the supernet is trained for a few epochs
    likewise every node that keeps fewer edges than it has: the edge without which the accuracy stays highest goes

The weight that a masked operation had is given to no other. Training in between is the method's own step, alpha
included, at a tenth of the search's learning rate and with fresh momentum. After the last decision nothing is left to
train for.

`criterion` "magnitude" is the paper's ablation (PT-Mag): the same progression, but the operation with the largest
weight stays.

Differences from released code, each deliberate. An accuracy is that of all images of the second half as they are, in
batches that are the same for every masking; released code draws random crops anew for each. The running statistics of
batch norm are left alone. Edges are judged once for a node, and go in that order (`edges` "independent"): released code
judges again before each removal, from the full set of edges, which on the same images gives the same accuracies. On
spaces that keep few edges `none` is no candidate, as everywhere in the space's architectures; in released code it can
be chosen and is then replaced by the first other operation. Completion the limits of a search, what would leave no
architecture within is no candidate, either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from supernet.data import Batch
from supernet.engine.optim import set_rate
from supernet.errors import at_least
from supernet.models.evaluate import Scorer, ValidationBatches
from supernet.models.fixed_edges import FixedEdges
from supernet.models.mix import detached
from supernet.selectors.base import Selector
from supernet.selectors.feasible import Completion
from supernet.selectors.perturbation_score import Criterion, PerturbationScore
from supernet.selectors.projection_schedule import Decision, projection_schedule
from supernet.spaces.genotype import Genotype

if TYPE_CHECKING:
    from supernet.methods.base import Method
    from supernet.models.cost.best import FeasibleSet


@dataclass(frozen=True)
class PerturbationConfig:
    """Settings of selection by perturbation."""

    criterion: Criterion = "accuracy"
    """what tells the strength of an operation: the accuracy or the loss without it, or its weight"""
    tune_epochs: int = 5
    """training passes between two decisions"""
    lr: float | None = None
    """learning rate of the weights in between; None is a tenth of the search's first one"""
    lr_schedule: Literal["constant", "cosine"] = "constant"
    """cosine lets it fall to 0.4 of itself over all passes"""
    alpha: Literal["train", "freeze"] = "train"
    """whether the method goes on learning alpha in between, or the weights alone"""
    edges: Literal["independent", "cumulative"] = "independent"
    """how the edges that a node does not keep go: as judged once, or judged anew without those that are gone"""
    norm: Literal["batch", "running"] = "batch"
    """statistics that batch norm takes while it is judged"""

    def __post_init__(self) -> None:
        at_least(0, tune_epochs=self.tune_epochs, lr=self.lr)


@dataclass(frozen=True)
class Outcome:
    """What was decided of an edge, or that it goes; `scores` by candidate, or by edge, where there was a choice."""

    kind: str
    edge: str  # "3<-1"
    chosen: str | None
    scores: Mapping[str, float]


class Perturbation(Selector):
    """Decides edge after edge, and trains the supernet in between."""

    Config = PerturbationConfig
    capturable = True  # what is decided stays for whole epochs
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
        self.moments = projection_schedule(self.space, seed)
        self.done = 0  # of the moments
        self.decisions: list[Outcome] = []
        self.score = Scorer(self.supernet, validation_batches, running=config.norm == "running")
        self.supernet.fixed_edges = FixedEdges.none(self.space)
        self.harm, self.within = PerturbationScore(config.criterion, method, self.score), Completion(feasible)
        method.optimizer.state.clear()

    @property
    def epochs(self) -> int:
        """Those between the first and the last decision."""
        return self.config.tune_epochs * (len(self.moments) - 1)

    # Training in between

    def begin_epoch(self, epoch: int) -> None:
        """Decide, if it is time, and set the learning rate."""
        if epoch % self.config.tune_epochs == 0:
            self._decide()
        set_rate(self.method.optimizer, self._rate(epoch))

    def _rate(self, epoch: int) -> float:
        search = self.method.budget.weights
        lr = search.lr / 10 if self.config.lr is None else self.config.lr
        if self.config.lr_schedule == "constant":
            return lr
        return replace(search, lr=lr, lr_min=0.4 * lr, schedule="cosine", warmup=0).rate(epoch, self.epochs)

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take a step of the method, or of the weights alone."""
        if self.config.alpha == "train":
            return self.method.step(batches)
        return self.method.weight_step(batches[next(iter(self.method.streams))], detached(self.method.mix()))

    def end_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Report how much is decided, and what was decided last."""
        count = sum(self._count(item) for item in self.moments[self.done - 1])
        last = [asdict(decision) for decision in self.decisions[-count:]]
        return {"decided": self.done, "decisions": len(self.moments), "last": last, "passes": self.score.passes}

    def genotype(self) -> Genotype:
        """Take the decisions that are left, and return the architecture that they make."""
        while self.done < len(self.moments):
            self._decide()
        rows = self._fixed.rows.items()
        return self.space.choose({kind: [row[0] if row else None for row in edges] for kind, edges in rows})

    def report(self) -> Mapping[str, Any]:
        """Tell all decisions, the passes over the images that were judged on, and the time that sharing has saved."""
        return {
            "criterion": self.config.criterion,
            "decisions": [asdict(decision) for decision in self.decisions],
            "passes": self.score.passes,
            "judged": self.score.images,
            "evaluation_seconds": round(self.score.spent, 1),
            "saved_seconds": round(self.score.saved, 1),
        }

    # FixedEdges

    def _decide(self) -> None:
        """Take the decisions of the next moment."""
        for item in self.moments[self.done]:
            for decision in self._node(item) if item.of_node else self._operation(item.kind, item.edges[0]):
                self.decisions.append(decision)
        self.done += 1

    def _count(self, item: Decision) -> int:
        """Return how many decisions there are to take: one of an operation, of a node as many as edges go."""
        return len(item.edges) - self.space.cells[item.kind].kept(item.edges) if item.of_node else 1

    def _take(self, kind: str, edge: int, columns: Sequence[int]) -> None:
        self.supernet.fixed_edges = self._fixed.fix(kind, edge, columns)
        self.within.take(self._fixed)

    def _operation(self, kind: str, edge: int) -> Iterator[Outcome]:
        cell = self.space.cells[kind]
        columns = self.space.candidates(cell)[edge]
        columns = [k for k in columns if self.within.allows(self._fixed.fix(kind, edge, [k]))]
        harm = self.harm.of_operations(kind, edge, columns, self._fixed) if len(columns) > 1 else {}
        best = max(columns, key=lambda k: harm.get(k, 0.0))  # the first of equals
        self._take(kind, edge, [best])
        ops = cell.edges[edge].ops
        scores = {ops[k]: self.harm.told(value) for k, value in harm.items()}
        yield Outcome(kind, str(cell.edges[edge]), ops[best], scores)

    def _node(self, item: Decision) -> Iterator[Outcome]:
        """Let edges of a node go until it has as many as an architecture keeps."""
        cell, left = self.space.cells[item.kind], list(item.edges)
        harm = self.harm.of_edges(item.kind, left, self._fixed)
        for _ in range(self._count(item)):
            if self.config.edges == "cumulative" and len(left) < len(item.edges):
                harm |= self.harm.of_edges(item.kind, left, self._fixed)
            going = [e for e in left if self.within.allows(self._fixed.fix(item.kind, e, []))]
            worst = min(reversed(going), key=harm.__getitem__)  # the last of equals
            scores = {str(cell.edges[e]): self.harm.told(harm[e]) for e in left}
            left.remove(worst)
            self._take(item.kind, worst, [])
            yield Outcome(item.kind, str(cell.edges[worst]), None, scores)

    @property
    def _fixed(self) -> FixedEdges:
        assert self.supernet.fixed_edges is not None  # from the start on
        return self.supernet.fixed_edges

    def state_dict(self) -> dict[str, Any]:
        """Add what is decided, and what it took."""
        own = {
            "decided": self._fixed.to_json(),
            "within": self.within.kept.to_json(),
            "done": self.done,
            "decisions": [asdict(decision) for decision in self.decisions],
            "score": [self.score.passes, self.score.images, self.score.spent, self.score.saved],
        }
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.supernet.fixed_edges = FixedEdges.from_json(state["decided"])
        self.within.kept = Genotype.from_json(state["within"])
        self.done = state["done"]
        self.decisions = [Outcome(**decision) for decision in state["decisions"]]
        self.score.passes, self.score.images, self.score.spent, self.score.saved = state["score"]
