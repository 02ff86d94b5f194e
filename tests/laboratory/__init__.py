"""Local servers that speak the protocols of the archives for the embedded sky.

See docs/laboratory.md. Everything that a test needs is `Laboratory`.
"""

from laboratory.client import Laboratory

__all__ = ["Laboratory"]
