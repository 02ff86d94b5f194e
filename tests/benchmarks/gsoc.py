"""Four toy archives, asked one after the other and by the workflow.

    python tests/benchmarks/gsoc.py --quick
    python tests/benchmarks/gsoc.py --targets 10 100 1000 5000

In the spirit of the exercise that students are given before they scale such a search with Dask: for
each target, an archive sleeps or solves linear equations. `toy_archives/toy.py` is an archive as
a user would add it. "Serial" asks all archives for all targets in one process, and keeps the rows;
"workflow" is the run from nothing, with its start, shards, jobs, parts, merge and ledger. Both must
give the same rows. The numbers go to benchmarks/output/gsoc.json.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from lightloom.archives import get_archive  # noqa: E402
from lightloom.config import load_run  # noqa: E402
from project import REPOSITORY, Project  # noqa: E402

OUTPUT = REPOSITORY / "benchmarks" / "output"
_QUICK = {"targets": [10], "sleep_ms": 1, "matrix": 20}
#: The processor's work is to be that of one thread, here and there.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PER_QUERY = 50


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    if options.serial:
        print(json.dumps(ask_one_after_the_other(options.serial)))
        return
    cases = []
    for n_targets in options.targets:
        root = options.folder / f"run-{n_targets}"
        shutil.rmtree(root, ignore_errors=True)
        project = make_project(root, options, n_targets)
        cases.append({"targets": n_targets, "load": round(os.getloadavg()[0], 1)})
        cases[-1]["workflow"] = _timed(_workflow, project)
        cases[-1]["serial"] = _timed(_serial, project)
        if cases[-1]["workflow"].pop("rows") != cases[-1]["serial"].pop("rows"):
            raise SystemExit(f"{n_targets} targets: the rows differ")
    print(format_cases(cases))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "gsoc.json").write_text(json.dumps(cases, indent=1) + "\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", type=int, nargs="+", default=[10, 100, 1000, 5000])
    parser.add_argument("--sleep-ms", type=float, default=10, help="of two archives, for a target")
    parser.add_argument(
        "--matrix", type=int, default=200, help="order of the other two's equations"
    )
    parser.add_argument("--folder", type=Path, default=OUTPUT / "gsoc", help="for the runs")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--quick", action="store_true", help="a very small case")
    parser.add_argument("--serial", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(_QUICK)
    return options


def make_project(root: Path, options: argparse.Namespace, n_targets: int) -> Project:
    """Make a project with a random sample and the four archives."""
    project = Project.create(root)
    rng = np.random.default_rng(n_targets)
    sample = pd.DataFrame(
        {
            "name": [f"t{number}" for number in range(n_targets)],
            "ra": rng.uniform(0, 360, n_targets),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n_targets))),
        }
    )
    sample.to_parquet(root / "targets.parquet")
    work = [(options.sleep_ms, 10)] * 2 + [(0, options.matrix)] * 2
    toys = {
        f"toy{number}": _entry({"sleep_ms": sleep_ms, "matrix": matrix})
        for number, (sleep_ms, matrix) in enumerate(work)
    }
    source = {"kind": "table", "path": "targets.parquet", "id": "name", "ra": "ra", "dec": "dec"}
    project.configure(
        {
            "sample": {"sources": [source]},
            "catalogue": toys,
            "archives": {
                name: {"enabled": name in toys}
                for name in (*project.default_configuration()["archives"], *toys)
            },
            "services": {"sky": {"enabled": False}},
        }
    )
    return project


def _entry(work: dict[str, float]) -> dict[str, Any]:
    return {
        "module": "toy_archives.toy",
        "title": "A toy",
        "release": "1",
        "endpoint": "nowhere",
        "layout": "service",
        "query_version": 1,
        "radius_arcsec": 1.0,
        "epoch_jyear": 2016.0,
        "options": work,
        "columns": {"object_id": "name", "time": "mjd", "value": "value", "error": "error"},
        "bands": {"r": {"name": "r"}},
        "units": {"native": "mJy", "mag_system": "AB"},
        "time": {"scale": "utc", "ref": "barycentre"},
        "views": {"all": []},
        "limits": {
            "retries": 0,
            "threads": 2,
            "mem_mb": 1000,
            "concurrent_requests": 4,
            "targets_per_query": _PER_QUERY,
        },
        "citation": {"bibcode": "2020AJ....000....1X", "acknowledgement": "A toy"},
    }


def _timed(work: Callable[[Project], list[float]], project: Project) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    rows = work(project)
    wall_s = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "rows": rows}


def _workflow(project: Project) -> list[float]:
    path = os.pathsep.join([str(project.root / "scripts"), str(HERE)])
    run = project.snakemake(environment={**_ONE_THREAD, "PYTHONPATH": path})
    if run.returncode:
        raise SystemExit(run.output[-3000:])
    rows = ds.dataset(project.path("lightcurves"), format="parquet").to_table(["native_value"])
    return _told(rows["native_value"].to_numpy())


def _serial(project: Project) -> list[float]:
    run = subprocess.run(
        [sys.executable, __file__, "--serial", project.root],
        env=os.environ | _ONE_THREAD,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: list[float] = json.loads(run.stdout)
    return found


def ask_one_after_the_other(root: Path) -> list[float]:
    """Ask every archive for every target, and tell the rows as `_workflow` does."""
    given = yaml.safe_load((root / "test.yaml").read_text())
    toys = given["catalogue"]
    run = load_run(
        {
            "sample": given["sample"],
            "catalogue": toys,
            "archives": {name: {"enabled": True} for name in toys},
        }
    )
    values = []
    for name in sorted((root / "results" / "shards").glob("*.parquet")):
        shard = pq.read_table(name)
        for archive_name in run.enabled:
            archive = get_archive(run.archives[archive_name], root)
            for request in archive.plan(shard).requests:
                rows = archive.answer(shard, request).rows
                values.append(rows["native_value"].to_numpy())
    return _told(np.concatenate(values))


def _told(values: np.ndarray) -> list[float]:
    return [len(values), round(float(np.sort(values).sum()), 3)]


def format_cases(cases: list[dict[str, Any]]) -> str:
    """Return all cases as a table."""
    lines = [
        "| targets | load | serial: wall, CPU [s] | workflow: wall, CPU [s] | speed-up |"
        " CPU beside the work [s] |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for case in cases:
        serial, workflow = case["serial"], case["workflow"]
        lines.append(
            f"| {case['targets']} | {case['load']} | {serial['wall_s']}, {serial['cpu_s']}"
            f" | {workflow['wall_s']}, {workflow['cpu_s']}"
            f" | {serial['wall_s'] / workflow['wall_s']:.2f}"
            f" | {workflow['cpu_s'] - serial['cpu_s']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
