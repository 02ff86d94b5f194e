"""A service is probed once for all jobs, for as long as the probe holds."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from example_archives.counter import Counter
from lightloom.archives.base import Archive
from lightloom.errors import ArchiveSchemaError, TransientArchiveError
from lightloom.services.folders import archive_folder
from lightloom.services.probe import ensure_probed
from small_server import SmallServer, answer, counter_spec


@pytest.fixture
def archive(server: SmallServer, tmp_path: Path) -> Archive:
    server.routes["/columns"] = answer(b'["objectid", "mjd"]')
    return Counter(counter_spec(server.url), tmp_path / ".services")


def test_one_of_many_jobs_probes(server: SmallServer, archive: Archive) -> None:
    jobs = [threading.Thread(target=ensure_probed, args=(archive, 60.0)) for _ in range(5)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(server.seen) == 1


def test_a_probe_holds_for_a_time_and_for_its_settings(
    server: SmallServer, archive: Archive
) -> None:
    ensure_probed(archive, 60.0)
    ensure_probed(archive, 60.0)
    assert len(server.seen) == 1
    ensure_probed(archive, 0.0)
    assert len(server.seen) == 2
    changed = Counter(replace(archive.spec, release="DR2"), archive.state)
    ensure_probed(changed, 60.0)
    assert len(server.seen) == 3
    # What only says how a job runs changes nothing.
    limits = archive.spec.limits | {"timeout_s": 9.0}
    ensure_probed(Counter(replace(changed.spec, limits=limits), archive.state), 60.0)
    assert len(server.seen) == 3


def test_drift_names_the_column_and_is_not_remembered(
    server: SmallServer, archive: Archive
) -> None:
    mended = server.routes["/columns"]
    server.routes["/columns"] = answer(b'["objectid", "jd"]')
    with pytest.raises(ArchiveSchemaError, match=r"column 'mjd': not found.*'jd'"):
        ensure_probed(archive, 60.0)
    server.routes["/columns"] = mended
    ensure_probed(archive, 60.0)


def test_a_service_that_is_down(server: SmallServer, archive: Archive) -> None:
    server.routes["/columns"] = answer(b"", 503)
    with pytest.raises(TransientArchiveError, match="HTTP 503"):
        ensure_probed(archive, 60.0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": 1}', '{"time_s": "x"}'])
def test_a_damaged_record_is_no_record(server: SmallServer, archive: Archive, content: str) -> None:
    folder = archive_folder(archive.state, archive.spec)
    folder.mkdir(parents=True)
    (folder / "probe.json").write_text(content)
    ensure_probed(archive, 60.0)
    ensure_probed(archive, 60.0)
    assert len(server.seen) == 1
