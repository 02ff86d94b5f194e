"""Samples that arrive while nobody looks, and samples that services are asked for."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lightloom.sky.services.registries import ztf_id
from project import REPOSITORY, SAMPLE, Project

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


def asking(project: Project, sky: Path, *, is_up: bool, faults: Sequence[dict] = ()) -> None:
    """Let a project have sources of every kind that is asked for, of a service that is up or not.

    The laboratory is a service of the run: whatever needs it starts it.
    """
    port = project.configuration.get("services", {}).get("sky", {}).get("port") or free_port()
    place = f"http://127.0.0.1:{port}"
    _, *rows = (REPOSITORY / SAMPLE).read_text().splitlines()
    names = [row.split(",")[0] for row in rows]
    tap = f"{place}/simbad/tap"
    asked = [
        {"kind": "literature", "name": "hon2022"},
        {"kind": "literature", "name": "2018ApJ...862..109Y", "service": "simbad",
         "where": [["main_id", "==", names[20]]], "label": "by SIMBAD"},
        {"kind": "literature", "name": "macleod2019", "max_targets": 2},
        {"kind": "names", "entries": [names[14], names[15].lower(), "nobody's"], "label": "named"},
        {"kind": "ztf_ids", "entries": [ztf_id(16), ztf_id(17)]},
        {"kind": "sdss_quasars", "number": 3, "z_min": 1.0, "z_max": 2.0},
        {"kind": "tap", "endpoint": tap, "id": "main_id",
         "adql": f"SELECT main_id, ra, dec FROM basic WHERE main_id = '{names[18]}'"},
    ]  # fmt: skip
    (project.root / "faults.json").write_text(json.dumps(list(faults)))
    command = f"python -m laboratory --sky {shlex.quote(str(sky))} --port {port}"
    resolvers = {name: f"{place}/{name}" for name in ("alerce", "ned", "sdss", "sesame", "vizier")}
    default = project.default_configuration()["sample"]["sources"]
    project.configure(
        project.configuration
        | {
            "sample": {"sources": [*default, *asked], "on_bad_row": "skip"},
            # One shard: how a sample grows is shown elsewhere.
            "shards": {"max_targets": 100},
            "resolvers": {**resolvers, "simbad": tap, "limits": {"attempts": 1, "timeout_s": 20}},
            "services": {
                "sky": {
                    "command": f"{command} --faults faults.json",
                    "port": port,
                    "enabled": is_up,
                    "resolvers": ["alerce", "ned", "sdss", "sesame", "simbad", "tap", "vizier"],
                }
            },
        }
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def rows_of(project: Project) -> list[dict]:
    return pq.read_table(project.path("sample", "sample.parquet")).to_pylist()


@pytest.mark.timeout(1000)
def test_sources_of_every_kind_in_one_run(project: Project, sky: Path) -> None:
    before = targets(project)
    # Nobody answers: the run says who, and leaves what was there.
    asking(project, sky, is_up=False)
    refused = project.snakemake()
    assert refused.returncode != 0
    for source in ("literature:hon2022", "names", "ztf_ids", "sdss_quasars", "tap"):
        assert f"{source}: expected an answer of " in refused.output
    assert "start again when it answers" in refused.output
    assert targets(project) == before

    # A dry run asks as well, and what it was told is what the run works with.
    asking(project, sky, is_up=True)
    planned = project.snakemake("--dry-run")
    assert planned.returncode == 0, planned.output
    frozen = sorted(project.path("sample", "frozen").glob("*.csv"))
    assert len(frozen) == 7
    asking(project, sky, is_up=False)
    run = project.snakemake()
    assert run.returncode == 0, run.output

    _, *lines = (REPOSITORY / SAMPLE).read_text().splitlines()
    names = [line.split(",")[0] for line in lines]
    sample = {row["objectid"]: row for row in rows_of(project)}
    assert set(before) < set(sample)
    assert {names[14], names[15].lower(), names[18], names[20], ztf_id(16)} <= set(sample)
    assert sample[names[20]]["labels"] == ["by SIMBAD"]
    # One target of the table is in another paper as well.
    assert sample[names[1]]["labels"] == ["Hon et al. 2022", "Yang 2018"]
    quasars = [one for one in sample if one.isdigit()]
    assert len(quasars) == 3
    rejected = project.path("sample", "rejected.csv").read_text()
    assert "nobody's" in rejected
    ledger = pq.read_table(project.path("ledger.parquet")).to_pylist()
    asked = {row["objectid"] for row in ledger if row["state"] not in ("not_requested", "failed")}
    assert asked == set(sample)
    assert project.snakemake().nothing_to_do

    # A refresh brings what has changed meanwhile, and nothing else.
    gone = {"service": "alerce", "action": "missing_target", "target": [ztf_id(16)]}
    asking(project, sky, is_up=True, faults=[gone])
    refresh = subprocess.run(
        [sys.executable, "-m", "lightloom.cli", "freeze", "--refresh", "--configfile", "test.yaml"],
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(project.root / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refresh.returncode == 0, refresh.stderr
    assert "ztf_ids: 1 targets, 1 unknown, asked on" in refresh.stdout
    asking(project, sky, is_up=False)
    after = project.snakemake("--dry-run")
    assert after.returncode == 0, after.output
    assert set(sample) - set(targets(project)) == {ztf_id(16)}
    assert after.fetches == {"ztf": 1, "unwise": 1}
