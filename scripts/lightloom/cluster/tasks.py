"""Tasks that are under way on the workers of a cluster, and a watch over these."""

import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from distributed import CancelledError, Client, Future, KilledWorker

from lightloom.errors import ClusterError

Item = TypeVar("Item")

#: How often the workers are looked at [s].
_LOOK_EVERY_S = 2.0

#: How long the scheduler may take to say who its workers are [s].
_SCHEDULER_S = 60.0

_log = logging.getLogger(__name__)


class Tasks(Generic[Item]):
    """The tasks of a job that are under way, each about an item of the caller's.

    Twice as many as threads, so that no worker waits, and results do not pile up in memory.

    Parameters
    ----------
    client : distributed.Client
    wait_for_workers_s : float
        How long to wait for another worker when none is left that works [s].

    Raises
    ------
    ClusterError
        If the scheduler is lost.
    """

    def __init__(self, client: Client, wait_for_workers_s: float) -> None:
        self._client = client
        self._watch = _Watch(client, wait_for_workers_s)
        self._watch.look()
        self._under_way: dict[str, tuple[Future, Item]] = {}
        self._is_one_alone = False
        self._ended: SimpleQueue[Future] = SimpleQueue()

    @property
    def n_under_way(self) -> int:
        """Tasks that have not ended."""
        return len(self._under_way)

    @property
    def n_threads(self) -> int:
        """Threads of the workers, at least 1, when these were last looked at."""
        return self._watch.n_threads

    def has_room(self, *, alone: bool = False) -> bool:
        """Tell whether the workers may be given another task.

        Parameters
        ----------
        alone : bool
            Whether nothing else is to be under way with it: of what a worker has to do when it
            dies, Dask cannot tell what has killed it.
        """
        if alone or self._is_one_alone:
            return not self._under_way
        return self.n_under_way < 2 * self.n_threads

    def submit(
        self, item: Item, function: Callable[..., Any], *arguments: Any, alone: bool = False
    ) -> None:
        """Have a worker call a function, for the sake of an item; see `has_room`."""
        self._is_one_alone = alone
        future = self._client.submit(function, *arguments, pure=False)
        # A reference, without which Dask would forget the task.
        self._under_way[str(future.key)] = future, item
        future.add_done_callback(self._ended.put)

    def next_ended(self) -> tuple[Item, Any] | None:
        """Wait for a task to end, but not for long; look at the workers every now and then.

        Returns
        -------
        tuple or None
            Its item, and what the function has returned, or a `KilledWorker` if several workers
            died that had it to do, one after the other. None if no task ends within some seconds.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or all workers are and none comes in time.
        """
        self._watch.look()
        try:
            future = self._ended.get(timeout=_LOOK_EVERY_S)
        except Empty:
            return None
        _, item = self._under_way.pop(str(future.key))
        try:
            result = future.result()
        except KilledWorker as error:
            result = error
        except CancelledError as error:
            raise _lost_scheduler(error) from error
        self._watch.n_ended += 1
        future.release()
        return item, result


def _lost_scheduler(error: BaseException | str) -> ClusterError:
    return ClusterError(
        f"dask: lost the scheduler: {error}. What was answered is kept; run again to ask for the"
        " rest"
    )


class _Watch:
    """Who is there to work, asked every now and then."""

    def __init__(self, client: Client, patience_s: float) -> None:
        self.n_threads = 1
        self.n_ended = 0
        self._client = client
        self._patience_s = patience_s
        self._n_workers = 0
        self._last_look = -_LOOK_EVERY_S
        self._last_sign = time.monotonic()
        self._ended_then = 0

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
        if at_work or self.n_ended > self._ended_then:
            self._last_sign, self._ended_then = now, self.n_ended
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
