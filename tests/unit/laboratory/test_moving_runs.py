"""Jobs for moving objects against servers that answer as Horizons and Kowalski do."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import moving_search
import pyarrow.parquet as pq
import pytest
from moving_search import OBJECTS, TOKEN, Search, states, write_moving_sky

from laboratory import Laboratory
from lightloom.errors import ArchiveSchemaError, BadRequestError, TruncatedAnswerError
from lightloom.moving.cones import Cone
from lightloom.moving.errors import UnresolvedError
from lightloom.moving.horizons import Horizons
from lightloom.moving.kowalski import Kowalski
from lightloom.moving.match import open_kowalski
from lightloom.moving.merge import ledger, light_curves
from lightloom.moving.plan import alert_versions
from lightloom.moving.schema import MATCH
from lightloom.moving.service import ServiceSpec
from lightloom.moving.windows import Window


@pytest.fixture(scope="module")
def sky(small_sky: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sky with more alerts of moving objects."""
    folder = tmp_path_factory.mktemp("moving") / "sky"
    shutil.copytree(small_sky, folder, ignore=shutil.ignore_patterns("moving"))
    write_moving_sky(folder)
    return folder


@pytest.fixture(scope="module")
def moving_laboratory(sky: Path):
    with Laboratory(sky, tokens={"kowalski": TOKEN}) as running:
        yield running


@pytest.fixture(scope="module")
def tracks(
    sky: Path, moving_laboratory: Laboratory, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The ephemerides of a search, which most tests need not ask for again."""
    search = Search(tmp_path_factory.mktemp("moving") / "tracks", sky, moving_laboratory)
    search.fetch()
    return search.folder / "ephemerides"


@pytest.fixture
def new_search(
    tmp_path: Path, sky: Path, moving_laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> Search:
    monkeypatch.setenv("TEST_KOWALSKI", TOKEN)
    moving_laboratory.faults([])
    moving_laboratory.clear_log()
    return Search(tmp_path, sky, moving_laboratory)


@pytest.fixture
def search(new_search: Search, tracks: Path) -> Search:
    shutil.copytree(tracks, new_search.folder / "ephemerides")
    new_search.laboratory.clear_log()
    return new_search


def test_both_sources_find_what_must_be_found(search: Search, sky: Path) -> None:
    search.run()
    results = search.results()
    truth = pq.read_table(sky / "moving" / "truth" / "matches.parquet").to_pandas()
    sigma = (truth.ra_3sigma_arcsec**2 + truth.dec_3sigma_arcsec**2) ** 0.5
    inside = (truth.mid_mjd >= 58484) & (truth.mid_mjd < 58543)
    wanted = truth[inside & (truth.separation_arcsec <= 5.0 + sigma.clip(upper=60.0))]
    ids = {"46P": OBJECTS[0], "2I": OBJECTS[1], "1": OBJECTS[2]}
    expected = {
        (ids[name], candid)
        for name, candid in zip(wanted.designation, wanted.candid, strict=True)
        if name in ids
    }
    assert len(expected) > 3
    found = results["objects"].to_pandas()
    for source in ("files", "kowalski"):
        mine = found[found.source == source]
        assert set(zip(mine.objectid, mine.candid, strict=True)) == expected
        assert len(mine) == len(expected)
    lines = results["ledger.parquet"].to_pandas()
    assert len(lines) == 3 * 2 * 2
    assert set(lines.state) == {"data", "searched_empty"}
    assert results["lightcurves.parquet"].num_rows == len(found)
    assert set(results["lightcurves.parquet"]["archive"].to_pylist()) == {"files", "kowalski"}
    # A grid of 10 minutes has 144 cones a day.
    cones = lines[lines.source == "kowalski"].n_requests.sum()
    assert 0 < cones <= 3 * 59 * 144 / 100


QUERY_TYPES = ("cone_search", "near", "find")


def test_every_query_finds_the_same(search: Search) -> None:
    """Each in many small requests."""
    broker = search.section["sources"].pop("kowalski")
    search.section["sources"] |= {
        kind: {**broker, "query_type": kind, "most_bytes": 2000} for kind in QUERY_TYPES
    }
    assert states(search.run()) == {"data", "searched_empty"}
    found = search.results()["objects"].drop_columns(["source"]).to_pylist()
    rows = [tuple(row.items()) for row in found]
    assert len(rows) == 4 * len(set(rows)) > 12
    asked = search.asked("kowalski")
    assert {one["status"] for one in asked} == {200}
    assert 1500 < max(one["bytes_in"] for one in asked) <= 2000
    assert len(asked) > 12


def open_broker(search: Search, **options: Any) -> Kowalski:
    search.section["sources"]["kowalski"] |= options
    (source,) = [one for one in search.config.sources if one.kind == "kowalski"]
    return open_kowalski(source, search.folder)


@pytest.fixture
def around(sky: Path) -> list[Cone]:
    """Cones that overlap, around the place and time of some alerts."""
    alerts = pq.read_table(sky / "services" / "kowalski" / "ZTF_alerts.parquet").to_pandas()
    ones = alerts[alerts.ssnamenr != "null"].sort_values("jd").iloc[10:14]
    mjd = ones.jd - 2400000.5
    return [
        Cone(one.ra, one.dec, 3600.0 + number, mjd.min() - 1, mjd.max() + 1)
        for number, one in enumerate(ones.itertuples())
        for _ in range(2)
    ]


def whole(cones: list[Cone]) -> Window:
    return Window("all", min(c.start_mjd for c in cones), max(c.stop_mjd for c in cones))


@pytest.mark.parametrize("query_type", QUERY_TYPES)
def test_an_alert_in_several_cones_is_one(
    search: Search, around: list[Cone], query_type: str
) -> None:
    broker = open_broker(search, query_type=query_type)
    alerts = broker.alerts(around, whole(around))
    (record,) = search.asked("kowalski")
    candids = alerts["candid"].to_pylist()
    assert len(set(candids)) == len(candids) >= 4
    # With find it is the server that gives each once.
    assert record["rows"] >= len(candids) * (1 if query_type == "find" else 2)
    assert alerts["time_mjd"].to_pylist() == sorted(alerts["time_mjd"].to_pylist())


@pytest.mark.parametrize("query_type", QUERY_TYPES)
def test_a_filter_on_the_time_stands_beside_that_of_the_window(
    search: Search, around: list[Cone], query_type: str
) -> None:
    """It might replace the window's, or the window's it."""
    everything = open_broker(search, query_type=query_type).alerts(around, whole(around))
    middle = sorted(everything["time_mjd"].to_pylist())[everything.num_rows // 2] + 2400000.5
    conditions = {"candidate.jd": {"$lt": middle - 0.01}, "$or": [{"candidate.fid": 1}, {}]}
    broker = open_broker(search, query_type=query_type, filter=conditions)
    found = broker.alerts(around, whole(around))
    assert 0 < found.num_rows < everything.num_rows
    assert max(found["time_mjd"].to_pylist()) < middle - 2400000.5


def test_a_full_answer_is_asked_for_in_halves(search: Search, around: list[Cone]) -> None:
    """The limit of find is one for all its cones, that of the others is one for each cone."""
    expected = open_broker(search).alerts(around, whole(around))
    apart = [Cone(c.ra_deg, c.dec_deg, 60.0, c.start_mjd, c.stop_mjd) for c in around]
    few = open_broker(search).alerts(apart, whole(around))
    most = 1 + max(open_broker(search).alerts([one], whole(around)).num_rows for one in apart)
    assert most <= few.num_rows < expected.num_rows
    search.laboratory.clear_log()
    broker = open_broker(search, query_type="find", most_alerts=most)
    assert broker.alerts(apart, whole(around)).equals(few)
    assert len(search.asked("kowalski")) > 1
    for query_type in QUERY_TYPES:
        broker = open_broker(search, query_type=query_type, most_alerts=1)
        with pytest.raises(TruncatedAnswerError, match="raise most_alerts"):
            broker.alerts(around, whole(around))
    search.section["sources"]["kowalski"]["most_alerts"] = 1
    assert "truncated" in states(search.run(), source="kowalski")


@pytest.mark.parametrize("query_type", QUERY_TYPES)
def test_a_query_that_is_too_large(search: Search, around: list[Cone], query_type: str) -> None:
    large = {"candid": {"$nin": list(range(10**9, 10**9 + 90_000))}}
    broker = open_broker(search, query_type=query_type, filter=large)
    with pytest.raises(BadRequestError, match="for one cone, expected at most 900000: shorten"):
        list(broker.batches(around))
    # What Kowalski itself says of it, and of a wrong condition.
    with pytest.raises(BadRequestError, match="Maximum request body size"):
        broker.alerts(around, whole(around))
    assert [one["status"] for one in search.asked("kowalski")] == [413]
    wrong = {"candidate.rb": {"$above": 0.5}}
    broker = open_broker(search, query_type=query_type, filter=wrong)
    with pytest.raises(BadRequestError, match=r"unknown operator: \$above"):
        broker.alerts(around, whole(around))


def written(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return the files per object and window, and when each was written."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*/*/*.parquet"))
    }


def test_a_second_run_asks_nothing_and_a_new_month_only_that(search: Search) -> None:
    search.run()
    first = written(search.folder)
    search.laboratory.clear_log()
    search.run()
    assert not search.laboratory.log()
    search.section["stop"] = "2019-04-01"
    search.run()
    # One for each object to find its name, and those of the month.
    assert 3 * 2 <= len(search.asked("horizons")) <= 3 * 3
    days = [time for one in search.asked("horizons") for time in one["times"]]
    assert "2019-03-01" <= min(days) < max(days) < "2019-04-03"
    jd = [float(time) for one in search.asked("kowalski") for time in one["times"]]
    # An exposure may begin an hour before the month.
    assert 2458543.5 - 1.01 / 24 < min(jd) < max(jd) <= 2458574.5
    assert {path: now for path, now in written(search.folder).items() if path in first} == first
    assert len(written(search.folder)) == len(first) + 3 * (1 + 2)


def test_a_new_object_is_fetched_alone(search: Search) -> None:
    search.run()
    first = written(search.folder)
    search.laboratory.clear_log()
    search.section["objects"] = [*OBJECTS, "29P"]
    search.run()
    assert {target for one in search.asked("horizons") for target in one["targets"]} == {
        "DES=29P; CAP; NOFRAG;"
    }
    assert 0 < len(search.asked("horizons")) <= 1 + 3 * 2
    assert {path: now for path, now in written(search.folder).items() if path in first} == first
    assert len(written(search.folder)) == len(first) + 2 * (1 + 2)


def test_a_new_month_of_alerts_changes_no_other(
    search: Search, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The folder grows with the range; what was late for a month that is done is seen."""
    source = search.section["sources"]["files"]
    del search.section["sources"]["kowalski"]
    everything, growing = Path(source["endpoint"]), tmp_path_factory.mktemp("growing")
    source["endpoint"] = str(growing)
    for month in ("2018-12", "2019-01", "2019-02"):
        shutil.copytree(everything / f"month={month}", growing / f"month={month}")
    search.run()
    first = written(search.folder)
    assert {path.stem for path in first} == {"2019-01", "2019-02"}
    shutil.copytree(everything / "month=2019-03", growing / "month=2019-03")
    search.run()
    assert written(search.folder) == first
    late = growing / "month=2019-01" / "part-1.parquet"
    shutil.copyfile(growing / "month=2019-01" / "part-0.parquet", late)
    search.run()
    changed = {path for path, now in written(search.folder).items() if first[path] != now}
    # An exposure at the end of January may have its middle in February.
    assert {path.stem for path in changed} == {"2019-01", "2019-02"}
    assert {path.parent.parent.parent.name for path in changed} == {"matches"}
    found = search.results()["objects"]
    assert found.num_rows == len(set(found["candid"].to_pylist())) > 3


def test_a_window_that_is_not_over_is_searched_again_on_another_day(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_at(date: str) -> set[str]:
        monkeypatch.setattr(
            "lightloom.moving.windows.now", lambda: datetime.fromisoformat(date + "+00:00")
        )
        search.laboratory.clear_log()
        search.run()
        assert not search.asked("horizons")
        return {time[:5] for one in search.asked("kowalski") for time in one["times"]}

    # January ends with JD 2458515.5, February with 2458543.5.
    assert run_at("2019-02-15T12:00") == {"24584", "24585"}
    begun = alert_versions(search.config)
    assert run_at("2019-02-15T18:00") == set()
    matches = search.folder / "matches" / "kowalski"
    first = written(matches.parent)
    run_at("2019-02-16T01:00")
    changed = {path for path, now in written(matches.parent).items() if first[path] != now}
    assert {path.stem for path in changed} == {"2019-02"}
    assert changed == set(matches.glob("*/2019-02.parquet"))
    run_at("2019-03-03T01:00")
    assert search.asked("kowalski")
    assert alert_versions(search.config)["kowalski"] == "" != begun["kowalski"]
    assert run_at("2019-04-01T01:00") == set()


def test_an_interrupted_run_goes_on_without_double_or_lost_matches(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    search.run()
    whole = search.results()["objects"]
    files = sorted((search.folder / "matches").rglob("*.parquet"))
    tracks = sorted((search.folder / "ephemerides").rglob("*.parquet"))
    for path in (*files[::2], *tracks[::3]):
        path.unlink()
    # What a killed job leaves of a file that it was writing.
    tracks[1].write_bytes(tracks[1].read_bytes()[:100])
    for status in search.folder.glob("*/block.json"):
        status.unlink()
    search.run()
    assert search.results()["objects"].equals(whole)


def killed_run(search: Search, fault: dict[str, Any], has_begun: Callable[[], bool]) -> None:
    """Kill a run while a service keeps it waiting, once it has kept some of its work."""
    search.laboratory.faults([{"action": "timeout", "seconds": 60.0, **fault}])
    command = [sys.executable, str(Path(moving_search.__file__))]
    command += [str(search.folder), json.dumps(search.section)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment) as process:
        try:
            end_s = time.monotonic() + 60
            while not (has_begun() and search.laboratory.fault_report()[0]["applied"]):
                assert process.poll() is None
                assert time.monotonic() < end_s
                time.sleep(0.05)
        finally:
            process.kill()
    search.laboratory.faults([])


def test_killed_runs_leave_nothing_double_and_nothing_out(
    search: Search, tmp_path_factory: pytest.TempPathFactory, sky: Path
) -> None:
    # A window is then one request.
    search.section["sources"]["kowalski"]["query_type"] = "find"
    search.run()
    whole = {name: table.to_pylist() for name, table in search.results().items()}
    again = Search(tmp_path_factory.mktemp("killed"), sky, search.laboratory)
    again.section = search.section

    def n_kept(folder: str) -> int:
        return len(list((again.folder / folder).glob("*/*.parquet")))

    killed_run(again, {"service": "horizons", "nth": 6}, lambda: n_kept("ephemerides/I41") > 0)
    assert n_kept("ephemerides/I41") < 6
    killed_run(again, {"service": "kowalski", "nth": 2}, lambda: n_kept("matches/kowalski") == 3)
    kept = written(again.folder)
    again.laboratory.clear_log()
    again.run()
    assert not again.asked("horizons")
    assert len(again.asked("kowalski")) == 1
    assert {path: now for path, now in written(again.folder).items() if path in kept} == kept
    assert {name: table.to_pylist() for name, table in again.results().items()} == whole


def test_what_cannot_be_found_has_its_state_and_the_others_carry_on(search: Search) -> None:
    search.section["objects"] = [*OBJECTS, "C/1899 X9", "Nosuchname"]
    records = search.run()
    for name in ("C/1899 X9", "Nosuchname"):
        assert states(records, object=name) == {"unresolved"}
    for name in OBJECTS:
        assert states(records, object=name) <= {"data", "searched_empty"}
    messages = {one["message"] for one in records if one["object"] == "Nosuchname"}
    assert messages == {"Nosuchname: Horizons knows no such object; check its designation"}
    assert ledger(records).num_rows == 5 * 2 * 2


def test_horizons_is_down(new_search: Search) -> None:
    new_search.laboratory.faults([{"service": "horizons", "action": "status", "status": 503}])
    records = new_search.run()
    assert states(records) == {"failed"}
    assert {one["error_class"] for one in records} == {"transient"}
    new_search.laboratory.faults([])
    new_search.folder.joinpath(".services").rename(new_search.folder / "old")
    assert states(new_search.run()) == {"data", "searched_empty"}


def test_kowalski_is_down_and_the_files_carry_on(search: Search) -> None:
    search.laboratory.faults([{"service": "kowalski", "action": "status", "status": 502}])
    records = search.run()
    assert states(records, source="kowalski") == {"failed"}
    assert states(records, source="files") == {"data", "searched_empty"}


@pytest.mark.parametrize("token", [f"{TOKEN}@1000", "wrong", ""])
def test_a_token_that_is_not_taken(
    search: Search,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    token: str,
) -> None:
    monkeypatch.setenv("TEST_KOWALSKI", token)
    records = search.run()
    assert states(records, source="kowalski") == {"failed"}
    failed = [one for one in records if one["source"] == "kowalski"]
    assert {one["error_class"] for one in failed} == {"authentication"}
    expected = {f"{TOKEN}@1000": "token has expired", "wrong": "token is invalid"}.get(
        token, "found nothing in environment variable TEST_KOWALSKI"
    )
    assert all(expected in one["message"] for one in failed)
    assert all(TOKEN not in one["message"] for one in failed)
    assert states(records, source="files") == {"data", "searched_empty"}
    logged = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert len([text for text in logged if expected in text]) == len(failed)
    # With a good token the next run asks for these, and for nothing else.
    first = written(search.folder)
    search.laboratory.clear_log()
    monkeypatch.setenv("TEST_KOWALSKI", TOKEN)
    assert states(search.run()) == {"data", "searched_empty"}
    assert {one["service"] for one in search.laboratory.log()} == {"kowalski"}
    assert {path: now for path, now in written(search.folder).items() if path in first} == first


@pytest.mark.parametrize(
    ("query_type", "reply", "kind", "message"),
    [
        ("near", {"message": "Successfully executed query"}, ArchiveSchemaError, "has no data"),
        ("find", {"data": None}, ArchiveSchemaError, "has no data, only data, status"),
        ("find", {"data": {"ZTF_alerts": {"cone0": []}}}, ArchiveSchemaError, "no list of alerts"),
        ("near", {"data": {"ZTF_alerts": {"cone0": None}}}, ArchiveSchemaError, "no list of"),
        ("near", {"data": {"ZTF_alerts": {"cone0": []}}}, ArchiveSchemaError, "1 cones, expect"),
        ("cone_search", {"data": {}}, ArchiveSchemaError, "no alerts of ZTF_alerts"),
        ("cone_search", {"data": [1]}, ArchiveSchemaError, "no alerts of ZTF_alerts"),
        ("near", {"status": "error", "message": "no such user"}, BadRequestError, "no such user"),
    ],
)
def test_replies_without_data(
    search: Search, around: list[Cone], query_type: str, reply: dict, kind: type, message: str
) -> None:
    """Such replies are answers with status 200."""
    text = json.dumps({"status": "success", **reply})
    search.laboratory.faults(
        [{"service": "kowalski", "action": "status", "status": 200, "message": text}]
    )
    with pytest.raises(kind, match=message):
        open_broker(search, query_type=query_type).alerts(around, whole(around))


def test_a_reply_without_data_is_a_failure_of_its_own_window(
    search: Search, caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps({"status": "success", "message": "Successfully executed query"})
    fault = {"service": "kowalski", "action": "status", "status": 200, "message": text}
    search.laboratory.faults([{**fault, "nth": 1}])
    records = search.run()
    failed = [one for one in records if one["state"] == "failed"]
    # A window is asked for as a whole, for all objects.
    assert len({one["window"] for one in failed}) == 1
    assert len(failed) == len(OBJECTS)
    assert {one["error_class"] for one in failed} == {"schema_changed"}
    assert all("says success but has no data" in one["message"] for one in failed)
    assert len([one for one in caplog.records if "has no data" in one.getMessage()]) == 3
    assert states(records, source="files") == {"data", "searched_empty"}
    assert states(search.run()) == {"data", "searched_empty"}
    found = search.results()["objects"].to_pandas()
    pairs = {source: set(some.candid) for source, some in found.groupby("source")}
    assert pairs["kowalski"] == pairs["files"]


def test_light_curves_of_nothing() -> None:
    assert light_curves(MATCH.empty_table()).num_rows == 0


@pytest.fixture
def horizons(new_search: Search) -> Horizons:
    config = new_search.config.ephemerides
    spec = ServiceSpec("horizons", config.endpoint, config.limits)
    return Horizons(spec, new_search.folder / ".services", "I41", 90000)


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        ("1P", "DES=1P; CAP; NOFRAG;", "1P/Halley"),
        ("67P/Churyumov-Gerasimenko", "DES=67P; CAP; NOFRAG;", "67P/Churyumov-Gerasimenko"),
        ("73P", "DES=73P; CAP; NOFRAG;", "73P/Schwassmann-Wachmann 3"),
        ("73P-BT", "DES=73P-BT; CAP;", "73P-BT/Schwassmann-Wachmann 3"),
        ("73P/Schwassmann-Wachmann 3-B", "DES=73P-B; CAP;", "73P-B/Schwassmann-Wachmann 3"),
        ("332P", "DES=332P; CAP; NOFRAG;", "332P/Ikeya-Murakami"),
        ("332P-C", "DES=332P-C; CAP;", "332P-C/Ikeya-Murakami"),
        ("C/2019 Y4-B (ATLAS)", "DES=C/2019 Y4-B; CAP;", "C/2019 Y4-B (ATLAS)"),
        ("C/2020 F3 (NEOWISE)", "DES=C/2020 F3; CAP; NOFRAG;", "C/2020 F3 (NEOWISE)"),
        ("1I/'Oumuamua", "DES=1I; CAP; NOFRAG;", "1I/'Oumuamua"),
        ("A/2017 U1", "DES=A/2017 U1; CAP; NOFRAG;", "1I/'Oumuamua"),
        ("2I = C/2019 Q4", "DES=2I; CAP; NOFRAG;", "2I/Borisov"),
        ("C/2019 Q4 = 2I", "DES=C/2019 Q4; CAP; NOFRAG;", "2I/Borisov"),
        ("P/2010 V1 = 332P", "DES=P/2010 V1; CAP; NOFRAG;", "332P/Ikeya-Murakami"),
        ("95P = 2060", "DES=95P; CAP; NOFRAG;", "95P/Chiron"),
        ("Ceres", "Ceres;", "1 Ceres (A801 AA)"),
        ("99942", "99942;", "99942 Apophis (2004 MN4)"),
    ],
)
def test_names_resolve(
    horizons: Horizons, new_search: Search, name: str, command: str, expected: str
) -> None:
    assert horizons.resolve(name, 58500.0).name == expected
    assert new_search.asked("horizons")[-1]["targets"] == [command]


@pytest.mark.parametrize(
    ("name", "command"),
    [("332P-A", "DES=332P-A; CAP;"), ("3I = C/2025 N1", "DES=3I; CAP; NOFRAG;")],
)
def test_objects_that_the_service_does_not_know_are_asked_for_as_others(
    horizons: Horizons, new_search: Search, name: str, command: str
) -> None:
    """The embedded sky has no orbits of these: neither is taken for another object."""
    with pytest.raises(UnresolvedError, match=name):
        horizons.resolve(name, 58500.0)
    assert new_search.asked("horizons")[-1]["targets"] == [command]


def test_an_apparition_is_chosen_by_the_time(horizons: Horizons, new_search: Search) -> None:
    """A name that is no designation fits all apparitions; the closest one before is taken."""
    assert horizons.resolve("Encke", 58500.0).id == "90000080"
    assert horizons.resolve("Encke", 59600.0).id == "90000091"
