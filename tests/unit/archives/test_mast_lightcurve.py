"""TESS, Kepler and K2 at MAST: what is found, chosen, read and kept."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_archives import CATALOGUE, ambiguous, shard_of, spec_of
from small_mast import File, service_entry, service_spec, write_mast

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.archives.base import Answer
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.errors import ArchiveError, ArchiveSchemaError, ConfigError, TransientArchiveError
from lightloom.fetch import fetch_shard
from lightloom.schema import SHARD
from written_fits import PDCSAP, write_fits

ARCSEC = 1 / 3600
QLP = {
    "SAP_FLUX_ERR": None,
    "PDCSAP_FLUX": None,
    "PDCSAP_FLUX_ERR": None,
    "KSPSAP_FLUX": np.array([1.0, 1.01, 0.99, np.nan], np.float32),
    "KSPSAP_FLUX_ERR": np.full(4, 0.01, np.float32),
}
NO_UNITS = dict.fromkeys(["TUNIT_SAP_FLUX", "TUNIT_KSPSAP_FLUX", "TUNIT_KSPSAP_FLUX_ERR"])
NEW_QLP = {name.replace("KSPSAP", "DET"): values for name, values in QLP.items()}
NEW_UNITS = {name.replace("KSPSAP", "DET"): None for name in NO_UNITS}


def qlp_name(sector: int, number: int) -> str:
    return f"hlsp_qlp_tess_ffi_s{sector:04d}-{number:016d}_tess_v01_llc.fits"


FILES = [
    # One star in two sectors; of the first there are three light curves.
    File(100, 40.0, 5.0, sector=14, in_cloud=True),
    File(100, 40.0, 5.0, sector=14, cadence_s=20.0),
    File(100, 40.0, 5.0, 14, "QLP", 1800.0, qlp_name(14, 100), header=NO_UNITS, columns=QLP),
    File(100, 40.0, 5.0, sector=15, header={"BJDREFI": 2456999}),
    # A pipeline that is not in the entry.
    File(100, 40.0, 5.0, 16, "ELEANOR", 1800.0, "eleanor_lc.fits"),
    # Two stars within 3 arcsec of a target.
    File(200, 80.0, -60.0),
    File(201, 80.0, -60.0 + 2 * ARCSEC),
    # Normalised, and nothing else.
    File(300, 120.0, 30.0, 33, "QLP", 600.0, qlp_name(33, 300), header=NO_UNITS, columns=QLP),
    # Its column has another name from sector 56 on.
    File(300, 120.0, 30.0, 56, "QLP", 200.0, qlp_name(56, 300), header=NEW_UNITS, columns=NEW_QLP),
    # Across right ascension zero.
    File(400, 359.9999, 10.0),
    # One of two sectors is without a column.
    File(500, 200.0, 0.0, sector=20),
    File(500, 200.0, 0.0, sector=21, columns={"QUALITY": None}),
]
PLACES = {
    "two sectors": (40.0, 5.0),
    "two stars": (80.0, -60.0 + 1 * ARCSEC),
    "normalised": (120.0, 30.0),
    "across zero": (0.0001, 10.0),
    "broken": (200.0, 0.0),
    "nothing": (10.0, 10.0),
    "3.1 arcsec away": (40.0, 5.0 + 3.1 * ARCSEC),
}


@pytest.fixture(scope="module")
def mast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sky = tmp_path_factory.mktemp("mast") / "sky"
    return write_mast(sky / "services" / "mast", FILES)


@pytest.fixture(scope="module")
def running(mast: Path) -> Iterator[Laboratory]:
    with Laboratory(mast.parents[1]) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(running: Laboratory) -> Laboratory:
    running.faults([])
    running.clear_log()
    return running


@pytest.fixture
def spec(laboratory: Laboratory, mast: Path) -> ArchiveSpec:
    probe = {"ra": 40.0, "dec": 5.0}
    copies = str(mast / "stpubdata")
    return service_spec("tess", laboratory.url("mast"), copies, probe=probe)


def changed(spec: ArchiveSpec, **options: object) -> ArchiveSpec:
    return service_spec("tess", spec.endpoint, **{**spec.options, **options})


def ask(
    spec: ArchiveSpec, state: Path, places: dict[str, tuple[float, float]]
) -> tuple[pd.DataFrame, list[Answer]]:
    """Search for places; return the rows with the name of the place, and the answers."""
    archive = get_archive(spec, state)
    shard = shard_of(*zip(*places.values(), strict=True))
    shard = shard.set_column(0, "objectid", pa.array(list(places)))
    answers = [archive.answer(shard, request) for request in archive.plan(shard).requests]
    rows = pa.concat_tables([answer.rows for answer in answers]).to_pandas()
    rows.insert(0, "place", [list(places)[target] for target in rows["target"]])
    return rows, answers


@pytest.fixture
def found(spec: ArchiveSpec, tmp_path: Path) -> pd.DataFrame:
    return ask(spec, tmp_path, PLACES)[0]


def test_targets_are_matched_with_stars_within_the_radius(found: pd.DataFrame) -> None:
    stars = found.groupby("place")["survey_object_id"].unique().map(set)
    assert stars.to_dict() == {
        "two sectors": {"TIC 100"},
        "two stars": {"TIC 200", "TIC 201"},
        "normalised": {"TIC 300"},
        "across zero": {"TIC 400"},
        "broken": {"TIC 500"},
    }
    across = found.loc[found["place"] == "across zero", "match_arcsec"]
    assert across.to_numpy() == pytest.approx(0.72 * np.cos(np.radians(10.0)), rel=1e-6)


def test_two_stars_are_ambiguous(spec: ArchiveSpec, tmp_path: Path) -> None:
    shard = shard_of(*zip(*PLACES.values(), strict=True))
    archive = get_archive(spec, tmp_path)
    answers = [archive.answer(shard, request) for request in archive.plan(shard).requests]
    rows = pa.concat_tables([answer.rows for answer in answers])
    assert ambiguous(spec, rows) == {list(PLACES).index("two stars")}
    sources = pa.concat_tables([answer.sources for answer in answers]).to_pandas()
    assert sorted(sources["survey_object_id"]) == [f"TIC {n}00" for n in (1, 2)] + [
        "TIC 201",
        *(f"TIC {n}00" for n in (3, 4, 5)),
    ]


def test_both_fluxes_of_every_cadence_are_rows(found: pd.DataFrame) -> None:
    one = found[(found["place"] == "two sectors") & (found["survey_field"] == "s0014")]
    detrended = one[one["band"] == "TESS"]
    assert detrended["native_value"].tolist() == PDCSAP
    # Desaturation is dropped, scattered light is not, and what has no time cannot be used.
    assert detrended["quality"].tolist() == [0, 2, 1, 2]
    assert detrended["flags_native"].tolist() == [0, 32, 4096, 0]
    assert detrended["native_err"].tolist()[:3] == [0.25] * 3
    aperture = one[one["band"] == "TESS_SAP"]
    assert aperture["quality"].tolist() == [0, 2, 1, 2]
    assert aperture["native_value"].isna().tolist() == [False, True, False, True]
    assert set(one["native_unit"]) == {"electron/s"}
    assert one["flux_mjy"].isna().all()
    assert set(one["kind"]) == {"detection"}
    assert set(one["native_columns"]) == {'{"author":"SPOC","crowdsap":0.875}'}
    np.testing.assert_allclose(one["exposure_s"], 120.0, rtol=1e-12)


def test_times_are_those_of_each_file(found: pd.DataFrame) -> None:
    one = found[(found["place"] == "two sectors") & (found["band"] == "TESS")]
    times = one.groupby("survey_field")["time_mjd"].first()
    assert times.to_dict() == {"s0014": 57099.75, "s0015": 57098.75}
    assert set(one["time_scale"] + " " + one["time_ref"]) == {"tdb barycentre"}
    pd.testing.assert_series_equal(one["time_mjd"], one["time_mjd_tdb"], check_names=False)


def test_best_author_and_cadence_of_a_sector_is_taken(found: pd.DataFrame) -> None:
    one = found[found["place"] == "two sectors"]
    assert one.groupby("survey_field").size().to_dict() == {"s0014": 8, "s0015": 8}


def test_order_of_choice_is_the_users(spec: ArchiveSpec, tmp_path: Path) -> None:
    choice = CATALOGUE["tess"]["options"]["choice"]
    qlp_first = sorted(choice, key=lambda one: one["author"] != "QLP")
    rows, _ = ask(changed(spec, choice=qlp_first), tmp_path, PLACES)
    one = rows[rows["place"] == "two sectors"]
    authors = one.groupby("survey_field")["native_columns"].unique().map(list).to_dict()
    assert authors["s0014"] == ['{"author":"QLP","crowdsap":0.875}']
    assert authors["s0015"] == ['{"author":"SPOC","crowdsap":0.875}']


def test_normalised_fluxes_keep_their_unit(found: pd.DataFrame) -> None:
    one = found[found["place"] == "normalised"]
    assert set(one["native_unit"]) == {"relative"}
    assert one.groupby("band")["native_err"].count().to_dict() == {"TESS": 8, "TESS_SAP": 0}
    assert one.groupby("survey_field").size().to_dict() == {"s0033": 8, "s0056": 8}
    assert one.loc[one["band"] == "TESS", "native_value"].tolist()[4:7] == pytest.approx(
        [1.0, 1.01, 0.99]
    )


def test_zero_point_is_that_of_the_usual_unit(spec: ArchiveSpec, tmp_path: Path) -> None:
    bands = {
        code: band | {"ab_zero_point_mag": 23.9}
        for code, band in CATALOGUE["tess"]["bands"].items()
    }
    entry = service_entry("tess", spec.endpoint, **spec.options)
    units = {"native": "electron/s", "mag_system": "AB"}
    rows, _ = ask(spec_of(entry, bands=bands, units=units), tmp_path, PLACES)
    measured = rows[rows["native_unit"] == "electron/s"]
    np.testing.assert_allclose(measured["flux_mjy"], measured["native_value"] / 1000.0, rtol=1e-12)
    assert measured["flux_mjy"].notna().any()
    assert rows.loc[rows["native_unit"] == "relative", "flux_mjy"].isna().all()


def test_copy_that_is_near_comes_first(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    with_copies, answers = ask(spec, tmp_path, PLACES)
    downloads = downloaded(laboratory)
    root = spec.copies["aws"]["endpoint"]
    read_from = {place for answer in answers for place in answer.places}
    assert read_from == {f"aws ({root})", f"archive ({spec.endpoint})"}
    laboratory.clear_log()
    without, answers = ask(changed(spec), tmp_path, PLACES)
    assert {place for answer in answers for place in answer.places} == {
        f"archive ({spec.endpoint})"
    }
    assert len(downloaded(laboratory)) == len(downloads) + 1
    pd.testing.assert_frame_equal(with_copies, without)


def downloaded(laboratory: Laboratory) -> list[dict]:
    return [entry for entry in laboratory.log("mast") if "Download" in entry["path"]]


def test_damaged_copy_is_replaced_by_the_original(mast: Path, tmp_path: Path) -> None:
    files = [File(100, 40.0, 5.0, in_cloud=False)]
    folder = write_mast(tmp_path / "sky" / "services" / "mast", files)
    original = folder / files[0].path
    copy = tmp_path / "copies" / "tess/public/tid/s0014/0000/0000/0000/0100" / original.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(original.read_bytes()[:-3000])
    with Laboratory(tmp_path / "sky") as laboratory:
        spec = service_spec("tess", laboratory.url("mast"), str(tmp_path / "copies"))
        rows, answers = ask(spec, tmp_path / "state", {"star": (40.0, 5.0)})
        assert len(rows) == 8
        assert len(downloaded(laboratory)) == 1
    assert not answers[0].incomplete


def test_broken_file_costs_only_its_own_rows(spec: ArchiveSpec, tmp_path: Path) -> None:
    rows, answers = ask(spec, tmp_path, PLACES)
    assert set(rows.loc[rows["place"] == "broken", "survey_field"]) == {"s0020"}
    incomplete = {target: error for one in answers for target, error in one.incomplete.items()}
    assert list(incomplete) == [list(PLACES).index("broken")]
    assert "s0021" in str(incomplete[4])
    assert "['QUALITY'] are missing" in str(incomplete[4])


def test_target_with_a_broken_file_is_asked_for_again(mast: Path, tmp_path: Path) -> None:
    files = [file for file in FILES if file.number in (100, 500)]
    folder = write_mast(tmp_path / "sky" / "services" / "mast", files)
    places = {name: PLACES[name] for name in ("two sectors", "broken")}
    shard = shard_of(*zip(*places.values(), strict=True))
    (tmp_path / "part").mkdir()
    pq.write_table(shard.cast(SHARD), tmp_path / "shard.parquet")
    with Laboratory(tmp_path / "sky") as laboratory:
        probe = {"ra": 40.0, "dec": 5.0}
        spec = service_spec("tess", laboratory.url("mast"), probe=probe)

        def fetch(*, allow_partial: bool) -> tuple[pd.DataFrame, dict]:
            fetch_shard(
                shard_path=tmp_path / "shard.parquet",
                part_path=tmp_path / "part" / "0.parquet",
                status_path=tmp_path / "part" / "0.json",
                spec=spec,
                key={"shard": "0"},
                dask_config=DaskConfig("threads"),
                threads=1,
                mem_mb=500,
                allow_partial=allow_partial,
            )
            status = json.loads((tmp_path / "part" / "0.json").read_text())
            return pq.read_table(tmp_path / "part" / "0.parquet").to_pandas(), status["targets"]

        with pytest.raises(ArchiveError, match="QUALITY"):
            fetch(allow_partial=False)
        rows, targets = fetch(allow_partial=True)
        assert targets["state"] == ["data", "truncated"]
        assert targets["n_rows"] == [len(rows) - 8, 8]
        assert targets["error_class"] == [None, "schema_changed"]
        assert set(rows.loc[rows["objectid"] == "target-1", "survey_field"]) == {"s0020"}

        broken = next(file for file in files if file.columns and file.author == "SPOC")
        (folder / broken.path).unlink()
        write_fits(folder / broken.path)
        laboratory.clear_log()
        whole, targets = fetch(allow_partial=False)
        assert targets["state"] == ["data", "data"]
        assert targets["n_rows"] == [len(whole) - 16, 16]
        assert targets["message"] == [None, None]
        # The other target is not asked for again.
        assert len(downloaded(laboratory)) == 2
    assert set(whole.loc[whole["objectid"] == "target-1", "survey_field"]) == {"s0020", "s0021"}


def test_targets_named_by_number_are_found_anywhere(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    places = {"TIC 100": (41.0, 5.0), "TIC 0400": (0.0, 10.0), "other": (120.0, 30.0)}
    rows, _ = ask(spec, tmp_path, places)
    stars = rows.groupby("place")["survey_object_id"].unique().map(list)
    assert stars.to_dict() == {
        "TIC 100": ["TIC 100"],
        "TIC 0400": ["TIC 400"],
        "other": ["TIC 300"],
    }
    far = rows.loc[rows["place"] == "TIC 100", "match_arcsec"]
    assert far.to_numpy() == pytest.approx(3600 * np.cos(np.radians(5.0)), rel=1e-4)
    # One search for all names, one for all places, and the files of both.
    invoked = [entry for entry in laboratory.log("mast") if entry["path"].endswith("invoke")]
    assert len(invoked) == 4


def test_every_request_is_counted(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    archive = get_archive(changed(spec), tmp_path)
    shard = shard_of(*zip(*PLACES.values(), strict=True))
    plan = archive.plan(shard)
    # Requests travel to the workers, and the archive with them.
    archive, requests = pickle.loads(pickle.dumps((archive, plan.requests)))
    reads = sum((archive.answer(shard, request).reads for request in requests), plan.reads)
    log = laboratory.log("mast")
    assert reads.requests == len(log)
    assert len(downloaded(laboratory)) == sum(len(one.what.products) for one in requests)
    assert {len(request.targets) for request in requests} == {1}


def test_files_of_a_target_are_divided_by_their_size(
    spec: ArchiveSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = ask(spec, tmp_path, PLACES)
    monkeypatch.setattr("lightloom.archives.mast_lightcurve._REQUEST_BYTES", 1)
    divided, answers = ask(spec, tmp_path, PLACES)
    pd.testing.assert_frame_equal(whole, divided)
    assert max(answer.rows.num_rows for answer in answers) == 8


def test_answers_come_in_pages(spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path) -> None:
    whole, _ = ask(spec, tmp_path, PLACES)
    laboratory.clear_log()
    paged, _ = ask(changed(spec, page_rows=3), tmp_path, PLACES)
    pd.testing.assert_frame_equal(whole, paged)
    assert len(laboratory.log("mast")) > 20


def test_search_that_takes_a_while_is_polled(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "job_seconds", "path": "invoke", "seconds": 0.1}])
    rows, _ = ask(spec, tmp_path, {"star": (40.0, 5.0)})
    assert len(rows) == 16


def test_answer_cut_short_is_noticed(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "overflow", "path": "invoke"}])
    with pytest.raises(ArchiveError, match="by the answer's own count") as raised:
        ask(spec, tmp_path, {"star": (40.0, 5.0)})
    assert raised.value.error_class == "truncated"


def test_search_that_fails_at_first_is_repeated_by_a_worker(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    whole, _ = ask(spec, tmp_path, PLACES)
    laboratory.faults([{"action": "status", "status": 503, "nth": 1}])
    again, _ = ask(spec, tmp_path, PLACES)
    order = ["target", "survey_object_id", "survey_field"]
    pd.testing.assert_frame_equal(
        *(rows.sort_values(order, kind="stable", ignore_index=True) for rows in (whole, again))
    )


def test_passing_failure_of_a_file_is_raised(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "reset", "path": "Download"}])
    with pytest.raises(TransientArchiveError):
        ask(changed(spec), tmp_path, {"star": (40.0, 5.0)})


def test_probe_reads_a_light_curve(spec: ArchiveSpec, tmp_path: Path) -> None:
    get_archive(spec, tmp_path).probe()
    elsewhere = changed(spec, probe={"ra": 10.0, "dec": 10.0})
    with pytest.raises(ArchiveError, match="no light curve at the known place"):
        get_archive(elsewhere, tmp_path).probe()


def test_probe_names_a_column_that_has_gone(
    spec: ArchiveSpec, laboratory: Laboratory, tmp_path: Path
) -> None:
    laboratory.faults([{"action": "wrong_columns", "drop": ["t_exptime"]}])
    with pytest.raises(ArchiveSchemaError, match=r"\['t_exptime'\] are missing"):
        get_archive(spec, tmp_path).probe()
    laboratory.faults([{"action": "wrong_columns", "retype": {"s_ra": "string"}}])
    with pytest.raises(ArchiveSchemaError, match="column 's_ra' holds '40', expected int, float"):
        get_archive(spec, tmp_path).probe()


def test_bins_hold_the_weighted_mean(spec: ArchiveSpec, tmp_path: Path) -> None:
    rows, _ = ask(changed(spec, bin_s=3 * 86400.0), tmp_path, {"star": (40.0, 5.0)})
    one = rows[(rows["survey_field"] == "s0014") & (rows["band"] == "TESS")]
    # The second point is bad and the fourth without a time; errors are equal.
    assert one["native_value"].tolist() == [12.0]
    assert one["native_err"].tolist() == pytest.approx([0.25 / np.sqrt(2)], rel=1e-12)
    assert one["time_mjd"].tolist() == [57100.25]
    assert one["native_columns"].tolist() == ['{"author":"SPOC","crowdsap":0.875,"n_points":2}']


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("id_pattern", "TIC (", r"options\.id_pattern: 'TIC \(' is no regular expression"),
        ("id_pattern", "TIC", r"options\.id_pattern: 'TIC' has 0 groups, expected 1"),
        ("target_names", ["{:q}"], r"options\.target_names\[0\]: '{:q}' is no form of a number"),
        ("bin_s", 0, r"options\.bin_s"),
        ("choice", [], r"options\.choice"),
    ],
)
def test_wrong_options_are_named(option: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spec_of(CATALOGUE["tess"], options={**CATALOGUE["tess"]["options"], option: value})


def test_wrong_rules_of_copies_are_named() -> None:
    copies = {"aws": {"endpoint": "s3://bucket", "paths": [{"uri": "x", "path": r"\1"}]}}
    message = r"copies\.aws\.paths\[0\]\.uri: 'x' has 0 groups, expected 1"
    with pytest.raises(ConfigError, match=message):
        spec_of(CATALOGUE["tess"], copies=copies)


@pytest.mark.parametrize("name", ["tess", "kepler", "k2"])
def test_addresses_of_copies(name: str) -> None:
    expected = {
        "mast:TESS/product/tess2019198215352-s0014-0000000377780790-0150-s_lc.fits": (
            "tess/public/tid/s0014/0000/0003/7778/0790/"
            "tess2019198215352-s0014-0000000377780790-0150-s_lc.fits"
        ),
        "mast:Kepler/url/missions/kepler/lightcurves/0119/011904151/kplr011904151_llc.fits": (
            "kepler/public/lightcurves/0119/011904151/kplr011904151_llc.fits"
        ),
        "mast:K2/url/missions/k2/lightcurves/c5/211400000/35000/ktwo_llc.fits": (
            "k2/public/lightcurves/c5/211400000/35000/ktwo_llc.fits"
        ),
        "mast:HLSP/qlp/s0014/x_llc.fits": "mast/hlsp/qlp/s0014/x_llc.fits",
    }
    missions = {"tess": (0, 3), "kepler": (1,), "k2": (2,)}
    _, bucket = service_spec(name, "nowhere").places
    copies = [bucket.file(uri) for uri in expected]
    addresses = [copy and copy.endpoint for copy in copies]
    paths = list(expected.values())
    assert [number for number, address in enumerate(addresses) if address] == list(missions[name])
    for number in missions[name]:
        assert addresses[number] == f"s3://stpubdata/{paths[number]}"
