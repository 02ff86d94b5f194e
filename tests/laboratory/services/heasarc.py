"""HEASARC's TAP: event lists and X-ray detections; tables are named without schema."""

from pathlib import Path

from laboratory.exchange import Service
from laboratory.tap import Limits, TapService

#: HEASARC cuts a reply at 100,000 rows unless MAXREC asks for more.
LIMITS = Limits(output_default=100_000)


def service(folder: Path) -> Service:
    """Return the service over ``fermigtrig``, ``icecubepsc`` and the like."""
    return TapService("heasarc", folder, LIMITS).service()
