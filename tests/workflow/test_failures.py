"""An archive fails for some targets: what is finished stays, the rest is asked for again."""

import re
import shutil
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from project import Project

CATALOGUE = "ztf_dr24_lc-hats"
#: Shards, of three, for which the archive is broken.
N_BROKEN = 2


@pytest.fixture
def broken(finished: Project, sky: Path, tmp_path: Path) -> tuple[Project, list[Path]]:
    """A project without results, and files of its ZTF that two shards need: all are damaged."""
    catalogue = tmp_path / CATALOGUE
    shutil.copytree(sky / CATALOGUE, catalogue)
    project = finished.without_results(tmp_path / "project")
    changed = project.configuration
    changed["archives"]["ztf"]["endpoint"] = str(catalogue)
    project.configure(changed)
    shards_of: dict[Path, set[str]] = defaultdict(set)
    for shard in finished.shards:
        for file in files_for(finished, shard, catalogue):
            shards_of[file].add(shard)
    choices = (
        files
        for number in range(1, len(shards_of) + 1)
        for files in combinations(sorted(shards_of), number)
    )
    files = next(one for one in choices if len(set().union(*map(shards_of.get, one))) == N_BROKEN)
    for file in files:
        file.write_bytes(file.read_bytes()[:-100])
    return project, list(files)


def files_for(project: Project, shard: str, catalogue: Path) -> set[Path]:
    """Files that a search for the targets of a shard reads."""
    targets = pq.read_table(project.path("shards", f"{shard}.parquet"))
    spec = CatalogSpec(str(catalogue), "hats", ra="objra", dec="objdec", object_id="objectid")
    position = targets["ra_deg"].to_numpy(), targets["dec_deg"].to_numpy()
    searches, _ = plan_searches(open_catalog(spec), *position, radius_arcsec=1.5)
    return {Path(search.partition.path) / "part0.snappy.parquet" for search in searches}


def mend(sky: Path, files: list[Path]) -> None:
    for file in files:
        shutil.copy2(sky / CATALOGUE / Path(*file.parts[file.parts.index(CATALOGUE) + 1 :]), file)


def test_failed_shards_alone_are_fetched_again(
    broken: tuple[Project, list[Path]], sky: Path, finished: Project
) -> None:
    project, files = broken
    run = project.snakemake()
    assert run.returncode != 0
    assert all(str(file) in run.output for file in files)
    assert "targets failed" in run.output
    # The shards that need a broken file have failed; every other archive and shard is finished.
    done = {path.stem for path in project.path("parts", "ztf").glob("[!.]*.parquet")}
    failed = set(project.shards) - done
    assert len(failed) == N_BROKEN < len(project.shards)
    merged = {path.stem for path in project.path("lightcurves").iterdir()}
    assert merged == done

    mend(sky, files)
    planned = project.snakemake("--dry-run")
    # The fetches and merges of these shards, and what is made of all shards together.
    assert planned.jobs == {
        "fetch_ztf": N_BROKEN,
        "merge_shard": N_BROKEN,
        "merge_hats": 1,
        "merge_ledger": 1,
        "tabulate_manifest": 1,
    }
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.jobs == planned.jobs
    log = run.output.partition("Select jobs to execute")[2]
    for rule in ("fetch_ztf", "merge_shard"):
        started = re.findall(
            rf"^(?:local)?rule {rule}:$.*?shard=(\S+)", log, re.MULTILINE | re.DOTALL
        )
        assert sorted(started) == sorted(failed)
    assert project.snakemake().nothing_to_do
    assert_same_rows(project, finished)
    assert not list(project.path("parts").rglob(".*"))


def test_partial_results_are_allowed_on_request(
    broken: tuple[Project, list[Path]], sky: Path, finished: Project
) -> None:
    project, files = broken
    project.configure(project.configuration | {"allow_partial": True})
    run = project.snakemake(target="all")
    assert run.returncode == 0, run.output
    states = Counter(pq.read_table(project.path("ledger.parquet"))["state"].to_pylist())
    assert states["failed"] > 0
    assert states.total() - states["not_requested"] == 2 * 7
    ledger = pq.read_table(project.path("ledger.parquet")).to_pylist()
    for row in ledger:
        assert (row["state"] == "failed") == (row["error_class"] is not None)
    report = project.path("report", "states.html").read_text()
    assert any(str(file) in report for file in files)

    # The next run asks for these again, for as long as they fail, and gets them once the archive is
    # mended.
    again = project.snakemake()
    assert again.returncode == 0, again.output
    assert 0 < again.fetches["ztf"] < len(project.shards)
    assert again.fetches["unwise"] == 0
    mend(sky, files)
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
