"""The memory of `lightloom diff`: two results folders of one shard with many points.

    python tests/benchmarks/differences.py
    python tests/benchmarks/differences.py --points 2000000 --targets 1

Of the second run one point in a thousand is changed, one is new and one is gone. The comparison
runs in a process of its own, whose peak resident memory (VmHWM) is told. The numbers go to
benchmarks/output/differences.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from merge import OUTPUT, points_of

from lightloom.schema import LEDGER, LIGHTCURVE, SAMPLE
from lightloom.storage import ParquetSink, write_json, write_table

_SHARD = "allsky"
_ARCHIVE = "archive0"
#: Of so many points, one differs in each of three ways.
_EVERY = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=OUTPUT / "differences")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    print("| points in each run | targets | differences | peak RSS [MiB] | CPU [s] | load |")
    print("|--:|--:|--:|--:|--:|--:|")
    reports = []
    for points in options.points:
        report = measure(options.folder, points, options.targets)
        print("| " + " | ".join(map(str, report.values())) + " |", flush=True)
        reports.append(report)
    write_json(options.output / "differences.json", reports)


def measure(folder: Path, points: int, targets: int) -> dict[str, Any]:
    """Write two runs, compare them, and tell what it took.

    Raises
    ------
    SystemExit
        If others were found than the differences that were made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    made = [write_run(folder / name, points, targets, name == "new") for name in ("old", "new")]
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("differences_process.py"), folder],
        capture_output=True,
        text=True,
    )
    shutil.rmtree(folder)
    if run.returncode:
        raise SystemExit(f"the comparison failed:\n{run.stderr[-3000:]}")
    found = json.loads(run.stdout)
    if found["differences"] != made[1]:
        raise SystemExit(f"found {found['differences']}, expected {made[1]}")
    return {
        "points": points,
        "targets": targets,
        "differences": sum(made[1].values()),
        "peak_rss_mib": round(found["peak_rss_mib"]),
        "cpu_s": found["cpu_s"],
        "load": round(os.getloadavg()[0], 1),
    }


def write_run(results: Path, points: int, targets: int, is_later: bool) -> dict[str, int]:
    """Write the results of a run of one archive, and return how it differs from the earlier one."""
    rng = np.random.default_rng(1)
    objectids = pa.array([f"target-{number:07d}" for number in range(targets)])
    share = rng.exponential(1.0, targets)
    n_rows = rng.multinomial(points, share / share.sum())
    written = np.zeros(targets, np.int64)
    made = {"changed": 0, "new": 0, "withdrawn": 0}
    with ParquetSink(results / "lightcurves" / f"{_SHARD}.parquet", LIGHTCURVE) as sink:
        for rows in points_of(_ARCHIVE, objectids, n_rows, rng):
            if is_later:
                rows = _later(rows, made)
            names = pc.value_counts(rows["objectid"])
            at = pc.index_in(names.field("values"), objectids).to_numpy()
            np.add.at(written, at, names.field("counts").to_numpy())
            sink.write(rows)
    _write_tables(results, objectids, written)
    return made


def _later(rows: pa.Table, made: dict[str, int]) -> pa.Table:
    """Change, double with another time, and leave out some points."""
    number = np.arange(rows.num_rows) % _EVERY
    is_changed = pa.array(number == 0)
    flux_mjy = pc.if_else(is_changed, pc.add(rows["flux_mjy"], 1.0), rows["flux_mjy"])
    rows = rows.set_column(
        rows.column_names.index("flux_mjy"), LIGHTCURVE.field("flux_mjy"), flux_mjy
    )
    copies = np.where(number == 1, 2, np.where(number == 2, 0, 1))
    taken = np.repeat(np.arange(rows.num_rows), copies)
    is_new = np.diff(taken, prepend=-1) == 0
    rows = rows.take(pa.array(taken))
    time_mjd = pc.if_else(pa.array(is_new), pc.add(rows["time_mjd"], 5000.0), rows["time_mjd"])
    place = rows.column_names.index("time_mjd")
    for kind, which in (("changed", number == 0), ("new", number == 1), ("withdrawn", number == 2)):
        made[kind] += int(which.sum())
    return rows.set_column(place, LIGHTCURVE.field("time_mjd"), time_mjd)


def _write_tables(results: Path, objectids: pa.Array, n_rows: np.ndarray) -> None:
    """Write the sample, the ledger and the record of a run."""
    n_targets = len(objectids)
    given = {
        "objectid": objectids,
        "ra_deg": np.linspace(0, 359, n_targets),
        "dec_deg": np.zeros(n_targets),
        "_healpix_29": np.arange(n_targets),
        "labels": [[]] * n_targets,
        "source_ids": [[]] * n_targets,
        "archive": pa.repeat(_ARCHIVE, n_targets),
        "state": pc.if_else(pa.array(n_rows > 0), "data", "searched_empty"),
        "n_rows": n_rows,
        "n_sources": np.minimum(n_rows, 1),
        "n_offsets": np.zeros(n_targets, np.int64),
        "n_offset_matches": np.zeros(n_targets, np.int64),
        "shard": pa.repeat(_SHARD, n_targets),
    }
    for path, schema in (("sample/sample.parquet", SAMPLE), ("ledger.parquet", LEDGER)):
        columns = [
            pa.array(given[field.name], field.type)
            if field.name in given
            else pa.nulls(n_targets, field.type)
            for field in schema
        ]
        write_table(results / path, pa.table(columns, schema=schema), schema)
    archives = {_ARCHIVE: {"views": {}}}
    write_json(results / "run.json", {"archives": archives, "keys": {_ARCHIVE: {}}})


if __name__ == "__main__":
    main()
