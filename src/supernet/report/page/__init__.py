"""report.html: everything about a run or a comparison on one page, a file of its own that needs nothing else."""

from supernet.report.page.write import NAME, rendered, write, write_page

__all__ = ["NAME", "rendered", "write", "write_page"]
