"""Runs on two releases of the sky differ in exactly the points that were planted."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from laboratory import Laboratory
from lightloom.diff import Comparison, Summary
from lightloom.sky.build import DEFAULT_SEED, build_sky
from lightloom.sky.second_release import PLANTED
from project import REPOSITORY, SAMPLE, Project

N_PLANTED = 37

KEY = ("change", "objectid", "archive", "band", "survey_object_id", "exposure_id")


def run_on(project: Project, sky: Path, results: str) -> Path:
    """Search the sample in one release, from the bytes of its files and servers."""
    embedded = yaml.safe_load((REPOSITORY / "config" / "sky" / "embedded.yaml").read_text())
    base = f"http://127.0.0.1:{embedded['services']['sky']['port']}"
    enabled: dict[str, Any] = {
        name: {"enabled": False} for name in project.default_configuration()["archives"]
    }
    with Laboratory(sky) as laboratory:
        for name in PLANTED:
            endpoint = embedded["archives"][name]["endpoint"]
            endpoint = endpoint.replace(base, laboratory.base).replace("sky/", f"{sky}/", 1)
            enabled[name] = {"endpoint": endpoint, "requires": [], "limits": {"retries": 0}}
        project.configure(
            {"archives": enabled, "services": {"sky": {"enabled": False}}, "results": results}
        )
        run = project.snakemake()
    assert run.returncode == 0, run.output
    return project.root / results


@pytest.mark.skipif(
    "TWO_RELEASES" not in os.environ, reason="builds a second sky: set TWO_RELEASES=1"
)
def test_diff_finds_exactly_the_planted_changes(sky: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    build_sky(second, REPOSITORY / SAMPLE, DEFAULT_SEED, release=2)
    project = Project.create(tmp_path / "project")
    old, new = (
        run_on(project, release, results)
        for release, results in ((sky, "results-1"), (second, "results-2"))
    )
    planted = pq.read_table(second / "truth" / "changes.parquet").to_pylist()
    summary = Summary()
    blocks = summary.counted(Comparison(old, new).differences())
    found = [row for block in blocks for row in block.to_pylist()]
    assert len(planted) == len(found) == N_PLANTED
    assert sorted(str([row[name] for name in KEY]) for row in found) == sorted(
        str([row[name] for name in KEY]) for row in planted
    )
    time_mjd = {str([row[name] for name in KEY]): row["time_mjd"] for row in planted}
    for row in found:
        assert row["time_mjd"] == pytest.approx(time_mjd[str([row[n] for n in KEY])], abs=1e-9)
    expected = {
        name: dict(zip(("changed", "new", "withdrawn"), numbers, strict=True))
        for name, numbers in PLANTED.items()
    }
    assert summary.by_archive == expected
