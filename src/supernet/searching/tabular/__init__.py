"""Search of a space of which a table knows every architecture: what counts is how many are asked for.

The room is not called after its function, `supernet.tabular`, so that this stays the function.
"""

from supernet.searching.tabular.comparison import SEARCHES, Comparison, TabularConfig, Trace, tabular
from supernet.searching.tabular.evolution import EvolutionConfig
from supernet.searching.tabular.nao import TabularNAOConfig

__all__ = ["SEARCHES", "Comparison", "EvolutionConfig", "TabularConfig", "TabularNAOConfig", "Trace", "tabular"]
