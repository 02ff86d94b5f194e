"""How far a run is, read from the files that its jobs leave: nothing is asked of the jobs.

A part that is whole has a status file; a fetch that is under way, or was killed, has a journal of
its answers beside it; what services have told lies in the folder that all jobs share.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightloom.plan import load_plan, part_paths, services_path, unfinished_path
from lightloom.progress import INTERVAL_S
from lightloom.record import Record, read_record
from lightloom.services.folders import service_folder

#: A job counts as running if its log or its journal changed within this time [s].
SIGN_OF_LIFE_S = 6 * INTERVAL_S

#: Exit codes of ``lightloom status``.
COMPLETE, FAILED, INCOMPLETE = 0, 3, 4

#: What a job, a shard of an archive, can be.
JOB_STATES = ("done", "running", "failed", "interrupted", "waiting")

_NOT_WHOLE = ("failed", "truncated")


@dataclass
class ArchiveBoard:
    """How far the search of one archive is.

    Attributes
    ----------
    jobs : Counter
        Number of shards in each of `JOB_STATES`; ``waiting`` ones were never asked for, or are out
        of date.
    targets, done, failed : int
        Targets of the sample; those whose search has ended well; those that failed or were cut
        short in the last attempt.
    requests, bytes : int
        What the finished jobs have asked for and read.
    seconds : float
        How long they took together [s].
    """

    archive: str
    release: str
    targets: int = 0
    done: int = 0
    failed: int = 0
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    timed_targets: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    @property
    def seconds_per_target(self) -> float | None:
        """Time of a job for a target, on average [s]; None before the first job has ended."""
        return self.seconds / self.timed_targets if self.timed_targets else None

    @property
    def targets_per_s(self) -> float | None:
        """Targets that the running jobs (or one, if none runs) search in a second."""
        if not self.seconds_per_target:
            return None
        return max(1, self.jobs["running"]) / self.seconds_per_target


@dataclass(frozen=True)
class ServiceBoard:
    """What the governor of a service says.

    Attributes
    ----------
    service : str
        Its host.
    archives : list of str
        Archives that share it.
    under_way : int
        Requests admitted and not answered yet.
    failures : int
        Failed requests since the last success.
    left_alone_until : str or None
        When the next request may be made (UTC), if that lies ahead.
    breaker_open : bool
        Whether the service counts as down.
    """

    service: str
    archives: list[str]
    under_way: int
    failures: int
    left_alone_until: str | None
    breaker_open: bool


@dataclass(frozen=True)
class Board:
    """How far a run is.

    Attributes
    ----------
    archives : list of ArchiveBoard
    services : list of ServiceBoard
    shards, merged_shards : int
        Shards of the plan; those whose light curves of all archives are merged.
    finished : bool
        Whether the manifest is newer than all parts.
    """

    archives: list[ArchiveBoard]
    services: list[ServiceBoard]
    shards: int
    merged_shards: int
    finished: bool

    @property
    def running(self) -> int:
        """Number of jobs that are fetching."""
        return sum(archive.jobs["running"] for archive in self.archives)

    @property
    def failed(self) -> int:
        """Number of failed searches of a target in an archive."""
        return sum(archive.failed for archive in self.archives)

    @property
    def seconds_left(self) -> float | None:
        """Time until all is fetched, if the jobs go on as they have [s]; None if unknown.

        An archive without a finished job is taken for an average one.
        """
        known = [one.seconds_per_target for one in self.archives if one.seconds_per_target]
        if not known:
            return None
        average_s = sum(known) / len(known)
        left_s = sum(
            (one.targets - one.done) * (one.seconds_per_target or average_s)
            for one in self.archives
        )
        return left_s / max(1, self.running)

    @property
    def exit_code(self) -> int:
        """`FAILED` if a target failed, else `COMPLETE` or `INCOMPLETE`."""
        if self.failed or any(archive.jobs["failed"] for archive in self.archives):
            return FAILED
        done = all(archive.done == archive.targets for archive in self.archives)
        return COMPLETE if done and self.finished else INCOMPLETE

    def as_dict(self) -> dict[str, Any]:
        """Return the board as a JSON-able dict."""
        archives = [
            {**vars(one), "jobs": dict(one.jobs), "states": dict(one.states)}
            for one in self.archives
        ]
        return {
            **vars(self),
            "archives": archives,
            "services": [vars(service) for service in self.services],
            "running": self.running,
            "failed": self.failed,
            "seconds_left": self.seconds_left,
        }


class BoardReader:
    """Reads the board of a results folder, and again only what has changed since.

    Parameters
    ----------
    results : pathlib.Path
        The results folder of a run, under way or not.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._seen: dict[Path, tuple[int, dict[str, Any]]] = {}

    def read(self) -> Board:
        """Return how far the run is now.

        Raises
        ------
        ResultError
            If the folder holds no run.
        """
        record = read_record(self._results)
        plan = load_plan(self._results)
        archives = [self._archive(record, name, plan.shards) for name in record.enabled]
        merged = self._results / "lightcurves"
        return Board(
            archives=archives,
            services=list(_services(record, self._results)),
            shards=len(plan.shards),
            merged_shards=sum((merged / f"{name}.parquet").exists() for name in plan.shards),
            finished=self._is_finished(record, plan.shards),
        )

    def _archive(self, record: Record, name: str, shards: dict[str, Any]) -> ArchiveBoard:
        board = ArchiveBoard(name, record.archives[name].release)
        for shard in shards.values():
            board.targets += shard.n_targets
            part, status = part_paths(self._results, name, shard.name)
            key = {"shard_hash": shard.content_hash, **record.keys[name]}
            found = self._summary(status)
            mark = unfinished_path(part, ".json")
            if found and found["key"] == key and not mark.exists():
                self._count_finished(board, found)
            else:
                self._count_unfinished(board, part, shard.name)
        return board

    def _count_finished(self, board: ArchiveBoard, found: dict[str, Any]) -> None:
        n_wrong = sum(found["states"][state] for state in _NOT_WHOLE)
        n_targets = sum(found["states"].values())
        board.jobs["failed" if n_wrong else "done"] += 1
        board.failed += n_wrong
        board.done += n_targets - n_wrong
        board.states += found["states"]
        board.requests += found["reads"]["requests"]
        board.bytes += found["reads"]["bytes"]
        board.seconds += found["reads"]["seconds"]
        board.timed_targets += n_targets

    def _count_unfinished(self, board: ArchiveBoard, part: Path, shard: str) -> None:
        journal = unfinished_path(part, ".answers")
        attempts = sorted(journal.iterdir()) if journal.is_dir() else []
        log = self._results / "logs" / "fetch" / board.archive / f"{shard}.log"
        ended = self._summary(part.with_name(f".{part.stem}.earlier.json"))
        ended_ns = self._changed_ns(part.with_name(f".{part.stem}.earlier.json"))
        if not attempts:
            board.jobs["running" if self._is_alive(log) else "waiting"] += 1
            return
        if ended and ended_ns > self._changed_ns(attempts[-1] / "plan.json"):
            board.jobs["failed"] += 1
            n_wrong = sum(ended["states"][state] for state in _NOT_WHOLE)
            board.failed += n_wrong
            board.done += sum(ended["states"].values()) - n_wrong
            return
        alive = self._is_alive(log) or self._is_alive(attempts[-1] / "answers.jsonl")
        board.jobs["running" if alive else "interrupted"] += 1
        board.done += len(set().union(*(self._answered(folder) for folder in attempts)))

    def _answered(self, attempt: Path) -> set[int]:
        """Return the targets all of whose requests were answered in an attempt."""
        plan, answers = attempt / "plan.json", attempt / "answers.jsonl"
        if not plan.exists():
            return set()
        planned = json.loads(plan.read_text())
        found = set(planned["outside_footprint"])
        if not answers.exists():
            return found
        counts: Counter[int] = Counter()
        for line in answers.read_text().splitlines():
            try:
                counts.update(json.loads(line)["targets"])
            except ValueError:
                # The line is being written.
                break
        wanted = dict(zip(planned["asked"], planned["requests"], strict=True))
        return found | {target for target, count in counts.items() if count == wanted[target]}

    def _summary(self, status: Path) -> dict[str, Any] | None:
        """Return what counts of a status file; None without one, or while it is replaced."""
        changed_ns = self._changed_ns(status)
        if not changed_ns:
            return None
        known = self._seen.get(status)
        if known is None or known[0] != changed_ns:
            try:
                document = json.loads(status.read_text(encoding="utf-8"))
                states = Counter(document["targets"]["state"])
            except (OSError, ValueError, KeyError):
                return None
            known = (
                changed_ns,
                {
                    "key": document["key"],
                    "reads": document["reads"],
                    "states": states,
                },
            )
            self._seen[status] = known
        return known[1]

    @staticmethod
    def _changed_ns(path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _is_alive(self, path: Path) -> bool:
        return time.time() - self._changed_ns(path) / 1e9 < SIGN_OF_LIFE_S

    def _is_finished(self, record: Record, shards: dict[str, Any]) -> bool:
        manifest_ns = self._changed_ns(self._results / "manifest.json")
        parts = (
            part_paths(self._results, name, shard)[1] for name in record.enabled for shard in shards
        )
        return all(0 < self._changed_ns(status) <= manifest_ns for status in parts)


def _services(record: Record, results: Path) -> list[ServiceBoard]:
    shared = services_path(results / "parts" / "archive" / "part")
    of_folder: dict[Path, list[str]] = {}
    for name in record.enabled:
        if record.archives[name].layout == "service":
            folder = service_folder(shared, record.archives[name])
            of_folder.setdefault(folder, []).append(name)
    boards = []
    for folder, archives in sorted(of_folder.items()):
        try:
            state = json.loads((folder / "governor.json").read_text())
            boards.append(_service(folder.name.rpartition("-")[0], archives, state))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            # Nothing was asked yet, or the governor is just beginning its state anew.
            boards.append(ServiceBoard(folder.name.rpartition("-")[0], archives, 0, 0, None, False))
    return boards


def _service(host: str, archives: list[str], state: dict[str, Any]) -> ServiceBoard:
    rests = [rest for rest in (state["quiet"], state["opened"]) if rest]
    until_s = max(rest["since_s"] + rest["length_s"] for rest in rests)
    ahead = until_s > time.time()
    return ServiceBoard(
        service=host,
        archives=archives,
        under_way=sum(end is None for _, end in state["recent"].values()),
        failures=state["failures"],
        left_alone_until=_utc(until_s) if ahead else None,
        breaker_open=state["opened"] is not None,
    )


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
