"""The published methods by name: a class, and the settings that make it that method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supernet import registry

if TYPE_CHECKING:
    from supernet.methods.base import Method  # noqa: F401  in a string below; a list of methods needs no PyTorch

__all__ = ["METHODS", "Preset"]


@dataclass(frozen=True)
class Preset(registry.Preset["Method"]):
    """A published method, and the selector that reads its architecture unless another is asked for."""

    kind = "method"
    base = "supernet.methods.base:Method"

    selector: str = "magnitude"


_LIU = "Liu, Simonyan & Yang, ICLR 2019, arXiv 1806.09055"
_LI = "Li & Talwalkar, UAI 2019, arXiv 1902.07638"
_LUO = "Luo, Qin & Chen 2019, arXiv 1909.10815"

_ZELA = "Zela et al., ICLR 2020, arXiv 1909.09656"

_DIFFERENTIABLE = "supernet.methods.differentiable:Differentiable"
_DARTS = {
    "regime": "different_subset",
    "activation": "softmax",
    "alpha": {"optimizer": "adam", "lr": 3e-4, "weight_decay": 1e-3},
}

_SDARTS = "supernet.methods.sdarts:SDARTS"
_CHEN = "Chen & Hsieh, ICML 2020, arXiv 2002.05283"

_ZERO_ORDER = "supernet.methods.zarts.method:ZeroOrder"
_NAO = "supernet.methods.nao.method:NAO"
_ZARTS = "Wang et al., NeurIPS 2022, arXiv 2110.04743"

METHODS = registry.Registry(
    (
        Preset(
            "single-darts",
            _DIFFERENTIABLE,
            "weights and alpha learn from the same batch in one backward pass; sigmoid",
            "Hou, Jin & Chen 2021, arXiv 2108.08128",
        ),
        Preset(
            "darts",
            _DIFFERENTIABLE,
            "bi-level, first order: alpha learns from validation images; softmax",
            _LIU,
            _DARTS,
        ),
        Preset(
            "darts-2nd",
            _DIFFERENTIABLE,
            "bi-level, second order: alpha learns through one unrolled step of the weights",
            _LIU,
            _DARTS | {"order": 2},
        ),
        Preset(
            "r-darts-l2",
            "supernet.methods.robust:RobustL2",
            "darts-2nd with nine times the weight decay on the weights",
            _ZELA,
            _DARTS | {"order": 2, "decay_factor": 9.0},
        ),
        Preset(
            "r-darts-dp",
            "supernet.methods.robust:RobustDP",
            "darts-2nd with drop-path and cutout, both rising from epoch to epoch",
            _ZELA,
            _DARTS | {"order": 2, "drop_path": 0.2, "cutout_probability": 1.0},
        ),
        Preset(
            "r-darts-es",
            "supernet.methods.robust_es:RobustES",
            "darts-2nd that goes back and ends when the Hessian's largest eigenvalue has grown",
            _ZELA,
            _DARTS | {"order": 2},
        ),
        Preset(
            "r-darts-ada",
            "supernet.methods.robust_es:RobustADA",
            "darts-2nd that goes back and decays the weights more when the eigenvalue has grown",
            _ZELA,
            _DARTS | {"order": 2},
        ),
        Preset(
            "darts-plus",
            "supernet.methods.darts_plus:DARTSPlus",
            "DARTS, first order, that stops before skip connections take over",
            "Liang et al. 2019, arXiv 1909.06035",
            _DARTS,
        ),
        Preset(
            "darts-pt",
            _DIFFERENTIABLE,
            "DARTS, then each operation is chosen by how much its removal costs the supernet",
            "Wang et al., ICLR 2021, arXiv 2108.04392",
            _DARTS,
            selector="perturbation",
        ),
        Preset(
            "sdarts-rs",
            _SDARTS,
            "DARTS whose weights learn on randomly perturbed op weights",
            _CHEN,
        ),
        Preset(
            "sdarts-adv",
            _SDARTS,
            "the same, with the perturbation that raises the loss most",
            _CHEN,
            {"ascent": 7},
        ),
        Preset(
            "dropnas",
            "supernet.methods.dropnas:DropNAS",
            "single-level; each step leaves out some operations of every edge, drawn in two groups",
            "Hong et al., IJCAI 2020",
        ),
        Preset(
            "blank",
            "supernet.methods.blank:Blank",
            "no alpha: all operations have equal weights, and perturbation chooses",
            "Wang et al., ICLR 2021, arXiv 2108.04392, section on fixed alpha",
            selector="perturbation",
        ),
        Preset(
            "pc-darts",
            "supernet.methods.pc_darts:PCDARTS",
            "DARTS with a weight per edge, whose operations see a quarter of the channels",
            "Xu et al., ICLR 2020, arXiv 1907.05737",
            _DARTS | {"alpha": {"optimizer": "adam", "lr": 6e-4, "weight_decay": 1e-3}},
        ),
        Preset(
            "p-darts",
            "supernet.methods.p_darts:PDARTS",
            "DARTS in stages: ever deeper supernets, of ever fewer candidates",
            "Chen, Xie, Wu & Tian, ICCV 2019, arXiv 1904.12760",
            _DARTS | {"alpha": {"optimizer": "adam", "lr": 6e-4, "weight_decay": 1e-3}},
            selector="skip-limit",
        ),
        Preset(
            "cdarts",
            "supernet.methods.cdarts:CDARTS",
            "a search network and the network derived from it, which teach each other",
            "Yu et al., TPAMI 2022, arXiv 2006.10724",
        ),
        Preset(
            "darts-minus",
            "supernet.methods.darts_minus:DARTSMinus",
            "DARTS with an auxiliary skip connection on every edge, which fades away",
            "Chu et al., ICLR 2021, arXiv 2009.01027",
            _DARTS,
        ),
        Preset(
            "fairdarts",
            "supernet.methods.fairdarts:FairDARTS",
            "bi-level; sigmoid op weights that a loss drives to 0 or 1, and a threshold keeps edges",
            "Chu, Zhou, Zhang & Li, ECCV 2020, arXiv 1911.12126",
            selector="threshold",
        ),
        Preset(
            "zarts-mgs",
            _ZERO_ORDER,
            "alpha without a gradient through the weights: candidates compared by lookahead steps",
            _ZARTS,
        ),
        Preset(
            "zarts-rs",
            _ZERO_ORDER,
            "the same, with the gradient estimated from losses along random directions",
            _ZARTS,
            {"estimator": "rs"},
        ),
        Preset(
            "zarts-gld",
            _ZERO_ORDER,
            "the same, with the best of random steps of ever smaller length",
            _ZARTS,
            {"estimator": "gld", "base_loss": "with_inner"},
        ),
        Preset(
            "nao-v2",
            _NAO,
            "pools of architectures, a new supernet for each, and a controller that makes the next pool",
            _LUO,
        ),
        Preset(
            "nao-v2-small",
            _NAO,
            "the same for minutes on two CPU cores: 2 iterations, 36 architectures",
            _LUO,
            {
                "iterations": 2,
                "pool": 24,
                "new": 12,
                "final": 4,
                "final_epochs": 3,
                "controller": {"epochs": 300, "batch_size": 32, "top": 8},
                "standalone": {"dropout": 0.0, "drop_path": 0.0, "auxiliary": 0.0},
            },
        ),
        Preset(
            "enas",
            "supernet.methods.enas:ENAS",
            "one architecture per step, drawn by a controller that is rewarded with its accuracy",
            "Pham et al., ICML 2018, arXiv 1802.03268",
            selector="best-of-samples",
        ),
        Preset(
            "gdas",
            "supernet.methods.gdas:GDAS",
            "one operation per edge, drawn by Gumbel noise; alpha learns from validation images",
            "Dong & Yang, CVPR 2019, arXiv 1910.04465",
        ),
        Preset(
            "rsps",
            "supernet.methods.single_path:RSPS",
            "one random architecture per step with shared weights; the best of samples is kept",
            _LI,
            selector="best-of-samples",
        ),
        Preset(
            "setn",
            "supernet.methods.setn:SETN",
            "weights learn on random paths, alpha on all operations; the best of the likeliest is kept",
            "Dong & Yang, ICCV 2019, arXiv 1910.05733",
            selector="best-of-samples",
        ),
        Preset(
            "random",
            "supernet.methods.random_search:RandomSearch",
            "random architectures, each trained alone for a few epochs; the best is kept",
            _LI,
        ),
    )
)
