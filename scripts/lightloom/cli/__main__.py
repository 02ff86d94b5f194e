"""The same as the command ``lightloom``: ``python -m lightloom.cli``."""

from lightloom.cli import main

main()
