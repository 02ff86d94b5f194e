"""The watch of an inbox: every table is handled, runs do not overlap, failures are survived."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

#: A run: notes its begin, the tables that it sees, and its end; wrong ones are set aside.
RUN = """
import json, sys, time
from pathlib import Path
begin = time.monotonic()
tables = sorted(path.name for path in Path("inbox").glob("[!.]*.csv"))
for path in list(Path("inbox").glob("bad*.csv")):
    path.rename(Path("failed") / path.name)
time.sleep(0.2)
with open("runs.jsonl", "a") as runs:
    print(json.dumps({"begin": begin, "end": time.monotonic(), "tables": tables}), file=runs)
sys.exit(Path("broken").exists())
"""
WAITS = ("--settle-s", "0.2", "--longest-s", "1", "--retry-s", "0.3")

Watch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watch the folder ``inbox`` with the run above."""
    monkeypatch.chdir(tmp_path)
    for name in ("inbox", "failed"):
        Path(name).mkdir()
    Path("run.py").write_text(RUN)
    watches = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lightloom.cli", "watch", *(options or ("inbox",)), *WAITS]
        run = shlex.join([sys.executable, "run.py"])
        watch = subprocess.Popen([*command, "--command", run], stderr=subprocess.PIPE, text=True)
        watches.append(watch)
        return watch

    yield start
    for watch in watches:
        watch.kill()
        watch.communicate()


def runs() -> list[dict]:
    path = Path("runs.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, runs()
        time.sleep(0.02)


def drop(name: str) -> None:
    Path(f".{name}").write_text("ra,dec\n1,2\n")
    Path(f".{name}").rename(Path("inbox") / name)


def test_every_table_is_handled_by_one_run_at_a_time(start: Watch) -> None:
    drop("t00.csv")
    start()
    wait_for(lambda: len(runs()) == 1)
    for number in range(1, 20):
        drop(f"bad{number}.csv" if number % 7 == 0 else f"t{number:02d}.csv")
        time.sleep(0.1)
    good = {f"t{number:02d}.csv" for number in range(20) if number % 7 or not number}
    wait_for(lambda: set(runs()[-1]["tables"]) >= good)
    # Set aside by a run, a table starts no further one.
    assert sorted(path.name for path in Path("failed").iterdir()) == ["bad14.csv", "bad7.csv"]
    time.sleep(0.6)
    found = runs()
    assert 2 < len(found) < 12
    for first, second in pairwise(found):
        assert first["end"] <= second["begin"]


def test_a_failed_run_is_tried_again(start: Watch) -> None:
    Path("broken").touch()
    drop("t.csv")
    start()
    wait_for(lambda: len(runs()) >= 2)
    Path("broken").unlink()
    n_runs = len(runs())
    wait_for(lambda: len(runs()) > n_runs)
    n_runs = len(runs())
    time.sleep(1)
    assert len(runs()) == n_runs


def test_a_second_watch_and_a_missing_folder_are_refused(start: Watch) -> None:
    drop("t.csv")
    first = start()
    wait_for(lambda: len(runs()) == 1)
    _, message = start().communicate(timeout=20)
    assert "inbox: found another watch of this inbox" in message
    _, message = start("nowhere").communicate(timeout=20)
    assert message == "lightloom: nowhere: no such folder, expected an inbox of tables; make it\n"
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
