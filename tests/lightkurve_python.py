"""The Python that has lightkurve, which does not resolve together with the project's packages."""

import os
import sys

from project import REPOSITORY

_OWN = REPOSITORY / ".venv" / "lightkurve" / "bin" / "python"

#: Named by ``LIGHTKURVE_PYTHON``, or made by ``make lightkurve``; else this one.
PYTHON = os.environ.get("LIGHTKURVE_PYTHON") or str(_OWN if _OWN.exists() else sys.executable)
