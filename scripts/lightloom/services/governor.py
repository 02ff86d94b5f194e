"""Politeness: what all jobs of a run together may ask of one service.

The processes that ask a service, on one machine or on several, know nothing of each other but a
folder. In it lie the slots (a file each, locked by the request that uses it, so that the kernel
frees the slot of a killed process) and a small state file (what was admitted in the last moments,
how often the service failed, until when it is to be left alone), changed under a lock and replaced
atomically.

Rate limiters and circuit breakers of the package index keep their state in one process, or need a
server (Redis, a database) beside a cluster's jobs, and know no limit that holds at the receiving
end; hence own code over file locks.
"""

import json
import logging
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from lightloom.errors import ArchiveDownError, ArchiveError, TransientArchiveError

#: Added to the second in which requests are counted, for the grain of the clocks at both ends [s].
MARGIN_S = 0.05

#: A request has reached the archive at the latest so long after it was admitted [s].
ARRIVAL_S = 2.0

#: A slot is freed so long after an answer was read, for the archive to see its end as well [s].
LINGER_S = 0.05

#: First wait after a failure; it doubles with every further one [s].
FIRST_WAIT_S = 0.5

#: An archive that asks for more is asked again after this time [s].
LONGEST_QUIET_S = 7 * 86400.0

_POLL_S = (0.01, 0.25)
_LOCK_POLL_S = 0.005

_log = logging.getLogger(__name__)


@dataclass
class _Rest:
    """A time in which the archive is left alone; in seconds of the folder's clock."""

    since_s: float = 0.0
    length_s: float = 0.0

    @property
    def until_s(self) -> float:
        """When it ends."""
        return self.since_s + self.length_s


@dataclass
class _State:
    """What the processes tell each other; times in seconds of the folder's clock.

    Attributes
    ----------
    recent : dict
        Start and end of the admitted requests that still count; an end is None until the whole
        answer is there.
    window_s : float
        Longest window in which one of the archives of the service counts requests [s].
    failures : int
        Failed requests since the last success.
    quiet : _Rest
        Nobody asks: the archive said so (``Retry-After``), or a request has just failed.
    opened : _Rest or None
        The pause of the circuit breaker, if it has opened and no request succeeded since.
    probe : str
        The request that was let through after the pause.
    failed_probes : int
        How many of these failed since the breaker opened.
    """

    recent: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    window_s: float = 0.0
    failures: int = 0
    quiet: _Rest = field(default_factory=_Rest)
    opened: _Rest | None = None
    probe: str = ""
    failed_probes: int = 0

    @classmethod
    def from_json(cls, document: dict[str, Any], now_s: float) -> Self:
        """Read what ``asdict`` has made; no time but the end of a rest can lie after ``now_s``.

        Raises
        ------
        ValueError, TypeError, KeyError, AttributeError
            If the document is damaged.
        """
        opened = document["opened"]
        return cls(
            recent={
                str(name): (
                    min(float(start), now_s),
                    None if end is None else min(float(end), now_s),
                )
                for name, (start, end) in document["recent"].items()
            },
            window_s=min(float(document["window_s"]), LONGEST_QUIET_S),
            failures=int(document["failures"]),
            quiet=_rest(document["quiet"], now_s),
            opened=None if opened is None else _rest(opened, now_s),
            probe=str(document["probe"]),
            failed_probes=int(document["failed_probes"]),
        )


def _rest(document: Mapping[str, Any], now_s: float) -> _Rest:
    length_s = float(document["length_s"])
    if not 0.0 <= length_s <= LONGEST_QUIET_S:
        raise ValueError(f"a rest of {length_s} s")
    return _Rest(min(float(document["since_s"]), now_s), length_s)


class Governor:
    """The limits of one archive, kept by all processes that ask its service.

    Parameters
    ----------
    folder : Path
        The folder of the service, shared by the processes of all its archives; on a network file
        system it has to support ``flock``.
    limits : mapping
        ``concurrent_requests``, ``requests_per_s``, ``timeout_s``, ``attempts``,
        ``longest_wait_s``, ``breaker_failures`` and ``breaker_pause_s`` of the catalogue entry.

    Notes
    -----
    *Rate.* In no window of a second does the archive receive more than ``requests_per_s``
    requests. When a request reaches the archive is not known, but it lies between its admission
    and its answer, however long a busy machine or the network delays it. So a request is admitted
    only if fewer than the limit are under way or were answered within the last second; one that is
    under way for more than `ARRIVAL_S` has arrived long ago. Admissions are also spread evenly.

    *Archives of one service.* Each keeps its own limits, and counts the requests, slots and
    failures of all. One with lower limits gives way to the others; all together keep to the highest
    ones.

    *Clock.* Time is read from the shared folder (a file's modification time), so that hosts whose
    clocks differ agree. Times in the future mean that the clock was set back, and are cut.
    """

    def __init__(self, folder: Path, limits: Mapping[str, Any]) -> None:
        self._folder = folder
        self._limits = limits
        rate = limits["requests_per_s"]
        # Half a request cannot be made: 2.5 per second are 2 in any second, 0.5 are 1 in any two.
        self._per_window = max(1, int(rate))
        self._window_s = max(1.0, 1.0 / rate)
        self._spacing_s = self._window_s / self._per_window

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait until a request may be made, and learn from how it ends.

        The block is to make exactly one request and to read its whole answer. A
        `TransientArchiveError` raised in it is a failure of the archive, any other
        `ArchiveError` an answer; other exceptions say nothing about the archive.

        Raises
        ------
        TransientArchiveError
            At once, if the circuit breaker is open; the message says until when.
        ArchiveDownError
            At once, if the archive asks to be left alone for longer than all attempts at a request
            may wait, or was probed in vain as often as a request is attempted.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        with self._slot():
            self._await_admission(name)
            try:
                yield
            except TransientArchiveError as error:
                self._record_failure(name, error.retry_after_s or 0.0)
                raise
            except ArchiveError:
                self._record_success(name)
                raise
            self._record_success(name)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        numbers = list(range(self._limits["concurrent_requests"]))
        pause_s, longest_s = _POLL_S
        while True:
            random.shuffle(numbers)
            for number in numbers:
                lock = FileLock(self._folder / f"slot-{number:03d}.lock", fallback_to_soft=False)
                try:
                    held = lock.acquire(blocking=False)
                except Timeout:
                    continue
                with held:
                    try:
                        yield
                    finally:
                        time.sleep(LINGER_S)
                return
            time.sleep(random.uniform(0.5, 1.0) * pause_s)
            pause_s = min(1.5 * pause_s, longest_s)

    def _await_admission(self, name: str) -> None:
        while True:
            asked_s = time.monotonic()
            with self._changed_state() as (state, now_s):
                wait_s = self._wait_s(state, now_s)
                if wait_s <= 0.0:
                    self._admit(state, now_s, name)
            if wait_s > 0.0:
                time.sleep(min(wait_s, _POLL_S[1]))
            elif time.monotonic() - asked_s < ARRIVAL_S / 2:
                return
            # Else the process was stalled, and the others may not count the request any more.

    def _wait_s(self, state: _State, now_s: float) -> float:
        """Return for how long nothing may be asked yet [s]; forget requests that do not count."""
        if state.opened and state.opened.until_s > now_s:
            raise self._refusal(state, state.opened, now_s)
        quiet_s = state.quiet.until_s - now_s
        if quiet_s > self._limits["attempts"] * self._limits["longest_wait_s"]:
            raise ArchiveDownError(
                f"the archive asks to be left alone until {_utc(state.quiet.until_s)}",
                retry_after_s=quiet_s,
            )
        arrived_s = {
            name: min(end or now_s, start + ARRIVAL_S) + MARGIN_S
            for name, (start, end) in state.recent.items()
        }
        # Another archive of the service may count requests for longer than this one.
        state.window_s = max(self._window_s, state.window_s if state.recent else 0.0)
        state.recent = {
            name: times
            for name, times in state.recent.items()
            if arrived_s[name] + state.window_s > now_s
        }
        waits_s = [quiet_s]
        if state.recent:
            last_s = max(start for start, _ in state.recent.values())
            waits_s.append(last_s + self._spacing_s - now_s)
        if len(state.recent) >= self._per_window:
            nth_last_s = sorted(arrived_s.values())[-self._per_window]
            waits_s.append(nth_last_s + self._window_s - now_s)
        return max(waits_s)

    def _admit(self, state: _State, now_s: float, name: str) -> None:
        state.recent[name] = (now_s, None)
        if state.opened:
            # Until the probe ends, or its process must have died, the others stay away.
            state.probe = name
            state.opened = _Rest(now_s, self._limits["timeout_s"] + ARRIVAL_S)

    def _refusal(self, state: _State, pause: _Rest, now_s: float) -> TransientArchiveError:
        in_vain = state.failed_probes >= self._limits["attempts"] - 1
        kind = ArchiveDownError if in_vain else TransientArchiveError
        return kind(
            f"the archive has failed {state.failures} times in a row and is left alone until"
            f" {_utc(pause.until_s)}",
            retry_after_s=pause.until_s - now_s,
        )

    def _record_success(self, name: str) -> None:
        with self._changed_state() as (state, now_s):
            _end(state, name, now_s)
            state.failures = state.failed_probes = 0
            state.opened = None

    def _record_failure(self, name: str, retry_after_s: float) -> None:
        with self._changed_state() as (state, now_s):
            _end(state, name, now_s)
            state.failures += 1
            longest_s = min(
                FIRST_WAIT_S * 2.0 ** min(state.failures - 1, 30), self._limits["longest_wait_s"]
            )
            wait_s = max(retry_after_s, random.uniform(0.0, longest_s))
            quiet = _Rest(now_s, min(wait_s, LONGEST_QUIET_S))
            state.quiet = max(state.quiet, quiet, key=lambda rest: rest.until_s)
            is_probe = state.opened is not None and state.probe == name
            state.failed_probes += is_probe
            if is_probe or (
                not state.opened and state.failures >= self._limits["breaker_failures"]
            ):
                pause_s = self._limits["breaker_pause_s"]
                state.opened = _Rest(now_s, pause_s)
                _log.warning("failed %d times in a row: paused for %g s", state.failures, pause_s)

    @contextmanager
    def _changed_state(self) -> Iterator[tuple[_State, float]]:
        """Give the state and the time, and keep what the block makes of the state."""
        path = self._folder / "governor.json"
        temporary = path.with_suffix(".tmp")
        lock = FileLock(
            self._folder / "governor.lock", poll_interval=_LOCK_POLL_S, fallback_to_soft=False
        )
        with lock:
            now_s = _folder_time_s(self._folder / "clock")
            state = _read_state(path, now_s)
            try:
                yield state, now_s
            finally:
                temporary.write_text(json.dumps(asdict(state)))
                temporary.replace(path)


def _end(state: _State, name: str, now_s: float) -> None:
    if name in state.recent:
        state.recent[name] = (state.recent[name][0], now_s)


def _folder_time_s(path: Path) -> float:
    """Return the time by the clock of the host that keeps the folder [s]."""
    path.touch()
    return path.stat().st_mtime


def _read_state(path: Path, now_s: float) -> _State:
    if not path.exists():
        return _State()
    try:
        return _State.from_json(json.loads(path.read_text()), now_s)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s: damaged (%s), begun anew", path, error)
        # What was admitted in the last moments is lost, so these are waited for.
        return _State(quiet=_Rest(now_s, 1.0 + MARGIN_S))


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
