"""Monitors: what watches a search and says in words how it stands."""

from supernet.monitors.collapse import Verdict, judge

__all__ = ["Verdict", "judge"]
