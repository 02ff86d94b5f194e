"""The Pythons of packages that do not resolve together with the project's: ``make others``."""

import os
import subprocess
import sys

import pytest

from project import REPOSITORY


def python_with(package: str, *modules: str) -> str:
    """Return a Python that has a package, or skip the test.

    Parameters
    ----------
    package : str
        Name of its file of pins in ``envs``. A Python in ``<PACKAGE>_PYTHON`` comes before that of
        its environment.
    *modules : str
        What can be imported there.
    """
    own = REPOSITORY / ".venv" / package / "bin" / "python"
    named = os.environ.get(f"{package.upper().replace('-', '_')}_PYTHON")
    python = named or str(own if own.exists() else sys.executable)
    look = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {modules!r})))"
    if subprocess.run([python, "-c", look], check=False).returncode:
        pytest.skip(f"{' and '.join(modules)} cannot be imported by {python}; run `make others`")
    return python
