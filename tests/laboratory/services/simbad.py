"""SIMBAD's TAP: objects, identifiers and references; tables are named without schema."""

from pathlib import Path

from laboratory.exchange import Service
from laboratory.tap import Limits, TapService

#: SIMBAD gives two million rows at most (as its capabilities say).
LIMITS = Limits(output_default=2_000_000, output_hard=2_000_000, upload_hard=200_000)


def service(folder: Path) -> Service:
    """Return the service over ``basic``, ``ident``, ``ref`` and ``has_ref``."""
    return TapService("simbad", folder, LIMITS).service()
