"""The TAP of the Rubin Science Platform: Data Preview 1."""

from pathlib import Path

from laboratory.exchange import Service
from laboratory.tap import TapService


def service(folder: Path) -> Service:
    """Return the service over ``dp1.Object``, ``dp1.ForcedSource`` and ``dp1.Visit``."""
    return TapService("rubin", folder).service()
