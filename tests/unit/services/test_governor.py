"""The governor: what all processes together may ask of one archive."""

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightloom.errors import ArchiveDownError, BadRequestError, TransientArchiveError
from lightloom.services.governor import ARRIVAL_S, Governor, _end, _read_state, _Rest, _State
from small_server import LIMITS, SmallServer, answer

HERE = Path(__file__).parent


def governor(folder: Path, **limits: Any) -> Governor:
    return Governor(folder, LIMITS | limits)


def start(script: str, *arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, HERE / script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def fail(one: Governor, retry_after_s: float | None = None) -> None:
    """Make a request that fails."""
    with pytest.raises(TransientArchiveError, match="down"), one.request():
        raise TransientArchiveError("down", retry_after_s=retry_after_s)


def seconds_of_a_request(one: Governor) -> float:
    began = time.monotonic()
    with one.request():
        return time.monotonic() - began


def test_processes_together_keep_to_rate_and_concurrency(
    server: SmallServer, tmp_path: Path
) -> None:
    def work(handler: BaseHTTPRequestHandler) -> None:
        server.work(random.uniform(0.0, 0.4))
        answer()(handler)

    server.routes["/"] = work
    limits = json.dumps(LIMITS | {"requests_per_s": 8, "concurrent_requests": 3})
    arguments = tmp_path, limits, f"{server.url}/", 3, 4
    processes = [start("polite_process.py", *arguments) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    for process in processes:
        process.stdout.close()
    assert len(server.seen) == 36
    assert server.most_at_once == 3
    assert server.most_per_s() <= 8


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from([0.4, 1, 2.5, 3, 7]),
    durations_s=st.lists(st.floats(0.0, 6.0), min_size=20, max_size=40),
    random_=st.randoms(use_true_random=False),
)
def test_no_window_holds_more_however_requests_are_delayed(
    rate: float, durations_s: list[float], random_: random.Random
) -> None:
    """The rule of admission alone, in a time that is made up."""
    one = governor(Path("unused"), requests_per_s=rate)
    state, now_s, arrivals_s = _State(), 1000.0, []
    ends_s: dict[str, float] = {}
    for number, duration_s in enumerate(durations_s):
        while (wait_s := one._wait_s(state, now_s)) > 0.0:
            next_s = min([now_s + max(wait_s, 1e-6), *ends_s.values()])
            for name in [name for name, end_s in ends_s.items() if end_s <= next_s]:
                _end(state, name, ends_s.pop(name))
            now_s = next_s
        one._admit(state, now_s, str(number))
        ends_s[str(number)] = now_s + duration_s
        arrivals_s.append(now_s + random_.uniform(0.0, min(duration_s, ARRIVAL_S)))
    window_s, most = max(1.0, 1.0 / rate), max(1, int(rate))
    for begin_s in arrivals_s:
        assert sum(begin_s <= time_s < begin_s + window_s for time_s in arrivals_s) <= most


def test_archives_of_a_service_count_the_requests_of_each_other(tmp_path: Path) -> None:
    slow, fast = governor(tmp_path, requests_per_s=0.5), governor(tmp_path, requests_per_s=5)
    assert seconds_of_a_request(slow) < 0.5
    # The faster one is not slowed, and does not make the slower one forget.
    time.sleep(1.2)
    assert seconds_of_a_request(fast) < 0.5
    assert 1.5 < seconds_of_a_request(slow) < 2.5


def test_archives_of_a_service_share_its_slots(tmp_path: Path) -> None:
    one, other = (governor(tmp_path, concurrent_requests=2, requests_per_s=9) for _ in range(2))
    done = threading.Event()

    def ask() -> None:
        with other.request():
            done.set()

    waiting = threading.Thread(target=ask)
    with one.request():
        with other.request():
            waiting.start()
            assert not done.wait(0.5)
        assert done.wait(2.0)
    waiting.join()


def test_archives_of_a_service_share_its_failures(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=2, breaker_pause_s=60.0)
    other = governor(tmp_path, breaker_failures=2, breaker_pause_s=60.0)
    fail(one)
    fail(other)
    for each in (one, other):
        with pytest.raises(TransientArchiveError, match="2 times in a row"), each.request():
            pytest.fail("nothing may be asked")


def test_a_killed_process_frees_its_slot(tmp_path: Path) -> None:
    limits = LIMITS | {"concurrent_requests": 1, "requests_per_s": 2}
    holder = start("holding_process.py", tmp_path, json.dumps(limits))
    assert holder.stdout.readline() == "asking\n"
    done = threading.Event()

    def ask() -> None:
        with Governor(tmp_path, limits).request():
            done.set()

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert not done.wait(1.0)
    holder.kill()
    holder.communicate()
    assert done.wait(2.0)
    waiting.join()


def test_everyone_waits_as_long_as_the_archive_asks(tmp_path: Path) -> None:
    fail(governor(tmp_path, longest_wait_s=2.0), retry_after_s=0.5)
    assert 0.4 < seconds_of_a_request(governor(tmp_path, longest_wait_s=2.0)) < 1.5


def test_a_long_wait_is_told_at_once(tmp_path: Path) -> None:
    fail(governor(tmp_path), retry_after_s=3600.0)
    refused = pytest.raises(ArchiveDownError, match=r"left alone until \d{4}-\d\d-\d\dT")
    with refused as error, governor(tmp_path).request():
        pytest.fail("nothing may be asked")
    assert error.value.retry_after_s == pytest.approx(3600, abs=5)


def test_an_absurd_wait_is_cut(tmp_path: Path) -> None:
    fail(governor(tmp_path), retry_after_s=1e30)
    with pytest.raises(TransientArchiveError) as error, governor(tmp_path).request():
        pytest.fail("nothing may be asked")
    assert error.value.retry_after_s == pytest.approx(7 * 86400, abs=5)


def test_waits_grow_with_the_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    one = governor(tmp_path, longest_wait_s=10.0)
    waits_s = []
    for _ in range(6):
        one._record_failure("", 0.0)
        state = json.loads((tmp_path / "governor.json").read_text())
        waits_s.append(state["quiet"]["length_s"])
    assert waits_s == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_answers_are_no_failures(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=2)
    for _ in range(4):
        fail(one)
        with pytest.raises(BadRequestError), one.request():
            raise BadRequestError("no such column")
    assert seconds_of_a_request(one) < 1.0


def test_a_mistake_says_nothing_about_the_archive(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=2, breaker_pause_s=60.0)
    fail(one)
    with pytest.raises(KeyError), one.request():
        raise KeyError
    fail(one)
    with pytest.raises(TransientArchiveError, match="2 times in a row"), one.request():
        pytest.fail("nothing may be asked")


def test_breaker_lets_one_request_probe_at_a_time(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=2, breaker_pause_s=0.3)
    fail(one)
    fail(one)
    with pytest.raises(TransientArchiveError, match=r"2 times in a row.*until") as error:
        seconds_of_a_request(one)
    assert 0.0 < error.value.retry_after_s <= 0.3
    time.sleep(0.35)
    # While the archive is probed, everyone else is turned away.
    refused = pytest.raises(TransientArchiveError, match="left alone")
    with one.request(), refused:
        seconds_of_a_request(governor(tmp_path, breaker_failures=2))
    assert seconds_of_a_request(one) < 1.0


def test_an_archive_that_stays_down_is_given_up(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=2, breaker_pause_s=0.1, attempts=3)
    fail(one)
    fail(one)
    for kind in (TransientArchiveError, TransientArchiveError, ArchiveDownError):
        with pytest.raises(TransientArchiveError) as error:
            seconds_of_a_request(one)
        assert type(error.value) is kind
        time.sleep(0.15)
        fail(one)
    time.sleep(0.15)
    # It is probed still, and found when it is back.
    assert seconds_of_a_request(one) < 1.0
    assert seconds_of_a_request(one) < 1.0


def test_failures_under_way_are_no_probes(tmp_path: Path) -> None:
    one = governor(tmp_path, breaker_failures=1, breaker_pause_s=60.0, attempts=2)
    together = threading.Barrier(3)

    def ask() -> None:
        with contextlib.suppress(TransientArchiveError), one.request():
            together.wait()
            raise TransientArchiveError("down")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(TransientArchiveError) as error:
        seconds_of_a_request(one)
    assert type(error.value) is TransientArchiveError


def test_a_damaged_state_is_begun_anew(tmp_path: Path) -> None:
    one = governor(tmp_path, longest_wait_s=2.0)
    fail(one, retry_after_s=3600.0)
    (tmp_path / "governor.json").write_text("{")
    assert 1.0 < seconds_of_a_request(one) < 2.0
    assert seconds_of_a_request(one) < 1.0


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_of_any_kind_is_survived(tmp_path: Path, place: int, byte: int, cut: bool) -> None:
    rest = _Rest(1e9, 30.0)
    state = _State({"a": (1e9, None), "b": (1e9, 1e9)}, 2.5, 3, rest, rest, "a", 1)
    content = json.dumps(asdict(state)).encode()
    path = tmp_path / "governor.json"
    path.write_bytes(content)
    assert _read_state(path, 2e9) == state
    place %= len(content)
    path.write_bytes(content[:place] + (b"" if cut else bytes([byte]) + content[place + 1 :]))
    found = _read_state(path, 2e9)
    assert found.quiet.until_s <= 2e9 + 7 * 86400
    assert found.failures >= 0


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    one = governor(tmp_path, requests_per_s=2, longest_wait_s=2.0)
    fail(one, retry_after_s=0.3)
    path = tmp_path / "governor.json"
    state = json.loads(path.read_text())
    state["quiet"]["since_s"] += 3600
    state["recent"] = {"a": [time.time() + 3600, None], "b": [time.time() + 3600] * 2}
    path.write_text(json.dumps(state))
    assert seconds_of_a_request(one) < 2.0
