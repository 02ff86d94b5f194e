"""The list of a run's data files with their digests, and what they hold."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lightloom import __version__
from lightloom.errors import ResultError
from lightloom.storage import sha256_file, write_json


def write_manifest(
    *,
    results: Path,
    data_paths: Iterable[Path],
    lightcurve_paths: Iterable[Path],
    ledger_path: Path,
    manifest_path: Path,
) -> None:
    """List the data files of a run, with digests, and count targets, rows and states.

    Two runs gave the same data if, and only if, their manifests are equal.

    Parameters
    ----------
    results : pathlib.Path
        The results folder; files are listed relative to it.
    data_paths : iterable of pathlib.Path
        Files, or folders of which every file is listed.
    lightcurve_paths : iterable of pathlib.Path
        The merged light curves of all shards; they are listed too.
    ledger_path : pathlib.Path
        The ledger; it is listed too.
    manifest_path : pathlib.Path
        The JSON file to write.

    Raises
    ------
    ResultError
        If the light curves have another number of rows than the ledger tells of.
    """
    lightcurve_paths = list(lightcurve_paths)
    archives = count_states(ledger_path)
    n_rows = sum(archive["rows"] for archive in archives.values())
    n_found = sum(pq.read_metadata(path).num_rows for path in lightcurve_paths)
    if n_found != n_rows:
        raise ResultError(
            f"the merged light curves have {n_found} rows, expected {n_rows} as {ledger_path} tells"
        )
    files = sorted({*_files(data_paths), *lightcurve_paths, ledger_path})
    manifest = {
        "lightloom": __version__,
        "targets": pq.read_metadata(ledger_path).num_rows // max(1, len(archives)),
        "rows": n_rows,
        "archives": archives,
        "files": {
            path.relative_to(results).as_posix(): {
                "sha256": sha256_file(path),
                "bytes": path.stat().st_size,
            }
            for path in files
        },
    }
    write_json(manifest_path, manifest)


def count_states(ledger_path: Path) -> dict[str, dict[str, Any]]:
    """Count the ledger's states and rows for each archive, without reading it as a whole.

    Parameters
    ----------
    ledger_path : pathlib.Path
        A table in the ``LEDGER`` schema.

    Returns
    -------
    dict
        Archive -> ``release`` (None if it was not asked), ``rows`` (of its light curves) and
        ``states`` (state -> number of targets).
    """
    archives: dict[str, dict[str, Any]] = {}
    with pq.ParquetFile(ledger_path) as file:
        for batch in file.iter_batches(columns=["archive", "release", "state", "n_rows"]):
            groups = pa.table(batch).group_by(["archive", "release", "state"])
            counted = groups.aggregate([([], "count_all"), ("n_rows", "sum")])
            for group in counted.to_pylist():
                entry = archives.setdefault(
                    group["archive"], {"release": None, "rows": 0, "states": {}}
                )
                entry["release"] = entry["release"] or group["release"]
                entry["rows"] += group["n_rows_sum"]
                states = entry["states"]
                states[group["state"]] = states.get(group["state"], 0) + group["count_all"]
    return archives


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            # Snakemake keeps a hidden time stamp in the folders that it makes.
            yield from (
                inner
                for inner in path.rglob("*")
                if inner.is_file() and not inner.name.startswith(".")
            )
        else:
            yield path


def remove_other_shards(folder: Path, keep: Iterable[Path]) -> None:
    """Remove the tables of shards that the sample no longer has: the folder is read as one dataset.

    Parameters
    ----------
    folder : pathlib.Path
        Folder with one Parquet file per shard.
    keep : iterable of pathlib.Path
        The files of the present shards.
    """
    present = set(keep)
    for path in folder.glob("*.parquet"):
        if path not in present:
            path.unlink()
