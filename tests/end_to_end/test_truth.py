"""The main job's result equals the truth of the embedded sky: every row, every state."""

from collections import Counter
from pathlib import Path

import lsdb
import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from astropy import units as u
from astropy.coordinates import SkyCoord

from laboratory import Laboratory
from lightloom.sky import unwise
from project import Project

pytestmark = pytest.mark.timeout(900)

RELATIVE = 1e-9
#: Of a float64 MJD; the truth and the product round in different places.
TIME_DAYS = 5e-11
#: Rows without a time, the padding of files, are told apart by field and flags.
ROW_ORDER = ["objectid", "archive", "band", "survey_object_id", "time_mjd", "native_value",
             "survey_field", "exposure_id", "flags_native"]  # fmt: skip


@pytest.fixture(scope="module")
def everywhere(
    tmp_path_factory: pytest.TempPathFactory, sky: Path, laboratory: Laboratory
) -> Project:
    """A run of all archives on the real sample and the awkward places together."""
    project = Project.create(tmp_path_factory.mktemp("everywhere") / "project")
    (project.root / "sky").symlink_to(sky)
    embedded = yaml.safe_load((project.root / "config" / "sky" / "embedded.yaml").read_text())
    base = f"http://127.0.0.1:{embedded['services']['sky']['port']}"
    archives = {
        name: {
            "endpoint": options["endpoint"].replace(base, laboratory.base),
            # Two jobs at a time on two cores, and servers that need not be spared.
            "limits": {"retries": 0, "threads": 1, "requests_per_s": 100},
        }
        for name, options in embedded["archives"].items()
    }
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
        {
            "archives": archives,
            "services": {"sky": {"enabled": False}},
            "sample": {"sources": [yang, awkward]},
            # One job per archive: sharding is the subject of other tests.
            "shards": {"max_targets": 1000},
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
    assert set(found["archive"]) == set(everywhere.default_configuration()["archives"])
    for name in ("objectid", "archive", "band", "quality", "kind", "native_unit", "time_scale"):
        assert (found[name] == truth[name]).all(), name
    for name in ("survey_object_id", "survey_field", "exposure_id", "time_ref"):
        pd.testing.assert_series_equal(found[name], truth[name], check_dtype=False)
    for name in ("flags_native", "native_value", "native_err"):
        np.testing.assert_array_equal(found[name], truth[name], err_msg=name)
    for name in ("flux_mjy", "flux_err_mjy", "exposure_s"):
        np.testing.assert_allclose(found[name], truth[name], rtol=RELATIVE, err_msg=name)
    for name in ("time_mjd", "time_mjd_tdb"):
        np.testing.assert_allclose(found[name], truth[name], rtol=0, atol=TIME_DAYS, err_msg=name)
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


def test_sources_beside_the_targets_are_counted(everywhere: Project, sky: Path) -> None:
    ledger = pq.read_table(everywhere.path("ledger.parquet")).to_pandas()
    searched = ledger[ledger["n_offsets"] > 0]
    assert set(searched["archive"]) == {"ztf", "unwise", "gaia", "panstarrs", "neowise"}
    assert (searched["state"] != "outside_footprint").all()
    sample = pq.read_table(everywhere.path("sample", "sample.parquet")).to_pandas()
    still = sample[sample["pmra_masyr"].isna()].set_index("objectid")
    counted = searched[(searched["archive"] == "unwise") & (searched["n_offsets"] == 2)]
    counted = counted.set_index("objectid").join(still[["ra_deg", "dec_deg"]], how="inner")
    detections = pads.dataset(sky / unwise.CATALOGUE, partitioning=None).to_table(["ra", "dec"])
    sources = SkyCoord(detections["ra"].to_numpy(), detections["dec"].to_numpy(), unit="deg")
    targets = SkyCoord(counted["ra_deg"], counted["dec_deg"], unit="deg")
    near = [
        targets.directional_offset_by(angle * u.deg, 30 * u.arcsec).match_to_catalog_sky(sources)[1]
        for angle in (0, 180)
    ]
    expected = np.sum([distance < 2.5 * u.arcsec for distance in near], axis=0)
    assert expected.sum() > 0
    assert counted["n_offset_matches"].tolist() == expected.tolist()


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
