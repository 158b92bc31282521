"""`python -m supernet`: the command line."""

from supernet.cli import main

main()
