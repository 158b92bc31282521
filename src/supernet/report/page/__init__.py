"""report.html: everything about a run on one page, a file of its own that needs nothing else."""

from supernet.report.page.write import NAME, write

__all__ = ["NAME", "write"]
