"""What services see of a whole run: never more than their limits, whatever Snakemake is told."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from laboratory import Laboratory
from project import SAMPLE, Project

pytestmark = pytest.mark.timeout(600)

#: Archives, and the services that they are asked of: two of them have one in common.
SERVICES = {
    "fermigbm": "heasarc",
    "kepler": "mast",
    "nsc": "nsc",
    "tess": "mast",
    "xmm": "heasarc",
}
REQUESTS_PER_S = 6
CONCURRENT_REQUESTS = 2
PAUSE_S = 6.0
#: Few requests for few targets, but more than a service allows in a second.
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


def services_project(
    root: Path, sky: Path, laboratory: Laboratory, archives: list[str], **limits: Any
) -> Project:
    """A project with a few targets in a few shards, and nothing but these services."""
    project = Project.create(root)
    (root / "sky").symlink_to(sky)
    header, *rows = (root / SAMPLE).read_text().splitlines()
    (root / "targets.csv").write_text("\n".join([header, *rows[:9]]) + "\n")
    source = {"kind": "table", "path": "targets.csv", "id": "name", "ra": "ra", "dec": "dec"}
    embedded = yaml.safe_load((root / "config" / "sky" / "embedded.yaml").read_text())
    base = f"http://127.0.0.1:{embedded['services']['sky']['port']}"
    sections: dict[str, Any] = {
        name: {"enabled": False} for name in project.default_configuration()["archives"]
    }
    for name in archives:
        endpoint = embedded["archives"][name]["endpoint"].replace(base, laboratory.base)
        sections[name] = {"endpoint": endpoint, "limits": LIMITS | limits}
        if SERVICES[name] == "mast":
            # Of the copies in a cloud MAST sees nothing.
            sections[name]["options"] = {"cloud_root": ""}
    project.configure(
        {
            "archives": sections,
            "services": {"sky": {"enabled": False}},
            "sample": {"sources": [source]},
            "shards": {"max_targets": 5},
        }
    )
    return project


@pytest.mark.parametrize(
    "options",
    [
        ["--cores", "1"],
        ["--cores", "8"],
        ["--cores", "8", "--resources", "mem_mb=1000000"]
        + ["--set-threads", *(f"fetch_{name}=4" for name in SERVICES)],
    ],
    ids=["one core", "many cores", "other resources"],
)
def test_no_service_gets_more_than_its_limits(
    sky: Path, watched: Laboratory, tmp_path: Path, options: list[str]
) -> None:
    project = services_project(tmp_path / "project", sky, watched, list(SERVICES))
    run = project.snakemake(*options)
    assert run.returncode == 0, run.output
    assert len(project.shards) > 1
    for service in sorted(set(SERVICES.values())):
        # A run that asks little would keep to any limit.
        assert len(watched.log(service)) > 2 * REQUESTS_PER_S
        assert watched.max_requests_in_window(1.0, service) <= REQUESTS_PER_S
        assert watched.max_concurrent(service) <= CONCURRENT_REQUESTS
