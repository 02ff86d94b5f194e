"""Hubble Catalog of Variables: the nearest variable, all its filters, whole or called truncated."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_archives import ambiguous, shard_of
from small_mast import service_spec

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.archives.base import Answer
from lightloom.config import ArchiveSpec
from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    TransientArchiveError,
    TruncatedAnswerError,
)

ARCSEC = 1 / 3600
#: Variables: id, position, measurements by filter.
VARIABLES = [
    (11, 10.0, 20.0, {"ACS_F606W": 3, "ACS_F814W": 2}),
    # The nearer of two that a target has.
    (21, 10.3, 20.0 + 0.3 * ARCSEC, {"WFC3_F160W": 2}),
    (20, 10.3, 20.0 - 0.6 * ARCSEC, {"ACS_F814W": 4}),
    (30, 359.99995, -40.0, {"WFPC2_F814W": 1}),
    # Shared by two targets.
    (40, 150.0, 2.0, {"ACS_F814W": 2}),
]
PLACES = [
    (10.0, 20.0 + 0.5 * ARCSEC),
    (10.3, 20.0),
    (0.00005, -40.0),
    (150.0, 2.0 + 0.2 * ARCSEC),
    (150.0, 2.0 - 0.4 * ARCSEC),
    # Just outside the radius.
    (10.0, 20.0 - 1.01 * ARCSEC),
]


def tables() -> tuple[pa.Table, pa.Table]:
    """Return the summaries, one in each filter, and the magnitudes."""
    summaries, details = [], []
    for match_id, ra_deg, dec_deg, filters in VARIABLES:
        for name, n_points in filters.items():
            summaries.append(
                {
                    "MatchID": match_id,
                    "RA": ra_deg,
                    "Dec": dec_deg,
                    "NumFilters": len(filters),
                    "Filter": name,
                    "NumLC": n_points,
                }
            )
            details += [
                {
                    "MatchID": match_id,
                    "Filter": name,
                    "MJD": 55000.0 + number,
                    "ImageName": f"{name.lower()}_{match_id}_{number}",
                    "Mag": 22.5,
                    "CorrMag": 22.0 + number,
                    "MagErr": 0.1,
                    "CI": 1.0 + 0.5 * number,
                    "D": 0.01,
                }
                for number in range(n_points)
            ]
    # A measurement without a value, beside those that a summary counts.
    details.append(details[0] | {"CorrMag": 99.0, "Mag": 99.0, "MagErr": 99.0, "MJD": 55010.0})
    return pa.Table.from_pylist(summaries), pa.Table.from_pylist(details)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    sky = tmp_path_factory.mktemp("hcv") / "sky"
    folder = sky / "services" / "hcv"
    folder.mkdir(parents=True)
    for name, table in zip(("hcvsummary", "hcv"), tables(), strict=True):
        pq.write_table(table, folder / f"{name}.parquet")
    with Laboratory(sky) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(running: Laboratory) -> Laboratory:
    running.faults([])
    running.clear_log()
    return running


@pytest.fixture
def spec(laboratory: Laboratory) -> ArchiveSpec:
    return spec_at(laboratory)


def spec_at(laboratory: Laboratory, **options: object) -> ArchiveSpec:
    probe = {"ra": 10.0, "dec": 20.0, "radius_deg": 0.01}
    endpoint = laboratory.url("hcv") + "/api/v0.1/hsc/v3"
    return service_spec("hcv", endpoint, **{"probe": probe, **options})


def ask(
    spec: ArchiveSpec, state: Path, places: list[tuple[float, float]] = PLACES
) -> tuple[pd.DataFrame, list[Answer]]:
    archive = get_archive(spec, state)
    shard = shard_of(*zip(*places, strict=True))
    answers = [archive.answer(shard, request) for request in archive.plan(shard).requests]
    rows = pa.concat_tables([answer.rows for answer in answers])
    assert ambiguous(spec, rows) == set()
    order = ["target", "band", "time_mjd"]
    return rows.to_pandas().sort_values(order, ignore_index=True), answers


def test_nearest_variable_has_rows_in_all_filters(spec: ArchiveSpec, tmp_path: Path) -> None:
    rows, answers = ask(spec, tmp_path)
    found = rows.groupby(["target", "survey_object_id", "band"]).size().to_dict()
    assert found == {
        (0, "11", "ACS_F606W"): 4,
        (0, "11", "ACS_F814W"): 2,
        (1, "21", "WFC3_F160W"): 2,
        (2, "30", "WFPC2_F814W"): 1,
        (3, "40", "ACS_F814W"): 2,
        (4, "40", "ACS_F814W"): 2,
    }
    sources = pa.concat_tables([answer.sources for answer in answers]).to_pandas()
    assert sources.groupby("target").size().to_dict() == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1}
    nearest = rows.groupby("target")["match_arcsec"].first()
    across = 0.36 * np.cos(np.radians(40.0))
    assert nearest.tolist() == pytest.approx([0.5, 0.3, across, 0.2, 0.4], rel=1e-6)


def test_corrected_magnitudes_become_flux_densities(spec: ArchiveSpec, tmp_path: Path) -> None:
    rows, _ = ask(spec, tmp_path)
    one = rows[(rows["target"] == 0) & (rows["band"] == "ACS_F606W")]
    # 10**(-0.4 (m - 23.9)) / 1000
    assert one["flux_mjy"].tolist()[:2] == pytest.approx([5.754399e-3, 2.290868e-3], rel=1e-6)
    assert one["flux_err_mjy"].iloc[0] == pytest.approx(5.754399e-3 * 0.0921034, rel=1e-6)
    assert one["native_value"].isna().tolist() == [False, False, False, True]
    assert one["quality"].tolist() == [0, 1, 1, 2]
    assert one["exposure_id"].iloc[0] == "acs_f606w_11_0"
    assert one["native_columns"].iloc[0] == '{"Mag":22.5,"CI":1,"D":0.01}'


def test_targets_close_together_share_a_cone(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    ask(spec, tmp_path)
    paths = [entry["path"].rpartition("/")[2] for entry in laboratory.log("hcv")]
    # Three places on the sky; a variable is asked for once.
    assert paths.count("magaper2.json") == 3
    assert paths.count("hcv.json") == 4


def test_groups_give_what_single_cones_give(laboratory: Laboratory, tmp_path: Path) -> None:
    together, _ = ask(spec_at(laboratory), tmp_path)
    alone, _ = ask(spec_at(laboratory, largest_cone_deg=0), tmp_path)
    pd.testing.assert_frame_equal(together, alone)


def test_pages_and_lists_of_ids_change_nothing(laboratory: Laboratory, tmp_path: Path) -> None:
    whole, _ = ask(spec_at(laboratory), tmp_path)
    laboratory.clear_log()
    paged, _ = ask(spec_at(laboratory, page_rows=2, ids_per_request=10), tmp_path)
    pd.testing.assert_frame_equal(whole, paged)
    asked = [entry for entry in laboratory.log("hcv") if "11" in entry["targets"]]
    assert len(asked) == 5


def test_missing_magnitudes_are_noticed(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "missing_target", "path": r"hcv\.json", "target": ["21"]}])
    rows, answers = ask(spec, tmp_path)
    incomplete = {target: error for one in answers for target, error in one.incomplete.items()}
    assert list(incomplete) == [1]
    assert isinstance(incomplete[1], TruncatedAnswerError)
    assert "variable 21: found 0 magnitudes, expected 2" in str(incomplete[1])
    assert set(rows["target"]) == {0, 2, 3, 4}


def test_magnitudes_cut_short_are_noticed(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "overflow", "path": r"hcv\.json"}])
    rows, answers = ask(spec, tmp_path)
    assert {target for one in answers for target in one.incomplete} == {0, 1, 2, 3, 4}
    assert not len(rows)


def test_summaries_cut_short_are_noticed(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "overflow", "path": "magaper2"}])
    with pytest.raises(TruncatedAnswerError, match="found summaries in 1 filters, expected 2"):
        ask(spec, tmp_path, PLACES[:1])


def test_failure_that_may_pass_is_raised(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "html", "path": r"hcv\.json"}])
    with pytest.raises(TransientArchiveError):
        ask(spec, tmp_path)


def test_probe_compares_columns(spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path) -> None:
    get_archive(spec, tmp_path).probe()
    laboratory.faults([{"action": "wrong_columns", "rename": {"CorrMag": "Corrected"}}])
    with pytest.raises(ArchiveSchemaError, match=r"columns \['CorrMag'\] are missing"):
        get_archive(spec, tmp_path).probe()
    laboratory.faults([{"action": "wrong_columns", "retype": {"MJD": "string"}}])
    with pytest.raises(ArchiveSchemaError, match="column 'MJD', expected double"):
        get_archive(spec, tmp_path).probe()


def test_probe_wants_a_variable(laboratory: Laboratory, tmp_path: Path) -> None:
    elsewhere = spec_at(laboratory, probe={"ra": 100.0, "dec": 0.0, "radius_deg": 0.01})
    with pytest.raises(ArchiveError, match="no variable at the known place"):
        get_archive(elsewhere, tmp_path).probe()
