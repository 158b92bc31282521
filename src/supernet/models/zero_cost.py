"""Zero-cost scores: what an untrained network says of its architecture. The larger the better.

    synflow     sum over the weights w of |w dR/dw|, R = the sum of the logits of an image of ones, with every parameter
                replaced by its absolute value and without batch norm; here its logarithm
    jacob_cov   -sum_i (log(v_i + k) + 1/(v_i + k)), v = eigenvalues of the correlation of the images' gradients of the
                sum of their logits, k = 1e-5
    naswot      log det K, K_ij = the number of ReLU units, bounded and leaky ones included, that are on for both images
                i and j, or off for both
    flops, params

Tanaka et al., NeurIPS 2020, arXiv 2006.05467 (synflow; for architectures Abdelfattah et al., ICLR 2021, arXiv
2101.08134); Mellor et al., ICML 2021, arXiv 2006.04647 (naswot; jacob_cov is of its first version).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from supernet.data import Batch
from supernet.engine.seeds import seeded
from supernet.errors import UserError
from supernet.models.cost.count import OperationCosts, check_batch_norm
from supernet.models.network import Network
from supernet.spaces import NetworkSize, SearchSpace
from supernet.spaces.genotype import Genotype

Score = Literal["params", "flops", "synflow", "jacob_cov", "naswot"]
_IMAGES, _K = 64, 1e-5
_LEAST = -1e30  # of a network whose score does not exist, as that of one without a path to the logits
_UNITS = {  # functions that make units, as modules, functions and tensors call them; some call another one of them
    *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    *(F.relu6, F.hardtanh, F.leaky_relu),  # nn.ReLU6 calls either of the first two
}


def scored_images(batches: Iterable[Batch]) -> Tensor:
    """Return the images (B, channels, H, W) that the scores look at: the first 64 of some batches."""
    parts = list[Tensor]()
    for batch in batches:
        parts.append(batch.x)
        if sum(map(len, parts)) >= _IMAGES:
            break
    return torch.cat(parts)[:_IMAGES]


def zero_cost(
    name: Score, space: SearchSpace, genotypes: Sequence[Genotype], size: NetworkSize, x: Tensor, seed: int
) -> list[float]:
    """Return a score of every architecture, from a network of a size with weights drawn from `seed`.

    `x` (B, channels, H, W) are the images that jacob_cov and naswot look at (see `scored_images`); the networks run
    where these are. Raises UserError for naswot if no network has ReLU units, and where batch norm has single values.
    """
    x = x.float()
    if name in ("params", "flops"):
        costs = OperationCosts(space, size)
        return [float(getattr(costs.total(genotype), name)) for genotype in genotypes]
    if name != "synflow" and len(x) == 1:
        check_batch_norm(OperationCosts(space, size).supernet, len(x))
    found = []
    for genotype in genotypes:
        with seeded(seed, x.device):
            found.append(_OF_A_NETWORK[name](Network(space, genotype, size).to(x.device), x))
    if name == "naswot" and found and all(map(math.isnan, found)):
        raise UserError(f"naswot looks at ReLU units, and networks of space '{space.name}' have none: take synflow")
    return [value if math.isfinite(value) else _LEAST for value in found]


def synflow(network: nn.Module, x: Tensor) -> float:
    """Return the logarithm of the synaptic flow through a network, which is changed; of `x` the shape counts."""
    network.double().eval()  # in training mode, batch norm would refuse one image of one pixel before it is bypassed
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    bypassed = [m.register_forward_hook(_first_input) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    flow = network(torch.ones_like(x[:1], dtype=torch.float64)).sum()
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    slopes = torch.autograd.grad(flow, weights, allow_unused=True)
    for hook in bypassed:
        hook.remove()
    total = sum(float((w.detach() * s).abs().sum()) for w, s in zip(weights, slopes, strict=True) if s is not None)
    return math.log(total) if total > 0 else -math.inf


def _first_input(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return inputs[0]


def jacob_cov(network: nn.Module, x: Tensor) -> float:
    """Return how different the gradients of images are, by the eigenvalues of their correlation."""
    x = x.detach().requires_grad_()
    (jacobian,) = torch.autograd.grad(network(x).sum(), x, materialize_grads=True)
    correlation = torch.corrcoef(jacobian.flatten(1).double()).view(len(x), len(x))  # of one image it is a scalar
    if not torch.isfinite(correlation).all():
        return -math.inf
    values = torch.linalg.eigvalsh(correlation).clamp(min=0) + _K
    return -float((values.log() + 1 / values).sum())


def naswot(network: nn.Module, x: Tensor) -> float:
    """Return how different the sets of units are that images turn on; NaN without units."""
    with torch.no_grad(), _Codes(len(x)) as codes:
        network(x)
    if not codes.kernel.any():
        return math.nan
    sign, logarithm = torch.linalg.slogdet(codes.kernel)
    return float(logarithm) if sign > 0 else -math.inf


class _Codes(TorchFunctionMode, AbstractContextManager["_Codes"]):
    """Sums up, over all ReLUs that run within, how many units agree in being on for each two of `count` images."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.kernel = torch.zeros(count, count, dtype=torch.float64)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if function in _UNITS:
            on = (out > 0).flatten(1).double()
            self.kernel += (on @ on.T + (1 - on) @ (1 - on).T).to(self.kernel)
        return out


_OF_A_NETWORK: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "naswot": naswot,
}
