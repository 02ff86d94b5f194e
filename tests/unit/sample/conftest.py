"""Every test runs in a folder of its own, so that messages show short paths."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _inside_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
