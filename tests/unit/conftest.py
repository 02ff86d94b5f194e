"""Fixtures of several unit tests."""

from pathlib import Path

import pytest

from small_run import SmallRun


@pytest.fixture
def small_run(tmp_path: Path) -> SmallRun:
    """An empty results folder."""
    return SmallRun(tmp_path / "results")
