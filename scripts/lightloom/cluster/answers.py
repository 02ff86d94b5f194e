"""Requests that are spread over the workers of a cluster, and a watch over these."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import pyarrow as pa
from distributed import CancelledError, Client, Future, KilledWorker

from lightloom.archives.base import Answer, Archive, Request
from lightloom.cluster.workers import check_versions, versions
from lightloom.errors import (
    ArchiveError,
    ClusterError,
    TooLargeError,
    TransientArchiveError,
)
from lightloom.services.retries import retrying

#: How often the workers are looked at [s].
_LOOK_EVERY_S = 2.0

#: How often a request on which workers died is halved: they may have had too little memory for it.
_HALVINGS = 3

#: How many quick requests make a task at most: Dask takes 5 to 15 ms of CPU for each task.
_MOST_TOGETHER = 8

#: A task of several requests ends early when its answers are larger [bytes].
_MOST_BYTES = 16_000_000

#: How long the scheduler may take to say who its workers are [s].
_SCHEDULER_S = 60.0

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
    threads are under way, so that answers do not pile up in memory. Quick requests share a task;
    what workers died on or was too large does not.

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
    watch = _Watch(client, wait_for_workers_s)
    done: SimpleQueue[Future] = SimpleQueue()
    waiting = deque(_Piece(request) for request in requests)
    under_way: dict[str, tuple[Future, list[_Piece]]] = {}
    # A task, not scattered data: what a lost worker held of it is made anew.
    there = client.submit(_on_worker, shard, pure=False)
    while True:
        watch.look()
        while waiting and len(under_way) < 2 * watch.n_threads:
            bundle = _next_bundle(archive, waiting, watch.n_threads)
            future = client.submit(
                _answers_or_errors,
                archive,
                there,
                [piece.request for piece in bundle],
                versions(),
                pure=False,
            )
            under_way[str(future.key)] = future, bundle
            future.add_done_callback(done.put)
        if not under_way:
            return
        try:
            future = done.get(timeout=_LOOK_EVERY_S)
        except Empty:
            continue
        _, bundle = under_way.pop(str(future.key))
        results = _results(future, bundle)
        again = [piece._replace(is_alone=not results) for piece in bundle[len(results) :]]
        for piece, result in zip(bundle, results, strict=False):
            pieces = _pieces(archive, piece, result)
            if pieces:
                again += pieces
            else:
                yield piece.request, result
        waiting.extendleft(reversed(again))
        watch.n_answers += 1
        future.release()


class _WorkersDiedError(TransientArchiveError):
    """Several workers died, one after the other, on the same request."""


class _Piece(NamedTuple):
    """A request, how often it may be halved, and whether it needs a task of its own."""

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
    return [_Piece(one, halvings, is_alone=True) for one in pieces]


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


def _results(future: Future, bundle: Sequence[_Piece]) -> list[Answer | ArchiveError]:
    """Return the results of the first requests; none if workers died on several."""
    try:
        results: list[Answer | ArchiveError] = future.result()
    except KilledWorker as error:
        if len(bundle) > 1:
            _log.info("%d requests one by one: %s", len(bundle), error)
            return []
        return [_WorkersDiedError(f"Dask workers died on this request: {error}")]
    except CancelledError as error:
        raise _lost_scheduler(error) from error
    return results


def _lost_scheduler(error: BaseException | str) -> ClusterError:
    return ClusterError(
        f"dask: lost the scheduler: {error}. What was answered is kept; run again to ask for the"
        " rest"
    )


class _Watch:
    """Who is there to work, asked every now and then."""

    def __init__(self, client: Client, patience_s: float) -> None:
        self.n_threads = 1
        self.n_answers = 0
        self._client = client
        self._patience_s = patience_s
        self._n_workers = 0
        self._last_look = -_LOOK_EVERY_S
        self._last_sign = time.monotonic()
        self._answers_then = 0

    def look(self) -> None:
        """Count the workers, if the last look was some time ago.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or has had no worker that works for too long.
        """
        now = time.monotonic()
        if now < self._last_look + _LOOK_EVERY_S:
            return
        workers = self._workers()
        self._last_look = now
        if len(workers) < self._n_workers:
            _log.warning("%d of %d Dask workers are left", len(workers), self._n_workers)
        self._n_workers = len(workers)
        self.n_threads = max(1, sum(worker["nthreads"] for worker in workers))
        # Of a cluster that was started elsewhere, one that nears its memory limit may take no more
        # work, but ends what it has begun.
        at_work = any(
            worker["status"] == "running" or worker["metrics"].get("executing", 0)
            for worker in workers
        )
        if at_work or self.n_answers > self._answers_then:
            self._last_sign, self._answers_then = now, self.n_answers
        elif now > self._last_sign + self._patience_s:
            paused = f"{len(workers)} that are out of memory" if workers else "none"
            raise ClusterError(
                f"dask: found no worker that works for {self._patience_s:g} s ({paused}). What was"
                " answered is kept; see the logs of the cluster, and run again to ask for the rest"
            )

    def _workers(self) -> list[dict[str, Any]]:
        client = self._client
        if client.status != "running":
            raise _lost_scheduler(f"the connection is {client.status}")
        try:
            # As `Client.scheduler_info` asks, but that waits for ever.
            identity = client.sync(client.scheduler.identity, callback_timeout=_SCHEDULER_S)
        except OSError as error:
            raise _lost_scheduler(error) from error
        return list(identity["workers"].values())
