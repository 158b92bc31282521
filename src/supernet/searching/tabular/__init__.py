"""Searches that query a table of accuracies in place of training; their cost is the number of queries."""

from supernet.searching.tabular.comparison import SEARCHES, Comparison, TabularConfig, Trace, tabular
from supernet.searching.tabular.evolution import EvolutionConfig
from supernet.searching.tabular.nao import TabularNAOConfig

__all__ = ["SEARCHES", "Comparison", "EvolutionConfig", "TabularConfig", "TabularNAOConfig", "Trace", "tabular"]
