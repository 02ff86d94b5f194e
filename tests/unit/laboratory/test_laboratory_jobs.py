"""Asynchronous jobs: their phases, and that they outlive their client."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import pyvo
import requests

from laboratory import Laboratory

QUERY = "SELECT TOP 3 trigger_name FROM fermigtrig ORDER BY trigger_name"
# pyvo leaves connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def base(laboratory: Laboratory) -> Iterator[str]:
    yield laboratory.url("heasarc") + "/tap"
    # A slow job would keep others waiting.
    for job in pyvo.dal.TAPService(laboratory.url("heasarc") + "/tap").get_job_list():
        requests.delete(f"{laboratory.url('heasarc')}/tap/async/{job.jobid}", timeout=10)


def slow_down(laboratory: Laboratory, seconds: float) -> None:
    laboratory.faults([{"action": "job_seconds", "seconds": seconds}])


def test_life_of_a_job(base: str) -> None:
    job = pyvo.dal.TAPService(base).submit_job(QUERY, maxrec=2)
    assert job.phase == "PENDING"
    assert job.query == QUERY
    job.run().wait(timeout=10)
    assert job.phase == "COMPLETED"
    found = job.fetch_result()
    assert list(found["trigger_name"]) == ["bn000000", "bn000001"]
    assert found.status[0] == "OVERFLOW"
    address = job.url
    job.delete()
    assert requests.get(address, timeout=10).status_code == 404


def test_error_is_in_the_job_and_in_its_document(base: str) -> None:
    job = pyvo.dal.TAPService(base).submit_job("SELECT nope FROM fermigtrig").run()
    job.wait(timeout=10)
    assert job.phase == "ERROR"
    with pytest.raises(pyvo.dal.DALQueryError, match="nope"):
        job.raise_if_error()
    document = requests.get(f"{job.url}/error", timeout=10)
    assert 'value="ERROR"' in document.text
    assert "nope" in document.text
    assert requests.get(f"{job.url}/results/result", timeout=10).status_code == 404


def test_wait_returns_when_the_phase_changes(laboratory: Laboratory, base: str) -> None:
    slow_down(laboratory, 0.5)
    job = pyvo.dal.TAPService(base).submit_job(QUERY).run()
    laboratory.faults([])
    begin_s = time.monotonic()
    reply = requests.get(job.url, {"WAIT": "20", "PHASE": "EXECUTING"}, timeout=30)
    assert 0.2 < time.monotonic() - begin_s < 5
    assert "<uws:phase>COMPLETED</uws:phase>" in reply.text
    begin_s = time.monotonic()
    requests.get(job.url, {"WAIT": "20"}, timeout=30)
    assert time.monotonic() - begin_s < 5


def test_wait_ends_with_its_seconds(laboratory: Laboratory, base: str) -> None:
    slow_down(laboratory, 30)
    job = pyvo.dal.TAPService(base).submit_job(QUERY).run()
    laboratory.faults([])
    begin_s = time.monotonic()
    requests.get(job.url, {"WAIT": "0.2", "PHASE": "EXECUTING"}, timeout=30)
    assert time.monotonic() - begin_s < 5


def test_abort_ends_a_job_at_once_and_frees_its_slot(laboratory: Laboratory, base: str) -> None:
    slow_down(laboratory, 30)
    service = pyvo.dal.TAPService(base)
    jobs = [service.submit_job(QUERY).run() for _ in range(3)]
    laboratory.faults([])
    time.sleep(0.1)
    assert [job.phase for job in jobs] == ["EXECUTING", "EXECUTING", "QUEUED"]
    jobs[0].abort()
    jobs[2].abort()
    assert [job.phase for job in jobs] == ["ABORTED", "EXECUTING", "ABORTED"]
    assert len(service.run_async(QUERY, timeout=10)) == 3


def test_abort_interrupts_a_query(base: str) -> None:
    heavy = "SELECT COUNT(*) AS n FROM fermigtrig a, fermigtrig b, fermigtrig c, fermigtrig d"
    heavy += " WHERE SIN(a.ra * b.ra) + COS(c.dec * d.ra) > 3"
    job = pyvo.dal.TAPService(base).submit_job(heavy).run()
    time.sleep(0.2)
    assert job.phase == "EXECUTING"
    job.abort()
    assert len(pyvo.dal.TAPService(base).run_sync(QUERY)) == 3
    assert job.phase == "ABORTED"


def test_job_outlives_a_killed_client(laboratory: Laboratory, base: str) -> None:
    slow_down(laboratory, 1.0)
    code = f"""
import pyvo
job = pyvo.dal.TAPService({base!r}).submit_job({QUERY!r}).run()
print(job.url, flush=True)
job.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        address = client.stdout.readline().strip()
        client.kill()
    laboratory.faults([])
    job = pyvo.dal.AsyncTAPJob(address)
    assert job.phase == "EXECUTING"
    job.wait(timeout=10)
    assert len(job.fetch_result()) == 3


def test_list_destruction_and_duration(base: str) -> None:
    service = pyvo.dal.TAPService(base)
    job = service.submit_job(QUERY)
    assert [entry.jobid for entry in service.get_job_list(phases="PENDING")] == [job.job_id]
    job.execution_duration = 60
    assert job.execution_duration.to_value("s") == 60
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    job.destruction = tomorrow
    assert job.destruction.to_datetime(UTC) == tomorrow
    requests.post(f"{job.url}/destruction", {"DESTRUCTION": "2001-01-01T00:00:00Z"}, timeout=10)
    assert requests.get(job.url, timeout=10).status_code == 404


def test_parameters_and_uploads_come_later(base: str) -> None:
    job = pyvo.dal.TAPService(base).submit_job("SELECT 1 FROM nowhere")
    job.query = QUERY
    assert job.query == QUERY
    job.run().wait(timeout=10)
    assert job.phase == "COMPLETED"
    late = requests.post(f"{job.url}/parameters", {"QUERY": "x"}, timeout=10)
    assert late.status_code == 400
    assert "no longer PENDING" in late.text


def test_faults_of_a_job_know_its_targets(laboratory: Laboratory, base: str) -> None:
    query = "SELECT ra FROM fermigtrig WHERE trigger_name IN ('bn000003')"
    job = pyvo.dal.TAPService(base).submit_job(query).run()
    job.wait(timeout=10)
    laboratory.faults([{"action": "status", "target": "bn000003", "path": "results/result"}])
    with pytest.raises(pyvo.dal.DALServiceError, match="being maintained"):
        job.fetch_result()
    laboratory.faults([])
    assert len(job.fetch_result()) == 1
