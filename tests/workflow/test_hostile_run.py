"""A run whose sample, file names and folders are hostile, and which has secrets to keep."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from astropy.table import Table

from hostile_strings import HOSTILE, MARK, REFUSED
from laboratory import Laboratory
from project import SAMPLE, Project

IDS = [text.strip() for text in HOSTILE]
RESULTS = f"results of $(touch {MARK}) ; touch {MARK} & 'it' \"is\" `touch {MARK}`"
TABLE = f"targets $(touch {MARK}) {{shard}} {{input}} [red] '\" ; #.csv"

#: Secrets by where they come from; nothing that is written may hold any.
TOKEN, FILE_TOKEN = "gt-token-of-the-test-1", "gt-token-of-the-test-2"
ENVIRONMENT = {
    "RSP_TOKEN": TOKEN,
    "AWS_ACCESS_KEY_ID": "AKIA-of-the-test-3",
    "AWS_SECRET_ACCESS_KEY": "s3-secret-of-the-test-4",
    "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "s3-secret-of-the-test-5",
}
PASSWORD = "password-of-the-test-6"
SECRETS = [*ENVIRONMENT.values(), FILE_TOKEN, PASSWORD]
OBEYED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def write_targets(path: Path, n_near: int = 4) -> None:
    """Hostile targets; some of them where the embedded sky has sources."""
    rows = [line.split(",") for line in (path.parent / SAMPLE).read_text().splitlines()[1:]]
    places = [(row[1], row[2]) for row in rows[:n_near]]
    # Neighbours of a target, far enough not to be one with it: one shard holds all.
    ra, dec = map(float, places[0])
    places += [(repr(ra + 0.01 * n), repr(dec + 0.01)) for n in range(len(IDS) - n_near)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ra", "dec", "label", *IDS])
        for text, (ra_deg, dec_deg) in zip(IDS, places, strict=True):
            writer.writerow([text, ra_deg, dec_deg, text, *IDS])


def lightloom(project: Project, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", *arguments],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in finished.stdout
    return finished.stdout


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, sky: Path) -> Any:
    """A finished run, its project and what it printed, and what the servers saw."""
    root = tmp_path_factory.mktemp("hostile") / "project"
    project = Project.create(root)
    (root / "sky").symlink_to(sky)
    write_targets(root / TABLE)
    (root / "token").write_text(FILE_TOKEN)
    (root / "token").chmod(0o600)
    enabled = project.default_configuration()["archives"]
    sections: dict[str, Any] = {name: {"enabled": False} for name in enabled}
    sections["ztf"] = {"endpoint": str(sky / "ztf_dr24_lc-hats")}
    embedded = yaml.safe_load((root / "config" / "sky" / "embedded.yaml").read_text())
    base = f"http://127.0.0.1:{embedded['services']['sky']['port']}"
    with Laboratory(sky, tokens={"rubin": TOKEN, "nsc": FILE_TOKEN}) as laboratory:
        for name, auth in (
            ("rubin", {"token_env": "RSP_TOKEN"}),
            ("nsc", {"token_file": "token"}),
        ):
            endpoint = embedded["archives"][name]["endpoint"].replace(base, laboratory.base)
            sections[name] = {"enabled": True, "endpoint": endpoint, "auth": auth}
        names = {"id": "id", "label_column": "label", "ra": "ra", "dec": "dec", "unit": "deg"}
        project.configure(
            {
                "results": RESULTS,
                "archives": sections,
                "services": {"sky": {"enabled": False}},
                "sample": {"sources": [{"kind": "table", "path": TABLE, **names}]},
                "report": {"lightcurves": 1},
            }
        )
        run = project.snakemake("--printshellcmds", target="all", environment=ENVIRONMENT)
        log = laboratory.log()
    assert run.returncode == 0, run.output
    return project, run, log


def test_ids_are_text_in_every_table(hostile: Any) -> None:
    project, _, _ = hostile
    results = project.root / RESULTS
    sample = pq.read_table(results / "sample" / "sample.parquet")
    # One row falls within an arcsecond of another: its id is kept beside that.
    known = [one for ids in sample["source_ids"].to_pylist() for one in ids]
    assert sorted(known) == sorted(IDS)
    ledger = pq.read_table(results / "ledger.parquet")
    assert set(ledger["objectid"].to_pylist()) == set(sample["objectid"].to_pylist())
    assert not set(ledger["state"].to_pylist()) & {"failed", "truncated"}
    curves = pq.read_table(results / "lightcurves", columns=["objectid", "archive"])
    assert set(curves["objectid"].to_pylist()) <= set(IDS)
    assert {"ztf", "nsc"} <= set(curves["archive"].to_pylist())


def test_nothing_was_run_or_written_elsewhere(hostile: Any) -> None:
    project, run, _ = hostile
    assert not list(project.root.parent.rglob(MARK))
    assert not OBEYED.search(run.output)
    made = {path.name for path in project.root.iterdir()}
    assert made <= {
        *(
            "Snakefile",
            "rules",
            "scripts",
            "config",
            "envs",
            "profiles",
            "tests",
            "test.yaml",
            "sky",
        ),
        *(".snakemake", ".cache", RESULTS, TABLE, "token"),
    }


def test_services_were_asked_for_positions_alone(hostile: Any) -> None:
    _, _, log = hostile
    asked = json.dumps(log)
    assert {record["service"] for record in log} == {"nsc", "rubin"}
    assert MARK not in asked
    assert "DROP TABLE" not in asked
    assert {record["status"] for record in log} <= {200, 303}


def test_commands_print_them_as_text(hostile: Any) -> None:
    project, _, _ = hostile
    lightloom(project, "crate", RESULTS)
    crate = json.loads((project.root / RESULTS / "ro-crate-metadata.json").read_text())
    assert crate["@graph"]
    for arguments in (["status", RESULTS], ["summary", RESULTS], ["cite", RESULTS]):
        assert not OBEYED.search(lightloom(project, *arguments))
    for text in (IDS[0], "[red]red[/red]", "\u202ecod.exe", "-rf", "x" * 900):
        printed = lightloom(project, "why", "--results", RESULTS, "--", text)
        assert not OBEYED.search(printed)
        assert "state" in printed, printed
        assert text in printed or not text.isprintable()
    wrong = lightloom(project, "why", "--results", RESULTS, "--", "\x1b[31mno such\u202e")
    assert not OBEYED.search(wrong)
    assert "'\\x1b[31mno such\\u202e' not found" in wrong
    out = f"out $(touch {MARK}) [red].ecsv"
    lightloom(project, "export", out, "--results", RESULTS)
    exported = Table.read(project.root / out, format="ascii.ecsv")
    assert set(map(str, exported["objectid"])) <= set(IDS)
    assert not list(project.root.rglob(MARK))


def test_no_secret_is_written(hostile: Any) -> None:
    project, run, log = hostile
    lightloom(project, "crate", RESULTS)
    texts = {"output": run.output.encode(), "requests": json.dumps(log).encode()}
    for path in project.root.rglob("*"):
        if path.is_file() and path.name != "token":
            texts[str(path)] = path.read_bytes()
    assert len(texts) > 100
    for secret in SECRETS:
        leaks = [name for name, content in texts.items() if secret.encode() in content]
        assert not leaks, secret


def test_secrets_in_the_configuration_are_refused(hostile: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    changes = hostile[0].configuration
    source = changes["sample"]["sources"][0]
    address = f"http://me:{PASSWORD}@127.0.0.1:9/tap"
    changes["sample"]["sources"] = [source | {"path": f"http://me:{PASSWORD}@127.0.0.1:9/t.csv"}]
    changes["archives"]["nsc"]["endpoint"] = address
    changes["archives"]["ztf"]["storage_options"] = {"secret": PASSWORD}
    project.configure(changes)
    run = project.snakemake("--dry-run", environment=ENVIRONMENT)
    assert run.returncode != 0
    for key in ("sample.sources[0].path", "archives.nsc.endpoint", "storage_options.secret"):
        assert key in run.output, run.output
    assert PASSWORD not in run.output


def test_refused_ids_are_shown_escaped(hostile: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    rows = "".join(f'"{text}",{n},5\n' for n, text in enumerate(REFUSED) if "\0" not in text)
    (project.root / TABLE).write_text(f"id,ra,dec\n{rows}", newline="")
    changes = hostile[0].configuration
    changes["sample"]["sources"][0].pop("label_column")
    changes["archives"]["nsc"] = {"enabled": False}
    project.configure(changes)
    run = project.snakemake("--dry-run", environment=ENVIRONMENT)
    assert run.returncode != 0
    assert "an id without control characters" in run.output, run.output
    assert "\\x1b[31mred" in run.output
    assert not OBEYED.search(run.output)
    assert "Traceback" not in run.output
