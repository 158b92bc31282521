"""Search of a space of which a table knows every architecture: what counts is how many are asked for.

The room is not called after its function, `supernet.tabular`, so that this stays the function.
"""

from supernet.searching.tabular.comparison import METHODS, Comparison, TabularSettings, Trace, tabular
from supernet.searching.tabular.evolution import EvolutionSettings
from supernet.searching.tabular.nao import NAOSettings

__all__ = ["METHODS", "Comparison", "EvolutionSettings", "NAOSettings", "TabularSettings", "Trace", "tabular"]
