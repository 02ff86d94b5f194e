"""Requests that are spread over the workers of a cluster."""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
from distributed import Client, KilledWorker

from lightloom.archives.base import Answer, Archive, Request
from lightloom.cluster.tasks import Tasks
from lightloom.cluster.workers import check_versions, versions
from lightloom.errors import ArchiveError, TooLargeError, TransientArchiveError
from lightloom.services.retries import retrying

#: How often a request on which workers died is halved: they may have had too little memory for it.
_HALVINGS = 3

#: How many quick requests make a task at most: Dask takes 5 to 15 ms of CPU for each task.
_MOST_TOGETHER = 8

#: A task of several requests ends early when its answers are larger [bytes].
_MOST_BYTES = 16_000_000

_log = logging.getLogger(__name__)


def answers(
    client: Client,
    archive: Archive,
    shard: pa.Table,
    requests: Sequence[Request],
    *,
    wait_for_workers_s: float,
) -> Iterator[tuple[Request, Answer | ArchiveError]]:
    """Spread requests over the workers and give the answers as they come.

    Work of lost workers is done again by others. What is too large for the memory of a worker is
    asked for in pieces, and so is a request on which several workers died. Twice as many tasks as
    threads are under way, so that answers do not pile up in memory. Quick requests share a task.
    What several workers died on is tried once more, one request by one and with nothing else under
    way.

    Parameters
    ----------
    client : distributed.Client
    archive : Archive
    shard : pyarrow.Table
        Targets that the requests are about. It travels once, not with each request.
    requests : sequence of Request
    wait_for_workers_s : float
        How long to wait for another worker when none is left that works [s].

    Yields
    ------
    request : Request
        One of ``requests``, or a piece of it.
    answer : Answer or ArchiveError
        A failed search is a result like any other.

    Raises
    ------
    ClusterError
        If the scheduler is lost, or all workers are and none comes in time.
    """
    tasks: Tasks[list[_Piece]] = Tasks(client, wait_for_workers_s)
    waiting = deque(_Piece(request) for request in requests)
    # A task, not scattered data: what a lost worker held of it is made anew.
    there = client.submit(_on_worker, shard, pure=False)
    while waiting or tasks.n_under_way:
        while waiting and tasks.has_room(alone=waiting[0].is_alone):
            bundle = _next_bundle(archive, waiting, tasks.n_threads)
            tasks.submit(
                bundle,
                _answers_or_errors,
                archive,
                there,
                [piece.request for piece in bundle],
                versions(),
                alone=bundle[0].is_alone,
            )
        ended = tasks.next_ended()
        if ended is None:
            continue
        bundle, results = ended[0], _results(*ended)
        again = [piece._replace(is_alone=not results) for piece in bundle[len(results) :]]
        for piece, result in zip(bundle, results, strict=False):
            pieces = _pieces(archive, piece, result)
            if pieces:
                again += pieces
            else:
                yield piece.request, result
        waiting.extendleft(reversed(again))


class _WorkersDiedError(TransientArchiveError):
    """Several workers died, one after the other, on the same request."""


class _Piece(NamedTuple):
    """A request, how often it may be halved, and whether nothing else may be under way with it."""

    request: Request
    halvings: int = _HALVINGS
    is_alone: bool = False


def _next_bundle(archive: Archive, waiting: deque[_Piece], n_threads: int) -> list[_Piece]:
    """Take the requests of the next task; few when few are left, so that no thread is idle."""
    most = min(_MOST_TOGETHER, len(waiting) // (2 * n_threads))
    bundle = [waiting.popleft()]
    while len(bundle) < most and all(
        archive.is_quick(piece.request) and not piece.is_alone for piece in (bundle[0], waiting[0])
    ):
        bundle.append(waiting.popleft())
    return bundle


def _pieces(archive: Archive, piece: _Piece, result: Answer | ArchiveError) -> list[_Piece]:
    """Return the pieces of a request that was too large."""
    request, halvings, _ = piece
    if isinstance(result, TooLargeError):
        pieces = archive.split(request, result.n_pieces)
    elif isinstance(result, _WorkersDiedError) and halvings:
        pieces, halvings = archive.split(request, 2), halvings - 1
    else:
        return []
    if len(pieces) < 2:
        return []
    _log.info("%d targets in %d pieces: %s", len(request.targets), len(pieces), result)
    return [_Piece(one, halvings, piece.is_alone) for one in pieces]


def _on_worker(shard: pa.Table) -> pa.Table:
    return shard


def _answers_or_errors(
    archive: Archive, shard: pa.Table, requests: Sequence[Request], expected: Mapping[str, str]
) -> list[Answer | ArchiveError]:
    """Run on a worker, which may have come after the others were looked at.

    Returns the answers to the first requests, as many as a worker may hold together.
    """
    check_versions(expected, versions(), "a worker")
    results: list[Answer | ArchiveError] = []
    n_bytes = 0
    for request in requests:
        try:
            answer = retrying(archive.spec.limits)(archive.answer, shard, request)
        except ArchiveError as error:
            results.append(error)
        else:
            results.append(answer)
            n_bytes += answer.rows.nbytes
        if n_bytes > _MOST_BYTES:
            break
    return results


def _results(
    bundle: Sequence[_Piece], ended: list[Answer | ArchiveError] | KilledWorker
) -> list[Answer | ArchiveError]:
    """Return the results of the first requests; none if it is open which one workers died on."""
    if not isinstance(ended, KilledWorker):
        return ended
    if not bundle[0].is_alone:
        _log.warning("%d requests are asked one by one: %s", len(bundle), ended)
        return []
    return [_WorkersDiedError(f"Dask workers died on this request: {ended}")]
