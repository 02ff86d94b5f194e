"""Merging many points of one shard within a memory limit that the kernel sets.

    python tests/benchmarks/merge.py --quick
    python tests/benchmarks/merge.py --points 100000000 --limit-mib 2048

A generator writes the parts of several archives, with their status files; the workflow's merge puts
them together in a process of its own, under ``RLIMIT_DATA``: the kernel refuses it every further
page of private memory, reserved or used, which is stricter than a limit of a control group, as
that counts only what is used and gives its own cache back first. The same rows of some
targets are then put in order in memory by DuckDB, and written: both files must have the same bytes.
The numbers go to benchmarks/output/merge.json.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.schema import LIGHTCURVE, SHARD
from lightloom.storage import ParquetSink, sha256_file, write_json, write_table

HERE = Path(__file__).parent
OUTPUT = HERE.parents[1] / "benchmarks" / "output"
_QUICK = {"points": 300_000, "targets": 300, "limit_mib": 1024}
_SHARD = "allsky"
_KEY = {"shard_hash": "0", "settings_hash": "0", "code_hash": "0"}
_PART_GROUP_ROWS = 32_768
_BANDS = ("g", "r", "i")
#: Points that the generator makes at a time.
_CHUNK_POINTS = 500_000
_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    folder: Path = options.folder
    made = folder / "made.json"
    asked = {name: getattr(options, name) for name in ("points", "archives", "targets", "seed")}
    if not made.exists() or json.loads(made.read_text()) != asked:
        shutil.rmtree(folder, ignore_errors=True)
        make_parts(folder, options)
        made.write_text(json.dumps(asked))
    report = {
        **asked,
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "load": round(os.getloadavg()[0], 1),
        "limit_mib": options.limit_mib,
        "parts_bytes": sum(path.stat().st_size for path in (folder / "parts").glob("*.parquet")),
        **merge_limited(folder, options.limit_mib),
        **compare(folder, options),
    }
    print(format_report(report))
    write_json(options.output / "merge.json", report)
    if not report["same_bytes"] or report["rows"] != report["written_points"]:
        raise SystemExit("the merged rows are not those of the parts")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--archives", type=int, default=5)
    parser.add_argument("--targets", type=int, default=20_000)
    parser.add_argument("--limit-mib", type=int, default=2048)
    parser.add_argument("--compared", type=int, default=100, help="targets put in order in memory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=OUTPUT / "merge", help="for parts and rows")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--quick", action="store_true", help="a very small case")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(_QUICK)
    return options


def make_parts(folder: Path, options: argparse.Namespace) -> None:
    """Write a shard, and a part with its status for each archive."""
    rng = np.random.default_rng(options.seed)
    objectids = pa.array([f"target-{number:07d}" for number in range(options.targets)])
    columns = {
        "objectid": objectids,
        "ra_deg": np.sort(rng.uniform(0, 360, options.targets)),
        "dec_deg": rng.uniform(-1, 1, options.targets),
        "_healpix_29": np.arange(options.targets),
    }
    shard = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(options.targets, field.type)
        for field in SHARD
    ]
    write_table(folder / f"{_SHARD}.parquet", pa.table(shard, schema=SHARD), SHARD)
    for number in range(options.archives):
        archive = f"archive{number}"
        path = folder / "parts" / f"{archive}.parquet"
        # Some targets have nothing, some very much, as in archives.
        share = rng.exponential(1.0, options.targets)
        n_rows = rng.multinomial(options.points // options.archives, share / share.sum())
        with ParquetSink(path, LIGHTCURVE, row_group_rows=_PART_GROUP_ROWS) as sink:
            for rows in points_of(archive, objectids, n_rows, rng):
                sink.write(rows)
        _write_status(path, archive, objectids, n_rows)


def points_of(
    archive: str, objectids: pa.Array, n_rows: np.ndarray, rng: np.random.Generator
) -> Iterator[pa.Table]:
    """Give the rows of all targets, of each in the order of a part."""
    ends = np.cumsum(n_rows)
    starts = [0, *np.searchsorted(ends, np.arange(_CHUNK_POINTS, ends[-1], _CHUNK_POINTS))]
    for first, stop in zip(starts, [*starts[1:], len(n_rows)], strict=True):
        counts = n_rows[first:stop]
        target = np.repeat(np.arange(first, stop), counts)
        n = len(target)
        band = np.sort(rng.integers(0, len(_BANDS), n) + len(_BANDS) * target) % len(_BANDS)
        time_mjd = 58000 + np.round(rng.random(n) * 2000, 5)
        order = np.lexsort([time_mjd, band, target])
        flux_mjy = np.round(rng.lognormal(0, 0.3, n), 5)
        given = {
            "objectid": objectids.take(pa.array(target)),
            "archive": pa.repeat(archive, n),
            "band": pa.array(_BANDS).take(pa.array(band)),
            "time_mjd": time_mjd[order],
            "time_scale": pa.repeat("utc", n),
            "time_ref": pa.repeat("barycentre", n),
            "time_mjd_tdb": time_mjd[order] + 0.0008,
            "flux_mjy": flux_mjy,
            "flux_err_mjy": np.round(flux_mjy / 20, 6),
            "native_value": flux_mjy,
            "native_err": np.round(flux_mjy / 20, 6),
            "native_unit": pa.repeat("mJy", n),
            "quality": np.zeros(n, np.int8),
            "kind": pa.repeat("detection", n),
            "survey_object_id": pc.binary_join_element_wise(
                archive, pa.array(target).cast(pa.string()), "-"
            ),
            "match_arcsec": np.full(n, 0.1),
        }
        yield pa.table(
            [
                pa.array(given[field.name], field.type)
                if field.name in given
                else pa.nulls(n, field.type)
                for field in LIGHTCURVE
            ],
            schema=LIGHTCURVE,
        )


def _write_status(path: Path, archive: str, objectids: pa.Array, n_rows: np.ndarray) -> None:
    """Write what a fetch tells of its part."""
    n_targets = len(objectids)
    targets = {
        "objectid": objectids.to_pylist(),
        "state": ["data" if n else "searched_empty" for n in n_rows],
        "n_rows": n_rows.tolist(),
        "n_sources": [min(n, 1) for n in n_rows.tolist()],
        "match_arcsec": [0.1 if n else None for n in n_rows],
        "n_offsets": [0] * n_targets,
        "n_offset_matches": [0] * n_targets,
        "error_class": [None] * n_targets,
        "message": [None] * n_targets,
    }
    status = {
        "archive": archive,
        "shard": _SHARD,
        "key": _KEY,
        "release": "1",
        "targets": targets,
        "part": {"bytes": path.stat().st_size, "sha256": sha256_file(path)},
        "reads": {},
    }
    write_json(path.with_suffix(".status.json"), status)


def merge_limited(folder: Path, limit_mib: int) -> dict[str, Any]:
    """Merge in a process that cannot have more memory, and tell what it took."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * _MIB, limit_mib * _MIB))

    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, HERE / "merge_process.py", folder, _SHARD, json.dumps(_KEY)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise SystemExit(f"the merge failed under {limit_mib} MiB:\n{run.stderr[-3000:]}")
    return {"wall_s": round(time.monotonic() - started, 1), **json.loads(run.stdout)}


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Put the rows of some targets in order in memory, and compare the files' bytes."""
    merged, parts = folder / "merged.parquet", sorted((folder / "parts").glob("*.parquet"))
    objectids = pq.read_table(folder / f"{_SHARD}.parquet", columns=["objectid"])["objectid"]
    step = max(1, len(objectids) // options.compared)
    chosen = objectids.take(pa.array(np.arange(0, len(objectids), step)))
    wanted = pc.field("objectid").isin(chosen)
    digests = {}
    database = duckdb.connect()
    rows = pa.concat_tables(pq.read_table(path, filters=wanted) for path in parts)
    database.register("points", rows)
    first = ["objectid", "archive", "band", "survey_object_id", "time_mjd"]
    order = [*first, *(name for name in LIGHTCURVE.names if name not in first)]
    names = ", ".join(f'"{name}" nulls last' for name in order)
    # The ids have been made so that their order is that of the shard.
    ordered = database.sql(f"select * from points order by {names}").to_arrow_table()
    found = pq.read_table(merged, filters=wanted)
    for name, table in (("in memory", ordered), ("merged", found)):
        path = folder / f"compared {name}.parquet"
        write_table(path, table.cast(LIGHTCURVE), LIGHTCURVE)
        digests[name] = sha256_file(path)
    return {
        "compared_rows": ordered.num_rows,
        "same_bytes": len(set(digests.values())) == 1 and ordered.num_rows > 0,
        "written_points": sum(pq.read_metadata(path).num_rows for path in parts),
        "merged_bytes": merged.stat().st_size,
    }


def format_report(report: dict[str, Any]) -> str:
    """Return the report as text."""
    return "\n".join(
        [
            f"{report['rows']} points of {report['archives']} archives and {report['targets']}"
            f" targets, one shard, under {report['limit_mib']} MiB (RLIMIT_DATA)",
            "| wall [s] | CPU [s] | points per CPU s | peak RSS | parts | merged [MiB] |",
            "|--:|--:|--:|--:|--:|--:|",
            f"| {report['wall_s']} | {report['cpu_s']} | {report['rows'] / report['cpu_s']:.0f}"
            f" | {report['peak_rss_mib']:.0f} | {report['parts_bytes'] / _MIB:.0f}"
            f" | {report['merged_bytes'] / _MIB:.0f} |",
            f"{report['compared_rows']} rows compared with those put in order in memory:"
            f" {'the same bytes' if report['same_bytes'] else 'OTHER BYTES'}",
        ]
    )


if __name__ == "__main__":
    main()
