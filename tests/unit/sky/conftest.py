"""A small embedded sky, built once."""

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from small_sky import build_small_sky


@pytest.fixture(scope="session")
def small_sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sky with all awkward places, five targets of a sample and few stars."""
    output = tmp_path_factory.mktemp("small") / "sky"
    build_small_sky(output)
    return output


@pytest.fixture
def lsdb() -> Iterator[ModuleType]:
    """LSDB, whose import and use warn of deprecations in pandas and nested-pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("lsdb")
