"""Monitors: what watches a search and says in words how it stands."""

from supernet.monitors.collapse import Verdict, judge
from supernet.monitors.gradients import GradientMonitor

__all__ = ["GradientMonitor", "Verdict", "judge"]
