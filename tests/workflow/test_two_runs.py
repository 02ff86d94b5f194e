"""Two runs in one folder: the second changes nothing, whatever it is asked to do."""

from collections.abc import Iterator

import pytest

from lightloom.locks import results_lock, taken
from lightloom.plan import unfinished_path
from project import Project


@pytest.fixture
def at_work(project: Project) -> Iterator[Project]:
    """A project in which another run is about to finish a part."""
    part = project.path("parts", "ztf", f"{project.shards[0]}.parquet")
    unfinished_path(part, ".json").write_text("{}")
    lock = results_lock(project.path())
    assert taken(lock, 0)
    yield project
    lock.release()


def test_what_another_run_writes_stays(at_work: Project) -> None:
    status = at_work.path("parts", "ztf", f"{at_work.shards[0]}.status.json")
    assert at_work.snakemake("--dry-run").returncode == 0
    assert status.exists()
    # Something for the second run to do.
    at_work.path("manifest.json").unlink()
    second = at_work.snakemake()
    assert second.returncode != 0
    assert "another run is at work in this folder" in second.output
    assert status.exists()
    assert not at_work.path("manifest.json").exists()


def test_a_run_that_has_no_plan_yet(at_work: Project) -> None:
    at_work.path("shards", "plan.json").unlink()
    second = at_work.snakemake()
    assert second.returncode != 0
    assert "another run is at work in this folder" in second.output
