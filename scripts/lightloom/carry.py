"""Finished targets of earlier parts, so that a changed shard asks for its new targets only.

A part depends on its whole shard; the answer about a target depends on the target alone. The status
of a part says of each target what was asked (``target_hash``), so that its rows and its state can
go over into the part of another shard: of the same place after a change, or of a larger or smaller
place after shards were joined or split.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightloom.outcome import Outcome
from lightloom.plan import part_paths
from lightloom.schema import FINAL_STATES, SHARD, TARGET_ROWS
from lightloom.sharding import is_shard_name, overlap
from lightloom.storage import sha256_file, write_json

#: Columns of a shard that decide what is asked about a target.
_ASKED = [name for name in SHARD.names if name not in ("objectid", "_healpix_29")]

#: What a status says of a finished target besides the number of its rows.
_OUTCOME = tuple(one.name for one in fields(Outcome) if one.name != "n_rows")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Carried:
    """Targets about which nothing has to be asked.

    Attributes
    ----------
    targets : ndarray of int64, shape (n,)
        Their rows in the shard, ascending.
    outcome : dict of str to list
        What their status says of each, all but the number of its rows.
    streams : list of iterator of pyarrow.Table
        Their light curves (``TARGET_ROWS``, ``target`` being the row in the shard), each stream
        ordered by target.
    methods : set of str
        How the parts that they come from were found.
    places : set of str
        Where their data were read from.
    """

    targets: NDArray[np.int64]
    outcome: dict[str, list[Any]]
    streams: list[Iterator[pa.Table]] = field(default_factory=list)
    methods: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)


def target_hashes(shard: pa.Table) -> list[str]:
    """Hash what is asked about each target: its id, position and motion.

    Parameters
    ----------
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.

    Returns
    -------
    list of str
        16 hexadecimal digits for each target.
    """
    numbers = np.column_stack(
        [shard[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _ASKED]
    )
    return [
        hashlib.sha256(objectid.encode() + b"\0" + row.tobytes()).hexdigest()[:16]
        for objectid, row in zip(shard["objectid"].to_pylist(), numbers, strict=True)
    ]


def keep_earlier(results: Path, shard: str, content_hash: str | None = None) -> None:
    """Keep the parts of a shard that is about to change: Snakemake deletes them before a fetch.

    They stay where they are as well, so that a dry run changes nothing.

    Parameters
    ----------
    results : pathlib.Path
    shard : str
        Its name.
    content_hash : str, optional
        Hash of its new content, if parts of it may be there already; those need not be kept.
    """
    for folder in (results / "parts").glob("*"):
        part, status = part_paths(results, folder.name, shard)
        if not (part.exists() and status.exists()):
            continue
        if content_hash is not None and _shard_hash(status) == content_hash:
            continue
        # Of a kill in between only rows are left, which are no part without a status.
        _earlier(part, ".json").unlink(missing_ok=True)
        _link(part, _earlier(part, ".parquet"))
        _link(status, _earlier(part, ".json"))


def keep_until_merged(part: Path, rows: Path, status: Mapping[str, Any]) -> None:
    """Keep what a fetch has finished, in place of the earlier part that went into it.

    Should some targets have failed and the sample change before the part is whole, what is finished
    goes over nevertheless. A part that is whole is kept too: on a cluster Snakemake removes it when
    another job of its group fails.

    Parameters
    ----------
    part : pathlib.Path
        Where the part is, or would be if it were whole.
    rows : pathlib.Path
        Its rows; the file stays.
    status : mapping
        Its status.
    """
    _earlier(part, ".json").unlink(missing_ok=True)
    _link(rows, _earlier(part, ".parquet"))
    write_json(_earlier(part, ".json"), status)


def forget_earlier(part: Path) -> None:
    """Remove what was kept beside a part: it is whole and merged."""
    _earlier(part, ".json").unlink(missing_ok=True)
    _earlier(part, ".parquet").unlink(missing_ok=True)


def carry(
    shard: pa.Table, part: Path, key: Mapping[str, str], wanted: NDArray[np.bool_]
) -> Carried:
    """Find the targets of a shard that earlier parts have finished.

    Parameters
    ----------
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.
    part : pathlib.Path
        Where the shard's part will be. What is kept beside it and the parts of overlapping shards
        are used if their settings and their code are the same and their bytes as they were.
    key : mapping
        What the part depends on.
    wanted : ndarray of bool, shape (n_targets,)
        Targets to look for.

    Returns
    -------
    Carried
    """
    hashes = target_hashes(shard)
    rows_by_hash = {hashes[row]: row for row in np.flatnonzero(wanted).tolist()}
    objectids = shard["objectid"].combine_chunks()
    found: dict[int, dict[str, Any]] = {}
    streams = []
    methods: set[str] = set()
    places: set[str] = set()
    for rows, status_path in _candidates(part):
        status = _usable_status(rows, status_path, key)
        targets_then = status.get("targets", {})
        taken = {}
        for place, text in enumerate(targets_then.get("target_hash", ())):
            target = rows_by_hash.get(text)
            is_final = targets_then["state"][place] in FINAL_STATES
            if target is not None and target not in found and is_final:
                taken[target] = {name: targets_then[name][place] for name in _OUTCOME}
        if taken:
            found |= taken
            methods.update(status.get("methods", ()))
            places.update(status.get("places", ()))
            streams.append(_stream(rows, objectids, sorted(taken)))
            _log.info("%d targets are finished in %s", len(taken), rows)
    targets = sorted(found)
    outcome = {name: [found[target][name] for target in targets] for name in _OUTCOME}
    return Carried(np.array(targets, np.int64), outcome, streams, methods, places)


def _earlier(part: Path, suffix: str) -> Path:
    return part.with_name(f".{part.stem}.earlier{suffix}")


def _shard_hash(status: Path) -> str | None:
    document = _read_status(status)
    found: str | None = document["key"]["shard_hash"] if document else None
    return found


def _read_status(path: Path) -> dict[str, Any]:
    """Return the content of a status file, or nothing if it is damaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return document


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Not every file system has hard links.
        shutil.copy2(source, target)


def _candidates(part: Path) -> Iterator[tuple[Path, Path]]:
    """Yield rows and status of what may hold targets of a part, its own shard's first."""
    found = {
        path.name.split(".")[1] if path.name.startswith(".") else path.stem
        for path in part.parent.glob("*.parquet")
    }
    shards = {name for name in found if is_shard_name(name) and overlap(name, part.stem)}
    for shard in (part.stem, *sorted(shards - {part.stem})):
        place = part.with_name(f"{shard}.parquet")
        yield _earlier(place, ".parquet"), _earlier(place, ".json")
        # The shard's own part is asked for anew.
        if shard != part.stem:
            yield place, place.with_suffix(".status.json")


def _usable_status(rows: Path, status: Path, key: Mapping[str, str]) -> dict[str, Any]:
    """Return the status of a part, or nothing if the part is not to be used."""
    if not (rows.exists() and status.exists()):
        return {}
    document = _read_status(status)
    if not document or _without_shard(document["key"]) != _without_shard(key):
        return {}
    if document["part"]["sha256"] != sha256_file(rows):
        _log.warning("%s is not as its status says, so its targets are asked for again", rows)
        return {}
    return document


def _without_shard(key: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in key.items() if name != "shard_hash"}


def _stream(rows: Path, objectids: pa.Array, targets: list[int]) -> Iterator[pa.Table]:
    """Yield the rows of some targets, in the order of the shard, as parts have them."""
    wanted = pa.array(targets, pa.int64())
    with pq.ParquetFile(rows) as file:
        for batch in file.iter_batches():
            target = pc.index_in(batch["objectid"], objectids).cast(pa.int64())
            table = pa.table(batch.drop_columns(["objectid", "archive"]))
            table = table.add_column(0, TARGET_ROWS.field("target"), target)
            yield table.filter(pc.is_in(table["target"], wanted)).cast(TARGET_ROWS)
