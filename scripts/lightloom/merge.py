"""Merge what the archives gave: per shard into one table, and the states of all into one ledger.

Nothing is merged unseen: a part must be the bytes that its status file tells of, belong to this
run, and add up with its states, target by target.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightloom import __version__
from lightloom.carry import forget_earlier
from lightloom.errors import ResultError
from lightloom.outcome import Outcome
from lightloom.progress import progress_lines
from lightloom.schema import LEDGER, LIGHTCURVE, STATES, conform
from lightloom.storage import ParquetSink, sha256_file, write_table
from lightloom.stream import BLOCK_ROWS, TARGET, merge_by_target

#: Order of the rows of a target, in parts as in merged tables; further columns break ties.
ROW_ORDER = ("archive", "band", "survey_object_id", "time_mjd")

_STATES_WITH_ROWS = ("data", "ambiguous")
_STATES_OF_ANY_ROWS = ("truncated",)
_UNFINISHED_STATES = ("failed", "truncated")

_STATUS_KEYS = ("archive", "shard", "key", "release", "targets", "part", "reads")
_TARGET_FIELDS = ("objectid", *(one.name for one in fields(Outcome)))

_REMEDY = "run `snakemake repair --cores all` to fetch it again"


@dataclass(frozen=True)
class Part:
    """What one archive gave for one shard.

    Attributes
    ----------
    archive : str
        Name of the catalogue entry.
    path, status_path : pathlib.Path
        The light curves, and the status file beside them.
    key : mapping of str to str
        What the part must have been made from: hashes of shard, settings and code.
    """

    archive: str
    path: Path
    status_path: Path
    key: Mapping[str, str]


def read_status(path: Path) -> dict[str, Any]:
    """Read the status file of a part.

    Returns
    -------
    dict
        The content of the file; ``targets`` is a `pyarrow.Table` with the columns of ``LEDGER``
        from objectid to message but archive, one row per target in shard order.

    Raises
    ------
    ResultError
        If the file is not a whole status file.
    """
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: not a readable status file ({error}); {_REMEDY}") from error
    missing = [key for key in _STATUS_KEYS if key not in status]
    missing += [
        f"targets.{name}" for name in _TARGET_FIELDS if name not in status.get("targets", {})
    ]
    if missing:
        raise ResultError(f"{path}: missing keys {missing}; {_REMEDY}")
    schema = pa.schema([LEDGER.field(name) for name in _TARGET_FIELDS])
    columns = {name: status["targets"][name] for name in _TARGET_FIELDS}
    try:
        targets = pa.table(columns, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ResultError(
            f"{path}: targets is not a table of states ({error}); {_REMEDY}"
        ) from error
    return status | {"targets": conform(targets, schema, f"{path}: targets")}


def merge_shard(
    *,
    shard_path: Path,
    parts: Sequence[Part],
    catalogue: Iterable[str],
    lightcurves_path: Path,
    ledger_path: Path,
    allow_partial: bool,
) -> None:
    """Merge the parts of all archives for one shard, and write its piece of the ledger.

    Parameters
    ----------
    shard_path : pathlib.Path
        The shard's targets, in the ``SHARD`` schema.
    parts : sequence of Part
        One per archive that was asked.
    catalogue : iterable of str
        Names of all archives, asked or not; all get their rows in the ledger.
    lightcurves_path, ledger_path : pathlib.Path
        Where to write the rows (``LIGHTCURVE``: by target in shard order, then by `ROW_ORDER`)
        and the states (``LEDGER``: by target in shard order, then by archive).
    allow_partial : bool
        Whether to merge although the search of some targets failed or was cut short.

    Raises
    ------
    ResultError
        If a part is missing, damaged, out of date, or does not add up with its states; or if it
        is partial and that is not allowed.
    """
    objectids = pq.read_table(shard_path, columns=["objectid"]).column("objectid").combine_chunks()
    shard = shard_path.stem
    parts = sorted(parts, key=lambda part: part.archive)
    statuses = {part.archive: _read_checked_status(part, shard, objectids) for part in parts}
    if not allow_partial:
        _refuse_partial(shard, statuses)
    streams = [_PartStream(part.archive, part.path, objectids) for part in parts]
    n_rows = sum(pc.sum(status["targets"]["n_rows"]).as_py() or 0 for status in statuses.values())
    with (
        ParquetSink(lightcurves_path, LIGHTCURVE, _provenance(shard, statuses)) as sink,
        progress_lines(n_rows, "rows merged") as progress,
    ):
        for block in merge_by_target(streams, len(objectids), ROW_ORDER):
            sink.write(block.drop_columns(TARGET))
            progress.advance(block.num_rows)
        for part, stream in zip(parts, streams, strict=True):
            _check_states(part.status_path, statuses[part.archive]["targets"], stream.n_rows)
    write_table(ledger_path, _ledger_piece(shard, objectids, statuses, catalogue), LEDGER)
    for part in parts:
        if not _unfinished(statuses[part.archive]).num_rows:
            forget_earlier(part.path)


def _read_checked_status(part: Part, shard: str, objectids: pa.StringArray) -> dict[str, Any]:
    status = read_status(part.status_path)
    expected = {"archive": part.archive, "shard": shard, **part.key}
    found = {"archive": status["archive"], "shard": status["shard"], **status["key"]}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ResultError(
                f"{part.status_path}: {name} is {found.get(name)!r}, expected"
                f" {expected.get(name)!r}; {_REMEDY}"
            )
    if not status["targets"].column("objectid").combine_chunks().equals(objectids):
        raise ResultError(f"{part.status_path}: its targets are not those of the shard; {_REMEDY}")
    if not part.path.is_file():
        raise ResultError(f"{part.path}: not found; {_REMEDY}")
    digest = sha256_file(part.path)
    if digest != status["part"]["sha256"]:
        raise ResultError(
            f"{part.path}: its SHA-256 is {digest}, expected {status['part']['sha256']}: the file"
            f" was changed or damaged after the fetch; {_REMEDY}"
        )
    return status


def _refuse_partial(shard: str, statuses: Mapping[str, dict[str, Any]]) -> None:
    problems = []
    for archive, status in statuses.items():
        targets = status["targets"]
        unfinished = _unfinished(status)
        if unfinished.num_rows:
            first = unfinished.slice(0, 1).to_pylist()[0]
            problems.append(
                f"{archive}: {unfinished.num_rows} of {targets.num_rows} targets are not complete,"
                f" the first is {first['objectid']!r} ({first['state']}: {first['message']})"
            )
    if problems:
        raise ResultError(
            f"shard {shard}: {'; '.join(problems)}. Run the same command again to ask for them"
            " again, or set allow_partial: true to merge without them"
        )


def _unfinished(status: Mapping[str, Any]) -> pa.Table:
    targets: pa.Table = status["targets"]
    return targets.filter(pc.is_in(targets["state"], pa.array(_UNFINISHED_STATES)))


class _PartStream:
    """The rows of a part with their target's number, counted as they pass.

    Attributes
    ----------
    n_rows : ndarray of int64, shape (n_targets,)
        Rows seen of each target.
    """

    def __init__(self, archive: str, path: Path, objectids: pa.StringArray) -> None:
        self.n_rows = np.zeros(len(objectids), np.int64)
        self._archive = archive
        self._path = path
        self._objectids = objectids

    def __iter__(self) -> Iterator[pa.Table]:
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=1 << 20) as file:
            if not file.schema_arrow.equals(LIGHTCURVE):
                raise ResultError(f"{self._path}: not in the schema of light curves; {_REMEDY}")
            for batch in file.iter_batches(BLOCK_ROWS):
                yield self._number_targets(pa.table(batch))

    def _number_targets(self, rows: pa.Table) -> pa.Table:
        targets = pc.index_in(rows["objectid"], self._objectids).cast(pa.int64())
        if targets.null_count:
            stranger = rows["objectid"].filter(targets.is_null())[0].as_py()
            raise ResultError(f"{self._path}: target {stranger!r} is not in the shard; {_REMEDY}")
        strangers = rows["archive"].filter(pc.not_equal(rows["archive"], self._archive))
        if len(strangers):
            raise ResultError(
                f"{self._path}: archive is {strangers[0].as_py()!r}, expected {self._archive!r};"
                f" {_REMEDY}"
            )
        self.n_rows += np.bincount(targets.to_numpy(), minlength=len(self._objectids))
        return rows.append_column(TARGET, targets)


def _check_states(status_path: Path, targets: pa.Table, n_rows: NDArray[np.int64]) -> None:
    state = targets["state"]
    counted = pa.array(n_rows)
    has_rows = pc.greater(counted, 0)
    may_have_rows = pc.is_in(state, pa.array((*_STATES_WITH_ROWS, *_STATES_OF_ANY_ROWS)))
    must_have_rows = pc.is_in(state, pa.array(_STATES_WITH_ROWS))
    unexplained = pc.and_(pc.equal(state, "failed"), pc.is_null(targets["error_class"]))
    possible = [name for name in STATES if name != "not_requested"]
    for wrong, problem in (
        (pc.invert(pc.is_in(state, pa.array(possible))), "which no search can end in"),
        (pc.not_equal(targets["n_rows"], counted), "but the part has another number of rows"),
        (pc.and_not(must_have_rows, has_rows), "which needs rows"),
        (pc.and_not(has_rows, may_have_rows), "which must not have rows"),
        (unexplained, "without an error class"),
    ):
        if pc.any(wrong).as_py():
            where = pc.index(wrong, True).as_py()
            row = targets.slice(where, 1).to_pylist()[0]
            raise ResultError(
                f"{status_path}: target {row['objectid']!r} has state {row['state']!r} with"
                f" {row['n_rows']} rows, {problem} (found {n_rows[where]} rows); {_REMEDY}"
            )


def _provenance(shard: str, statuses: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    archives = {
        archive: {"release": status["release"], **status["key"]}
        for archive, status in statuses.items()
    }
    return {
        "lightloom_version": __version__,
        "lightloom_shard": shard,
        "lightloom_archives": json.dumps(archives, sort_keys=True),
    }


def _ledger_piece(
    shard: str,
    objectids: pa.StringArray,
    statuses: Mapping[str, dict[str, Any]],
    catalogue: Iterable[str],
) -> pa.Table:
    n_targets = len(objectids)
    archives = sorted(catalogue)
    unknown = statuses.keys() - set(archives)
    if unknown:
        raise ResultError(f"shard {shard}: archives {sorted(unknown)} are not in the catalogue")
    not_requested = pa.table(
        {
            "objectid": objectids,
            "state": pa.repeat("not_requested", n_targets),
            "n_rows": pa.repeat(0, n_targets),
            "n_sources": pa.repeat(0, n_targets),
            "match_arcsec": pa.nulls(n_targets, pa.float64()),
            "n_offsets": pa.repeat(0, n_targets),
            "n_offset_matches": pa.repeat(0, n_targets),
            "error_class": pa.nulls(n_targets, pa.string()),
            "message": pa.nulls(n_targets, pa.string()),
        }
    )
    tables = []
    for archive in archives:
        status = statuses.get(archive)
        targets = status["targets"] if status else not_requested
        constants = {
            "archive": archive,
            "release": status["release"] if status else None,
            "shard": shard,
        }
        for name, value in constants.items():
            column = pa.repeat(pa.scalar(value, pa.string()), n_targets)
            targets = targets.append_column(name, column)
        tables.append(targets.select(LEDGER.names).cast(LEDGER))
    by_archive = np.arange(len(archives) * n_targets).reshape(len(archives), n_targets)
    return pa.concat_tables(tables).take(pa.array(by_archive.T.ravel()))


def merge_ledger(
    *, pieces: Sequence[Path], sample_path: Path, catalogue: Iterable[str], ledger_path: Path
) -> None:
    """Put the shards' pieces of the ledger together, and check that no target is left out.

    Parameters
    ----------
    pieces : sequence of pathlib.Path
        The pieces, in the order of the shards.
    sample_path : pathlib.Path
        The sample; its number of rows is that of the targets.
    catalogue : iterable of str
        Names of all archives.
    ledger_path : pathlib.Path
        Where to write the ledger, in the ``LEDGER`` schema.

    Raises
    ------
    ResultError
        If the number of rows is not that of targets times archives.
    """
    n_targets = pq.read_metadata(sample_path).num_rows
    n_archives = len(set(catalogue))
    with ParquetSink(ledger_path, LEDGER) as sink:
        for piece in pieces:
            sink.write(pq.read_table(piece))
        if sink.n_rows != n_targets * n_archives:
            raise ResultError(
                f"{ledger_path}: {sink.n_rows} states, expected {n_targets * n_archives}"
                f" ({n_targets} targets x {n_archives} archives)"
            )
