"""What a newcomer does: the main job without any argument, then the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightloom.summary import summarise
from project import REPOSITORY, Project


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("newcomer") / "project")


def snakemake(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "all", *arguments],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_the_main_job_builds_its_sky_and_finds_all_targets(newcomer: Project) -> None:
    run = snakemake(newcomer)
    assert run.returncode == 0, run.stdout
    manifest = json.loads(newcomer.path("manifest.json").read_text())
    assert manifest["targets"] == 30
    for entry in manifest["archives"].values():
        assert sum(entry["states"].values()) == 30
        assert "failed" not in entry["states"]
    text = summarise(newcomer.path())
    for archive, entry in manifest["archives"].items():
        assert archive in text
        assert str(entry["rows"]) in text
    assert "Nothing to be done" in snakemake(newcomer).stdout


def test_the_report_is_one_file_that_needs_no_network(newcomer: Project) -> None:
    report = newcomer.root / "report.html"
    run = snakemake(newcomer, "--report", str(report))
    assert run.returncode == 0, run.stdout
    text = report.read_text()
    assert "Sky coverage and states" in text
    for attribute in ('src="http', 'href="http'):
        assert attribute not in text


def test_it_runs_from_another_folder(newcomer: Project, tmp_path: Path) -> None:
    run = snakemake(newcomer, "--dry-run", "--directory", str(newcomer.root))
    assert "Nothing to be done" in run.stdout
    elsewhere = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run"),
            *("--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(newcomer.root)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
