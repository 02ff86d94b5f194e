"""Measure reading: the light curve of one object among very many points, and exporting them all.

Writes results in the layout of a run, with the columns of a run, and reads objects chosen at
random, nothing being kept between two reads. The first read in a process loads more of pyarrow and
is told apart; imports are not counted. With ``--formats`` everything is exported too, by a process
each.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: F401, not counted either
import psutil
import pyarrow as pa

from lightloom.config_files import load_project
from lightloom.export import FORMATS
from lightloom.read import read_lightcurves
from lightloom.record import write_record
from lightloom.schema import LEDGER, LIGHTCURVE, SAMPLE, SHARD
from lightloom.storage import ParquetSink, write_json, write_table
from project import REPOSITORY

ARCHIVES = ("gaia", "neowise", "unwise", "ztf")
TARGETS_PER_SHARD = 5000
POINTS_PER_TARGET = 1000
#: Most time that reading one object may take [s].
LIMIT_S = 0.2
#: How often the memory of an export is looked at [s].
_INTERVAL_S = 0.05


def write_results(results: Path, n_targets: int) -> None:
    """Write the results of a run of ``n_targets`` targets with `POINTS_PER_TARGET` rows each."""
    rng = np.random.default_rng(1)
    objectids = np.array([f"J{number:08d}" for number in rng.permutation(n_targets)])
    starts = range(0, n_targets, TARGETS_PER_SHARD)
    shards = [f"norder5-npix{number}" for number in range(len(starts))]
    of_target = np.repeat(shards, TARGETS_PER_SHARD)[:n_targets]
    columns = {
        "objectid": objectids,
        "ra_deg": rng.uniform(0, 360, n_targets),
        "dec_deg": rng.uniform(-90, 90, n_targets),
        "_healpix_29": np.arange(n_targets),
        "labels": [["benchmark"]] * n_targets,
        "source_ids": [[name] for name in objectids],
        "shard": of_target,
    }
    sample = [pa.array(columns.get(f.name, [None] * n_targets), f.type) for f in SAMPLE]
    write_table(results / "sample/sample.parquet", pa.table(sample, schema=SAMPLE), SAMPLE)
    with ParquetSink(results / "ledger.parquet", LEDGER) as ledger:
        for start, shard in zip(starts, shards, strict=True):
            chosen = objectids[start : start + TARGETS_PER_SHARD]
            of_shard = pa.table(sample, schema=SAMPLE).slice(start, len(chosen))
            shard_columns = [of_shard[name] for name in SHARD.names]
            write_table(
                results / "shards" / f"{shard}.parquet",
                pa.table(shard_columns, schema=SHARD),
                SHARD,
            )
            with ParquetSink(results / "lightcurves" / f"{shard}.parquet", LIGHTCURVE) as sink:
                for first in range(0, len(chosen), 100):
                    sink.write(_rows(chosen[first : first + 100], rng))
            ledger.write(_states(chosen, shard))
    configured = replace(load_project(REPOSITORY, [], []), results=results)
    write_record(configured, {name: {} for name in ARCHIVES})


def _rows(objectids: np.ndarray, rng: np.random.Generator) -> pa.Table:
    n_rows = len(objectids) * POINTS_PER_TARGET
    each = POINTS_PER_TARGET // len(ARCHIVES)
    flux = rng.normal(1, 0.1, n_rows)
    columns = {
        "objectid": np.repeat(objectids, POINTS_PER_TARGET),
        "archive": np.tile(np.repeat(ARCHIVES, each), len(objectids)),
        "band": np.tile(np.repeat(["g", "r"], each // 2), 4 * len(objectids)),
        "time_scale": np.full(n_rows, "utc"),
        "time_ref": np.full(n_rows, "geocentre"),
        "native_unit": np.full(n_rows, "mag"),
        "kind": np.full(n_rows, "detection"),
        "quality": rng.integers(0, 3, n_rows).astype(np.int8),
        "time_mjd_tdb": rng.uniform(55000, 61000, n_rows),
        "flux_mjy": flux,
        "flux_err_mjy": 0.1 * flux,
        "native_value": -2.5 * np.log10(flux),
    }
    nothing = {f.name: pa.nulls(n_rows, f.type) for f in LIGHTCURVE if f.name not in columns}
    arrays = [
        nothing.get(f.name) if f.name in nothing else pa.array(columns[f.name], f.type)
        for f in LIGHTCURVE
    ]
    return pa.table(arrays, schema=LIGHTCURVE)


def _states(objectids: np.ndarray, shard: str) -> pa.Table:
    n_rows = len(objectids) * len(ARCHIVES)
    columns = {
        "objectid": np.repeat(objectids, len(ARCHIVES)),
        "archive": np.tile(ARCHIVES, len(objectids)),
        "state": np.full(n_rows, "data"),
        "n_rows": np.full(n_rows, POINTS_PER_TARGET // len(ARCHIVES)),
        "n_sources": np.ones(n_rows, np.int64),
        "n_offsets": np.zeros(n_rows, np.int64),
        "n_offset_matches": np.zeros(n_rows, np.int64),
        "shard": np.full(n_rows, shard),
    }
    arrays = [pa.array(columns.get(f.name, [None] * n_rows), f.type) for f in LEDGER]
    return pa.table(arrays, schema=LEDGER)


def read_once(results: Path, objectid: str) -> dict[str, float]:
    """Read one object and tell the time on the clock and of the processors."""
    started, started_cpu = time.perf_counter(), time.process_time()
    curves = read_lightcurves(results, objectids=objectid, view="all")
    frame = curves.to_pandas()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - started_cpu,
        "rows": len(frame),
    }


def export_once(results: Path, format_: str) -> dict[str, Any]:
    """Export everything by the command, and tell what its process took; the file is deleted."""
    path = results.parent / f"export.{format_}"
    command = [sys.executable, "-m", "lightloom.cli", "export", str(path), "--format", format_]
    started, rss_bytes = time.perf_counter(), 0
    process = psutil.Popen([*command, "--results", str(results)], stdout=subprocess.DEVNULL)
    cpu_s = 0.0
    # The peak that the system tells of a child includes that of its parent before it began.
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            rss_bytes = max(rss_bytes, process.memory_info().rss)
            cpu_s = sum(process.cpu_times()[:2])
        time.sleep(_INTERVAL_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    found = {
        "format": format_,
        "seconds": time.perf_counter() - started,
        "cpu_s": cpu_s,
        "max_rss_mb": rss_bytes / 1e6,
        "file_mb": sum(one.stat().st_size for one in files) / 1e6,
    }
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and write ``read.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--objects", type=int, default=7, help="objects to read")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/read"))
    parser.add_argument("--formats", nargs="*", default=[], choices=list(FORMATS))
    options = parser.parse_args(arguments)
    results = options.output / f"points-{options.points}"
    n_targets = options.points // POINTS_PER_TARGET
    if not (results / "run.json").exists():
        write_results(results, n_targets)
    names = [f"J{i:08d}" for i in np.random.default_rng(2).choice(n_targets, options.objects)]
    first, *others = (read_once(results, name) for name in names)
    report = {
        "points": options.points,
        "targets": n_targets,
        "rows": sorted({one["rows"] for one in (first, *others)}),
        "first_s": first["seconds"],
        "median_s": float(np.median([one["seconds"] for one in others])),
        "slowest_s": max(one["seconds"] for one in others),
        "median_cpu_s": float(np.median([one["cpu_s"] for one in others])),
        "fastest_s": min(one["seconds"] for one in others),
        "rss_mb": psutil.Process().memory_info().rss / 1e6,
        "load": os.getloadavg()[0],
        "limit_s": LIMIT_S,
    }
    if options.formats:
        report["exports"] = [export_once(results, name) for name in options.formats]
    write_json(options.output / "read.json", report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
