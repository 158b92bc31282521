"""Searches that query a table of accuracies in place of training; their cost is the number of queries."""

from supernet.searching.tabular.evolution import EvolutionConfig
from supernet.searching.tabular.nao import TabularNAOConfig
from supernet.searching.tabular.traces import SEARCHES, TabularConfig, Trace, Traces, tabular

__all__ = ["SEARCHES", "EvolutionConfig", "TabularConfig", "TabularNAOConfig", "Trace", "Traces", "tabular"]
