"""The whole workflow on ever larger samples: time, memory of every process, and the rerun.

    python tests/benchmarks/scale.py --quick
    python tests/benchmarks/scale.py --targets 30 500 5000 50000
    python tests/benchmarks/scale.py --targets 500000 --slice-min 9

The Parquet archives of the embedded sky are searched, two of them (ZTF and unWISE) in their dense
variants, of which the targets are drawn. A run that was stopped, by `--slice-min` or by hand, goes
on where it stopped when the same command is given again: time and CPU time of its slices are
added up. The numbers go to benchmarks/output/scale.json, a case for each number of targets.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from peaks import PeakWatch

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from lightloom.manifest import count_states  # noqa: E402
from lightloom.sky import unwise, ztf  # noqa: E402
from lightloom.sky.build import DEFAULT_SEED, build_sky  # noqa: E402
from lightloom.sky.dense import DenseSize, Layout, build_dense  # noqa: E402
from lightloom.sky.geometry import shift  # noqa: E402
from project import REPOSITORY, Project  # noqa: E402

OUTPUT = REPOSITORY / "benchmarks" / "output"
_SAMPLE = REPOSITORY / "config" / "samples" / "yang2018.csv"
_DENSE = {"ztf": ztf.CATALOGUE, "unwise": unwise.CATALOGUE}
_ARCHIVES = ("ztf", "unwise", "gaia", "panstarrs", "neowise")
_QUICK = {"targets": [60], "objects": 4000, "partitions": 3, "epochs": 10, "visits": 2}
#: Most targets in a shard: of small samples the default, of large ones what the manual advises.
_MAX_TARGETS = (500, 12_000)
_ROW_GROUP_ROWS = 100_000
_LARGEST_OFFSET_ARCSEC = 0.7
_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    sky = options.folder / "sky"
    _build_sky(sky, options)
    path = options.output / "scale.json"
    for n_targets in options.targets:
        case = run_case(options, sky, n_targets)
        print(format_case(case), flush=True)
        cases = json.loads(path.read_text()) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(cases | {str(n_targets): case}, indent=1) + "\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", type=int, nargs="+", default=[30, 500, 5000, 50_000])
    parser.add_argument("--archives", nargs="+", default=list(_ARCHIVES), choices=_ARCHIVES)
    parser.add_argument("--objects", type=int, default=2_000_000, help="objects of the dense ZTF")
    parser.add_argument("--epochs", type=int, default=30, help="mean number for an object")
    parser.add_argument("--visits", type=int, default=5, help="of unWISE, in two bands")
    parser.add_argument("--partitions", type=int, default=48, help="of the dense catalogues")
    parser.add_argument(
        "--max-targets", type=int, help="in a shard; by default more the larger the sample"
    )
    parser.add_argument("--rule", default="all", help="target rule")
    parser.add_argument("--slice-min", type=float, help="stop a run after so many minutes")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--folder", type=Path, default=OUTPUT / "scale", help="for sky and runs")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--quick", action="store_true", help="a very small case")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(_QUICK)
    return options


def _build_sky(sky: Path, options: argparse.Namespace) -> None:
    """Build the embedded sky and its dense variants, once for all cases."""
    if not sky.exists() and set(options.archives) - _DENSE.keys():
        build_sky(sky, _SAMPLE, options.seed)
    size = DenseSize(
        n_objects=options.objects,
        mean_epochs=options.epochs,
        n_visits=options.visits,
        n_partitions=options.partitions,
    )
    done = sky.with_name("dense.json")
    asked = {**vars(size), "seed": options.seed}
    if not done.exists() or json.loads(done.read_text()) != asked:
        for name in ("dense", *(path.name for path in sky.parent.glob("run-*"))):
            shutil.rmtree(sky.with_name(name), ignore_errors=True)
        build_dense(sky.with_name("dense"), size, Layout.PAGED, _ROW_GROUP_ROWS, options.seed)
        done.write_text(json.dumps(asked))


def run_case(options: argparse.Namespace, sky: Path, n_targets: int) -> dict[str, Any]:
    """Run the workflow for one number of targets, and again when it is complete.

    Returns
    -------
    dict
        ``complete``, and if so what `_results` tells; ``slices``, what each start took; ``again``,
        what the rerun took.
    """
    root = options.folder / f"run-{n_targets}"
    project = Project(root) if root.exists() else _create(root, options, sky, n_targets)
    record = root / "slices.json"
    slices = json.loads(record.read_text()) if record.exists() else []
    if not slices or not slices[-1]["complete"]:
        slices.append(_measured(project, options))
        record.write_text(json.dumps(slices, indent=1))
    case: dict[str, Any] = {"asked": n_targets, "slices": slices}
    case["complete"] = slices[-1]["complete"]
    if case["complete"]:
        case |= _results(project, options)
        case["again"] = [_measured(project, options, again=True) for _ in range(2)]
    return case


def _create(root: Path, options: argparse.Namespace, sky: Path, n_targets: int) -> Project:
    """Make a project whose sample is drawn from the dense catalogues."""
    project = Project.create(root)
    dense = sky.with_name("dense")
    _draw(dense / ztf.CATALOGUE, n_targets, options.seed).to_parquet(root / "targets.parquet")
    archives: dict[str, Any] = {
        name: {"enabled": name in options.archives}
        for name in project.default_configuration()["archives"]
    }
    for name in set(options.archives) & _DENSE.keys():
        archives[name]["endpoint"] = str(dense.resolve() / _DENSE[name])
    (root / "sky").symlink_to(sky.resolve())
    source = {"kind": "table", "path": "targets.parquet", "id": "name", "ra": "ra", "dec": "dec"}
    max_targets = options.max_targets or int(np.clip(n_targets // 5, *_MAX_TARGETS))
    project.configure(
        {
            "sample": {"sources": [source]},
            "shards": {"max_targets": max_targets},
            "archives": archives,
            "services": {"sky": {"enabled": False}},
        }
    )
    return project


def _draw(catalogue: Path, n_targets: int, seed: int) -> pd.DataFrame:
    """Draw targets near sources, each near another one."""
    objects = ds.dataset(catalogue / "dataset", format="parquet").to_table(
        ["objra", "objdec"], filter=ds.field("filterid") == 1
    )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(objects.num_rows, n_targets, replace=False))
    ra_deg, dec_deg = shift(
        *(objects[name].to_numpy().astype(np.float64)[chosen] for name in ("objra", "objdec")),
        rng.uniform(0.0, 360.0, n_targets),
        _LARGEST_OFFSET_ARCSEC * np.sqrt(rng.random(n_targets)),
    )
    names = [f"dense-{number}" for number in range(n_targets)]
    return pd.DataFrame({"name": names, "ra": ra_deg, "dec": dec_deg})


def _measured(
    project: Project, options: argparse.Namespace, *, again: bool = False
) -> dict[str, Any]:
    """Start the workflow, and watch it until it ends or its slice of time is over."""
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    log = project.root / "slice.log"
    # A stopped run leaves jobs that did not end: they are made again, what they kept is used.
    with (
        log.open("w") as file,
        project.started("--rerun-incomplete", target=options.rule, output=file) as process,
    ):
        watch = PeakWatch(process.pid)
        while process.poll() is None:
            watch.look()
            if options.slice_min and time.monotonic() - started > 60 * options.slice_min:
                process.send_signal(signal.SIGTERM)
                options.slice_min = None
            time.sleep(0.2)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = log.read_text()
    nothing = "Nothing to be done" in text
    if again and not nothing:
        raise SystemExit(f"the rerun did something:\n{text[-3000:]}")
    return {
        "complete": process.returncode == 0,
        "returncode": process.returncode,
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "load": round(load, 1),
        "peak_mib": watch.peaks_mib(),
        "error": text[-2000:] if process.returncode else "",
    }


def _results(project: Project, options: argparse.Namespace) -> dict[str, Any]:
    """Check that the ledger is complete, and sum up what the searches read and found."""
    n_targets = pq.read_metadata(project.path("sample", "sample.parquet")).num_rows
    counted = count_states(project.path("ledger.parquet"))
    for archive, entry in counted.items():
        if sum(entry["states"].values()) != n_targets:
            raise SystemExit(f"{archive}: {entry['states']}, expected {n_targets} states")
        if archive in options.archives and "failed" in entry["states"]:
            raise SystemExit(f"{archive}: {entry['states']['failed']} searches failed")
    n_states = pq.read_metadata(project.path("ledger.parquet")).num_rows
    if n_states != n_targets * len(project.default_configuration()["archives"]):
        raise SystemExit(f"the ledger has {n_states} states of {n_targets} targets")
    reads = {"requests": 0, "bytes": 0}
    for path in project.path("parts").glob("*/*.status.json"):
        found = json.loads(path.read_text())["reads"]
        reads = {name: reads[name] + found[name] for name in reads}
    return {
        "targets": n_targets,
        "shards": len(project.shards),
        "jobs": len(project.shards) * (len(options.archives) + 1),
        "states": {name: counted[name]["states"] for name in options.archives},
        "ledger_rows": n_states,
        "rows": sum(entry["rows"] for entry in counted.values()),
        **reads,
        "output_bytes": sum(
            path.stat().st_size for path in project.path("lightcurves").glob("*.parquet")
        ),
        "rules": _rules(project.path("benchmarks")),
    }


def _rules(folder: Path) -> dict[str, dict[str, float]]:
    """Sum up Snakemake's own records of the jobs, by rule."""
    jobs = [
        pd.read_csv(path, sep="\t", na_values="-").assign(
            rule="/".join(path.relative_to(folder).with_suffix("").parts[:2])
            if path.parent.parent.name == "fetch"
            else path.relative_to(folder).with_suffix("").parts[0]
        )
        for path in folder.rglob("*.tsv")
    ]
    table = pd.concat(jobs).groupby("rule")
    sums = pd.DataFrame(
        {
            "jobs": table.size(),
            "wall_s": table["s"].sum(),
            "cpu_s": table["cpu_time"].sum(),
            "max_rss_mib": table["max_rss"].max(),
        }
    )
    return {str(rule): row for rule, row in sums.round(1).to_dict("index").items()}


def format_case(case: dict[str, Any]) -> str:
    """Return a case as text: a line for all, and a table of the processes."""
    slices = case["slices"]
    wall_s, cpu_s = (sum(one[name] for one in slices) for name in ("wall_s", "cpu_s"))
    peaks: dict[str, float] = {}
    for one in slices:
        for name, mib in one["peak_mib"].items():
            peaks[name] = max(mib, peaks.get(name, 0))
    if not case["complete"]:
        return f"{case['asked']} targets: not complete after {wall_s:.0f} s: {slices[-1]['error']}"
    n_targets = case["targets"]
    again = case["again"][-1]
    lines = [
        f"{n_targets} targets, {case['shards']} shards, {case['jobs']} fetches and merges, in"
        f" {len(slices)} slices: wall {wall_s:.0f} s, CPU {cpu_s:.0f} s,"
        f" {1000 * cpu_s / n_targets:.1f} ms of CPU per target",
        f"  {case['requests']} requests, {case['bytes'] / _MIB:.0f} MiB read, {case['rows']} rows,"
        f" {case['output_bytes'] / _MIB:.0f} MiB written; ledger of {case['ledger_rows']} states",
        f"  again: nothing to be done, wall {again['wall_s']} s, CPU {again['cpu_s']} s",
        f"  {'process':24} {'peak RSS':>10} {'jobs':>6} {'wall':>8} {'CPU':>8}",
    ]
    for name in sorted(peaks.keys() | case["rules"].keys()):
        rule = case["rules"].get(name, {"jobs": 0, "wall_s": 0, "cpu_s": 0, "max_rss_mib": 0})
        lines.append(
            f"  {name:24} {peaks.get(name, rule['max_rss_mib']):6.0f} MiB {rule['jobs']:6.0f}"
            f" {rule['wall_s']:6.0f} s {rule['cpu_s']:6.0f} s"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
