"""Search of a space of which a table knows every architecture: what counts is how many are asked for.

The room is not called after its function, `supernet.tabular`, so that this stays the function.
"""

from supernet.tabulated.comparison import METHODS, Comparison, TabularSettings, Trace, tabular
from supernet.tabulated.evolution import EvolutionSettings
from supernet.tabulated.nao import NAOSettings

__all__ = ["METHODS", "Comparison", "EvolutionSettings", "NAOSettings", "TabularSettings", "Trace", "tabular"]
