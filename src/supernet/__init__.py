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
    from supernet.evaluation import evaluate as evaluate
    from supernet.exporting import export as export
    from supernet.forecasting import forecast as forecast
    from supernet.genotype import Genotype as Genotype
    from supernet.methods.base import Method as Method
    from supernet.model import Supernet as Supernet
    from supernet.modules import batch_norm as batch_norm
    from supernet.network import build as build
    from supernet.predictor import Predictor as Predictor
    from supernet.predictor import load as load
    from supernet.primitives import Primitive as Primitive
    from supernet.recipes import Recipe as Recipe
    from supernet.run import Run as Run
    from supernet.searching import search as search
    from supernet.selecting import select as select
    from supernet.selectors.base import Selector as Selector
    from supernet.spaces import Cell as Cell
    from supernet.spaces import Chain as Chain
    from supernet.spaces import Edge as Edge
    from supernet.spaces import Frame as Frame
    from supernet.spaces import Position as Position
    from supernet.spaces import SearchSpace as SearchSpace
    from supernet.spaces import Stack as Stack
    from supernet.spaces import Stages as Stages
    from supernet.spaces import space as space
    from supernet.studies.ranking import rank as rank
    from supernet.tables import load as table  # noqa: F401
    from supernet.tabulated import tabular as tabular
    from supernet.training import retrain as retrain

# Public names and where they live; a name is imported when it is first used, so that a look-up needs no PyTorch.
_HOME = {
    "Cell": "spaces.Cell",
    "Chain": "spaces.Chain",
    "Edge": "spaces.Edge",
    "Frame": "spaces.Frame",
    "Genotype": "genotype.Genotype",
    "Method": "methods.base.Method",
    "Position": "spaces.Position",
    "Predictor": "predictor.Predictor",
    "Primitive": "primitives.Primitive",
    "Protocol": "config.Protocol",
    "Recipe": "recipes.Recipe",
    "Run": "run.Run",
    "SearchSpace": "spaces.SearchSpace",
    "Selector": "selectors.base.Selector",
    "Stack": "spaces.Stack",
    "Stages": "spaces.Stages",
    "Supernet": "model.Supernet",
    "UserError": "errors.UserError",
    "batch_norm": "modules.batch_norm",
    "build": "network.build",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export",
    "forecast": "forecasting.forecast",
    "load": "predictor.load",
    "rank": "studies.ranking.rank",
    "retrain": "training.retrain",
    "search": "searching.search",
    "select": "selecting.select",
    "space": "spaces.space",
    "table": "tables.load",
    "tabular": "tabulated.tabular",
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
