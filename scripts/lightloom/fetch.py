"""Fetch the light curves of one shard from one archive.

Every target of the shard ends in a state of its own: a request that fails takes down its own
targets only. What is finished is kept, so that the next attempt asks for the rest.
"""

import dataclasses
import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import lightloom
from lightloom.archives import get_archive
from lightloom.archives.base import OFFSET_COUNTS, SOURCES, Answer, Archive, Request, RequestPlan
from lightloom.carry import Carried, carry, keep_until_merged, target_hashes
from lightloom.cluster.answers import answers
from lightloom.cluster.client import dask_client
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.errors import ArchiveError
from lightloom.footprint import within_footprint
from lightloom.outcome import Outcome, is_open
from lightloom.plan import services_path, unfinished_path
from lightloom.progress import progress_lines
from lightloom.reads import Reads
from lightloom.replay import Replayed, keep_searches
from lightloom.schema import LIGHTCURVE
from lightloom.services.probe import ensure_probed
from lightloom.services.retries import retrying
from lightloom.storage import ParquetSink, sha256_file, write_json
from lightloom.stream import merge_by_target
from lightloom.unfinished import Attempt, Unfinished

#: Order of the rows of one target; the remaining columns break ties.
SORT_KEYS = ("band", "survey_object_id", "time_mjd")

#: Rows of a row group of a part: fewer than in the results, as a job writes it in little memory.
_ROW_GROUP_ROWS = 32_768
#: Rows that are sorted at a time, for the same reason.
_BLOCK_ROWS = 16_384

_log = logging.getLogger(__name__)


@dataclass
class _Search:
    """One attempt at a shard: what it asks for, and what became of it."""

    asked: NDArray[np.int64]
    attempt: Attempt
    outcome: Outcome
    reads: Reads = dataclasses.field(default_factory=Reads)
    squares: Counter[str] = dataclasses.field(default_factory=Counter)
    n_requests: int = 0

    def take(self, request: Request, result: Answer | ArchiveError) -> None:
        """Keep what has come of a request; its targets are numbered within those asked for."""
        if isinstance(result, ArchiveError):
            _log.error("%d targets: %s", len(request.targets), result)
            self.outcome.fail(self.asked[request.targets], result)
        else:
            self.reads += result.reads
            for name, value in vars(result.reads).items():
                self.squares[name] += value**2
            self.attempt.keep(self.asked, request, result)
            for target, error in sorted(result.incomplete.items()):
                _log.error("a target keeps a part of its rows: %s", error)
                self.outcome.cut_short(self.asked[target], error)


def _ambiguous_targets(archive: Archive, rows: pa.Table) -> NDArray[np.int64]:
    competing = archive.competing_sources(rows)
    counted = competing.group_by(["target", "observation"]).aggregate(
        [("survey_object_id", "count_distinct")]
    )
    several = counted.filter(pc.greater(counted["survey_object_id_count_distinct"], 1))
    return np.unique(several["target"].to_numpy())


def _count_sources(attempts: list[Attempt], outcome: Outcome) -> None:
    sources = pa.concat_tables([SOURCES.empty_table(), *(one.sources() for one in attempts)])
    found = sources.group_by("target").aggregate(
        [("survey_object_id", "count_distinct"), ("match_arcsec", "min")]
    )
    targets = found["target"].to_numpy()
    outcome.n_sources[targets] = found["survey_object_id_count_distinct"].to_numpy()
    outcome.match_arcsec[targets] = found["match_arcsec_min"].to_numpy()


def _count_offsets(attempts: list[Attempt], outcome: Outcome) -> None:
    for attempt in attempts:
        offsets = attempt.offsets()
        # A target near the border of partitions is in several answers.
        for name in OFFSET_COUNTS.names[1:]:
            np.add.at(
                getattr(outcome, name), offsets["target"].to_numpy(), offsets[name].to_numpy()
            )


def _write_rows(
    path: Path,
    archive: Archive,
    shard: pa.Table,
    attempts: list[Attempt],
    carried: Carried,
    outcome: Outcome,
    footer: Mapping[str, str],
) -> None:
    """Write the rows of all finished targets in order, and settle their states."""
    objectids = shard["objectid"].combine_chunks()
    streams = [stream for attempt in attempts for stream in attempt.row_streams()]
    streams += carried.streams
    with ParquetSink(path, LIGHTCURVE, footer, row_group_rows=_ROW_GROUP_ROWS) as sink:
        blocks = merge_by_target(streams, shard.num_rows, SORT_KEYS, block_rows=_BLOCK_ROWS)
        for rows in blocks:
            target = rows["target"].to_numpy()
            outcome.n_rows += np.bincount(target, minlength=shard.num_rows)
            ambiguous = _ambiguous_targets(archive, rows)
            outcome.state[ambiguous[is_open(outcome.state[ambiguous])]] = "ambiguous"
            rows = rows.append_column("objectid", objectids.take(rows["target"]))
            rows = rows.append_column("archive", pa.repeat(archive.spec.name, rows.num_rows))
            sink.write(rows.drop_columns(["target"]))
    for attempt in attempts:
        outcome.state[attempt.outside_footprint] = "outside_footprint"
    searched = is_open(outcome.state)
    outcome.state[searched & (outcome.n_rows > 0)] = "data"
    outcome.state[searched & (outcome.n_rows == 0)] = "searched_empty"


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
    attempt: int = 1,
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
        What the part depends on. Finished targets of an earlier attempt are used if their key is
        the same, those of earlier parts if their settings and code are.
    dask_config : DaskConfig
    threads, mem_mb : int
        Cores and memory [MB] of the job.
    allow_partial : bool
        Write the part although some targets failed.
    attempt : int
        Which attempt at the job this is within a run. What failed before for a reason that does not
        pass by itself is asked again in the next run, not in the next attempt.

    Raises
    ------
    ArchiveError
        If targets failed and ``allow_partial`` is false; what was found for the others is kept.
    ClusterError
        If the Dask cluster cannot be used, or was lost; what was answered before is kept.
    """
    started = time.monotonic()
    shard = pq.read_table(shard_path)
    archive = _archive(spec, part_path, shard_path.stem, dask_config)
    unfinished = Unfinished(part_path, key, shard.num_rows)
    outcome = Outcome.pending(shard.num_rows)
    if attempt > 1:
        outcome.repeat_failures(unfinished.last_failures)
    carried = carry(shard, part_path, key, ~unfinished.finished)
    outcome.take_over(carried.targets, carried.outcome)
    pending = np.flatnonzero(~unfinished.finished & is_open(outcome.state))
    if len(pending) < shard.num_rows:
        _log.info("%d targets are left to ask for", len(pending))
    search = _Search(pending, unfinished.new_attempt(), outcome)
    _search_archive(archive, shard, search, dask_config, threads, mem_mb)
    search.attempt.keep_failures(outcome.lasting_failures)
    # What answers took comes back now, not while they are merged: a worker's memory is bounded.
    pa.default_memory_pool().release_unused()
    attempts = unfinished.attempts
    if spec.replies and not spec.is_replayed:
        keep_searches(spec, shard_path.stem, shard, attempts)
    _count_sources(attempts, outcome)
    _count_offsets(attempts, outcome)
    with _scratch_folder(unfinished_path(part_path, ".scratch")) as scratch:
        rows_path = scratch / "part.parquet"
        footer = {
            "lightloom_archive": spec.name,
            "lightloom_release": spec.release,
            "lightloom_key": json.dumps(dict(key), sort_keys=True),
        }
        _write_rows(rows_path, archive, shard, attempts, carried, outcome, footer)
        _log.info("%s, shard %s: %s", spec.name, shard_path.stem, _summary(outcome))
        places = carried.places.union(*(attempt.places for attempt in attempts))
        status = {
            "archive": spec.name,
            "shard": shard_path.stem,
            "key": dict(key),
            "release": spec.release,
            "version": lightloom.__version__,
            "targets": {
                "objectid": shard["objectid"].to_pylist(),
                "target_hash": target_hashes(shard),
                **outcome.to_json(),
            },
            "part": {"bytes": rows_path.stat().st_size, "sha256": sha256_file(rows_path)},
            "planned_requests": search.n_requests,
            "reads": {**vars(search.reads), "seconds": round(time.monotonic() - started, 3)},
            # Of the pieces of work: how far they differ bounds what others will take.
            "squared_reads": {name: search.squares[name] for name in vars(search.reads)},
            "places": sorted(spec.as_configured(places, Path.cwd())),
            "methods": sorted(carried.methods.union(*(attempt.methods for attempt in attempts))),
            "retrieved_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        complete = not outcome.unfinished.any()
        keep_until_merged(part_path, rows_path, status)
        if complete or allow_partial:
            rows_path.replace(part_path)
            write_json(status_path, status)
    if complete:
        unfinished.clear()
    elif not allow_partial:
        raise _failure(spec, shard_path.stem, outcome)


def _archive(spec: ArchiveSpec, part_path: Path, shard: str, dask_config: DaskConfig) -> Archive:
    state = services_path(part_path)
    if dask_config.is_elsewhere:
        # The current folder of this job is not that of the workers.
        spec, state = spec.located(Path.cwd()), state.resolve()
    return Replayed(spec, state, shard) if spec.is_replayed else get_archive(spec, state)


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
    pending = search.asked
    inside = within_footprint(archive.spec, shard.take(pa.array(pending)))
    search.asked = asked = pending[inside]
    targets = shard.take(pa.array(asked))
    plan = RequestPlan([], np.array([], np.int64))
    if len(asked):
        try:
            plan = retrying(archive.spec.limits)(_probed_plan, archive, targets)
        except ArchiveError as error:
            search.outcome.fail(asked, error)
            return
    search.reads += plan.reads
    search.n_requests = len(plan.requests)
    outside = np.concatenate([pending[~inside], asked[plan.outside_footprint]])
    search.attempt.begin(asked, plan.requests, outside)
    _log.info("%d targets, %d requests", len(asked), len(plan.requests))
    if plan.requests:
        _ask(archive, targets, plan, search, dask_config, threads, mem_mb)


def _ask(
    archive: Archive,
    targets: pa.Table,
    plan: RequestPlan,
    search: _Search,
    dask_config: DaskConfig,
    threads: int,
    mem_mb: int,
) -> None:
    n_requests = len(plan.requests)
    config, threads = _workers(archive.spec, dask_config, threads)
    with dask_client(config, threads=threads, mem_mb=mem_mb, n_requests=n_requests) as client:
        found = answers(
            client,
            archive,
            targets,
            plan.requests,
            wait_for_workers_s=config.wait_for_workers_s,
        )
        with progress_lines(n_requests, "requests answered") as progress:
            for request, result in found:
                search.take(request, result)
                progress.advance()


def _probed_plan(archive: Archive, targets: pa.Table) -> RequestPlan:
    if archive.spec.layout == "service" and not archive.spec.is_replayed:
        ensure_probed(archive, archive.spec.limits["probe_valid_s"])
    return archive.plan(targets)


def _workers(spec: ArchiveSpec, config: DaskConfig, threads: int) -> tuple[DaskConfig, int]:
    """Return where the requests run, and in how many threads.

    The answers of a service or a store are waited for rather than computed, so that threads beyond
    the cores of the job are of use, and further processes are not.
    """
    if config.cluster != "local" or not (spec.layout == "service" or spec.place.is_remote):
        return config, threads
    waiting = "concurrent_requests" if spec.layout == "service" else "partitions_in_flight"
    return dataclasses.replace(config, cluster="threads"), max(threads, spec.limits[waiting])


def _failure(spec: ArchiveSpec, shard_name: str, outcome: Outcome) -> ArchiveError:
    unfinished = np.flatnonzero(outcome.unfinished)
    first = outcome.message[unfinished[0]]
    return ArchiveError(
        f"{spec.name}, shard {shard_name}: {len(unfinished)} of {len(outcome.state)} targets"
        f" failed, the first with: {first}. What was found for the others is kept; run again to"
        " ask for these, or set allow_partial: true to go on without them."
    )
