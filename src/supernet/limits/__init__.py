"""Limits: what the network that is searched for may cost, and the best architecture within."""

from supernet.limits.bounds import Bounds
from supernet.limits.expected import Expected
from supernet.limits.limits import Limits, count

__all__ = ["Bounds", "Expected", "Limits", "count"]
