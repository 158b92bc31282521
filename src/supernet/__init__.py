"""Neural architecture search by weight sharing that does not collapse.

import supernet as sn
run = sn.search("digits")
print(run.genotype, run.verdict)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from supernet.config import Protocol as Protocol
    from supernet.errors import UserError as UserError
    from supernet.genotype import Genotype as Genotype
    from supernet.methods.base import Method as Method
    from supernet.model import Supernet as Supernet
    from supernet.modules import batch_norm as batch_norm
    from supernet.network import build as build
    from supernet.primitives import Primitive as Primitive
    from supernet.run import Run as Run
    from supernet.searching import search as search
    from supernet.spaces import Cell as Cell
    from supernet.spaces import Edge as Edge
    from supernet.spaces import SearchSpace as SearchSpace
    from supernet.spaces import Skeleton as Skeleton
    from supernet.spaces import space as space
    from supernet.tables import load as table  # noqa: F401

# Public names and where they live; a name is imported when it is first used, so that a look-up needs no PyTorch.
_HOME = {
    "Cell": "spaces.Cell",
    "Edge": "spaces.Edge",
    "Genotype": "genotype.Genotype",
    "Method": "methods.base.Method",
    "Primitive": "primitives.Primitive",
    "Protocol": "config.Protocol",
    "Run": "run.Run",
    "SearchSpace": "spaces.SearchSpace",
    "Skeleton": "spaces.Skeleton",
    "Supernet": "model.Supernet",
    "UserError": "errors.UserError",
    "batch_norm": "modules.batch_norm",
    "build": "network.build",
    "search": "searching.search",
    "space": "spaces.space",
    "table": "tables.load",
}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'supernet' has no attribute '{name}'")
    module, _, attribute = _HOME[name].rpartition(".")
    value = getattr(import_module(f"supernet.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
