"""A real file of ZTF light curves, laid out as a catalogue and fetched by the workflow."""

import lsdb
import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from nested_pandas import NestedFrame

from project import REPOSITORY, Project

REAL = REPOSITORY.parent / "shared" / "real" / "ztf" / "ztf_000250_zg_c01_q1_dr5.parquet"
LISTS = ["hmjd", "mag", "magerr", "clrcoeff", "catflags"]

pytestmark = [
    pytest.mark.skipif(not REAL.exists(), reason=f"no real archive data beside this ({REAL.name})"),
    # Dask's own, when lsdb writes a catalogue without a client.
    pytest.mark.filterwarnings("ignore:.*inplace keyword"),
]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The light curves of every object in the file, found by its position."""
    root = tmp_path_factory.mktemp("real")
    objects = pq.read_table(REAL).to_pandas().drop(columns="__index_level_0__", errors="ignore")
    objects = objects.reset_index(drop=True).astype({"objra": float, "objdec": float})
    nested = NestedFrame.from_lists(
        objects,
        base_columns=[name for name in objects.columns if name not in LISTS],
        list_columns=LISTS,
        name="lightcurve",
    )
    catalog = lsdb.from_dataframe(nested, ra_column="objra", dec_column="objdec")
    catalog.write_catalog(root / "ztf_dr5_lc", catalog_name="ztf_dr5_lc")

    project = Project.create(root / "project")
    objects[["objectid", "objra", "objdec"]].to_csv(project.root / "objects.csv", index=False)
    source = {
        "kind": "table",
        "path": "objects.csv",
        "id": "objectid",
        "ra": "objra",
        "dec": "objdec",
    }
    enabled = {
        "ztf": {"endpoint": str(root / "ztf_dr5_lc"), "release": "DR5", "radius_arcsec": 0.05}
    }
    every = project.default_configuration()["archives"]
    disabled = {name: {"enabled": False} for name in every if name not in enabled}
    project.configure(
        {
            "sample": {"sources": [source], "merge_radius_arcsec": 0},
            "shards": {"max_targets": 3000},
            "archives": disabled | enabled,
        }
    )
    run = project.snakemake()
    assert run.returncode == 0, run.output
    rows = pads.dataset(project.path("lightcurves")).to_table().to_pandas()
    return rows[rows["objectid"] == rows["survey_object_id"]]


def test_every_epoch_of_every_object_is_found(fetched: pd.DataFrame) -> None:
    assert fetched["objectid"].nunique() == 5449
    assert len(fetched) == 106_588
    assert (fetched["quality"] < 2).sum() == 98_209


def test_one_object_has_the_numbers_computed_independently(fetched: pd.DataFrame) -> None:
    one = fetched[fetched["objectid"] == "250101100000002"].sort_values("time_mjd")
    usable = one[one["quality"] < 2]
    assert (len(one), len(usable)) == (96, 83)
    assert usable["native_value"].median() == pytest.approx(15.75186, abs=5e-6)
    # AB zero points of 23.9 (the product) and 16.4 (the reference) in mJy are the same.
    median_mjy = 10 ** (-0.4 * (usable["native_value"].median() - 16.4))
    assert median_mjy == pytest.approx(1.816587, rel=1e-6)
    assert usable["flux_mjy"].median() == pytest.approx(median_mjy, rel=1e-6)
    assert usable["flux_mjy"].iloc[0] == pytest.approx(1.873120, abs=1e-6)
    # The reference took half the difference of the fluxes at mag +- err: 4e-5 more at this error.
    assert usable["flux_err_mjy"].iloc[0] == pytest.approx(0.028928, rel=1e-4)
    assert set(one["survey_field"]) == {"250/0"}
    assert np.isfinite(one["time_mjd_tdb"]).all()
