"""Compare what `lightloom plan` expects, from a pilot, with what the whole run then takes.

A sample of random positions is searched in an embedded sky built around it. The pilot fetches the
smallest and the largest shard; the run that is predicted starts from nothing and has six times the
pilot's jobs. Where other work changes the load between the two, the processors' time tells more
than the clock.

``PYTHONPATH=scripts:tests python tests/benchmarks/prediction.py``
"""

import argparse
import csv
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightloom.sky.build import DEFAULT_SEED, build_sky
from project import REPOSITORY, Project

#: Nested lists, detections read by ranges of pages, a service that is asked once, and one that is
#: asked in two steps.
ARCHIVES = ("ztf", "unwise", "xmm", "nsc")

_SOUTH_DEG = -25.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    folder = options.output / "prediction"
    shutil.rmtree(folder, ignore_errors=True)
    project = Project.create(folder / "project")
    _write_sample(project.root / "targets.csv", options.targets, options.seed)
    sky = project.root / "sky"
    if options.sky:
        sky.symlink_to(options.sky.resolve())
    else:
        build_sky(sky, project.root / "targets.csv", DEFAULT_SEED)
    _configure(project, options.archives, options.max_targets)
    expected = _plan(project, options)
    load = os.getloadavg()[0]
    took_s = _run(project, options.cores)
    rows = [_compare(project, one) for one in expected["archives"]]
    peak_mb = max(row["measured_mb"] for row in rows)
    report = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "targets": expected["targets"],
        "shards": expected["shards"],
        "pilot_jobs": sum(one["jobs"] - one["jobs_left"] for one in expected["archives"]),
        "jobs": sum(one["jobs"] for one in expected["archives"]),
        "time_s": {"expected": 3600 * expected["hours"], "measured": took_s},
        "cpu_s": {
            "expected": sum(row["job_cpu_s"] for row in rows),
            "measured": sum(row["measured_job_cpu_s"] for row in rows),
        },
        "load": {"pilot": load, "run": os.getloadavg()[0]},
        "peak_mb": {"expected": expected["peak_mb"], "measured": peak_mb},
        "archives": rows,
    }
    (options.output / "prediction.json").write_text(json.dumps(report, indent=1))
    print(_table(report))
    if not options.keep:
        shutil.rmtree(folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--max-targets", type=int, default=60, help="of a shard")
    parser.add_argument("--pilot", type=int, default=2, help="shards")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--archives", nargs="+", default=list(ARCHIVES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sky", type=Path, help="a sky that was built around this sample")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "output")
    parser.add_argument("--keep", action="store_true", help="keep the project")
    return parser.parse_args(arguments)


def _write_sample(path: Path, n_targets: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ra_deg = rng.uniform(0, 360, n_targets)
    dec_deg = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(_SOUTH_DEG)), 1, n_targets)))
    lines = [
        f"T{number:04d},{ra:.6f},{dec:.6f}"
        for number, (ra, dec) in enumerate(zip(ra_deg, dec_deg, strict=True))
    ]
    path.write_text("\n".join(["name,ra,dec", *lines]) + "\n")


def _configure(project: Project, archives: Sequence[str], max_targets: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The servers of the sky listen where this run alone knows.
    overlay = project.root / "config" / "sky" / "embedded.yaml"
    old = str(yaml.safe_load(overlay.read_text())["services"]["sky"]["port"])
    overlay.write_text(overlay.read_text().replace(old, str(port)))
    source = {"kind": "table", "path": "targets.csv", "id": "name", "ra": "ra", "dec": "dec"}
    others = set(project.default_configuration()["archives"]) - set(archives)
    project.configure(
        {
            "sample": {"sources": [{**source, "unit": "deg"}]},
            "shards": {"max_targets": max_targets},
            "archives": {name: {"enabled": False} for name in sorted(others)},
        }
    )


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": "scripts"}


def _plan(project: Project, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "lightloom.cli", "plan", "--json", "--configfile", "test.yaml"]
    command += ["--pilot", str(options.pilot), "--cores", str(options.cores)]
    ended = subprocess.run(
        command, cwd=project.root, env=_environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(ended.stdout[ended.stdout.index("{") :])


def _run(project: Project, cores: int) -> float:
    """Run everything from nothing; return how long that took [s]."""
    shutil.rmtree(project.root / "results")
    shutil.rmtree(project.root / ".snakemake")
    started_s = time.monotonic()
    run = project.snakemake("--cores", str(cores))
    took_s = time.monotonic() - started_s
    if run.returncode:
        raise SystemExit(run.output)
    return took_s


def _compare(project: Project, expected: dict[str, Any]) -> dict[str, Any]:
    """Put what was measured beside what was expected of an archive."""
    name = expected["archive"]
    statuses = [
        json.loads(path.read_text())
        for path in sorted(project.path("parts", name).glob("*.status.json"))
    ]
    jobs = []
    for path in sorted(project.path("benchmarks", "fetch", name).glob("*.tsv")):
        with path.open() as file:
            jobs.append(next(csv.DictReader(file, delimiter="\t")))
    return {
        "archive": name,
        "pieces": expected["pieces"],
        "measured_pieces": sum(status["planned_requests"] for status in statuses),
        "requests": expected["requests"],
        "measured_requests": sum(status["reads"]["requests"] for status in statuses),
        "bytes": expected["bytes"]["expected"],
        "measured_bytes": sum(status["reads"]["bytes"] for status in statuses),
        "job_s": expected["job_s"]["expected"],
        "measured_job_s": sum(float(job["s"]) for job in jobs),
        "job_cpu_s": expected["job_cpu_s"]["expected"],
        "measured_job_cpu_s": sum(float(job["cpu_time"]) for job in jobs),
        "job_mb": expected["job_mb"],
        "measured_mb": max(float(job["max_rss"]) for job in jobs),
    }


def _table(report: dict[str, Any]) -> str:
    load = report["load"]
    lines = [
        f"{report['targets']} targets in {report['shards']} shards; the pilot was"
        f" {report['pilot_jobs']} of {report['jobs']} fetch jobs; load"
        f" {load['pilot']:.0f} after the pilot, {load['run']:.0f} after the run",
        "",
        "| archive | pieces: expected, found | requests: expected (from, to), found"
        " | MB | job time [s] | CPU time [s] | memory of a job [MB] |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["archives"]:
        pieces, requests = row["pieces"], row["requests"]
        lines.append(
            f"| `{row['archive']}` | {pieces['expected']:.0f}, {row['measured_pieces']}"
            f" | {requests['expected']:.0f} ({requests['low']:.0f}, {requests['high']:.0f}),"
            f" {row['measured_requests']}"
            f" | {row['bytes'] / 1e6:.1f}, {row['measured_bytes'] / 1e6:.1f}"
            f" | {row['job_s']:.0f}, {row['measured_job_s']:.0f}"
            f" | {row['job_cpu_s']:.0f}, {row['measured_job_cpu_s']:.0f}"
            f" | {row['job_mb']:.0f}, {row['measured_mb']:.0f} |"
        )
    for name, unit in (("time_s", "s"), ("cpu_s", "s"), ("peak_mb", "MB")):
        found = report[name]
        ratio = found["expected"] / found["measured"]
        lines += [
            "",
            f"{name}: expected {found['expected']:.0f} {unit}, found {found['measured']:.0f} {unit}"
            f" (ratio {ratio:.2f})",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
