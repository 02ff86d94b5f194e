"""A fetch from a service: what fails, what is kept, and what is asked again."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from lightloom.carry import forget_earlier
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.errors import ArchiveError, ConfigError
from lightloom.fetch import fetch_shard
from lightloom.plan import unfinished_path
from small_run import SmallRun
from small_server import SmallServer, answer, counter_spec, running_server

KEY = {"shard_hash": "5a", "settings_hash": "5e", "code_hash": "c0"}
N_TARGETS = 12
CHUNK = 2


@dataclass
class Counted:
    """The service: what it has, and what it does when it is asked for a target."""

    server: SmallServer
    asked: list[list[str]] = field(default_factory=list)
    faults: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)

    def search(self, handler: BaseHTTPRequestHandler) -> None:
        objectids = parse_qs(urlsplit(handler.path).query)["objectids"][0].split(",")
        self.asked.append(objectids)
        for objectid in objectids:
            if objectid in self.faults:
                return self.faults[objectid](handler)
        # Every third target was never seen.
        found = {name: [58000.5] * (int(name[1:]) % 3) for name in objectids}
        return answer(json.dumps(found).encode())(handler)

    @property
    def targets_asked(self) -> set[str]:
        return {objectid for objectids in self.asked for objectid in objectids}


@pytest.fixture
def service() -> Iterator[Counted]:
    with running_server() as server:
        counted = Counted(server)
        server.routes["/columns"] = answer(b'["mjd"]')
        server.routes["/search"] = counted.search
        yield counted


@dataclass
class Job:
    """A fetch job."""

    spec: ArchiveSpec
    shard_path: Path
    part_path: Path

    @property
    def status_path(self) -> Path:
        return self.part_path.with_suffix(".status.json")

    @property
    def paths(self) -> dict[str, Path]:
        return {name: getattr(self, name) for name in ("shard_path", "part_path", "status_path")}

    def run(
        self, *, key: dict[str, str] = KEY, allow_partial: bool = False, attempt: int = 1
    ) -> None:
        fetch_shard(
            **self.paths,
            spec=self.spec,
            key=key,
            dask_config=DaskConfig(),
            threads=1,
            mem_mb=1000,
            allow_partial=allow_partial,
            attempt=attempt,
        )

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """What the status says of each target."""
        columns = json.loads(self.status_path.read_text())["targets"]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {row["objectid"]: row for row in rows}

    def states(self) -> dict[str, str]:
        return {objectid: row["state"] for objectid, row in self.targets.items()}

    def hidden(self) -> list[str]:
        return sorted(path.name for path in self.part_path.parent.glob(".*"))


@pytest.fixture
def job(service: Counted, small_run: SmallRun) -> Job:
    targets = {f"t{number}": (150.0 + number, 2.0) for number in range(N_TARGETS)}
    shard_path = small_run.add_shard("allsky", targets)
    spec = counter_spec(service.server.url, limits={"targets_per_query": CHUNK})
    return Job(spec, shard_path, small_run.results / "parts" / "counter" / "allsky.parquet")


@pytest.fixture
def undisturbed(job: Job, tmp_path: Path, service: Counted) -> bytes:
    """The bytes of the part when nothing goes wrong."""
    other = replace(job, part_path=tmp_path / "undisturbed" / "allsky.parquet")
    other.run()
    assert other.hidden() == []
    service.asked.clear()
    return other.part_path.read_bytes()


def expected_state(objectid: str) -> str:
    return "data" if int(objectid[1:]) % 3 else "searched_empty"


def test_every_target_has_a_state(job: Job, service: Counted) -> None:
    job.run()
    assert job.states() == {name: expected_state(name) for name in job.targets}
    assert pq.read_metadata(job.part_path).num_rows == 12
    assert [len(objectids) for objectids in service.asked] == [CHUNK] * (N_TARGETS // CHUNK)
    status = json.loads(job.status_path.read_text())
    assert status["reads"]["requests"] == 6
    assert status["methods"] == ["search"]
    assert job.targets["t1"]["n_sources"] == 1
    assert job.targets["t1"]["match_arcsec"] == 0.1
    # The jobs of an archive probe it once.
    job.run()
    assert [seen.path for seen in service.server.seen].count("/columns") == 1


def test_a_passing_fault_is_tried_again(job: Job, service: Counted, undisturbed: bytes) -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        del service.faults["t5"]
        answer(b"", 503)(handler)

    service.faults["t5"] = once
    job.run()
    assert len(service.asked) == N_TARGETS // CHUNK + 1
    assert job.part_path.read_bytes() == undisturbed


def test_what_failed_alone_is_asked_again(job: Job, service: Counted, undisturbed: bytes) -> None:
    service.faults["t5"] = answer(b"down", 503)
    with pytest.raises(ArchiveError, match=f"{CHUNK} of 12 targets failed.*HTTP 503.*down"):
        job.run()
    assert not job.part_path.exists()
    chunk = next(objectids for objectids in service.asked if "t5" in objectids)
    assert service.asked.count(chunk) == job.spec.limits["attempts"]
    service.asked.clear()
    with pytest.raises(ArchiveError, match=f"{CHUNK} of 12 targets failed"):
        job.run()
    assert service.targets_asked == set(chunk)
    del service.faults["t5"]
    service.asked.clear()
    job.run()
    assert service.asked == [chunk]
    assert job.part_path.read_bytes() == undisturbed
    assert job.hidden() == []


def test_a_wrong_request_is_not_repeated(job: Job, service: Counted) -> None:
    service.faults["t5"] = answer(b"no such column", 400)
    job.run(allow_partial=True)
    assert len(service.asked) == N_TARGETS // CHUNK
    failed = job.targets["t5"]
    assert (failed["state"], failed["error_class"]) == ("failed", "bad_request")
    assert "no such column" in failed["message"]
    assert failed["n_rows"] == 0


def test_a_retried_job_asks_for_passing_failures_alone(
    job: Job, service: Counted, undisturbed: bytes
) -> None:
    service.faults = {"t5": answer(b"no", 400), "t8": answer(b"", 503)}
    with pytest.raises(ArchiveError, match="4 of 12 targets failed"):
        job.run()
    wrong, down = (next(o for o in service.asked if name in o) for name in ("t5", "t8"))
    del service.faults["t8"]
    for attempt in (2, 3):
        service.asked.clear()
        with pytest.raises(ArchiveError, match=r"2 of 12 targets failed.*HTTP 400"):
            job.run(attempt=attempt)
        assert service.asked == ([down] if attempt == 2 else [])
    # The next run asks for the others as well.
    del service.faults["t5"]
    job.run()
    assert service.asked == [wrong]
    assert job.part_path.read_bytes() == undisturbed


def test_a_truncated_answer_is_no_empty_one(job: Job, service: Counted, undisturbed: bytes) -> None:
    service.faults["t6"] = answer(b"{}")
    job.run(allow_partial=True)
    row = job.targets["t6"]
    assert (row["state"], row["error_class"]) == ("truncated", "truncated")
    assert row["message"] == "0 of 2 targets answered"
    assert sum(state == "truncated" for state in job.states().values()) == CHUNK
    # The part is there, and is known not to be whole.
    assert unfinished_path(job.part_path, ".json").exists()
    del service.faults["t6"]
    service.asked.clear()
    job.run()
    assert len(service.asked) == 1
    assert job.part_path.read_bytes() == undisturbed


def test_a_drifted_service_is_not_searched(job: Job, service: Counted) -> None:
    service.server.routes["/columns"] = answer(b'["jd"]')
    job.run(allow_partial=True)
    assert service.asked == []
    rows = job.targets.values()
    assert {(row["state"], row["error_class"]) for row in rows} == {("failed", "schema_changed")}
    assert all("'mjd'" in row["message"] for row in rows)


def test_a_missing_token_is_noticed_before_anything_is_asked(job: Job, service: Counted) -> None:
    job.spec = replace(job.spec, auth={"token_env": "NO_SUCH_VARIABLE"})
    with pytest.raises(ArchiveError, match=r"12 of 12 targets failed.*NO_SUCH_VARIABLE"):
        job.run()
    assert service.server.seen == []


def test_a_service_that_is_down_is_given_up_soon(job: Job, service: Counted) -> None:
    limits = job.spec.limits | {"breaker_failures": 3, "breaker_pause_s": 0.1, "attempts": 2}
    job.spec = replace(job.spec, limits=limits | {"concurrent_requests": 1})
    service.server.routes["/search"] = answer(b"", 503)
    with pytest.raises(ArchiveError, match=r"12 of 12 targets failed"):
        job.run()
    n_searches = [seen.path for seen in service.server.seen].count("/search")
    assert 3 <= n_searches <= 8


def test_targets_outside_the_footprint_are_not_asked_for(job: Job, service: Counted) -> None:
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from mocpy import MOC

    lon, lat = Longitude([150.0, 153.0] * u.deg), Latitude([2.0, 2.0] * u.deg)
    moc = MOC.from_lonlat(lon, lat, max_norder=12)
    job.spec = replace(job.spec, footprint=moc.to_string())
    job.run()
    assert service.targets_asked == {"t0", "t3"}
    outside = {name for name, state in job.states().items() if state == "outside_footprint"}
    assert outside == {f"t{number}" for number in range(N_TARGETS)} - {"t0", "t3"}
    # A shard outside is not even probed.
    service.server.seen.clear()
    other = replace(job)
    other.spec = replace(job.spec, footprint="0/1", limits=job.spec.limits | {"probe_valid_s": 0})
    other.run()
    assert set(other.states().values()) == {"outside_footprint"}
    assert service.server.seen == []


def test_a_wrong_footprint_is_named(job: Job) -> None:
    job.spec = replace(job.spec, footprint="nowhere.fits")
    with pytest.raises(ConfigError, match=r"archives.counter.footprint: found 'nowhere.fits'"):
        job.run()


def killed(job: Job, service: Counted, n_answers: int) -> None:
    """Run the job in a process that is killed when it has so many answers and asks on."""
    release = threading.Event()
    enough = threading.Event()
    calm = service.server.routes["/search"]

    def stuck(handler: BaseHTTPRequestHandler) -> None:
        if len(service.asked) < n_answers:
            calm(handler)
        else:
            enough.set()
            release.wait(20)

    service.server.routes["/search"] = stuck
    arguments = {
        "paths": {name: str(path) for name, path in job.paths.items()},
        "spec": job.spec.as_dict(),
        "key": KEY,
    }
    script = Path(__file__).with_name("fetching_process.py")
    process = subprocess.Popen(
        [sys.executable, script, json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    assert enough.wait(60)
    answers = unfinished_path(job.part_path, ".answers")
    deadline_s = time.monotonic() + 10
    while sum(len(path.read_text().splitlines()) for path in answers.rglob("*.jsonl")) < n_answers:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process.kill()
    process.wait()
    release.set()
    service.server.routes["/search"] = calm


def test_a_killed_job_goes_on_where_it_was(job: Job, service: Counted, undisturbed: bytes) -> None:
    job.spec = replace(job.spec, limits=job.spec.limits | {"concurrent_requests": 1})
    killed(job, service, n_answers=4)
    found = service.targets_asked
    service.asked.clear()
    # Once more, with a fault before: three attempts make the part.
    missing = sorted({f"t{number}" for number in range(N_TARGETS)} - found)
    assert len(missing) == 4
    service.faults[missing[0]] = answer(b"no", 400)
    with pytest.raises(ArchiveError, match="2 of 12 targets failed"):
        job.run()
    service.faults.clear()
    job.run()
    assert sorted(service.targets_asked) == missing
    assert len(service.asked) == 3
    assert job.part_path.read_bytes() == undisturbed
    assert job.hidden() == []


@pytest.mark.parametrize("damage", ["line", "file"])
def test_what_a_kill_has_cut_is_asked_again(
    job: Job, service: Counted, undisturbed: bytes, damage: str
) -> None:
    service.faults["t5"] = answer(b"no", 400)
    with pytest.raises(ArchiveError):
        job.run()
    # A job that is killed does not get as far as this.
    forget_earlier(job.part_path)
    answers = unfinished_path(job.part_path, ".answers") / "0000"
    lines = (answers / "answers.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 5
    if damage == "line":
        (answers / "answers.jsonl").write_text("".join(lines)[:-20])
    else:
        file = answers / "000004.arrow"
        file.write_bytes(file.read_bytes()[:-20])
    service.faults.clear()
    service.asked.clear()
    job.run()
    assert len(service.targets_asked) == 2 * CHUNK
    assert job.part_path.read_bytes() == undisturbed


def test_answers_for_another_key_are_forgotten(job: Job, service: Counted) -> None:
    service.faults["t5"] = answer(b"no", 400)
    with pytest.raises(ArchiveError):
        job.run()
    service.faults.clear()
    service.asked.clear()
    job.run(key=KEY | {"settings_hash": "other"})
    assert len(service.targets_asked) == N_TARGETS
