"""Light curves through TAP, from a server that speaks it, as the catalogue entries say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from small_archives import ambiguous, shard_of
from small_services import (
    N_OBJECTS,
    ORIGIN_DEG,
    ask,
    measurements,
    positions,
    rows_of,
    service_spec,
    write_tables,
)

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    TruncatedAnswerError,
)
from lightloom.schema import TARGET_ROWS, conform


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(write_tables(tmp_path_factory.mktemp("sky"))) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(server: Laboratory) -> Laboratory:
    server.faults([])
    server.clear_log()
    return server


def test_magnitudes_and_times_are_those_of_the_tables(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    _, answers = ask(service_spec(laboratory, "nsc"), tmp_path, *positions())
    conform(answers[0].rows, TARGET_ROWS, "rows")
    rows = rows_of(answers)
    expected = measurements().sort_values(["objectid", "filter", "mjd"], ignore_index=True)
    assert rows["target"].tolist() == [int(name[2:]) for name in expected["objectid"]]
    mag = expected["mag_auto"].mask(expected["mag_auto"] == 99.99)
    np.testing.assert_allclose(rows["native_value"], mag, rtol=1e-7)
    np.testing.assert_allclose(
        rows["flux_mjy"], (mag.to_numpy() * u.ABmag).to_value(u.mJy), rtol=1e-6
    )
    exposure_s = 90.0 + expected["flags"]
    np.testing.assert_allclose(rows["exposure_s"], exposure_s)
    np.testing.assert_allclose(
        rows["time_mjd"], expected["mjd"] + exposure_s / 2 / 86400, rtol=0, atol=1e-9
    )
    assert rows["band"].tolist() == expected["filter"].tolist()
    assert rows["flags_native"].tolist() == expected["flags"].tolist()
    assert rows["quality"].tolist() == np.where(mag.isna() | (expected["flags"] > 0), 2, 0).tolist()
    assert set(rows["kind"]) == {"detection"}
    assert set(rows["survey_field"]) == {"31"}
    assert json.loads(rows["native_columns"][0]) == {
        "measid": expected["measid"][0],
        "mjd": expected["mjd"][0],
        "fwhm": 1.5,
        "class_star": 0.9,
    }


def test_object_without_measurements_is_a_source_without_rows(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    _, answers = ask(service_spec(laboratory, "nsc"), tmp_path, *positions())
    sources = answers[0].sources.to_pandas()
    assert sources["survey_object_id"].tolist() == [f"o'{number}" for number in range(N_OBJECTS)]
    assert N_OBJECTS - 1 not in set(rows_of(answers)["target"])
    assert not answers[0].incomplete


@pytest.mark.parametrize("arcsec", [0.999999, 1.000001])
def test_radius_is_exact(laboratory: Laboratory, tmp_path: Path, arcsec: float) -> None:
    ra_deg, dec_deg = ORIGIN_DEG
    target = [ra_deg], [dec_deg - arcsec / 3600]
    _, answers = ask(service_spec(laboratory, "nsc"), tmp_path, *target)
    distances = answers[0].sources["match_arcsec"].to_pylist()
    assert distances == ([pytest.approx(arcsec, rel=1e-9)] if arcsec < 1 else [])


def test_targets_are_moved_to_the_epoch(laboratory: Laboratory, tmp_path: Path) -> None:
    spec = service_spec(laboratory, "nsc", epoch_jyear=2016.0)
    ra_deg, dec_deg = ORIGIN_DEG
    shard = shard_of([ra_deg], [dec_deg - 10 / 3600])
    motion = {"pmra_masyr": 0.0, "pmdec_masyr": 1000.0, "ref_epoch_jyear": 2006.0}
    for name, value in motion.items():
        shard = shard.set_column(shard.column_names.index(name), name, pa.array([value]))
    archive = get_archive(spec, tmp_path)
    (request,) = archive.plan(shard).requests
    sources = archive.answer(shard, request).sources
    assert sources["match_arcsec"].to_pylist() == [pytest.approx(0.0, abs=1e-6)]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"targets_per_query": 2}},
        {"limits": {"objects_per_query": 2}},
        {"limits": {"sync_targets": 0}},
        {"options": {"maxrec": 8}},
        {"options": {"counted": False}},
        {"options": {"upload": False}},
        {
            "options": {
                "measurements": {"table": "nsc_dr2.meas", "object_id": "objectid", "upload": False}
            }
        },
        {"options": {"quote": ["filter", "mjd"]}},
        {
            "options": {
                "adql": {
                    "match": "SELECT up.target, obj.id, obj.ra, obj.dec FROM {targets} LEFT OUTER"
                    " JOIN nsc_dr2.object AS obj ON DISTANCE(POINT('ICRS', up.target_ra,"
                    " up.target_dec), POINT('ICRS', obj.ra, obj.dec)) < {radius_deg}"
                }
            }
        },
    ],
    ids=str,
)
def test_rows_do_not_depend_on_how_it_is_asked(
    laboratory: Laboratory, tmp_path: Path, change: dict[str, Any]
) -> None:
    _, plain = ask(service_spec(laboratory, "nsc"), tmp_path / "plain", *positions())
    laboratory.clear_log()
    _, changed = ask(service_spec(laboratory, "nsc", **change), tmp_path / "changed", *positions())
    assert not any(answer.incomplete for answer in changed)
    pd.testing.assert_frame_equal(rows_of(plain), rows_of(changed))
    n_requests = sum(answer.reads.requests for answer in changed)
    assert n_requests == len(laboratory.log("nsc")) >= 2


def test_truncated_replies_are_asked_again_in_halves(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = service_spec(laboratory, "nsc", options={"maxrec": 8})
    _, answers = ask(spec, tmp_path, *positions())
    asked = [len(record["targets"]) for record in laboratory.log("nsc")]
    # An object has six rows, the last one a single one for having none.
    assert asked == [6, 6, 3, 1, 2, 1, 1, 3, 1, 2]
    assert len(rows_of(answers)) == len(measurements())


def test_target_that_alone_is_too_much_is_truncated(laboratory: Laboratory, tmp_path: Path) -> None:
    spec = service_spec(laboratory, "nsc", options={"maxrec": 7})
    _, answers = ask(spec, tmp_path, *positions())
    assert not answers[0].incomplete
    spec = service_spec(laboratory, "nsc", options={"maxrec": 6})
    _, answers = ask(spec, tmp_path, *positions())
    # The last object has no measurements, hence a single row.
    assert sorted(answers[0].incomplete) == list(range(N_OBJECTS - 1))
    assert {type(error) for error in answers[0].incomplete.values()} == {TruncatedAnswerError}
    assert answers[0].rows.num_rows == 0


@pytest.mark.parametrize("upload", [True, False])
def test_target_missing_in_the_reply_is_truncated(
    laboratory: Laboratory, tmp_path: Path, upload: bool
) -> None:
    ra_deg, dec_deg = positions()
    spec = service_spec(laboratory, "nsc", options={"upload": upload})
    _, plain = ask(spec, tmp_path, ra_deg, dec_deg)
    laboratory.faults([{"action": "missing_target", "position": [ra_deg[2], dec_deg[2], 1.0]}])
    _, answers = ask(spec, tmp_path, ra_deg, dec_deg)
    if upload:
        assert list(answers[0].incomplete) == [2]
        assert "lacks 1 of 1" in str(answers[0].incomplete[2])
        others = rows_of(plain).query("target != 2").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows_of(answers), others)
    else:
        assert list(answers[0].incomplete) == [2]
        assert "counts 1" in str(answers[0].incomplete[2])


def test_upload_that_is_too_large_is_halved(laboratory: Laboratory, tmp_path: Path) -> None:
    spec = service_spec(laboratory, "nsc")
    _, plain = ask(spec, tmp_path, *positions())
    laboratory.faults([{"action": "status", "status": 413, "first": 1}])
    _, answers = ask(spec, tmp_path, *positions())
    pd.testing.assert_frame_equal(rows_of(answers), rows_of(plain))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rename": {"mag_auto": "mag_kron"}}, "column 'mag_auto' is missing in the reply"),
        ({"drop": ["ra"]}, "column 'ra' is missing in the reply"),
        ({"retype": {"magerr_auto": "string"}}, "'magerr_auto' has type char"),
        ({"units": {"mag_auto": "Jy"}}, "column 'mag_auto' has unit 'Jy', expected 'mag'"),
        ({"units": {"dec": "rad"}}, "column 'dec' has unit 'rad', expected 'deg'"),
    ],
)
def test_drift_is_told_by_answer_and_probe(
    laboratory: Laboratory, tmp_path: Path, rule: dict[str, Any], message: str
) -> None:
    probe = {"ra": ORIGIN_DEG[0], "dec": ORIGIN_DEG[1]}
    spec = service_spec(laboratory, "nsc", options={"probe": probe})
    get_archive(spec, tmp_path).probe()
    laboratory.faults([{"action": "wrong_columns", **rule}])
    with pytest.raises(ArchiveSchemaError) as caught:
        ask(spec, tmp_path, *positions())
    assert message in str(caught.value)
    with pytest.raises(ArchiveSchemaError) as caught:
        get_archive(spec, tmp_path).probe()
    assert message in str(caught.value)


def test_probe_needs_its_target(laboratory: Laboratory, tmp_path: Path) -> None:
    spec = service_spec(laboratory, "nsc", options={"probe": {"ra": 10.0, "dec": 10.0}})
    with pytest.raises(ArchiveError, match=r"0 rows at the known position 10\.0 10\.0, expected"):
        get_archive(spec, tmp_path).probe()


def test_probe_refuses_a_limit_that_the_service_does_not_have(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = service_spec(laboratory, "nsc", options={"maxrec": 3_000_001})
    with pytest.raises(ArchiveSchemaError, match=r"at most 3000000 rows, expected at least"):
        get_archive(spec, tmp_path).probe()


@pytest.mark.parametrize(
    ("rule", "error_class"),
    [
        ({"action": "status", "status": 503}, "transient"),
        ({"action": "html"}, "transient"),
        ({"action": "cut", "fraction": 0.5}, "transient"),
        ({"action": "reset"}, "transient"),
        ({"action": "status", "status": 403}, "authentication"),
        ({"action": "votable_error", "message": "no such column"}, "bad_request"),
    ],
)
def test_faults_are_classed(
    laboratory: Laboratory, tmp_path: Path, rule: dict[str, Any], error_class: str
) -> None:
    laboratory.faults([rule])
    with pytest.raises(ArchiveError) as caught:
        ask(service_spec(laboratory, "nsc"), tmp_path, *positions())
    assert caught.value.error_class == error_class


@pytest.mark.parametrize(("radius_arcsec", "expected"), [(1.0, set()), (40.0, {0, 1})])
def test_two_objects_of_an_exposure_are_ambiguous(
    laboratory: Laboratory, tmp_path: Path, radius_arcsec: float, expected: set[int]
) -> None:
    spec = service_spec(laboratory, "nsc", radius_arcsec=radius_arcsec)
    _, answers = ask(spec, tmp_path, *positions(2))
    assert ambiguous(spec, answers[0].rows) == expected
    # In one exposure each, on the same detector, they may be one object that was split.
    rows = answers[0].rows.to_pandas().drop_duplicates(["target", "survey_object_id"])
    rows["time_mjd"] = np.arange(len(rows), dtype=float)
    assert ambiguous(spec, pa.Table.from_pandas(rows, TARGET_ROWS)) == set()


def test_table_of_detections_needs_no_second_question(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    ra_deg, dec_deg = ORIGIN_DEG
    archive, answers = ask(service_spec(laboratory, "xmm"), tmp_path, [ra_deg, 1.0], [dec_deg, 1.0])
    assert [record["path"] for record in laboratory.log("heasarc")] == ["/tap/sync"]
    rows = rows_of(answers)
    assert rows["native_value"].tolist() == [1e-13, 2e-13, pytest.approx(np.nan, nan_ok=True)]
    assert rows["flux_mjy"].isna().all()
    assert set(rows["native_unit"]) == {"erg/cm2/s"}
    assert rows["survey_object_id"].tolist() == ["1", "1", "2"]
    assert rows["quality"].tolist() == [0, 1, 2]
    assert rows["match_arcsec"].tolist() == pytest.approx([1.0, 1.1, 4.9], abs=1e-6)
    competing = archive.competing_sources(answers[0].rows).to_pandas()
    together = competing.groupby("observation")["survey_object_id"].nunique()
    assert together.to_dict() == {"EP_8/55000.5": 1, "EP_8/55100.5": 2}
