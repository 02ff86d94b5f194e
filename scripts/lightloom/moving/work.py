"""Spreading the work of a job over Dask, and keeping what is done."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from distributed import KilledWorker

from lightloom.cluster.client import dask_client
from lightloom.cluster.tasks import Tasks
from lightloom.config import DaskConfig
from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.storage import write_table

Item = TypeVar("Item")
Result = TypeVar("Result")

_KEY = b"lightloom_key"


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    dask_config: DaskConfig,
    *,
    threads: int,
    mem_mb: int,
) -> Iterator[tuple[Item, Result | ArchiveError]]:
    """Call a function with each item on the workers; yield the results as they come.

    Parameters
    ----------
    function : callable
        What it raises as an `ArchiveError` is a result like any other.
    items : sequence
    dask_config : DaskConfig
    threads, mem_mb : int
        Cores and memory [MB] of the job.

    Yields
    ------
    item, result or ArchiveError

    Raises
    ------
    ClusterError
        If the cluster cannot be used, or its scheduler is lost, or all workers are and none comes
        in time.
    """
    if not items:
        return
    with dask_client(dask_config, threads=threads, mem_mb=mem_mb, n_requests=len(items)) as client:
        tasks: Tasks[tuple[Item, bool]] = Tasks(client, dask_config.wait_for_workers_s)
        waiting = deque((item, False) for item in items)
        while waiting or tasks.n_under_way:
            while waiting and tasks.has_room(alone=waiting[0][1]):
                item, is_alone = waiting.popleft()
                tasks.submit((item, is_alone), _result_or_error, function, item, alone=is_alone)
            ended = tasks.next_ended()
            if ended is None:
                continue
            (item, is_alone), result = ended
            if not isinstance(result, KilledWorker):
                yield item, result
            elif is_alone:
                yield item, TransientArchiveError(f"Dask workers died on this task: {result}")
            else:
                waiting.appendleft((item, True))


def _result_or_error(function: Callable[[Item], Result], item: Item) -> Result | ArchiveError:
    try:
        return function(item)
    except ArchiveError as error:
        return error


def write_keyed(
    path: Path,
    table: pa.Table,
    schema: pa.Schema,
    key: Mapping[str, Any],
    further: Mapping[str, str] | None = None,
) -> None:
    """Write a table with what it depends on in its footer, and further metadata."""
    footer = {_KEY.decode(): json.dumps(dict(key), sort_keys=True), **(further or {})}
    write_table(path, table, schema, footer)


def read_keyed(path: Path, key: Mapping[str, Any]) -> pa.Table | None:
    """Return a table if it is whole and was made from the same."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        if json.loads(metadata.get(_KEY, b"null")) != dict(key):
            return None
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid, ValueError):
        return None
