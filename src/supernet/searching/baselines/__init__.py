"""What needs no search: known networks, random architectures and the largest one, trained as a found network is."""

from supernet.searching.baselines.run import Asked, Baselines, start

__all__ = ["Asked", "Baselines", "start"]
