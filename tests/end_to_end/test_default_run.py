"""What a newcomer does: the main job without any argument, then the report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import jupytext
import pandas as pd
import pytest
from browser import offline_browser
from nbclient import NotebookClient
from pybtex.database import parse_string

from crate_validation import crate_problems
from lightloom.read import read_lightcurves
from lightloom.record import read_record
from lightloom.summary import summarise
from lightloom.why import explain
from project import REPOSITORY, Project

pytestmark = pytest.mark.timeout(900)

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.py"))


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


def test_the_report_opens_in_a_browser_without_network(newcomer: Project, tmp_path: Path) -> None:
    ledger = pd.read_parquet(newcomer.path("ledger.parquet"))
    richest = ledger.groupby("objectid").n_rows.sum().idxmax()
    categories = {"Archives": "ztf", "Light curves": richest, "Sample": "State of every"}
    with offline_browser() as browser:
        for category, entry in categories.items():
            page = browser.open(newcomer.root / "report.html")
            page.get_by_text(category, exact=True).first.click()
            page.get_by_text(entry).first.wait_for()
            if category == "Archives":
                page.get_by_text(entry, exact=True).first.click()
            page.locator('a[iconname="eye"]').first.click()
            if category == "Light curves":
                frame = page.frame_locator("iframe")
                frame.locator(".bk-Figure").first.wait_for(timeout=20_000)
            else:
                width = page.locator("img").last.evaluate("image => image.naturalWidth")
                assert width > 500, category
            picture = page.screenshot(path=tmp_path / f"{category}.png")
            assert len(picture) > 30_000
            page.close()
        assert browser.outside == []
        assert browser.complaints == []


def test_every_figure_has_a_caption_and_was_drawn_without_warning(newcomer: Project) -> None:
    report = (newcomer.root / "report.html").read_text()
    for sentence in ("how far the nearest match", "a panel for each unit", "worst of their states"):
        assert sentence in report
    logs = list(newcomer.path("logs").glob("plot_*.log"))
    assert len({log.name.split(".")[0] for log in logs}) == 4
    for log in logs:
        assert "Warning" not in log.read_text(), log


def test_an_interactive_figure_is_drawn_and_answers_the_mouse(
    newcomer: Project, tmp_path: Path
) -> None:
    with offline_browser() as browser:
        page = browser.open(newcomer.path("report", "lightcurve-01.html"))
        drawn = "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
        page.wait_for_function(drawn)
        # The head with the name of the target, then the panels.
        page.get_by_text("click a name to hide").wait_for()
        model = "Bokeh.documents[0].roots()[0].children[1]"
        before = page.evaluate(f"{model}.x_range.end - {model}.x_range.start")
        page.mouse.move(400, 300)
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(500)
        after = page.evaluate(f"{model}.x_range.end - {model}.x_range.start")
        assert after < before
        assert len(page.screenshot(path=tmp_path / "interactive.png", full_page=True)) > 30_000
        assert browser.outside == []
        assert browser.complaints == []


def test_the_results_are_read_without_their_configuration(newcomer: Project) -> None:
    curves = read_lightcurves(newcomer.path(), view="all")
    manifest = json.loads(newcomer.path("manifest.json").read_text())
    assert len(curves) == manifest["rows"]
    frame = curves.to_fornax()
    bands = set(frame.index.get_level_values("band"))
    assert bands >= {"zg", "W1", "G", "panstarrs g", "TESS", "Kepler", "K2", "FERMIGTRIG"}
    flux_mjy = frame.loc[frame.index.get_level_values("band") == "zg", "flux"]
    assert 0.001 < flux_mjy.median() < 10
    assert 0 < len(read_lightcurves(newcomer.path())) < len(curves)


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


def lightloom(project: Project, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", *arguments],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_board_says_that_all_is_done(newcomer: Project) -> None:
    board = json.loads(lightloom(newcomer, "status", "--json"))
    assert board["finished"]
    assert {archive["done"] for archive in board["archives"]} == {30}
    assert all(
        archive["requests"] or archive["archive"] == "icecube" for archive in board["archives"]
    )


def test_rows_of_every_archive_are_traced_to_their_part(newcomer: Project) -> None:
    rows = pd.read_parquet(newcomer.path("lightcurves")).query("time_mjd_tdb.notna()")
    for archive, chosen in (
        rows.sample(frac=1, random_state=1).groupby("archive").head(1).groupby("archive")
    ):
        row = chosen.iloc[0]
        (found,) = explain(newcomer.path(), row.objectid, row.time_mjd_tdb, archives=[str(archive)])
        facts = dict(found.facts)
        assert facts["time_mjd_tdb"] == f"{row.time_mjd_tdb} d"
        assert facts["digest"].endswith("as fetched"), archive
        assert facts["settings"].endswith("as in run.json"), archive


def test_the_plan_of_a_finished_run_is_what_it_took(newcomer: Project) -> None:
    plan = json.loads(lightloom(newcomer, "plan", "--json", "--cores", "2"))
    manifest = json.loads(newcomer.path("manifest.json").read_text())
    assert (plan["targets"], plan["refused"]) == (manifest["targets"], [])
    for archive in plan["archives"]:
        path = newcomer.path("parts", archive["archive"], "allsky.status.json")
        status = json.loads(path.read_text())
        assert archive["jobs_left"] == 0
        assert archive["requests"]["expected"] == status["reads"]["requests"]
        assert archive["pieces"]["expected"] == status["planned_requests"]


def test_what_gave_rows_is_cited(newcomer: Project) -> None:
    entries = parse_string(lightloom(newcomer, "cite", "--form", "bibtex"), "bibtex").entries
    manifest = json.loads(newcomer.path("manifest.json").read_text())
    with_rows = [name for name, entry in manifest["archives"].items() if entry["rows"]]
    catalogue = read_record(newcomer.path()).archives
    bibcodes = {catalogue[name].citation["bibcode"] for name in with_rows}
    assert set(entries) == bibcodes | {"lightloom"}


def test_the_results_are_a_workflow_run_crate(newcomer: Project) -> None:
    author = ("--author", "A. Name", "--orcid", "https://orcid.org/0000-0002-1825-0097")
    lightloom(newcomer, "crate", *author)
    metadata = newcomer.path("ro-crate-metadata.json").read_bytes()
    provenance = json.loads(newcomer.path("provenance.json").read_text())
    assert crate_problems(newcomer.path()) == []
    files = json.loads(newcomer.path("manifest.json").read_text())["files"]
    # Identifiers are URIs.
    described = {unquote(entity["@id"]): entity for entity in json.loads(metadata)["@graph"]}
    assert {name: described[name]["sha256"] for name in files} == {
        name: facts["sha256"] for name, facts in files.items()
    }
    for relation in ("used", "wasGeneratedBy"):
        for one in provenance[relation].values():
            assert one["prov:activity"] in provenance["activity"]
            assert one["prov:entity"] in provenance["entity"]
    lightloom(newcomer, "crate", *author)
    assert newcomer.path("ro-crate-metadata.json").read_bytes() == metadata


def test_comets_are_matched_when_they_are_asked_for(newcomer: Project) -> None:
    few = {
        "objects": ["260P", "2I/Borisov", "4179"],
        "start": "2019-10-01",
        "stop": "2019-11-01",
        "sources": {"kowalski": {"enabled": False}},
    }
    newcomer.configure({"moving": few})
    run = snakemake(newcomer, "comets", "--configfile", "test.yaml")
    assert run.returncode == 0, run.stdout
    ledger = pd.read_parquet(newcomer.path("moving", "ledger.parquet")).set_index("objectid")
    assert ledger.state.to_dict() == {
        "260P": "data",
        "2I/Borisov": "data",
        "4179": "searched_empty",
    }
    figures = {path.stem for path in newcomer.path("moving", "report").rglob("*.png")}
    assert len(figures) == len(ledger)
    matches = sorted(newcomer.path("moving", "matches", "ztf").rglob("*.parquet"))
    written = [path.stat().st_mtime_ns for path in matches]
    assert "Nothing to be done" in snakemake(newcomer, "comets", "--configfile", "test.yaml").stdout
    # Alerts that have come late are looked at; only those of the window count.
    alerts = next((newcomer.root / "sky" / "moving" / "alerts.parquet").rglob("*.parquet"))
    (alerts.parent / "late.parquet").write_bytes(alerts.read_bytes())
    run = snakemake(newcomer, "comets", "--configfile", "test.yaml")
    (alerts.parent / "late.parquet").unlink()
    assert run.returncode == 0, run.stdout
    assert "rule match_alerts" in run.stdout
    assert "rule fetch_ephemerides" not in run.stdout
    assert [path.stat().st_mtime_ns for path in matches] == written


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_on_the_results(
    newcomer: Project, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(newcomer.root / "scripts"))
    notebook = jupytext.read(path)
    folder = {"metadata": {"path": str(newcomer.root)}}
    NotebookClient(notebook, timeout=200, kernel_name="python3", resources=folder).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("data" in output for output in outputs)
