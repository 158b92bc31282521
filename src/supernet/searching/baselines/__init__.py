"""What needs no search: known networks, random architectures and the largest one, trained as a found network is."""

from supernet.searching.baselines.call import OF_LIKE, SIZES, Start, Which, asked
from supernet.searching.baselines.page import write as write_page
from supernet.searching.baselines.training import opened, start

__all__ = ["OF_LIKE", "SIZES", "Start", "Which", "asked", "opened", "start", "write_page"]
