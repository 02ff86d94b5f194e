"""A small embedded sky, built once."""

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_sky import build_small_sky


@pytest.fixture(scope="session")
def small_sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sky with all awkward places, five targets of a sample and few stars."""
    output = tmp_path_factory.mktemp("small") / "sky"
    build_small_sky(output)
    return output


@pytest.fixture(scope="session")
def targets(small_sky: Path) -> pd.DataFrame:
    """The targets of the small sky after merging."""
    awkward = pd.read_csv(small_sky / "awkward.csv")
    sample = pd.read_csv(small_sky.with_name("sample.csv")).rename(columns={"name": "id"})
    # Of the merged pair the second comes first in the order of cells.
    return pd.concat([awkward, sample[sample["id"] != "first"]], ignore_index=True)


@pytest.fixture(scope="session")
def lightcurves(small_sky: Path) -> pd.DataFrame:
    """The true light curves of the small sky."""
    return pq.read_table(small_sky / "truth" / "lightcurves.parquet").to_pandas()


@pytest.fixture(scope="session")
def states(small_sky: Path) -> pd.DataFrame:
    """The true states of the small sky, by target and archive."""
    table = pq.read_table(small_sky / "truth" / "states.parquet").to_pandas()
    return table.set_index(["objectid", "archive"])


@pytest.fixture
def lsdb() -> Iterator[ModuleType]:
    """LSDB, whose import and use warn of deprecations in pandas and nested-pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("lsdb")
