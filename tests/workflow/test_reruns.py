"""Exactly what changed is done again, and the result equals that of a run from nothing."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from project import SAMPLE, Project

pytestmark = pytest.mark.timeout(900)

Digests = Callable[[Project], dict[str, str]]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def sample_lines(project: Project) -> list[str]:
    return (project.root / SAMPLE).read_text().splitlines()


def write_sample(project: Project, lines: list[str]) -> None:
    (project.root / SAMPLE).write_text("\n".join(lines) + "\n")


def shards_of(project: Project) -> dict[str, str]:
    sample = pq.read_table(project.path("sample", "sample.parquet"))
    return dict(zip(sample["objectid"].to_pylist(), sample["shard"].to_pylist(), strict=True))


def assert_runs(project: Project, fetches: dict[str, int], merges: int) -> None:
    """Run, count the jobs, and see that nothing is left to do."""
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches == Counter(fetches), run.output
    assert run.jobs["merge_shard"] == merges, run.output
    assert project.snakemake("--dry-run").nothing_to_do


def both(n_shards: int) -> dict[str, int]:
    return {"ztf": n_shards, "unwise": n_shards}


def test_the_first_run_does_everything_and_the_second_nothing(project: Project) -> None:
    assert len(project.shards) == 3
    for archive in ("ztf", "unwise"):
        parts = {path.stem for path in project.path("parts", archive).glob("*.parquet")}
        assert parts == set(project.shards)
    again = project.snakemake()
    assert again.returncode == 0
    assert again.nothing_to_do


def listed(text: str, label: str) -> set[str]:
    """Files after a label of the jobs that a dry run shows."""
    lines = re.findall(rf"^    {label}: (.*)$", text, re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


@pytest.mark.parametrize("target", ["all", "lightcurves"])
def test_every_file_is_asked_for(project: Project, target: str) -> None:
    """One that is missing would not be noticed behind a later one that is there."""
    text = project.snakemake("--dry-run", "--forceall", target=target).output
    of_target = text.partition(f"rule {target}:\n")[2].partition("\n\n")[0]
    made = {name for name in listed(text, "output") if name.startswith("results/")}
    assert len(made) > 20
    assert made == listed(of_target, "input")


def test_a_missing_ledger_and_catalogue_are_made_again(project: Project) -> None:
    before = project.digests()
    project.path("ledger.parquet").unlink()
    shutil.rmtree(project.path("hats"))
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert project.digests() == before


def test_added_targets(project: Project, fresh_digests: Digests) -> None:
    # Beside the first target, so that both fall into its shard.
    write_sample(project, [*sample_lines(project), "new 1,0.283,-0.098", "new 2,0.284,-0.099"])
    assert_runs(project, both(1), merges=1)
    assert project.digests() == fresh_digests(project)


def test_removed_target(project: Project) -> None:
    name = sample_lines(project)[1].partition(",")[0]
    shard = shards_of(project)[name]
    others = [target for target, place in shards_of(project).items() if place == shard]
    write_sample(project, [line for line in sample_lines(project) if not line.startswith(name)])
    gone = len(others) == 1
    assert_runs(project, {} if gone else both(1), merges=0 if gone else 1)
    assert name not in shards_of(project)


def test_target_moved_from_one_shard_to_another(project: Project, fresh_digests: Digests) -> None:
    lines = sample_lines(project)
    places = shards_of(project)
    crowded = Counter(places.values()).most_common(2)
    mover = next(name for name, shard in places.items() if shard == crowded[0][0])
    neighbour = next(name for name, shard in places.items() if shard == crowded[1][0])
    ra, dec = next(line for line in lines if line.startswith(neighbour)).split(",")[1:]
    moved = f"{mover},{ra},{float(dec) + 0.001:.6f}"
    write_sample(project, [moved if line.startswith(mover) else line for line in lines])
    assert_runs(project, both(2), merges=2)
    assert project.digests() == fresh_digests(project)


def test_emptied_and_split_shards_leave_nothing_behind(
    project: Project, fresh_digests: Digests
) -> None:
    small_shards = project.configuration
    project.configure(small_shards | {"shards": {"max_targets": 30}})
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches == both(1)
    assert {path.stem for path in project.path("lightcurves").iterdir()} == {"allsky"}
    assert project.digests() == fresh_digests(project)
    # The parts of the former shards are still there, and still right.
    project.configure(small_shards)
    run = project.snakemake()
    assert run.fetches == {}, run.output


def reorder(project: Project) -> None:
    header, *rows = sample_lines(project)
    write_sample(project, [header, *reversed(rows)])


def touch_sample(project: Project) -> None:
    os.utime(project.root / SAMPLE)


def change_unused_column(project: Project) -> None:
    header, *rows = sample_lines(project)
    write_sample(project, [header + ",note", *(f"{row},{i}" for i, row in enumerate(rows))])


def change_execution(project: Project) -> None:
    limits = {"limits": {"threads": 2, "mem_mb": 1700, "retries": 1}}
    archives = {
        name: options | limits for name, options in project.configuration["archives"].items()
    }
    changes = {"archives": archives, "dask": {"cluster": "threads"}, "allow_partial": True}
    project.configure(project.configuration | changes)


def choose_another_copy(project: Project) -> None:
    changes = project.configuration
    copy = {"endpoint": "s3://bucket/ztf", "region": "us-west-2", "storage_options": {"anon": True}}
    changes["archives"]["ztf"]["copies"] = {"aws": copy}
    project.configure(changes | {"access_region": "us-west-2"})


def comment_module(project: Project) -> None:
    module = project.root / "scripts/lightloom/archives/ztf.py"
    edit(module, '"""Zwicky', '"""The Zwicky')
    module.write_text(module.read_text() + "\n# A remark.\n")


def touch_code(project: Project) -> None:
    for path in (project.root / "scripts").rglob("*.py"):
        os.utime(path)


def touch_shards(project: Project) -> None:
    for path in project.path("shards").iterdir():
        os.utime(path)


def delete_shard_file(project: Project) -> None:
    project.path("shards", f"{project.shards[0]}.parquet").unlink()


def delete_plan(project: Project) -> None:
    project.path("shards", "plan.json").unlink()


def forget_records(project: Project) -> None:
    shutil.rmtree(project.root / ".snakemake")


def comment_catalogue(project: Project) -> None:
    catalogue = project.root / "config/archives.yaml"
    catalogue.write_text("# A remark.\n" + catalogue.read_text())


@pytest.mark.parametrize(
    "change",
    [
        reorder,
        touch_sample,
        change_unused_column,
        change_execution,
        choose_another_copy,
        comment_module,
        touch_code,
        touch_shards,
        delete_shard_file,
        delete_plan,
        forget_records,
        comment_catalogue,
    ],
)
def test_what_changes_no_result_runs_nothing(
    project: Project, change: Callable[[Project], None]
) -> None:
    before = project.digests()
    change(project)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.nothing_to_do, run.output
    assert project.digests() == before


def test_radius_of_one_archive(project: Project) -> None:
    changed = project.configuration
    changed["archives"]["ztf"]["radius_arcsec"] = 0.05
    project.configure(changed)
    n_shards = len(project.shards)
    assert_runs(project, {"ztf": n_shards}, merges=n_shards)


def test_code_of_an_archive(project: Project) -> None:
    module = project.root / "scripts/lightloom/archives/unwise.py"
    edit(module, 'rows["native_columns"]', 'rows.column("native_columns")')
    before = project.digests()
    n_shards = len(project.shards)
    # The merged footers name the code that their parts were made with, so their digests change.
    assert_runs(project, {"unwise": n_shards}, merges=n_shards)
    assert project.digests().keys() == before.keys()


def test_query_version(project: Project, fresh_digests: Digests) -> None:
    catalogue = project.root / "config/archives.yaml"
    document = yaml.safe_load(catalogue.read_text())
    document["catalogue"]["ztf"]["query_version"] += 1
    catalogue.write_text(yaml.safe_dump(document))
    n_shards = len(project.shards)
    assert_runs(project, {"ztf": n_shards}, merges=n_shards)
    assert project.digests() == fresh_digests(project)


def test_number_of_figures_draws_only(project: Project) -> None:
    assert project.snakemake(target="all").returncode == 0
    project.configure(project.configuration | {"report": {"lightcurves": 2}})
    run = project.snakemake(target="all")
    assert run.returncode == 0, run.output
    assert run.jobs == {"plot_lightcurves": 1}


def test_deleted_part(project: Project) -> None:
    before = project.digests()
    project.path("parts", "ztf", f"{project.shards[1]}.parquet").unlink()
    assert_runs(project, {"ztf": 1}, merges=1)
    assert project.digests() == before


def test_deleted_merged_file(project: Project) -> None:
    before = project.digests()
    project.path("lightcurves", f"{project.shards[1]}.parquet").unlink()
    assert_runs(project, {}, merges=1)
    assert project.digests() == before


def test_added_and_removed_archive(finished: Project, tmp_path: Path, configuration: dict) -> None:
    project = finished.without_results(tmp_path / "project")
    switched_off = configuration["archives"]["unwise"] | {"enabled": False}
    one = configuration | {"archives": configuration["archives"] | {"unwise": switched_off}}
    project.configure(one)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    n_shards = len(project.shards)
    assert run.fetches == {"ztf": n_shards}
    ledger = pq.read_table(project.path("ledger.parquet"))
    states = Counter(zip(ledger["archive"].to_pylist(), ledger["state"].to_pylist(), strict=True))
    assert states["unwise", "not_requested"] == 7
    assert states["ztf", "data"] == 7
    project.configure(configuration)
    assert_runs(project, {"unwise": n_shards}, merges=n_shards)
    assert project.digests() == finished.digests()
    # Switched off again, nothing has to be fetched.
    project.configure(one)
    assert_runs(project, {}, merges=n_shards)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_part_is_noticed_and_fetched_again(project: Project) -> None:
    before = project.digests()
    damage(project.path("parts", "ztf", f"{project.shards[0]}.parquet"))
    # The dry run sees it as well.
    assert project.snakemake("--dry-run").fetches == {"ztf": 1}
    assert_runs(project, {"ztf": 1}, merges=1)
    assert project.digests() == before


def test_repair_finds_damage_that_left_no_trace(project: Project) -> None:
    before = project.digests()
    part = project.path("parts", "unwise", f"{project.shards[0]}.parquet")
    times = part.stat()
    damage(part)
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert project.snakemake().nothing_to_do
    run = project.snakemake(target="repair")
    assert run.returncode == 0, run.output
    assert run.fetches == {"unwise": 1}
    assert project.digests() == before
    assert project.snakemake(target="repair").nothing_to_do


def test_repair_after_lost_records_and_changed_settings(
    project: Project, fresh_digests: Digests
) -> None:
    changed = project.configuration
    changed["archives"]["unwise"]["radius_arcsec"] = 1.0
    project.configure(changed)
    forget_records(project)
    # Without records Snakemake cannot know; the merge would refuse the parts, and repair replaces
    # them.
    project.path("lightcurves", f"{project.shards[0]}.parquet").unlink()
    refused = project.snakemake()
    assert refused.returncode != 0
    assert "settings_hash" in refused.output
    assert "snakemake repair" in refused.output
    run = project.snakemake(target="repair")
    assert run.returncode == 0, run.output
    assert run.fetches == {"unwise": len(project.shards)}
    assert project.digests() == fresh_digests(project)
