"""Fetch the light curves of one shard from one archive.

Every target of the shard ends in a state of its own: a request that fails takes down its own
targets only. What is finished is kept, so that the next attempt asks for the rest.
"""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from distributed import Client, KilledWorker, as_completed
from numpy.typing import NDArray
from tenacity import (
    before_sleep_log,
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

import lightloom
from lightloom.archives import get_archive
from lightloom.archives.base import Answer, Archive, Request, RequestPlan
from lightloom.cluster import dask_client
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.plan import service_path, unfinished_path
from lightloom.reads import Reads
from lightloom.schema import FINAL_STATES, LIGHTCURVE, TARGET_ROWS, conform
from lightloom.storage import ParquetSink, sha256_file, write_json
from lightloom.stream import merge_by_target

#: Order of the rows of one target; the remaining columns break ties.
SORT_KEYS = ("band", "survey_object_id", "time_mjd")

_ATTEMPTS = 4
_LONGEST_WAIT_S = 30.0

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """How the search ended for each target of a shard (arrays of shape (n_targets,))."""

    state: NDArray[np.object_]
    n_rows: NDArray[np.int64]
    n_sources: NDArray[np.int64]
    match_arcsec: NDArray[np.float64]
    error_class: NDArray[np.object_]
    message: NDArray[np.object_]

    @classmethod
    def pending(cls, n_targets: int) -> "Outcome":
        """Return the outcome before anything was asked."""
        return cls(
            state=np.full(n_targets, None, dtype=object),
            n_rows=np.zeros(n_targets, np.int64),
            n_sources=np.zeros(n_targets, np.int64),
            match_arcsec=np.full(n_targets, np.nan),
            error_class=np.full(n_targets, None, dtype=object),
            message=np.full(n_targets, None, dtype=object),
        )

    @classmethod
    def from_json(cls, columns: Mapping[str, list[Any]]) -> "Outcome":
        """Read what `to_json` has made."""
        return cls(
            state=np.array(columns["state"], dtype=object),
            n_rows=np.array(columns["n_rows"], np.int64),
            n_sources=np.array(columns["n_sources"], np.int64),
            match_arcsec=np.array(columns["match_arcsec"], np.float64),
            error_class=np.array(columns["error_class"], dtype=object),
            message=np.array(columns["message"], dtype=object),
        )

    def to_json(self) -> dict[str, list[Any]]:
        """Return the columns as lists, with None for a missing distance."""
        columns = {name: values.tolist() for name, values in vars(self).items()}
        columns["match_arcsec"] = [
            None if np.isnan(value) else value for value in columns["match_arcsec"]
        ]
        return columns

    def reopen(self) -> NDArray[np.int64]:
        """Return the targets to ask for, with what an earlier attempt said of them cleared."""
        pending = np.flatnonzero(self.unfinished)
        for column in (self.state, self.error_class, self.message):
            column[pending] = None
        # Rows are counted when they are written, those of the earlier attempt as well.
        self.n_rows[:] = 0
        return pending

    @property
    def unfinished(self) -> NDArray[np.bool_]:
        """Targets about which the archive has to be asked (again)."""
        return np.array([state not in FINAL_STATES for state in self.state], dtype=bool)

    def fail(self, targets: NDArray[np.int64], error: ArchiveError) -> None:
        """Record a failed request; of several failures the first one stays."""
        for target in targets[self.state[targets] != "failed"]:
            self.state[target] = "failed"
            self.error_class[target] = error.error_class
            self.message[target] = str(error)


@dataclass
class _Search:
    """The answers of one attempt: rows in files of a scratch folder, the rest in memory."""

    scratch: Path
    pending: NDArray[np.int64]
    outcome: Outcome
    row_files: list[Path] = field(default_factory=list)
    sources: list[pa.Table] = field(default_factory=list)
    reads: Reads = field(default_factory=Reads)
    methods: set[str] = field(default_factory=set)

    def take(self, answer: Answer) -> None:
        """Keep an answer; its targets are numbered within the targets asked for."""
        self.reads += answer.reads
        self.methods.add(answer.method)
        self.sources.append(answer.sources)
        rows = conform(answer.rows, TARGET_ROWS, "rows of an answer")
        if rows.num_rows:
            path = self.scratch / f"{len(self.row_files):06d}.arrow"
            with (
                pa.OSFile(str(path), "wb") as file,
                pa.ipc.new_file(file, TARGET_ROWS) as writer,
            ):
                writer.write_table(rows)
            self.row_files.append(path)


@retry(
    retry=retry_if_exception_type(TransientArchiveError),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_S),
    before_sleep=before_sleep_log(_log, logging.WARNING),
    reraise=True,
)
def _answer(archive: Archive, shard: pa.Table, request: Request) -> Answer:
    return archive.answer(shard, request)


def _answer_or_error(archive: Archive, shard: pa.Table, request: Request) -> Answer | ArchiveError:
    """Run on a worker; a failed search is a result like any other."""
    try:
        return _answer(archive, shard, request)
    except ArchiveError as error:
        return error


def _ask(
    client: Client, archive: Archive, shard: pa.Table, plan: RequestPlan, search: _Search
) -> None:
    """Spread the requests over the workers and take the answers as they come."""
    waiting = iter(plan.requests)
    open_requests: dict[str, Request] = {}
    done = as_completed()

    def submit_next() -> None:
        request = next(waiting, None)
        if request is not None:
            future = client.submit(_answer_or_error, archive, shard, request, pure=False)
            open_requests[str(future.key)] = request
            done.add(future)

    # Twice as many requests as threads are under way, so that answers do not pile up in memory.
    for _ in range(2 * max(1, sum(client.nthreads().values()))):
        submit_next()
    for n_done, future in enumerate(done, start=1):
        request = open_requests.pop(str(future.key))
        try:
            result = future.result()
        except KilledWorker as error:
            result = TransientArchiveError(f"Dask workers died on this request: {error}")
        future.release()
        if isinstance(result, ArchiveError):
            _log.error("%d targets: %s", len(request.targets), result)
            search.outcome.fail(search.pending[request.targets], result)
        else:
            search.take(result)
        if n_done % 50 == 0 or n_done == len(plan.requests):
            _log.info("%d of %d requests answered", n_done, len(plan.requests))
        submit_next()


def _row_stream(path: Path, pending: NDArray[np.int64]) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            batch = pa.table(reader.get_batch(index))
            target = pa.array(pending[batch["target"].to_numpy()])
            yield batch.set_column(0, TARGET_ROWS.field("target"), target)


def _earlier_stream(path: Path, objectids: pa.Array) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(path).iter_batches():
        target = pc.index_in(batch["objectid"], objectids).cast(pa.int64())
        rows = pa.table(batch.drop_columns(["objectid", "archive"]))
        yield rows.add_column(0, TARGET_ROWS.field("target"), target).cast(TARGET_ROWS)


def _ambiguous_targets(archive: Archive, rows: pa.Table) -> NDArray[np.int64]:
    competing = archive.competing_sources(rows)
    counted = competing.group_by(["target", "observation"]).aggregate(
        [("survey_object_id", "count_distinct")]
    )
    several = counted.filter(pc.greater(counted["survey_object_id_count_distinct"], 1))
    return np.unique(several["target"].to_numpy())


def _count_sources(search: _Search) -> None:
    if not search.sources:
        return
    sources = pa.concat_tables(search.sources)
    found = sources.group_by("target").aggregate(
        [("survey_object_id", "count_distinct"), ("match_arcsec", "min")]
    )
    targets = search.pending[found["target"].to_numpy()]
    search.outcome.n_sources[targets] = found["survey_object_id_count_distinct"].to_numpy()
    search.outcome.match_arcsec[targets] = found["match_arcsec_min"].to_numpy()


def _write_rows(
    path: Path,
    archive: Archive,
    shard: pa.Table,
    streams: list[Iterator[pa.Table]],
    search: _Search,
    footer: Mapping[str, str],
) -> None:
    """Write the rows of all finished targets in order, and settle the states of the others."""
    outcome = search.outcome
    failed = outcome.state == "failed"
    objectids = shard["objectid"].combine_chunks()
    with ParquetSink(path, LIGHTCURVE, footer) as sink:
        for block in merge_by_target(streams, shard.num_rows, SORT_KEYS):
            rows = block.filter(pa.array(~failed[block["target"].to_numpy()]))
            target = rows["target"].to_numpy()
            outcome.n_rows += np.bincount(target, minlength=shard.num_rows)
            ambiguous = _ambiguous_targets(archive, rows)
            asked = ambiguous[outcome.state[ambiguous] == None]  # noqa: E711 (element-wise)
            outcome.state[asked] = "ambiguous"
            rows = rows.append_column("objectid", objectids.take(rows["target"]))
            rows = rows.append_column("archive", pa.repeat(archive.spec.name, rows.num_rows))
            sink.write(rows.drop_columns(["target"]))
    settled = outcome.state != None  # noqa: E711 (element-wise)
    outcome.state[~settled & (outcome.n_rows > 0)] = "data"
    outcome.state[~settled & (outcome.n_rows == 0)] = "searched_empty"


def _summary(outcome: Outcome) -> str:
    counts = {state: int(np.sum(outcome.state == state)) for state in sorted(set(outcome.state))}
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def fetch_shard(
    *,
    shard_path: Path,
    part_path: Path,
    status_path: Path,
    spec: ArchiveSpec,
    key: Mapping[str, str],
    dask_config: DaskConfig,
    threads: int,
    mem_mb: int,
    allow_partial: bool,
) -> None:
    """Search one archive for the targets of one shard and write a part and its status.

    Parameters
    ----------
    shard_path : Path
        Targets, ``SHARD`` schema.
    part_path, status_path : Path
        Where the light curves (``LIGHTCURVE`` schema) and the status (JSON) go.
    spec : ArchiveSpec
        The archive.
    key : mapping
        What the part depends on; finished targets of an earlier attempt are used if their key is
        the same.
    dask_config : DaskConfig
    threads, mem_mb : int
        Cores and memory [MB] of the job.
    allow_partial : bool
        Write the part although some targets failed.

    Raises
    ------
    ArchiveError
        If targets failed and ``allow_partial`` is false; what was found for the others is kept.
    """
    started = time.monotonic()
    shard = pq.read_table(shard_path)
    archive = get_archive(spec, service_path(part_path))
    kept = _Kept(part_path)
    outcome = kept.outcome(key) or Outcome.pending(shard.num_rows)
    pending = outcome.reopen()
    with _scratch_folder(unfinished_path(part_path, ".scratch")) as scratch:
        search = _Search(scratch, pending, outcome)
        _search_archive(
            archive, shard.take(pa.array(pending)), search, dask_config, threads, mem_mb
        )
        _count_sources(search)
        streams = [_row_stream(path, pending) for path in search.row_files]
        if len(pending) < shard.num_rows:
            streams.append(_earlier_stream(kept.rows, shard["objectid"].combine_chunks()))
        rows_path = scratch / "part.parquet"
        footer = {
            "lightloom_archive": spec.name,
            "lightloom_release": spec.release,
            "lightloom_key": json.dumps(dict(key), sort_keys=True),
        }
        _write_rows(rows_path, archive, shard, streams, search, footer)
        _log.info("%s, shard %s: %s", spec.name, shard_path.stem, _summary(outcome))
        status = {
            "archive": spec.name,
            "shard": shard_path.stem,
            "key": dict(key),
            "release": spec.release,
            "version": lightloom.__version__,
            "targets": {"objectid": shard["objectid"].to_pylist(), **outcome.to_json()},
            "part": {"bytes": rows_path.stat().st_size, "sha256": sha256_file(rows_path)},
            "reads": {**vars(search.reads), "seconds": round(time.monotonic() - started, 3)},
            "methods": sorted(search.methods),
            "retrieved_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        complete = not outcome.unfinished.any()
        if not complete:
            kept.write(rows_path, status)
        if complete or allow_partial:
            rows_path.replace(part_path)
            write_json(status_path, status)
    if complete:
        kept.clear()
    elif not allow_partial:
        raise _failure(spec, shard_path.stem, outcome)


class _Kept:
    """What an unfinished attempt leaves beside its part, for the next one to go on with."""

    def __init__(self, part_path: Path) -> None:
        self.rows = unfinished_path(part_path, ".parquet")
        self._status = unfinished_path(part_path, ".json")

    def outcome(self, key: Mapping[str, str]) -> Outcome | None:
        """Return how the last attempt left its targets, if there was one at the same part."""
        if not self._status.exists():
            return None
        status = json.loads(self._status.read_text())
        if status["key"] != dict(key):
            return None
        _log.info("going on where the last attempt ended")
        return Outcome.from_json(status["targets"])

    def write(self, rows_path: Path, status: Mapping[str, Any]) -> None:
        """Keep the rows of the finished targets, and the states of all."""
        # Killed in between, there are rows without states, which the next attempt ignores.
        self._status.unlink(missing_ok=True)
        shutil.copyfile(rows_path, self.rows)
        write_json(self._status, status)

    def clear(self) -> None:
        """Forget the last attempt: the part is whole."""
        self._status.unlink(missing_ok=True)
        self.rows.unlink(missing_ok=True)


@contextmanager
def _scratch_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder for the block; as its name is fixed, a killed job's is emptied."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _search_archive(
    archive: Archive,
    shard: pa.Table,
    search: _Search,
    dask_config: DaskConfig,
    threads: int,
    mem_mb: int,
) -> None:
    try:
        plan = archive.plan(shard)
    except ArchiveError as error:
        search.outcome.fail(search.pending, error)
        return
    search.outcome.state[search.pending[plan.outside_footprint]] = "outside_footprint"
    _log.info("%d targets, %d requests", shard.num_rows, len(plan.requests))
    if plan.requests:
        with dask_client(
            dask_config, threads=threads, mem_mb=mem_mb, n_requests=len(plan.requests)
        ) as client:
            _ask(client, archive, shard, plan, search)


def _failure(spec: ArchiveSpec, shard_name: str, outcome: Outcome) -> ArchiveError:
    unfinished = np.flatnonzero(outcome.unfinished)
    first = outcome.message[unfinished[0]]
    return ArchiveError(
        f"{spec.name}, shard {shard_name}: {len(unfinished)} of {len(outcome.state)} targets"
        f" failed, the first with: {first}. What was found for the others is kept; run again to"
        " ask for these, or set allow_partial: true to go on without them."
    )
