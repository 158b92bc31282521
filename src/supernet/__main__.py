"""`python -m supernet`: the command line."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, where Python would look for all modules first

from supernet.cli import main

main()
