"""An archive fails for some targets: what is finished stays, the rest is asked for again."""

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from project import Project

CATALOGUE = "ztf_dr24_lc-hats"


@pytest.fixture
def broken(finished: Project, sky: Path, tmp_path: Path) -> tuple[Project, Path]:
    """A project without results whose ZTF has a partition that cannot be decoded, and that file."""
    catalogue = tmp_path / CATALOGUE
    shutil.copytree(sky / CATALOGUE, catalogue)
    project = finished.without_results(tmp_path / "project")
    changed = project.configuration
    changed["archives"]["ztf"]["endpoint"] = str(catalogue)
    project.configure(changed)
    # The partition in which the first target lies.
    sample = pq.read_table(finished.path("sample", "sample.parquet")).slice(0, 1)
    spec = CatalogSpec(str(catalogue), "hats", ra="objra", dec="objdec", object_id="objectid")
    position = sample["ra_deg"].to_numpy(), sample["dec_deg"].to_numpy()
    (search,), _ = plan_searches(open_catalog(spec), *position, radius_arcsec=1.5)
    file = Path(search.partition.path) / "part0.snappy.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    return project, file


def mend(sky: Path, file: Path) -> None:
    shutil.copy2(sky / CATALOGUE / Path(*file.parts[file.parts.index(CATALOGUE) + 1 :]), file)


def test_failed_targets_alone_are_asked_again(
    broken: tuple[Project, Path], sky: Path, finished: Project
) -> None:
    project, file = broken
    run = project.snakemake()
    assert run.returncode != 0
    assert str(file) in run.output
    assert "targets failed" in run.output
    # Only the shards on the broken partition have failed; every other archive and shard is
    # finished.
    done = {path.stem for path in project.path("parts", "ztf").glob("[!.]*.parquet")}
    failed = set(project.shards) - done
    assert 0 < len(failed) < len(project.shards)
    merged = {path.stem for path in project.path("lightcurves").iterdir()}
    assert merged == done

    mend(sky, file)
    planned = project.snakemake("--dry-run")
    assert planned.fetches == {"ztf": len(failed)}
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.jobs == planned.jobs
    assert run.jobs["merge_shard"] == len(failed)
    assert project.snakemake().nothing_to_do
    assert_same_rows(project, finished)
    assert not list(project.path("parts").rglob(".*"))


def test_partial_results_are_allowed_on_request(
    broken: tuple[Project, Path], sky: Path, finished: Project
) -> None:
    project, file = broken
    project.configure(project.configuration | {"allow_partial": True})
    run = project.snakemake(target="all")
    assert run.returncode == 0, run.output
    states = Counter(pq.read_table(project.path("ledger.parquet"))["state"].to_pylist())
    assert states["failed"] > 0
    assert states.total() - states["not_requested"] == 2 * 11
    ledger = pq.read_table(project.path("ledger.parquet")).to_pylist()
    for row in ledger:
        assert (row["state"] == "failed") == (row["error_class"] is not None)
    assert str(file) in project.path("report", "states.html").read_text()

    # The next run asks for these again, for as long as they fail, and gets them once the archive is
    # mended.
    again = project.snakemake()
    assert again.returncode == 0, again.output
    assert 0 < again.fetches["ztf"] < len(project.shards)
    assert again.fetches["unwise"] == 0
    mend(sky, file)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches == again.fetches
    assert project.snakemake().nothing_to_do
    assert_same_rows(project, finished)


def assert_same_rows(project: Project, expected: Project) -> None:
    """The endpoints, which are part of the footers, differ; the rows may not."""
    for shard in expected.shards:
        found = pq.read_table(project.path("lightcurves", f"{shard}.parquet"))
        assert found.equals(pq.read_table(expected.path("lightcurves", f"{shard}.parquet")))
    found = pq.read_table(project.path("ledger.parquet"))
    assert found.equals(pq.read_table(expected.path("ledger.parquet")))
