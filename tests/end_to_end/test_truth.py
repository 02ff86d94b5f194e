"""The main job's result equals the truth of the embedded sky: every row, every state."""

import copy
from collections import Counter
from pathlib import Path

import lsdb
import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from project import Project

pytestmark = pytest.mark.timeout(900)

RELATIVE = 1e-9
#: Of a float64 MJD; the truth and the product round in different places.
TIME_DAYS = 5e-11
ROW_ORDER = ["objectid", "archive", "band", "survey_object_id", "time_mjd", "native_value"]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory, configuration: dict, sky: Path) -> Project:
    """A run of all archives on the real sample and the awkward places together."""
    archives = {
        "gaia": {"endpoint": str(sky / "gaia_dr3_epoch_phot")},
        "neowise": {
            "endpoint": f"{sky}/neowiser/healpix_k5/{{subset}}/"
            "neowiser-healpix_k5-{subset}.parquet"
        },
        "panstarrs": {
            "endpoint": str(sky / "panstarrs/otmo"),
            "detections": {"endpoint": str(sky / "panstarrs/detection")},
        },
    }
    archives = copy.deepcopy(configuration["archives"]) | {
        name: options | {"enabled": True} for name, options in archives.items()
    }
    for options in archives.values():
        # Two jobs at a time on two cores.
        options["limits"] = {"retries": 0, "threads": 1}
    project = Project.create(tmp_path_factory.mktemp("everywhere") / "project")
    awkward = {
        "kind": "table",
        "path": str(sky / "awkward.csv"),
        "id": "id",
        "ra": "ra",
        "dec": "dec",
        "label_column": "label",
    }
    yang = {
        "kind": "table",
        "path": "config/samples/yang2018.csv",
        "id": "name",
        "ra": "ra",
        "dec": "dec",
        "label": "Yang 2018",
    }
    project.configure(
        configuration
        | {
            "archives": archives,
            "sample": {"sources": [yang, awkward]},
            "shards": {"max_targets": 60},
        }
    )
    run = project.snakemake()
    assert run.returncode == 0, run.output
    return project


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(ROW_ORDER, ignore_index=True)


def test_every_row_equals_the_truth(everywhere: Project, sky: Path) -> None:
    found = rows(pads.dataset(everywhere.path("lightcurves")).to_table().to_pandas())
    truth = rows(pq.read_table(sky / "truth" / "lightcurves.parquet").to_pandas())
    assert len(found) == len(truth) > 50_000
    assert set(found["archive"]) == {"gaia", "neowise", "panstarrs", "unwise", "ztf"}
    for name in ("objectid", "archive", "band", "survey_object_id", "quality", "kind"):
        assert (found[name] == truth[name]).all(), name
    np.testing.assert_array_equal(found["flags_native"], truth["flags_native"])
    for name in ("time_mjd", "native_value", "native_err"):
        np.testing.assert_array_equal(found[name], truth[name], err_msg=name)
    for name in ("flux_mjy", "flux_err_mjy"):
        np.testing.assert_allclose(found[name], truth[name], rtol=RELATIVE, err_msg=name)
    np.testing.assert_allclose(found["time_mjd_tdb"], truth["time_mjd_tdb"], rtol=0, atol=TIME_DAYS)
    np.testing.assert_allclose(found["match_arcsec"], truth["match_arcsec"], rtol=0, atol=1e-6)


def test_every_state_equals_the_truth(everywhere: Project, sky: Path) -> None:
    columns = ["objectid", "archive", "state", "n_rows", "n_sources"]
    order = ["objectid", "archive"]
    ledger = pq.read_table(everywhere.path("ledger.parquet")).to_pandas()
    truth = pq.read_table(sky / "truth" / "states.parquet").to_pandas()
    found = ledger[columns].sort_values(order, ignore_index=True)
    expected = truth[columns].sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    states = Counter(found["state"])
    assert {"data", "ambiguous", "searched_empty", "outside_footprint"} <= states.keys()


def test_the_flags_and_negative_fluxes_are_kept(everywhere: Project) -> None:
    table = pads.dataset(everywhere.path("lightcurves")).to_table().to_pandas()
    unwise, ztf = (table[table["archive"] == name] for name in ("unwise", "ztf"))
    assert (unwise["flux_mjy"] < 0).any()
    assert ((ztf["flags_native"].astype("int64") & 32768 != 0) == (ztf["quality"] == 2)).all()
    assert (ztf["quality"] == 1).any()
    assert (unwise["native_columns"].str.contains('"primary":0') <= (unwise["quality"] == 2)).all()


def test_merged_targets_keep_their_names(everywhere: Project) -> None:
    sample = pq.read_table(everywhere.path("sample", "sample.parquet")).to_pandas()
    yang = sample[[("Yang 2018" in labels) for labels in sample["labels"]]]
    assert len(yang) == 30
    assert sorted(len(ids) for ids in yang["source_ids"])[-2:] == [1, 2]
    merged = pd.read_csv(everywhere.path("sample", "merged.csv"))
    assert merged["separation_arcsec"].iloc[0] == pytest.approx(0.7146, abs=1e-3)


def test_lsdb_opens_the_result(everywhere: Project) -> None:
    catalog = lsdb.open_catalog(everywhere.path("hats", "lightcurves"))
    objects = catalog.compute()
    ledger = pq.read_table(everywhere.path("ledger.parquet")).to_pandas()
    assert len(objects) == ledger["objectid"].nunique()
    assert objects["lightcurve"].nest.to_flat().shape[0] == ledger["n_rows"].sum()
