"""What a fetch has found before its part is whole, over all attempts.

Every answer is kept as soon as it is there, so that a job may be killed at any moment: the next
attempt asks for what is missing, and the part is made of the answers of all attempts.
"""

import itertools
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightloom.archives.base import OFFSET_COUNTS, SOURCES, Answer, Request
from lightloom.plan import unfinished_path
from lightloom.schema import TARGET_ROWS, conform
from lightloom.storage import write_json

_FAILURES = "failures.json"

#: Rows that are read back together: while answers are merged, as many of each are in memory.
_BATCH_ROWS = 1024

_log = logging.getLogger(__name__)


class Unfinished:
    """The attempts at a part, in a folder beside it, as long as it is not whole.

    Parameters
    ----------
    part_path : Path
        The part.
    key : mapping
        What the part depends on; attempts with another key are forgotten.
    n_targets : int
        Targets of the shard.
    """

    def __init__(self, part_path: Path, key: Mapping[str, str], n_targets: int) -> None:
        # The mark goes first and comes last: attempts without it are not whole, and are ignored.
        self._mark = unfinished_path(part_path, ".json")
        self._folder = unfinished_path(part_path, ".answers")
        self._n_targets = n_targets
        if self._key() != dict(key):
            self.clear()
            self._folder.mkdir(parents=True)
            write_json(self._mark, {"key": dict(key)})

    def _key(self) -> dict[str, str] | None:
        if not self._mark.exists():
            return None
        key: dict[str, str] = json.loads(self._mark.read_text())["key"]
        return key

    @property
    def attempts(self) -> list["Attempt"]:
        """The attempts that had got as far as asking."""
        folders = sorted(self._folder.iterdir())
        attempts = [
            Attempt(folder, self._n_targets, is_last=folder == folders[-1]) for folder in folders
        ]
        return [attempt for attempt in attempts if attempt.began]

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Targets for which nothing is left to ask, shape (n_targets,)."""
        finished = np.zeros(self._n_targets, bool)
        for attempt in self.attempts:
            finished |= attempt.finished
        return finished

    @property
    def last_failures(self) -> dict[str, list[Any]]:
        """Targets that failed in the last attempt for a lasting reason, classes and messages."""
        last = max(self._folder.iterdir(), default=self._folder) / _FAILURES
        if not last.exists():
            return {"targets": [], "error_class": [], "message": []}
        failures: dict[str, list[Any]] = json.loads(last.read_text())
        return failures

    def new_attempt(self) -> "Attempt":
        """Return an attempt that has not begun."""
        folder = self._folder / f"{len(list(self._folder.iterdir())):04d}"
        folder.mkdir()
        return Attempt(folder, self._n_targets, is_last=True)

    def clear(self) -> None:
        """Forget all attempts."""
        self._mark.unlink(missing_ok=True)
        if self._folder.exists():
            shutil.rmtree(self._folder)


@dataclass(frozen=True)
class _Record:
    """An answer as it is kept: its rows in a file, all else in a line of the attempt's list."""

    targets: list[int]
    incomplete: list[int]
    method: str
    places: list[str]
    sources: dict[str, list[Any]]
    offsets: dict[str, list[Any]]
    rows_bytes: int


class Attempt:
    """The answers of one attempt; see `Unfinished`. Targets are rows of the shard.

    A target some of whose rows could not be had is not finished, as the next attempt asks for it
    again; until then what there is of it counts.
    """

    def __init__(self, folder: Path, n_targets: int, *, is_last: bool) -> None:
        self._is_last = is_last
        self._plan = folder / "plan.json"
        self._list = folder / "answers.jsonl"
        self._folder = folder
        self._n_targets = n_targets
        self._n_kept = 0

    @property
    def began(self) -> bool:
        """Whether it was known what to ask."""
        return self._plan.exists()

    def begin(
        self,
        asked: NDArray[np.int64],
        requests: Sequence[Request],
        outside_footprint: NDArray[np.int64],
    ) -> None:
        """Keep what is going to be asked.

        Parameters
        ----------
        asked : ndarray of int64, shape (n,)
            The targets to which the requests' targets refer, ascending.
        requests : sequence of Request
        outside_footprint : ndarray of int64
            Targets about which nothing is asked.
        """
        counts = np.zeros(len(asked), np.int64)
        for request in requests:
            counts[request.targets] += 1
        write_json(
            self._plan,
            {
                "asked": asked.tolist(),
                "requests": counts.tolist(),
                "outside_footprint": outside_footprint.tolist(),
            },
        )

    def keep(self, asked: NDArray[np.int64], request: Request, answer: Answer) -> None:
        """Keep the answer to a request whose targets refer to those of ``asked``."""
        rows = conform(answer.rows, TARGET_ROWS, "rows of an answer")
        path = self._rows_path(self._n_kept)
        if rows.num_rows:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, TARGET_ROWS) as writer:
                writer.write_table(_renumbered(rows, asked), max_chunksize=_BATCH_ROWS)
        record = _Record(
            targets=asked[np.unique(request.targets)].tolist(),
            incomplete=asked[sorted(answer.incomplete)].tolist(),
            method=answer.method,
            places=list(answer.places),
            sources=_renumbered(answer.sources, asked).to_pydict(),
            offsets=_renumbered(answer.offsets, asked).to_pydict(),
            rows_bytes=path.stat().st_size if rows.num_rows else 0,
        )
        with self._list.open("a") as file:
            file.write(json.dumps(vars(record)) + "\n")
        self._n_kept += 1

    def keep_failures(self, failures: Mapping[str, list[Any]]) -> None:
        """Keep what `Unfinished.last_failures` is to return."""
        write_json(self._folder / _FAILURES, failures)

    def _rows_path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.arrow"

    @cached_property
    def _records(self) -> list[tuple[Path, _Record]]:
        """The whole answers: a killed process leaves its last line, or a file, cut short."""
        records: list[tuple[Path, _Record]] = []
        if not self._list.exists():
            return records
        for number, line in enumerate(self._list.read_text().splitlines()):
            path = self._rows_path(number)
            try:
                record = _Record(**json.loads(line))
            except ValueError:
                _log.warning("%s: line %d is cut short", self._list, number + 1)
                break
            if not record.rows_bytes or path.stat().st_size == record.rows_bytes:
                records.append((path, record))
        return records

    @cached_property
    def _planned(self) -> dict[str, NDArray[np.int64]]:
        document = json.loads(self._plan.read_text())
        return {name: np.array(values, np.int64) for name, values in document.items()}

    @property
    def asked(self) -> NDArray[np.int64]:
        """Targets of which it was planned what to ask, ascending."""
        return self._planned["asked"]

    @property
    def outside_footprint(self) -> NDArray[np.int64]:
        """Targets about which nothing was asked."""
        return self._planned["outside_footprint"]

    @cached_property
    def finished(self) -> NDArray[np.bool_]:
        """Targets all of whose requests were answered in full, shape (n_targets,)."""
        return self._answered & ~self._incomplete

    @cached_property
    def _incomplete(self) -> NDArray[np.bool_]:
        incomplete = np.zeros(self._n_targets, bool)
        for _, record in self._records:
            incomplete[record.incomplete] = True
        return incomplete

    @cached_property
    def _answered(self) -> NDArray[np.bool_]:
        answered = np.zeros(self._n_targets, np.int64)
        for _, record in self._records:
            answered[record.targets] += 1
        all_answered = np.zeros(self._n_targets, bool)
        all_answered[self.outside_footprint] = True
        asked = self._planned["asked"]
        all_answered[asked] |= answered[asked] == self._planned["requests"]
        return all_answered

    @property
    def methods(self) -> set[str]:
        """How the answers were found."""
        return {record.method for _, record in self._records}

    @property
    def places(self) -> set[str]:
        """Where the data were read from."""
        return {place for _, record in self._records for place in record.places}

    def sources(self) -> pa.Table:
        """Return the matched sources of the targets that count, in the schema ``SOURCES``."""
        return self._counting([record.sources for _, record in self._records], SOURCES)

    def offsets(self) -> pa.Table:
        """Return what there is beside the targets that count, in the schema ``OFFSET_COUNTS``."""
        return self._counting([record.offsets for _, record in self._records], OFFSET_COUNTS)

    def row_streams(self) -> list[Iterator[pa.Table]]:
        """Return the rows of the targets that count, in few streams that are ordered by target.

        Answers about other parts of the shard follow each other in a stream, so that not all of
        them are open, and in memory, at a time.
        """
        with_rows = [(path, record) for path, record in self._records if record.rows_bytes]
        streams: list[tuple[int, list[Path]]] = []
        for path, record in sorted(with_rows, key=lambda one: one[1].targets[0]):
            first, last = record.targets[0], record.targets[-1]
            # Of the streams that end before it, the one that has ended last: few have to be begun.
            ended = [number for number, (end, _) in enumerate(streams) if end <= first]
            if ended:
                number = max(ended, key=lambda one: streams[one][0])
                streams[number] = last, [*streams[number][1], path]
            else:
                streams.append((last, [path]))
        return [itertools.chain.from_iterable(map(self._rows, paths)) for _, paths in streams]

    def _rows(self, path: Path) -> Iterator[pa.Table]:
        # Pages of a mapped file would count as memory of the job until its last row is read.
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            for index in range(reader.num_record_batches):
                yield self._of_counting(pa.table(reader.get_batch(index)))

    def _counting(self, kept: Sequence[dict[str, list[Any]]], schema: pa.Schema) -> pa.Table:
        tables = [pa.Table.from_pydict(one, schema) for one in kept]
        return self._of_counting(pa.concat_tables([schema.empty_table(), *tables]))

    def _of_counting(self, table: pa.Table) -> pa.Table:
        counts = self._answered if self._is_last else self.finished
        return table.filter(pa.array(counts[table["target"].to_numpy()]))


def _renumbered(table: pa.Table, asked: NDArray[np.int64]) -> pa.Table:
    """Let ``target`` be a row of the shard instead of a place in ``asked``."""
    place = table.column_names.index("target")
    target = pa.array(asked[table["target"].to_numpy()], pa.int64())
    return table.set_column(place, table.schema.field("target"), target)
