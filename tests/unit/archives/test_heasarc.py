"""Events through TAP: circles of their own, asked for by upload or found in the whole table."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from small_services import ORIGIN_DEG, ask, events, rows_of, service_spec, write_tables

from laboratory import Laboratory
from lightloom.archives import get_archive
from lightloom.errors import ArchiveSchemaError, TruncatedAnswerError
from lightloom.schema import TARGET_ROWS, conform

#: The target of the designed events, one at a pole, and one elsewhere.
RA_DEG, DEC_DEG = [ORIGIN_DEG[0], 0.0, 200.0], [ORIGIN_DEG[1], 90.0, 33.0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(write_tables(tmp_path_factory.mktemp("sky"))) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(server: Laboratory) -> Laboratory:
    server.faults([])
    server.clear_log()
    return server


def _expected(factor: float = 1.0, systematic_deg: float = 0.0) -> list[tuple[int, float]]:
    """Targets and times of the events whose circles hold them."""
    table = events()
    targets = SkyCoord(RA_DEG, DEC_DEG, unit=u.deg)[:, np.newaxis]
    distance = targets.separation(SkyCoord(table["ra"], table["dec"], unit=u.deg)).deg
    radius = table["error_radius"].to_numpy() * factor + systematic_deg
    target, event = np.nonzero(distance <= radius)
    return sorted(zip(target.tolist(), table["time"][event].tolist(), strict=True))


def _found(rows: pd.DataFrame) -> list[tuple[int, float]]:
    return sorted(zip(rows["target"].tolist(), rows["time_mjd"].tolist(), strict=True))


@pytest.mark.parametrize("name", ["fermigbm", "icecube"])
@pytest.mark.parametrize(("factor", "systematic_deg"), [(1.0, 0.0), (2.0, 0.5), (0.0, 3.0)])
def test_every_event_whose_circle_holds_the_target(
    laboratory: Laboratory, tmp_path: Path, name: str, factor: float, systematic_deg: float
) -> None:
    options = {"error_radius_factor": factor, "systematic_deg": systematic_deg}
    spec = service_spec(laboratory, name, options=options)
    _, answers = ask(spec, tmp_path, RA_DEG, DEC_DEG)
    assert _found(rows_of(answers)) == _expected(factor, systematic_deg)


def test_circle_that_ends_before_the_target_does_not_hold_it(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    n_events = len(events())
    for name in ("fermigbm", "icecube"):
        spec = service_spec(laboratory, name)
        _, answers = ask(spec, tmp_path / name, RA_DEG[:1], DEC_DEG[:1])
        times = set(rows_of(answers)["time_mjd"])
        designed = events()["time"][n_events - 3 :].tolist()
        assert [time in times for time in designed] == [True, False, True]


def test_event_is_no_flux(laboratory: Laboratory, tmp_path: Path) -> None:
    archive, answers = ask(service_spec(laboratory, "fermigbm"), tmp_path, RA_DEG, DEC_DEG)
    conform(answers[0].rows, TARGET_ROWS, "rows")
    rows = rows_of(answers)
    assert set(rows["kind"]) == {"event"}
    assert set(rows["band"]) == {"GBM"}
    assert rows[["flux_mjy", "native_value", "flags_native"]].isna().all().all()
    assert set(rows["native_unit"]) == {"none"}
    types = [json.loads(text)["trigger_type"] for text in rows["native_columns"]]
    assert rows["quality"].tolist() == [int(type_ != "GRB") for type_ in types]
    assert set(rows["survey_object_id"]) <= {f"bn{number}" for number in range(len(events()))}
    assert archive.competing_sources(answers[0].rows).num_rows == 0


def test_energy_of_a_neutrino_is_kept(laboratory: Laboratory, tmp_path: Path) -> None:
    _, answers = ask(service_spec(laboratory, "icecube"), tmp_path, RA_DEG, DEC_DEG)
    rows = rows_of(answers)
    energies = events().set_index("time")["event_energy"]
    np.testing.assert_array_equal(rows["native_value"], energies[rows["time_mjd"]])
    assert set(rows["native_unit"]) == {"GeV"}
    # Without ids in the table, events are told apart by time and place.
    assert rows["survey_object_id"].isna().all()
    sources = answers[0].sources.to_pandas()
    assert sources.groupby("target")["survey_object_id"].nunique().sum() == len(rows)


def test_whole_table_is_fetched_once_in_pieces_that_no_reply_truncates(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    limits = {"targets_per_query": 1}
    spec = service_spec(laboratory, "icecube", options={"maxrec": 50}, limits=limits)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(ask, spec, tmp_path, RA_DEG, DEC_DEG) for _ in range(4)]
    found = [_found(rows_of(job.result()[1])) for job in jobs]
    assert found == [_expected()] * 4
    counts = len(events()) // 25
    # Each piece is asked for and counted, and the table is counted.
    assert 2 * counts < len(laboratory.log("heasarc")) < 4 * counts
    assert [path.suffix for path in sorted(tmp_path.rglob("events-*"))] == [".lock", ".parquet"]


def test_whole_table_is_the_same_file_however_it_was_cut(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    contents = []
    for maxrec in (30, 1000):
        state = tmp_path / str(maxrec)
        spec = service_spec(laboratory, "icecube", options={"maxrec": maxrec})
        ask(spec, state, RA_DEG, DEC_DEG)
        (path,) = state.rglob("events-*.parquet")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_whole_table_of_which_rows_are_missing_is_not_kept(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = service_spec(laboratory, "icecube")
    row = events().iloc[10]
    missing = {"action": "missing_target", "position": [row["ra"], row["dec"], 1.0]}
    laboratory.faults([missing])
    with pytest.raises(TruncatedAnswerError, match="has 0 rows, the service counts 1"):
        ask(spec, tmp_path, RA_DEG, DEC_DEG)
    assert not list(tmp_path.rglob("events-*.parquet"))
    laboratory.faults([])
    _, answers = ask(spec, tmp_path, RA_DEG, DEC_DEG)
    assert _found(rows_of(answers)) == _expected()


@pytest.mark.parametrize("name", ["fermigbm", "icecube"])
def test_drift_is_told_by_the_probe(laboratory: Laboratory, tmp_path: Path, name: str) -> None:
    spec = service_spec(laboratory, name)
    get_archive(spec, tmp_path).probe()
    laboratory.faults([{"action": "wrong_columns", "units": {"error_radius": "arcsec"}}])
    message = "'error_radius' has unit 'arcsec', expected 'deg'"
    with pytest.raises(ArchiveSchemaError, match=message):
        get_archive(spec, tmp_path).probe()
