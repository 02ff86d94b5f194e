"""Samples that arrive while nobody looks: an inbox, and the watch that starts runs."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from project import Project

COLUMNS = {"ra": "ra", "dec": "dec", "id": "name"}
#: What the wrong ones of the arriving tables hold.
WRONG = {
    3: "name,ra,dec\nT3,not a number,1\n",
    9: "name,ra\nT9,0.28\n",
    # The id of another table, at another place.
    15: "name,ra,dec\nT4,120,40\n",
}


def with_inbox(project: Project) -> Path:
    """Let an inbox be a second source of a project; return its folder."""
    default = project.default_configuration()["sample"]
    inbox = {"kind": "inbox", "path": "inbox", **COLUMNS}
    sample = {"sample": {**default, "sources": [*default["sources"], inbox]}}
    project.configure(project.configuration | sample)
    (project.root / "inbox").mkdir()
    return project.root / "inbox"


def drop(inbox: Path, number: int) -> None:
    """Let a table arrive, as whoever sends it should: under another name until it is whole."""
    good = f"name,ra,dec\nT{number},{0.28 + number / 1000:.4f},-0.098\n"
    part = inbox / f"table{number}.csv.part"
    part.write_text(WRONG.get(number, good))
    part.rename(inbox / f"table{number}.csv")


def targets(project: Project) -> list[str]:
    return pq.read_table(project.path("sample", "sample.parquet"))["objectid"].to_pylist()


@pytest.mark.timeout(1000)
def test_twenty_tables_within_a_minute(project: Project) -> None:
    inbox = with_inbox(project)
    before = targets(project)
    drop(inbox, 0)
    drop(inbox, 3)
    # A dry run leaves a wrong table where it is.
    planned = project.snakemake("--dry-run")
    assert planned.returncode == 0, planned.output
    assert "table3.csv is left out" in planned.output
    assert (inbox / "table3.csv").exists()

    snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    command = [
        sys.executable,
        "-m",
        "lightloom.cli",
        "watch",
        "inbox",
        "--settle-s",
        "1",
        "--longest-s",
    ]
    with (
        (project.root / "watch.log").open("w+") as log,
        subprocess.Popen(
            [
                *command,
                "10",
                "--command",
                shlex.join([*snakemake, "--nocolor", "--", "lightcurves"]),
            ],
            cwd=project.root,
            env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as watch,
    ):
        try:
            for number in set(range(20)) - {0, 3}:
                drop(inbox, number)
                time.sleep(1.5)
            wait_until_idle(project.root / "watch.log")
        finally:
            watch.send_signal(signal.SIGTERM)
    assert watch.returncode == 0

    added = [f"T{number}" for number in range(20) if number not in WRONG]
    assert sorted(targets(project)) == sorted([*before, *added])
    ledger = pq.read_table(project.path("ledger.parquet")).to_pylist()
    asked = [row["objectid"] for row in ledger if row["state"] != "not_requested"]
    assert sorted(asked) == sorted(2 * [*before, *added])
    assert not any(row["state"] == "failed" for row in ledger)
    failed = {path.name for path in (inbox / "failed").iterdir()}
    wrong = {f"table{number}.csv" for number in WRONG}
    assert failed == wrong | {f"{name}.error.txt" for name in wrong}
    assert "'not a number'" in (inbox / "failed" / "table3.csv.error.txt").read_text()
    events = re.findall(
        r"a run starts|has ended with code \d", (project.root / "watch.log").read_text()
    )
    assert len(events) >= 4
    assert events == ["a run starts", "has ended with code 0"] * (len(events) // 2)
    assert project.snakemake().nothing_to_do


def wait_until_idle(log: Path) -> None:
    """Wait until a run has ended and no other one has started for some time."""
    end_s = time.monotonic() + 800
    while time.monotonic() < end_s:
        lines = [line for line in log.read_text().splitlines() if " run " in line]
        if lines and "has ended" in lines[-1] and time.time() > log.stat().st_mtime + 5:
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text())
