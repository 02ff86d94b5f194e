"""A run of services is made again, after faults and without servers: the same bytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from laboratory import Laboratory
from project import Project, Run
from service_project import services_project

pytestmark = pytest.mark.timeout(900)

ARCHIVES = ["nsc", "tess"]
SHARD = "allsky"

#: Several queries for the targets of a shard.
IN_PAIRS = {
    "retries": 0,
    "attempts": 1,
    "requests_per_s": 1000,
    "targets_per_query": 2,
}


@pytest.fixture(scope="module")
def servers(sky: Path) -> Iterator[Laboratory]:
    """Servers that a test may stop."""
    with Laboratory(sky) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, sky: Path, servers: Laboratory
) -> Project:
    """A project whose run has ended well, and has kept all replies."""
    project = services_project(
        tmp_path_factory.mktemp("undisturbed") / "project",
        sky,
        servers,
        ARCHIVES,
        retries=0,
        requests_per_s=1000,
        sync_targets=1,
    )
    # One shard: what is shown does not take more.
    keeping = {"replies": {"keep": True}, "shards": {"max_targets": 100}}
    project.configure(project.configuration | keeping)
    finished(project.snakemake())
    return project


def finished(run: Run) -> Run:
    assert run.returncode == 0, run.output
    return run


def queries(servers: Laboratory) -> list[dict[str, Any]]:
    """The queries that NSC was sent."""
    return [one for one in servers.log("nsc") if one["path"] == "/tap/sync"]


def test_repair_asks_for_failed_targets_alone(
    undisturbed: Project, servers: Laboratory, tmp_path: Path
) -> None:
    targets = pq.read_table(undisturbed.path("shards", f"{SHARD}.parquet"))["objectid"].to_pylist()
    pairs = [targets[first : first + 2] for first in range(0, len(targets), 2)]
    curves = pq.read_table(
        undisturbed.path("lightcurves", f"{SHARD}.parquet"),
        filters=[("archive", "==", "nsc")],
        columns=["objectid", "survey_object_id"],
    ).to_pylist()
    sources = [
        sorted({row["survey_object_id"] for row in curves if row["objectid"] in pair})
        for pair in pairs
    ]

    project = undisturbed.without_results(tmp_path / "project")
    changes = project.configuration
    for archive in ARCHIVES:
        changes["archives"][archive]["limits"] = IN_PAIRS
    project.configure(changes | {"allow_partial": True, "report": {"lightcurves": 0}})
    sync = {"service": "nsc", "path": "sync", "action": "votable_error"}
    servers.clear_log()
    # A search for a pair, as two queries before it tell whether the archive is as expected; and the
    # query for the measurements of the last pair.
    servers.faults([sync | {"nth": 3}, sync | {"target": sources[-1][:1]}])
    finished(project.snakemake())
    struck = [one["targets"] for one in queries(servers) if one["fault"]]
    ledger = pq.read_table(project.path("ledger.parquet")).to_pylist()
    failed = [row["objectid"] for row in ledger if row["state"] == "failed"]
    assert {row["archive"] for row in ledger if row["state"] == "failed"} == {"nsc"}
    failed_pairs = [number for number, pair in enumerate(pairs) if set(pair) <= set(failed)]
    assert failed == [target for number in failed_pairs for target in pairs[number]]
    assert len(pairs) - 1 in failed_pairs
    assert 0 < len(failed_pairs) == len(struck) < len(pairs)

    servers.faults([])
    servers.clear_log()
    repaired = finished(project.snakemake(target="repair"))
    assert repaired.fetches == {"nsc": 1}
    # The positions of these pairs, and their sources by name; nothing of anybody else.
    asked = sorted(one["targets"] for one in queries(servers))
    assert asked == sorted(
        query for number in failed_pairs for query in (["0", "1"], sources[number]) if query
    )
    assert not servers.log("mast")
    assert project.digests() == undisturbed.digests()
    for name in ("ledger.parquet", "manifest.json", f"lightcurves/{SHARD}.parquet"):
        assert project.path(name).read_bytes() == undisturbed.path(name).read_bytes(), name
    assert project.snakemake("--dry-run", target="repair").nothing_to_do


def test_replay_without_servers(undisturbed: Project, servers: Laboratory) -> None:
    project = undisturbed
    digests, ledger = project.digests(), project.path("ledger.parquet").read_bytes()
    servers.stop()
    # Finished parts stay as they are, whether or not replies are replayed.
    planned = finished(project.snakemake("--dry-run", "--config", "replay=true"))
    assert planned.nothing_to_do, planned.output
    shutil.rmtree(project.path())
    finished(project.snakemake("--config", "replay=true"))
    assert project.digests() == digests
    assert project.path("ledger.parquet").read_bytes() == ledger
    assert finished(project.snakemake("--dry-run")).nothing_to_do
