"""Compare the catalogue engine with LSDB through stores that answer late, on the same files.

The catalogue is the dense ZTF-like one, served by rclone through a proxy that lets each request
wait. Both begin with a search for one target, so that imports do not count. Last, a store that
breaks off every so many ranges must lead to the same part. A partition is one file, as LSDB cannot
read folders by plain HTTP.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kinds import KINDS
from measure import measure_search, run_job
from slow_store import COUNTER

from lightloom.catalogs.markers import HATS_PROPERTIES

_START_S = 30.0
_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments in place of those of the process.
    """
    options = _parse(arguments)
    options.scratch.mkdir(parents=True, exist_ok=True)
    _draw_targets(options)
    kind = KINDS[options.kind]
    served = options.scratch / "served" / options.kind
    for catalogue in filter(None, (kind.catalogue, kind.detections)):
        _link_catalogue(options.catalogues / catalogue, served / catalogue)
    runs = []
    for protocol in options.protocols:
        with _store(options, protocol, 0) as url:
            for method in ("workflow", *options.rivals):
                runs.append(_run(options, protocol, url, method, cut_every=0))
        with _store(options, protocol, options.cut_every) as url:
            runs.append(_run(options, protocol, url, "workflow", cut_every=options.cut_every))
    report = {"options": {name: str(value) for name, value in vars(options).items()}, "runs": runs}
    options.report.write_text(json.dumps(report, indent=1))
    _judge(runs)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("catalogues", type=Path, help="folder of dense catalogues")
    parser.add_argument("--kind", choices=["ztf", "gaia", "panstarrs"], default="ztf")
    parser.add_argument("--protocols", nargs="+", choices=["http", "s3"], default=["http", "s3"])
    parser.add_argument("--rivals", nargs="*", default=["reference"])
    parser.add_argument("--targets", type=int, default=30)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--cut-every", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20180318)
    parser.add_argument("--scratch", type=Path, default=Path("benchmarks/output/latency"))
    parser.add_argument("--report", type=Path, default=Path("benchmarks/output/latency.json"))
    return parser.parse_args(arguments)


def _link_catalogue(catalogue: Path, linked: Path) -> None:
    """Give the files of a catalogue the names that they have if no partition is a folder."""
    shutil.rmtree(linked, ignore_errors=True)
    for path in (path for path in catalogue.rglob("*") if path.is_file()):
        relative = path.relative_to(catalogue)
        if path.parent.name.startswith("Npix="):
            relative = relative.parent.with_suffix(".parquet")
        (linked / relative).parent.mkdir(parents=True, exist_ok=True)
        if path.name in HATS_PROPERTIES:
            text = path.read_text().replace("hats_npix_suffix=/", "hats_npix_suffix=.parquet")
            (linked / relative).write_text(text)
        else:
            (linked / relative).hardlink_to(path)


@contextmanager
def _store(options: argparse.Namespace, protocol: str, cut_every: int) -> Iterator[str]:
    """Serve the folder that holds the catalogues; the address ends where its path begins."""
    port_file = options.scratch / "port"
    port_file.unlink(missing_ok=True)
    command = [
        *(sys.executable, Path(__file__).with_name("slow_store.py"), protocol),
        *(options.scratch / "served", port_file),
        *("--latency-ms", str(options.latency_ms), "--cut-every", str(cut_every)),
    ]
    with subprocess.Popen(command) as store:
        try:
            deadline_s = time.monotonic() + _START_S
            while not (port_file.exists() and port_file.read_text()):
                if store.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"no store at the address of {port_file}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port_file.read_text()}"
        finally:
            store.terminate()


def _draw_targets(options: argparse.Namespace) -> None:
    kind = KINDS[options.kind]
    question = {
        **_job(options),
        **_places(kind.catalogue, kind.detections, str(options.catalogues)),
        "storage_options": {},
        "action": "ask",
        "objects": str(options.catalogues / kind.objects),
        "n_targets": options.targets,
        "seed": options.seed,
    }
    run_job("preparation.py", question, options.scratch)


def _job(options: argparse.Namespace) -> dict[str, str]:
    return {
        "kind": options.kind,
        "targets": str(options.scratch / "targets.parquet"),
        "shard": str(options.scratch / "shard.parquet"),
        "scratch": str(options.scratch),
    }


def _run(
    options: argparse.Namespace, protocol: str, url: str, method: str, *, cut_every: int
) -> dict[str, Any]:
    kind = KINDS[options.kind]
    root, storage_options = f"{url}/{options.kind}", {}
    if protocol == "s3":
        root = f"s3://{options.kind}"
        client = {"endpoint_url": url, "region_name": "us-east-1"}
        storage_options = {"anon": True, "client_kwargs": client}
    search = {
        **_job(options),
        **_places(kind.catalogue, kind.detections, root),
        "storage_options": storage_options,
        "method": method,
        "counter": url + COUNTER,
    }
    load = os.getloadavg()[0]
    took = measure_search(search, options.scratch)
    run = {
        "protocol": protocol,
        "method": method,
        "cut_every": cut_every,
        "load_average": load,
        **took,
    }
    print(
        f"{protocol} {method:16} {'cut' if cut_every else '':4} wall {took['wall_s']:7.2f} s, CPU"
        f" {took['cpu_s']:6.2f} s, {took['requests']} requests, read"
        f" {took['read_bytes'] / _MIB:.0f} MiB, RSS"
        f" {took['largest_process_rss_bytes'] / _MIB:.0f} MiB, load {load:.1f}",
        flush=True,
    )
    return run


def _places(catalogue: str, detections: str, root: str) -> dict[str, str]:
    return {
        "catalogue": f"{root}/{catalogue}",
        "detections": f"{root}/{detections}" if detections else "",
    }


def _judge(runs: Sequence[dict[str, Any]]) -> None:
    """Print the ratios; fail if rows or bytes differ."""
    compared = [run["compared"] for run in runs]
    if any(
        (one["rows"], one["key_sum"]) != (compared[0]["rows"], compared[0]["key_sum"])
        for one in compared
    ):
        sys.exit("the methods disagree about the rows")
    ours = [run for run in runs if run["method"] == "workflow"]
    if len({run["accounted"]["part_sha256"] for run in ours}) != 1:
        sys.exit("the parts differ")
    print(f"all found the same {compared[0]['rows']} rows; all parts have the same bytes")
    for run in runs:
        whole = next(o for o in ours if o["protocol"] == run["protocol"] and not o["cut_every"])
        if run["method"] != "workflow":
            print(
                f"{run['protocol']} {run['method']} / workflow: wall"
                f" {run['wall_s'] / whole['wall_s']:.1f}, requests"
                f" {run['requests'] / whole['requests']:.1f}"
            )


if __name__ == "__main__":
    main()
