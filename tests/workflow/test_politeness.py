"""What services see of a whole run: never more than their limits, whatever Snakemake is told."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from laboratory import Laboratory
from project import Project
from service_project import SERVICES, services_project

pytestmark = pytest.mark.timeout(600)

REQUESTS_PER_S = 6
CONCURRENT_REQUESTS = 2
#: For which the circuit breaker leaves a service alone [s].
PAUSE_S = 6.0
#: A target in each query, so that few targets make more requests than a service takes in a second.
LIMITS = {
    "retries": 0,
    "requests_per_s": REQUESTS_PER_S,
    "concurrent_requests": CONCURRENT_REQUESTS,
    "targets_per_query": 1,
}


@pytest.fixture
def watched(laboratory: Laboratory) -> Iterator[Laboratory]:
    """The servers of the embedded sky, before anybody has asked them."""
    laboratory.faults([])
    laboratory.clear_log()
    yield laboratory
    laboratory.faults([])


@pytest.mark.parametrize(
    "options",
    [
        ["--cores", "8"],
        [
            *("--cores", "8", "--resources", "mem_mb=1000000"),
            *("--set-threads", *(f"fetch_{name}=4" for name in SERVICES)),
        ],
    ],
    ids=["many cores", "other resources"],
)
def test_no_service_gets_more_than_its_limits(
    sky: Path, watched: Laboratory, tmp_path: Path, options: list[str]
) -> None:
    project = services_project(tmp_path / "project", sky, watched, list(SERVICES), **LIMITS)
    run = project.snakemake(*options)
    assert run.returncode == 0, run.output
    assert len(project.shards) > 1
    for service in sorted(set(SERVICES.values())):
        # A run that asks little would keep to any limit.
        assert len(watched.log(service)) > 2 * REQUESTS_PER_S
        assert watched.max_requests_in_window(1.0, service) <= REQUESTS_PER_S
        assert watched.max_concurrent(service) <= CONCURRENT_REQUESTS


def test_a_service_that_is_down_is_left_alone(
    sky: Path, watched: Laboratory, tmp_path: Path
) -> None:
    project = services_project(
        tmp_path / "project",
        sky,
        watched,
        ["fermigbm", "nsc", "xmm"],
        **LIMITS
        | {
            "requests_per_s": 100,
            "attempts": 2,
            "longest_wait_s": 0.1,
            "breaker_failures": 3,
            "breaker_pause_s": PAUSE_S,
        },
    )
    watched.faults([{"action": "out_of_service", "service": "heasarc"}])
    began = time.monotonic()
    run = project.snakemake()
    elapsed_s = time.monotonic() - began
    assert run.returncode != 0
    n_shards = len(project.shards)
    # What the other service has is there: both archives of this one have failed in every shard.
    assert run.fetches == {"fermigbm": n_shards, "nsc": n_shards, "xmm": n_shards}
    assert parts(project) == [f"nsc/{shard}.parquet" for shard in sorted(project.shards)]
    assert "times in a row and is left alone until" in run.output
    # Of all jobs: what opened the breaker, what was under way then, and a probe in each pause.
    most = 3 + (CONCURRENT_REQUESTS - 1) + elapsed_s / PAUSE_S
    assert 3 <= len(watched.log("heasarc")) <= most

    watched.faults([])
    watched.clear_log()
    time.sleep(PAUSE_S)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches == {"fermigbm": n_shards, "xmm": n_shards}
    assert watched.log("nsc") == []
    assert len(watched.log("heasarc")) > most


def parts(project: Project) -> list[str]:
    folder = project.path("parts")
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("[!.]*/[!.]*.parquet")
    )
