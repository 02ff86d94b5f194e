"""The frame of the Fornax notebooks keeps their contract, as docs/reading.md writes it down."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightloom.read import read_lightcurves
from lightloom.read.fornax import fornax_band
from small_run import SmallRun
from written_results import write_results


@pytest.fixture
def results(small_run: SmallRun) -> Path:
    return write_results(small_run)


def test_index_columns_and_types(results: Path) -> None:
    frame = read_lightcurves(results, view="all").to_fornax()
    assert frame.index.names == ["objectid", "label", "band", "time"]
    assert list(frame.columns) == ["flux", "err"]
    levels = frame.index.to_frame(index=False)
    assert levels["objectid"].dtype == np.int64
    assert levels["time"].dtype == np.float64
    assert all(isinstance(value, str) for name in ("label", "band") for value in levels[name])
    assert (frame.dtypes == np.float64).all()
    assert frame.index.is_monotonic_increasing
    assert not levels["time"].isna().any()
    assert not frame["flux"].isna().any()


def test_values_are_those_of_the_table(results: Path) -> None:
    curves = read_lightcurves(results, view="all")
    frame = curves.to_fornax()
    numbers = dict(zip(*curves.targets.select(["objectid", "number"]).columns, strict=True))
    numbers = {key.as_py(): value.as_py() for key, value in numbers.items()}
    rows = curves.to_pandas()
    far = rows[(rows["objectid"] == "far") & (rows["archive"] == "ztf") & (rows["band"] == "g")]
    found = frame.loc[(numbers["far"], "CLAGN", "zg")]
    assert found.index.tolist() == far["time_mjd_tdb"].tolist()
    assert found["flux"].tolist() == far["flux_mjy"].tolist()
    assert found["err"].tolist() == far["flux_err_mjy"].tolist()
    # electron/s, as there is no flux density.
    tess = frame.loc[(numbers["far"], "CLAGN", "TESS")]
    assert tess["flux"].tolist() == [900.0, 901.0, 902.0, 904.0]
    # Several labels: the first. None: an empty one.
    assert set(frame.loc[numbers["NGC 1068"]].index.get_level_values("label")) == {"Seyfert"}
    # A neutrino: log10 of its energy in GeV, without error.
    event = frame.loc[(numbers["NGC 1068"], "Seyfert", "IceCube")]
    assert event[["flux", "err"]].to_numpy().tolist() == [[5.0, 0.0]]
    # No limits: a limit is no flux.
    assert "neowise_W1" not in frame.index.get_level_values("band")


def test_operations_of_the_notebooks_work(results: Path) -> None:
    """Steps of their plots and classifiers: group, sort, select, unstack, concatenate."""
    frame = read_lightcurves(results, view="all").to_fornax()
    for _, single in frame.groupby("objectid"):
        flat = single.sort_index().reset_index().dropna(subset=["time", "flux", "err"])
        groups = flat.groupby("band")
        assert (groups.flux.transform("size") > 0).all()
        assert groups.flux.max().index.isin(frame.index.unique("band")).all()
    without = frame[~frame.index.get_level_values("band").isin(["IceCube", "TESS"])]
    assert set(without.index.get_level_values("band")) == {"zg", "zr"}
    assert len(pd.concat([without, frame.loc[frame.index.difference(without.index)]])) == len(frame)


@pytest.mark.parametrize(
    ("archive", "band", "unit", "name"),
    [
        ("ztf", "r", "mJy", "zr"),
        ("gaia", "BP", "mJy", "BP"),
        ("panstarrs", "y", "mJy", "panstarrs y"),
        ("unwise", "W1", "mJy", "W1"),
        ("neowise", "W1", "mJy", "neowise_W1"),
        ("rubin", "g", "mJy", "rubin_g"),
        ("hcv", "ACS_F814W", "mJy", "F814W"),
        ("tess", "TESS", "electron/s", "TESS"),
        ("tess", "TESS", "relative", "TESS relative"),
        ("kepler", "Kepler_SAP", "electron/s", None),
        ("fermigbm", "GBM", "none", "FERMIGTRIG"),
        ("saxgrbm", "GRBM", "none", "SAXGRBMGRB"),
    ],
)
def test_bands_have_the_names_of_the_notebooks(
    archive: str, band: str, unit: str, name: str | None
) -> None:
    assert fornax_band(archive, band, unit) == name
