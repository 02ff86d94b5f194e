"""The command: starts and stops in time, says when it is ready, keeps its log in a file."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from laboratory_sky import TOKEN, write_small_sky

from laboratory import Laboratory


def test_start_and_stop_take_moments(small_sky: Path) -> None:
    laboratory = Laboratory(small_sky)
    begin_s = time.monotonic()
    with laboratory:
        assert time.monotonic() - begin_s < 10
        assert requests.get(laboratory.url("nsc") + "/tap/availability", timeout=5).ok
        begin_s = time.monotonic()
    assert time.monotonic() - begin_s < 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_although_requests_hang(small_sky: Path, number: int) -> None:
    with Laboratory(small_sky) as laboratory:
        laboratory.faults([{"action": "timeout"}])
        hanging = threading.Thread(target=_ask, args=[laboratory.url("nsc")])
        hanging.start()
        time.sleep(0.1)
        process = laboratory._process
        assert process is not None
        begin_s = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - begin_s < 3
        hanging.join(5)


def _ask(address: str) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.get(address + "/tap/availability", timeout=10)


def test_ready_file_is_there_as_long_as_it_listens(small_sky: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "laboratory", "--sky", str(small_sky), "--ready", str(ready)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment) as process, contextlib.ExitStack() as at_end:
        at_end.callback(process.kill)
        end_s = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < end_s:
            time.sleep(0.02)
        port = json.loads(ready.read_text())["port"]
        assert requests.get(f"http://127.0.0.1:{port}/__log", timeout=5).json() == []
        process.terminate()
        assert process.wait(5) == 0
    assert list(tmp_path.iterdir()) == []


def test_running_query_does_not_keep_it(small_sky: Path) -> None:
    query = "SELECT COUNT(*) FROM fermigtrig a, fermigtrig b, fermigtrig c, fermigtrig d"
    query += " WHERE SIN(a.ra * b.ra) + COS(c.dec * d.ra) > 3"
    with Laboratory(small_sky) as laboratory:
        job = {"QUERY": query, "PHASE": "RUN"}
        requests.post(laboratory.url("heasarc") + "/tap/async", job, timeout=5)
        begin_s = time.monotonic()
    assert time.monotonic() - begin_s < 3


def test_log_in_a_file_equals_that_over_http(small_sky: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Laboratory(small_sky, log=path) as laboratory:
        for name in ("nsc", "heasarc"):
            requests.get(laboratory.url(name) + "/tap/availability", timeout=5)
        records = laboratory.log()
        later = laboratory.log(since_s=records[0]["end_s"])
    assert [json.loads(line) for line in path.read_text().splitlines()] == records
    assert [record["service"] for record in records] == ["nsc", "heasarc"]
    assert later == records[1:]
    assert records[0]["start"].endswith("+00:00")


def test_port_and_rules_can_be_given(small_sky: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"service": "nsc", "action": "html"}]))
    with Laboratory(small_sky) as first:
        port = int(first.base.rpartition(":")[2])
    with Laboratory(small_sky, port=port, faults=rules) as second:
        assert second.base == first.base
        page = requests.get(second.url("nsc") + "/tap/availability", timeout=5)
    assert page.headers["content-type"].startswith("text/html")


def test_failure_to_start_is_told(small_sky: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"unknown services \['nscc'\]; services: \[.*'hcv'"),
        Laboratory(small_sky, tokens={"nscc": "x"}),
    ):
        pass


def test_killed_with_its_test(small_sky: Path) -> None:
    pids = []

    def fail() -> None:
        with Laboratory(small_sky) as laboratory:
            pids.append(laboratory.pid)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    [pid] = pids
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    assert listed.stdout.strip() == ""


def test_ends_when_its_test_is_killed(small_sky: Path) -> None:
    code = f"""
import time
from pathlib import Path
from laboratory import Laboratory
with Laboratory(Path({str(small_sky)!r})) as laboratory:
    print(laboratory.base, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        assert requests.get(base + "/__log", timeout=5).ok
        process.kill()
    with pytest.raises(requests.ConnectionError):
        _keep_asking(base + "/__log")


def _keep_asking(address: str) -> None:
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s:
        requests.get(address, timeout=5)
        time.sleep(0.02)


def test_service_without_tables_is_left_out(tmp_path: Path, small_sky: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services/nsc").symlink_to(small_sky / "services/nsc")
    with Laboratory(tmp_path) as laboratory:
        assert requests.get(laboratory.url("nsc") + "/tap/availability", timeout=5).ok
        assert requests.get(laboratory.url("hcv") + "/x", timeout=5).status_code == 404


def test_reply_that_was_read_is_in_the_log(laboratory: Laboratory) -> None:
    """Large replies too: the server may still be about to note what the client has."""
    address = laboratory.url("heasarc") + "/tap/sync"
    query = {"QUERY": "SELECT a.*, b.* FROM fermigtrig a, fermigtrig b", "MAXREC": "20000"}
    for number in range(1, 6):
        assert requests.get(address, query, timeout=10).ok
        assert [record["rows"] for record in laboratory.log()] == [20_000] * number


def test_sky_may_come_and_change_while_it_serves(small_sky: Path, tmp_path: Path) -> None:
    sky, other = tmp_path / "sky", tmp_path / "other"
    with Laboratory(sky, tokens={"rubin": TOKEN}) as laboratory:
        address = laboratory.url("hcv") + "/api/v0.1/hsc/v3/hcv.csv"
        assert requests.get(address, timeout=5).status_code == 404
        shutil.copytree(small_sky, other)
        other.rename(sky)
        assert len(requests.get(address, timeout=5).text.splitlines()) == 11
        assert requests.get(laboratory.url("rubin") + "/tap/sync", timeout=5).status_code == 401
        shutil.rmtree(sky)
        write_small_sky(other, n_points=4)
        other.rename(sky)
        assert len(requests.get(address, timeout=5).text.splitlines()) == 5


def test_older_sky_is_replaced_while_the_server_runs(small_sky: Path, tmp_path: Path) -> None:
    sky = tmp_path / "sky"
    shutil.copytree(small_sky, sky)
    for table in (sky / "services" / "nsc").iterdir():
        table.unlink()
    with Laboratory(sky) as laboratory:
        shutil.rmtree(sky)
        shutil.copytree(small_sky, sky)
        assert requests.get(laboratory.url("nsc") + "/tap/availability", timeout=5).ok
