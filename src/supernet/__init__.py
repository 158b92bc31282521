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
    from supernet.engine.callbacks import Callback as Callback
    from supernet.engine.optim import SGDConfig as SGDConfig
    from supernet.engine.run import Run as Run
    from supernet.errors import UserError as UserError
    from supernet.methods.base import Method as Method
    from supernet.models.network import build as build
    from supernet.models.supernet import Supernet as Supernet
    from supernet.report.runs import runs as runs
    from supernet.retraining.config import RetrainConfig as RetrainConfig
    from supernet.retraining.evaluate import evaluate as evaluate
    from supernet.retraining.export import export as export
    from supernet.retraining.load import load as load
    from supernet.retraining.predictor import Predictor as Predictor
    from supernet.retraining.recipes import Recipe as Recipe
    from supernet.retraining.train import retrain as retrain
    from supernet.searching.baselines.call import baseline as baseline
    from supernet.searching.baselines.table import Baselines as Baselines
    from supernet.searching.classifier import ImageClassifier as ImageClassifier
    from supernet.searching.compare.comparing import compare as compare
    from supernet.searching.compare.comparison import Comparison as Comparison
    from supernet.searching.config import Protocol as Protocol
    from supernet.searching.config import SearchConfig as SearchConfig
    from supernet.searching.forecast import forecast as forecast
    from supernet.searching.front import front as front
    from supernet.searching.search import search as search
    from supernet.searching.select import select as select
    from supernet.searching.studies.ranking import rank as rank
    from supernet.searching.tabular import tabular as tabular
    from supernet.selectors.base import Selector as Selector
    from supernet.spaces import Cell as Cell
    from supernet.spaces import Chain as Chain
    from supernet.spaces import Edge as Edge
    from supernet.spaces import NetworkSize as NetworkSize
    from supernet.spaces import Position as Position
    from supernet.spaces import SearchSpace as SearchSpace
    from supernet.spaces import Stack as Stack
    from supernet.spaces import Stages as Stages
    from supernet.spaces import space as space
    from supernet.spaces.genotype import Genotype as Genotype
    from supernet.spaces.modules import batch_norm as batch_norm
    from supernet.spaces.operations import Primitive as Primitive
    from supernet.spaces.tables import load as _load_table

    table = _load_table  # by another name, an import is none of a package's own for type checkers

# Public names and where they live; a name is imported when it is first used, so that a look-up needs no PyTorch.
_PLACES = {
    "Baselines": "searching.baselines.table.Baselines",
    "Callback": "engine.callbacks.Callback",
    "Cell": "spaces.Cell",
    "Chain": "spaces.Chain",
    "Comparison": "searching.compare.comparison.Comparison",
    "Edge": "spaces.Edge",
    "NetworkSize": "spaces.NetworkSize",
    "Genotype": "spaces.genotype.Genotype",
    "ImageClassifier": "searching.classifier.ImageClassifier",
    "Method": "methods.base.Method",
    "Position": "spaces.Position",
    "Predictor": "retraining.predictor.Predictor",
    "Primitive": "spaces.operations.Primitive",
    "Protocol": "searching.config.Protocol",
    "Recipe": "retraining.recipes.Recipe",
    "RetrainConfig": "retraining.config.RetrainConfig",
    "Run": "engine.run.Run",
    "SGDConfig": "engine.optim.SGDConfig",
    "SearchConfig": "searching.config.SearchConfig",
    "SearchSpace": "spaces.SearchSpace",
    "Selector": "selectors.base.Selector",
    "Stack": "spaces.Stack",
    "Stages": "spaces.Stages",
    "Supernet": "models.supernet.Supernet",
    "UserError": "errors.UserError",
    "baseline": "searching.baselines.call.baseline",
    "batch_norm": "spaces.modules.batch_norm",
    "build": "models.network.build",
    "compare": "searching.compare.comparing.compare",
    "evaluate": "retraining.evaluate.evaluate",
    "export": "retraining.export.export",
    "forecast": "searching.forecast.forecast",
    "front": "searching.front.front",
    "load": "retraining.load.load",
    "rank": "searching.studies.ranking.rank",
    "retrain": "retraining.train.retrain",
    "runs": "report.runs.runs",
    "search": "searching.search.search",
    "select": "searching.select.select",
    "space": "spaces.space",
    "table": "spaces.tables.load",
    "tabular": "searching.tabular.tabular",
}
__all__ = ["__version__", *sorted(_PLACES)]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'supernet' has no attribute '{name}'")
    module, _, attribute = _PLACES[name].rpartition(".")
    value = getattr(import_module(f"supernet.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
