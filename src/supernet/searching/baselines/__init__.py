"""What needs no search: known networks, random architectures and the largest one, trained as a found network is."""

from supernet.searching.baselines.run import Asked, Baselines
from supernet.searching.baselines.training import start

__all__ = ["Asked", "Baselines", "start"]
