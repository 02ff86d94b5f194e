"""A run repeated from kept replies, with the laboratory stopped: the same bytes."""

import shutil
from pathlib import Path

from laboratory import Laboratory
from project import Run
from service_project import services_project

ARCHIVES = ["nsc", "tess"]


def finished(run: Run) -> Run:
    assert run.returncode == 0, run.output
    return run


def test_replay_without_servers(tmp_path: Path, sky: Path) -> None:
    with Laboratory(sky) as laboratory:
        project = services_project(
            tmp_path / "project",
            sky,
            laboratory,
            ARCHIVES,
            retries=0,
            requests_per_s=1000,
            sync_targets=1,
        )
        # One shard: what is shown does not take more.
        keeping = project.configuration | {
            "replies": {"keep": True},
            "shards": {"max_targets": 100},
        }
        project.configure(keeping)
        finished(project.snakemake())
    digests, ledger = project.digests(), project.path("ledger.parquet").read_bytes()
    # Finished parts stay as they are, whether or not replies are replayed.
    planned = finished(project.snakemake("--dry-run", "--config", "replay=true"))
    assert planned.nothing_to_do, planned.output
    shutil.rmtree(project.path())
    finished(project.snakemake("--config", "replay=true"))
    assert project.digests() == digests
    assert project.path("ledger.parquet").read_bytes() == ledger
    assert finished(project.snakemake("--dry-run")).nothing_to_do
