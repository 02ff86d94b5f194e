"""What Snakemake and the reading of the Snakefile cost when there are 10,000 jobs.

The rules, the plan and the keys are those of the workflow; each job's script is replaced by one
that makes its files empty, so that nothing but the overhead is measured:

    python tests/benchmarks/overhead.py --archives 7 --shards 1356
    python tests/benchmarks/overhead.py --archives 7 --shards 1356 --touch
    python tests/benchmarks/overhead.py --archives 7 --shards 143 --slurm

The second makes the files of the jobs at once, and measures the rerun only. The third sends the
jobs to a Slurm of two nodes on this machine, in the groups of profiles/slurm. The numbers go to
benchmarks/output/overhead-<jobs>.json as well.
"""

import argparse
import json
import os
import re
import resource
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]

from project import REPOSITORY, Project  # noqa: E402

OUTPUT = REPOSITORY / "benchmarks" / "output"
_GROUP = re.compile(r"Group job \S+ \(")
#: Mean number of targets in a shard; few, as it is the jobs that count.
_TARGETS = 4


def make_project(root: Path, n_archives: int, n_shards: int) -> Project:
    """A project whose jobs do nothing, with at least so many shards."""
    project = Project.create(root)
    for path in (root / "rules").glob("*.smk"):
        text = path.read_text()
        text = re.sub(
            r'( +)script:\n +"../scripts/merge_hats.py"', r'\1shell:\n\1    "mkdir {output}"', text
        )
        text = re.sub(
            r'( +)script:\n +"../scripts/\w+.py"', r'\1shell:\n\1    "touch {output}"', text
        )
        # The sky is not really built: what are folders in it are files here.
        text = re.sub(r'directory\(("sky/[^"]+")\)', r"\1", text)
        path.write_text(text)
    rng = np.random.default_rng(1)
    n_targets = n_shards * _TARGETS
    ra_deg = rng.uniform(0, 360, n_targets)
    dec_deg = np.degrees(np.arcsin(rng.uniform(-1, 1, n_targets)))
    rows = [
        f"t{n},{ra:.6f},{dec:.6f}" for n, (ra, dec) in enumerate(zip(ra_deg, dec_deg, strict=True))
    ]
    (root / "targets.csv").write_text("\n".join(["name,ra,dec", *rows]) + "\n")
    # The footprint of Rubin is read from the embedded sky, which is not really built.
    names = sorted(project.default_configuration()["archives"], key=lambda name: name == "rubin")
    project.configure(
        {
            "sample": {
                "sources": [
                    {"kind": "table", "path": "targets.csv", "id": "name", "ra": "ra", "dec": "dec"}
                ]
            },
            "shards": {"max_targets": 2 * _TARGETS},
            "archives": {
                name: {"enabled": number < n_archives} for number, name in enumerate(names)
            },
            "services": {"sky": {"enabled": False}},
        }
    )
    return project


def make_files(project: Project) -> None:
    """Make what 10,000 jobs would, at once; the rest of the run takes Snakemake no time."""
    plan = project.snakemake("--summary").output
    for line in plan.splitlines():
        path = line.partition("\t")[0]
        if path.startswith(("results/", "sky/")):
            file = project.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.mkdir() if path.endswith("hats/lightcurves") else file.touch()


def measured(project: Project, *options: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run Snakemake and return what it took, with its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    run = project.snakemake(*options, environment=environment)
    wall_s = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise SystemExit(run.output[-3000:])
    return {
        "wall_s": round(wall_s, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "rss_mb": after.ru_maxrss // 1024,
        "output": run.output,
    }


def main() -> None:
    """Measure, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archives", type=int, default=7)
    parser.add_argument("--shards", type=int, default=1356, help="at least so many")
    parser.add_argument("--slurm", action="store_true", help="run the jobs on a Slurm")
    parser.add_argument("--touch", action="store_true", help="make the files beside Snakemake")
    parser.add_argument("--folder", type=Path, default=OUTPUT / "overhead")
    asked = parser.parse_args()
    import slurm as slurm_service

    shutil.rmtree(asked.folder, ignore_errors=True)
    project = make_project(asked.folder, asked.archives, asked.shards)
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with slurm_service.serve() if asked.slurm else nullcontext() as slurm:
        environment = slurm.environment if slurm else {}
        profile = ["--profile", "profiles/slurm"] if slurm else []
        if slurm:
            profile += ["--slurm-init-seconds-before-status-checks", "1"]
        steps = {
            "plan and dry run": ["--dry-run", "--quiet"],
            "dry run for Slurm": ["--profile", "profiles/slurm", "--dry-run"],
            "touch" if asked.touch else "run": ["--touch"] if asked.touch else [],
            "no-op": [],
            "no-op again": [],
        }
        for name, options in steps.items():
            if name == "touch":
                make_files(project)
            found[name] = measured(project, *profile, *options, environment=environment)
            output = found[name].pop("output")
            if name == "dry run for Slurm":
                found["groups"] = len(_GROUP.findall(output))
            if name.startswith("no-op") and "Nothing to be done" not in output:
                raise SystemExit(f"the rerun did something: {output[-2000:]}")
        found["shards"] = len(project.shards)
        found["jobs"] = len(project.shards) * (asked.archives + 1)
        if slurm:
            found["slurm_jobs"] = slurm.submitted()
    if "run" in found:
        per_job_s = found["run"]["wall_s"] / found["jobs"]
        found["ms_per_job"] = round(1000 * per_job_s, 1)
    report(found)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    name = f"overhead-{found['jobs']}{'-slurm' if asked.slurm else ''}.json"
    (OUTPUT / name).write_text(json.dumps(found, indent=1) + "\n")


def report(found: dict[str, Any]) -> None:
    """Print the numbers as a table."""
    print(f"{found['shards']} shards, {found['jobs']} jobs, load {found['load']:.1f}")
    print("| step | wall [s] | CPU [s] | peak [MB] |\n|---|--:|--:|--:|")
    for name, step in found.items():
        if isinstance(step, dict):
            print(f"| {name} | {step['wall_s']} | {step['cpu_s']} | {step['rss_mb']} |")
    for name in ("groups", "ms_per_job", "slurm_jobs"):
        if name in found:
            print(f"{name}: {found[name]}")


if __name__ == "__main__":
    main()
