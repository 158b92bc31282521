"""CDARTS: a search network and an evaluation network that teach each other.

Yu, Peng, Huang, Wu, Cai & Fu, "Cyclic Differentiable Architecture Search", TPAMI 2022, arXiv 2006.10724.

    S: the supernet, with weights w_S and p = softmax(alpha);   E: the network of the derived architecture, weights w_E
    pre-training:  S learns alone, as in every step below:   w_S <- w_S - eta dCE(S; B_train)/dw_S
    then, again and again:  derive E's architecture from alpha; E warms up on validation batches; and each step is

        L = [CE(S) + CE(E)] / a + a T^2 KL(softmax(z_E / T) || softmax(z_S / T)) + c mean |alpha of some operations|
        (w_E, alpha) <- (w_E, alpha) - (eta_E d/dw_E, eta_a d/dalpha) L(B_val);   then the step of w_S

    z: logits of the heads on a network's features and its own logits, summed with learned weights that add up to 1
    c: falls from 5 to 0 over the first half of the search; of `none` in NAS-Bench-201, of skips and pools in DARTS

With `deeper` above 0, E is deeper than S, as in the DARTS space; otherwise it is as in NAS-Bench-201.

Deliberate differences from released code. E's weights are kept in a second supernet, of which E is one path: an
operation has the same weights whenever it is derived again, which is the released pool of layers without copies. Each
network has its own stem, heads and shares; there one of each serves both. A head is a global average pooling and a
linear layer, before the layer that halves the image; there it has two convolutions more, and is behind that layer. All
stages share alpha and cells; there, in the DARTS space, each has its own by default. The shares are learned; there they
are by a flag. The released loop counts warm-up epochs as iterations, so that with its defaults nothing else runs; here
each iteration has both. It adds edge weights and copies of parameters between S and E in some scripts, which are not
here. It makes the optimizers anew in every iteration, and clips the gradients of alpha with those of E; here momentum
goes on, and E and the heads alone are clipped. KL is the mean over all elements, as there; `kl` sums over the classes.

Unverified: the paper's text was not available, only its released code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.data import Batch
from supernet.engine.optim import AlphaOptimizerConfig, clip_gradient, set_rate
from supernet.engine.processes import average_gradients, averaged
from supernet.engine.seeds import seed_of, seeded
from supernet.methods.base import Budget, Streams
from supernet.methods.ensemble import Ensemble
from supernet.methods.equal_parts import position, share_of
from supernet.methods.gradient_method import GradientMethod
from supernet.models.evaluate import measures
from supernet.models.mix import Mix
from supernet.models.supernet import Supernet
from supernet.settings import Count, Positive, Real, Share, Whole, settings
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.genotype import Genotype


@settings
class CDARTSConfig:
    """Settings of CDARTS."""

    pretrain: Share = 0.2
    """share of the epochs in which the search network learns alone at first"""
    iterations: Count = 5
    """times that the evaluation network is derived; in a short search once an epoch"""
    warmup: Share = 0.2
    """share of each iteration's epochs in which the evaluation network learns alone"""
    deeper: Whole = 0
    """cells that the evaluation network has more than the depth of the search says"""
    evaluation_rate: Positive = 2.0
    """times the learning rate of the weights, for those of the evaluation network"""
    balance: Positive = 1.0
    """a, which weighs the distillation against the cross-entropies"""
    temperature: Positive = 2.0
    """T of the distillation"""
    kl: Literal["elements", "images"] = "elements"
    """whether the divergence is a mean over images and classes, or over images"""
    penalty: Real = 5.0
    """first weight of the penalty on alpha"""
    penalised: Literal["auto", "none", "unlearned"] = "auto"
    """operations with the penalty: none, or those without weights; auto is none where it may be chosen"""
    alpha: AlphaOptimizerConfig = AlphaOptimizerConfig("adam", lr=6e-4, weight_decay=1e-3)


class CDARTS(GradientMethod):
    """Learns the weights of both networks and the alphas between them."""

    Config = CDARTSConfig
    fixed_epochs = "its iterations divide the epochs that it was begun with"
    patient = False  # in the warm-up of every iteration alpha stays as it is
    config: CDARTSConfig
    phase: Literal["pretrain", "warmup", "search"] = "pretrain"
    coefficient: float = 0.0  # of the penalty

    @classmethod
    def network_sizes(cls, config: CDARTSConfig, network_size: NetworkSize) -> Sequence[NetworkSize]:
        """Return the sizes of the search network and the evaluation network."""
        return [network_size, replace(network_size, depth=network_size.depth + config.deeper)]

    def __init__(self, config: CDARTSConfig, supernet: Supernet, budget: Budget) -> None:
        super().__init__(config, supernet, budget)
        space, sizes = supernet.space, self.network_sizes(config, supernet.network_size)
        assert budget.new_supernet is not None
        with seeded(seed_of(budget.seed, "evaluation network"), self.device):
            self.evaluation = budget.new_supernet(space, sizes[1])
            self.ensembles = nn.ModuleList(Ensemble(space, size) for size in sizes)
        self.ensembles.to(self.device, self.weights[0].dtype)
        taught = (*self.evaluation.parameters(), *self.ensembles.parameters())
        self.taught = [parameter for parameter in taught if parameter.requires_grad]  # an operation may have fixed ones
        self.evaluation_optimizer = budget.weights.optimizer(self.taught)
        self.masks = {kind: mask.to(self.device) for kind, mask in _penalised(space, config.penalised).items()}
        self._derive()

    @property
    def supernets(self) -> Sequence[Supernet]:
        """The search network and the evaluation network."""
        return (self.supernet, self.evaluation)

    @property
    def streams(self) -> Streams:
        """A stream for the search network, and one for the evaluation network and alpha."""
        return {"weights": "train", "alpha": "validation"}

    def mix(self) -> Mix:
        """Return the op weights of the current alphas, with gradient."""
        return self.alphas.mix()

    def _derive(self) -> None:
        self._evaluate(self.supernet.space.derive(self.op_score_lists()))

    def _evaluate(self, genotype: Genotype) -> None:
        """Let the evaluation network be that of the architecture."""
        self.genotype, self.path = genotype, self.evaluation.only(genotype)

    def begin_epoch(self, epoch: int) -> None:
        """Set learning rates, the phase and the penalty; derive the evaluation network anew if an iteration begins."""
        super().begin_epoch(epoch)
        epochs, first = self.budget.epochs, int(share_of(self.budget.epochs, self.config.pretrain))
        if epoch < first:
            self.phase = "pretrain"
            return
        own, length = epoch - first, epochs - first
        _, done, epochs_each = position(own, length, min(self.config.iterations, length))
        if not done:
            self._derive()
        self.phase = "warmup" if done < int(share_of(epochs_each, self.config.warmup)) else "search"
        self.coefficient = self.config.penalty * max(0.0, 1 - 2 * own / length)

    @property
    def warms_up(self) -> bool:
        """Whether there are epochs that train one of the networks alone."""
        return max(self.config.pretrain, self.config.warmup) > 0

    def set_rate(self, rate: float) -> None:
        """Set the learning rates of both networks."""
        super().set_rate(rate)
        set_rate(self.evaluation_optimizer, self.config.evaluation_rate * rate)

    def begin_tuning(self) -> None:
        """Let both networks learn, whatever the epoch that the search was in."""
        super().begin_tuning()
        self.evaluation_optimizer.state.clear()
        self.phase = "search"

    def step(self, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """Take a step of the evaluation network and alpha, and one of the search network, as the phase has them."""
        if self.phase == "warmup":
            return self._warm_up(batches["alpha"])
        if self.phase == "search":
            self._teach(batches["alpha"])
        return self.train_weights(batches)

    def _warm_up(self, batch: Batch) -> Mapping[str, Tensor]:
        logits = self.evaluation(batch.x, self.path)
        loss = self.loss(logits, batch.y)
        self._taught_step(torch.autograd.grad(loss, self.taught, allow_unused=True))
        return measures(loss, logits, batch)

    def _teach(self, batch: Batch) -> None:
        count, loss = len(self.taught), self.joint_loss(batch)
        gradients = torch.autograd.grad(loss, [*self.taught, *self.alphas.parameters], allow_unused=True)
        self._taught_step(gradients[:count])
        zeros = map(torch.zeros_like, self.alphas.parameters)
        pairs = zip(zeros, gradients[count:], strict=True)
        self.alphas.step(averaged([zero if part is None else part for zero, part in pairs]))

    def _taught_step(self, gradients: Sequence[Tensor | None]) -> None:
        """Take a step of the evaluation network and of all heads; what has no gradient stays as it is."""
        for parameter, gradient in zip(self.taught, gradients, strict=True):
            parameter.grad = gradient
        average_gradients(lambda: self.taught)
        clip_gradient(self.taught, self.budget.weights.clip)
        self.evaluation_optimizer.step()

    def joint_loss(self, batch: Batch) -> Tensor:
        """Return L on a batch of validation images: see the head of this file."""
        z_s, logits_s = self._read(0, self.supernet.outputs(batch.x, self.mix()))
        z_e, logits_e = self._read(1, self.evaluation.outputs(batch.x, self.path))
        a, t = self.config.balance, self.config.temperature
        divergence = F.kl_div((z_s / t).log_softmax(1), (z_e / t).softmax(1), reduction="sum")
        divergence = divergence / (z_s.numel() if self.config.kl == "elements" else len(z_s))
        crossed = self.loss(logits_s, batch.y) + self.loss(logits_e, batch.y)
        return crossed / a + a * t**2 * divergence + self.coefficient * self._penalty()

    def _read(self, number: int, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the ensemble's logits of a network, and its own."""
        ensembled: Tensor = self.ensembles[number](outputs)
        return ensembled, outputs[-1]

    def _penalty(self) -> Tensor:
        """Return the mean of |alpha| over the penalised operations of all kinds of cell; 0 if there are none."""
        values = torch.cat([alpha[self.masks[kind]] for kind, alpha in self.alphas.items()])
        return values.abs().sum() / max(1, values.numel())

    def end_epoch(self, epoch: int, valid_accuracy: float) -> Mapping[str, Any]:
        """Report the alphas, the phase, and the architecture of the evaluation network."""
        own = {"phase": self.phase, "evaluation": str(self.genotype)}
        return {**super().end_epoch(epoch, valid_accuracy), **own}

    def state_dict(self) -> dict[str, Any]:
        """Add the evaluation network with its architecture, the heads, their optimizer, and what the epoch has set."""
        return super().state_dict() | {
            "evaluation": self.evaluation.state_dict(),
            "ensembles": self.ensembles.state_dict(),
            "evaluation_optimizer": self.evaluation_optimizer.state_dict(),
            "genotype": self.genotype.to_json(),
            "phase": self.phase,
            "coefficient": self.coefficient,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.evaluation.load_state_dict(state["evaluation"])
        self.ensembles.load_state_dict(state["ensembles"])
        self.evaluation_optimizer.load_state_dict(state["evaluation_optimizer"])
        self._evaluate(Genotype.from_json(state["genotype"]))
        self.phase, self.coefficient = state["phase"], state["coefficient"]


def _penalised(space: SearchSpace, which: str) -> dict[str, Tensor]:
    """Return booleans (edges, columns) for each kind of cell: True for the operations with the penalty."""
    if which == "auto":
        may_be_none = any(
            space.primitive(edge.ops[k]).zero
            for cell in space.cells.values()
            for edge, columns in zip(cell.edges, space.candidates(cell), strict=True)
            for k in columns
        )
        which = "none" if may_be_none else "unlearned"

    def has(op: str) -> bool:
        primitive = space.primitive(op)
        return primitive.zero if which == "none" else not (primitive.zero or primitive.learned)

    return {
        kind: torch.tensor(
            [[k < len(edge.ops) and has(edge.ops[k]) for k in range(cell.columns)] for edge in cell.edges]
        )
        for kind, cell in space.cells.items()
    }
