"""Compare the catalogue engine with the usual ways of reading, on the same files and rows.

Every method runs in a process of its own; the methods alternate, so that a change of the machine's
load meets all of them; a ratio is taken within each repeat. Wall and CPU time and bytes are those
of the work; ``total`` is the wall time with start, imports and a first search for one target. The
files lie in the page cache.
"""

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kinds import KINDS, Kind
from measure import measure_search, run_job
from summary import format_case, summarise

_LAYOUTS = ("paged", "legacy")
_PACKAGES = ("lightloom", "lsdb", "hats", "pyarrow", "dask", "astropy", "pandas")

#: What ``--quick`` puts in place of the defaults.
_QUICK = {"objects": 40_000, "partitions": 12, "targets": [200], "layouts": ["paged"]}


@dataclass(frozen=True)
class _Catalogues:
    """The dense catalogues of one layout, and a folder for targets and passing files."""

    layout: str
    folder: Path
    scratch: Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    scratch = options.output / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    report: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "options": {name: str(value) for name, value in sorted(vars(options).items())},
        "cases": [],
    }
    report_path = options.output / "reader.json"
    for layout in options.layouts:
        catalogues = _build(options, layout, scratch)
        for kind in (KINDS[name] for name in options.kinds):
            for n_targets in options.targets:
                case = summarise(_run_case(options, catalogues, kind, n_targets))
                report["cases"].append(case)
                report_path.write_text(json.dumps(report, indent=1))
                print(format_case(case, dict(kind.aims[layout])), flush=True)
    shutil.rmtree(scratch)
    print(f"written: {report_path}")
    if not all(case["agree"] for case in report["cases"]):
        sys.exit("the methods disagree about the rows")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    methods = list(dict.fromkeys(name for kind in KINDS.values() for name in kind.methods))
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--layouts", nargs="+", choices=_LAYOUTS, default=list(_LAYOUTS))
    parser.add_argument("--targets", nargs="+", type=int, default=[30, 500, 5000])
    parser.add_argument("--objects", type=int, default=400_000, help="rows of the ZTF-like one")
    parser.add_argument("--epochs", type=int, default=60, help="mean epochs of an object")
    parser.add_argument("--visits", type=int, default=10, help="of the WISE-like one")
    parser.add_argument("--partitions", type=int, default=48)
    parser.add_argument("--row-group-rows", type=int, default=100_000, help="if paged")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20180318)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output"))
    parser.add_argument("--quick", action="store_true", help=f"same as {_QUICK}")
    if parser.parse_known_args(arguments)[0].quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(arguments)


def _build(options: argparse.Namespace, layout: str, scratch: Path) -> _Catalogues:
    """Write the catalogues unless an earlier run has."""
    size = {
        "n_objects": options.objects,
        "mean_epochs": options.epochs,
        "n_visits": options.visits,
        "n_partitions": options.partitions,
    }
    numbers = [*size.values(), options.row_group_rows, options.seed]
    folder = options.output / "catalogues" / "-".join(map(str, [layout, *numbers]))
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        job = {
            "action": "build",
            "folder": str(folder),
            "size": size,
            "layout": layout,
            "row_group_rows": options.row_group_rows,
            "seed": options.seed,
        }
        run_job("preparation.py", job, scratch)
        complete.touch()
    return _Catalogues(layout, folder, scratch)


def _run_case(
    options: argparse.Namespace, catalogues: _Catalogues, kind: Kind, n_targets: int
) -> dict[str, Any]:
    """Run the methods of a kind on the same targets, one after the other, several times."""
    scratch = catalogues.scratch
    job = {
        "kind": kind.name,
        "catalogue": str(catalogues.folder / kind.catalogue),
        "detections": str(catalogues.folder / kind.detections) if kind.detections else "",
        "storage_options": {},
        "targets": str(scratch / "targets.parquet"),
        "shard": str(scratch / "shard.parquet"),
        "scratch": str(scratch),
    }
    question = {
        **job,
        "action": "ask",
        "objects": str(catalogues.folder / kind.objects),
        "n_targets": n_targets,
        "seed": options.seed,
    }
    minimum = run_job("preparation.py", question, scratch)
    runs = []
    for repeat in range(options.repeats):
        for method in (name for name in kind.methods if name in options.methods):
            _fill_page_cache([Path(job[part]) for part in ("catalogue", "detections") if job[part]])
            load = os.getloadavg()[0]
            took = measure_search({**job, "method": method}, scratch)
            runs.append({"method": method, "repeat": repeat, "load_average": load, **took})
    return {
        "kind": kind.name,
        "layout": catalogues.layout,
        "n_targets": n_targets,
        "minimum_bytes": minimum,
        "runs": runs,
    }


def _fill_page_cache(catalogues: Sequence[Path]) -> None:
    """Read all files, so that no method waits for the disk longer than another."""
    block = bytearray(1 << 20)
    for path in (path for folder in catalogues for path in folder.rglob("*") if path.is_file()):
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass


if __name__ == "__main__":
    main()
