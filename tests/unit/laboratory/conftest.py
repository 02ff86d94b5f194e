"""One laboratory for all tests, healed and forgetful before each."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory_sky import TOKEN, write_small_sky

from laboratory import Laboratory


@pytest.fixture(scope="session")
def small_sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory") / "sky"
    write_small_sky(folder)
    return folder


@pytest.fixture(scope="session")
def running(small_sky: Path) -> Iterator[Laboratory]:
    with Laboratory(small_sky, tokens={"rubin": TOKEN, "kowalski": TOKEN}) as laboratory:
        yield laboratory


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Close what pyvo leaves open before another module is blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def laboratory(running: Laboratory) -> Laboratory:
    running.faults([])
    running.clear_log()
    return running
