"""Searches of services repeated from kept replies, in the questions in which they were asked.

A service is asked about many targets at once, and a reply is found by the whole question. Which
targets stand in one question depends on the history of a run: a killed job, a failed request, a
sample that has grown all leave the rest to a later one. So with the replies goes a list of what was
asked together, and a replay asks the same, whatever is asked of it:

    searches/<archive>-<settings>/<shard>.<digest>.parquet    targets by attempt

A row of a target depends on the target alone, so it may come of any question in which it stood.
"""

import dataclasses
import functools
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightloom.archives import get_archive
from lightloom.archives.base import Answer, Archive, Request, RequestPlan
from lightloom.carry import target_hashes
from lightloom.config import ArchiveSpec
from lightloom.errors import ArchiveError
from lightloom.plan import digest_json
from lightloom.reads import Reads
from lightloom.schema import SHARD
from lightloom.sharding import overlap
from lightloom.unfinished import Attempt

#: Limits that decide which targets stand in one question, and whether it is a job of the service.
_DIVIDING = ("targets_per_query", "objects_per_query", "sync_targets")

#: Columns of a list of searches besides those of the targets.
_ATTEMPT, _FINISHED = "attempt", "finished"

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Search:
    """What was asked at once: an attempt in a list, or the rows of a table of targets."""

    path: Path | None
    attempt: int = 0
    rows: tuple[int, ...] = ()

    def targets(self, targets: pa.Table) -> pa.Table:
        """Return the targets that were asked about."""
        if self.path is None:
            return targets.take(pa.array(self.rows, pa.int64()))
        listed = _read_list(self.path)
        return listed.filter(pc.equal(listed[_ATTEMPT], self.attempt)).select(SHARD.names)


@dataclass(frozen=True)
class _Piece:
    """A request of a search.

    Attributes
    ----------
    search : _Search
    request : Request or ArchiveError
        Its targets are those of the search; an error if there is no plan.
    rows : ndarray of int64
        Row of each target of the search among those that are asked for now, or -1.
    """

    search: _Search
    request: Request | ArchiveError
    rows: IntArray


class Replayed(Archive):
    """A service whose kept replies are taken, asked as it was asked before.

    Parameters
    ----------
    spec : ArchiveSpec
        Its ``replies`` name the folder.
    state : Path
        See `Archive`.
    shard : str
        Name of the shard that the targets belong to.
    """

    def __init__(self, spec: ArchiveSpec, state: Path, shard: str) -> None:
        super().__init__(spec, state)
        self._shard = shard

    def plan(self, shard: pa.Table) -> RequestPlan:
        """Plan the requests of all searches in which the targets stood; see `Archive.plan`."""
        requests: list[Request] = []
        outside: list[int] = []
        reads = Reads()
        for search, rows in self._searches(shard):
            targets = search.targets(shard)
            try:
                plan = self._archive(search).plan(targets)
            except ArchiveError as error:
                known = rows[rows >= 0]
                requests.append(Request(known, _Piece(search, error, rows)))
                continue
            reads += plan.reads
            outside += rows[plan.outside_footprint].tolist()
            for request in plan.requests:
                wanted = rows[request.targets]
                if (wanted >= 0).any():
                    requests.append(Request(wanted[wanted >= 0], _Piece(search, request, rows)))
        return RequestPlan(
            requests, np.array([row for row in outside if row >= 0], np.int64), reads
        )

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        """Return what the kept replies say about targets of the shard; see `Archive.answer`."""
        piece: _Piece = request.what
        if isinstance(piece.request, ArchiveError):
            raise piece.request
        archive = self._archive(piece.search)
        answer = archive.answer(piece.search.targets(shard), piece.request)
        return dataclasses.replace(
            answer,
            rows=_renumbered(answer.rows, piece.rows),
            sources=_renumbered(answer.sources, piece.rows),
            incomplete={
                int(piece.rows[target]): error
                for target, error in answer.incomplete.items()
                if piece.rows[target] >= 0
            },
        )

    def competing_sources(self, rows: pa.Table) -> pa.Table:
        """Judge as the archive does; see `Archive.competing_sources`."""
        return get_archive(self.spec, self.state).competing_sources(rows)

    def _archive(self, search: _Search) -> Archive:
        """Return the archive with the limits of the time."""
        limits = _read_limits(search.path) if search.path else {}
        return get_archive(
            dataclasses.replace(self.spec, limits=self.spec.limits | limits), self.state
        )

    def _searches(self, targets: pa.Table) -> Iterator[tuple[_Search, IntArray]]:
        """Yield searches that have every target once, with the rows of their targets.

        A target is taken from a search that finished it, if there is one.
        """
        wanted = {text: row for row, text in enumerate(target_hashes(targets))}
        chosen: dict[int, tuple[bool, _Search, int]] = {}
        for path in self._lists():
            listed = _read_list(path)
            counts: dict[int, int] = defaultdict(int)
            for text, attempt, finished in zip(
                target_hashes(listed),
                listed[_ATTEMPT].to_pylist(),
                listed[_FINISHED].to_pylist(),
                strict=True,
            ):
                place = counts[attempt]
                counts[attempt] += 1
                row = wanted.get(text)
                if row is not None and (row not in chosen or (finished and not chosen[row][0])):
                    chosen[row] = finished, _Search(path, attempt), place
        of_search: dict[_Search, list[tuple[int, int]]] = defaultdict(list)
        for row, (_, search, place) in sorted(chosen.items()):
            of_search[search].append((place, row))
        for search, pairs in of_search.items():
            rows = np.full(search.targets(targets).num_rows, -1, np.int64)
            for place, row in pairs:
                rows[place] = row
            yield search, rows
        others = np.setdiff1d(np.arange(targets.num_rows), list(chosen))
        if len(others):
            # No search of them is known; the replies to another question may do.
            yield _Search(None, rows=tuple(others.tolist())), others

    def _lists(self) -> list[Path]:
        folder = _folder(self.spec)
        paths = sorted(folder.glob("*.parquet"))
        return [path for path in paths if overlap(path.name.split(".")[0], self._shard)]


def keep_searches(
    spec: ArchiveSpec, shard_name: str, shard: pa.Table, attempts: Sequence[Attempt]
) -> None:
    """Keep which targets were asked for together, beside the replies.

    Parameters
    ----------
    spec : ArchiveSpec
    shard_name : str
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema.
    attempts : sequence of Attempt
        What was asked in each, and which targets are finished.
    """
    tables = []
    for number, attempt in enumerate(attempts):
        asked = attempt.asked
        table = shard.take(pa.array(asked))
        table = table.append_column(_ATTEMPT, pa.repeat(pa.scalar(number), len(asked)))
        tables.append(table.append_column(_FINISHED, pa.array(attempt.finished[asked])))
    if not any(table.num_rows for table in tables):
        return
    listed = pa.concat_tables(tables)
    limits = {name: spec.limits[name] for name in _DIVIDING if name in spec.limits}
    listed = listed.replace_schema_metadata({"limits": json.dumps(limits)})
    hashes = [*target_hashes(listed), *map(str, listed[_ATTEMPT].to_pylist())]
    digest = digest_json([hashes, listed[_FINISHED].to_pylist(), limits])
    path = _folder(spec) / f"{shard_name}.{digest}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Jobs of other runs may keep the same.
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        pq.write_table(listed, temporary, compression="zstd")
        temporary.replace(path)


def _folder(spec: ArchiveSpec) -> Path:
    settings = digest_json(spec.settings())
    return Path(spec.replies["folder"]) / "searches" / f"{spec.name}-{settings}"


@functools.lru_cache(maxsize=8)
def _read_list(path: Path) -> pa.Table:
    return pq.read_table(path)


def _read_limits(path: Path) -> dict[str, int]:
    metadata = _read_list(path).schema.metadata
    limits: dict[str, int] = json.loads(metadata[b"limits"])
    return limits


def _renumbered(table: pa.Table, rows: IntArray) -> pa.Table:
    """Let ``target`` be the row now asked for, and leave out other targets."""
    place = table.column_names.index("target")
    target = rows[table["target"].to_numpy()]
    table = table.set_column(place, table.schema.field("target"), pa.array(target))
    order = np.argsort(target, kind="stable")
    return table.take(pa.array(order[target[order] >= 0]))
