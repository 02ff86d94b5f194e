"""A sample that changes: targets that stay cause no request, however the shards change."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from project import SAMPLE, Project

pytestmark = pytest.mark.timeout(900)

Digests = Callable[[Project], dict[str, str]]


def asked_targets(logs: Path) -> Counter[str]:
    """Number of targets, by archive, about which the fetches asked that have left a log."""
    asked: Counter[str] = Counter()
    # The last attempt's log has a second name.
    for log in set(logs.glob("*/*.log")) - set(logs.glob("*/*.attempt*.log")):
        found = re.findall(r"(\d+) targets, \d+ requests", log.read_text())
        asked[log.parent.name] += sum(map(int, found))
    return asked


def requests(project: Project) -> dict[str, int]:
    """Requests of the last fetch of each part."""
    found = {}
    for archive in ("ztf", "unwise"):
        for shard in project.shards:
            status = project.path("parts", archive, f"{shard}.status.json")
            found[f"{archive}/{shard}"] = json.loads(status.read_text())["reads"]["requests"]
    return found


def test_only_new_targets_are_asked_for(project: Project, fresh_digests: Digests) -> None:
    table = project.root / SAMPLE
    lines = table.read_text().splitlines()
    before = {path: path.read_bytes() for path in project.path("parts").rglob("*.json")}
    # Beside the first target, so that both fall into its shard.
    table.write_text("\n".join([*lines, "new 1,0.283,-0.098", "new 2,0.284,-0.099"]) + "\n")
    shutil.rmtree(project.path("logs"))
    planned = project.snakemake("--dry-run")
    assert planned.fetches == {"ztf": 1, "unwise": 1}
    assert all(path.read_bytes() == content for path, content in before.items())
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.jobs == planned.jobs
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert len(changed) == 2
    assert asked_targets(project.path("logs", "fetch")) == {"ztf": 2, "unwise": 2}
    assert not list(project.path("parts").rglob(".*.earlier*"))
    assert project.digests() == fresh_digests(project)


def test_joined_shards_and_removed_targets_ask_for_nothing(
    project: Project, fresh_digests: Digests
) -> None:
    table = project.root / SAMPLE
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    project.configure(project.configuration | {"shards": {"max_targets": 30}})
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches == {"ztf": 1, "unwise": 1}
    assert set(requests(project).values()) == {0}
    assert project.digests() == fresh_digests(project)
    # Split as far as it goes, with one target more.
    table.write_text("\n".join([*lines, "new 1,0.283,-0.098"]) + "\n")
    project.configure(project.configuration | {"shards": {"max_targets": 1}})
    shutil.rmtree(project.path("logs"))
    run = project.snakemake()
    assert run.returncode == 0, run.output
    assert run.fetches["ztf"] > 1
    assert asked_targets(project.path("logs", "fetch")) == {"ztf": 1, "unwise": 1}
    assert project.digests() == fresh_digests(project)
