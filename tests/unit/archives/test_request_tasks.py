"""Requests on the workers of a cluster: several in a task, in pieces, one by one after deaths."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from distributed import get_worker
from small_archives import ENTRY, STATE, spec_of

from lightloom.archives.base import SOURCES, Answer, Request
from lightloom.archives.catalog import CatalogArchive
from lightloom.cluster.answers import answers
from lightloom.cluster.client import dask_client
from lightloom.cluster.settings import SETTINGS
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.errors import ArchiveError, BadRequestError, TooLargeError, TransientArchiveError
from lightloom.schema import TARGET_ROWS


class Does(NamedTuple):
    """What answering a request comes to."""

    quick: bool = True
    n_rows: int = 0
    error: ArchiveError | None = None
    most_targets: int = 100
    fatal_targets: int = 100


def rows_of(n_rows: int) -> pa.Table:
    columns = [pa.nulls(n_rows, field.type) for field in TARGET_ROWS]
    return pa.table(columns, schema=TARGET_ROWS)


class ByTask(CatalogArchive):
    """Says in which task a request was answered; finds rows as the request says."""

    def answer(self, shard: pa.Table, request: Request) -> Answer:
        does: Does = request.what
        if len(request.targets) > does.fatal_targets:
            os._exit(1)
        if does.error:
            raise does.error
        if len(request.targets) > does.most_targets:
            raise TooLargeError("too many", n_pieces=3)
        return Answer(
            rows_of(does.n_rows), SOURCES.empty_table(), method=get_worker().get_current_task()
        )

    def is_quick(self, request: Request) -> bool:
        return request.what.quick

    def split(self, request: Request, n_pieces: int) -> Sequence[Request]:
        pieces = np.array_split(request.targets, min(n_pieces, len(request.targets)))
        return [Request(targets, request.what) for targets in pieces]


@pytest.fixture(scope="module")
def spec() -> ArchiveSpec:
    limits = {"retries": 0, "threads": 1, "mem_mb": 1000, "attempts": 1, "longest_wait_s": 1}
    return spec_of(ENTRY, limits=limits)


def asked(
    spec: ArchiveSpec, whats: Sequence[Does], *, threads: int = 1, n_targets: int = 1
) -> list[tuple[Request, Answer | ArchiveError]]:
    requests = [
        Request(number * n_targets + np.arange(n_targets), does)
        for number, does in enumerate(whats)
    ]
    archive = ByTask(spec, STATE)
    shard = pa.table({"objectid": [str(number) for number in range(n_targets * len(whats))]})
    with dask_client(
        DaskConfig("local"), threads=threads, mem_mb=1000, n_requests=len(requests)
    ) as client:
        return list(answers(client, archive, shard, requests, wait_for_workers_s=60))


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """One death is enough to be taken for a killer: each takes seconds."""
    monkeypatch.setitem(SETTINGS, "distributed.scheduler.allowed-failures", 0)


def per_task(found: Sequence[tuple[Request, Answer | ArchiveError]]) -> list[int]:
    methods = [result.method for _, result in found if isinstance(result, Answer)]
    return sorted(Counter(methods).values(), reverse=True)


@pytest.mark.parametrize(
    ("threads", "expected"), [(1, [8, 8, 4, 2, 1, 1]), (2, [6, 4, 3, 2, 2, *[1] * 7])]
)
def test_quick_requests_share_tasks_until_few_are_left(
    spec: ArchiveSpec, threads: int, expected: list[int]
) -> None:
    found = asked(spec, [Does()] * 24, threads=threads)
    assert per_task(found) == expected
    assert sorted(request.targets[0] for request, _ in found) == list(range(24))


def test_what_takes_long_has_a_task_of_its_own(spec: ArchiveSpec) -> None:
    found = asked(spec, [Does(quick=number % 8 != 3) for number in range(24)])
    alone = [result.method for request, result in found if not request.what.quick]
    methods = [result.method for _, result in found]
    assert [methods.count(method) for method in alone] == [1, 1, 1]
    assert max(per_task(found)) == 7


def test_a_task_ends_when_its_answers_are_large(spec: ArchiveSpec) -> None:
    large = Does(n_rows=round(9e6 / rows_of(1000).nbytes * 1000))
    found = asked(spec, [large] * 16)
    assert per_task(found) == [2] * 7 + [1] * 2
    assert sorted(request.targets[0] for request, _ in found) == list(range(16))


def test_a_failure_is_that_of_its_request(spec: ArchiveSpec) -> None:
    whats = [Does()] * 20
    whats[3] = Does(error=BadRequestError("no such thing"))
    found = asked(spec, whats)
    failed = [(request.targets[0], str(result)) for request, result in found if request.what.error]
    assert failed == [(3, "no such thing")]
    assert sum(per_task(found)) == 19


def test_what_is_too_large_is_asked_for_in_pieces(spec: ArchiveSpec) -> None:
    whats = [Does()] * 20
    whats[3] = Does(most_targets=2)
    found = asked(spec, whats, n_targets=5)
    pieces = [request.targets for request, _ in found if request.what.most_targets == 2]
    assert sorted(len(targets) for targets in pieces) == [1, 2, 2]
    targets = np.concatenate([request.targets for request, _ in found])
    assert sorted(targets) == list(range(100))


# A worker that is started anew leaves a warning of its predecessor's connection.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("deadly")
def test_what_kills_workers_takes_nothing_with_it(spec: ArchiveSpec) -> None:
    whats = [Does()] * 64
    whats[11] = Does(fatal_targets=0)
    found = asked(spec, whats, threads=2)
    results = {int(request.targets[0]): result for request, result in found}
    assert sorted(results) == list(range(64))
    failed = {target: one for target, one in results.items() if not isinstance(one, Answer)}
    assert list(failed) == [11]
    assert isinstance(failed[11], TransientArchiveError)
    assert "workers died on this request" in str(failed[11])
    methods = {target: one.method for target, one in results.items() if isinstance(one, Answer)}
    # The others of its task were answered one by one.
    alone = [methods[target] for target in range(8, 16) if target != 11]
    assert [list(methods.values()).count(method) for method in alone] == [1] * 7
    assert max(per_task(found)) == 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("deadly")
def test_what_kills_workers_is_halved(spec: ArchiveSpec) -> None:
    whats = [Does(quick=False)] * 64
    whats[5] = Does(quick=False, fatal_targets=2)
    found = asked(spec, whats, threads=2, n_targets=4)
    assert all(isinstance(result, Answer) for _, result in found)
    pieces = [list(request.targets) for request, _ in found if request.what.fatal_targets == 2]
    assert sorted(pieces) == [[20, 21], [22, 23]]
    targets = np.concatenate([request.targets for request, _ in found])
    assert sorted(targets) == list(range(256))
