"""Measure samples: from a table to shards, a start without changes, and a sample that changes.

Every step runs in a process of its own. A changed sample is compared with the one before by the
hashes of its shards and of its targets: what is rewritten, and what archives will be asked for.
"""

import argparse
import json
import os
import platform
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import Table
from measure import run_job

from lightloom.carry import target_hashes
from lightloom.sharding import ALL_SKY, parse_leaf

_FORMATS = ("csv", "ecsv", "fits", "votable", "parquet")
_SUFFIXES = {"votable": "vot"}
_QUICK = {"targets": 20_000}

_Columns = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    folder = options.output / "sample"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "targets": options.targets,
        "formats": {},
        "changes": {},
    }
    rng = np.random.default_rng(options.seed)
    columns = _sample(options.targets, rng)
    for format_ in options.formats:
        path = folder / f"sample.{_SUFFIXES.get(format_, format_)}"
        _write(columns, path, format_)
        report["formats"][format_] = took = {
            "first": _plan(path, folder / "results", folder),
            "again": _plan(path, folder / "results", folder),
        }
        print(format_, json.dumps(took), flush=True)
        shutil.rmtree(folder / "results")
    path = folder / "sample.csv"
    for name, change in _CHANGES.items():
        _write(columns, path, "csv")
        _plan(path, folder / "results", folder)
        before = _shards(folder / "results")
        _write(change(columns, rng), path, "csv")
        took = _plan(path, folder / "results", folder)
        report["changes"][name] = found = took | _compare(before, _shards(folder / "results"))
        print(name, json.dumps(found), flush=True)
        shutil.rmtree(folder / "results")
    (options.output / "sample.json").write_text(json.dumps(report, indent=1))
    shutil.rmtree(folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--targets", type=int, default=500_000)
    parser.add_argument("--formats", nargs="+", choices=_FORMATS, default=list(_FORMATS))
    parser.add_argument("--seed", type=int, default=20180318)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output"))
    parser.add_argument("--quick", action="store_true", help=f"same as {_QUICK}")
    if parser.parse_known_args(arguments)[0].quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(arguments)


def _sample(n_targets: int, rng: np.random.Generator) -> _Columns:
    """Half of the targets anywhere, half in a hundred clusters, 1 % of them twice."""
    n_clustered = n_targets // 2
    ra_deg = rng.uniform(0, 360, n_targets)
    dec_deg = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n_targets)))
    centre = rng.integers(0, 100, n_clustered)
    ra_deg[:n_clustered] = (3.6 * centre + rng.normal(0, 0.3, n_clustered)) % 360
    dec_deg[:n_clustered] = centre % 11 * 15 - 75 + rng.normal(0, 0.3, n_clustered)
    twice = n_targets // 100
    ra_deg[-twice:], dec_deg[-twice:] = ra_deg[:twice], dec_deg[:twice] + 0.3 / 3600
    return {
        "id": np.array([f"T{number:07d}" for number in range(n_targets)]),
        "ra": np.round(ra_deg, 7),
        "dec": np.round(dec_deg, 7),
        "z": np.round(rng.uniform(0, 4, n_targets), 3),
    }


def _write(columns: _Columns, path: Path, format_: str) -> None:
    if format_ == "csv":
        pyarrow.csv.write_csv(pa.table(columns), path)
    elif format_ == "parquet":
        pq.write_table(pa.table(columns), path)
    else:
        name = f"ascii.{format_}" if format_ == "ecsv" else format_
        Table(columns).write(path, format=name, overwrite=True)


def _plan(path: Path, results: Path, scratch: Path) -> dict[str, float]:
    return run_job("plan_sample.py", {"table": str(path), "results": str(results)}, scratch)


@dataclass(frozen=True)
class _Shard:
    """A shard: when it was written [ns], its cells of order 29, and its targets' by their hash."""

    written_ns: int
    start: int
    stop: int
    targets: dict[str, int]


def _shards(results: Path) -> list[_Shard]:
    found = []
    for path in (results / "shards").glob("*.parquet"):
        table = pq.read_table(path)
        order, pixel = parse_leaf(path.stem) or (0, 0)
        n_cells = 12 * 4**29 if path.stem == ALL_SKY else 4 ** (29 - order)
        targets = dict(zip(target_hashes(table), table["_healpix_29"].to_pylist(), strict=True))
        start = pixel * n_cells
        found.append(_Shard(path.stat().st_mtime_ns, start, start + n_cells, targets))
    return sorted(found, key=lambda shard: shard.start)


def _compare(before: list[_Shard], after: list[_Shard]) -> dict[str, int]:
    """Count what was rewritten, and what an archive is asked for.

    A target is not asked for if a shard of the same place had it: its finished light curves go
    over. ``unexplained`` are rewritten shards in which nothing has changed, nor in a larger shard
    that they were split from.
    """
    old = {text: cell for shard in before for text, cell in shard.targets.items()}
    new = {text: cell for shard in after for text, cell in shard.targets.items()}
    changed = np.sort(
        [old.get(text, new.get(text)) for text in old.keys() ^ new.keys()] or np.empty(0, np.int64)
    )
    files = {(shard.start, shard.stop): shard.written_ns for shard in before}
    starts = [shard.start for shard in before]
    stops = [shard.stop for shard in before]
    rewritten = asked = unexplained = 0
    for shard in after:
        if files.get((shard.start, shard.stop)) == shard.written_ns:
            continue
        rewritten += 1
        near = before[bisect_right(stops, shard.start) : bisect_left(starts, shard.stop)]
        finished = {text for other in near for text in other.targets}
        asked += len(shard.targets.keys() - finished)
        place = [min(s.start for s in (shard, *near)), max(s.stop for s in (shard, *near))]
        first, last = np.searchsorted(changed, place)
        unexplained += first == last
    return {
        "shards_before": len(before),
        "shards_after": len(after),
        "rewritten": rewritten,
        "unexplained": int(unexplained),
        "new_targets": len(new.keys() - old.keys()),
        "gone_targets": len(old.keys() - new.keys()),
        "asked_targets": asked,
    }


def _chosen(columns: _Columns, rng: np.random.Generator, *, clustered: bool) -> np.ndarray:
    """Choose 1 % of the rows, at random or those nearest to a place."""
    n_chosen = len(columns["ra"]) // 100
    if not clustered:
        return rng.choice(len(columns["ra"]), n_chosen, replace=False)
    distance = np.hypot(columns["ra"] - 180, columns["dec"] - 40)
    return np.argsort(distance, kind="stable")[:n_chosen]


def _add(clustered: bool) -> Callable[[_Columns, np.random.Generator], _Columns]:
    def change(columns: _Columns, rng: np.random.Generator) -> _Columns:
        rows = _chosen(columns, rng, clustered=clustered)
        new = {
            "id": np.array([f"N{number:07d}" for number in range(len(rows))]),
            "ra": np.round((columns["ra"][rows] + 0.01) % 360, 7),
            "dec": np.round(columns["dec"][rows] * 0.9999, 7),
            "z": columns["z"][rows],
        }
        return {name: np.concatenate([columns[name], new[name]]) for name in columns}

    return change


def _remove(clustered: bool) -> Callable[[_Columns, np.random.Generator], _Columns]:
    def change(columns: _Columns, rng: np.random.Generator) -> _Columns:
        rows = _chosen(columns, rng, clustered=clustered)
        return {name: np.delete(values, rows) for name, values in columns.items()}

    return change


def _move(clustered: bool) -> Callable[[_Columns, np.random.Generator], _Columns]:
    def change(columns: _Columns, rng: np.random.Generator) -> _Columns:
        rows = _chosen(columns, rng, clustered=clustered)
        ra_deg = columns["ra"].copy()
        ra_deg[rows] = np.round((ra_deg[rows] + 0.002) % 360, 7)
        return {**columns, "ra": ra_deg}

    return change


def _reorder(columns: _Columns, rng: np.random.Generator) -> _Columns:
    order = rng.permutation(len(columns["ra"]))
    return {name: values[order] for name, values in columns.items()}


_CHANGES: dict[str, Callable[[_Columns, np.random.Generator], _Columns]] = {
    "reorder": _reorder,
    "add 1 %": _add(clustered=False),
    "add 1 %, clustered": _add(clustered=True),
    "remove 1 %": _remove(clustered=False),
    "remove 1 %, clustered": _remove(clustered=True),
    "move 1 %": _move(clustered=False),
    "move 1 %, clustered": _move(clustered=True),
}


if __name__ == "__main__":
    main()
